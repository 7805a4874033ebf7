package worker

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

// Figures are what a task used.
type Figures struct {
	CPU       time.Duration // of processors
	Throttled time.Duration // held back by a limit
	Memory    int64         // bytes now; 0 once it has ended
	MaxMemory int64         // bytes at most
	OOMKilled bool
	Disk      int64 // bytes of the sandbox, once it has ended
}

// figures reads them: of one that runs from its group, else as it ended.
func (t *task) figures() Figures {
	t.mu.Lock()
	rec, run := t.rec, t.run
	t.mu.Unlock()
	if run != nil {
		s := run.Stats()
		return Figures{CPU: s.CPU, Throttled: s.Throttled, Memory: s.Memory, MaxMemory: s.MaxMemory, OOMKilled: s.OOMKills > 0}
	}
	f := Figures{Disk: rec.Size}
	if e := rec.Exit; e != nil {
		f.CPU, f.Throttled, f.MaxMemory, f.OOMKilled = e.CPU, e.Throttled, e.MaxMemory, e.OOMKilled
	}
	return f
}

// statistics are figures as Mesos names them.
type statistics struct {
	CPUsLimit     float64 `json:"cpus_limit"`
	CPUTime       float64 `json:"cpus_user_time_secs"` // both kinds of time: groups tell the sum
	ThrottledTime float64 `json:"cpus_throttled_time_secs"`
	MemLimit      int64   `json:"mem_limit_bytes"`
	MemRSS        int64   `json:"mem_rss_bytes"`
	MemMax        int64   `json:"mem_max_bytes"`
	OOMKilled     bool    `json:"oom_killed"`
	DiskUsed      int64   `json:"disk_used_bytes,omitempty"`
	Timestamp     float64 `json:"timestamp"`
}

func (t *task) statistics() statistics {
	f := t.figures()
	return statistics{
		CPUsLimit: amount(&t.info, "cpus"), CPUTime: f.CPU.Seconds(), ThrottledTime: f.Throttled.Seconds(),
		MemLimit: int64(memoryMB(&t.info) * (1 << 20)), MemRSS: f.Memory, MemMax: f.MaxMemory, OOMKilled: f.OOMKilled,
		DiskUsed: f.Disk, Timestamp: float64(time.Now().UnixMilli()) / 1e3,
	}
}

// executor is a task in the shape of Mesos's agent, where each has an executor of its
// own.
type executor struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Source     string     `json:"source"`
	Container  string     `json:"container"`
	Directory  string     `json:"directory"`
	Runtime    string     `json:"runtime,omitempty"`
	State      string     `json:"state"`
	Message    string     `json:"message,omitempty"`
	Statistics statistics `json:"statistics"`
	Resources  string     `json:"resources"`
}

type framework struct {
	ID        string     `json:"id"`
	Executors []executor `json:"executors"`
	Completed []executor `json:"completed_executors"`
}

func (t *task) executor() (executor, bool) {
	rec, _ := t.snapshot()
	return executor{
		ID: rec.Info.TaskID.Value, Name: rec.Info.Name, Source: rec.Info.TaskID.Value, Container: rec.ContainerID,
		Directory: t.directory(), Runtime: rec.Runtime, State: string(rec.Status.State), Message: rec.Status.Message,
		Statistics: t.statistics(), Resources: mesos.Resources(rec.Info.Resources).String(),
	}, rec.Phase == phaseEnded
}

func (w *Worker) serveState(rw http.ResponseWriter, _ *http.Request) {
	byID := map[string]*framework{}
	var frameworks []*framework
	for _, t := range w.sorted() {
		f := byID[t.key().framework]
		if f == nil {
			f = &framework{ID: t.key().framework, Executors: []executor{}, Completed: []executor{}}
			byID[f.ID] = f
			frameworks = append(frameworks, f)
		}
		if e, ended := t.executor(); ended {
			f.Completed = append(f.Completed, e)
		} else {
			f.Executors = append(f.Executors, e)
		}
	}
	w.mu.Lock()
	info := w.info
	w.mu.Unlock()
	id := ""
	if info.ID != nil {
		id = info.ID.Value
	}
	attributes := map[string]string{}
	for _, a := range info.Attributes {
		_, attributes[a.Name], _ = strings.Cut(a.String(), ":")
	}
	writeJSON(rw, map[string]any{
		"id": id, "hostname": info.Hostname, "start_time": float64(w.started.UnixMilli()) / 1e3,
		"resources": mesos.Resources(info.Resources).String(), "attributes": attributes,
		"runtimes": w.Runtimes(), "weaker": append([]string{}, w.weaker...), "frameworks": append([]*framework{}, frameworks...),
	})
}

func (w *Worker) serveStatistics(rw http.ResponseWriter, _ *http.Request) {
	type entry struct {
		ExecutorID  string     `json:"executor_id"`
		FrameworkID string     `json:"framework_id"`
		Source      string     `json:"source"`
		Statistics  statistics `json:"statistics"`
	}
	list := []entry{}
	for _, t := range w.sorted() {
		if t.alive() {
			id := t.info.TaskID.Value
			list = append(list, entry{id, t.key().framework, id, t.statistics()})
		}
	}
	writeJSON(rw, list)
}

// sorted are all tasks, the oldest first.
func (w *Worker) sorted() []*task {
	list := w.all()
	slices.SortFunc(list, func(a, b *task) int { return a.created.Compare(b.created) })
	return list
}
