package cluster

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/definition"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/place"
	"howdah.dev/howdah/internal/plan"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// Kinds of operations.
const (
	opApply  = "apply"
	opStart  = "start"
	opStop   = "stop"
	opDelete = "delete"
	opSmoke  = "smoke"
	opRepair = "repair"
)

// applyArgs is what an apply asks for: the definition with every default
// filled in. The plan is computed when the operation starts.
type applyArgs struct {
	Cluster     api.Cluster `json:"cluster"`
	StackDigest string      `json:"stackDigest"`
}

// stopArgs says whether a stop is only for the time the platform is down.
type stopArgs struct {
	Suspend bool `json:"suspend"`
}

// planOperation writes down what an operation wants and returns its steps. It
// runs in the transaction that stores them.
func (m *Manager) planOperation(tx *store.Tx, o store.Operation) ([]op.StepSpec, error) {
	c, err := tx.ClusterByID(o.Cluster)
	if err != nil {
		return nil, err
	}
	switch o.Kind {
	case opApply:
		return m.planApply(tx, c, o)
	case opRepair:
		return m.planRepair(tx, c)
	case opStart:
		return m.planStart(tx, c)
	case opStop:
		var args stopArgs
		if err := json.Unmarshal([]byte(o.Args), &args); err != nil {
			return nil, err
		}
		return m.planStop(tx, c, args.Suspend)
	case opDelete:
		return m.planDelete(tx, c)
	case opSmoke:
		return []op.StepSpec{smokeStep(nil)}, nil
	}
	return nil, fmt.Errorf("this howdah knows no operation of kind %s", o.Kind)
}

// state gathers what planning needs to know of a cluster.
func (m *Manager) state(tx *store.Tx, c store.Cluster) (plan.Have, error) {
	var have plan.Have
	if c.Revision == 0 {
		return have, nil
	}
	rev, s, err := m.revision(tx, c.ID, c.Revision)
	if err != nil {
		return have, err
	}
	have.Revision, have.Stack = rev, s
	if have.Ordinals, err = tx.PeekOrdinals(c.ID); err != nil {
		return have, err
	}
	nodes, err := tx.Nodes(c.ID)
	if err != nil {
		return have, err
	}
	roles := map[int64]map[string][]string{}
	for _, n := range nodes {
		nrev, ns := rev, s
		if n.Revision != c.Revision {
			if nrev, ns, err = m.revision(tx, c.ID, n.Revision); err != nil {
				return have, err
			}
		}
		if roles[n.Revision] == nil {
			roles[n.Revision] = rolesOf(nrev)
		}
		have.Nodes = append(have.Nodes, plan.Node{Member: member(n, roles[n.Revision][n.Name]), Intent: n.Intent, Host: m.hostOf(n), Revision: nrev, Stack: ns})
	}
	return have, nil
}

// rolesOf lists the roles of a revision's members by name.
func rolesOf(rev *stack.Revision) map[string][]string {
	out := make(map[string][]string, len(rev.Members))
	for _, m := range rev.Members {
		out[m.Name] = m.Roles
	}
	return out
}

// space is what nodes of an infrastructure can be placed on.
func (m *Manager) space(tx *store.Tx, infrastructure string) (place.Space, error) {
	m.mu.Lock()
	inv := m.inventory[infrastructure]
	m.mu.Unlock()
	sp := place.Space{Addresses: inv.Addresses, First: inv.First}
	for _, h := range inv.Hosts {
		sp.Hosts = append(sp.Hosts, place.Host{Name: h.Name, MemoryMB: h.MemoryMB, CPUs: h.CPUs, DiskGB: int(h.DiskFreeMB >> 10)})
	}
	all, err := tx.Nodes("")
	if err != nil {
		return sp, err
	}
	disk := map[revisionKey]map[string]int{} // set aside, by node
	for _, n := range all {
		if n.Infrastructure != infrastructure {
			continue
		}
		key := revisionKey{n.Cluster, n.Revision}
		if disk[key] == nil {
			rev, err := m.document(tx, n.Cluster, n.Revision)
			if err != nil {
				return sp, err
			}
			disk[key] = make(map[string]int, len(rev.Members))
			for _, mem := range rev.Members {
				disk[key][mem.Name] = mem.DiskGB
			}
		}
		sp.Used = append(sp.Used, place.Used{Host: n.Host, MemoryMB: n.MemoryMB, Address: n.Address, DiskGB: disk[key][n.Name]})
	}
	return sp, nil
}

