package master

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

// snapshot is what reads show. It shares with the core only what is never changed
// in place, so that encoding it does not hold up the engine.
type snapshot struct {
	id                  string
	started             time.Time
	frameworks, removed []frameworkView
	workers, recovered  []workerView
	unreachable         int
	inactive            int
}

type frameworkView struct {
	id                                     string
	info                                   mesos.FrameworkInfo
	roles                                  []string
	connected, recovered                   bool
	registered, reregistered, unregistered time.Time
	offered                                mesos.Resources
	tasks, completed                       []taskView
	offers                                 []string
}

type workerView struct {
	id                             string
	info                           mesos.AgentInfo
	address                        string
	active                         bool
	registered, reregistered       time.Time
	total, used, offered, reserved mesos.Resources
}

type taskView struct {
	*mesos.TaskInfo
	framework, worker, role string
	user                    string
	use                     mesos.Resources
	state                   mesos.TaskState
	statuses                []mesos.TaskStatus
	released                bool
}

// used is what the framework's tasks use together.
func (f frameworkView) used() mesos.Resources {
	var all []mesos.Resources
	for _, t := range f.tasks {
		if !t.released {
			all = append(all, t.use)
		}
	}
	return mesos.Sum(all...)
}

// view is the core as reads show it.
func (c *core) view() *snapshot {
	s := &snapshot{id: c.saved.ID, started: c.started}
	for _, f := range sortedBy(c.frameworks) {
		s.frameworks = append(s.frameworks, f.view())
	}
	for _, f := range c.removed {
		s.removed = append(s.removed, f.view())
	}
	for _, w := range sortedBy(c.workers) {
		switch w.state {
		case unreachable:
			s.unreachable++
		case recovering:
			s.recovered = append(s.recovered, w.view())
		case disconnected:
			s.inactive++
			s.workers = append(s.workers, w.view())
		default:
			s.workers = append(s.workers, w.view())
		}
	}
	return s
}

func (f *framework) view() frameworkView {
	v := frameworkView{
		id: f.id, info: f.info, roles: f.roles, connected: f.out != nil, recovered: f.out == nil && f.unregistered.IsZero(),
		registered: f.registered, reregistered: f.reregistered, unregistered: f.unregistered,
		tasks: make([]taskView, 0, len(f.tasks)), completed: make([]taskView, 0, len(f.completed)),
	}
	for _, t := range sortedBy(f.tasks) {
		v.tasks = append(v.tasks, t.view(f.info.User))
	}
	for _, t := range f.completed {
		v.completed = append(v.completed, t.view(f.info.User))
	}
	var offered []mesos.Resources
	for _, o := range sortedBy(f.offers) {
		v.offers = append(v.offers, o.id)
		offered = append(offered, o.use)
	}
	v.offered = mesos.Sum(offered...)
	return v
}

func (w *worker) view() workerView {
	v := workerView{
		id: w.id, info: w.info, address: w.address, active: w.state == connected,
		registered: w.registered, reregistered: w.reregistered, total: w.total, used: w.used,
	}
	v.reserved = w.total.Where(func(r mesos.Resource) bool { return r.ReservedFor() != mesos.DefaultRole })
	for _, o := range w.offered {
		v.offered = v.offered.Add(o.use)
	}
	return v
}

func (t *task) view(user string) taskView {
	if t.user != "" {
		user = t.user
	}
	return taskView{
		user:     user,
		TaskInfo: &t.info, framework: t.framework, worker: t.worker, role: t.role, use: t.use,
		state: t.status.State, statuses: t.statuses, released: t.released,
	}
}

// views keeps what reads answered until something changes.
type views struct {
	mu      sync.Mutex // held while an answer is made: many who ask at once wait for one
	version uint64
	current *snapshot
	bodies  map[string][]byte
}

// snapshot returns the newest, made only if something changed.
func (m *Master) snapshot(ctx context.Context) (*snapshot, error) {
	type answer struct {
		version uint64
		fresh   *snapshot
	}
	made := make(chan answer, 1)
	have, known := m.views.version, m.views.current != nil
	if err := m.do(ctx, func(c *core) {
		a := answer{version: c.version}
		if !known || c.version != have {
			a.fresh = c.view()
		}
		made <- a
	}); err != nil {
		return nil, err
	}
	if a := <-made; a.fresh != nil {
		m.views.version, m.views.current, m.views.bodies = a.version, a.fresh, map[string][]byte{}
	}
	return m.views.current, nil
}

// cached is a read that shows the same until something changes.
func (m *Master) cached(name string, build func(*snapshot) any) http.HandlerFunc {
	return m.read(func(r *http.Request) ([]byte, error) {
		m.views.mu.Lock()
		defer m.views.mu.Unlock()
		s, err := m.snapshot(r.Context())
		if err != nil {
			return nil, err
		}
		if body := m.views.bodies[name]; body != nil {
			return body, nil
		}
		body, err := json.Marshal(build(s))
		m.views.bodies[name] = body
		return body, err
	})
}

// look is the newest snapshot, for what is not worth keeping.
func (m *Master) look(ctx context.Context) (*snapshot, error) {
	m.views.mu.Lock()
	defer m.views.mu.Unlock()
	return m.snapshot(ctx)
}

// read is a GET of JSON.
func (m *Master) read(make func(*http.Request) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "Expecting one of { 'GET' }, but received '"+r.Method+"'", http.StatusMethodNotAllowed)
			return
		}
		body, err := make(r)
		if err != nil {
			fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}
}
