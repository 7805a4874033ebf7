package scheduler

import (
	"maps"
	"slices"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/deploy"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
)

// tx is one batch of messages being worked through: what it changes, and what is
// to be done once that is on disk. It touches nothing but itself.
type tx struct {
	now  time.Time
	cfg  *Config
	base *state

	apps        overlay[App]
	catalogue   catalogue // what apps change of it
	groups      overlay[Group]
	deployments overlay[Deployment]
	instances   overlay[instance.Instance]
	changedOf   map[string]instanceSet          // changed instances by app
	listed      map[string][]*instance.Instance // what of returned, until an instance of the app changes
	checks      overlay[Checks]
	decisions   overlay[deploy.Decision]
	waiting     overlay[Waiting]
	light       map[string]bool // deployments of which nothing changed but their progress
	history     []past          // new versions
	meta        map[string]string

	dirty   map[string]bool      // apps to plan again
	visible map[string]bool      // apps of which something visible changed
	wake    time.Time            // the next moment something is due; zero for none
	timers  map[string]time.Time // when apps are to be planned again; the engine's own

	calls  []*mesos.Call // to the master, after the commit
	events []Event       // to listeners, after the commit
	offers *offers       // held offers; owned by the engine
	// questions to the master without an answer; owned by the engine
	questions *questions
	freed     bool                                       // a worker has more room than before
	drained   map[string]bool                            // workers; replaced, never changed
	leader    *string                                    // the master's address, if it is new
	lookup    func(id, version string) (*app.App, error) // among what is on disk
	serial    int64                                      // last number of a deployment
	newest    app.Timestamp                              // last version given
}

func (t *tx) empty() bool {
	return len(t.apps.changed)+len(t.groups.changed)+len(t.deployments.changed)+len(t.instances.changed)+len(t.history)+len(t.meta) == 0
}

// matters tells whether the batch leaves anything behind.
func (t *tx) matters() bool { return !t.empty() || len(t.calls) > 0 }

func newTx(s *state, cfg *Config, now time.Time) *tx {
	return &tx{
		now: now, cfg: cfg, base: s, questions: &questions{}, lookup: func(string, string) (*app.App, error) { return nil, nil }, //nolint:nilnil // none is kept
		apps: over(s.apps), groups: over(s.groups), deployments: over(s.deployments), instances: over(s.instances),
		checks: over(s.checks), decisions: over(s.decisions), waiting: over(s.waiting),
		drained: s.drained, changedOf: map[string]instanceSet{}, listed: map[string][]*instance.Instance{}, meta: map[string]string{}, catalogue: newCatalogue(), light: map[string]bool{}, dirty: map[string]bool{}, visible: map[string]bool{},
	}
}

// touch has an app planned again at the end of the batch.
func (t *tx) touch(id string) { t.dirty[id] = true }

func (t *tx) putApp(a *App) {
	t.apps.put(a.Spec.ID, a)
	t.visible[a.Spec.ID] = true
	t.touch(a.Spec.ID)
}

func (t *tx) putInstance(i *instance.Instance) {
	t.instances.put(i.ID, i)
	t.index(i.App)[i.ID] = i
	t.visible[i.App] = true
	t.touch(i.App)
}

func (t *tx) removeInstance(i *instance.Instance) {
	t.instances.remove(i.ID)
	t.index(i.App)[i.ID] = nil
	t.checks.remove(i.ID)
	t.freed = true
	t.visible[i.App] = true
	t.touch(i.App)
}

// index returns the changed instances of an app, to be written to.
func (t *tx) index(id string) instanceSet {
	delete(t.listed, id)
	set := t.changedOf[id]
	if set == nil {
		set = instanceSet{}
		t.changedOf[id] = set
	}
	return set
}

// of returns the instances of an app in no order. The slice must not be changed.
func (t *tx) of(id string) []*instance.Instance {
	if out, ok := t.listed[id]; ok {
		return out
	}
	changed := t.changedOf[id]
	out := make([]*instance.Instance, 0, len(t.base.byApp[id])+len(changed))
	for iid, i := range t.base.byApp[id] {
		if _, ok := changed[iid]; !ok {
			out = append(out, i)
		}
	}
	for _, i := range changed {
		if i != nil {
			out = append(out, i)
		}
	}
	t.listed[id] = out
	return out
}

// putDeployment keeps a deployment; its apps show it.
func (t *tx) putDeployment(d *Deployment) {
	t.deployments.put(d.ID, d)
	delete(t.light, d.ID)
	t.show(d)
}

// removeDeployment forgets a deployment; its apps show that.
func (t *tx) removeDeployment(d *Deployment) {
	t.deployments.remove(d.ID)
	delete(t.light, d.ID)
	t.show(d)
}

func (t *tx) show(d *Deployment) {
	for id := range d.Before {
		t.visible[id] = true
		t.touch(id)
	}
}

// deploying returns the deployments on their way, oldest first.
func (t *tx) deploying() []*Deployment {
	var out []*Deployment
	for _, d := range t.deployments.all() {
		out = append(out, d)
	}
	return inOrder(slices.Values(out))
}

// deploymentOf returns the deployment that touches an app, or nil. There is never
// more than one: see makeWay.
func (t *tx) deploymentOf(id string) *Deployment {
	for _, d := range t.deployments.all() {
		if d.touches(id) {
			return d
		}
	}
	return nil
}

// at makes the engine work again at a moment, even if nothing happens until then.
func (t *tx) at(when time.Time) {
	if t.wake.IsZero() || when.Before(t.wake) {
		t.wake = when
	}
}

func (t *tx) call(c *mesos.Call) { t.calls = append(t.calls, c) }

// merge makes what is on disk now the state everybody sees.
func (t *tx) merge() {
	s := t.base
	for id, set := range t.changedOf {
		have := s.byApp[id]
		if have == nil {
			have = instanceSet{}
			s.byApp[id] = have
		}
		for iid, i := range set {
			if i == nil {
				delete(have, iid)
			} else {
				have[iid] = i
			}
		}
		if len(have) == 0 {
			delete(s.byApp, id)
		}
	}
	s.catalogue.merge(t.catalogue)
	t.apps.merge()
	t.groups.merge()
	t.deployments.merge()
	t.instances.merge()
	t.checks.merge()
	t.decisions.merge()
	t.waiting.merge()
	if v, ok := t.meta[metaFramework]; ok {
		s.framework = v
	}
	s.drained = t.drained
	if t.leader != nil {
		s.leader = *t.leader
	}
	if len(t.visible)+len(t.groups.changed)+len(t.deployments.changed) > 0 {
		s.revision++
		close(s.changed)
		s.changed = make(chan struct{})
	}
	for id := range maps.Keys(t.visible) {
		if s.apps[id] == nil {
			delete(s.revisions, id)
		} else {
			s.revisions[id] = s.revision
		}
	}
}
