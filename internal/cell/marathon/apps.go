package marathon

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/deploy"
	"howdah.dev/howdah/internal/cell/policy"
	"howdah.dev/howdah/internal/cell/scheduler"
	"howdah.dev/howdah/internal/tenant"
)

// flag reads a boolean parameter as Java does: "true" in any case, all else false.
func flag(q url.Values, name string, otherwise bool) bool {
	if !q.Has(name) {
		return otherwise
	}
	return strings.EqualFold(q.Get(name), "true")
}

func (c *call) body() ([]byte, error) {
	b, err := io.ReadAll(c.Body)
	if err == nil && len(b) == 0 {
		return nil, &app.Error{Status: http.StatusBadRequest, Message: app.MessageInvalidJSON, Details: "No content to map due to end-of-input"}
	}
	return b, err
}

// result is what deploying calls answer.
type result struct {
	Version      app.Timestamp `json:"version"`
	DeploymentID string        `json:"deploymentId"`
}

func deployed(w http.ResponseWriter, d *scheduler.Deployment) result {
	w.Header().Set("Marathon-Deployment-Id", d.ID)
	return result{d.Version, d.ID}
}

// dryRun is what a call answers that changes nothing.
type dryRun struct {
	Steps []deploy.Step `json:"steps"`
}

func showDry(d *scheduler.Deployment) dryRun {
	if d.Steps == nil {
		return dryRun{[]deploy.Step{}}
	}
	return dryRun{d.Steps}
}

// update carries out an update and answers it as most calls do.
func (a *API) update(w http.ResponseWriter, c *call, force bool, fn func(scheduler.Wanted) (scheduler.Change, error)) (any, error) {
	q := c.URL.Query()
	opts := scheduler.UpdateOptions{Force: flag(q, "force", force), DryRun: flag(q, "dryRun", false), Project: c.who.Project, MayEnd: func(apps []string) error {
		for _, id := range apps {
			if !owns(c.who, id) {
				return &statusError{http.StatusForbidden, "Not Authorized to perform this action! The deployment in the way is also one of other projects' apps; it cannot be made to give way by yours."}
			}
		}
		return nil
	}}
	d, err := a.engine.Update(c.Context(), opts, func(wanted scheduler.Wanted) (scheduler.Change, error) {
		change, err := fn(wanted)
		if err != nil {
			return change, err
		}
		return change, a.admit(c, wanted, &change)
	})
	if err != nil {
		return nil, err
	}
	if opts.DryRun {
		return showDry(d), nil
	}
	return deployed(w, d), nil
}

// admit checks what an update asks for against what its caller may, and gives
// its apps their service ports.
func (a *API) admit(c *call, wanted scheduler.Wanted, change *scheduler.Change) error {
	for _, id := range change.Remove {
		if !owns(c.who, id) {
			return foreign(c.who, id)
		}
	}
	for id := range change.Groups {
		if !owns(c.who, id) {
			return foreign(c.who, id)
		}
	}
	var findings []app.Finding
	own := a.Policy(c.who.Project)
	for _, spec := range change.Put {
		if !owns(c.who, spec.ID) {
			return foreign(c.who, spec.ID)
		}
		if !slices.Contains(change.Back, spec.ID) { // else it is as it was
			mark(spec, wanted.App(spec.ID), c.who)
		}
		for _, f := range a.denials(spec, c.who, own) {
			findings = append(findings, app.Finding{Pointer: f.Pointer, Message: f.Message, Remedy: f.Remedy})
		}
	}
	findings = append(findings, takeovers(wanted, change)...)
	if len(findings) > 0 {
		return app.Refuse(findings...)
	}
	return a.assignPorts(wanted, change)
}

// denials is what neither the caller nor the project whose app it is may ask for: the
// default project may handle apps of others as they could themselves.
func (a *API) denials(spec *app.App, who tenant.Token, own policy.Policy) []policy.Finding {
	wish := policy.FromApp(spec)
	found := policy.Check(wish, own)
	project := spec.Labels[app.ProjectLabel]
	if project == "" || project == who.Project || len(found) == 0 {
		return found
	}
	theirs := policy.Check(wish, a.Policy(project))
	return slices.DeleteFunc(found, func(f policy.Finding) bool {
		return !slices.ContainsFunc(theirs, func(t policy.Finding) bool { return t.Pointer == f.Pointer })
	})
}