// links evaluates what the linked clusters export now.
func (m *Manager) links(tx *store.Tx, c api.Cluster, s *stack.Stack) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	for name, to := range c.Links {
		target, err := tx.Cluster(to)
		if err != nil {
			return nil, err
		}
		ex, err := m.exports(tx, target)
		if err != nil {
			return nil, err
		}
		ex["cluster"] = to
		out[name] = ex
	}
	for name, spec := range s.Links {
		if c.ExternalHDFS == "" || len(spec.External) == 0 {
			continue
		}
		ex, err := s.External(name, c.ExternalHDFS)
		if err != nil {
			return nil, err
		}
		ex["cluster"] = c.ExternalHDFS
		out[name] = ex
	}
	return out, nil
}

// exports evaluates what a cluster offers.
func (m *Manager) exports(tx *store.Tx, c store.Cluster) (map[string]string, error) {
	if c.Revision == 0 {
		return nil, fmt.Errorf("cluster %s has no nodes yet", c.Name)
	}
	rev, s, err := m.revision(tx, c.ID, c.Revision)
	if err != nil {
		return nil, err
	}
	return m.rendererOf(rev, s, nil).Exports()
}

// check returns what refuses a cluster whose definition has errors elsewhere.
// It is looked at alone: what other clusters of its file take may be an error too.
func (m *Manager) check(tx *store.Tx, row store.Cluster, c definition.Completed) (api.Diagnostics, error) {
	have, err := m.state(tx, row)
	if err != nil {
		return nil, err
	}
	sp, err := m.space(tx, c.Cluster.Infrastructure)
	if err != nil {
		return nil, err
	}
	return plan.Check(plan.Want{ClusterID: row.ID, Cluster: c.Cluster, Stack: c.Stack}, have, sp, c.Unsure), nil
}

// compute makes the plan of an apply; also is taken besides what is stored.
func (m *Manager) compute(tx *store.Tx, c store.Cluster, want api.Cluster, s *stack.Stack, also ...place.Used) (plan.Result, error) {
	have, err := m.state(tx, c)
	if err != nil {
		return plan.Result{}, err
	}
	sp, err := m.space(tx, want.Infrastructure)
	if err != nil {
		return plan.Result{}, err
	}
	sp.Used = append(sp.Used, also...)
	links, err := m.links(tx, want, s)
	if err != nil {
		return plan.Result{}, err
	}
	res, ds := plan.Compute(plan.Want{ClusterID: c.ID, Cluster: want, Stack: s, Links: links}, have, sp)
	if err := ds.Err(); err != nil {
		return res, err
	}
	res.Plan.Warnings = ds
	return res, nil
}

// planApply writes the new revision and the new nodes, and makes the steps.
func (m *Manager) planApply(tx *store.Tx, c store.Cluster, o store.Operation) ([]op.StepSpec, error) {
	var args applyArgs
	if err := json.Unmarshal([]byte(o.Args), &args); err != nil {
		return nil, err
	}
	s, err := m.stackByDigest(tx, args.StackDigest)
	if err != nil {
		return nil, err
	}
	vain, err := waitedInVain(tx, c)
	if err != nil {
		return nil, err
	}
	return m.planWanted(tx, c, args.Cluster, s, &steps{anew: func(node string) bool { return vain[node] }})
}

