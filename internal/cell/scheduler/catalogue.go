package scheduler

import (
	"math"
	"path"

	"howdah.dev/howdah/internal/cell/app"
)

// catalogue counts what every update asks about all wanted apps, so that one
// among thousands costs no look at the others: below which paths there are apps,
// and which service ports they have.
type catalogue struct {
	beneath map[string]int
	ports   map[int]int
	// taken is ports as a table, for an update may ask about thousands of them; only
	// the committed catalogue has it.
	taken []bool
}

func newCatalogue() catalogue { return catalogue{beneath: map[string]int{}, ports: map[int]int{}} }

// count adds an app n times; -1 takes it away.
func (c *catalogue) count(spec *app.App, n int) {
	for at := path.Dir(spec.ID); at != "/" && at != "."; at = path.Dir(at) {
		add(c.beneath, at, n)
	}
	for _, p := range spec.PortDefinitions {
		add(c.ports, p.Port, n)
	}
	if spec.Container != nil {
		for _, p := range spec.Container.PortMappings {
			add(c.ports, p.ServicePort, n)
		}
	}
}

// merge adds another catalogue, and brings the table up to date.
func (c *catalogue) merge(o catalogue) {
	for at, n := range o.beneath {
		add(c.beneath, at, n)
	}
	if c.taken == nil {
		c.taken = make([]bool, math.MaxUint16+1)
	}
	for p, n := range o.ports {
		add(c.ports, p, n)
		if p >= 0 && p < len(c.taken) {
			c.taken[p] = c.ports[p] > 0
		}
	}
}

func add[K comparable](to map[K]int, key K, n int) {
	if to[key] += n; to[key] == 0 {
		delete(to, key)
	}
}

// Beneath tells whether any wanted app has an id below a path.
func (w Wanted) Beneath(id string) bool {
	return w.t.base.catalogue.beneath[id]+w.t.catalogue.beneath[id] > 0
}

// TakesPort tells whether any wanted app has a service port.
func (w Wanted) TakesPort(port int) bool {
	base := &w.t.base.catalogue
	if n := w.t.catalogue.ports[port]; n != 0 { // few: those of this batch
		return base.ports[port]+n > 0
	}
	return port >= 0 && port < len(base.taken) && base.taken[port]
}

// wantedWas takes what was wanted of an app out of the catalogue.
func (t *tx) wantedWas(old *App) {
	if old != nil && !old.Removed {
		t.catalogue.count(old.Spec, -1)
	}
}
