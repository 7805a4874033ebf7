package cluster

import (
	"context"
	"time"

	"howdah.dev/howdah/internal/store"
)

// kept is how much of the past the database keeps. Artifact sets stay: a
// cluster may come back to them.
var kept = store.Keep{Events: 10_000, Operations: 100, Revisions: 10}

const (
	// pruneEvery is the time between two looks for what is too old.
	pruneEvery = 30 * time.Minute
	// prunePause is left to others between two transactions of one look.
	prunePause = 50 * time.Millisecond
)

// prune removes what is too old from the database, now and from time to time.
// Each transaction stands alone: one that does not happen is made up for by
// the next look.
func (m *Manager) prune(ctx context.Context) {
	for ctx.Err() == nil {
		more := false
		err := m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			var err error
			more, err = tx.Prune(kept)
			return err
		})
		if err != nil && ctx.Err() == nil {
			m.cfg.Log.Warn("cannot remove what is too old", "error", err)
		}
		pause := pruneEvery
		if more && err == nil {
			pause = prunePause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}
