package app

import (
	"reflect"
	"slices"
	"strings"
)

// parts are the fields of an App by their JSON names, as pointers.
func (a *App) parts() map[string]any {
	return map[string]any{
		"id": &a.ID, "acceptedResourceRoles": &a.AcceptedResourceRoles, "args": &a.Args, "backoffFactor": &a.BackoffFactor,
		"backoffSeconds": &a.BackoffSeconds, "cmd": &a.Cmd, "constraints": &a.Constraints, "container": &a.Container,
		"cpus": &a.CPUs, "dependencies": &a.Dependencies, "disk": &a.Disk, "env": &a.Env, "executor": &a.Executor,
		"fetch": &a.Fetch, "healthChecks": &a.HealthChecks, "check": &a.Check, "instances": &a.Instances, "labels": &a.Labels,
		"maxLaunchDelaySeconds": &a.MaxLaunchDelaySeconds, "mem": &a.Mem, "gpus": &a.GPUs, "networks": &a.Networks,
		"portDefinitions": &a.PortDefinitions, "readinessChecks": &a.ReadinessChecks, "requirePorts": &a.RequirePorts,
		"secrets": &a.Secrets, "taskKillGracePeriodSeconds": &a.TaskKillGracePeriodSeconds,
		"upgradeStrategy": &a.UpgradeStrategy, "user": &a.User, "unreachableStrategy": &a.UnreachableStrategy,
		"killSelection": &a.KillSelection, "role": &a.Role, "resourceLimits": &a.ResourceLimits,
	}
}

// SameConfig tells whether two normalised apps differ at most in the number of
// instances and in their versions: then nothing that runs needs to be replaced.
func SameConfig(a, b *App) bool {
	x, y := *a, *b
	x.Instances, x.Version, x.VersionInfo = y.Instances, y.Version, y.VersionInfo
	return reflect.DeepEqual(x, y)
}

// Changes names the fields in which two normalised apps differ, sorted; versions do
// not count. An app that was not there (nil) differs in none.
func Changes(a, b *App) []string {
	if a == nil || b == nil {
		return nil
	}
	var names []string
	theirs := b.parts()
	for name, mine := range a.parts() {
		if !reflect.DeepEqual(mine, theirs[name]) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
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
