package cluster

import (
	"context"
	"sync"
	"time"

	"howdah.dev/howdah/internal/store"
)

// Quiet lets a node's last report lie further back, as seen by a server that
// has been listening all the while.
func (m *Manager) Quiet(node string, by time.Duration) {
	m.mu.Lock()
	m.vitals[node].reported = time.Now().Add(-by)
	m.mu.Unlock()
	m.presence.mu.Lock()
	m.presence.from = time.Now().Add(-time.Hour)
	m.presence.mu.Unlock()
	m.pulse.Add(1)
}

// Look looks after the nodes once, and returns when what it began is done.
func (m *Manager) Look(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	m.presence.tick(time.Now())
	return m.lookAtNodes(ctx, &wg)
}

// Watches are what the server does about silent nodes.
func (m *Manager) Watches(ctx context.Context) (out map[string]store.Watch, err error) {
	err = m.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		out, err = tx.Watches()
		return err
	})
	return out, err
}

// CutShort leaves a node as a server does that ends while the driver is asked.
func (m *Manager) CutShort(ctx context.Context, cluster, node string) error {
	return m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		all, err := tx.Watches()
		if err != nil {
			return err
		}
		w := all[node]
		w.Mending = true
		return tx.PutWatch(cluster, node, w)
	})
}
