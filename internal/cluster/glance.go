package cluster

import (
	"context"
	"sync"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/store"
)

// glance is how a cluster was when somebody asked last. Hundreds may ask at once, again
// and again, and putting together what is known of a thousand nodes takes tens of
// milliseconds: who asks gets what was put together after they asked, or what would be
// the same.
type glance struct {
	mu sync.Mutex // held while it is put together
	as moment
	st api.ClusterStatus // shared: nobody may change it
}

// moment is a point in the life of what statuses are made of.
type moment struct {
	commits uint64    // of the store
	pulse   uint64    // see Manager.pulse
	wall    time.Time // by the manager's clock
	at      time.Time // monotonic
}

// fresh bounds how old a status may be where nothing has changed but the time: when
// agents reported last, what ends or falls silent.
const fresh = time.Second

// now returns the present moment. What is read from here on is at least as new.
func (m *Manager) now() moment {
	return moment{commits: m.cfg.Store.Commits(), pulse: m.pulse.Load(), wall: m.clock.Wall(), at: time.Now()}
}

// serves reports whether what was made as of a moment answers who asked at another.
func (made moment) serves(asked moment) bool {
	return made.commits >= asked.commits && made.pulse >= asked.pulse &&
		asked.at.Sub(made.at) < fresh && asked.wall.Sub(made.wall).Abs() < fresh
}

// statusOf returns how a cluster is. Callers share the answer and may not change it.
func (m *Manager) statusOf(ctx context.Context, id string) (api.ClusterStatus, error) {
	asked := m.now()
	g := m.glanceOf(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.as.serves(asked) {
		return g.st, nil
	}
	as := m.now()
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		c, err := tx.ClusterByID(id)
		if err != nil {
			return err
		}
		st, err := m.status(tx, c)
		if err == nil {
			g.as, g.st = as, st
		}
		return err
	})
	return g.st, err
}

func (m *Manager) glanceOf(id string) *glance {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.glances[id]
	if g == nil {
		g = &glance{}
		m.glances[id] = g
	}
	return g
}

// forgetGlances drops what is kept of clusters that are gone.
func (m *Manager) forgetGlances(there []store.Cluster) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.glances) <= len(there) {
		return
	}
	kept := make(map[string]*glance, len(there))
	for _, c := range there {
		if g := m.glances[c.ID]; g != nil {
			kept[c.ID] = g
		}
	}
	m.glances = kept
}