// mark notes whose an app is. Who only scales an app does not take it over; the
// default project may say whose it is to be.
func mark(spec, old *app.App, who tenant.Token) {
	project := who.Project
	if project == tenant.DefaultProject {
		var given bool
		if project, given = spec.Labels[app.ProjectLabel]; !given && old != nil {
			project = old.Labels[app.ProjectLabel]
		}
	} else if old != nil && app.SameConfig(old, spec) {
		return
	}
	if spec.Labels[app.ProjectLabel] == project {
		return
	}
	spec.Labels = app.WithLabel(spec.Labels, app.ProjectLabel, project)
}

// takeovers finds service ports that apps of another project have: who gives his app
// such a port would be sent what is meant for them. Marathon lets apps share a port,
// and within a project so do we.
func takeovers(wanted scheduler.Wanted, change *scheduler.Change) (found []app.Finding) {
	for _, spec := range change.Put {
		for n, p := range servicePorts(spec) {
			if othersHave(wanted, change, spec, p) {
				found = append(found, app.Finding{
					Pointer: portPointer(spec, n), Message: fmt.Sprintf("the service port %d is taken by an app of another project", p),
					Remedy: "Leave it out, or write 0, and one is chosen.",
				})
			}
		}
	}
	return found
}

// othersHave tells whether an app of another project than spec's has a service port.
func othersHave(wanted scheduler.Wanted, change *scheduler.Change, spec *app.App, port int) bool {
	if old := wanted.App(spec.ID); old != nil && slices.Contains(servicePorts(old), port) {
		return false
	}
	return held(wanted, change, port, func(other *app.App) bool { return app.TopLevel(other.ID) != app.TopLevel(spec.ID) })
}

// held tells whether one of the apps that a change leaves has a service port, of those
// that count.
func held(wanted scheduler.Wanted, change *scheduler.Change, port int, counts func(*app.App) bool) bool {
	if port == 0 || !wanted.TakesPort(port) {
		return false
	}
	for other := range wanted.Apps() {
		if counts(other) && slices.Contains(servicePorts(other), port) && !slices.Contains(change.Remove, other.ID) {
			return true
		}
	}
	return false
}

// portPointer leads to the nth of servicePorts.
func portPointer(spec *app.App, n int) string {
	if n < len(spec.PortDefinitions) {
		return fmt.Sprintf("/portDefinitions/%d/port", n)
	}
	return fmt.Sprintf("/container/portMappings/%d/servicePort", n-len(spec.PortDefinitions))
}

// assignPorts gives service ports to those that ask for any.
func (a *API) assignPorts(wanted scheduler.Wanted, change *scheduler.Change) error {
	var own map[int]bool // those of this change
	for _, spec := range change.Put {
		if !app.WantsServicePorts(spec) {
			continue
		}
		if own == nil {
			own = portsOf(change)
		}
		without := app.AssignServicePorts(spec, wanted.App(spec.ID), func(p int) bool { return own[p] || wanted.TakesPort(p) }, a.ServicePorts[0], a.ServicePorts[1])
		if without > 0 {
			return &statusError{http.StatusUnprocessableEntity, "No free service port is left; remove apps, or give ports from outside the range yourself."}
		}
		for _, p := range servicePorts(spec) {
			own[p] = true
		}
	}
	return nil
}

func portsOf(change *scheduler.Change) map[int]bool {
	taken := map[int]bool{}
	for _, spec := range change.Put {
		for _, p := range servicePorts(spec) {
			taken[p] = true
		}
	}
	return taken
}

// limits are those of an app, which follow from the top group it is in.
func (a *API) limits(wanted scheduler.Wanted, id string) app.Limits {
	enforce := a.Settings.EnforceRole
	if g := wanted.Group("/" + app.TopLevel(id)); g != nil {
		enforce = g.EnforceRole != nil && *g.EnforceRole
	}
	return a.Settings.Limits(id, enforce)
}

// clash finds what stands in the way of a new app's id.
func clash(wanted scheduler.Wanted, id string) error {
	if wanted.App(id) != nil {
		return &statusError{http.StatusConflict, "An app with id [" + id + "] already exists."}
	}
	if wanted.Group(id) != nil {
		return &statusError{http.StatusConflict, "A group with id [" + id + "] already exists."}
	}
	if wanted.Beneath(id) {
		return &statusError{http.StatusConflict, "A group with id [" + id + "] already exists."}
	}
	for at := path.Dir(id); at != "/" && at != "."; at = path.Dir(at) {
		if wanted.App(at) != nil {
			return &statusError{http.StatusConflict, "An app with id [" + at + "] already exists; a group cannot have its name."}
		}
	}
	return nil
}

