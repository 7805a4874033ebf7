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
		return tx.DeleteNode(n.ID, n.Cluster)
	})
}

// doForget removes the cluster's rows; its operations and events stay.
func (m *Manager) doForget(_ context.Context, c op.Call) op.Result {
	return op.Done(func(tx *store.Tx) error { return tx.DeleteCluster(c.Operation.Cluster) })
}
