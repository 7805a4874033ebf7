// Package simworker is workers of a cell that run nothing: they speak to a
// master as real ones do and let time pass where a task would start. Tests and
// benchmarks of schedulers use them by the hundred.
package simworker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

// maxOrder bounds one order.
const maxOrder = 16 << 20

// Config is what a worker is like.
type Config struct {
	Master     string // URL
	Authorize  func(*http.Request)
	Hostname   string
	Address    string // host:port of its own API, as offers have it; "": none
	Resources  mesos.Resources
	Attributes []mesos.Attribute
	Start      time.Duration // until a launched task runs
	// Outcome says what becomes of a task at its start; nil: it runs.
	Outcome func(mesos.TaskInfo) (mesos.TaskState, string)
	Client  *http.Client
}

// Worker is one simulated worker.
type Worker struct {
	cfg Config

	mu      sync.Mutex
	id      *mesos.ID
	session string
	tasks   map[string]*task
}

type task struct {
	framework mesos.ID
	info      mesos.TaskInfo
	state     mesos.TaskState
	pending   []mesos.TaskStatus
	timer     *time.Timer
}

// New returns a worker. Run connects it.
func New(cfg Config) *Worker {
	if cfg.Client == nil {
		cfg.Client = http.DefaultClient
	}
	if cfg.Authorize == nil {
		cfg.Authorize = func(*http.Request) {}
	}
	return &Worker{cfg: cfg, tasks: map[string]*task{}}
}

// Run stays connected until ctx ends.
func (w *Worker) Run(ctx context.Context) {
	for ctx.Err() == nil {
		_ = w.connect(ctx) // a master that is away is asked again
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tasks {
		t.timer.Stop()
	}
}

// Tasks returns the states of the worker's tasks by id.
func (w *Worker) Tasks() map[string]mesos.TaskState {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]mesos.TaskState{}
	for id, t := range w.tasks {
		out[id] = t.state
	}
	return out
}

// Finish has a task end.
func (w *Worker) Finish(ctx context.Context, id string, state mesos.TaskState, message string) {
	w.update(ctx, id, state, message, nil)
}

// Health has a task report its health.
func (w *Worker) Health(ctx context.Context, id string, healthy bool) {
	w.update(ctx, id, mesos.TaskRunning, "", &healthy)
}

func (w *Worker) connect(ctx context.Context) error {
	w.mu.Lock()
	w.session = uuid.NewString()
	reg := workerapi.Register{
		Info:    mesos.AgentInfo{ID: w.id, Hostname: w.cfg.Hostname, Resources: w.cfg.Resources, Attributes: w.cfg.Attributes},
		Session: w.session, Runtimes: []string{"plain"}, Address: w.cfg.Address,
	}
	for _, t := range w.tasks {
		status := mesos.TaskStatus{TaskID: t.info.TaskID, State: t.state, AgentID: w.id}
		reg.Tasks = append(reg.Tasks, workerapi.Task{FrameworkID: t.framework, Info: t.info, Status: status, Pending: t.pending})
	}
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := w.post(ctx, workerapi.PathSubscribe, reg)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("the master answers %s: %s", resp.Status, text)
	}
	records := mesos.NewRecordReader(resp.Body, maxOrder)
	for {
		record, err := records.Next()
		if err != nil {
			return err
		}
		var o workerapi.Order
		if err := json.Unmarshal(record, &o); err != nil {
			return err
		}
		w.obey(ctx, &o)
	}
}

func (w *Worker) post(ctx context.Context, path string, v any) (*http.Response, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.Master+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	w.cfg.Authorize(req)
	return w.cfg.Client.Do(req)
}

func (w *Worker) obey(ctx context.Context, o *workerapi.Order) {
	switch o.Type {
	case workerapi.OrderRegistered:
		w.mu.Lock()
		w.id = &o.Registered.AgentID
		w.mu.Unlock()
	case workerapi.OrderPing:
		w.call(ctx, workerapi.Call{Type: workerapi.CallPong})
	case workerapi.OrderLaunch:
		w.launch(ctx, o.Launch)
	case workerapi.OrderKill:
		go w.update(ctx, o.Kill.TaskID.Value, mesos.TaskKilled, "killed", nil)
	case workerapi.OrderShutdown:
		go w.shutdown(ctx, o.Shutdown.FrameworkID)
	case workerapi.OrderAcknowledge:
		w.acknowledged(ctx, o.Acknowledge)
	}
}

// shutdown ends all tasks of a framework.
func (w *Worker) shutdown(ctx context.Context, framework mesos.ID) {
	w.mu.Lock()
	var ids []string
	for id, t := range w.tasks {
		if t.framework == framework {
			ids = append(ids, id)
		}
	}
	w.mu.Unlock()
	for _, id := range ids {
		w.update(ctx, id, mesos.TaskKilled, "its framework was removed", nil)
	}
}

func (w *Worker) launch(ctx context.Context, l *workerapi.Launch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := l.Task.TaskID.Value
	if w.tasks[id] != nil {
		return
	}
	w.tasks[id] = &task{framework: l.FrameworkID, info: l.Task, state: mesos.TaskStaging, timer: time.AfterFunc(w.cfg.Start, func() {
		state, message := mesos.TaskRunning, ""
		if w.cfg.Outcome != nil {
			state, message = w.cfg.Outcome(l.Task)
		}
		w.update(ctx, id, state, message, nil)
	})}
}

// update changes a task's state; the master hears of it once what came before
// is acknowledged.
func (w *Worker) update(ctx context.Context, id string, state mesos.TaskState, message string, healthy *bool) {
	w.mu.Lock()
	t := w.tasks[id]
	if t == nil || t.state.Terminal() {
		w.mu.Unlock()
		return
	}
	key := uuid.New()
	t.state = state
	status := mesos.TaskStatus{
		TaskID: t.info.TaskID, State: state, Message: message, Source: mesos.SourceExecutor, AgentID: w.id, UUID: key[:],
		Timestamp: float64(time.Now().UnixMicro()) / 1e6, Healthy: healthy,
	}
	t.pending = append(t.pending, status)
	first := len(t.pending) == 1
	w.mu.Unlock()
	if first {
		w.report(ctx, t.framework, status)
	}
}

func (w *Worker) report(ctx context.Context, framework mesos.ID, s mesos.TaskStatus) {
	w.call(ctx, workerapi.Call{Type: workerapi.CallUpdate, Update: &workerapi.Update{FrameworkID: framework, Status: s}})
}

func (w *Worker) call(ctx context.Context, c workerapi.Call) {
	w.mu.Lock()
	if w.id != nil {
		c.AgentID = *w.id
	}
	c.Session = w.session
	w.mu.Unlock()
	resp, err := w.post(ctx, workerapi.PathCall, c)
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

func (w *Worker) acknowledged(ctx context.Context, a *workerapi.Acknowledge) {
	w.mu.Lock()
	t := w.tasks[a.TaskID.Value]
	if t == nil || len(t.pending) == 0 || !bytes.Equal(t.pending[0].UUID, a.UUID) {
		w.mu.Unlock()
		return
	}
	t.pending = t.pending[1:]
	var next *mesos.TaskStatus
	if len(t.pending) > 0 {
		next = &t.pending[0]
	} else if t.state.Terminal() {
		delete(w.tasks, a.TaskID.Value)
	}
	framework := t.framework
	w.mu.Unlock()
	if next != nil {
		go w.report(ctx, framework, *next)
	}
}

// Task returns what a task was launched with, nil for one that is not there.
func (w *Worker) Task(id string) *mesos.TaskInfo {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.tasks[id]; t != nil {
		return &t.info
	}
	return nil
}
