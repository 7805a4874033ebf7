package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/definition"
	"howdah.dev/howdah/internal/place"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// Errors a caller tells apart.
var (
	ErrBusy    = errors.New("not possible now")
	ErrInvalid = errors.New("bad request")
)

// completed reads a file and completes every cluster in it.
func (m *Manager) completed(tx *store.Tx, f api.File, who Scope) ([]definition.Completed, api.Diagnostics) {
	ps, ds := definition.Read(f.Name, []byte(f.Content))
	if ps == nil {
		return nil, ds
	}
	w := definition.World{Stacks: m.cfg.Stacks, Infrastructures: m.infrastructures(), Exports: map[string][]string{}, OpenPorts: m.cfg.OpenPorts}
	slices.Sort(w.Infrastructures)
	m.mu.Lock()
	open, why := true, ""
	for _, inv := range m.inventory {
		if !inv.Identity {
			open, why = false, inv.Reason
		}
	}
	m.mu.Unlock()
	w.OpenPorts, w.WhyOpen = w.OpenPorts || open, why
	clusters, err := tx.Clusters()
	if err != nil {
		return nil, append(ds, failure(err))
	}
	made := map[string]*stack.Stack{}
	there := map[string]target{}
	for _, c := range clusters {
		there[c.Name] = target{project: c.Project}
		rev, s, err := m.revision(tx, c.ID, c.Revision)
		if err == nil {
			there[c.Name] = target{c.Project, rev.Cluster}
		}
		if err == nil && c.Intent != agentapi.IntentGone {
			made[c.Name] = s
			if !who.sees(c.Project) && !sharedWith(rev.Cluster, c.Project, who.Project) {
				continue
			}
			for e := range s.Exports {
				w.Exports[c.Name] = append(w.Exports[c.Name], e)
			}
		}
	}
	out, more := definition.Complete(ps, w)
	more = append(more, m.owners(f, who, out, there)...)
	if f.Resume {
		out = resumed(out, clusters, made)
	}
	ds = append(ds, more...)
	slices.SortStableFunc(ds, byPlace)
	return out, ds
}

// byPlace orders findings as their file has them; those without a place go last.
func byPlace(a, b api.Diagnostic) int {
	switch {
	case a.Source == nil || b.Source == nil:
		return cmp.Compare(order(a.Source == nil), order(b.Source == nil))
	case a.Source.Line != b.Source.Line:
		return cmp.Compare(a.Source.Line, b.Source.Line)
	}
	return cmp.Compare(a.Source.Column, b.Source.Column)
}

func order(last bool) int {
	if last {
		return 1
	}
	return 0
}

// resumed is what "up" applies: clusters that are there keep the stack they
// were made with, and stopped ones stay stopped.
func resumed(cs []definition.Completed, there []store.Cluster, made map[string]*stack.Stack) []definition.Completed {
	var out []definition.Completed
	for _, c := range cs {
		if slices.ContainsFunc(there, func(t store.Cluster) bool { return t.Name == c.Cluster.Name && t.Intent == agentapi.IntentStop }) {
			continue
		}
		if s := made[c.Cluster.Name]; s != nil && s.Name == c.Stack.Name {
			c.Stack = s
		}
		out = append(out, c)
	}
	return out
}

func failure(err error) api.Diagnostic {
	return api.Diagnostic{Severity: api.SeverityError, Summary: err.Error()}
}

// Plan says what applying a file would do and changes nothing. Clusters that
// link to others of the same file are planned as if those were there.
func (m *Manager) Plan(ctx context.Context, f api.File) ([]api.Plan, api.Diagnostics, error) {
	if err := m.refreshInventory(ctx); err != nil {
		return nil, nil, err
	}
	var plans []api.Plan
	var ds api.Diagnostics
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		cs, more := m.completed(tx, f, ScopeOf(ctx))
		ds = more
		over, err := m.overQuota(tx, cs)
		if err != nil {
			return err
		}
		ds = append(ds, over...)
		if ds.HasErrors() {
			also, err := m.checkAll(tx, cs)
			ds = append(ds, also...)
			slices.SortStableFunc(ds, byPlace)
			return err
		}
		var taken []place.Used
		for _, c := range cs {
			p, more, err := m.planOne(tx, c, cs, &taken)
			if err != nil {
				return err
			}
			ds = append(ds, more...)
			plans = append(plans, p)
		}
		return nil
	})
	return plans, ds, err
}

