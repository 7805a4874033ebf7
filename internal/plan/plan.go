// Package plan compares the wanted cluster with the known one and says what
// has to be done, and why. It is pure: it renders both and compares; it does
// not know how actions are carried out, the store or drivers.
package plan

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/place"
	"howdah.dev/howdah/internal/stack"
)

// Want is the cluster asked for.
type Want struct {
	ClusterID string
	Cluster   api.Cluster // completed
	Stack     *stack.Stack
	Links     map[string]map[string]string // what the linked clusters export now
}

// Have is the cluster as it is known.
type Have struct {
	Revision *stack.Revision // newest; nil for a cluster that is not there
	Stack    *stack.Stack    // it was made with
	Nodes    []Node
	Ordinals map[string]int // next ordinal of each group
}

// Node is a node that is there.
type Node struct {
	Member   stack.Member
	Intent   agentapi.Intent
	Host     *stack.Host     // where it runs; nil before its agent joined
	Revision *stack.Revision // it is rendered with
	Stack    *stack.Stack    // of that revision
}

// Result is a plan and what carrying it out needs.
type Result struct {
	Plan        api.Plan
	Revision    stack.Revision // its number is the caller's to give
	Add         []stack.Member // nodes to make; their ids are the caller's to give
	Resume      []stack.Member // nodes an earlier operation began to make
	Remove      []stack.Member
	Reconfigure []Reconfigure
	Keep        []stack.Member
	Missing     []Missing // nodes there is no room for, and that the cluster gets along without
	Changed     bool      // whether a new revision is needed
}

// Missing is a node that is wanted and has no place.
type Missing struct{ Name, Group, Why string }

// Reconfigure is a node that gets another assignment.
type Reconfigure struct {
	Member stack.Member
	Effect agentapi.OnChange
}

// Check returns what refuses the wanted cluster, where a plan cannot be made
// because its definition has errors elsewhere: no room, nodes that may not go.
// The groups of unsure could not be read; nothing is said because of them.
func Check(want Want, have Have, space place.Space, unsure []string) api.Diagnostics {
	p := newPlanner(want, have, space)
	for _, g := range want.Cluster.NodeGroups {
		if slices.Contains(unsure, g.Name) {
			for _, n := range p.members(g.Name) {
				p.out.Keep = append(p.out.Keep, n.Member)
			}
			continue
		}
		p.group(g)
	}
	p.vanished()
	p.placeNew()
	p.removable()
	if !p.ds.HasErrors() {
		p.memory()
	}
	return p.ds
}

// planner collects a result.
type planner struct {
	want  Want
	have  Have
	space place.Space
	out   Result
	ds    api.Diagnostics
	gone  map[string]string // reason by node
	nodes map[string]*Node  // of have, by name
	spare map[string]bool   // new nodes the cluster gets along without
}

// Compute makes the plan. Refusals come back as diagnostics; the plan is then
// not to be used.
func Compute(want Want, have Have, space place.Space) (Result, api.Diagnostics) {
	p := newPlanner(want, have, space)
	p.out.Plan = api.Plan{Cluster: want.Cluster.Name, Stack: want.Stack.Name, Infrastructure: want.Cluster.Infrastructure}
	p.out.Revision = stack.Revision{ClusterID: want.ClusterID, Cluster: want.Cluster, StackDigest: want.Stack.Digest, Links: want.Links}
	if have.Revision == nil {
		p.action(api.Action{Kind: api.ActionCreate, Target: "cluster " + want.Cluster.Name, Reason: "it is not there"})
		p.out.Changed = true
	}
	p.restack()
	for _, g := range want.Cluster.NodeGroups {
		p.group(g)
	}
	p.vanished()
	p.placeNew()
	p.removable()
	if p.ds.HasErrors() {
		return p.out, p.ds
	}
	p.revision()
	p.reconfigure()
	p.links()
	p.rest()
	p.memory()
	return p.out, p.ds
}

func newPlanner(want Want, have Have, space place.Space) *planner {
	p := &planner{want: want, have: have, space: space, gone: map[string]string{}, spare: map[string]bool{}, nodes: make(map[string]*Node, len(have.Nodes))}
	for i := range have.Nodes {
		p.nodes[have.Nodes[i].Member.Name] = &have.Nodes[i]
	}
	return p
}

