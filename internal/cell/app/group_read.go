package app

import "slices"

// Bounds of one body of groups.
const (
	MaxApps   = 10_000
	maxGroups = 10_000
)

// GroupUpdate is a body that makes or changes a group, read but not yet applied.
type GroupUpdate struct {
	ID          string // absolute
	ScaleBy     *float64
	EnforceRole *bool

	at           place
	version      *Timestamp
	apps         []*Update // nil: the group keeps its apps
	groups       []*GroupUpdate
	dependencies []string
	log          *log
}

// ReadGroup reads the body of POST and PUT /v2/groups[/{id}]. The path's id is base;
// an id in the body is relative to it.
func ReadGroup(body []byte, base string) (*GroupUpdate, *Error) {
	n, err := parse(body)
	if err != nil {
		return nil, err
	}
	g := &groupReader{log: newLog()}
	u := g.read(cursor{log: g.log, n: n}, Canonical(base, "/"), false)
	if g.apps > MaxApps || g.groups > maxGroups {
		return nil, problems{{
			text:   "it holds " + itoa(g.apps) + " apps and " + itoa(g.groups) + " groups; at most " + itoa(MaxApps) + " of each may be",
			remedy: "Send several smaller groups.",
		}}.err()
	}
	u.log = g.log
	for _, p := range g.log.problems {
		if p.kind == shape {
			return nil, g.log.problems.err()
		}
	}
	return u, nil
}

type groupReader struct {
	log          *log
	apps, groups int
	// apart leaves all problems of an app with the app.
	apart bool
}

func groupWords() words {
	return words{
		known:   []string{"id", "apps", "groups", "dependencies", "scaleBy", "version", "enforceRole"},
		refused: map[string]string{"pods": "Remove it: there are no pods here; make each container an app."},
	}
}

func (g *groupReader) read(c cursor, base string, nested bool) *GroupUpdate {
	g.groups++
	u := &GroupUpdate{ID: base, at: c.at}
	o, ok := c.object(groupWords())
	if nested && ok {
		o.need("id", "the group's id")
	}
	if id := field(o, "id", "", readPath); id != "" {
		u.ID = Canonical(id, base)
	}
	u.version = optional(o, "version", readTimestamp)
	u.ScaleBy = optional(o, "scaleBy", number(0, 1e6))
	u.EnforceRole = optional(o, "enforceRole", boolean)
	u.dependencies = field(o, "dependencies", nil, unique(readPath))
	for i, d := range u.dependencies {
		u.dependencies[i] = Canonical(d, u.ID)
	}
	u.apps = field(o, "apps", nil, listOf(MaxApps, func(c cursor) *Update { return g.readApp(c, u.ID) }))
	u.groups = field(o, "groups", nil, listOf(maxGroups, func(c cursor) *GroupUpdate { return g.read(c, u.ID, true) }))
	g.check(c, u, base, nested)
	return u
}

func (g *groupReader) readApp(c cursor, group string) *Update {
	g.apps++
	u := readUpdate(c, group)
	// Shapes are reported at once; rules together with those of the finished app.
	if shapes := u.shapes(); shapes != nil && !g.apart {
		g.log.problems = append(g.log.problems, shapes...)
		u.problems = nil
	}
	if u.ID == "" {
		g.log.problems = append(g.log.problems, missingID(c.at))
	}
	return u
}

// check reports what is wrong with the group itself, besides its apps.
func (g *groupReader) check(c cursor, u *GroupUpdate, base string, nested bool) {
	id := cursor{g.log, c.n, c.at.field("id")}
	if text, remedy := checkPath(u.ID); text != "" && u.ID != "/" {
		id.refuse(text, remedy)
	}
	for i, d := range u.dependencies {
		if text, remedy := checkPath(d); text != "" && d != "/" {
			cursor{g.log, c.n, c.at.field("dependencies").index(i)}.refuse(text, remedy)
		}
	}
	if nested && Parent(u.ID) != base || nested && u.ID == "/" {
		id.refuse("Identifier is not child of '"+base+"'", "Write an id relative to the group that it is in.")
	}
	special := u.version != nil || u.ScaleBy != nil
	if u.ScaleBy != nil && (u.apps != nil || u.groups != nil || u.dependencies != nil || u.EnforceRole != nil) {
		cursor{g.log, c.n, c.at.field("scaleBy")}.refuse("not allowed in conjunction with other properties.", "Send scaleBy alone.")
	}
	if nested && special && u.apps == nil && u.groups == nil {
		c.refuse("version and scaleBy are for the group of the request only", "Send a request for the inner group.")
	}
	if u.EnforceRole != nil && *u.EnforceRole && (u.ID == "/" || Parent(u.ID) != "/") {
		cursor{g.log, c.n, c.at.field("enforceRole")}.refuse(
			"enforceRole can only be set for top-level groups, and "+u.ID+" is not top-level", "Remove it.")
	}
	g.unique(u)
}

func (g *groupReader) unique(u *GroupUpdate) {
	seen := map[string]string{}
	add := func(id, what string, at place) {
		switch before := seen[id]; {
		case id == "" || before == "":
		case before == what:
			g.log.problems = append(g.log.problems, problem{place: at.field("id"), text: what + " " + id + " is given twice", remedy: "Give it once."})
		default:
			g.log.problems = append(g.log.problems, problem{place: at.field("id"), text: "Groups and Applications may not have the same identifier.", remedy: "Rename one of them."})
		}
		seen[id] = what
	}
	for _, a := range u.apps {
		if a.ID != "" && Parent(a.ID) != u.ID {
			g.log.problems = append(g.log.problems, problem{
				place: a.at.field("id"), text: "Identifier is not child of '" + u.ID + "'",
				remedy: "Write an id relative to the group that it is in.",
			})
		}
		add(a.ID, "app", a.at)
	}
	for _, inner := range u.groups {
		add(inner.ID, "group", inner.at)
	}
}

// Rollback returns the version that a body with nothing else asks to go back to; it
// wins over scaleBy. A body of GET, which has a version among everything else, is no
// rollback.
func (u *GroupUpdate) Rollback() (Timestamp, bool) {
	if u.version == nil || u.apps != nil || u.groups != nil || u.dependencies != nil || u.EnforceRole != nil {
		return Timestamp{}, false
	}
	return *u.version, true
}

// ReadGroupPatch reads the body of PATCH /v2/groups/{id}, which can change
// enforceRole only.
func ReadGroupPatch(body []byte, id string) (enforceRole *bool, _ *Error) {
	n, err := parse(body)
	if err != nil {
		return nil, err
	}
	c := cursor{log: newLog(), n: n}
	o, _ := c.object(words{known: []string{"enforceRole"}})
	enforceRole = optional(o, "enforceRole", boolean)
	if id = Canonical(id, "/"); enforceRole != nil && (id == "/" || Parent(id) != "/") {
		cursor{c.log, n, c.at.field("enforceRole")}.refuse(
			"enforceRole can only be set for top-level groups, and "+id+" is not top-level", "Send it to "+"/"+TopLevel(id)+".")
	}
	return enforceRole, c.log.problems.err()
}

// services tells whether the update changes what runs, besides roles.
func (u *GroupUpdate) services() bool {
	return u.version != nil || u.ScaleBy != nil || u.apps != nil || slices.ContainsFunc(u.groups, (*GroupUpdate).services)
}
