package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// doArtifacts brings the cluster's artifact sets into the cache.
func (m *Manager) doArtifacts(ctx context.Context, c op.Call) op.Result {
	var s *stack.Stack
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var args applyArgs
		if err := json.Unmarshal([]byte(c.Operation.Args), &args); err != nil {
			return err
		}
		digest := args.StackDigest
		if digest == "" {
			cl, err := tx.ClusterByID(c.Operation.Cluster)
			if err != nil {
				return err
			}
			_, s, err = m.revision(tx, cl.ID, cl.Revision)
			return err
		}
		var err error
		s, err = m.stackByDigest(tx, digest)
		return err
	})
	if err != nil {
		return op.Fail(err)
	}
	for name := range s.Artifacts {
		if _, err := m.putBlob(s.LockText(name)); err != nil {
			return op.Fail(fmt.Errorf("cannot keep lock: %w", err))
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, fetchDeadline, fmt.Errorf("artifacts were not here after %s", fetchDeadline))
	defer cancel()
	err = m.cfg.Cache.Resolve(ctx, s.Locks(), m.noteProgress)
	if err != nil {
		return op.Fail(err)
	}
	for _, l := range s.Locks() {
		if _, err := m.cfg.Cache.Materialise(ctx, l); err != nil {
			return op.Fail(err)
		}
	}
	return op.Done(nil)
}

// noteProgress keeps how far artifact sets are, for whoever looks.
func (m *Manager) noteProgress(p artifact.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress[p.Set] = p
}
