package match

import (
	"cmp"
	"slices"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
)

// Balance returns a function that chooses which instances to end so that those
// which stay are spread as GROUP_BY constraints ask. It returns at most n ids,
// fewer where ending more would make nothing more even, and nil without such a
// constraint. Candidates come in the order in which they would go otherwise.
func Balance(constraints []app.Constraint) func(candidates []*instance.Instance, n int) []string {
	var grouping []app.Constraint
	for _, c := range constraints {
		if c.Operator() == app.GroupBy {
			grouping = append(grouping, c)
		}
	}
	if len(grouping) == 0 {
		return nil
	}
	return func(candidates []*instance.Instance, n int) []string {
		var spreads []*spread
		for _, c := range grouping {
			spreads = append(spreads, newSpread(c, candidates))
		}
		var ids []string
		taken := make([]bool, len(candidates))
		for len(ids) < n {
			at := choose(spreads, taken)
			if at < 0 {
				break
			}
			taken[at] = true
			ids = append(ids, candidates[at].ID)
			for _, s := range spreads {
				s.size[s.of[at]]--
			}
		}
		return ids
	}
}

// spread is how instances lie in the groups of one constraint.
type spread struct {
	of      []int   // candidate → group
	size    []int   // of each group
	members [][]int // candidates of each group
}

func newSpread(c app.Constraint, candidates []*instance.Instance) *spread {
	r := newRule(c, nil, nil)
	s := &spread{of: make([]int, len(candidates))}
	without := -1 // the group of those without the field
	for at, i := range candidates {
		g := r.value(i.Host, i.Region, i.Zone, i.Attributes).group
		if g < 0 {
			if without < 0 {
				without = r.group("")
			}
			g = without
		}
		for len(s.size) <= g {
			s.size, s.members = append(s.size, 0), append(s.members, nil)
		}
		s.of[at] = g
		s.size[g]++
		s.members[g] = append(s.members[g], at)
	}
	return s
}

// difference is that between the largest and the smallest group.
func (s *spread) difference() int {
	if len(s.size) == 0 {
		return 0
	}
	return slices.Max(s.size) - slices.Min(s.size)
}

// better tells whether the groups are even without one candidate, or it is of a
// largest one.
func (s *spread) better(at int) bool {
	g := s.of[at]
	if s.size[g] == slices.Max(s.size) {
		return true
	}
	s.size[g]--
	even := s.difference() <= 1
	s.size[g]++
	return even
}

// choose returns a candidate of the largest group of the worst spread whose end
// no constraint minds, or -1.
func choose(spreads []*spread, taken []bool) int {
	worst := slices.SortedStableFunc(slices.Values(spreads), func(a, b *spread) int { return cmp.Compare(b.difference(), a.difference()) })
	for _, s := range worst {
		groups := make([]int, len(s.size))
		for g := range groups {
			groups[g] = g
		}
		slices.SortStableFunc(groups, func(a, b int) int { return cmp.Compare(s.size[b], s.size[a]) })
		for _, g := range groups {
			for _, at := range s.members[g] {
				if !taken[at] && !slices.ContainsFunc(spreads, func(o *spread) bool { return !o.better(at) }) {
					return at
				}
			}
		}
	}
	return -1
}