// checkAll looks for what refuses the clusters of a file that has errors
// already, so that all of it is said at once.
func (m *Manager) checkAll(tx *store.Tx, cs []definition.Completed) (api.Diagnostics, error) {
	var ds api.Diagnostics
	for _, c := range cs {
		if c.Vague {
			continue
		}
		row, err := tx.Cluster(c.Cluster.Name)
		if errors.Is(err, store.ErrNotFound) {
			row = store.Cluster{Name: c.Cluster.Name}
		} else if err != nil {
			return nil, err
		}
		more := m.refused(tx, row, c)
		if !more.HasErrors() {
			if more, err = m.check(tx, row, c); err != nil {
				return nil, err
			}
		}
		ds = append(ds, positioned(more, c)...)
	}
	return ds, nil
}

// planOne plans one cluster of a file; taken is what the file's earlier
// clusters take, and grows by what this one does.
func (m *Manager) planOne(tx *store.Tx, c definition.Completed, all []definition.Completed, taken *[]place.Used) (api.Plan, api.Diagnostics, error) {
	row, err := tx.Cluster(c.Cluster.Name)
	if errors.Is(err, store.ErrNotFound) {
		row = store.Cluster{Name: c.Cluster.Name}
	} else if err != nil {
		return api.Plan{}, nil, err
	}
	if ds := m.refused(tx, row, c); ds.HasErrors() {
		return api.Plan{}, ds, nil
	}
	want := c.Cluster
	for name, to := range c.Cluster.Links {
		if _, err := tx.Cluster(to); errors.Is(err, store.ErrNotFound) && slices.ContainsFunc(all, func(o definition.Completed) bool { return o.Cluster.Name == to }) {
			want.Links = cloneWithout(want.Links, name) // it will be there when this one is applied
		}
	}
	res, err := m.compute(tx, row, want, c.Stack, *taken...)
	for _, a := range res.Add {
		*taken = append(*taken, place.Used{Host: a.Host, MemoryMB: a.MemoryMB, Address: a.Address, DiskGB: a.DiskGB})
	}
	var ds api.Diagnostics
	if errors.As(err, &ds) {
		return api.Plan{}, positioned(ds, c), nil
	}
	if err != nil {
		return api.Plan{}, nil, err
	}
	for name, to := range c.Cluster.Links {
		if _, still := want.Links[name]; !still {
			res.Plan.Actions = append(res.Plan.Actions, api.Action{Kind: api.ActionKeep, Target: fmt.Sprintf("link %s → %s", name, to), Reason: "both are new"})
		}
	}
	return res.Plan, positioned(ds, c), nil
}

func cloneWithout(m map[string]string, key string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		if k != key {
			out[k] = v
		}
	}
	return out
}

// refused says what keeps a cluster from being applied as it is now.
func (m *Manager) refused(tx *store.Tx, row store.Cluster, c definition.Completed) api.Diagnostics {
	at := c.Node.At("name").Position()
	refuse := func(summary, detail string) api.Diagnostics {
		return api.Diagnostics{{Severity: api.SeverityError, Address: c.Cluster.Name, Summary: summary, Detail: detail, Source: &at}}
	}
	other := ""
	if row.Revision > 0 {
		other = m.otherStack(tx, row, c)
	}
	switch {
	case row.ID == "":
		return nil
	case row.Intent == agentapi.IntentGone:
		return refuse("cluster "+row.Name+" is being deleted", "Wait until it is gone, or take a deletion that was given up back: howdah start "+row.Name)
	case row.Intent == agentapi.IntentStop || row.Suspended:
		return refuse("cluster "+row.Name+" is stopped", "Start it first: howdah start "+row.Name)
	case other != "":
		return refuse(fmt.Sprintf("cluster %s is of stack %s and cannot become %s", row.Name, other, c.Stack.Name), "Give the new one another name.")
	case row.Infrastructure != c.Cluster.Infrastructure:
		return refuse(fmt.Sprintf("cluster %s is on %s and cannot move to %s", row.Name, row.Infrastructure, c.Cluster.Infrastructure), "Give the new one another name.")
	}
	return nil
}

// otherStack names the stack a cluster was made with, where it is another one.
func (m *Manager) otherStack(tx *store.Tx, row store.Cluster, c definition.Completed) string {
	_, s, err := m.revision(tx, row.ID, row.Revision)
	if err != nil || s.Name == c.Stack.Name {
		return ""
	}
	return s.Name
}

