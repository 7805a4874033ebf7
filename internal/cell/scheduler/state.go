package scheduler

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/deploy"
	"howdah.dev/howdah/internal/cell/instance"
)

// state is all the scheduler knows. One goroutine changes it, under the engine's
// lock and only with what is on disk; the records themselves never change.
type state struct {
	apps        map[string]*App
	groups      map[string]*Group
	deployments map[string]*Deployment
	instances   map[string]*instance.Instance
	byApp       map[string]instanceSet
	checks      map[string]*Checks // by instance; not stored
	// decisions are what the planner last said of each app; not stored.
	decisions map[string]*deploy.Decision
	waiting   map[string]*Waiting // apps that want launches; not stored
	catalogue catalogue
	framework string
	drained   map[string]bool // workers, by id
	leader    string          // the master's address, as it says

	// revision rises with every change; revisions holds the last change of each app
	// that anybody could see.
	revision  uint64
	revisions map[string]uint64
	changed   chan struct{} // closed with the next change of revision
}

func newState() *state {
	return &state{
		apps: map[string]*App{}, groups: map[string]*Group{}, deployments: map[string]*Deployment{}, instances: map[string]*instance.Instance{},
		byApp: map[string]instanceSet{}, checks: map[string]*Checks{}, decisions: map[string]*deploy.Decision{}, waiting: map[string]*Waiting{}, drained: map[string]bool{}, revisions: map[string]uint64{}, catalogue: newCatalogue(), changed: make(chan struct{}),
	}
}

// View is the state as of one commit. It is valid only inside the function it is
// given to; the records it returns stay valid and must not be changed.
type View struct {
	s *state
	e *Engine
}

// View calls fn with the state of the newest commit.
func (e *Engine) View(fn func(View)) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	fn(View{e.state, e})
}

// App returns an app, or nil.
func (v View) App(id string) *App {
	if a := v.s.apps[id]; a != nil && !a.Removed {
		return a
	}
	return nil
}

// Apps yields the apps ordered by id.
func (v View) Apps() iter.Seq[*App] {
	return func(yield func(*App) bool) {
		for _, id := range slices.Sorted(maps.Keys(v.s.apps)) {
			if a := v.s.apps[id]; !a.Removed && !yield(a) {
				return
			}
		}
	}
}

// Group returns what is kept of a group beside its apps, or nil.
func (v View) Group(id string) *Group { return v.s.groups[id] }

// Groups yields the kept groups in no order.
func (v View) Groups() iter.Seq[*Group] { return maps.Values(v.s.groups) }

// Instances returns the instances of an app, oldest first.
func (v View) Instances(id string) []*instance.Instance { return oldestFirst(v.s.byApp[id]) }

// Instance returns an instance, or nil.
func (v View) Instance(id string) *instance.Instance { return v.s.instances[id] }

// Readiness returns the results of the readiness checks of an app's instances,
// those of the oldest first.
func (v View) Readiness(id string) []ReadyResult {
	out := []ReadyResult{}
	if len(v.s.checks) == 0 { // it is asked for often, and most apps have none
		return out
	}
	for _, i := range v.Instances(id) {
		if c := v.s.checks[i.ID]; c != nil {
			out = append(out, c.Ready...)
		}
	}
	return out
}

// Checks returns the results of an instance's health checks; nil for none yet.
func (v View) Checks(id string) *Checks { return v.s.checks[id] }

// Deployments returns the deployments on their way, oldest first.
func (v View) Deployments() []*Deployment { return inOrder(maps.Values(v.s.deployments)) }

// Deployment returns a deployment, or nil.
func (v View) Deployment(id string) *Deployment { return v.s.deployments[id] }

// DeploymentsOf returns the deployments that touch an app, oldest first.
func (v View) DeploymentsOf(id string) []*Deployment {
	var out []*Deployment
	for _, d := range v.s.deployments {
		if d.touches(id) {
			out = append(out, d)
		}
	}
	return inOrder(slices.Values(out))
}

// Decision returns what the planner last said of an app.
func (v View) Decision(id string) deploy.Decision {
	if d := v.s.decisions[id]; d != nil {
		return *d
	}
	return deploy.Decision{Done: true}
}

// Waits says in a sentence what an app waits for at a moment, and what is amiss with
// the instance it waits for; "" for nothing.
func (v View) Waits(id string, now time.Time) string {
	d := v.Decision(id)
	wait := d.Waits(now)
	if c := v.s.checks[d.On]; c != nil && c.Amiss != "" {
		wait += ": " + c.Amiss
	}
	return wait
}

// Framework returns the framework's id and the address of the master, both ""
// before the first subscription.
func (v View) Framework() (id, master string) { return v.s.framework, v.s.leader }

// Revision returns a number that differs after every change.
func (v View) Revision() uint64 { return v.s.revision }

// Changed returns a channel that is closed when Revision returns another number.
func (v View) Changed() <-chan struct{} { return v.s.changed }

// AppRevision returns a number that differs after every change of what is
// visible of an app.
func (v View) AppRevision(id string) uint64 { return v.s.revisions[id] }

func inOrder(ds iter.Seq[*Deployment]) []*Deployment {
	return slices.SortedFunc(ds, func(a, b *Deployment) int { return int(a.Number - b.Number) })
}

func oldestFirst(set instanceSet) []*instance.Instance {
	return slices.SortedFunc(maps.Values(set), func(a, b *instance.Instance) int {
		if c := a.StagedAt.Compare(b.StagedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
}

// latest returns the later of two moments.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
