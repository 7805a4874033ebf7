package app

import (
	"math"
	"slices"
	"strings"
)

// Settings are what a cell decides for all its apps.
type Settings struct {
	Role        string // of apps that name none (Marathon's --mesos_role); "*" if empty
	Network     string // Marathon's --default_network_name
	EnforceRole bool   // what new top-level groups get that do not say
}

// Limits returns the limits of an app. enforce tells whether its top-level group
// enforces its role.
func (s Settings) Limits(id string, enforce bool) Limits {
	l := Limits{Role: s.Role, Network: s.Network}
	switch top := TopLevel(id); {
	case Parent(id) == "/":
	case enforce:
		l.Role = top
	default:
		l.Roles = []string{top}
	}
	return l
}

// NewGroup returns an empty group.
func NewGroup(id string) *Group {
	return &Group{ID: id, Apps: []*App{}, Groups: []*Group{}, Dependencies: []string{}}
}

// Find returns the group of an id at or below g, or nil.
func (g *Group) Find(id string) *Group {
	if g.ID == id {
		return g
	}
	for _, inner := range g.Groups {
		if Within(id, inner.ID) {
			return inner.Find(id)
		}
	}
	return nil
}

// App returns the app of an id at or below g, or nil.
func (g *Group) App(id string) *App {
	if parent := g.Find(Parent(id)); parent != nil {
		for _, a := range parent.Apps {
			if a.ID == id {
				return a
			}
		}
	}
	return nil
}

// AllApps returns every app at or below g.
func (g *Group) AllApps() map[string]*App {
	apps := map[string]*App{}
	g.Walk(func(g *Group) {
		for _, a := range g.Apps {
			apps[a.ID] = a
		}
	})
	return apps
}

// AllDependencies returns the dependencies of every group at or below g that has any.
func (g *Group) AllDependencies() map[string][]string {
	deps := map[string][]string{}
	g.Walk(func(g *Group) {
		if len(g.Dependencies) > 0 {
			deps[g.ID] = g.Dependencies
		}
	})
	return deps
}

// Walk visits g and every group below it.
func (g *Group) Walk(visit func(*Group)) {
	visit(g)
	for _, inner := range g.Groups {
		inner.Walk(visit)
	}
}

// Apply returns root as it is after the update: groups given are made or changed, and
// what they do not name is removed, except apps where the key "apps" is absent and
// groups where "groups" is. Apps are made whole from the body; their versions and
// service ports are the caller's to set (AssignServicePorts, then Stamp). A rollback
// is the caller's too. root is not changed; what stays is shared.
func (u *GroupUpdate) Apply(root *Group, s Settings, now Timestamp) (*Group, *Error) {
	w := &groupWriter{settings: s, now: now, root: root, problems: slices.Clone(u.log.problems)}
	if u.ScaleBy != nil {
		if root.Find(u.ID) == nil {
			w.problems = append(w.problems, problem{text: "Group '" + u.ID + "' does not exist", remedy: "Name a group that exists."})
		}
		if err := w.problems.err(); err != nil {
			return nil, err
		}
		result := root.replace(u.ID, now, func(g *Group) *Group { return g.scale(*u.ScaleBy, now) })
		if err := result.Find(u.ID).tooMany().err(); err != nil {
			return nil, err
		}
		return result, nil
	}
	w.rolesStay(u)
	enforce := w.enforced(u.ID, u.EnforceRole)
	result := root.replace(u.ID, now, func(g *Group) *Group { return w.apply(u, g, enforce) })
	if top := result.Find("/" + TopLevel(u.ID)); top != nil && top != result && top.EnforceRole == nil {
		top.EnforceRole = &enforce // made on the way
	}
	if len(w.problems) == 0 {
		w.tree(result)
	}
	if err := w.problems.err(); err != nil {
		return nil, err
	}
	return result, nil
}

type groupWriter struct {
	settings Settings
	now      Timestamp
	root     *Group // before
	problems problems
}

// enforced tells whether the top-level group of id enforces its role.
func (w *groupWriter) enforced(id string, given *bool) bool {
	if id == "/" {
		return false
	}
	if given != nil && Parent(id) == "/" {
		return *given
	}
	if top := w.root.Find("/" + TopLevel(id)); top != nil {
		return top.EnforceRole != nil && *top.EnforceRole
	}
	return w.settings.EnforceRole
}

// rolesStay reports a change of enforceRole together with a change of services.
func (w *groupWriter) rolesStay(u *GroupUpdate) {
	for _, g := range append([]*GroupUpdate{u}, u.groups...) {
		before := w.root.Find(g.ID)
		if g.EnforceRole == nil || before == nil || Parent(g.ID) != "/" || !u.services() {
			continue
		}
		if was := before.EnforceRole != nil && *before.EnforceRole; was != *g.EnforceRole {
			w.problems = append(w.problems, problem{
				place:  g.at.field("enforceRole"),
				text:   "enforceRole cannot be modified in a request that adds, removes or modifies services; please make these changes in separate requests.",
				remedy: "Send PATCH /v2/groups" + g.ID + " first.",
			})
		}
	}
}

