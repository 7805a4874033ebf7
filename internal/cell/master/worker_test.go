package master

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/google/uuid"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

// agent speaks a worker's side of the protocol. It runs nothing: a task runs as
// soon as it is launched and ends as soon as it is killed.
type agent struct {
	e      *env
	info   mesos.AgentInfo
	cancel context.CancelFunc

	mu      sync.Mutex
	session string
	tasks   map[string]*workerapi.Task
	orders  []string
	dead    bool   // hears nothing
	why     string // what it says of statuses
	slow    bool   // does not end tasks when it is told to shut down
}

func (e *env) worker(host, resources string) *agent {
	e.t.Helper()
	total, err := mesos.ParseResources(resources)
	if err != nil {
		e.t.Fatal(err)
	}
	return e.workerWith(mesos.AgentInfo{Hostname: host, Port: 5051, Resources: total})
}

func (e *env) workerWith(info mesos.AgentInfo) *agent {
	e.t.Helper()
	a := &agent{e: e, info: info, tasks: map[string]*workerapi.Task{}}
	a.dial()
	return a
}

// dial registers, and obeys in the background until the stream ends.
func (a *agent) dial() {
	a.e.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a.mu.Lock()
	a.session, a.cancel = uuid.NewString(), cancel
	session := a.session
	reg := workerapi.Register{Info: a.info, Session: session, Runtimes: []string{"plain"}}
	for _, t := range a.tasks {
		reg.Tasks = append(reg.Tasks, *t)
	}
	a.mu.Unlock()
	resp, err := a.post(ctx, workerapi.PathSubscribe, reg) //nolint:bodyclose // the reading goroutine closes it
	if err != nil {
		a.e.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		a.e.t.Fatalf("register: %d %s", resp.StatusCode, text)
	}
	records := mesos.NewRecordReader(resp.Body, 1<<20)
	next := func() (order workerapi.Order, err error) {
		text, err := records.Next()
		if err == nil {
			err = json.Unmarshal(text, &order)
		}
		return order, err
	}
	first, err := next()
	if err != nil || first.Registered == nil {
		a.e.t.Fatalf("register: %v %v", first, err)
	}
	a.info.ID = &first.Registered.AgentID
	a.e.t.Cleanup(cancel)
	go func() {
		defer resp.Body.Close()
		for {
			order, err := next()
			if err != nil {
				return
			}
			a.obey(session, order)
		}
	}()
}

func (a *agent) hangUp() { a.cancel() }

func (a *agent) post(ctx context.Context, path string, v any) (*http.Response, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.e.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.SetBasicAuth("worker", "pw")
	r.Header.Set("Content-Type", "application/json")
	return (&http.Client{Transport: a.e.transport}).Do(r)
}

func (a *agent) say(session string, call workerapi.Call) int {
	call.AgentID, call.Session = *a.info.ID, session
	resp, err := a.post(context.Background(), workerapi.PathCall, call)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func (a *agent) obey(session string, order workerapi.Order) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dead {
		return
	}
	note := order.Type
	switch order.Type {
	case workerapi.OrderPing:
		a.say(session, workerapi.Call{Type: workerapi.CallPong})
		return
	case workerapi.OrderLaunch:
		id := order.Launch.Task.TaskID.Value
		note += " " + id
		a.tasks[id] = &workerapi.Task{FrameworkID: order.Launch.FrameworkID, Info: order.Launch.Task}
		a.report(session, id, mesos.TaskRunning)
	case workerapi.OrderKill:
		id := order.Kill.TaskID.Value
		if note += " " + id; order.Kill.Announce {
			note += " announced"
		}
		a.report(session, id, mesos.TaskKilled)
	case workerapi.OrderShutdown:
		for id, t := range a.tasks {
			if t.FrameworkID == order.Shutdown.FrameworkID && !a.slow {
				a.report(session, id, mesos.TaskKilled)
			}
		}
	case workerapi.OrderAcknowledge:
		id := order.Acknowledge.TaskID.Value
		note += " " + id
		t := a.tasks[id]
		if t == nil || len(t.Pending) == 0 || !bytes.Equal(t.Pending[0].UUID, order.Acknowledge.UUID) {
			break
		}
		if t.Pending = t.Pending[1:]; len(t.Pending) > 0 {
			a.repeat(session, id)
		} else if t.Status.State.Terminal() {
			delete(a.tasks, id)
		}
	}
	a.orders = append(a.orders, note)
}

// report is a new status of a task; a.mu is held.
func (a *agent) report(session, id string, state mesos.TaskState) {
	t := a.tasks[id]
	if t == nil || t.Status.State.Terminal() {
		return
	}
	unique := uuid.New()
	t.Status = mesos.TaskStatus{TaskID: t.Info.TaskID, State: state, Message: a.why, Source: mesos.SourceExecutor, AgentID: a.info.ID, UUID: unique[:]}
	if t.Pending = append(t.Pending, t.Status); len(t.Pending) == 1 || state.Terminal() {
		a.repeat(session, id)
	}
}

// repeat sends the oldest status that is not acknowledged.
func (a *agent) repeat(session, id string) int {
	t := a.tasks[id]
	return a.say(session, workerapi.Call{Type: workerapi.CallUpdate, Update: &workerapi.Update{
		FrameworkID: t.FrameworkID, Status: t.Pending[0], Latest: t.Status.State,
	}})
}

// end is a task that ends by itself.
func (a *agent) end(id string, state mesos.TaskState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report(a.session, id, state)
}

func (a *agent) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// has is how many tasks the worker has, or has not got rid of.
func (a *agent) has() (n int) {
	a.set(func() { n = len(a.tasks) })
	return n
}

func (a *agent) did() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprint(a.orders)
}

func wantState(t testing.TB, s mesos.TaskStatus, id string, state mesos.TaskState, reason, message string) {
	t.Helper()
	if s.TaskID.Value != id || s.State != state || s.Reason != reason || s.Message != message {
		t.Fatalf("got %s %s %s %q,\nwant %s %s %s %q", s.TaskID.Value, s.State, s.Reason, s.Message, id, state, reason, message)
	}
}
