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
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// List returns all clusters, each as it was at a moment after the call. Nobody may
// change what it returns.
func (m *Manager) List(ctx context.Context) ([]api.ClusterStatus, error) {
	var cs []store.Cluster
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		cs, err = tx.Clusters()
		return err
	})
	if err != nil {
		return nil, err
	}
	m.forgetGlances(cs)
	var out []api.ClusterStatus
	for _, c := range cs {
		if !ScopeOf(ctx).sees(c.Project) {
			continue
		}
		st, err := m.statusOf(ctx, c.ID)
		if errors.Is(err, store.ErrNotFound) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

// Get returns one cluster with everything known of it, and why it is not ready. Nobody
// may change what it returns.
func (m *Manager) Get(ctx context.Context, name string) (api.ClusterStatus, error) {
	c, err := m.own(ctx, name)
	if err != nil {
		return api.ClusterStatus{}, err
	}
	st, err := m.statusOf(ctx, c.ID)
	if err != nil {
		return st, err
	}
	st.Cause, _, err = m.cause(ctx, st)
	return st, err
}

// status derives everything about a cluster from its rows and reports.
func (m *Manager) status(tx *store.Tx, c store.Cluster) (api.ClusterStatus, error) {
	st := api.ClusterStatus{Name: c.Name, Project: c.Project, Infrastructure: c.Infrastructure, Suspended: c.Suspended, Revision: c.Revision, Created: c.Created, Conditions: []api.Condition{}}
	var err error
	if st.UsedBy, err = m.usedBy(tx, c.Name); err != nil {
		return st, err
	}
	var s *stack.Stack
	if c.Revision > 0 {
		var rev *stack.Revision
		if rev, s, err = m.revision(tx, c.ID, c.Revision); err != nil {
			return st, err
		}
		st.Stack, st.StackVersion, st.StackDigest = s.Name, s.Version, s.Digest
		st.Links, st.Definition = rev.Cluster.Links, &rev.Cluster
		r := m.rendererOf(rev, s, nil)
		if st.Exports, err = r.Exports(); err != nil {
			return st, err
		}
		if err := m.nodeStatuses(tx, c, rev, r, &st); err != nil {
			return st, err
		}
	}
	open, err := tx.OpenOperations()
	if err != nil {
		return st, err
	}
	var current *store.Operation
	for i := range open {
		if open[i].Cluster == c.ID {
			current = &open[i]
		}
	}
	m.conditions(&st, c, s, current)
	if !c.Expires.IsZero() {
		st.Expires = &c.Expires
	}
	if st.Definition != nil {
		few, is, err := m.below(tx, c, *st.Definition, st.Nodes)
		if err != nil {
			return st, err
		}
		if is {
			degrade(&st, few)
		}
	}
	if ended, is, err := m.expired(tx, c, current); err != nil {
		return st, err
	} else if is {
		st.Conditions = append(st.Conditions, ended)
	}
	return st, nil
}

// nodeStatuses joins what nodes are wanted to be with what they report.
func (m *Manager) nodeStatuses(tx *store.Tx, c store.Cluster, rev *stack.Revision, r *stack.Renderer, st *api.ClusterStatus) error {
	nodes, err := tx.Nodes(c.ID)
	if err != nil {
		return err
	}
	seen, err := tx.ObservedOf(c.ID)
	if err != nil {
		return err
	}
	leaving := make(map[string]stack.Member, len(rev.Leaving))
	for _, l := range rev.Leaving {
		leaving[l.Name] = l
	}
	for _, n := range nodes {
		mem, ok := r.Member(n.Name)
		if !ok {
			mem = leaving[n.Name]
		}
		ns := m.nodeStatus(c, n, mem, seen[n.ID])
		st.Nodes = append(st.Nodes, ns)
		if n.Intent == agentapi.IntentNew {
			continue
		}
		pages, err := r.Pages(n.Name)
		if err != nil {
			return err
		}
		st.Web = append(st.Web, pages...)
	}
	return nil
}

func (m *Manager) nodeStatus(c store.Cluster, n store.Node, mem stack.Member, seen store.Observed) api.NodeStatus {
	ns := api.NodeStatus{
		Name: n.Name, Cluster: c.Name, Group: n.Group, Ordinal: n.Ordinal, Roles: mem.Roles, Address: n.Address, Host: n.Host,
		MemoryMB: n.MemoryMB, CPUs: n.CPUs, Intent: string(n.Intent), Generation: n.Generation, Observed: seen.Report.Generation,
		Reason: n.Reason, Incarnation: n.Incarnation,
	}
	if n.Java != nil {
		if n.Java.Home != "" {
			ns.Java = fmt.Sprintf("%s (%s)", n.Java.Version, n.Java.Home)
		}
	}
	if n.Facts != nil {
		ns.AgentPID, ns.AgentVersion, ns.AgentBuild = n.Facts.PID, n.Facts.Version, n.Facts.Build
	}
	m.mu.Lock()
	ns.AgentRefused = m.unheard[n.ID]
	_, ns.Connected = m.sessions[n.ID]
	ns.AgentReports = ns.Connected && seen.Report.Incarnation == n.Incarnation
	m.mu.Unlock()
	v := m.heard(n.ID)
	last := v.reported
	if seen.At.After(last) {
		last = seen.At
	}
	if !last.IsZero() {
		ns.LastReport = &last
	}
	ns.Conditions = slices.Clone(seen.Report.Conditions)
	ns.Services = slices.Clone(seen.Report.Services)
	for i := range ns.Services {
		ns.Services[i].Node = n.Name
		ns.Services[i].Probes = v.probes[ns.Services[i].Name]
	}
	silent := m.silent(n, v)
	if silent || !ns.Connected && !running(n.Intent) {
		ns.Conditions = nil
	}
	if silent {
		lost(ns.Services, last)
	}
	if silent && v.trouble != "" {
		ns.Conditions = append(ns.Conditions, api.Condition{Type: api.ConditionAgentFailing, Status: true, Reason: "Ends", Message: v.trouble})
	}
	ns.State, ns.Message = nodeState(n, ns, silent, v)
	return ns
}

// nodeState puts a node into one word. What was reported to an earlier server
// may no longer be so: it counts again when the agent has reported to this one.
func nodeState(n store.Node, ns api.NodeStatus, silent bool, v vital) (state, message string) {
	switch {
	case n.Facts == nil:
		return api.StateJoining, "its agent has not joined yet"
	case n.Java == nil:
		return api.StateBlocked, noHost(n)
	case n.Intent == agentapi.IntentNew:
		return "joined", ""
	case silent && v.trouble != "":
		return api.StateUnknown, "its agent is silent since " + ns.LastReport.Format(time.TimeOnly) + ": " + v.trouble
	case silent && ns.LastReport != nil:
		return api.StateUnknown, "its agent is silent since " + ns.LastReport.Format(time.TimeOnly)
	case silent:
		return api.StateUnknown, "its agent joined and has never reported"
	case v.reported.IsZero() && running(n.Intent):
		return "connecting", "its agent has not reported since the server started"
	case ns.Observed < ns.Generation && !ns.Connected:
		return api.StateUnknown, "its agent is not connected"
	}
	for _, s := range ns.Services {
		switch s.State {
		case api.StateBlocked, api.StateFailed, api.StateUnhealthy, api.StateUnknown:
			return s.State, describe(s)
		}
	}
	for _, s := range ns.Services {
		if s.State != api.StateReady && s.State != api.StateStopped {
			return s.State, describe(s)
		}
	}
	switch n.Intent {
	case agentapi.IntentDrain:
		return "draining", ""
	case agentapi.IntentStop:
		return api.StateStopped, ""
	case agentapi.IntentGone:
		return "removing", ""
	case agentapi.IntentNew, agentapi.IntentRun:
	}
	if ns.Observed < ns.Generation {
		return api.StateChanging, "its agent has not taken up assignment " + fmt.Sprint(ns.Generation)
	}
	return api.StateReady, ""
}

// ofServices puts together what services say of themselves: one condition for all
// that say the same.
func ofServices(nodes []api.NodeStatus) []api.Condition {
	type said struct{ kind, reason, service, message string }
	var order []said
	where := map[said][]string{}
	for _, n := range nodes {
		for _, svc := range n.Services {
			for _, c := range svc.Conditions {
				s := said{c.Type, c.Reason, svc.Name, c.Message}
				if !c.Status {
					continue
				}
				if where[s] == nil {
					order = append(order, s)
				}
				where[s] = append(where[s], n.Name)
			}
		}
	}
	var out []api.Condition
	for _, s := range order {
		out = append(out, api.Condition{Type: s.kind, Status: true, Reason: s.reason, Message: fmt.Sprintf("%s on %s: %s", s.service, strings.Join(where[s], ", "), s.message)})
	}
	return out
}

// conditions derives the cluster's conditions and its one word.
func (m *Manager) conditions(st *api.ClusterStatus, c store.Cluster, s *stack.Stack, o *store.Operation) {
	ready, why := readiness(st, c)
	if c.Intent == agentapi.IntentGone && o == nil {
		ready, why = false, deletionGivenUp
	}
	add := func(kind string, on bool, reason, message string) {
		st.Conditions = append(st.Conditions, api.Condition{Type: kind, Status: on, Reason: reason, Message: message})
	}
	if o != nil {
		st.Operation = o.ID
		add(api.ConditionOperating, o.State != api.OperationFailed, string(o.State), fmt.Sprintf("operation %d (%s) is %s %s", o.ID, o.Kind, o.State, o.Reason))
	}
	var lost []string
	for _, n := range st.Nodes {
		if (!n.Connected || n.State == api.StateUnknown) && n.State != api.StateStopped {
			lost = append(lost, n.Name)
		}
	}
	st.Conditions = append(st.Conditions, ofServices(st.Nodes)...)
	st.Conditions = append(st.Conditions, ofNodes(st.Nodes)...)
	add(api.ConditionAgentsConnected, len(lost) == 0, reason(len(lost) == 0, "AllConnected", "Silent"), strings.Join(lost, ", "))
	if s != nil {
		if now, ok := m.cfg.Stacks.Get(s.Name); ok && now.Digest != s.Digest {
			add(api.ConditionStackOutdated, true, "NewerBinary", "this howdah brings another "+s.Name+"; howdah plan shows what applying it would change")
		}
	}
	add(api.ConditionReady, ready, reason(ready, "AllReady", "NotReady"), why)
	st.Message = why
	if o != nil && o.State == api.OperationFailed {
		st.Message = fmt.Sprintf("operation %d (%s): %s", o.ID, o.Kind, o.Reason)
	}
	st.State = clusterState(c, o, ready, st)
}

// deletionGivenUp is what a cluster waits for whose deletion has neither ended nor goes on.
const deletionGivenUp = "its deletion was given up: it is to be gone on with or taken back"

func reason(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}

// readiness says whether every node does what it is wanted to, and that the
// cluster passed its test in its present revision.
func readiness(st *api.ClusterStatus, c store.Cluster) (bool, string) {
	if c.Revision == 0 {
		return false, "it has no nodes yet"
	}
	for _, n := range st.Nodes {
		if n.State == api.StateReady || n.State == api.StateStopped && c.Intent == agentapi.IntentStop {
			continue
		}
		if n.Message != "" {
			return false, n.Name + ": " + n.Message
		}
		return false, n.Name + " is " + n.State
	}
	switch {
	case c.Smoked == c.Revision:
	case c.Intent == agentapi.IntentStop:
		return false, "it was stopped before it had passed its test"
	default:
		return false, "it has not passed its test yet"
	}
	return true, ""
}

// clusterState puts a cluster into one word.
func clusterState(c store.Cluster, o *store.Operation, ready bool, st *api.ClusterStatus) string {
	working := o != nil && o.State != api.OperationFailed
	stopped := !slices.ContainsFunc(st.Nodes, func(n api.NodeStatus) bool { return n.Intent != string(agentapi.IntentStop) })
	switch {
	case c.Intent == agentapi.IntentGone && working:
		return api.StateDeleting
	case o != nil && o.State == api.OperationFailed:
		return api.StateFailed
	case (c.Intent == agentapi.IntentStop || c.Suspended) && working:
		return api.StateStopping
	case c.Suspended && stopped:
		return api.StateSuspended
	case c.Intent == agentapi.IntentStop && stopped:
		return api.StateStopped
	case working && c.Smoked == 0:
		return api.StateCreating
	case working:
		return api.StateChanging
	case ready:
		return api.StateReady
	case slices.ContainsFunc(st.Nodes, func(n api.NodeStatus) bool {
		return n.State == api.StateFailed || n.State == api.StateUnhealthy || n.State == api.StateUnknown || n.State == api.StateBlocked
	}):
		return api.StateDegraded
	}
	return api.StateWaiting
}

// Operation returns an operation with its steps.
func (m *Manager) Operation(ctx context.Context, id int64) (out api.Operation, err error) {
	err = m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		out, err = m.operation(tx, id)
		return err
	})
	return out, err
}

