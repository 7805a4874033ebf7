package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/store"
)

// doDeleteNode has the driver remove a node, then forgets it.
func (m *Manager) doDeleteNode(ctx context.Context, c op.Call) op.Result {
	n, err := m.intend(ctx, c, func(n *store.Node) { n.Intent = agentapi.IntentGone })
	if errors.Is(err, store.ErrNotFound) {
		return op.Done(nil)
	}
	if err != nil {
		return op.Fail(err)
	}
	m.dismiss(n.ID)
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
		if err := tx.PutAudit(store.Audit{Who: "server", What: "revoke-node", Object: n.Name, Status: http.StatusOK, Detail: fmt.Sprintf("operation %d", c.Operation.ID)}); err != nil {
			return err
		}
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
	delete(m.ids.shown, node)
}

// doForget removes the cluster's rows; its operations and events stay.
func (m *Manager) doForget(_ context.Context, c op.Call) op.Result {
	return op.Done(func(tx *store.Tx) error {
		left, err := tx.Nodes(c.Operation.Cluster) // of steps that were skipped
		if err != nil {
			return err
		}
		for _, n := range left {
			m.dismiss(n.ID)
		}
		return tx.DeleteCluster(c.Operation.Cluster)
	})
}
