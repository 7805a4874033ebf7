package scheduler

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/deploy"
)

// Errors of updates. Those of callers' functions come back as they are.
var (
	// ErrTooMany is returned when as many deployments of a project run as are allowed.
	ErrTooMany = errors.New("Too many deployments run")
	// ErrNotFound is returned for what is not there.
	ErrNotFound = errors.New("not found")
)

// LockedError says which running deployments stand against an update.
type LockedError struct {
	Deployments []string
}

// Error says what Marathon says.
func (e *LockedError) Error() string {
	return "App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'."
}

// GoneError says that a version of an app is not kept any more.
type GoneError struct {
	App, Version string
}

func (e *GoneError) Error() string {
	return "version " + e.Version + " of " + e.App + " is not kept any more"
}

// Change is what an update wants different.
type Change struct {
	// Put are new or changed apps, normalised and valid. Their versions are set here.
	Put []*app.App
	// Remove are the ids of apps that must go.
	Remove []string
	// Back are ids of apps in Put whose configuration is an earlier one, which their
	// VersionInfo names: instances that still have it are as wanted.
	Back []string
	// Restart are ids of apps in Put whose instances are replaced though nothing differs.
	Restart []string
	// Groups are what is kept of groups from now on; nil removes one.
	Groups map[string]*Group
	// Kill are ids of instances that must end, whatever the strategy says.
	Kill []string
}

// ids are those of all that the change is about.
func (c *Change) ids() []string {
	ids := slices.Clone(c.Remove)
	for _, a := range c.Put {
		ids = append(ids, a.ID)
	}
	return slices.AppendSeq(ids, maps.Keys(c.Groups))
}

// UpdateOptions say how an update goes about.
type UpdateOptions struct {
	Force   bool   // takes the place of deployments in its way
	DryRun  bool   // only tells what would be done
	Project string // who asks; deployments at once are counted by it
	// MayEnd is asked with the apps of each deployment that is to make way; nil allows it.
	MayEnd func(apps []string) error
}

// Wanted is what is wanted now; the ground an update stands on.
type Wanted struct{ t *tx }

// App returns the wanted app, or nil. It must not be changed.
func (w Wanted) App(id string) *app.App {
	if a := w.t.apps.get(id); a != nil && !a.Removed {
		return a.Spec
	}
	return nil
}

// Apps yields the wanted apps ordered by id.
func (w Wanted) Apps() iter.Seq[*app.App] {
	return func(yield func(*app.App) bool) {
		for _, a := range w.t.wanted() {
			if !yield(a) {
				return
			}
		}
	}
}

// Group returns what is kept of a group, or nil.
func (w Wanted) Group(id string) *Group { return w.t.groups.get(id) }

// Groups yields the kept groups in no order.
func (w Wanted) Groups() iter.Seq[*Group] {
	return func(yield func(*Group) bool) {
		for _, g := range w.t.groups.all() {
			if !yield(g) {
				return
			}
		}
	}
}

// Now returns the moment that becomes the version of what is changed.
func (w Wanted) Now() time.Time { return w.t.now }

