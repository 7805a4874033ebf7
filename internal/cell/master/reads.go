package master

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"howdah.dev/howdah/internal/cell/mesos"
)

const (
	defaultTasks = 100 // of /tasks without a limit
)

// reads are the GET paths, each with what it shows.
func (m *Master) reads() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"/state":         m.cached("state", m.stateView),
		"/state-summary": m.cached("summary", m.summaryView),
		"/slaves": m.cached("slaves", func(s *snapshot) any {
			return object{"slaves": workerObjects(s.workers), "recovered_slaves": workerObjects(s.recovered)}
		}),
		"/frameworks": m.cached("frameworks", func(s *snapshot) any {
			return object{
				"frameworks": frameworkObjects(s.frameworks), "completed_frameworks": frameworkObjects(s.removed),
				"unregistered_frameworks": []string{},
			}
		}),
		"/roles":            m.cached("roles", rolesView),
		"/tasks":            m.read(m.tasks),
		"/version":          m.constant(m.version()),
		"/flags":            m.constant(object{"flags": m.flags()}),
		"/metrics/snapshot": m.read(m.metrics),
	}
}

func (m *Master) constant(v any) http.HandlerFunc {
	return m.read(func(*http.Request) ([]byte, error) { return json.Marshal(v) })
}

// tasks lists tasks, newest first unless asked otherwise.
func (m *Master) tasks(r *http.Request) ([]byte, error) {
	q := r.URL.Query()
	limit, err := count(q, "limit", defaultTasks)
	if err != nil {
		return nil, err
	}
	offset, err := count(q, "offset", 0)
	if err != nil {
		return nil, err
	}
	s, err := m.look(r.Context())
	if err != nil {
		return nil, err
	}
	var all []taskView
	for _, f := range slices.Concat(s.frameworks, s.removed) {
		if id := q.Get("framework_id"); id == "" || id == f.id {
			all = append(append(all, f.tasks...), f.completed...)
		}
	}
	if id := q.Get("task_id"); id != "" {
		all = slices.DeleteFunc(all, func(t taskView) bool { return t.TaskID.Value != id })
	}
	slices.SortStableFunc(all, func(a, b taskView) int {
		if a.first() < b.first() {
			return -1
		}
		return btoi(a.first() > b.first())
	})
	if q.Get("order") != "asc" {
		slices.Reverse(all)
	}
	all = all[min(offset, len(all)):]
	all = all[:min(limit, len(all))]
	out := make([]taskObject, len(all))
	for i, t := range all {
		out[i] = t.object()
	}
	return json.Marshal(object{"tasks": out})
}

// first is when the oldest known status was made.
func (t taskView) first() float64 {
	if len(t.statuses) == 0 {
		return 0
	}
	return t.statuses[0].Timestamp
}

func count(q url.Values, name string, otherwise int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, refuse(http.StatusBadRequest, "'%s' must be a whole number, 0 or more", name)
	}
	return n, nil
}

// summaryView is /state without tasks, but with their numbers.
func (m *Master) summaryView(s *snapshot) any {
	states := []mesos.TaskState{
		mesos.TaskStaging, mesos.TaskStarting, mesos.TaskRunning, mesos.TaskKilling, mesos.TaskFinished, mesos.TaskKilled,
		mesos.TaskFailed, mesos.TaskLost, mesos.TaskError, mesos.TaskUnreachable, mesos.TaskDropped, mesos.TaskGone,
	}
	perWorker, hosts := map[string]map[mesos.TaskState]int{}, map[string]map[string]bool{}
	frameworks := make([]object, len(s.frameworks))
	for i, f := range s.frameworks {
		perFramework, workers := map[mesos.TaskState]int{}, map[string]bool{}
		for _, t := range slices.Concat(f.tasks, f.completed) {
			perFramework[t.state]++
			workers[t.worker] = true
			if perWorker[t.worker] == nil {
				perWorker[t.worker], hosts[t.worker] = map[mesos.TaskState]int{}, map[string]bool{}
			}
			perWorker[t.worker][t.state]++
			hosts[t.worker][f.id] = true
		}
		frameworks[i] = f.object()
		frameworks[i]["slave_ids"] = keys(workers)
		for _, state := range states {
			frameworks[i][string(state)] = perFramework[state]
		}
	}
	workers := workerObjects(s.workers)
	for i, w := range s.workers {
		workers[i]["framework_ids"] = keys(hosts[w.id])
		for _, state := range states {
			workers[i][string(state)] = perWorker[w.id][state]
		}
	}
	return object{"hostname": m.cfg.Hostname, "cluster": m.cfg.Cluster, "slaves": workers, "frameworks": frameworks}
}

func keys(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// rolesView lists the roles of frameworks and of reservations.
func rolesView(s *snapshot) any {
	frameworks, names := map[string][]string{}, map[string]bool{mesos.DefaultRole: true}
	allocated, offered := map[string][]mesos.Resources{}, map[string][]mesos.Resources{}
	for _, f := range s.frameworks {
		for _, role := range f.roles {
			names[role] = true
			frameworks[role] = append(frameworks[role], f.id)
		}
		for _, t := range f.tasks {
			allocated[t.role] = append(allocated[t.role], t.use)
		}
		if len(f.roles) == 1 {
			offered[f.roles[0]] = append(offered[f.roles[0]], f.offered)
		}
	}
	for _, w := range s.workers {
		for _, r := range w.reserved {
			names[r.ReservedFor()] = true
		}
	}
	out := []object{}
	for _, role := range keys(names) {
		ids := frameworks[role]
		if ids == nil {
			ids = []string{}
		}
		held, open := mesos.Sum(allocated[role]...), mesos.Sum(offered[role]...)
		out = append(out, object{
			"name": role, "weight": 1.0, "frameworks": ids, "resources": amounts(mesos.Sum(held, open)),
			"allocated": amounts(held), "offered": amounts(open),
		})
	}
	return object{"roles": out}
}
