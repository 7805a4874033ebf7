package deploy

import (
	"cmp"
	"slices"

	"howdah.dev/howdah/internal/cell/instance"
)

// state is one look at an app's instances.
type state struct {
	t        Target
	floor    int // healthy ones that must stay
	capacity int // active ones that may be

	active int // all, ending ones too
	oldAll int // active ones to be replaced, ending ones too
	// Those that nobody has asked to end.
	fresh        []*instance.Instance // of the new version
	old          []*instance.Instance // to be replaced
	sentenced    []*instance.Instance
	lost         []*instance.Instance // written off with their worker, and not wanted any more
	ending       []*instance.Instance // active, and asked to end
	freshHealthy int
	oldHealthy   int
	// What may still be killed in this round without going below the floor.
	healthyBudget int
}

func survey(t Target, instances []*instance.Instance) *state {
	s := &state{t: t, floor: t.floor()}
	for _, i := range instances {
		s.add(i)
	}
	s.capacity = t.Wanted
	if s.oldAll > 0 {
		s.capacity = t.over(t.Wanted)
	}
	s.healthyBudget = s.oldHealthy + s.freshHealthy - s.floor
	return s
}

func (s *state) add(i *instance.Instance) {
	if !i.Active() {
		if !i.Terminal() && i.KillAsked == nil && (s.t.Wanted == 0 || s.t.Sentenced[i.ID]) {
			s.lost = append(s.lost, i)
		}
		return
	}
	s.active++
	old := s.isOld(i)
	if old {
		s.oldAll++
	}
	switch {
	case i.KillAsked != nil || i.Condition == instance.Killing:
		s.ending = append(s.ending, i)
	case s.t.Sentenced[i.ID]:
		s.sentenced = append(s.sentenced, i)
	case old:
		s.old = append(s.old, i)
		if s.healthy(i) {
			s.oldHealthy++
		}
	default:
		s.fresh = append(s.fresh, i)
		if s.healthy(i) {
			s.freshHealthy++
		}
	}
}

func (s *state) isOld(i *instance.Instance) bool {
	return s.t.Leaving[i.ID] || !s.t.accepts(i.Version)
}

// healthy tells whether an instance does its work. An old one that no check has
// spoken about counts as healthy: its own version may have had no checks.
func (s *state) healthy(i *instance.Instance) bool {
	if i.Condition != instance.Running {
		return false
	}
	if i.Healthy != nil && !*i.Healthy {
		return false
	}
	if !s.t.accepts(i.Version) {
		return true
	}
	return (!s.t.HealthChecks || i.Healthy != nil) && (!s.t.Readiness || i.Ready)
}

// order sorts victims as Marathon does: unreachable ones, staging, starting,
// running; then by the app's kill selection; the id makes it total.
func (s *state) order(victims []*instance.Instance) {
	slices.SortFunc(victims, func(a, b *instance.Instance) int {
		age := a.StagedAt.Compare(b.StagedAt)
		if s.t.KillSelection != OldestFirst {
			age = -age
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), age, cmp.Compare(a.ID, b.ID))
	})
}

func rank(i *instance.Instance) int {
	switch i.Condition {
	case instance.Unreachable, instance.UnreachableInactive:
		return 0
	case instance.Provisioned, instance.Staging:
		return 1
	case instance.Starting:
		return 2
	default:
		return 3
	}
}

// progress rises with every new instance that is healthy and every old or
// surplus one that is gone. It begins at the ceiling, so it is not below 0.
func (s *state) progress() int {
	surplus := max(0, s.active-s.oldAll-s.t.Wanted)
	return max(0, s.t.Ceiling()+s.freshHealthy-s.oldAll-surplus)
}