func (w *groupWriter) apply(u *GroupUpdate, g *Group, enforce bool) *Group {
	n := *g
	n.Version = w.now
	if Parent(u.ID) == "/" && u.ID != "/" {
		n.EnforceRole = &enforce
	}
	if u.dependencies != nil {
		n.Dependencies = u.dependencies
	}
	if u.apps != nil {
		n.Apps = []*App{}
		for _, a := range u.apps {
			n.Apps = append(n.Apps, w.app(a, enforce))
		}
	}
	if u.groups != nil {
		n.Groups = []*Group{}
		for _, inner := range u.groups {
			before := g.Find(inner.ID)
			if before == nil {
				before = NewGroup(inner.ID)
			}
			innerEnforce := enforce
			if u.ID == "/" {
				innerEnforce = w.enforced(inner.ID, inner.EnforceRole)
			}
			n.Groups = append(n.Groups, w.apply(inner, before, innerEnforce))
		}
	}
	n.sort()
	return &n
}

func (w *groupWriter) app(u *Update, enforce bool) *App {
	l := w.settings.Limits(u.ID, enforce)
	old := w.root.App(u.ID)
	if old != nil {
		l.Roles = append(l.Roles, old.Role)
	}
	app, ps := u.create(l)
	w.problems = append(w.problems, ps...)
	if old != nil {
		app.Version, app.VersionInfo = old.Version, old.VersionInfo
	}
	return app
}

// tree reports what is wrong with all groups together.
func (w *groupWriter) tree(root *Group) {
	ids := map[string]bool{}
	root.Walk(func(g *Group) { ids[g.ID] = true })
	for id := range root.AllApps() {
		if ids[id] {
			w.problems = append(w.problems, problem{
				text: "Groups and Applications may not have the same identifier.", message: "app and group " + id + " have the same id",
				remedy: "Rename one of them.",
			})
		}
	}
	if _, cycle := Layers(root.AllApps(), root.AllDependencies()); cycle != nil {
		w.problems = append(w.problems, cyclic(cycle))
	}
}

func cyclic(cycle []string) problem {
	return problem{
		text:    "Dependency graph has cyclic dependencies.",
		message: "dependencies go in a circle: " + strings.Join(cycle, " needs "), remedy: "Remove one of these dependencies.",
	}
}

// CheckDependencies reports a circle of dependencies, nil if there is none. Apps and
// groups that do not exist may be depended on.
func CheckDependencies(apps map[string]*App, groups map[string][]string) *Error {
	_, cycle := Layers(apps, groups)
	if cycle == nil {
		return nil
	}
	return problems{cyclic(cycle)}.err()
}

// replace returns g with the group of an id changed, making those above it that are
// missing.
func (g *Group) replace(id string, now Timestamp, change func(*Group) *Group) *Group {
	if g.ID == id {
		return change(g)
	}
	n := *g
	n.Version = now
	n.Groups = append([]*Group{}, g.Groups...)
	for i, inner := range n.Groups {
		if Within(id, inner.ID) {
			n.Groups[i] = inner.replace(id, now, change)
			return &n
		}
	}
	next, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(id, strings.TrimSuffix(g.ID, "/")), "/"), "/")
	n.Groups = append(n.Groups, NewGroup(Canonical(next, g.ID)).replace(id, now, change))
	n.sort()
	return &n
}

// sort orders what g holds, in copies: slices may be shared.
func (g *Group) sort() {
	g.Groups, g.Apps = append([]*Group{}, g.Groups...), append([]*App{}, g.Apps...)
	slices.SortFunc(g.Groups, func(a, b *Group) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(g.Apps, func(a, b *App) int { return strings.Compare(a.ID, b.ID) })
}

// scale multiplies the instances of every app at or below g, rounding up.
func (g *Group) scale(by float64, now Timestamp) *Group {
	n := *g
	n.Version = now
	n.Apps, n.Groups = []*App{}, []*Group{}
	for _, a := range g.Apps {
		scaled := *a
		scaled.Instances = int(min(math.Ceil(float64(a.Instances)*by), maxInstances))
		n.Apps = append(n.Apps, &scaled)
	}
	for _, inner := range g.Groups {
		n.Groups = append(n.Groups, inner.scale(by, now))
	}
	return &n
}

// tooMany reports apps at or below g that may not have as many instances.
func (g *Group) tooMany() (list problems) {
	g.Walk(func(g *Group) {
		for _, a := range g.Apps {
			if a.Single() && a.Instances > 1 {
				list = append(list, problem{
					place: place{}.field("scaleBy"), text: "Single instance app may only have one instance",
					message: a.ID + " may only have one instance", remedy: "Scale the other apps one by one, or remove the label " + singleInstanceLabel + ".",
				})
			}
		}
	})
	return list
}

// Tree builds the root group of apps and of the groups that say something about
// themselves; the groups between are made. Apps and Groups of the given are not read.
func Tree(apps map[string]*App, groups map[string]*Group) *Group {
	all := map[string]*Group{"/": NewGroup("/")}
	var group func(id string) *Group
	group = func(id string) *Group {
		if g := all[id]; g != nil {
			return g
		}
		g := NewGroup(id)
		all[id] = g
		parent := group(Parent(id))
		parent.Groups = append(parent.Groups, g)
		return g
	}
	for id, given := range groups {
		g := group(id)
		g.Version, g.EnforceRole = given.Version, given.EnforceRole
		g.Dependencies = append(g.Dependencies, given.Dependencies...)
	}
	for id, a := range apps {
		g := group(Parent(id))
		g.Apps = append(g.Apps, a)
	}
	all["/"].Walk((*Group).sort)
	return all["/"]
}