// waitedInVain tells which nodes' machines earlier operations of a cluster made and
// waited for in vain, by id.
func waitedInVain(tx *store.Tx, c store.Cluster) (map[string]bool, error) {
	nodes, err := tx.Nodes(c.ID)
	if err != nil || !slices.ContainsFunc(nodes, func(n store.Node) bool { return n.Intent == agentapi.IntentNew }) {
		return nil, err
	}
	ops, err := tx.Operations(c.Name, lastRepairs)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, o := range ops {
		if o.Cluster != c.ID { // an earlier cluster of the name
			break
		}
		steps, err := tx.Steps(o.ID)
		if err != nil {
			return nil, err
		}
		for _, s := range steps {
			if s.Kind == "create-node" && s.State == api.StepFailed {
				out[s.Node] = true
			}
		}
	}
	return out, nil
}

// planWanted makes the steps that bring a cluster from what it is to what is wanted.
func (m *Manager) planWanted(tx *store.Tx, c store.Cluster, want api.Cluster, s *stack.Stack, b *steps) ([]op.StepSpec, error) {
	res, err := m.compute(tx, c, want, s)
	if err != nil {
		return nil, err
	}
	if res.Plan.Empty() && c.Smoked == c.Revision {
		return b.specs, nil
	}
	b.spare = spareGroups(want)
	b.artifacts = b.add("artifacts", "", "get the artifacts of "+c.Name, "artifacts")
	if res.Changed {
		ids, err := m.reserve(tx, &c, &res)
		if err != nil {
			return nil, err
		}
		up, err := stay(tx, c, b, res)
		if err != nil {
			return nil, err
		}
		nodes, err := tx.Nodes(c.ID)
		if err != nil {
			return nil, err
		}
		off := map[string]store.Node{}
		for _, n := range nodes {
			if n.Intent == agentapi.IntentStop && n.Facts != nil {
				off[n.Name] = n
			}
		}
		m.applySteps(b, res, ids, up, off)
		return b.specs, nil
	}
	up, err := stay(tx, c, b, res)
	if err != nil {
		return nil, err
	}
	b.test(append(up, b.artifacts))
	return b.specs, nil
}

