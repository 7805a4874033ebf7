package match

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"howdah.dev/howdah/internal/cell/mesos"
)

// Names of the resources that apps ask for.
const (
	cpus  = "cpus"
	mem   = "mem"
	disk  = "disk"
	gpus  = "gpus"
	ports = "ports"
)

// scalarAt returns a scalar's place in need and worker, -1 for others. The order
// is that in which they are looked at.
func scalarAt(name string) int {
	switch name {
	case cpus:
		return 0
	case mem:
		return 1
	case disk:
		return 2
	case gpus:
		return 3
	default:
		return -1
	}
}

// need is what one instance takes.
type need struct {
	scalar [4]int64 // in thousandths, see scalarAt
	exact  []uint64 // ports, without repetition
	any    int      // so many ports beyond
}

func needOf(req Request) need {
	n := need{scalar: [4]int64{mesos.Milli(req.CPUs), mesos.Milli(req.Mem), mesos.Milli(req.Disk), int64(req.GPUs) * 1000}}
	for _, p := range req.Ports {
		switch number := uint64(max(0, p.Number)); { //nolint:gosec // not negative
		case p.None:
		case number == 0:
			n.any++
		case !slices.Contains(n.exact, number): // one port for both tcp and udp
			n.exact = append(n.exact, number)
		}
	}
	return n
}

// worker is one worker with what its offers still hold.
type worker struct {
	id, host, address string
	region, zone      string
	role              string
	attributes        []mesos.Attribute
	runtimes          []string
	leaving           bool
	offers            []mesos.ID
	scalar            [4][]amount
	ports             []portPool
	found             []string // roles of what is offered, where none is accepted

	values []value // of the constraints' fields
	load   int     // instances of this app
	placed int     // of them by this search
	room   int     // instances that still fit
}

// amount is what is left of one offered resource.
type amount struct {
	of   mesos.Resource
	left int64 // in thousandths
}

// join makes workers of offers, in the order in which they first appear. What one
// offers to several roles cannot be taken together: it is as if there were several.
func (s *search) join(offers []Offer) []*worker {
	type key struct{ id, role string }
	known := make(map[key]*worker, len(offers))
	var out []*worker
	for n := range offers {
		o := &offers[n]
		k := key{id: o.AgentID.Value}
		if o.AllocationInfo != nil {
			k.role = o.AllocationInfo.Role
		}
		w := known[k]
		if w == nil {
			w = newWorker(o)
			known[k] = w
			out = append(out, w)
		}
		w.offers = append(w.offers, o.ID)
		w.leaving = w.leaving || o.Leaving
		s.hold(w, o.Resources)
	}
	for _, w := range out {
		w.sort()
	}
	return out
}

func newWorker(o *Offer) *worker {
	w := &worker{id: o.AgentID.Value, host: o.Hostname, attributes: o.Attributes, runtimes: o.Runtimes}
	if o.URL != nil {
		w.address = o.URL.Address.IP
	}
	if o.Domain != nil && o.Domain.FaultDomain != nil {
		w.region, w.zone = o.Domain.FaultDomain.Region.Name, o.Domain.FaultDomain.Zone.Name
	}
	if o.AllocationInfo != nil {
		w.role = o.AllocationInfo.Role
	}
	return w
}

// mostOffered bounds a scalar, so that sums of thousandths stay far from the end
// of int64.
const mostOffered = 1e12

// hold adds the resources that the app accepts.
func (s *search) hold(w *worker, offered []mesos.Resource) {
	for _, r := range offered {
		role := r.ReservedFor()
		if !s.accepts(role) {
			if !slices.Contains(w.found, role) {
				w.found = append(w.found, role)
			}
			continue
		}
		if at := scalarAt(r.Name); at >= 0 && r.Scalar != nil && r.Scalar.Value >= 0 { // not NaN either
			w.scalar[at] = append(w.scalar[at], amount{r, mesos.Milli(min(r.Scalar.Value, mostOffered))})
		}
		if r.Name == ports && r.Ranges != nil {
			w.ports = append(w.ports, newPortPool(r))
		}
	}
}

// accepts tells whether resources reserved for role may be used: those of an
// accepted role, or of a role above it.
func (s *search) accepts(role string) bool {
	return slices.ContainsFunc(s.roles, func(a string) bool { return a == role || strings.HasPrefix(a, role+"/") })
}

// sort has reserved resources taken first: others can use the unreserved ones.
func (w *worker) sort() {
	for n := range w.scalar {
		slices.SortStableFunc(w.scalar[n], func(a, b amount) int { return unreserved(a.of) - unreserved(b.of) })
	}
	slices.SortStableFunc(w.ports, func(a, b portPool) int { return unreserved(a.of) - unreserved(b.of) })
}

func unreserved(r mesos.Resource) int {
	if r.ReservedFor() == mesos.DefaultRole {
		return 1
	}
	return 0
}

func (w *worker) free(scalar int) int64 {
	var n int64
	for _, a := range w.scalar[scalar] {
		n += a.left
	}
	return n
}

func (w *worker) freePorts() int {
	n := 0
	for _, p := range w.ports {
		n += p.free
	}
	return n
}

// hasPorts tells whether the exact ports are free, and enough others.
func (w *worker) hasPorts(n need) bool {
	for _, p := range n.exact {
		if !w.hasPort(p) {
			return false
		}
	}
	return w.freePorts() >= len(n.exact)+n.any
}

func (w *worker) hasPort(p uint64) bool {
	return slices.ContainsFunc(w.ports, func(pool portPool) bool { return pool.has(p) })
}

// room returns how many instances fit by scalars; ports only say whether one does.
func (s *search) room(w *worker) int {
	room := int64(math.MaxInt32)
	for n, want := range s.need.scalar {
		if want > 0 {
			room = min(room, w.free(n)/want)
		}
	}
	return int(room)
}

// take takes what one instance needs; that it is there was checked before.
func (w *worker) take(n need, wanted []Port, random *rand.Rand) ([]int, []mesos.Resource) {
	out := make([]mesos.Resource, 0, 5)
	for at, want := range n.scalar {
		for k := range w.scalar[at] {
			a := &w.scalar[at][k]
			part := min(want, a.left)
			if part <= 0 {
				continue
			}
			a.left -= part
			want -= part
			r := a.of
			r.Scalar = &mesos.ScalarValue{Value: float64(part) / 1000}
			out = append(out, r)
		}
	}
	numbers, taken := w.takePorts(n, wanted, random)
	return numbers, append(out, taken...)
}