// wanted returns the wanted apps ordered by id.
func (t *tx) wanted() []*app.App {
	var out []*app.App
	for _, a := range t.apps.all() {
		if !a.Removed {
			out = append(out, a.Spec)
		}
	}
	slices.SortFunc(out, func(a, b *app.App) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Update changes what is wanted, all of it or nothing, and returns the
// deployment that brings it about. fn says what to change; it is called once,
// alone, with what is wanted at that moment, and must not block.
func (e *Engine) Update(ctx context.Context, opts UpdateOptions, fn func(Wanted) (Change, error)) (*Deployment, error) {
	var d *Deployment
	err := e.do(ctx, func(t *tx) error {
		change, err := fn(Wanted{t})
		if err == nil {
			d, err = t.update(change, opts)
		}
		if err != nil && !opts.DryRun {
			t.emit("group_change_failed", groupEvent{GroupID: "/", Version: app.At(t.now), Reason: err.Error(), about: change.ids()})
		}
		return err
	})
	return d, err
}

// update makes the deployment of a change. What it finds wrong it finds before
// the first change.
func (t *tx) update(c Change, opts UpdateOptions) (*Deployment, error) {
	c.Put = slices.DeleteFunc(slices.Clone(c.Put), func(a *app.App) bool { return t.asWanted(a, c) })
	d, err := t.draft(c)
	if err != nil || opts.DryRun {
		return d, err
	}
	d.Project = opts.Project
	if err := t.makeWay(d, opts); err != nil {
		return nil, err
	}
	for _, a := range c.Put {
		t.want(a)
	}
	for _, id := range c.Remove {
		t.unwant(id, d.Version)
	}
	for id, g := range c.Groups {
		d.Groups[id] = t.groups.get(id)
		t.wantGroup(id, g, d)
	}
	for _, id := range c.Kill {
		if i := t.instances.get(id); i != nil {
			t.kill(i, "asked for")
		}
	}
	t.serial++
	d.Number = t.serial
	t.putDeployment(d)
	t.emitDeploymentInfo(d)
	return d, nil
}

// asWanted tells whether an app asks for what is there already: its deployment
// is through at once. After a deployment was given up, asking again means it.
func (t *tx) asWanted(a *app.App, c Change) bool {
	old := t.apps.get(a.ID)
	if old == nil || old.Removed || slices.Contains(c.Restart, a.ID) || !app.SameConfig(old.Spec, a) || old.Spec.Instances != a.Instances {
		return false
	}
	version := old.Spec.ConfigVersion()
	if slices.Contains(c.Back, a.ID) && !a.ConfigVersion().Equal(version.Time) {
		return false
	}
	return old.Accept.Equal(version.Time)
}

// draft computes a deployment and gives the apps their versions.
func (t *tx) draft(c Change) (*Deployment, error) {
	version := t.version()
	d := &Deployment{ID: uuid.NewString(), Version: version, Before: map[string]Before{}, Groups: map[string]*Group{}, Progressed: t.now}
	before, after := map[string]*app.App{}, map[string]*app.App{}
	for _, a := range c.Put {
		old := t.apps.get(a.ID)
		d.Before[a.ID] = beforeOf(old)
		if old != nil && !old.Removed {
			before[a.ID] = old.Spec
		}
		t.stamp(a, before[a.ID], version, c)
		after[a.ID] = a
	}
	for _, id := range c.Remove {
		old := t.apps.get(id)
		if old == nil || old.Removed {
			continue
		}
		d.Before[id] = beforeOf(old)
		before[id] = old.Spec
	}
	layers, steps, err := t.order(before, after, c)
	if err != nil {
		return nil, err
	}
	d.Layers, d.Steps = layers, steps
	return d, nil
}

// version returns a new version, later than all there are: two updates within
// a millisecond must not be one.
func (t *tx) version() app.Timestamp {
	v := app.At(t.now)
	if !v.After(t.newest.Time) {
		v = app.At(t.newest.Add(time.Millisecond))
	}
	t.newest = v
	return v
}

func beforeOf(a *App) Before {
	if a == nil {
		return Before{}
	}
	return Before{Version: a.Spec.Version.String(), Instances: a.Spec.Instances, Removed: a.Removed}
}

// stamp sets the versions of a changed app.
func (t *tx) stamp(a, old *app.App, version app.Timestamp, c Change) {
	switch {
	case slices.Contains(c.Restart, a.ID):
		old = nil // as if it were new
	case slices.Contains(c.Back, a.ID) && a.VersionInfo != nil:
		a.Version, a.VersionInfo = version, &app.VersionInfo{LastScalingAt: version, LastConfigChangeAt: a.VersionInfo.LastConfigChangeAt}
		return
	}
	app.Stamp(a, old, version)
}

// makeWay sees to it that no other deployment touches the same apps.
func (t *tx) makeWay(d *Deployment, opts UpdateOptions) error {
	var running, against int
	var ids []string
	for _, other := range t.deploying() {
		mine := other.Project == d.Project // what one project has waiting must not stop the others
		if mine {
			running++
		}
		if slices.ContainsFunc(other.Apps(), d.touches) {
			if mine {
				against++
			}
			ids = append(ids, other.ID)
		}
	}
	if len(ids) > 0 && !opts.Force {
		return &LockedError{ids}
	}
	for _, id := range ids {
		if opts.MayEnd == nil {
			break
		}
		if err := opts.MayEnd(t.deployments.get(id).Apps()); err != nil {
			return err
		}
	}
	if most := t.cfg.MaxDeployments; running-against >= most {
		return fmt.Errorf("%w. At most %d of a project may run at once. Wait for one to end, or cancel one with DELETE /v2/deployments/<DEPLOYMENT_ID>.", ErrTooMany, most)
	}
	for _, id := range ids {
		t.end(t.deployments.get(id), "it made way for another deployment")
	}
	return nil
}

// want makes an app wanted as given.
func (t *tx) want(spec *app.App) {
	old := t.apps.get(spec.ID)
	t.wantedWas(old)
	t.catalogue.count(spec, 1)
	a := &App{Spec: spec, Accept: spec.VersionInfo.LastConfigChangeAt.Time, Base: spec.Instances}
	if old != nil {
		a.LastFailure = old.LastFailure
		a.Base = max(spec.Instances, old.Base, old.Spec.Instances)
		if a.Accept.Equal(old.Spec.ConfigVersion().Time) {
			a.Backoff = old.Backoff
		}
	}
	t.emitChecks(old, spec)
	t.remember(kindApp, spec.ID, spec.Version, spec)
	t.putApp(a)
}

// wantGroup keeps what is said of a group, nil for nothing any more.
func (t *tx) wantGroup(id string, g *Group, d *Deployment) {
	switch {
	case g != nil:
		g.Version = d.Version
		t.groups.put(id, g)
		t.remember(kindGroup, id, d.Version, g)
	case t.groups.get(id) != nil:
		t.groups.remove(id)
		t.remember(kindGroup, id, d.Version, nil)
	}
}

// emitChecks tells of the checks of a new configuration, and of those that end.
func (t *tx) emitChecks(old *App, spec *app.App) {
	if old != nil && !old.Removed {
		if old.Spec.ConfigVersion().Equal(spec.ConfigVersion().Time) {
			return
		}
		t.emitNoChecks(old.Spec)
	}
	for _, c := range spec.HealthChecks {
		t.emit("add_health_check_event", checkEvent{AppID: spec.ID, Version: spec.ConfigVersion(), HealthCheck: c})
	}
}

func (t *tx) emitNoChecks(spec *app.App) {
	if len(spec.HealthChecks) > 0 {
		t.emit("remove_health_check_event", appEvent{AppID: spec.ID})
	}
}

// unwant has an app end.
func (t *tx) unwant(id string, version app.Timestamp) {
	old := t.apps.get(id)
	if old == nil {
		return
	}
	t.wantedWas(old)
	if !old.Removed {
		t.emitNoChecks(old.Spec)
		t.remember(kindApp, id, version, nil)
	}
	a := clone(old)
	a.Removed = true
	t.putApp(a)
}

// order returns the layers of a deployment, by dependency, and its steps as they
// are shown.
func (t *tx) order(before, after map[string]*app.App, c Change) (layers [][]string, steps []deploy.Step, err error) {
	layers, err = t.layers(after, c)
	if err != nil {
		return nil, nil, err
	}
	steps = deploy.Steps(before, after, layers)
	var gone []string
	for id := range before {
		if after[id] == nil {
			gone = append(gone, id)
		}
	}
	if len(gone) > 0 { // removed apps go first, as Marathon's plans have it
		slices.Sort(gone)
		layers = slices.Insert(layers, 0, gone)
	}
	return layers, steps, nil
}

// layers orders the changed apps by the dependencies among all apps.
func (t *tx) layers(after map[string]*app.App, c Change) ([][]string, error) {
	if len(after) == 0 {
		return nil, nil
	}
	simple := len(after) == 1 && len(c.Groups) == 0
	if simple {
		for id, a := range after {
			if len(a.Dependencies) == 0 {
				return [][]string{{id}}, nil
			}
		}
	}
	all := map[string]*app.App{}
	for _, a := range t.wanted() {
		all[a.ID] = a
	}
	maps.Copy(all, after)
	for _, id := range c.Remove {
		delete(all, id)
	}
	groups := map[string][]string{}
	for id, g := range t.groups.all() {
		groups[id] = g.Dependencies
	}
	for id, g := range c.Groups {
		delete(groups, id)
		if g != nil {
			groups[id] = g.Dependencies
		}
	}
	if err := app.CheckDependencies(all, groups); err != nil {
		return nil, err
	}
	whole, _ := app.Layers(all, groups)
	var layers [][]string
	for _, layer := range whole {
		layer = slices.DeleteFunc(layer, func(id string) bool { return after[id] == nil })
		if len(layer) > 0 {
			slices.Sort(layer)
			layers = append(layers, layer)
		}
	}
	return layers, nil
}
