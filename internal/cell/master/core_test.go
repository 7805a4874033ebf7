package master

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

// machine drives a core directly with whatever may happen in whatever order.
type machine struct {
	c        *core
	nextTask int
	sessions int
}

func newMachine() *machine {
	cfg := config("")
	cfg.Timings = cfg.withDefaults()
	cfg.Log = slog.New(slog.DiscardHandler)
	s := &saved{ID: "m", Frameworks: map[string]savedFramework{}, Workers: map[string]savedWorker{}}
	return &machine{c: newCore(&cfg, s, time.Unix(1e9, 0))}
}

// settle is what the engine does after a batch.
func (m *machine) settle() {
	m.c.allocate()
	for _, out := range m.c.touched {
		out.commit()
		out.take()
	}
	m.c.touched = nil
}

// one of the values of a map, in an order that does not change from run to run.
func one[V any](t *rapid.T, from map[string]V, label string) (v V, ok bool) {
	if len(from) == 0 {
		return v, false
	}
	return from[rapid.SampledFrom(slices.Sorted(maps.Keys(from))).Draw(t, label)], true
}

func (m *machine) subscribe(t *rapid.T) {
	info := named("f", mesos.CapMultiRole)
	info.Roles = rapid.SampledFrom([][]string{{"*"}, {"web"}, {"*", "web"}}).Draw(t, "roles")
	if rapid.Bool().Draw(t, "refined") {
		info.Capabilities = append(info.Capabilities, mesos.Capability{Type: mesos.CapReservationRefinement})
	}
	if f, ok := one(t, m.c.frameworks, "again"); ok && (len(m.c.frameworks) > 2 || rapid.Bool().Draw(t, "failover")) {
		info.ID = &mesos.ID{Value: f.id}
	}
	m.c.subscribe(&mesos.Subscribe{FrameworkInfo: info})
}

// register registers a new worker, or one that is known with some of its tasks.
func (m *machine) register(t *rapid.T) {
	resources, err := mesos.ParseResources("cpus:4;mem:4096;ports:[31000-31020];cpus(web):2;mem(web):1024")
	if err != nil {
		t.Fatal(err)
	}
	m.sessions++
	reg := &workerapi.Register{Session: fmt.Sprint(m.sessions), Info: mesos.AgentInfo{Hostname: "h", Resources: resources}}
	if w, ok := one(t, m.c.workers, "worker"); ok && (len(m.c.workers) > 3 || rapid.Bool().Draw(t, "known")) {
		reg.Info.ID = &mesos.ID{Value: w.id}
		for _, task := range sortTasks(w.tasks) {
			if rapid.IntRange(0, 3).Draw(t, "has") == 0 {
				continue
			}
			known := workerapi.Task{FrameworkID: mesos.ID{Value: task.framework}, Info: task.info, Status: status(task, state(t, task))}
			if rapid.Bool().Draw(t, "pending") {
				known.Pending = []mesos.TaskStatus{known.Status}
			}
			reg.Tasks = append(reg.Tasks, known)
		}
	}
	if _, _, err := m.c.register(reg, "h:1"); err != nil {
		t.Fatal(err)
	}
}

func sortTasks(tasks map[taskKey]*task) []*task {
	return slices.SortedFunc(maps.Values(tasks), func(a, b *task) int {
		if a.key().task < b.key().task {
			return -1
		}
		return btoi(a.key().task > b.key().task)
	})
}

// state is what a worker may say of a task: what has ended stays so.
func state(t *rapid.T, task *task) mesos.TaskState {
	if task.released {
		return mesos.TaskFinished
	}
	return rapid.SampledFrom([]mesos.TaskState{mesos.TaskStarting, mesos.TaskRunning, mesos.TaskFinished, mesos.TaskFailed}).Draw(t, "state")
}

func status(task *task, state mesos.TaskState) mesos.TaskStatus {
	unique := uuid.New()
	return mesos.TaskStatus{TaskID: task.info.TaskID, State: state, UUID: unique[:]}
}

// accept uses one or two offers of one worker for tasks that fit or do not.
func (m *machine) accept(t *rapid.T) {
	o, ok := one(t, m.c.offers, "offer")
	if !ok {
		return
	}
	a := &accept{offers: []mesos.ID{{Value: o.id}}, filters: filters(float64(rapid.IntRange(0, 3).Draw(t, "refuse")))}
	if other, ok := one(t, o.framework.offers, "second"); ok {
		a.offers = append(a.offers, mesos.ID{Value: other.id})
	}
	for range rapid.IntRange(0, 4).Draw(t, "tasks") {
		m.nextTask++
		role := rapid.SampledFrom([]string{"", "web"}).Draw(t, "reserved")
		port := uint64(rapid.IntRange(31000, 31022).Draw(t, "port"))
		cpus, mem := mesos.NewScalar("cpus", float64(rapid.IntRange(1, 50).Draw(t, "cpus"))/10), mesos.NewScalar("mem", 64)
		cpus.Role, mem.Role = role, role
		info := mesos.TaskInfo{
			TaskID: mesos.ID{Value: fmt.Sprintf("t%05d", m.nextTask)}, AgentID: mesos.ID{Value: o.worker.id}, Command: &mesos.CommandInfo{},
			Resources: []mesos.Resource{cpus, mem, mesos.NewRanges("ports", mesos.Range{Begin: port, End: port})},
		}
		a.launches = append(a.launches, launch{info: info})
	}
	m.c.accept(o.framework, a)
}