func (p *planner) action(a api.Action) { p.out.Plan.Actions = append(p.out.Plan.Actions, a) }

func (p *planner) refuse(address, detail, format string, args ...any) {
	p.ds = append(p.ds, api.Diagnostic{Severity: api.SeverityError, Address: address, Summary: fmt.Sprintf(format, args...), Detail: detail})
}

func (p *planner) restack() {
	rev := p.have.Revision
	if rev == nil || rev.StackDigest == p.want.Stack.Digest {
		return
	}
	p.out.Changed = true
	p.action(api.Action{
		Kind: api.ActionRestack, Target: "stack " + p.want.Stack.Name,
		Reason: fmt.Sprintf("the cluster was made with digest %.12s, this howdah brings %.12s", rev.StackDigest, p.want.Stack.Digest),
	})
}

// members returns the living nodes of a group, lowest ordinal first.
func (p *planner) members(group string) []Node {
	var out []Node
	for _, n := range p.have.Nodes {
		if n.Member.Group == group && n.Intent != agentapi.IntentGone && n.Intent != agentapi.IntentDrain {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b Node) int { return cmp.Compare(a.Member.Ordinal, b.Member.Ordinal) })
	return out
}

// group compares one group: who stays, who goes, who is new.
func (p *planner) group(g api.NodeGroup) {
	have := p.members(g.Name)
	for i, n := range have {
		if i >= g.InstanceNum {
			p.remove(n.Member, fmt.Sprintf("instanceNum %d → %d", len(have), g.InstanceNum))
			continue
		}
		if !slices.Equal(n.Member.Roles, g.Roles) {
			p.refuse(g.Name, "Make a new node group with them and set instanceNum of this one to 0.",
				"the roles of node group %s cannot change from %s to %s", g.Name, strings.Join(n.Member.Roles, ", "), strings.Join(g.Roles, ", "))
			return
		}
		m := n.Member
		m.MemoryMB, m.CPUs, m.DiskGB = g.MemCapacityMB, g.CPUNum, diskOf(g)
		if n.Intent == agentapi.IntentNew {
			p.out.Resume = append(p.out.Resume, m)
			p.action(api.Action{Kind: api.ActionAddNode, Target: "node " + m.Name, Node: m.Name, Group: g.Name, Address: m.Address, Reason: "an earlier operation did not finish making it"})
		} else {
			p.out.Keep = append(p.out.Keep, m)
			if n.Intent == agentapi.IntentStop {
				p.action(api.Action{Kind: api.ActionStart, Target: "node " + m.Name, Node: m.Name, Group: g.Name, Address: m.Address, Reason: "it is stopped"})
			}
		}
	}
	next := max(1, p.have.Ordinals[g.Name])
	for i := len(have); i < g.InstanceNum; i++ {
		if g.MinInstances > 0 && i >= g.MinInstances {
			p.spare[fmt.Sprintf("%s-%s-%d", p.want.Cluster.Name, g.Name, next)] = true
		}
		m := stack.Member{Name: fmt.Sprintf("%s-%s-%d", p.want.Cluster.Name, g.Name, next), Group: g.Name, Ordinal: next, Roles: g.Roles, MemoryMB: g.MemCapacityMB, CPUs: g.CPUNum, DiskGB: diskOf(g)}
		next++
		p.out.Add = append(p.out.Add, m)
	}
}

// diskOf is the disk a group's nodes set aside, in GiB.
func diskOf(g api.NodeGroup) int {
	if g.Storage == nil {
		return 0
	}
	return g.Storage.SizeGB
}

func (p *planner) remove(m stack.Member, reason string) {
	p.out.Remove = append(p.out.Remove, m)
	p.gone[m.Name] = reason
}

