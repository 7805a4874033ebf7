package marathon

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/scheduler"
	"howdah.dev/howdah/internal/tenant"
)

// tree builds the root group as it is wanted.
func tree(wanted scheduler.Wanted) *app.Group {
	apps, groups := map[string]*app.App{}, map[string]*app.Group{}
	for spec := range wanted.Apps() {
		apps[spec.ID] = spec
	}
	for g := range wanted.Groups() {
		groups[g.ID] = shell(g)
	}
	return app.Tree(apps, groups)
}

// shell is a group without what is in it.
func shell(g *scheduler.Group) *app.Group {
	return &app.Group{ID: g.ID, Dependencies: g.Dependencies, EnforceRole: g.EnforceRole, Version: g.Version}
}

// differ computes the change that makes one tree of another.
func differ(before, after *app.Group) scheduler.Change {
	c := scheduler.Change{Groups: map[string]*scheduler.Group{}}
	old, now := before.AllApps(), after.AllApps()
	for _, id := range slices.Sorted(maps.Keys(now)) {
		if was := old[id]; was != now[id] {
			c.Put = append(c.Put, now[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old)) {
		if now[id] == nil {
			c.Remove = append(c.Remove, id)
		}
	}
	groups := map[string]*app.Group{}
	after.Walk(func(g *app.Group) { groups[g.ID] = g })
	before.Walk(func(g *app.Group) {
		if groups[g.ID] == nil {
			c.Groups[g.ID] = nil
		}
	})
	for id, g := range groups {
		was := before.Find(id)
		if id == "/" && len(g.Dependencies) == 0 || was != nil && slices.Equal(was.Dependencies, g.Dependencies) && equal(was.EnforceRole, g.EnforceRole) {
			continue
		}
		c.Groups[id] = &scheduler.Group{ID: id, Dependencies: g.Dependencies, EnforceRole: g.EnforceRole}
	}
	return c
}

func equal(a, b *bool) bool { return a == b || a != nil && b != nil && *a == *b }

func unknownGroup(id string) error { return notFound("Group '" + id + "' does not exist") }

// groupID returns the group a path names; none is the root.
func (c *call) groupID() string { return app.Canonical(c.id, "/") }

func (a *API) createGroup(w http.ResponseWriter, c *call) (any, error) {
	return a.groupUpdate(w, c, func(wanted scheduler.Wanted, root *app.Group, u *app.GroupUpdate) error {
		if root.Find(u.ID) != nil {
			return &statusError{http.StatusConflict, "Group " + u.ID + " is already created. Use PUT to change this group."}
		}
		if wanted.App(u.ID) != nil {
			return &statusError{http.StatusConflict, "An app with id [" + u.ID + "] already exists."}
		}
		return nil
	})
}

func (a *API) putGroup(w http.ResponseWriter, c *call) (any, error) {
	return a.groupUpdate(w, c, func(scheduler.Wanted, *app.Group, *app.GroupUpdate) error { return nil })
}

// groupUpdate makes or changes a group with all that is in it.
func (a *API) groupUpdate(w http.ResponseWriter, c *call, allowed func(scheduler.Wanted, *app.Group, *app.GroupUpdate) error) (any, error) {
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	u, bad := app.ReadGroup(body, c.groupID())
	if bad != nil {
		return nil, bad
	}
	if !owns(c.who, u.ID) {
		return nil, foreign(c.who, u.ID)
	}
	if version, ok := u.Rollback(); ok {
		return a.groupBack(w, c, u.ID, version)
	}
	isNew := false
	answer, err := a.update(w, c, false, func(wanted scheduler.Wanted) (scheduler.Change, error) {
		root := tree(wanted)
		if err := allowed(wanted, root, u); err != nil {
			return scheduler.Change{}, err
		}
		isNew = root.Find(u.ID) == nil
		after, bad := u.Apply(root, a.Settings, app.At(wanted.Now()))
		if bad != nil {
			return scheduler.Change{}, bad
		}
		return differ(root, after), nil
	})
	if err != nil || isDry(answer) {
		return answer, err
	}
	if isNew || c.Method == http.MethodPost {
		w.Header().Set("Location", (&url.URL{Path: "/v2/groups" + u.ID}).String())
		return created{answer}, nil
	}
	return answer, nil
}

// groupBack takes a group back to what it held at a version: apps and groups made
// since go, those removed since come back.
func (a *API) groupBack(w http.ResponseWriter, c *call, id string, version app.Timestamp) (any, error) {
	past, err := a.groupAt(c, id, version)
	if err != nil {
		return nil, err
	}
	return a.update(w, c, false, func(wanted scheduler.Wanted) (scheduler.Change, error) {
		for at := id; at != "/"; at = app.Parent(at) {
			if wanted.App(at) != nil {
				return scheduler.Change{}, &statusError{http.StatusConflict, "An app with id [" + at + "] already exists; a group cannot have its name."}
			}
		}
		change := differ(tree(wanted), past.onto(wanted, id))
		for i, spec := range change.Put {
			one := returning(wanted, &change, spec)
			change.Put[i], change.Back = one.Put[0], append(change.Back, one.Back...)
		}
		return change, nil
	})
}

// past is what a group held at a version.
type past struct{ *scheduler.Past }

// tree builds the root group of it.
func (p past) tree() *app.Group {
	groups := map[string]*app.Group{}
	for id, g := range p.Groups {
		groups[id] = shell(g)
	}
	return app.Tree(p.Apps, groups)
}

// onto returns the root group as it is wanted, but for the group of an id, which
// is as it was.
func (p past) onto(wanted scheduler.Wanted, id string) *app.Group {
	apps, groups := map[string]*app.App{}, map[string]*app.Group{}
	for spec := range wanted.Apps() {
		was, inside := p.Apps[spec.ID], app.Within(spec.ID, id)
		if !inside || was != nil && was.Version.Equal(spec.Version.Time) {
			apps[spec.ID] = spec
		}
	}
	for at, was := range p.Apps {
		if apps[at] == nil {
			apps[at] = was
		}
	}
	for g := range wanted.Groups() {
		if !app.Within(g.ID, id) {
			groups[g.ID] = shell(g)
		}
	}
	for at, g := range p.Groups {
		groups[at] = shell(g)
	}
	return app.Tree(apps, groups)
}

// groupAt looks up what a group held at a version.
func (a *API) groupAt(c *call, id string, version app.Timestamp) (past, error) {
	found, err := a.engine.GroupAt(c.Context(), id, version.String())
	if err != nil {
		return past{}, err
	}
	if found != nil {
		maps.DeleteFunc(found.Apps, func(id string, _ *app.App) bool { return !owns(c.who, id) })
		maps.DeleteFunc(found.Groups, func(id string, _ *scheduler.Group) bool { return id != "/" && !owns(c.who, id) })
	}
	if found == nil || (past{found}).tree().Find(id) == nil {
		return past{}, unknownVersion(c, "Group '"+id+"'", strings.TrimSuffix("/v2/groups"+id, "/"), version)
	}
	return past{found}, nil
}

func (a *API) patchGroup(w http.ResponseWriter, c *call) (any, error) {
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	id := c.groupID()
	if !owns(c.who, id) {
		return nil, foreign(c.who, id)
	}
	enforce, bad := app.ReadGroupPatch(body, id)
	if bad != nil {
		return nil, bad
	}
	return a.update(w, c, false, func(wanted scheduler.Wanted) (scheduler.Change, error) {
		g := tree(wanted).Find(id)
		if g == nil {
			return scheduler.Change{}, unknownGroup(id)
		}
		return scheduler.Change{Groups: map[string]*scheduler.Group{id: {ID: id, Dependencies: g.Dependencies, EnforceRole: enforce}}}, nil
	})
}

func (a *API) deleteGroup(w http.ResponseWriter, c *call) (any, error) {
	id := c.groupID()
	if !owns(c.who, id) {
		return nil, foreign(c.who, id)
	}
	return a.update(w, c, false, func(wanted scheduler.Wanted) (scheduler.Change, error) {
		root := tree(wanted)
		g := root.Find(id)
		if g == nil {
			return scheduler.Change{}, unknownGroup(id)
		}
		change := scheduler.Change{Groups: map[string]*scheduler.Group{}}
		g.Walk(func(g *app.Group) {
			for _, spec := range g.Apps {
				change.Remove = append(change.Remove, spec.ID)
			}
			if wanted.Group(g.ID) != nil {
				change.Groups[g.ID] = nil
			}
		})
		return change, nil
	})
}

// groupView is a group as the API shows it.
type groupView struct {
	ID           string        `json:"id"`
	Apps         []appView     `json:"apps,omitzero"`
	Groups       []groupView   `json:"groups,omitzero"`
	Pods         []struct{}    `json:"pods,omitzero"`
	Dependencies []string      `json:"dependencies"`
	Version      app.Timestamp `json:"version"`
	EnforceRole  *bool         `json:"enforceRole,omitempty"`
}

func (a *API) getGroup(_ http.ResponseWriter, c *call) (any, error) {
	id := c.groupID()
	if id != "/" && !owns(c.who, id) {
		return nil, unknownGroup(id)
	}
	embed := c.URL.Query()["embed"]
	if len(embed) == 0 {
		embed = []string{"group.groups", "group.apps", "group.pods"}
	}
	var view *groupView
	a.engine.View(func(v scheduler.View) {
		if g := viewTree(v, c.who).Find(id); g != nil {
			shown := showGroup(v, g, embed)
			view = &shown
		}
	})
	if view == nil {
		return nil, unknownGroup(id)
	}
	return view, nil
}

// viewTree builds the root group as it is, with what is a caller's.
func viewTree(v scheduler.View, who tenant.Token) *app.Group {
	apps, groups := map[string]*app.App{}, map[string]*app.Group{}
	for at := range v.Apps() {
		if owns(who, at.Spec.ID) {
			apps[at.Spec.ID] = at.Spec
		}
	}
	for g := range v.Groups() {
		if g.ID != "/" && !owns(who, g.ID) {
			continue
		}
		groups[g.ID] = shell(g)
	}
	return app.Tree(apps, groups)
}

func showGroup(v scheduler.View, g *app.Group, embed []string) groupView {
	out := groupView{ID: g.ID, Dependencies: g.Dependencies, Version: groupVersionOf(g), EnforceRole: g.EnforceRole}
	if out.Dependencies == nil {
		out.Dependencies = []string{}
	}
	if slices.Contains(embed, "group.pods") {
		out.Pods = []struct{}{}
	}
	e := readEmbeds(embed, "group.apps.")
	if slices.Contains(embed, "group.apps") || e != (embeds{}) {
		out.Apps = []appView{}
		for _, spec := range g.Apps {
			out.Apps = append(out.Apps, showApp(v, v.App(spec.ID), e))
		}
	}
	if slices.Contains(embed, "group.groups") {
		out.Groups = []groupView{}
		for _, inner := range g.Groups {
			out.Groups = append(out.Groups, showGroup(v, inner, embed))
		}
	}
	return out
}

// groupVersionOf is the newest version of all a group holds.
func groupVersionOf(g *app.Group) app.Timestamp {
	newest := g.Version
	g.Walk(func(g *app.Group) {
		if g.Version.After(newest.Time) {
			newest = g.Version
		}
		for _, spec := range g.Apps {
			if spec.Version.After(newest.Time) {
				newest = spec.Version
			}
		}
	})
	if newest.IsZero() {
		return app.At(time.Unix(0, 0)) // nothing was ever in it
	}
	return newest
}

func (a *API) groupApps(_ http.ResponseWriter, c *call) (any, error) {
	id := c.groupID()
	if err := a.groupExists(c, id); err != nil {
		return nil, err
	}
	e := readEmbeds(c.URL.Query()["embed"], "group.apps.")
	out := appsBody{Apps: []appView{}}
	a.engine.View(func(v scheduler.View) {
		for at := range v.Apps() {
			if app.Within(at.Spec.ID, id) && owns(c.who, at.Spec.ID) {
				out.Apps = append(out.Apps, showApp(v, at, e))
			}
		}
	})
	return out, nil
}

// groupVersions lists the versions a group can be taken back to, newest first.
func (a *API) groupVersions(_ http.ResponseWriter, c *call) (any, error) {
	id := c.groupID()
	if err := a.groupExists(c, id); err != nil {
		return nil, err
	}
	return a.engine.GroupVersions(c.Context(), id, func(id string) bool { return owns(c.who, id) })
}

// groupVersion shows a group as it was at a version.
func (a *API) groupVersion(_ http.ResponseWriter, c *call) (any, error) {
	version, err := app.ParseTimestamp(c.sub)
	if err != nil {
		return nil, &statusError{http.StatusUnprocessableEntity, err.Error()}
	}
	id := c.groupID()
	if id != "/" && !owns(c.who, id) {
		return nil, unknownGroup(id)
	}
	was, err := a.groupAt(c, id, version)
	if err != nil {
		return nil, err
	}
	g := was.tree().Find(id)
	g.Version = groupVersionOf(g)
	return g, nil
}
