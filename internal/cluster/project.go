package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/definition"
	"howdah.dev/howdah/internal/document"
	"howdah.dev/howdah/internal/number"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// sees reports whether what belongs to a project is there for who asks.
func (s Scope) sees(project string) bool { return s.Project == "" || s.Project == project }

// own returns a cluster that is there for who asks; others are not found, as those
// that do not exist.
func own(ctx context.Context, tx *store.Tx, name string) (store.Cluster, error) {
	c, err := tx.Cluster(name)
	if err == nil && !ScopeOf(ctx).sees(c.Project) {
		return store.Cluster{}, fmt.Errorf("cluster %s: %w", name, store.ErrNotFound)
	}
	return c, err
}

// own is as the other, in a look of its own.
func (m *Manager) own(ctx context.Context, name string) (c store.Cluster, err error) {
	err = m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		c, err = own(ctx, tx, name)
		return err
	})
	return c, err
}

// Owns returns nil where a cluster is there for a project, else that it is not found.
func (m *Manager) Owns(ctx context.Context, name string) error {
	_, err := m.own(ctx, name)
	return err
}

// OwnsOperation is Owns for an operation.
func (m *Manager) OwnsOperation(ctx context.Context, id int64) error {
	return m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		o, err := tx.Operation(id)
		if err == nil && !ScopeOf(ctx).sees(o.Project) {
			return fmt.Errorf("operation %d: %w", id, store.ErrNotFound)
		}
		return err
	})
}

// sharedWith reports whether a cluster may be used by clusters of a project.
func sharedWith(c api.Cluster, owner, project string) bool {
	return owner == project || slices.Contains(c.SharedWith, project) || slices.Contains(c.SharedWith, "*")
}

// target is a cluster others may link to.
type target struct {
	project string
	def     api.Cluster
}

// owners settles which project each cluster of a file belongs to, and whether it may
// use what it links to. Clusters whose name is another project's are marked vague:
// nothing is said about those.
func (m *Manager) owners(f api.File, who Scope, cs []definition.Completed, there map[string]target) api.Diagnostics {
	var ds api.Diagnostics
	refuse := func(at *document.Node, detail, format string, args ...any) {
		ds = append(ds, document.Error(at, fmt.Sprintf(format, args...), detail))
	}
	all := maps.Clone(there)
	for i := range cs {
		c := &cs[i]
		row, exists := there[c.Cluster.Name]
		wanted := cmp.Or(c.Cluster.Project, f.Project)
		at := c.Node.At("project")
		switch {
		case exists && !who.sees(row.project):
			refuse(c.Node.At("name"), "Names are unique in the installation; choose another.", "the name %s is taken", c.Cluster.Name)
			c.Vague = true
		case wanted != "" && !who.sees(wanted):
			refuse(at, "Take it out: clusters belong to the project of who applies them.", "project %s is not yours", wanted)
		case exists && wanted != "" && wanted != row.project:
			refuse(at, "Give the new one another name.", "cluster %s belongs to project %s and cannot move to %s", c.Cluster.Name, row.project, wanted)
		}
		c.Project = cmp.Or(row.project, wanted, who.Project, tenant.DefaultProject)
		c.Cluster.Project = "" // where it belongs, its row says
		all[c.Cluster.Name] = target{c.Project, c.Cluster}
	}
	for _, c := range cs {
		for key, to := range c.Cluster.Links {
			if t, ok := all[to]; ok && !c.Vague && !sharedWith(t.def, t.project, c.Project) && who.sees(t.project) {
				refuse(c.Node.At("links", key), fmt.Sprintf("Have %s applied with sharedWith: [%s].", to, c.Project),
					"cluster %s belongs to project %s, which does not share it with %s", to, t.project, c.Project)
			}
		}
	}
	return ds
}

// usage is what clusters take.
type usage struct{ nodes, cpus, memoryMB int }

func (u usage) plus(v usage) usage {
	return usage{u.nodes + v.nodes, u.cpus + v.cpus, u.memoryMB + v.memoryMB}
}

// asks is what a definition asks for, with all nodes there.
func asks(c api.Cluster) usage {
	var u usage
	for _, g := range c.NodeGroups {
		u = u.plus(usage{g.InstanceNum, g.InstanceNum * g.CPUNum, g.InstanceNum * g.MemCapacityMB})
	}
	return u
}

// most is the larger of two in each respect: a cluster that shrinks takes what it
// has until that is gone.
func most(a, b usage) usage {
	return usage{max(a.nodes, b.nodes), max(a.cpus, b.cpus), max(a.memoryMB, b.memoryMB)}
}

// taken is what each cluster takes: the nodes it has, or what was accepted last.
func (m *Manager) taken(tx *store.Tx) (map[string]usage, []store.Cluster, error) {
	all, err := tx.Clusters()
	if err != nil {
		return nil, nil, err
	}
	out := map[string]usage{}
	nodes, err := tx.Nodes("")
	if err != nil {
		return nil, nil, err
	}
	for _, n := range nodes {
		out[n.Cluster] = out[n.Cluster].plus(usage{1, n.CPUs, n.MemoryMB})
	}
	accepted := map[string]api.Cluster{}
	for _, c := range all {
		if c.Revision == 0 || c.Intent == agentapi.IntentGone {
			continue
		}
		rev, _, err := m.revision(tx, c.ID, c.Revision)
		if err != nil {
			return nil, nil, err
		}
		accepted[c.ID] = rev.Cluster
	}
	open, err := tx.OpenOperations()
	if err != nil {
		return nil, nil, err
	}
	for _, o := range open {
		if o.Kind != opApply || o.Planned {
			continue
		}
		var args applyArgs
		if err := json.Unmarshal([]byte(o.Args), &args); err != nil {
			return nil, nil, err
		}
		accepted[o.Cluster] = args.Cluster
	}
	for id, def := range accepted {
		out[id] = most(out[id], asks(def))
	}
	return out, all, nil
}