func (m *machine) update(t *rapid.T) {
	w, ok := one(t, m.c.workers, "worker")
	if !ok || len(w.tasks) == 0 || w.session == "" {
		return
	}
	task := rapid.SampledFrom(sortTasks(w.tasks)).Draw(t, "task")
	call := &workerapi.Call{Type: workerapi.CallUpdate, AgentID: mesos.ID{Value: w.id}, Session: w.session, Update: &workerapi.Update{
		FrameworkID: mesos.ID{Value: task.framework}, Status: status(task, state(t, task)),
	}}
	if rapid.Bool().Draw(t, "ended since") {
		call.Update.Latest = mesos.TaskFinished
	}
	_ = m.c.workerCall(call)
}

func (m *machine) acknowledge(t *rapid.T) {
	f, ok := one(t, m.c.frameworks, "framework")
	if !ok {
		return
	}
	task, ok := one(t, f.tasks, "task")
	if ok && task.pending != nil {
		m.c.acknowledge(f, &mesos.Acknowledge{AgentID: mesos.ID{Value: task.worker}, TaskID: task.info.TaskID, UUID: task.pending.UUID})
	}
}

// check wants what must hold at any moment.
func (m *machine) check(t *rapid.T) {
	offered := 0
	for _, w := range m.c.workers {
		var used, all []mesos.Resources
		for key, task := range w.tasks {
			if task.worker != w.id || task.key() != key {
				t.Fatalf("worker %s has task %v of worker %s", w.id, task.key(), task.worker)
			}
			if !task.released {
				used = append(used, task.use)
			}
		}
		for id, o := range w.offered {
			if m.c.offers[id] != o || o.framework.offers[id] != o || o.worker != w {
				t.Fatalf("offer %s is not known everywhere", id)
			}
			offered++
			all = append(all, o.use)
		}
		if sum := mesos.Sum(used...); !sum.Contains(w.used) || !w.used.Contains(sum) {
			t.Fatalf("worker %s uses %s, its tasks %s", w.id, w.used, sum)
		}
		// Each alone, for ports that are used twice would be one in the sum.
		left := w.total
		for _, use := range append(all, used...) {
			if !left.Contains(use) {
				t.Fatalf("worker %s has %s, of which %s is left, and %s is taken", w.id, w.total, left, use)
			}
			left = left.Subtract(use)
		}
		if w.state != connected && len(w.offered) > 0 {
			t.Fatalf("worker %s is away and offered", w.id)
		}
	}
	if offered != len(m.c.offers) {
		t.Fatalf("%d offers, of which workers know %d", len(m.c.offers), offered)
	}
	for _, f := range m.c.frameworks {
		for id, task := range f.tasks {
			w := m.c.workers[task.worker]
			if task.info.TaskID.Value != id || w == nil || w.tasks[task.key()] != task {
				t.Fatalf("task %s of %s is on no worker", id, f.id)
			}
		}
		if f.out == nil && len(f.offers) > 0 {
			t.Fatalf("framework %s is away and has offers", f.id)
		}
	}
}

// TestAllocationNeverExceedsWorker also looks at the other invariants of the core.
func TestAllocationNeverExceedsWorker(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine()
		m.register(t)
		m.subscribe(t)
		m.settle()
		act := func(f func(*rapid.T)) func(*rapid.T) {
			return func(t *rapid.T) {
				m.c.now = m.c.now.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "ms")) * time.Millisecond)
				f(t)
				m.settle()
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"subscribe": act(m.subscribe), "register": act(m.register), "update": act(m.update), "ack": act(m.acknowledge),
			"accept": act(m.accept), "accept more": act(m.accept), "accept yet more": act(m.accept),
			"decline": act(func(t *rapid.T) {
				if o, ok := one(t, m.c.offers, "offer"); ok {
					m.c.decline(o.framework, &mesos.Decline{OfferIDs: []mesos.ID{{Value: o.id}}, Filters: filters(2)})
				}
			}),
			"revive": act(func(t *rapid.T) {
				if f, ok := one(t, m.c.frameworks, "framework"); ok {
					m.c.revive(f, nil)
				}
			}),
			"suppress": act(func(t *rapid.T) {
				if f, ok := one(t, m.c.frameworks, "framework"); ok {
					m.c.suppress(f, nil)
				}
			}),
			"tick": act(func(t *rapid.T) {
				m.c.now = m.c.now.Add(time.Duration(rapid.SampledFrom([]int{1, 5, 40}).Draw(t, "seconds")) * time.Second)
				m.c.tick()
			}),
			"framework goes": act(func(t *rapid.T) {
				if f, ok := one(t, m.c.frameworks, "framework"); ok && f.out != nil {
					m.c.disconnect(f)
				}
			}),
			"teardown": act(func(t *rapid.T) {
				if f, ok := one(t, m.c.frameworks, "framework"); ok && rapid.IntRange(0, 3).Draw(t, "rarely") == 0 {
					m.c.removeFramework(f, "teardown")
				}
			}),
			"worker goes": act(func(t *rapid.T) {
				if w, ok := one(t, m.c.workers, "worker"); ok && w.out != nil {
					m.c.loseStream(w)
				}
			}),
			"": m.check,
		})
	})
}

