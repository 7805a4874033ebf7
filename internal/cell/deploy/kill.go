package deploy

import (
	"fmt"
	"slices"

	"howdah.dev/howdah/internal/cell/instance"
)

// sentence kills what somebody asked to end.
func (s *state) sentence() []Kill {
	var kills []Kill
	s.order(s.sentenced)
	for _, i := range s.sentenced {
		kills = append(kills, Kill{i.ID, "its end was asked for"})
	}
	s.order(s.lost)
	for _, i := range s.lost { // for when its worker returns
		kills = append(kills, Kill{i.ID, "it is not wanted any more"})
	}
	return kills
}

// killOld makes old instances go. At first as many as there are above the floor;
// then one for each new one that is healthy and ready. Unhealthy ones go first:
// they also make the room without which nothing new could start.
func (s *state) killOld() []Kill {
	count := len(s.old) + s.freshHealthy - s.floor
	if count <= 0 {
		return nil
	}
	s.order(s.old)
	victims := slices.Clone(s.old)
	slices.SortStableFunc(victims, func(a, b *instance.Instance) int { return s.worth(a) - s.worth(b) })
	var kills []Kill
	for _, i := range s.pick(victims, count) {
		kills = append(kills, Kill{i.ID, s.whyOld(i)})
	}
	return kills
}

// worth ranks old instances: not healthy, perhaps healthy, healthy.
func (s *state) worth(i *instance.Instance) int {
	switch {
	case !s.healthy(i):
		return 0
	case s.t.HealthChecks && i.Healthy == nil:
		return 1
	default:
		return 2
	}
}

func (s *state) whyOld(i *instance.Instance) string {
	switch {
	case s.t.Wanted == 0:
		return "no instance is wanted any more"
	case s.t.Leaving[i.ID]:
		return "it leaves its worker"
	default:
		return "it is of an older version"
	}
}

// killSurplus ends new instances above the wanted number, and forgets them.
func (s *state) killSurplus() []Kill {
	count := len(s.fresh) - s.t.Wanted
	if count <= 0 {
		return nil
	}
	s.order(s.fresh)
	why := fmt.Sprintf("%s wanted, it is one too many", is(s.t.Wanted))
	if s.t.Wanted == 0 {
		why = "no instance is wanted any more"
	}
	var kills []Kill
	gone := map[*instance.Instance]bool{}
	for _, i := range s.pick(s.balanced(s.fresh, count), count) {
		kills, gone[i] = append(kills, Kill{i.ID, why}), true
		if s.healthy(i) {
			s.freshHealthy--
		}
	}
	s.fresh = slices.DeleteFunc(s.fresh, func(i *instance.Instance) bool { return gone[i] })
	return kills
}

// balanced puts those first whose removal balances constraints.
func (s *state) balanced(victims []*instance.Instance, n int) []*instance.Instance {
	if s.t.Balance == nil {
		return victims
	}
	byID := make(map[string]*instance.Instance, len(victims))
	for _, i := range victims {
		byID[i.ID] = i
	}
	var first []*instance.Instance
	for _, id := range s.t.Balance(victims, n) {
		if i := byID[id]; i != nil {
			first = append(first, i)
			delete(byID, id)
		}
	}
	for _, i := range victims {
		if byID[i.ID] != nil {
			first = append(first, i)
		}
	}
	return first
}

// pick takes up to count victims in their order, and passes over healthy ones
// that the floor protects.
func (s *state) pick(victims []*instance.Instance, count int) []*instance.Instance {
	var picked []*instance.Instance
	for _, i := range victims {
		if len(picked) == count {
			break
		}
		if s.healthy(i) {
			if s.healthyBudget <= 0 {
				continue
			}
			s.healthyBudget--
		}
		picked = append(picked, i)
	}
	return picked
}