// positioned gives findings of the planner the place of their cluster.
func positioned(ds api.Diagnostics, c definition.Completed) api.Diagnostics {
	for i := range ds {
		if ds[i].Source != nil {
			continue
		}
		at := c.Node.At("nodeGroups")
		if ds[i].Address == "nodeGroups" {
			ds[i].Address = at.Address()
		}
		p := at.Position()
		ds[i].Source = &p
	}
	return ds
}

// Apply starts an operation for each cluster of a file that is to change.
// Everything is checked before anything is written.
func (m *Manager) Apply(ctx context.Context, f api.File) ([]api.Operation, []api.Plan, api.Diagnostics, error) {
	plans, ds, err := m.Plan(ctx, f)
	if err != nil || ds.HasErrors() {
		return nil, nil, ds, err
	}
	var ops []api.Operation
	err = m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		ops = nil
		cs, more := m.completed(tx, f, ScopeOf(ctx))
		over, err := m.overQuota(tx, cs)
		if err != nil {
			return err
		}
		if err := append(more, over...).Err(); err != nil {
			return err
		}
		// Linked clusters first: their nodes get addresses the others refer to.
		for _, c := range linkedFirst(cs) {
			o, err := m.submitApply(tx, c, planOf(plans, c.Cluster.Name), ScopeOf(ctx).By)
			if err != nil {
				return err
			}
			if o != nil {
				ops = append(ops, *o)
			}
		}
		return nil
	})
	if errors.As(err, &ds) {
		return nil, nil, ds, nil
	}
	return ops, plans, ds, err
}

func planOf(plans []api.Plan, name string) *api.Plan {
	for i := range plans {
		if plans[i].Cluster == name {
			return &plans[i]
		}
	}
	return nil
}

// linkedFirst orders clusters so that what others link to comes first.
func linkedFirst(cs []definition.Completed) []definition.Completed {
	var out []definition.Completed
	done := map[string]bool{}
	var visit func(c definition.Completed, depth int)
	visit = func(c definition.Completed, depth int) {
		if done[c.Cluster.Name] || depth > len(cs) {
			return
		}
		for _, to := range c.Cluster.Links {
			for _, o := range cs {
				if o.Cluster.Name == to {
					visit(o, depth+1)
				}
			}
		}
		if !done[c.Cluster.Name] {
			done[c.Cluster.Name] = true
			out = append(out, c)
		}
	}
	for _, c := range cs {
		visit(c, 0)
	}
	return out
}

// submitApply stores what an apply of one cluster wants. A plan that changes
// nothing, of a cluster that passed its test, makes no operation, unless an earlier
// apply is still to be planned: the newer one counts.
func (m *Manager) submitApply(tx *store.Tx, c definition.Completed, p *api.Plan, by string) (*api.Operation, error) {
	row, err := tx.Cluster(c.Cluster.Name)
	fresh := errors.Is(err, store.ErrNotFound)
	if err != nil && !fresh {
		return nil, err
	}
	if fresh {
		row = newCluster(c.Cluster)
		row.Project = c.Project
	}
	if ds := m.refused(tx, row, c); !fresh && ds.HasErrors() {
		return nil, ds
	}
	if lives(&row, c.TTL, m.clock.Wall()) || fresh {
		if err := tx.PutCluster(row); err != nil {
			return nil, err
		}
	}
	if p != nil && p.Empty() && row.Smoked == row.Revision && row.Revision > 0 {
		if waits, err := applyWaits(tx, row.ID); err != nil || !waits {
			return nil, err // nothing to do is an answer
		}
	}
	if err := tx.PutStack(c.Stack.Digest, c.Stack.Name, c.Stack.Bundle); err != nil {
		return nil, err
	}
	args, err := json.Marshal(applyArgs{Cluster: c.Cluster, StackDigest: c.Stack.Digest})
	if err != nil {
		return nil, err
	}
	return submit(tx, row, opApply, string(args), asked{by: by})
}

// applyWaits reports whether an apply of a cluster was accepted and is not planned yet.
func applyWaits(tx *store.Tx, cluster string) (bool, error) {
	open, err := tx.OpenOperations()
	return slices.ContainsFunc(open, func(o store.Operation) bool {
		return o.Cluster == cluster && o.Kind == opApply && o.State == api.OperationQueued
	}), err
}
