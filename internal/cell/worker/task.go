package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"github.com/google/uuid"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/worker/container"
)

// Phases of a task on its worker.
const (
	phaseLaunching = "launching" // being prepared; its shim may have been started
	phaseRunning   = "running"
	phaseEnded     = "ended"
)

// record is what is on disk of a task.
type record struct {
	FrameworkID mesos.ID           `json:"frameworkId"`
	Info        mesos.TaskInfo     `json:"info"`
	ContainerID string             `json:"containerId"`
	Phase       string             `json:"phase"`
	Runtime     string             `json:"runtime,omitempty"`
	Attempt     int                `json:"attempt,omitempty"` // counts starts that a crash cut short
	Status      mesos.TaskStatus   `json:"status"`
	Pending     []mesos.TaskStatus `json:"pending,omitempty"`
	Kill        *killing           `json:"kill,omitempty"`
	Exit        *shim.Exit         `json:"exit,omitempty"`
	Created     time.Time          `json:"created"`
	Ended       time.Time          `json:"ended,omitzero"`
	Size        int64              `json:"size,omitempty"` // of the sandbox, bytes, once ended
}

// killing says that a task was told to end, and why when it was not ordered.
type killing struct {
	Grace   time.Duration `json:"grace"`
	Reason  string        `json:"reason,omitempty"` // empty: ordered
	Message string        `json:"message,omitempty"`
	// Announce says that whoever ordered it wants to hear of it (TASK_KILLING).
	Announce bool `json:"announce,omitempty"`
}

const recordFile = "record.json"

// task is one task of the worker. Its record is written before anybody hears of a
// change.
type task struct {
	w         *Worker
	log       *slog.Logger
	id        string // of the container
	framework mesos.ID
	info      mesos.TaskInfo
	created   time.Time

	mu      sync.Mutex
	rec     record
	runtime container.Runtime
	run     container.Running // nil unless it runs
	stop    context.CancelCauseFunc
	healthy *bool
	check   *mesos.CheckStatus
	news    chan struct{} // closed when the record changes
	gone    bool          // forgotten: it has no record any more
}

// errKilled ends the preparation of a task.
var errKilled = errors.New("the task was killed while it was prepared")

func (w *Worker) newTask(framework mesos.ID, info mesos.TaskInfo) *task {
	return w.taskOf(record{FrameworkID: framework, Info: info, ContainerID: uuid.NewString(), Phase: phaseLaunching, Created: time.Now()})
}

func (w *Worker) taskOf(rec record) *task {
	return &task{
		w: w, log: w.log.With("task", rec.Info.TaskID.Value), news: make(chan struct{}), rec: rec,
		id: rec.ContainerID, framework: rec.FrameworkID, info: rec.Info, created: rec.Created,
	}
}

// loadTask reads a task's directory; nil when it holds none: it was only being made.
func (w *Worker) loadTask(name string) (*task, error) {
	dir := filepath.Join(w.tasksDir(), name)
	text, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, os.RemoveAll(dir)
	}
	if err != nil {
		return nil, err
	}
	var rec record
	if err := json.Unmarshal(text, &rec); err != nil {
		return nil, err
	}
	if rec.ContainerID != name {
		return nil, fmt.Errorf("its record is of %s", rec.ContainerID)
	}
	t := w.taskOf(rec)
	for _, r := range w.cfg.Runtimes { // also one that cannot start tasks now
		if r.Name() == rec.Runtime {
			t.runtime = r
		}
	}
	if rec.Phase == phaseEnded {
		t.clean()
	}
	return t, nil
}

func (t *task) key() taskKey    { return taskKey{t.framework.Value, t.info.TaskID.Value} }
func (t *task) dir() string     { return filepath.Join(t.w.tasksDir(), t.id) }
func (t *task) sandbox() string { return filepath.Join(t.w.sandboxesDir(), t.id) }

// runDir is another for each attempt: a shim of an earlier one that is only just
// starting finds no folder.
func (t *task) runDir() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return filepath.Join(t.dir(), "run"+strconv.Itoa(t.rec.Attempt))
}

// change changes the record, on disk first. It tells those who wait.
func (t *task) change(f func(r *record)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changeLocked(f)
}

// changeLocked is change for those that hold the lock.
func (t *task) changeLocked(f func(r *record)) error {
	if t.gone {
		return nil
	}
	next := t.rec
	next.Pending = append([]mesos.TaskStatus(nil), t.rec.Pending...)
	f(&next)
	text, err := json.Marshal(next)
	if err == nil {
		err = os.MkdirAll(t.dir(), 0o711)
	}
	if err == nil {
		err = renameio.WriteFile(filepath.Join(t.dir(), recordFile), text, 0o600)
	}
	t.rec = next // also when it was not written: what is done, is done
	if t.w.wrote != nil {
		t.w.wrote(next)
	}
	close(t.news)
	t.news = make(chan struct{})
	if err != nil {
		t.log.Error("cannot write the task's record", "error", err)
		return fmt.Errorf("cannot write the task's record: %w", err)
	}
	return nil
}

// status is a new state of a task, as its parts.
type status struct {
	state   mesos.TaskState
	reason  string
	message string
	source  string
	set     func(r *record) // what else changes at the same moment
}

const maxPending = 64

// report changes the state of the task. After a terminal state there is no other.
func (t *task) report(s status) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rec.Status.State.Terminal() {
		return nil
	}
	id := uuid.New()
	ts := mesos.TaskStatus{
		TaskID: t.info.TaskID, State: s.state, Reason: s.reason, Message: s.message, Source: s.source,
		AgentID: &t.info.AgentID, Timestamp: float64(time.Now().UnixMicro()) / 1e6, UUID: id[:],
		Healthy: t.healthy, CheckStatus: t.check, ContainerStatus: t.containerStatus(),
	}
	if ts.Source == "" {
		ts.Source = mesos.SourceExecutor
	}
	t.log.Info("task", "state", string(s.state), "message", s.message)
	return t.changeLocked(func(r *record) {
		r.Status = ts
		if s.set != nil {
			s.set(r)
		}
		// The first may be under way. Of others only the newest of a state counts, so
		// that a master which is away for long costs nothing.
		if n := len(r.Pending); n > 1 && r.Pending[n-1].State == s.state || n >= maxPending {
			r.Pending = r.Pending[:n-1]
		}
		r.Pending = append(r.Pending, ts)
	})
}

func (t *task) containerStatus() *mesos.ContainerStatus {
	c := &mesos.ContainerStatus{
		ContainerID:  &mesos.ID{Value: t.id},
		NetworkInfos: []mesos.NetworkInfo{{IPAddresses: []mesos.IPAddress{{Protocol: "IPv4", IPAddress: t.w.cfg.IP}}}},
	}
	if t.run != nil {
		if started, ok := t.run.Started(); ok {
			c.ExecutorPID = started.PID
		}
	}
	return c
}

// kill tells the task to end. It may be told again; an order does not take the place
// of another reason.
func (t *task) kill(k killing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rec.Phase == phaseEnded {
		return
	}
	if t.rec.Kill == nil {
		_ = t.changeLocked(func(r *record) { r.Kill = &k })
	}
	if t.stop != nil {
		t.stop(errKilled)
	}
	if t.run != nil {
		if err := t.run.Kill(k.Grace); err != nil {
			t.log.Error("cannot kill the task", "error", err)
		}
	}
}

// snapshot returns the task for the master; false when there is nothing to tell.
func (t *task) snapshot() (rec record, tell bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rec, t.rec.Phase != phaseEnded || len(t.rec.Pending) > 0
}
