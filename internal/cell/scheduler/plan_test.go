package scheduler

import (
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
)

// began is when the tests of batches begin.
//
//nolint:gochecknoglobals // a moment
var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// wanting returns a state with one app, /a, and its instances.
func wanting(spec app.App, instances ...*instance.Instance) *state {
	s := newState()
	spec.ID, spec.Version = "/a", app.At(began)
	spec.VersionInfo = &app.VersionInfo{LastConfigChangeAt: spec.Version}
	s.apps["/a"] = &App{Spec: &spec, Accept: began}
	s.byApp["/a"] = instanceSet{}
	for _, i := range instances {
		i.App, i.Incarnation, i.Version, i.AgentID = "/a", 1, began, "S1"
		s.instances[i.ID], s.byApp["/a"][i.ID] = i, i
	}
	return s
}

// batchAt is a batch some time after the tests began.
func batchAt(s *state, after time.Duration) *tx {
	cfg := &Config{}
	cfg.defaults()
	t := newTx(s, cfg, began.Add(after))
	t.timers, t.offers = map[string]time.Time{}, newOffers()
	return t
}

// killed lists the tasks that a batch has the master end.
func killed(t *tx) (tasks []string) {
	for _, c := range t.calls {
		if c.Kill != nil {
			tasks = append(tasks, c.Kill.TaskID.Value)
		}
	}
	return tasks
}

// TestLostLaunchWaits: a launch that did not reach its worker is no failure, and is
// not tried again at once: the master may refuse it each time.
func TestLostLaunchWaits(t *testing.T) {
	i := &instance.Instance{ID: "a.instance-1", Condition: instance.Provisioned, StagedAt: began}
	tx := batchAt(wanting(app.App{Instances: 1}, i), time.Second)
	tx.status(&mesos.TaskStatus{TaskID: mesos.ID{Value: i.TaskID()}, State: mesos.TaskDropped, Source: mesos.SourceMaster})
	a := tx.apps.get("/a")
	if a.LastFailure != nil || a.Backoff.Delay != 0 || !a.Backoff.Until.Equal(tx.now.Add(lostDelay)) {
		t.Errorf("%+v", a)
	}
	tx.settle()
	if ready, waiting, _ := tx.demand(); len(ready) > 0 || !waiting {
		t.Errorf("ready are %v; something waits: %t", ready, waiting)
	}
}

// TestNeverStarted: a task that does not start in time is ended.
func TestNeverStarted(t *testing.T) {
	for _, condition := range []instance.Condition{instance.Provisioned, instance.Staging, instance.Starting} {
		i := &instance.Instance{ID: "a.instance-1", Condition: condition, StagedAt: began}
		s := wanting(app.App{Instances: 1}, i)
		tx := batchAt(s, launchLimit-1)
		tx.plan("/a")
		if ids := killed(tx); len(ids) > 0 || !tx.next().Equal(began.Add(launchLimit)) {
			t.Errorf("%s: ended early are %v; the next look is at %v", condition, ids, tx.next())
		}
		tx = batchAt(s, launchLimit)
		tx.plan("/a")
		if ids := killed(tx); len(ids) != 1 || ids[0] != i.TaskID() {
			t.Errorf("%s: ended are %v", condition, ids)
		}
	}
}

// TestKillIsRepeated until it is done.
func TestKillIsRepeated(t *testing.T) {
	asked := began
	i := &instance.Instance{ID: "a.instance-1", Condition: instance.Running, StagedAt: began, KillAsked: &asked}
	s := wanting(app.App{Instances: 0}, i)
	for n, c := range []struct {
		after time.Duration
		kills int
	}{{killRepeat - 1, 0}, {killRepeat, 1}, {2*killRepeat - 1, 0}, {2 * killRepeat, 1}} {
		tx := batchAt(s, c.after)
		tx.plan("/a")
		if ids := killed(tx); len(ids) != c.kills {
			t.Errorf("%d: ended are %v", n, ids)
		}
		if tx.next().IsZero() {
			t.Errorf("%d: nobody looks again", n)
		}
		tx.merge()
	}
}

// TestDeadlineOfHeldApp: what a stalled deployment has not come to keeps nobody
// awake, even after the deadline.
func TestDeadlineOfHeldApp(t *testing.T) {
	i := &instance.Instance{ID: "a.instance-1", Condition: instance.Running, StagedAt: began}
	s := wanting(app.App{Instances: 1}, i)
	s.deployments["d"] = &Deployment{
		ID: "d", Version: app.At(began), Progressed: began, Layers: [][]string{{"/first"}, {"/a"}},
		Before: map[string]Before{"/first": {}, "/a": {Version: app.At(began).String(), Instances: 1}},
	}
	for _, reached := range []int{0, 1} {
		s.deployments["d"].Reached = reached
		s.apps["/a"].Spec.Instances = 1 + reached // so that there is something to wait for
		tx := batchAt(s, time.Minute)
		tx.cfg.ProgressDeadline = 10 * time.Minute
		tx.plan("/a")
		want := time.Time{}
		if reached == 1 {
			want = began.Add(10 * time.Minute)
		}
		if got := tx.next(); !got.Equal(want) {
			t.Errorf("with layer %d under way the next look is at %v, not %v", reached, got, want)
		}
	}
}

// TestBaseOfScaleDown: what a scale-down is counted from stays until it is through,
// also when somebody asks for another number meanwhile.
func TestBaseOfScaleDown(t *testing.T) {
	s := wanting(app.App{Instances: 10})
	s.apps["/a"].Base = 10
	for _, c := range []struct{ instances, base int }{{4, 10}, {2, 10}, {20, 20}, {5, 20}} {
		x := batchAt(s, time.Second)
		spec := *s.apps["/a"].Spec
		spec.Instances = c.instances
		x.want(&spec)
		if got := x.apps.get("/a").Base; got != c.base {
			t.Errorf("%d wanted: counted from %d, not %d", c.instances, got, c.base)
		}
		x.merge()
	}
	s.apps["/a"].Spec.Instances = 0
	x := batchAt(s, time.Second)
	x.plan("/a")
	if got := x.apps.get("/a").Base; got != 0 {
		t.Errorf("it is through, and still counted from %d", got)
	}
}

// TestWorkersCheckOfOwnVersion: what a worker says of an instance's health is of the
// check that its own version has, whatever is wanted by now.
func TestWorkersCheckOfOwnVersion(t *testing.T) {
	i := &instance.Instance{ID: "a.instance-1", Condition: instance.Running, StagedAt: began, StartedAt: &began}
	s := wanting(app.App{Instances: 1}, i)
	i.Version = began.Add(-time.Hour)
	x := batchAt(s, time.Second)
	x.lookup = func(_, version string) (*app.App, error) {
		if version != (app.Timestamp{Time: i.Version}).String() {
			t.Errorf("version %s is looked up", version)
		}
		return &app.App{ID: "/a", HealthChecks: []app.HealthCheck{{Protocol: app.HealthCommand}}}, nil
	}
	well := true
	x.status(&mesos.TaskStatus{TaskID: mesos.ID{Value: i.TaskID()}, State: mesos.TaskRunning, Healthy: &well})
	if now := x.instances.get(i.ID); now.Healthy == nil || !*now.Healthy {
		t.Errorf("%+v", now)
	}
}