// reserve stores the revision and its nodes; it returns node ids by name.
func (m *Manager) reserve(tx *store.Tx, c *store.Cluster, res *plan.Result) (map[string]string, error) {
	ids := map[string]string{}
	nodes, err := tx.Nodes(c.ID)
	if err != nil {
		return nil, err
	}
	byName := map[string]store.Node{}
	for _, n := range nodes {
		ids[n.Name], byName[n.Name] = n.ID, n
	}
	for _, a := range res.Add {
		if got, err := tx.NextOrdinal(c.ID, a.Group); err != nil || got != a.Ordinal {
			return nil, fmt.Errorf("cannot number node %s: next is %d: %w", a.Name, got, err)
		}
		ids[a.Name] = ulid.Make().String()
	}
	c.Revision++
	rev := res.Revision
	rev.Number = c.Revision
	for _, list := range [][]stack.Member{rev.Members, rev.Leaving} {
		for i := range list {
			list[i].ID = ids[list[i].Name]
		}
	}
	if err := tx.PutRevision(c.ID, rev.Number, rev); err != nil {
		return nil, err
	}
	if c.Intent == "" {
		c.Intent = agentapi.IntentRun
	}
	if err := tx.PutCluster(*c); err != nil {
		return nil, err
	}
	for _, a := range res.Add {
		if err := tx.PutNode(store.Node{
			ID: ids[a.Name], Cluster: c.ID, Name: a.Name, Group: a.Group, Ordinal: a.Ordinal, Intent: agentapi.IntentNew,
			Revision: rev.Number, Infrastructure: rev.Cluster.Infrastructure, Address: a.Address, Host: a.Host, MemoryMB: a.MemoryMB, CPUs: a.CPUs,
		}); err != nil {
			return nil, err
		}
	}
	// Nodes that render the same go to the new revision at once.
	for _, k := range slices.Concat(res.Keep, res.Resume) {
		n := byName[k.Name]
		n.Revision = rev.Number
		if err := tx.PutNode(n); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// applySteps turns a plan into steps: new nodes come up side by side; staying
// nodes change, those that need a rolling restart one after another; then
// leaving nodes drain, stop and go; then the cluster is tested.
func (m *Manager) applySteps(b *steps, res plan.Result, ids map[string]string, kept []int, off map[string]store.Node) {
	up := slices.Clone(kept)
	for i, a := range slices.Concat(res.Resume, res.Add) {
		var before []int
		if i < len(res.Resume) && b.anew(ids[a.Name]) {
			before = append(before, b.node(a.Group, "clear-node", ids[a.Name], "take away what is there of "+a.Name, "nodes"))
		}
		made := b.node(a.Group, "create-node", ids[a.Name], "make "+a.Name, "nodes", before...)
		up = append(up, b.node(a.Group, "run-node", ids[a.Name], "bring up "+a.Name, "services", b.artifacts, made))
	}
	for _, x := range res.Missing {
		up = append(up, b.missing(x))
	}
	last := map[string]int{}
	for _, r := range res.Reconfigure {
		after := []int{b.artifacts}
		if prev, ok := last[r.Member.Group]; r.Effect == agentapi.ChangeRolling && ok {
			after = append(after, prev) // one at a time
		} else if r.Effect == agentapi.ChangeRolling {
			after = append(after, kept...) // and only beside others that run
		}
		stopped, is := off[r.Member.Name]
		if is { // an earlier operation stopped it, and did not come to remove it
			after = append(after, b.on(stopped))
		}
		i := b.add("configure-node", ids[r.Member.Name], "reconfigure "+r.Member.Name, "services", after...)
		// A rolling restart ends with the first node that does not come back.
		b.specs[i].Optional = b.spare[r.Member.Group] && r.Effect != agentapi.ChangeRolling
		if is {
			i = b.node(r.Member.Group, "run-node", ids[r.Member.Name], "bring up "+r.Member.Name, "services", i)
		}
		last[r.Member.Group] = i
		up = append(up, i)
	}
	up = b.enough(up)
	end := up
	drained := map[string]int{}
	for _, r := range res.Remove {
		after := slices.Clone(up)
		if prev, ok := drained[r.Group]; ok {
			after = []int{prev}
		}
		if n, is := off[r.Name]; is {
			after = append(after, b.on(n)) // a stopped node gives up what it holds only when it runs
		}
		d := b.add("drain-node", ids[r.Name], "drain "+r.Name, "drain", after...)
		drained[r.Group] = d
		s := b.add("stop-node", ids[r.Name], "stop "+r.Name, "remove", d)
		end = append(end, b.add("delete-node", ids[r.Name], "remove "+r.Name, "remove", s))
	}
	b.specs = append(b.specs, smokeStep(end))
}

// stay adds the steps of nodes that stay as they are: an apply ends well only
// when they run too.
func stay(tx *store.Tx, c store.Cluster, b *steps, res plan.Result) ([]int, error) {
	nodes, err := tx.Nodes(c.ID)
	if err != nil {
		return nil, err
	}
	stays := make(map[string]bool, len(res.Keep))
	for _, k := range res.Keep {
		stays[k.Name] = true
	}
	var up []int
	for _, n := range nodes {
		if !stays[n.Name] {
			continue
		}
		after := []int{b.artifacts}
		if n.Intent == agentapi.IntentStop {
			after = append(after, b.on(n))
		}
		up = append(up, b.node(n.Group, "run-node", n.ID, "bring up "+n.Name, "services", after...))
	}
	return up, nil
}

// steps collects step specs.
type steps struct {
	specs     []op.StepSpec
	artifacts int
	spare     map[string]bool        // groups that get along with fewer nodes
	anew      func(node string) bool // whether the machine of one that is not there yet is made anew
}

func (b *steps) add(kind, node, title, phase string, after ...int) int {
	b.specs = append(b.specs, op.StepSpec{Kind: kind, Node: node, Title: title, Phase: phase, After: after})
	return len(b.specs) - 1
}

// on adds the step that makes a node be there: one that never joined is made.
func (b *steps) on(n store.Node) int {
	if n.Facts == nil {
		return b.node(n.Group, "create-node", n.ID, "make "+n.Name, "nodes")
	}
	return b.node(n.Group, "power-on", n.ID, "switch "+n.Name+" on", "nodes")
}

func smokeStep(after []int) op.StepSpec {
	return op.StepSpec{Kind: "smoke", Title: "test the cluster", Phase: "smoke", After: after}
}

// planStart powers nodes on and brings their services up side by side. A node that was
// to be removed is left to the next apply, unless the deletion of them all is taken back.
func (m *Manager) planStart(tx *store.Tx, c store.Cluster) ([]op.StepSpec, error) {
	back := c.Intent == agentapi.IntentGone
	c.Intent, c.Suspended = agentapi.IntentRun, false
	if err := tx.PutCluster(c); err != nil {
		return nil, err
	}
	nodes, err := tx.Nodes(c.ID)
	if err != nil {
		return nil, err
	}
	b := &steps{}
	if c.Revision > 0 {
		rev, _, err := m.revision(tx, c.ID, c.Revision)
		if err != nil {
			return nil, err
		}
		b.spare = spareGroups(rev.Cluster)
	}
	b.artifacts = b.add("artifacts", "", "get the artifacts of "+c.Name, "artifacts")
	var up []int
	for _, n := range nodes {
		if n.Intent == agentapi.IntentGone && !back {
			continue
		}
		up = append(up, b.node(n.Group, "run-node", n.ID, "bring up "+n.Name, "services", b.artifacts, b.on(n)))
	}
	b.test(up)
	return b.specs, nil
}

// planStop stops the groups in reverse order of definition, then switches the
// nodes off.
func (m *Manager) planStop(tx *store.Tx, c store.Cluster, suspend bool) ([]op.StepSpec, error) {
	if suspend {
		c.Suspended = true
	} else {
		c.Intent = agentapi.IntentStop
	}
	if err := tx.PutCluster(c); err != nil {
		return nil, err
	}
	b := &steps{}
	err := m.stopSteps(tx, c, b, func(n store.Node, stopped int) {
		b.add("power-off", n.ID, "switch "+n.Name+" off", "remove", stopped)
	})
	return b.specs, err
}

// stopSteps adds a stop of every node, last group first; each is given to also.
func (m *Manager) stopSteps(tx *store.Tx, c store.Cluster, b *steps, also func(store.Node, int)) error {
	nodes, err := tx.Nodes(c.ID)
	if err != nil || len(nodes) == 0 {
		return err
	}
	rev, _, err := m.revision(tx, c.ID, c.Revision)
	if err != nil {
		return err
	}
	var before []int
	groups := rev.Cluster.NodeGroups
	known := map[string]bool{}
	for _, group := range slices.Backward(groups) {
		known[group.Name] = true
		var now []int
		for _, n := range nodes {
			if n.Group == group.Name {
				s := b.add("stop-node", n.ID, "stop "+n.Name, "remove", before...)
				also(n, s)
				now = append(now, s)
			}
		}
		if len(now) > 1 {
			now = []int{b.add("barrier", "", "all of "+group.Name+" stopped", "remove", now...)}
		}
		if len(now) > 0 {
			before = now
		}
	}
	for _, n := range nodes {
		if !known[n.Group] {
			also(n, b.add("stop-node", n.ID, "stop "+n.Name, "remove"))
		}
	}
	return nil
}

// planDelete stops everything, removes the nodes and forgets the cluster.
func (m *Manager) planDelete(tx *store.Tx, c store.Cluster) ([]op.StepSpec, error) {
	c.Intent = agentapi.IntentGone
	if err := tx.PutCluster(c); err != nil {
		return nil, err
	}
	b := &steps{}
	var gone []int
	err := m.stopSteps(tx, c, b, func(n store.Node, stopped int) {
		gone = append(gone, b.add("delete-node", n.ID, "remove "+n.Name, "remove", stopped))
	})
	if err != nil {
		return nil, err
	}
	b.add("forget", "", "forget "+c.Name, "remove", gone...)
	return b.specs, nil
}

// newCluster makes the row of a cluster that is applied for the first time.
func newCluster(want api.Cluster) store.Cluster {
	return store.Cluster{ID: ulid.Make().String(), Name: want.Name, Infrastructure: want.Infrastructure, Intent: agentapi.IntentRun, Created: time.Now()}
}
