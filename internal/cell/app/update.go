package app

import (
	"fmt"
	"slices"
)

// Update is a body that makes or changes one app, read but not yet applied.
type Update struct {
	ID string // absolute; "" if the body names none

	at      place
	version *Timestamp
	fields  map[string]bool // canonical and old fields that are given
	sets    []func(*App)
	old     legacy
	// dropped says that an import took port mappings away, which mean nothing with
	// the network of the host.
	importing, dropped bool
	problems
}

// ReadApp reads the body of POST /v2/apps. The id may be relative to base.
func ReadApp(body []byte, base string) (*Update, *Error) {
	u, err := readOne(body, base)
	if err == nil && u.ID == "" {
		return nil, problems{missingID(place{})}.err()
	}
	return u, err
}

// ReadUpdate reads the body of PUT or PATCH /v2/apps/{id}. Its own id is ignored, as
// with Marathon.
func ReadUpdate(body []byte, id string) (*Update, *Error) {
	u, err := readOne(body, "/")
	if err == nil {
		u.ID = Canonical(id, "/")
	}
	return u, err
}

// ReadUpdates reads the body of PUT or PATCH /v2/apps: an array.
func ReadUpdates(body []byte) ([]*Update, *Error) {
	n, err := parse(body)
	if err != nil {
		return nil, err
	}
	l := newLog()
	seen := map[string]bool{}
	updates := listOf(MaxApps, func(c cursor) *Update {
		u := readUpdate(c, "/")
		switch {
		case u.ID == "":
			l.problems = append(l.problems, missingID(c.at))
		case seen[u.ID]:
			c.refuse("An app with id ["+u.ID+"] is given twice", "Give it once.")
		}
		seen[u.ID] = true
		return u
	})(cursor{log: l, n: n})
	for _, u := range updates {
		l.problems = append(l.problems, u.shapes()...)
	}
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	return updates, nil
}

func readOne(body []byte, base string) (*Update, *Error) {
	n, err := parse(body)
	if err != nil {
		return nil, err
	}
	u := readUpdate(cursor{log: newLog(), n: n}, base)
	if len(u.shapes()) > 0 {
		return nil, u.err()
	}
	return u, nil
}

func missingID(at place) problem {
	return problem{shape, at.field("id"), "error.path.missing", "it is missing", "Give the app's id."}
}

// readUpdate reads one app. Its problems stay with it: rules that are broken are
// reported together with those that the whole app breaks.
func readUpdate(c cursor, base string) *Update {
	c.log = c.log.part()
	u := &Update{at: c.at, fields: map[string]bool{}}
	o, _ := c.object(appWords())
	if id := field(o, "id", "", readPath); id != "" {
		u.ID = Canonical(id, base)
	}
	u.version = optional(o, "version", readTimestamp)
	for _, f := range appFields() {
		if fc, ok := o.get(f.name); ok {
			u.fields[f.name] = true
			u.sets = append(u.sets, f.read(fc))
		}
	}
	u.old = readLegacy(o)
	u.problems = c.log.problems
	return u
}

func readTimestamp(c cursor) Timestamp {
	t, err := ParseTimestamp(text(1, 64)(c))
	if err != nil && c.n.kind == stringNode {
		c.shape("error.expected.date.isoformat", "a time such as 2014-03-01T23:42:20.938Z")
	}
	return t
}

// shapes returns all problems if any of them is one of shape.
func (u *Update) shapes() problems {
	for _, p := range u.problems {
		if p.kind == shape {
			return u.problems
		}
	}
	return nil
}

// Rollback returns the version that a body with nothing else (but an id) asks to go
// back to. With anything else the version means nothing: the body is an answer of
// GET, or what somebody left of one.
func (u *Update) Rollback() (Timestamp, bool) {
	if u.version == nil || len(u.fields) > 0 || u.old.given() {
		return Timestamp{}, false
	}
	return *u.version, true
}

// New makes a new app of the update, normalised and checked.
func (u *Update) New(l Limits) (*App, *Error) {
	app, ps := u.create(l)
	if err := ps.err(); err != nil {
		return nil, err
	}
	return app, nil
}

// Merge applies the update to the stored app of the same id: with partial only the
// fields that are given change, else all do. The result is normalised and checked;
// its version is that of old, which is not changed but shares memory with the result.
func (u *Update) Merge(old *App, partial bool, l Limits) (*App, *Error) {
	if !partial {
		l.Roles = append(slices.Clip(l.Roles), old.Role)
		app, err := u.New(l)
		if app != nil {
			app.Version, app.VersionInfo = old.Version, old.VersionInfo
		}
		return app, err
	}
	app := *old
	for _, set := range u.sets {
		set(&app)
	}
	ps := append(problems(nil), u.problems...)
	ps = append(ps, u.old.mixed(u, &app)...)
	u.old.translate(&app, u)
	u.adapt(&app)
	l.Roles = append(slices.Clip(l.Roles), old.Role)
	app.settle(l, u.fields["portDefinitions"] || u.old.ports != nil)
	ps = append(ps, app.check(u.at, l)...)
	if err := ps.err(); err != nil {
		return nil, err
	}
	return &app, nil
}

func (u *Update) create(l Limits) (*App, problems) {
	app := blank(u.ID)
	for _, set := range u.sets {
		set(app)
	}
	ps := append(problems(nil), u.problems...)
	ps = append(ps, u.old.mixed(u, app)...)
	u.old.translate(app, u)
	u.adapt(app)
	app.settle(l, true)
	return app, append(ps, app.check(u.at, l)...)
}

// adapt changes what was not asked for but must follow what was.
func (u *Update) adapt(app *App) {
	if app.Single() && !u.fields["upgradeStrategy"] {
		app.UpgradeStrategy = UpgradeStrategy{}
	}
	_, oldNetwork := u.old.network()
	c := app.Container
	if c == nil || !app.Host() {
		return
	}
	if moved := !u.fields["container"] && (u.fields["networks"] || oldNetwork); moved || u.importing {
		u.dropped = len(c.PortMappings) > 0
		host := *c
		host.PortMappings = nil
		app.Container = &host
	}
}

// String names the update for logs.
func (u *Update) String() string { return fmt.Sprintf("update of %s", u.ID) }
