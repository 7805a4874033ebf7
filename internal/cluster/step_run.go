package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/store"
)

// doRunNode wants a node's services running and waits until they are ready.
func (m *Manager) doRunNode(ctx context.Context, c op.Call) op.Result {
	if c.Step.Optional {
		if n, err := m.node(ctx, c); err == nil && n.Facts == nil {
			return op.Fail(errors.New("it was not made"))
		}
	}
	run := func(n *store.Node) { n.Intent = agentapi.IntentRun }
	if c.Step.State != api.StepWaiting { // else it was written before
		if _, err := m.intend(ctx, c, run); err != nil {
			return op.Fail(err)
		}
	}
	s, err := m.see(ctx, c.Step.Node)
	if err == nil && s.node.Intent != agentapi.IntentRun {
		if _, err := m.intend(ctx, c, run); err != nil {
			return op.Fail(err)
		}
		s, err = m.see(ctx, c.Step.Node)
	}
	return untilReady(s, err)
}

// untilReady waits for every service of a node at its newest assignment.
func untilReady(s sight, err error) op.Result {
	n, as, seen := s.node, s.as, s.seen
	if errors.Is(err, errNoHost) {
		return op.Wait(noHost(n), time.Now().Add(joinDeadline))
	}
	if err != nil {
		return op.Fail(err)
	}
	until := time.Now().Add(patience(as))
	if seen.Generation < as.Generation {
		return op.Wait(fmt.Sprintf("the agent of %s to take up its assignment", n.Name), until)
	}
	var open []string
	for _, want := range as.Services {
		i := slices.IndexFunc(seen.Services, func(s api.ServiceStatus) bool { return s.Name == want.Name })
		switch {
		case i < 0:
			open = append(open, want.Name)
		case seen.Services[i].State != api.StateReady:
			open = append(open, describe(seen.Services[i]))
		}
	}
	if len(open) > 0 {
		return op.Wait(strings.Join(open, "; "), until)
	}
	return op.Done(nil)
}

// noHost says why a node cannot be rendered.
func noHost(n store.Node) string {
	if n.Facts == nil {
		return "the agent of " + n.Name + " to join"
	}
	var have []string
	for _, j := range n.Facts.Javas {
		have = append(have, fmt.Sprintf("%s in %s", j.Version, j.Home))
	}
	return fmt.Sprintf("a Java that fits on %s; found: %s", n.Host, orNone(strings.Join(have, ", ")))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// patience is how long a node's services may take in all.
func patience(as *agentapi.Assignment) time.Duration {
	longest := time.Duration(0)
	for _, s := range as.Services {
		d := s.Ready.Max
		for _, g := range s.Gates {
			d += g.Max
		}
		for _, t := range s.Init {
			d += t.Timeout
		}
		longest = max(longest, d)
	}
	return longest + startSlack
}