// vanished removes the nodes of groups that are no longer wanted, and goes on
// with removals an earlier operation began.
func (p *planner) vanished() {
	for _, n := range p.have.Nodes {
		_, removing := p.gone[n.Member.Name]
		switch {
		case removing:
		case n.Intent == agentapi.IntentGone || n.Intent == agentapi.IntentDrain:
			p.remove(n.Member, "an earlier operation did not finish removing it")
		case !slices.ContainsFunc(p.want.Cluster.NodeGroups, func(g api.NodeGroup) bool { return g.Name == n.Member.Group }):
			p.remove(n.Member, "node group "+n.Member.Group+" is no longer defined")
		}
	}
}

// placeNew gives new nodes a host and an address.
func (p *planner) placeNew() {
	reqs := make([]place.Request, len(p.out.Add))
	for i, m := range p.out.Add {
		reqs[i] = place.Request{Name: m.Name, MemoryMB: m.MemoryMB, CPUs: m.CPUs, DiskGB: m.DiskGB, Optional: p.spare[m.Name]}
	}
	placed, why := place.Place(reqs, p.space)
	for _, w := range why {
		p.refuse("nodeGroups", "Ask for fewer or smaller nodes, or remove others.", "%s", w)
	}
	if len(why) > 0 {
		return
	}
	at := make(map[string]place.Placement, len(placed))
	for _, pl := range placed {
		at[pl.Name] = pl
	}
	all := p.out.Add
	p.out.Add = nil
	for _, m := range all {
		pl := at[m.Name]
		if pl.Host == "" {
			p.out.Missing = append(p.out.Missing, Missing{Name: m.Name, Group: m.Group, Why: pl.Reason})
			p.action(api.Action{Kind: api.ActionKeep, Target: "node " + m.Name, Node: m.Name, Group: m.Group, Reason: "made when there is room; now " + pl.Reason})
			continue
		}
		m.Host, m.Address = pl.Host, pl.Address
		p.out.Add = append(p.out.Add, m)
		reason := "the cluster is new"
		if p.have.Revision != nil {
			reason = fmt.Sprintf("instanceNum of %s is now %d", m.Group, p.wanted(m.Group))
		}
		p.action(api.Action{Kind: api.ActionAddNode, Target: "node " + m.Name, Node: m.Name, Group: m.Group, Address: m.Address, Reason: reason})
	}
}

func (p *planner) wanted(group string) int {
	for _, g := range p.want.Cluster.NodeGroups {
		if g.Name == group {
			return g.InstanceNum
		}
	}
	return 0
}

// removable asks the stack about each node that is to go, one after another.
func (p *planner) removable() {
	if p.have.Revision == nil {
		return
	}
	now := *p.have.Revision
	for _, m := range p.out.Remove {
		// What is no member any more was allowed to go by an earlier plan.
		if slices.ContainsFunc(now.Members, func(o stack.Member) bool { return o.Name == m.Name }) {
			if ok, why := stack.NewRenderer(p.have.Stack, &now, nil).Removable(m); !ok {
				p.refuse(m.Name, "Keep it, or delete the cluster as a whole.", "cannot be removed: %s", why)
			}
			now.Members = slices.DeleteFunc(slices.Clone(now.Members), func(o stack.Member) bool { return o.Name == m.Name })
		}
		p.action(api.Action{
			Kind: api.ActionRemoveNode, Target: "node " + m.Name, Node: m.Name, Group: m.Group, Address: m.Address,
			Reason: p.gone[m.Name], Destroys: p.have.Stack.Keeps(),
		})
	}
}

