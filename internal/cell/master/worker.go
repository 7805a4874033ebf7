package master

import (
	"net/http"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

// workerState is what the master thinks of a worker.
type workerState int

const (
	recovering   workerState = iota // known from the file, not heard of since the start
	connected                       // its stream is open
	disconnected                    // its stream ended; not for long enough to be unreachable
	unreachable                     // silent for too long; it may come back
)

const (
	maxUnreachable    = 1000
	forgetUnreachable = 14 * 24 * time.Hour
)

// worker is a machine that runs tasks.
type worker struct {
	id       string
	info     mesos.AgentInfo
	address  string // host:port of its own API
	runtimes []string

	state   workerState
	session string
	out     *outbox
	heard   time.Time
	pinged  time.Time
	lostAt  time.Time // when it became unreachable

	registered, reregistered time.Time

	total, used mesos.Resources // allocated to nobody
	spare       mesos.Resources // what is neither used nor offered
	counted     bool            // spare is right
	offered     map[string]*offer
	tasks       map[taskKey]*task
}

func newWorker(id string) *worker {
	return &worker{id: id, offered: map[string]*offer{}, tasks: map[taskKey]*task{}}
}

func (c *core) recoverWorker(id string, s savedWorker) *worker {
	w := newWorker(id)
	w.info.Hostname = s.Hostname
	if s.Unreachable != nil {
		w.state, w.lostAt = unreachable, *s.Unreachable
	}
	return w
}

// free is what may be offered.
func (w *worker) free() mesos.Resources {
	if !w.counted {
		w.spare = w.total.Subtract(w.used)
		for _, o := range w.offered {
			w.spare = w.spare.Subtract(o.use)
		}
		w.counted = true
	}
	return w.spare
}

// reopen is for every change of what is free on a worker.
func (c *core) reopen(w *worker) {
	w.counted = false
	if w.state == connected {
		c.open[w.id] = w
	}
}

func (c *core) openAll() {
	for id, w := range c.workers {
		if w.state == connected {
			c.open[id] = w
		}
	}
}

// register opens a worker's stream. From here on the tasks that the worker names
// are those it has.
func (c *core) register(reg *workerapi.Register, address string) (*outbox, *worker, error) {
	c.counts.add("messages_register_slave")
	if len(c.workers) >= maxWorkers && (reg.Info.ID == nil || c.workers[reg.Info.ID.Value] == nil) {
		return nil, nil, refuse(http.StatusServiceUnavailable, "There are %d workers already", maxWorkers)
	}
	w := c.addWorker(reg)
	before := w.state
	if w.out != nil {
		c.order(w, workerapi.Order{Type: workerapi.OrderFenced})
	}
	c.closeStream(w)
	w.address, w.runtimes, w.session, w.out, w.state = address, reg.Runtimes, reg.Session, newOutbox(), connected
	w.heard, w.pinged, w.lostAt = c.now, c.now, time.Time{}
	c.setInfo(w, reg.Info)
	if was, ok := c.saved.Workers[w.id]; !ok || was.Unreachable != nil || was.Hostname != w.info.Hostname {
		c.saved.Workers[w.id] = savedWorker{Hostname: w.info.Hostname}
		c.save()
	}
	out := w.out
	c.order(w, workerapi.Order{Type: workerapi.OrderRegistered, Registered: &workerapi.Registered{
		AgentID: mesos.ID{Value: w.id}, PingSeconds: c.cfg.Ping.Seconds(),
	}})
	c.takeTasks(w, reg.Tasks, before == unreachable)
	c.reopen(w)
	c.changed()
	c.log.Info("a worker registered", "worker", w.id, "host", w.info.Hostname, "tasks", len(reg.Tasks))
	return out, w, nil
}

// addWorker finds the worker that registers. One that brings an id the master does
// not know keeps it: the master may have lost its file.
func (c *core) addWorker(reg *workerapi.Register) *worker {
	id := ""
	if reg.Info.ID != nil {
		id = reg.Info.ID.Value
	}
	if w := c.workers[id]; w != nil {
		w.reregistered = c.now
		if w.registered.IsZero() {
			w.registered = c.now
		}
		return w
	}
	for id == "" || c.workers[id] != nil {
		id = number(c.saved.ID+"-S", c.saved.NextWorker, 1)
		c.saved.NextWorker++
	}
	w := newWorker(id)
	w.registered, w.reregistered = c.now, c.now
	c.workers[id] = w
	return w
}

// setInfo takes a worker's description. What is offered of it is rescinded, for it
// may be there no more.
func (c *core) setInfo(w *worker, info mesos.AgentInfo) {
	c.rescindAll(w)
	info.ID = &mesos.ID{Value: w.id}
	w.info = info
	w.total = mesos.Resources(info.Resources).Allocate("").Normal()
	c.reopen(w)
	c.changed()
}

// takeTasks makes the tasks of a registration those of the worker.
func (c *core) takeTasks(w *worker, tasks []workerapi.Task, wasUnreachable bool) {
	before := w.tasks
	w.tasks, w.used = make(map[taskKey]*task, len(tasks)), nil
	gone := map[string]bool{}
	for i := range tasks {
		r := &tasks[i]
		key := taskKey{r.FrameworkID.Value, r.Info.TaskID.Value}
		t := before[key]
		delete(before, key)
		if f := c.knownFramework(key.framework); f != nil {
			c.takeTask(w, f, t, r, wasUnreachable)
			continue
		}
		c.takeOrphan(w, t, r)
		if !gone[key.framework] {
			gone[key.framework] = true
			c.order(w, workerapi.Order{Type: workerapi.OrderShutdown, Shutdown: &workerapi.Shutdown{FrameworkID: r.FrameworkID}})
		}
	}
	for _, t := range before {
		c.missing(w, t)
	}
}

// take puts a task under its worker and counts what it uses.
func (w *worker) take(t *task) {
	w.tasks[t.key()] = t
	if t.released = t.status.State.Terminal(); !t.released {
		w.used = w.used.Add(t.use)
	}
}

func (c *core) takeTask(w *worker, f *framework, t *task, r *workerapi.Task, wasUnreachable bool) {
	if t == nil {
		t = newTask(f.id, w.id, r.Info)
	}
	if other := f.tasks[r.Info.TaskID.Value]; other != nil && other != t {
		c.finish(other) // its worker came back under another id
	}
	// Whatever the worker says of itself: acknowledgements are to come back here.
	status := r.Status
	status.AgentID = &mesos.ID{Value: w.id}
	t.worker = w.id
	t.set(status)
	t.pending = nil
	w.take(t)
	if !t.lost {
		f.tasks[r.Info.TaskID.Value] = t
	}
	if t.released && len(r.Pending) == 0 {
		c.finish(t)
		return
	}
	if len(r.Pending) > 0 {
		pending := r.Pending[0]
		pending.AgentID = status.AgentID
		t.pending = &pending
		c.send(f, mesos.Event{Type: mesos.EventUpdate, Update: &mesos.Update{Status: pending}})
	} else if wasUnreachable && !t.lost {
		back := status
		back.UUID, back.Reason, back.Message = nil, mesos.ReasonSlaveReregistered, "Unreachable agent reregistered"
		c.tell(f, back)
	}
	if t.lost && t.kill == nil {
		// Its framework has put another in its place.
		t.kill = f.killOrder(r.Info.TaskID, nil)
	}
	if t.kill != nil && !t.released {
		c.order(w, workerapi.Order{Type: workerapi.OrderKill, Kill: t.kill})
	}
}

// takeOrphan is a task whose framework was removed: it is to end, and nobody else
// will acknowledge what it says.
func (c *core) takeOrphan(w *worker, t *task, r *workerapi.Task) {
	if t == nil {
		t = newTask(r.FrameworkID.Value, w.id, r.Info)
		t.set(r.Status)
	}
	if r.Status.State.Terminal() {
		t.released = true
	} else {
		w.tasks[t.key()] = t
		t.released = false
		w.used = w.used.Add(t.use)
	}
	for _, s := range r.Pending {
		c.order(w, workerapi.Order{Type: workerapi.OrderAcknowledge, Acknowledge: &workerapi.Acknowledge{
			FrameworkID: r.FrameworkID, TaskID: r.Info.TaskID, UUID: s.UUID,
		}})
	}
}

// missing is a task that its worker came back without.
func (c *core) missing(w *worker, t *task) {
	ended := t.status.State.Terminal() && t.status.State != mesos.TaskUnreachable
	t.released = true // what is used was counted again
	f := c.frameworks[t.framework]
	if f == nil || ended || t.lost {
		c.finish(t)
		return
	}
	s := mesos.TaskStatus{
		TaskID: t.info.TaskID, AgentID: &mesos.ID{Value: w.id}, State: f.lostAs(mesos.TaskGone),
		Reason: mesos.ReasonReconciliation, Message: "The worker came back without the task",
	}
	if t.status.State == mesos.TaskStaging {
		s.State, s.Message = f.lostAs(mesos.TaskDropped), "The worker came back without the task: its launch was lost"
	}
	t.set(s)
	c.tell(f, s)
	c.finish(t)
}

// closeStream ends a worker's stream and takes back what was offered of it.
func (c *core) closeStream(w *worker) {
	if w.out != nil {
		c.touch(w.out)
		w.out.last = true
		w.out = nil
	}
	c.rescindAll(w)
}

// loseStream is a stream that has ended. The worker is expected back.
func (c *core) loseStream(w *worker) {
	c.closeStream(w)
	if w.state == connected {
		w.state = disconnected
		c.log.Info("a worker disconnected", "worker", w.id, "host", w.info.Hostname)
	}
	delete(c.open, w.id)
	c.changed()
}

// unreachable gives up waiting for a worker, though not for ever.
func (c *core) unreachable(w *worker) {
	c.log.Warn("a worker is unreachable", "worker", w.id, "host", w.info.Hostname, "tasks", len(w.tasks))
	c.loseStream(w)
	w.state, w.lostAt = unreachable, c.now
	at := c.now
	c.saved.Workers[w.id] = savedWorker{Hostname: w.info.Hostname, Unreachable: &at}
	c.save()
	for _, t := range w.tasks {
		f := c.frameworks[t.framework]
		if f == nil || t.lost || t.status.State.Terminal() {
			continue
		}
		s := mesos.TaskStatus{
			TaskID: t.info.TaskID, AgentID: &mesos.ID{Value: w.id}, State: f.lostAs(mesos.TaskUnreachable),
			Reason: mesos.ReasonSlaveRemoved, Message: "Agent " + w.info.Hostname + " is unreachable: health check timed out",
			UnreachableTime: &mesos.TimeInfo{Nanoseconds: c.now.UnixNano()},
		}
		t.pending = nil
		t.set(s)
		c.tell(f, s)
		if t.lost = s.State == mesos.TaskLost; t.lost {
			f.complete(t)
		}
	}
	for _, f := range sortedBy(c.frameworks) {
		c.send(f, mesos.Event{Type: mesos.EventFailure, Failure: &mesos.Failure{AgentID: &mesos.ID{Value: w.id}}})
	}
}

// forgetWorkers drops those that have been unreachable for very long, and the
// longest gone ones of very many.
func (c *core) forgetWorkers() {
	n := 0
	var oldest *worker
	for _, w := range c.workers {
		if w.state != unreachable {
			continue
		}
		if n++; oldest == nil || w.lostAt.Before(oldest.lostAt) {
			oldest = w
		}
	}
	if oldest == nil || n <= maxUnreachable && c.now.Sub(oldest.lostAt) < forgetUnreachable {
		return
	}
	for _, t := range oldest.tasks {
		c.finish(t)
	}
	delete(c.workers, oldest.id)
	delete(c.saved.Workers, oldest.id)
	c.save()
}