func TestEndedAndAcknowledgedTaskIsNotKept(t *testing.T) {
	m := newMachine()
	reg := &workerapi.Register{Session: "s", Info: mesos.AgentInfo{Hostname: "h"}, Tasks: []workerapi.Task{{
		FrameworkID: mesos.ID{Value: "f"}, Info: mesos.TaskInfo{TaskID: mesos.ID{Value: "one"}}, Status: mesos.TaskStatus{State: mesos.TaskFinished},
	}}}
	_, w, err := m.c.register(reg, "h:1")
	if err != nil {
		t.Fatal(err)
	}
	if f := m.c.frameworks["f"]; len(w.tasks) != 0 || len(f.tasks) != 0 || len(f.completed) != 1 {
		t.Errorf("%v %v %v", w.tasks, f.tasks, f.completed)
	}
}

func TestTooMany(t *testing.T) {
	m := newMachine()
	for range maxFrameworks {
		m.c.subscribe(&mesos.Subscribe{FrameworkInfo: named("f")})
	}
	sub := &mesos.Subscribe{FrameworkInfo: named("f")}
	if got := m.c.refuseFramework(nil, "", sub); got != "There are 1000 frameworks already; tear one down first" {
		t.Error(got)
	}
	known := m.c.saved.ID + "-0007"
	if got := m.c.refuseFramework(m.c.frameworks[known], known, sub); got != "" {
		t.Errorf("one that is known: %s", got)
	}
	reg := &workerapi.Register{Session: "s", Info: mesos.AgentInfo{Hostname: "h"}}
	for range maxWorkers {
		if _, _, err := m.c.register(reg, "h:1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := m.c.register(reg, "h:1"); err == nil || err.Error() != "There are 5000 workers already" {
		t.Error(err)
	}
	reg.Info.ID = &mesos.ID{Value: m.c.saved.ID + "-S7"}
	if _, _, err := m.c.register(reg, "h:1"); err != nil {
		t.Errorf("one that is known: %v", err)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	secret := &mesos.Secret{Type: "VALUE", Value: &mesos.SecretValue{Data: []byte("s3cret")}}
	info := mesos.TaskInfo{
		Command: &mesos.CommandInfo{Environment: &mesos.Environment{Variables: []mesos.Variable{{Name: "P", Value: "s3cret"}}}},
		Data:    []byte("s3cret"),
		Container: &mesos.ContainerInfo{
			Volumes: []mesos.Volume{{ContainerPath: "/s", Source: &mesos.VolumeSource{Type: "SECRET", Secret: secret}}},
			Docker:  &mesos.DockerInfo{Image: "i", Parameters: []mesos.Parameter{{Key: "env", Value: "P=s3cret"}, {Key: "label", Value: "a=b"}}},
			Mesos:   &mesos.MesosInfo{Image: &mesos.Image{Type: "DOCKER", Docker: &mesos.DockerImage{Name: "i", Config: secret}}},
		},
		HealthCheck: &mesos.HealthCheck{Type: "COMMAND", Command: &mesos.CommandInfo{
			Value: "true", Environment: &mesos.Environment{Variables: []mesos.Variable{{Name: "P", Value: "s3cret"}}},
		}},
	}
	before := string(record(info))
	text := string(record(shown(info)))
	for _, hidden := range []string{"s3cret", "czNjcmV0"} {
		if strings.Contains(text, hidden) {
			t.Errorf("%s is shown in %s", hidden, text)
		}
	}
	for _, kept := range []string{`"/s"`, `"a=b"`, `"name":"i"`, `"value":"true"`, `"value":"P"`} {
		if !strings.Contains(text, kept) {
			t.Errorf("%s is not shown in %s", kept, text)
		}
	}
	if string(record(info)) != before {
		t.Error("the task itself was changed")
	}
}