// operation reads an operation with its steps, and what those wait for.
func (m *Manager) operation(tx *store.Tx, id int64) (api.Operation, error) {
	o, err := tx.Operation(id)
	if err != nil {
		return api.Operation{}, err
	}
	steps, err := tx.Steps(id)
	if err != nil {
		return api.Operation{}, err
	}
	out := o.API(steps)
	m.turns(out.Steps)
	return out, nodeNames(tx, o.Cluster, out.Steps)
}

// nodeNames puts names where rows hold ids; none for nodes that are gone.
func nodeNames(tx *store.Tx, cluster string, steps []api.Step) error {
	nodes, err := tx.Nodes(cluster)
	if err != nil {
		return err
	}
	names := make(map[string]string, len(nodes))
	for _, n := range nodes {
		names[n.ID] = n.Name
	}
	for i := range steps {
		steps[i].Node = names[steps[i].Node]
	}
	return nil
}

// Operations lists operations, newest first.
func (m *Manager) Operations(ctx context.Context, cluster string, limit int) ([]api.Operation, error) {
	var out []api.Operation
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		os, err := tx.OperationsOf(ScopeOf(ctx).Project, cluster, limit)
		for _, o := range os {
			out = append(out, o.API(nil))
		}
		return err
	})
	return out, err
}

