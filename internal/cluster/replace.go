package cluster

import (
	"context"
	"fmt"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/store"
)

// understood refuses an agent that speaks another protocol, and remembers why,
// because its node's status has to say it.
func (m *Manager) understood(r *agentapi.WatchRequest) error {
	err := agentapi.CheckAgent(r.Facts.Protocol)
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.pulse.Add(1)
	if err != nil {
		m.unheard[r.Node] = err.Error()
	} else {
		delete(m.unheard, r.Node)
	}
	return err
}

// ReplaceAgent has the agent of a node started anew, with the program the
// installation has now; what the node runs goes on. The call returns when the
// former agent has ended.
func (m *Manager) ReplaceAgent(ctx context.Context, cluster, node string) error {
	var c store.Cluster
	var n *store.Node
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		if c, err = tx.Cluster(cluster); err != nil {
			return err
		}
		all, err := tx.Nodes(c.ID)
		for i := range all {
			if all[i].Name == node {
				n = &all[i]
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if n == nil {
		return fmt.Errorf("node %s of cluster %s: %w", node, cluster, store.ErrNotFound)
	}
	r, ok := m.cfg.Drivers[n.Infrastructure].(infra.AgentReplacer)
	if !ok {
		return fmt.Errorf("%w: the infrastructure %s cannot replace the agent of %s; put the new howdah on its host and restart the agent there", ErrUnsupported, n.Infrastructure, node)
	}
	if err := r.ReplaceAgent(ctx, ref(c.Name, *n)); err != nil {
		if infra.KindOf(err) == infra.KindConflict {
			return fmt.Errorf("%w: %w", ErrBusy, err)
		}
		return err
	}
	return m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.Event(api.Event{Type: "agent.replaced", Cluster: c.Name, Node: n.Name, Message: "the agent of " + n.Name + " is started anew with the present program"})
	})
}
