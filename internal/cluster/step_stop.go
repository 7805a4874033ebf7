package cluster

import (
	"context"
	"errors"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/store"
)

// doStopNode wants a node's services stopped and waits until they are.
func (m *Manager) doStopNode(ctx context.Context, c op.Call) op.Result {
	n, err := m.intend(ctx, c, func(n *store.Node) {
		// One that was never made is still to be made, one that goes is still to go.
		if n.Intent != agentapi.IntentNew && n.Intent != agentapi.IntentGone {
			n.Intent = agentapi.IntentStop
		}
	})
	if errors.Is(err, store.ErrNotFound) {
		return op.Done(nil)
	}
	if err != nil {
		return op.Fail(err)
	}
	if n.Intent == agentapi.IntentGone {
		return op.Done(nil) // its agent is not let in any more; the driver ends what runs
	}
	now, err := m.see(ctx, n.ID)
	if errors.Is(err, errNoHost) {
		return op.Done(nil) // nothing ever ran
	}
	if err != nil {
		return op.Fail(err)
	}
	switch off, err := m.isOff(ctx, c, n); {
	case err != nil:
		return driverResult(err)
	case off:
		return op.Done(nil)
	}
	grace := time.Duration(0)
	for _, s := range now.as.Services {
		grace = max(grace, s.Stop.Grace)
	}
	var open []string
	for _, s := range now.seen.Services {
		if s.State != api.StateStopped {
			open = append(open, describe(s))
		}
	}
	until := time.Now().Add(grace + stopSlack)
	if now.seen.Generation < now.as.Generation {
		return op.Wait("the agent of "+n.Name+" to begin stopping", until)
	}
	if len(open) > 0 {
		return op.Wait(strings.Join(open, "; "), until)
	}
	return op.Done(nil)
}

// isOff reports whether a node is switched off, so that nothing of it can
// answer. The driver need not be asked of one whose agent is connected.
func (m *Manager) isOff(ctx context.Context, c op.Call, n store.Node) (bool, error) {
	m.mu.Lock()
	_, connected := m.sessions[n.ID]
	m.mu.Unlock()
	if connected {
		return false, nil
	}
	d, err := m.driver(n.Infrastructure)
	if err != nil {
		return false, err
	}
	desc, err := d.Describe(ctx, ref(c.Operation.Name, n))
	switch {
	case infra.KindOf(err) == infra.KindNotFound && err != nil:
		return true, nil
	case err != nil:
		return false, err
	}
	return !desc.Powered, nil
}