// Artifacts lists the artifact sets of all stacks and how far they are here.
func (m *Manager) Artifacts() []api.ArtifactSet {
	byID := map[string]*api.ArtifactSet{}
	var order []string
	for _, name := range m.cfg.Stacks.Names() {
		s, _ := m.cfg.Stacks.Get(name)
		for set := range s.Artifacts {
			l := s.Lock(set)
			if byID[l.ID()] == nil {
				byID[l.ID()] = m.artifactSet(l, s.LockText(set))
				order = append(order, l.ID())
			}
			byID[l.ID()].Stacks = append(byID[l.ID()].Stacks, name)
		}
	}
	slices.SortFunc(order, func(a, b string) int { return strings.Compare(byID[a].Name, byID[b].Name) })
	out := make([]api.ArtifactSet, 0, len(order))
	for _, id := range order {
		slices.Sort(byID[id].Stacks)
		byID[id].Stacks = slices.Compact(byID[id].Stacks)
		out = append(out, *byID[id])
	}
	return out
}

func (m *Manager) artifactSet(l *artifact.Lock, text []byte) *api.ArtifactSet {
	out := &api.ArtifactSet{Name: l.Name, ID: l.ID(), Files: len(l.Blobs()), Bytes: l.Size(), LockBlob: digestOf(text)}
	m.mu.Lock()
	p, working := m.progress[l.Name]
	whole := m.whole[l.ID()]
	m.mu.Unlock()
	if whole {
		out.DoneBytes, out.DoneFiles = out.Bytes, out.Files
		return out
	}
	if working && p.DoneFiles < p.TotalFiles {
		out.DoneBytes, out.DoneFiles = p.DoneBytes, p.DoneFiles
		return out
	}
	out.DoneBytes, out.DoneFiles = out.Bytes, out.Files
	for _, e := range m.cfg.Cache.Missing(l) {
		out.DoneBytes -= e.Size
		out.DoneFiles--
	}
	if out.DoneFiles == out.Files {
		m.mu.Lock()
		m.whole[l.ID()] = true // blobs are not taken away
		m.mu.Unlock()
	}
	return out
}

