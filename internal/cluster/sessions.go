package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/session"
	"howdah.dev/howdah/internal/store"
)

// Target is a node that sessions are opened with.
type Target struct {
	ID, Name string
	Services []string // it has or reported
}

// Targets finds nodes of a cluster by name, all where none is named.
func (m *Manager) Targets(ctx context.Context, cluster string, names ...string) ([]Target, error) {
	var out []Target
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		c, err := tx.Cluster(cluster)
		if err != nil {
			return err
		}
		nodes, err := tx.Nodes(c.ID)
		if err != nil {
			return err
		}
		seen, err := tx.ObservedOf(c.ID)
		if err != nil {
			return err
		}
		var have []string
		for _, n := range nodes {
			have = append(have, n.Name)
			if len(names) > 0 && !slices.Contains(names, n.Name) {
				continue
			}
			p := Target{ID: n.ID, Name: n.Name}
			for _, s := range seen[n.ID].Report.Services {
				p.Services = append(p.Services, s.Name)
			}
			out = append(out, p)
		}
		for _, name := range names {
			if !slices.Contains(have, name) {
				return fmt.Errorf("node %s of cluster %s: %w; its nodes are %s", name, cluster, store.ErrNotFound, strings.Join(have, ", "))
			}
		}
		return nil
	})
	return out, err
}

// Broker joins agents that dial with those who wait for them.
func (m *Manager) Broker() *session.Broker { return m.broker }

// Open opens a session with a node's agent; see session.Broker.
func (m *Manager) Open(ctx context.Context, p Target, r agentapi.SessionRequest, idle time.Duration) (*session.Session, error) {
	a := session.Agent{Node: p.ID, Name: p.Name, Ask: func(agentapi.SessionRequest) bool { return false }}
	m.mu.Lock()
	st := m.sessions[p.ID]
	m.mu.Unlock()
	if st != nil {
		a.Gone = st.gone
		a.Ask = func(r agentapi.SessionRequest) bool {
			select {
			case st.asks <- &r:
				return true
			default: // as many as may be open are on their way
				return false
			}
		}
	}
	return m.broker.Open(ctx, a, r, idle)
}

// NoteExec records who runs a command on a node; of the command only its program.
func (m *Manager) NoteExec(ctx context.Context, cluster string, p Target, who, program string) error {
	return m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.Event(api.Event{
			Type: api.EventExec, Cluster: cluster, Node: p.Name, Message: fmt.Sprintf("%s runs %s on %s", who, program, p.Name),
			Data: map[string]any{"who": who, "program": program},
		})
	})
}
