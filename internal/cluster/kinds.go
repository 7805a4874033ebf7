package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// kinds is the table of all kinds of steps.
func (m *Manager) kinds() map[string]op.Kind {
	return map[string]op.Kind{
		"artifacts":      op.KindFunc(m.doArtifacts),
		"create-node":    op.KindFunc(m.doCreateNode),
		"run-node":       op.KindFunc(m.doRunNode),
		"configure-node": op.KindFunc(m.doConfigureNode),
		"drain-node":     op.KindFunc(m.doDrainNode),
		"stop-node":      op.KindFunc(m.doStopNode),
		"delete-node":    op.KindFunc(m.doDeleteNode),
		"power-on":       op.KindFunc(m.doPowerOn),
		"power-off":      op.KindFunc(m.doPowerOff),
		"smoke":          op.KindFunc(m.doSmoke),
		"forget":         op.KindFunc(m.doForget),
	}
}

// How long steps wait before they fail.
const (
	joinDeadline  = 2 * time.Minute
	fetchDeadline = 30 * time.Minute
	drainDeadline = 30 * time.Minute
	stopSlack     = time.Minute
	startSlack    = 2 * time.Minute
	joinTokenLife = time.Hour
)

// doArtifacts brings the cluster's artifact sets into the cache.
func (m *Manager) doArtifacts(ctx context.Context, c op.Call) op.Result {
	var s *stack.Stack
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var args applyArgs
		if err := json.Unmarshal([]byte(c.Operation.Args), &args); err != nil {
			return err
		}
		digest := args.StackDigest
		if digest == "" {
			cl, err := tx.ClusterByID(c.Operation.Cluster)
			if err != nil {
				return err
			}
			_, s, err = m.revision(tx, cl.ID, cl.Revision)
			return err
		}
		var err error
		s, err = m.stackByDigest(tx, digest)
		return err
	})
	if err != nil {
		return op.Fail(err)
	}
	for name := range s.Artifacts {
		if _, err := m.putBlob(s.LockText(name)); err != nil {
			return op.Fail(fmt.Errorf("cannot keep lock: %w", err))
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, fetchDeadline, fmt.Errorf("artifacts were not here after %s", fetchDeadline))
	defer cancel()
	err = m.cfg.Cache.Resolve(ctx, s.Locks(), m.noteProgress)
	if err != nil {
		return op.Fail(err)
	}
	for _, l := range s.Locks() {
		if _, err := m.cfg.Cache.Materialise(ctx, l); err != nil {
			return op.Fail(err)
		}
	}
	return op.Done(nil)
}

// noteProgress keeps how far artifact sets are, for whoever looks.
func (m *Manager) noteProgress(p artifact.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress[p.Set] = p
}

// node reads a step's node and its cluster's name.
func (m *Manager) node(ctx context.Context, c op.Call) (n store.Node, err error) {
	err = m.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		n, err = tx.Node(c.Step.Node)
		return err
	})
	return n, err
}

// driverResult turns a driver's error into what the step does about it.
func driverResult(err error) op.Result {
	if infra.KindOf(err) == infra.KindTemporary {
		return op.Retry(2*time.Second, err)
	}
	return op.Fail(err)
}

// doCreateNode has the driver make the machine and waits for its agent.
func (m *Manager) doCreateNode(ctx context.Context, c op.Call) op.Result {
	n, err := m.node(ctx, c)
	if err != nil {
		return op.Fail(err)
	}
	if n.Facts != nil {
		return op.Done(nil)
	}
	d, err := m.driver(n.Infrastructure)
	if err != nil {
		return op.Fail(err)
	}
	// A token may have been used up by a join whose answer was lost with the
	// server that gave it, so another server invites again.
	if m.waitsToJoin(n.ID, c.Step.State == api.StepWaiting) {
		return op.Wait("the agent of "+n.Name+" to join", time.Now().Add(joinDeadline))
	}
	join, err := m.joinFile(ctx, n)
	if err != nil {
		return op.Fail(err)
	}
	err = d.Create(ctx, infra.CreateRequest{Ref: ref(c.Operation.Name, n), Address: n.Address, Host: n.Host, MemoryMB: n.MemoryMB, CPUs: n.CPUs, Join: join})
	if err != nil {
		return driverResult(err)
	}
	return op.Wait("the agent of "+n.Name+" to join", time.Now().Add(joinDeadline))
}

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
	return json.Marshal(agentapi.JoinFile{Node: n.ID, Server: m.cfg.AgentAddr, CA: string(m.cfg.Authority.PEM()), Token: token, Expires: expires})
}

// intend writes what a node is wanted to be.
func (m *Manager) intend(ctx context.Context, id string, change func(*store.Node)) (store.Node, error) {
	var n store.Node
	err := m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var err error
		if n, err = tx.Node(id); err != nil {
			return err
		}
		was := n
		change(&n)
		if n.Intent == was.Intent && n.Revision == was.Revision && n.MemoryMB == was.MemoryMB && n.CPUs == was.CPUs {
			return nil
		}
		return tx.PutNode(n)
	})
	return n, err
}

// doRunNode wants a node's services running and waits until they are ready.
func (m *Manager) doRunNode(ctx context.Context, c op.Call) op.Result {
	n, err := m.intend(ctx, c.Step.Node, func(n *store.Node) { n.Intent = agentapi.IntentRun })
	if err != nil {
		return op.Fail(err)
	}
	return m.untilReady(ctx, n)
}

