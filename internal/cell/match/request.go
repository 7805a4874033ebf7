package match

import (
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
)

// For returns what a normalised app asks for, without Count, MaxPerOffer and
// Seed. Of its instances those count for constraints that are active and of the
// configuration that last changed at version, or newer.
func For(a *app.App, version time.Time, instances []*instance.Instance) Request {
	req := Request{
		App: a.ID, Role: a.Role, Accepted: a.AcceptedResourceRoles,
		CPUs: a.CPUs, Mem: a.Mem, Disk: a.Disk, GPUs: a.GPUs,
		Constraints: a.Constraints,
		Container:   a.Container != nil && a.Container.Docker != nil && a.Container.Docker.Image != "",
	}
	for _, p := range a.Ports() {
		want := Port{None: p.Host == nil}
		if p.Host != nil {
			want.Number = *p.Host
		}
		req.Ports = append(req.Ports, want)
	}
	for _, i := range instances {
		if i.Active() && !i.Version.Before(version) {
			req.Existing = append(req.Existing, i)
		}
	}
	return req
}