// overQuota refuses what would give a project more than it may have. It counts inside
// the transaction that accepts, so that two at once are not both let in.
func (m *Manager) overQuota(tx *store.Tx, cs []definition.Completed) (api.Diagnostics, error) {
	quotas, err := tx.Quotas()
	if err != nil || len(quotas) == 0 {
		return nil, err
	}
	takes, all, err := m.taken(tx)
	if err != nil {
		return nil, err
	}
	has := map[string]usage{}
	ids := map[string]string{}
	for _, c := range all {
		has[c.Project] = has[c.Project].plus(takes[c.ID])
		ids[c.Name] = c.ID
	}
	wants := maps.Clone(has)
	first := map[string]definition.Completed{}
	for _, c := range cs {
		now := takes[ids[c.Cluster.Name]]
		then := most(now, asks(c.Cluster))
		wants[c.Project] = wants[c.Project].plus(usage{then.nodes - now.nodes, then.cpus - now.cpus, then.memoryMB - now.memoryMB})
		if _, ok := first[c.Project]; !ok && then != now {
			first[c.Project] = c
		}
	}
	var ds api.Diagnostics
	for _, q := range quotas {
		h, w := has[q.Project], wants[q.Project]
		for _, r := range []struct {
			may, has, wants int
			what            string
		}{{q.Nodes, h.nodes, w.nodes, "nodes"}, {q.CPUs, h.cpus, w.cpus, "cores"}, {q.MemoryMB, h.memoryMB, w.memoryMB, "MiB of memory"}} {
			if r.may == 0 || r.wants <= r.may || r.wants <= r.has {
				continue
			}
			ds = append(ds, document.Error(first[q.Project].Node.At("nodeGroups"),
				fmt.Sprintf("project %s may have %s %s; it has %s and asks for %s more", q.Project, number.Thousands(r.may), r.what, number.Thousands(r.has), number.Thousands(r.wants-r.has)),
				"Ask for less, delete what is not needed, or have an admin of the installation raise it: howdah project set-quota "+q.Project))
		}
	}
	return ds, nil
}

// Projects lists the projects that own something or have a quota, and the default
// one; those there for who asks.
func (m *Manager) Projects(ctx context.Context) ([]api.Project, error) {
	who := ScopeOf(ctx)
	by := map[string]*api.Project{}
	get := func(name string) *api.Project {
		if by[name] == nil {
			by[name] = &api.Project{Name: name}
		}
		return by[name]
	}
	get(cmp.Or(who.Project, tenant.DefaultProject))
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		takes, all, err := m.taken(tx)
		if err != nil {
			return err
		}
		for _, c := range all {
			p, u := get(c.Project), takes[c.ID]
			p.Clusters++
			p.Has = api.Quota{Nodes: p.Has.Nodes + u.nodes, Cores: p.Has.Cores + u.cpus, MemoryMB: p.Has.MemoryMB + u.memoryMB}
		}
		quotas, err := tx.Quotas()
		for _, q := range quotas {
			get(q.Project).Quota = api.Quota{Nodes: q.Nodes, Cores: q.CPUs, MemoryMB: q.MemoryMB}
		}
		return err
	})
	var out []api.Project
	for _, p := range by {
		if who.sees(p.Name) {
			out = append(out, *p)
		}
	}
	slices.SortFunc(out, func(a, b api.Project) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// Project returns one project.
func (m *Manager) Project(ctx context.Context, name string) (api.Project, error) {
	all, err := m.Projects(ctx)
	for _, p := range all {
		if p.Name == name {
			return p, err
		}
	}
	return api.Project{}, cmp.Or(err, fmt.Errorf("project %s: %w", name, store.ErrNotFound))
}

// SetQuota says what a project may have. What it has already stays.
func (m *Manager) SetQuota(ctx context.Context, name string, q api.Quota) (api.Project, error) {
	if q.Nodes < 0 || q.Cores < 0 || q.MemoryMB < 0 {
		return api.Project{}, fmt.Errorf("%w: a quota is 0, which is no bound, or more", ErrInvalid)
	}
	err := m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.PutQuota(store.Quota{Project: name, Nodes: q.Nodes, CPUs: q.Cores, MemoryMB: q.MemoryMB}); err != nil {
			return err
		}
		return tx.Event(api.Event{Type: "project.quota", Message: fmt.Sprintf("project %s may have %s", name, q)})
	})
	if err != nil {
		return api.Project{}, err
	}
	p, err := m.Project(ctx, name)
	if errors.Is(err, store.ErrNotFound) { // no bound, and it owns nothing
		return api.Project{Name: name}, nil
	}
	return p, err
}
