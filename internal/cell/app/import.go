package app

import (
	"fmt"
	"slices"
	"strings"
)

// Verdict says what becomes of something of an old Marathon.
type Verdict string

// The verdicts, worst first.
const (
	Refused Verdict = "refused" // cannot be made here as it is
	Denied  Verdict = "denied"  // needs a permission of the project
	Differs Verdict = "differs" // is made, but is not quite what it was
)

// ImportFinding is one thing to know about an app or group of an old Marathon.
type ImportFinding struct {
	ID      string  `json:"id"` // of the app or group
	Verdict Verdict `json:"verdict"`
	Finding
}

// Imported is what an old Marathon's dump becomes.
type Imported struct {
	Root     *Group          // with every app that is not refused
	Findings []ImportFinding // in the order of the dump
}

// Import reads what an old Marathon answered to GET /v2/groups and says of each app
// what will differ or be refused. review adds what the project's policy says of an
// app, as Denied; it may be nil. The error is for a body that is no such dump.
func Import(body []byte, s Settings, review func(*App) []Finding) (*Imported, *Error) {
	n, err := parse(body)
	if err != nil {
		return nil, err
	}
	g := &groupReader{log: newLog(), apart: true}
	u := g.read(cursor{log: g.log, n: n}, "/", false)
	if n.kind != objectNode {
		return nil, g.log.problems.err()
	}
	if g.apps > MaxApps || g.groups > maxGroups {
		return nil, &Error{Status: 422, Message: "The dump holds too much", Findings: []Finding{{
			Message: fmt.Sprintf("it holds %d apps and %d groups", g.apps, g.groups), Remedy: "Import single groups: GET /v2/groups/{id}.",
		}}}
	}
	im := &importer{settings: s, review: review, out: &Imported{}}
	for _, p := range g.log.problems {
		im.problem(u.ID, p)
	}
	top := im.group(u, false)
	im.out.Root = NewGroup("/").replace(u.ID, Timestamp{}, func(*Group) *Group { return top })
	if _, cycle := Layers(im.out.Root.AllApps(), im.out.Root.AllDependencies()); cycle != nil {
		im.problem(cycle[0], cyclic(cycle))
	}
	return im.out, nil
}

type importer struct {
	settings Settings
	review   func(*App) []Finding
	out      *Imported
}

func (im *importer) add(id string, v Verdict, pointer, message, remedy string) {
	im.out.Findings = append(im.out.Findings, ImportFinding{id, v, Finding{pointer, message, remedy}})
}

func (im *importer) problem(id string, p problem) {
	message := p.message
	if message == "" {
		message = p.text
	}
	im.add(id, Refused, p.place.pointer, message, p.remedy)
}

func (im *importer) group(u *GroupUpdate, enforce bool) *Group {
	g := NewGroup(u.ID)
	if u.ID != "/" && Parent(u.ID) == "/" {
		enforce = im.settings.EnforceRole
		if u.EnforceRole != nil {
			enforce = *u.EnforceRole
		}
		g.EnforceRole = &enforce
	}
	g.Dependencies = append(g.Dependencies, u.dependencies...)
	for _, a := range u.apps {
		if app := im.app(a, enforce); app != nil {
			g.Apps = append(g.Apps, app)
		}
	}
	for _, inner := range u.groups {
		g.Groups = append(g.Groups, im.group(inner, enforce))
	}
	return g
}

func (im *importer) app(u *Update, enforce bool) *App {
	u.importing = true
	app, ps := u.create(im.settings.Limits(u.ID, enforce))
	for _, p := range ps {
		im.problem(u.ID, p)
	}
	if len(ps) > 0 {
		return nil
	}
	if im.review != nil {
		for _, f := range im.review(app) {
			im.add(u.ID, Denied, u.at.pointer+f.Pointer, f.Message, f.Remedy)
		}
	}
	im.differences(u, app)
	return app
}

// differences names what is accepted but will not be quite the same.
func (im *importer) differences(u *Update, a *App) {
	at := func(field string) string { return u.at.field(field).pointer }
	if u.dropped {
		im.add(a.ID, Differs, at("container"), "port mappings are dropped: they mean nothing with the network of the host",
			"Nothing, or add networks with mode container/bridge.")
	}
	for i, c := range a.Constraints {
		if f := c.Field(); f != "hostname" && f != "@hostname" {
			im.add(a.ID, Differs, u.at.field("constraints").index(i).pointer, "it asks for the attribute "+f+" of workers",
				"Give the workers of the cell this attribute, or the app waits.")
		}
	}
	for _, n := range a.Networks {
		if n.Mode == ModeContainer {
			im.add(a.ID, Differs, at("networks"), "the network "+n.Name+" is one between the instance and its worker; instances reach each other by host ports",
				"Use service ports or host ports to reach the app.")
		}
	}
	names := make([]string, 0, len(a.Secrets))
	for name := range a.Secrets {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		im.add(a.ID, Differs, u.at.field("secrets").field(name).pointer, "the secret "+name+" is not in the dump",
			"Store it here before the app starts.")
	}
	for _, label := range []string{"HAPROXY_GROUP", "VIP_0"} {
		if a.Labels[label] != "" {
			im.add(a.ID, Differs, u.at.field("labels").field(label).pointer, "the label "+label+" is shown, and nothing balances load by it",
				"Reach the app by its service port, which every worker forwards.")
		}
	}
	for i, h := range a.HealthChecks {
		if h.Protocol == HealthHTTP && strings.Contains(h.Path, "://") {
			im.add(a.ID, Differs, u.at.field("healthChecks").index(i).pointer, "the path holds a whole URL", "Write the path only.")
		}
	}
}
