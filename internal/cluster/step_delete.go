package cluster

import (
	"context"
	"errors"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/store"
)

// doDeleteNode has the driver remove a node, then forgets it.
func (m *Manager) doDeleteNode(ctx context.Context, c op.Call) op.Result {
	n, err := m.intend(ctx, c.Step.Node, func(n *store.Node) { n.Intent = agentapi.IntentGone })
	if errors.Is(err, store.ErrNotFound) {
		return op.Done(nil)
	}
	if err != nil {
		return op.Fail(err)
	}
	d, err := m.driver(n.Infrastructure)
	if err != nil {
		return op.Fail(err)
	}
	if err := d.Delete(ctx, ref(c.Operation.Name, n)); err != nil {
		return driverResult(err)
	}
	return op.Done(func(tx *store.Tx) error {
		if err := tx.ReleaseOnce(n.Cluster, n.ID); err != nil {
			return err
		}
		m.forget(n.ID)
		return tx.DeleteNode(n.ID, n.Cluster)
	})
}

// forget drops what is remembered of a node beside the store. It comes back as
// needed where the node's deletion is not committed.
func (m *Manager) forget(node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rendered, node)
	delete(m.invited, node)
	delete(m.vitals, node)
}

// doForget removes the cluster's rows; its operations and events stay.
func (m *Manager) doForget(_ context.Context, c op.Call) op.Result {
	return op.Done(func(tx *store.Tx) error { return tx.DeleteCluster(c.Operation.Cluster) })
}