func (a *API) createApp(w http.ResponseWriter, c *call) (any, error) {
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	u, bad := app.ReadApp(body, "/")
	if bad != nil {
		return nil, bad
	}
	var made *app.App
	answer, err := a.update(w, c, false, func(wanted scheduler.Wanted) (scheduler.Change, error) {
		if !owns(c.who, u.ID) { // before it is told what others have
			return scheduler.Change{}, foreign(c.who, u.ID)
		}
		if err := clash(wanted, u.ID); err != nil {
			return scheduler.Change{}, err
		}
		spec, bad := u.New(a.limits(wanted, u.ID))
		if bad != nil {
			return scheduler.Change{}, bad
		}
		made = spec
		return scheduler.Change{Put: []*app.App{spec}}, nil
	})
	if err != nil || isDry(answer) {
		return answer, err
	}
	a.posted(c, made)
	w.Header().Set("Location", (&url.URL{Path: "/v2/apps" + made.ID}).String())
	by, _ := answer.(result) // as it was at that moment, whatever has happened since
	return created{appView{App: made, counts: &counts{}, Deployments: []idRef{{by.DeploymentID}}}}, nil
}

// created is an answer with status 201.
type created struct{ body any }

func isDry(answer any) bool {
	_, dry := answer.(dryRun)
	return dry
}

type postEvent struct {
	ClientIP string   `json:"clientIp"`
	URI      string   `json:"uri"`
	App      *app.App `json:"appDefinition"`
}

// About is the app that the event is about.
func (e postEvent) About() []string { return []string{e.App.ID} }

// posted tells listeners that an app was changed by a call.
func (a *API) posted(c *call, spec *app.App) {
	a.hub.Publish(scheduler.Event{Type: "api_post_event", At: time.Now(), Body: postEvent{c.RemoteAddr, c.URL.Path, spec}})
}

func (a *API) putApp(w http.ResponseWriter, c *call) (any, error) {
	return a.change(w, c, flag(c.URL.Query(), "partialUpdate", true), true)
}

func (a *API) patchApp(w http.ResponseWriter, c *call) (any, error) {
	return a.change(w, c, true, false)
}

// change changes one app, or goes back to a version of it.
func (a *API) change(w http.ResponseWriter, c *call, partial, create bool) (any, error) {
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	u, bad := app.ReadUpdate(body, c.id)
	if bad != nil {
		return nil, bad
	}
	if !owns(c.who, u.ID) {
		return nil, foreign(c.who, u.ID)
	}
	back, err := a.earlier(c, u)
	if err != nil {
		return nil, err
	}
	isNew := false
	var made *app.App
	answer, err := a.update(w, c, false, func(wanted scheduler.Wanted) (scheduler.Change, error) {
		old := wanted.App(u.ID)
		isNew = old == nil
		if isNew && !create {
			return scheduler.Change{}, unknownApp(u.ID)
		}
		if back != nil {
			change, err := comeBack(wanted, back)
			if err == nil {
				made = change.Put[0]
			}
			return change, err
		}
		spec, err := a.merge(wanted, u, old, partial)
		if err != nil {
			return scheduler.Change{}, err
		}
		made = spec
		return scheduler.Change{Put: []*app.App{spec}}, nil
	})
	if err != nil || isDry(answer) {
		return answer, err
	}
	a.posted(c, made)
	if isNew {
		w.Header().Set("Location", (&url.URL{Path: "/v2/apps" + made.ID}).String())
		return created{answer}, nil
	}
	return answer, nil
}

// merge makes the new app of an update.
func (a *API) merge(wanted scheduler.Wanted, u *app.Update, old *app.App, partial bool) (*app.App, error) {
	var spec *app.App
	var bad *app.Error
	if old == nil {
		if err := clash(wanted, u.ID); err != nil {
			return nil, err
		}
		spec, bad = u.New(a.limits(wanted, u.ID))
	} else {
		spec, bad = u.Merge(old, partial, a.limits(wanted, u.ID))
	}
	if bad != nil {
		return nil, bad
	}
	return spec, nil
}

func unknownApp(id string) error { return notFound("App '" + id + "' does not exist") }

func (a *API) putApps(w http.ResponseWriter, c *call) (any, error) {
	return a.changeAll(w, c, flag(c.URL.Query(), "partialUpdate", true), true)
}

func (a *API) patchApps(w http.ResponseWriter, c *call) (any, error) {
	return a.changeAll(w, c, true, false)
}