// doConfigureNode moves a node to the cluster's newest revision and waits
// until its services are ready with it.
func (m *Manager) doConfigureNode(ctx context.Context, c op.Call) op.Result {
	var rev *stack.Revision
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		cl, err := tx.ClusterByID(c.Operation.Cluster)
		if err != nil {
			return err
		}
		rev, _, err = m.revision(tx, cl.ID, cl.Revision)
		return err
	})
	if err != nil {
		return op.Fail(err)
	}
	n, err := m.intend(ctx, c.Step.Node, func(n *store.Node) {
		n.Revision = rev.Number
		if mem, ok := rev.Member(n.Name); ok {
			n.MemoryMB, n.CPUs = mem.MemoryMB, mem.CPUs
		}
	})
	if err != nil {
		return op.Fail(err)
	}
	if n.Intent == agentapi.IntentStop {
		return op.Done(nil)
	}
	return m.untilReady(ctx, n)
}

// untilReady waits for every service of a node at its newest assignment.
func (m *Manager) untilReady(ctx context.Context, n store.Node) op.Result {
	as, err := m.Assignment(ctx, n.ID)
	if errors.Is(err, errNoHost) {
		return op.Wait(noHost(n), time.Now().Add(joinDeadline))
	}
	if err != nil {
		return op.Fail(err)
	}
	seen, err := m.observed(ctx, n)
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

// describe says where a service stands in a few words.
func describe(s api.ServiceStatus) string {
	if s.Message == "" {
		return s.Name + " is " + s.State
	}
	return s.Name + " " + s.State + ": " + s.Message
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

// observed returns a node's last report; an empty one until the agent has
// reported to this server, because what it told an earlier one may no longer
// be so.
func (m *Manager) observed(ctx context.Context, n store.Node) (agentapi.Report, error) {
	var r agentapi.Report
	m.mu.Lock()
	_, fresh := m.reported[n.ID]
	m.mu.Unlock()
	if !fresh {
		return r, nil
	}
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.ObservedOf(n.Cluster)
		if now, errNode := tx.Node(n.ID); errNode == nil && all[n.ID].Report.Incarnation == now.Incarnation {
			r = all[n.ID].Report // what an earlier life of the agent saw may no longer be so
		}
		return err
	})
	return r, err
}

// doDrainNode wants a node to give up what it holds and waits until it has.
func (m *Manager) doDrainNode(ctx context.Context, c op.Call) op.Result {
	n, err := m.intend(ctx, c.Step.Node, func(n *store.Node) {
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
	as, err := m.Assignment(ctx, n.ID)
	if err != nil {
		return op.Fail(err)
	}
	seen, err := m.observed(ctx, n)
	if err != nil {
		return op.Fail(err)
	}
	var open []string
	for _, s := range seen.Services {
		if !s.Drained {
			open = append(open, describe(s))
		}
	}
	until := time.Now().Add(drainDeadline)
	if seen.Generation < as.Generation {
		return op.Wait("the agent of "+n.Name+" to begin draining", until)
	}
	if len(open) > 0 {
		return op.Wait(strings.Join(open, "; "), until)
	}
	return op.Done(nil)
}

// doStopNode wants a node's services stopped and waits until they are.
func (m *Manager) doStopNode(ctx context.Context, c op.Call) op.Result {
	n, err := m.intend(ctx, c.Step.Node, func(n *store.Node) {
		if n.Intent != agentapi.IntentNew { // one that was never made is still to be made
			n.Intent = agentapi.IntentStop
		}
	})
	if errors.Is(err, store.ErrNotFound) {
		return op.Done(nil)
	}
	if err != nil {
		return op.Fail(err)
	}
	as, err := m.Assignment(ctx, n.ID)
	if errors.Is(err, errNoHost) {
		return op.Done(nil) // nothing ever ran
	}
	if err != nil {
		return op.Fail(err)
	}
	if off, err := m.isOff(ctx, c, n); err != nil || off {
		return doneOr(err)
	}
	seen, err := m.observed(ctx, n)
	if err != nil {
		return op.Fail(err)
	}
	grace := time.Duration(0)
	for _, s := range as.Services {
		grace = max(grace, s.Stop.Grace)
	}
	var open []string
	for _, s := range seen.Services {
		if s.State != api.StateStopped {
			open = append(open, describe(s))
		}
	}
	until := time.Now().Add(grace + stopSlack)
	if seen.Generation < as.Generation {
		return op.Wait("the agent of "+n.Name+" to begin stopping", until)
	}
	if len(open) > 0 {
		return op.Wait(strings.Join(open, "; "), until)
	}
	return op.Done(nil)
}

func doneOr(err error) op.Result {
	if err != nil {
		return op.Fail(err)
	}
	return op.Done(nil)
}

// isOff reports whether a node is switched off, so that nothing of it can
// answer.
func (m *Manager) isOff(ctx context.Context, c op.Call, n store.Node) (bool, error) {
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

// doPowerOn switches a node on.
func (m *Manager) doPowerOn(ctx context.Context, c op.Call) op.Result { return m.power(ctx, c, true) }

// doPowerOff switches a node off.
func (m *Manager) doPowerOff(ctx context.Context, c op.Call) op.Result {
	return m.power(ctx, c, false)
}

func (m *Manager) power(ctx context.Context, c op.Call, on bool) op.Result {
	n, err := m.node(ctx, c)
	if err != nil {
		return op.Fail(err)
	}
	d, err := m.driver(n.Infrastructure)
	if err != nil {
		return op.Fail(err)
	}
	if err := d.Power(ctx, ref(c.Operation.Name, n), on); err != nil {
		if !on && infra.KindOf(err) == infra.KindNotFound {
			return op.Done(nil)
		}
		return driverResult(err)
	}
	return op.Done(nil)
}

// doForget removes the cluster's rows; its operations and events stay.
func (m *Manager) doForget(_ context.Context, c op.Call) op.Result {
	return op.Done(func(tx *store.Tx) error { return tx.DeleteCluster(c.Operation.Cluster) })
}
