package match

import (
	"math/rand/v2"
	"slices"

	"howdah.dev/howdah/internal/cell/mesos"
)

// portPool is what is left of one offered resource of ports.
type portPool struct {
	of     mesos.Resource
	ranges []mesos.Range // sorted, apart; of this pool alone
	free   int
}

func newPortPool(r mesos.Resource) portPool {
	p := portPool{of: r, ranges: mesos.Resources{r}.Ranges(ports)}
	for n, g := range p.ranges {
		p.ranges[n].End = min(g.End, 65535)
		if g.Begin <= p.ranges[n].End {
			p.free += int(p.ranges[n].End-g.Begin) + 1 //nolint:gosec // at most 65,536
		}
	}
	p.ranges = slices.DeleteFunc(p.ranges, func(g mesos.Range) bool { return g.Begin > g.End })
	return p
}

func (p *portPool) has(port uint64) bool {
	return slices.ContainsFunc(p.ranges, func(g mesos.Range) bool { return g.Begin <= port && port <= g.End })
}

// cut takes a port out.
func (p *portPool) cut(port uint64) bool {
	for n, g := range p.ranges {
		if port < g.Begin || port > g.End {
			continue
		}
		p.free--
		switch {
		case g.Begin == g.End:
			p.ranges = slices.Delete(p.ranges, n, n+1)
		case port == g.Begin:
			p.ranges[n].Begin++
		case port == g.End:
			p.ranges[n].End--
		default:
			p.ranges[n].End = port - 1
			p.ranges = slices.Insert(p.ranges, n+1, mesos.Range{Begin: port + 1, End: g.End})
		}
		return true
	}
	return false
}

// nth returns the port at a place among the free ones.
func (p *portPool) nth(at int) uint64 {
	for _, g := range p.ranges {
		size := int(g.End-g.Begin) + 1 //nolint:gosec // at most 65,536
		if at < size {
			return g.Begin + uint64(at) //nolint:gosec // not negative
		}
		at -= size
	}
	return 0
}

// takePorts takes the exact ports, then chooses the others by chance: a port
// that was free a moment ago is likely still closing. Reserved ones go first.
func (w *worker) takePorts(n need, wanted []Port, random *rand.Rand) ([]int, []mesos.Resource) {
	if len(wanted) == 0 {
		return nil, nil
	}
	taken := make([][]mesos.Range, len(w.ports))
	note := func(pool int, port uint64) {
		taken[pool] = append(taken[pool], mesos.Range{Begin: port, End: port})
	}
	for _, port := range n.exact {
		for k := range w.ports {
			if w.ports[k].cut(port) {
				note(k, port)
				break
			}
		}
	}
	numbers := make([]int, len(wanted))
	for at, p := range wanted {
		if p.None {
			continue
		}
		if p.Number != 0 {
			numbers[at] = p.Number
			continue
		}
		k := slices.IndexFunc(w.ports, func(p portPool) bool { return p.free > 0 })
		port := w.ports[k].nth(random.IntN(w.ports[k].free))
		w.ports[k].cut(port)
		note(k, port)
		numbers[at] = int(port) //nolint:gosec // at most 65,535
	}
	var out []mesos.Resource
	for k, ranges := range taken {
		if len(ranges) > 0 {
			r := w.ports[k].of
			r.Ranges = &mesos.RangesValue{Range: mesos.Resources{mesos.NewRanges(ports, ranges...)}.Ranges(ports)}
			out = append(out, r)
		}
	}
	return numbers, out
}
