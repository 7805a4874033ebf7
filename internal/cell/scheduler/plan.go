package scheduler

import (
	"maps"
	"slices"
	"time"

	"howdah.dev/howdah/internal/cell/deploy"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/match"
)

// settle plans every app that was touched, until no plan touches another.
func (t *tx) settle() {
	for len(t.dirty) > 0 {
		ids := slices.Sorted(maps.Keys(t.dirty))
		clear(t.dirty)
		for _, id := range ids {
			t.plan(id)
		}
	}
}

// plan computes what is to be done for one app, and does the part of it that
// needs no offer.
func (t *tx) plan(id string) {
	a := t.apps.get(id)
	instances := t.of(id)
	if a == nil {
		t.decisions.remove(id)
		for _, i := range instances {
			t.kill(i, "its app is gone")
		}
		return
	}
	target, held := t.target(a)
	d := deploy.Next(target, instances, t.now)
	if held != nil {
		d.Done, d.Launch = false, min(d.Launch, max(0, target.Wanted-len(instances)))
		d.Wait = "waits for apps it depends on"
	}
	for _, k := range d.Kill {
		if i := t.instances.get(k.ID); i != nil {
			t.kill(i, k.Why)
		}
	}
	if a.Removed && len(instances) == 0 {
		t.forget(a)
		return
	}
	if d.Done && a.Base != a.Spec.Instances && !a.Removed {
		a = clone(a)
		a.Base = a.Spec.Instances
		t.apps.put(id, a)
	}
	t.decisions.put(id, &d)
	t.remind(a, d, held == nil, instances)
}

// target says what an app should be at this moment.
func (t *tx) target(a *App) (deploy.Target, *Deployment) {
	spec, s := a.Spec, a.Spec.UpgradeStrategy
	target := deploy.Target{
		Wanted: spec.Instances, Base: a.Base, Version: a.Accept, KillSelection: spec.KillSelection,
		Strategy:     deploy.Strategy{MinimumHealth: s.MinimumHealthCapacity, MaximumOver: s.MaximumOverCapacity},
		HealthChecks: len(spec.HealthChecks) > 0, Readiness: len(spec.ReadinessChecks) > 0,
		Leaving: t.leaving(spec.ID),
	}
	if len(spec.Constraints) > 0 {
		target.Balance = match.Balance(spec.Constraints)
	}
	if d := t.deploymentOf(spec.ID); d != nil {
		target.Deadline = deploy.Deadline{Started: d.Version.Time, LastProgress: d.Progressed, Limit: t.cfg.ProgressDeadline}
	}
	was, held := t.held(spec.ID)
	if held != nil {
		target.Wanted, target.Version = was.Instances, time.Time{}
		if was.Version == "" || was.Removed {
			target.Wanted = 0
		}
	}
	if a.Removed {
		target.Wanted = 0
	}
	return target, held
}

// forget removes an app that has no instance left.
func (t *tx) forget(a *App) {
	id := a.Spec.ID
	t.apps.remove(id)
	t.decisions.remove(id)
	t.visible[id] = true
	t.emit("app_terminated_event", appEvent{AppID: id})
}

// remind has the engine work again when time alone will change the plan. The
// deadline is that of apps that their deployment has reached.
func (t *tx) remind(a *App, d deploy.Decision, reached bool, instances []*instance.Instance) {
	if d.Launch > 0 && a.Backoff.Until.After(t.now) {
		t.at(a.Backoff.Until)
	}
	if limit := t.cfg.ProgressDeadline; reached && !d.Done && d.Stalled == "" && limit > 0 {
		if dep := t.deploymentOf(a.Spec.ID); dep != nil {
			t.due(a.Spec.ID, latest(dep.Version.Time, dep.Progressed).Add(limit))
		}
	}
	for _, i := range instances {
		t.remindOf(a, i)
	}
}

// due has an app planned again at a moment.
func (t *tx) due(id string, when time.Time) {
	t.timers[id] = earliest(t.timers[id], when)
	t.at(when)
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// leaving returns the instances of an app that must go elsewhere.
func (t *tx) leaving(id string) map[string]bool {
	if len(t.drained) == 0 {
		return nil
	}
	out := map[string]bool{}
	for _, i := range t.of(id) {
		if t.drained[i.AgentID] {
			out[i.ID] = true
		}
	}
	return out
}
