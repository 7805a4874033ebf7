package cluster

import (
	"context"
	"errors"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/limit"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/store"
)

// kinds is the table of all kinds of steps.
func (m *Manager) kinds() map[string]op.Kind {
	return map[string]op.Kind{
		"artifacts":      op.KindFunc(m.doArtifacts),
		"create-node":    inTurn(m.doCreateNode),
		"run-node":       op.KindFunc(m.doRunNode),
		"configure-node": op.KindFunc(m.doConfigureNode),
		"drain-node":     op.KindFunc(m.doDrainNode),
		"stop-node":      inTurn(m.doStopNode),
		"delete-node":    inTurn(m.doDeleteNode),
		"power-on":       inTurn(m.doPowerOn),
		"power-off":      inTurn(m.doPowerOff),
		"missing-node":   op.KindFunc(doMissingNode),
		"clear-node":     inTurn(m.doClearNode),
		"enough-nodes":   op.KindFunc(m.doEnoughNodes),
		"smoke":          op.KindFunc(m.doSmoke),
		"forget":         op.KindFunc(m.doForget),
		"barrier":        op.KindFunc(pass),
	}
}

// pass does nothing: its step stands between many and many, which each would have to
// come after each.
func pass(context.Context, op.Call) op.Result { return op.Done(nil) }

// How long steps wait before they fail.
const (
	joinDeadline  = 2 * time.Minute
	fetchDeadline = 30 * time.Minute
	drainDeadline = 30 * time.Minute
	stopSlack     = time.Minute
	startSlack    = 2 * time.Minute
	joinTokenLife = time.Hour
)

// node reads a step's node.
func (m *Manager) node(ctx context.Context, c op.Call) (n store.Node, err error) {
	err = m.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		n, err = tx.Node(c.Step.Node)
		return err
	})
	return n, err
}

// machine reads a step's node and finds the driver that has its machine.
func (m *Manager) machine(ctx context.Context, c op.Call) (store.Node, *limit.Driver, error) {
	n, err := m.node(ctx, c)
	if err != nil {
		return n, nil, err
	}
	d, err := m.driver(n.Infrastructure)
	return n, d, err
}

// driverResult turns a driver's error into what the step does about it.
func driverResult(err error) op.Result {
	if k := infra.KindOf(err); k == infra.KindTemporary || k == infra.KindThrottled {
		return op.Retry(2*time.Second, err)
	}
	return op.Fail(err)
}

// intend writes what a step's node is wanted to be, if that is news, which it is seldom
// where the step waits.
func (m *Manager) intend(ctx context.Context, c op.Call, change func(*store.Node)) (store.Node, error) {
	var n store.Node
	look := func(tx *store.Tx) (news bool, err error) {
		if n, err = tx.Node(c.Step.Node); err != nil {
			return false, err
		}
		was := n
		change(&n)
		return n.Intent != was.Intent || n.Revision != was.Revision || n.MemoryMB != was.MemoryMB || n.CPUs != was.CPUs, nil
	}
	if c.Step.State == api.StepWaiting {
		news := false
		err := m.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			news, err = look(tx)
			return err
		})
		if err != nil || !news {
			return n, err
		}
	}
	err := m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if news, err := look(tx); err != nil || !news {
			return err
		}
		return tx.PutNode(n)
	})
	return n, err
}

// sight is a node as it is at one moment: what it is wanted to run, and what its agent
// says of it.
type sight struct {
	node store.Node
	as   *agentapi.Assignment
	seen agentapi.Report // empty where it says nothing, see reportOf
}

// see looks at a node. The error is errNoHost where its agent has not told where it runs.
func (m *Manager) see(ctx context.Context, id string) (sight, error) {
	var s sight
	var r *rendered
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if s.node, err = tx.Node(id); err != nil {
			return err
		}
		if s.seen, err = m.reportOf(tx, s.node); err != nil {
			return err
		}
		r, err = m.remembered(tx, s.node)
		return err
	})
	if err != nil {
		return s, err
	}
	if s.node.Rendered != r.sum {
		s.as, err = m.Assignment(ctx, id)
		return s, err
	}
	as := *r.as
	as.Generation = s.node.Generation
	s.as = &as
	return s, nil
}

// reportOf returns a node's last report; an empty one until the agent has reported to
// this server, because what it told an earlier one may no longer be so.
func (m *Manager) reportOf(tx *store.Tx, n store.Node) (agentapi.Report, error) {
	if m.heard(n.ID).reported.IsZero() {
		return agentapi.Report{}, nil
	}
	o, err := tx.Observed(n.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && o.Report.Incarnation != n.Incarnation {
		return agentapi.Report{}, nil // what an earlier life of the agent saw may no longer be so
	}
	return o.Report, err
}

// describe says where a service stands in a few words.
func describe(s api.ServiceStatus) string {
	if s.Message == "" {
		return s.Name + " is " + s.State
	}
	return s.Name + " " + s.State + ": " + s.Message
}
