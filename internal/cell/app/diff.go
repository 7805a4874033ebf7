package app

import "reflect"

// SameConfig tells whether two normalised apps differ at most in the number of
// instances and in their versions: then nothing that runs needs to be replaced.
func SameConfig(a, b *App) bool {
	x, y := *a, *b
	x.Instances, x.Version, x.VersionInfo = y.Instances, y.Version, y.VersionInfo
	return reflect.DeepEqual(x, y)
}

// Stamp sets version and versionInfo of an app that replaces old (nil for a new one)
// at a time, and tells what changed. An app that is the same keeps its version. Call
// it after AssignServicePorts.
func Stamp(a, old *App, now Timestamp) (config, scale bool) {
	config = old == nil || !SameConfig(a, old)
	scale = old == nil || a.Instances != old.Instances
	switch {
	case config:
		a.Version, a.VersionInfo = now, &VersionInfo{LastScalingAt: now, LastConfigChangeAt: now}
	case scale:
		info := VersionInfo{LastScalingAt: now, LastConfigChangeAt: old.ConfigVersion()}
		a.Version, a.VersionInfo = now, &info
	default:
		a.Version, a.VersionInfo = old.Version, old.VersionInfo
	}
	return config, scale
}

// ConfigVersion is the version of the app's configuration: instances with it need no
// replacing however often the app was scaled since.
func (a *App) ConfigVersion() Timestamp {
	if a.VersionInfo != nil {
		return a.VersionInfo.LastConfigChangeAt
	}
	return a.Version
}
