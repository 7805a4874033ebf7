package cluster

import (
	"context"
	"errors"
	"strings"
	"time"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/store"
)

// doDrainNode wants a node to give up what it holds and waits until it has.
func (m *Manager) doDrainNode(ctx context.Context, c op.Call) op.Result {
	n, err := m.intend(ctx, c, func(n *store.Node) {
		if n.Intent == agentapi.IntentRun || n.Intent == agentapi.IntentStop {
			n.Intent = agentapi.IntentDrain
		}
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && (n.Intent != agentapi.IntentDrain || n.Facts == nil) {
		return op.Done(nil) // it holds nothing
	}
	if err != nil {
		return op.Fail(err)
	}
	now, err := m.see(ctx, n.ID)
	if err != nil {
		return op.Fail(err)
	}
	var open []string
	for _, s := range now.seen.Services {
		if !s.Drained {
			open = append(open, describe(s))
		}
	}
	until := time.Now().Add(drainDeadline)
	if now.seen.Generation < now.as.Generation {
		return op.Wait("the agent of "+n.Name+" to begin draining", until)
	}
	if len(open) > 0 {
		return op.Wait(strings.Join(open, "; "), until)
	}
	return op.Done(nil)
}
