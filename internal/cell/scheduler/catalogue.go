package scheduler

import (
	"path"

	"howdah.dev/howdah/internal/cell/app"
)

// catalogue counts what every update asks about all wanted apps, so that one
// among thousands costs no look at the others: below which paths there are apps,
// and which service ports they have.
type catalogue struct {
	beneath map[string]int
	ports   map[int]int
}

func newCatalogue() catalogue { return catalogue{map[string]int{}, map[int]int{}} }

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

// merge adds another catalogue.
func (c *catalogue) merge(o catalogue) {
	for at, n := range o.beneath {
		add(c.beneath, at, n)
	}
	for p, n := range o.ports {
		add(c.ports, p, n)
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
	return w.t.base.catalogue.ports[port]+w.t.catalogue.ports[port] > 0
}

// wantedWas takes what was wanted of an app out of the catalogue.
func (t *tx) wantedWas(old *App) {
	if old != nil && !old.Removed {
		t.catalogue.count(old.Spec, -1)
	}
}
