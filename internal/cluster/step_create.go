package cluster

import (
	"context"
	"encoding/json"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// doCreateNode has the driver make the machine and waits for its agent.
func (m *Manager) doCreateNode(ctx context.Context, c op.Call) op.Result {
	n, d, err := m.machine(ctx, c)
	if err != nil {
		return op.Fail(err)
	}
	if n.Facts != nil {
		return op.Done(nil)
	}
	// A token may have been used up by a join whose answer was lost with the
	// server that gave it, so another server invites again.
	if m.waitsToJoin(n.ID, c.Step.State == api.StepWaiting) {
		return op.Wait("the agent of "+n.Name+" to join", m.joinBy())
	}
	join, err := m.joinFile(ctx, n)
	if err != nil {
		return op.Fail(err)
	}
	err = d.Create(ctx, infra.CreateRequest{Ref: ref(c.Operation.Name, n), Address: n.Address, Host: n.Host, MemoryMB: n.MemoryMB, CPUs: n.CPUs, Join: join})
	if err != nil {
		return driverResult(err)
	}
	return op.Wait("the agent of "+n.Name+" to join", m.joinBy())
}

// joinBy is when an agent that is invited now has to have joined.
func (m *Manager) joinBy() time.Time { return time.Now().Add(m.cfg.Join) }

// waitsToJoin reports whether this server has invited a node already; it notes
// that it is about to.
func (m *Manager) waitsToJoin(node string, waiting bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.invited[node]
	m.invited[node] = true
	return was && waiting
}

// joinFile makes a fresh one-time token for a node; older ones stop working.
func (m *Manager) joinFile(ctx context.Context, n store.Node) ([]byte, error) {
	token, hash := tenant.NewSecret()
	expires := time.Now().Add(joinTokenLife)
	err := m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.ClearTokens(n.ID); err != nil {
			return err
		}
		return tx.PutToken(hash, n.ID, expires)
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(agentapi.JoinFile{Node: n.ID, Server: m.cfg.AgentAddr, CA: string(m.cfg.Authority.Bundle()), Token: token, Expires: expires})
}
