package cluster

import (
	"context"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// doConfigureNode moves a node to the cluster's newest revision and waits
// until its services are ready with it.
func (m *Manager) doConfigureNode(ctx context.Context, c op.Call) op.Result {
	var rev *stack.Revision
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		cl, err := tx.ClusterByID(c.Operation.Cluster)
		if err != nil {
			return err
		}
		rev, _, err = m.revision(tx, cl.ID, cl.Revision)
		return err
	})
	if err != nil {
		return op.Fail(err)
	}
	n, err := m.intend(ctx, c, func(n *store.Node) {
		n.Revision = rev.Number
		if mem, ok := rev.Member(n.Name); ok {
			n.MemoryMB, n.CPUs = mem.MemoryMB, mem.CPUs
		}
	})
	if err != nil {
		return op.Fail(err)
	}
	if n.Intent == agentapi.IntentStop {
		return op.Done(nil)
	}
	return untilReady(m.see(ctx, n.ID))
}