// changeAll changes several apps in one deployment.
func (a *API) changeAll(w http.ResponseWriter, c *call, partial, create bool) (any, error) {
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	updates, bad := app.ReadUpdates(body)
	if bad != nil {
		return nil, bad
	}
	backs := make([]*app.App, len(updates))
	for i, u := range updates {
		if !owns(c.who, u.ID) {
			return nil, foreign(c.who, u.ID)
		}
		if backs[i], err = a.earlier(c, u); err != nil {
			return nil, err
		}
	}
	var made []*app.App
	answer, err := a.update(w, c, false, func(wanted scheduler.Wanted) (scheduler.Change, error) {
		var change scheduler.Change
		for i, u := range updates {
			old := wanted.App(u.ID)
			switch {
			case old == nil && !create:
				return change, unknownApp(u.ID)
			case backs[i] != nil:
				one, err := comeBack(wanted, backs[i])
				if err != nil {
					return change, err
				}
				change.Put, change.Back = append(change.Put, one.Put...), append(change.Back, one.Back...)
			default:
				spec, err := a.merge(wanted, u, old, partial)
				if err != nil {
					return change, err
				}
				change.Put = append(change.Put, spec)
			}
		}
		made = change.Put
		return change, nested(change.Put)
	})
	if err == nil && !isDry(answer) {
		for _, spec := range made {
			a.posted(c, spec)
		}
	}
	return answer, err
}

// nested finds an app that has the name of another one's group.
func nested(apps []*app.App) error {
	ids := map[string]bool{}
	for _, spec := range apps {
		ids[spec.ID] = true
	}
	for id := range ids {
		for group := app.Parent(id); group != "/"; group = app.Parent(group) {
			if ids[group] {
				return &statusError{http.StatusUnprocessableEntity, "Groups and Applications may not have the same identifier: " + group + " is an app, and the group of " + id + "."}
			}
		}
	}
	return nil
}

func (a *API) deleteApp(w http.ResponseWriter, c *call) (any, error) {
	if !owns(c.who, c.id) {
		return nil, foreign(c.who, c.id)
	}
	return a.update(w, c, true, func(wanted scheduler.Wanted) (scheduler.Change, error) {
		if wanted.App(c.id) == nil {
			return scheduler.Change{}, unknownApp(c.id)
		}
		return scheduler.Change{Remove: []string{c.id}}, nil
	})
}

func (a *API) restartApp(w http.ResponseWriter, c *call) (any, error) {
	if !owns(c.who, c.id) {
		return nil, foreign(c.who, c.id)
	}
	return a.update(w, c, false, func(wanted scheduler.Wanted) (scheduler.Change, error) {
		old := wanted.App(c.id)
		if old == nil {
			return scheduler.Change{}, unknownApp(c.id)
		}
		again := *old
		return scheduler.Change{Put: []*app.App{&again}, Restart: []string{c.id}}, nil
	})
}

// whole embeds what GET of one app always shows.
func whole(q url.Values) embeds {
	e := readEmbeds(q["embed"], "app.")
	e.tasks, e.counts, e.deployments, e.lastFailure = true, true, true, true
	return e
}

type appBody struct {
	App any `json:"app"`
}

type appsBody struct {
	Apps []appView `json:"apps"`
}

func (a *API) getApp(_ http.ResponseWriter, c *call) (any, error) {
	if group, ok := strings.CutSuffix(c.id, "/*"); ok {
		return a.appsOf(c, group)
	}
	id := c.id
	var body any
	a.engine.View(func(v scheduler.View) {
		if at := v.App(id); at != nil && owns(c.who, id) {
			body = appBody{showApp(v, at, whole(c.URL.Query()))}
		}
	})
	if body == nil {
		return nil, unknownApp(id)
	}
	return body, nil
}

// appsOf answers for "/v2/apps/{group}/*".
func (a *API) appsOf(c *call, group string) (any, error) {
	views := []appView{}
	if err := a.groupExists(c, group); err != nil {
		return nil, err
	}
	a.engine.View(func(v scheduler.View) {
		for at := range v.Apps() {
			if app.Within(at.Spec.ID, groupOf(group)) && owns(c.who, at.Spec.ID) {
				views = append(views, showApp(v, at, whole(c.URL.Query())))
			}
		}
	})
	return map[string]any{"*": views}, nil
}

// groupOf returns the id of what stands before "/*".
func groupOf(id string) string { return app.Canonical(id, "/") }

// groupExists answers for a group that is not there, or not the caller's. The
// root is everybody's: each sees what is theirs.
func (a *API) groupExists(c *call, group string) error {
	id := groupOf(group)
	found := id == "/"
	a.engine.View(func(v scheduler.View) { found = found || owns(c.who, id) && viewTree(v, c.who).Find(id) != nil })
	if !found {
		return unknownGroup(id)
	}
	return nil
}

// exists answers for an app that is not there, or not the caller's.
func (a *API) exists(c *call) error {
	found := false
	a.engine.View(func(v scheduler.View) { found = v.App(c.id) != nil })
	if !found || !owns(c.who, c.id) {
		return unknownApp(c.id)
	}
	return nil
}