// Client renders a cluster's command line client for a directory on the
// caller's machine.
func (m *Manager) Client(ctx context.Context, name, home string, host stack.Host) (api.ClientBundle, error) {
	var out api.ClientBundle
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		_, r, s, err := m.renderer(tx, name)
		if err != nil {
			return err
		}
		cl, err := r.Client(home, host)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
		out = api.ClientBundle{Env: cl.Env, Files: map[string]string{}, Commands: map[string][]string{}}
		for _, f := range cl.Files {
			out.Files[f.Path] = f.Content
		}
		for _, c := range cl.Commands {
			if len(c.Argv) > 0 {
				out.Commands[c.Name] = c.Argv
			}
			for sub, argv := range c.Subcommands {
				out.Commands[c.Name+" "+sub] = argv
			}
		}
		for _, set := range cl.Sets {
			a := m.artifactSet(s.Lock(set), s.LockText(set))
			a.Root = artifact.SetRoot(host.Cache, a.ID)
			out.Sets = append(out.Sets, *a)
		}
		return nil
	})
	return out, err
}

// Java returns the range of Java a cluster's stack needs.
func (m *Manager) Java(ctx context.Context, name string) (stack.JavaRange, error) {
	var out stack.JavaRange
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		_, _, s, err := m.renderer(tx, name)
		if err == nil {
			out = s.Java
		}
		return err
	})
	return out, err
}