// revision puts the new revision's members together.
func (p *planner) revision() {
	ms := slices.Concat(p.out.Keep, p.out.Resume, p.out.Add)
	order := map[string]int{}
	for i, g := range p.want.Cluster.NodeGroups {
		order[g.Name] = i
	}
	slices.SortFunc(ms, func(a, b stack.Member) int {
		return cmp.Or(cmp.Compare(order[a.Group], order[b.Group]), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	p.out.Revision.Members, p.out.Revision.Leaving = ms, p.out.Remove
	if len(p.out.Add)+len(p.out.Remove)+len(p.out.Resume) > 0 {
		p.out.Changed = true
	}
}

// reconfigure renders each staying node before and after and compares. Nodes that left
// and are gone are in no rendering any more.
func (p *planner) reconfigure() {
	after := stack.NewRenderer(p.want.Stack, &p.out.Revision, nil)
	present := map[string]bool{}
	for _, n := range p.have.Nodes {
		present[n.Member.Name] = true
	}
	before := map[*stack.Revision]*stack.Renderer{}
	changed := map[string]bool{}
	for i, m := range p.out.Keep {
		n := p.nodes[m.Name]
		if n == nil || n.Host == nil {
			continue
		}
		if before[n.Revision] == nil {
			before[n.Revision] = stack.NewRenderer(n.Stack, n.Revision, present)
		}
		changes, effect, err := compare(before[n.Revision], after, m, *n.Host)
		if err != nil {
			p.refuse(m.Name, "This is a mistake in the stack or in Howdah.", "cannot compare %s: %v", m.Name, err)
			continue
		}
		resized := n.Member.MemoryMB != m.MemoryMB || n.Member.CPUs != m.CPUs
		if len(changes) == 0 && !resized {
			continue
		}
		p.out.Changed = true
		p.out.Reconfigure = append(p.out.Reconfigure, Reconfigure{Member: m, Effect: effect})
		p.action(api.Action{
			Kind: api.ActionReconfigure, Target: "node " + m.Name, Node: m.Name, Group: m.Group, Address: m.Address,
			Effect: string(effect), Services: servicesOf(changes), Changes: changes, Reason: reasonOf(changes, resized),
		})
		p.out.Keep[i], changed[m.Name] = m, true
	}
	p.out.Keep = slices.DeleteFunc(p.out.Keep, func(m stack.Member) bool { return changed[m.Name] })
}

// links notes links that stay or change; a definition that differs only in
// what nothing renders still makes a new revision.
func (p *planner) links() {
	for _, name := range sorted(p.want.Cluster.Links) {
		to := p.want.Cluster.Links[name]
		reason := "unchanged"
		if p.have.Revision == nil {
			reason = "new"
		} else if old := p.have.Revision.Cluster.Links[name]; old != to {
			reason, p.out.Changed = "was "+or(old, "none"), true
		}
		p.action(api.Action{Kind: api.ActionKeep, Target: fmt.Sprintf("link %s → %s", name, to), Reason: reason})
	}
}

// rest notes a definition that differs only in what no file shows, so that it
// is kept all the same: what others may do depends on it.
func (p *planner) rest() {
	if p.have.Revision == nil {
		return
	}
	old, errOld := json.Marshal(p.have.Revision.Cluster)
	want, errNew := json.Marshal(p.want.Cluster)
	if errOld != nil || errNew != nil || bytes.Equal(old, want) {
		return
	}
	p.out.Changed = true
	if p.out.Plan.Empty() {
		p.action(api.Action{
			Kind: api.ActionReconfigure, Target: "cluster " + p.want.Cluster.Name, Effect: string(agentapi.ChangeNone),
			Reason: "its definition changes in what no file shows",
		})
	}
}

// memory sums what the plan takes and leaves.
func (p *planner) memory() {
	total, used := 0, 0
	for _, h := range p.space.Hosts {
		total += h.MemoryMB
	}
	for _, u := range p.space.Used {
		used += u.MemoryMB
	}
	for _, m := range p.out.Add {
		p.out.Plan.NeedMemoryMB += m.MemoryMB
	}
	for _, m := range p.out.Remove {
		p.out.Plan.NeedMemoryMB -= m.MemoryMB
	}
	for _, m := range p.out.Keep {
		p.out.Plan.NeedMemoryMB += m.MemoryMB - p.nodes[m.Name].Member.MemoryMB
	}
	for _, r := range p.out.Reconfigure {
		p.out.Plan.NeedMemoryMB += r.Member.MemoryMB - p.nodes[r.Member.Name].Member.MemoryMB
	}
	p.out.Plan.FreeMemoryMB = total - used - p.out.Plan.NeedMemoryMB
	if p.out.Plan.FreeMemoryMB < 0 && p.out.Plan.NeedMemoryMB > 0 {
		p.refuse("nodeGroups", "Ask for less memory, or remove other nodes.", "the plan needs %d MiB more memory; %d MiB are free", p.out.Plan.NeedMemoryMB, total-used)
	}
}
