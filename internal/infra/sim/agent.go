package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
)

// agent is the agent of a machine. At rest it has no goroutine: what comes on
// its stream is handled by who reads the connection, and what is due later by a
// timer. Everything below end is guarded by the machine's lock.
type agent struct {
	cloud    *Cloud
	m        *machine
	instance string
	end      context.CancelFunc

	over        bool // it has ended
	fenced      bool
	pause       time.Duration // before it connects again
	conn        *conn
	incarnation int64
	sequence    int64
	generation  int64
	seen        bool // an assignment
	tasks       []agentapi.TaskStatus
	dirty       bool // something is to be reported
	working     bool
	timer       *time.Timer // nil until there was something to wait for
	beat        time.Time   // when the next heartbeat is due
}

// conn is one session with the server.
type conn struct {
	ctx     context.Context //nolint:containedctx // ends with the session
	broken  context.CancelFunc
	carrier carrier
}

// Pauses before an agent connects again.
const (
	firstPause = 200 * time.Millisecond
	maxPause   = 3 * time.Second
)

// boot connects after a while.
func (a *agent) boot(ctx context.Context, after time.Duration) {
	if !sleep(ctx, after) {
		a.stop()
		return
	}
	c, release, err := a.connect(ctx)
	if err != nil {
		a.again(ctx)
		return
	}
	node := a.m.ref.Key
	cn := &conn{carrier: c}
	cn.ctx, cn.broken = context.WithCancel(ctx)
	watch(cn.ctx, c, &agentapi.WatchRequest{Node: node, Instance: a.instance, Facts: a.facts()}, func(ev *agentapi.WatchEvent) { a.hear(cn, ev) }, func(error) {
		cn.broken()
		release()
		a.offline(cn)
		a.again(ctx)
	})
}

// again connects again after a pause, unless the agent has ended.
func (a *agent) again(ctx context.Context) {
	a.m.mu.Lock()
	fenced, pause := a.fenced, max(a.pause, firstPause)
	a.pause = min(2*pause, maxPause)
	a.m.mu.Unlock()
	if fenced || ctx.Err() != nil {
		a.stop()
		return
	}
	a.cloud.wg.Go(func() { a.boot(ctx, pause) }) // the agent itself is still counted
}

// stop notes that the agent has ended.
func (a *agent) stop() {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	a.over = true
	if a.timer != nil {
		a.timer.Stop()
	}
	a.cloud.wg.Done()
}

// hear takes what the server says.
func (a *agent) hear(c *conn, ev *agentapi.WatchEvent) {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	switch {
	case c.ctx.Err() != nil: // said too late
	case ev.Fenced:
		a.fenced = true
		c.broken()
	case ev.Incarnation != 0:
		a.incarnation, a.conn, a.pause = ev.Incarnation, c, 0
		a.dirty = a.seen // the server may be another
		a.kick()
	case ev.Assignment != nil:
		a.take(ev.Assignment)
	}
}

func (a *agent) facts() agentapi.Facts {
	m := a.m
	return agentapi.Facts{
		Dir: "/sim/" + m.ref.Cluster + "/" + m.ref.Name, Cache: "/sim/cache", MemoryMB: m.memoryMB, CPUs: m.cpus, User: "sim",
		BootID: "sim", Javas: a.cloud.cfg.Agents.Javas, Version: a.cloud.cfg.Agents.Version, Program: "/sim/howdah", PID: 1,
	}
}

func (a *agent) offline(c *conn) {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	if a.conn == c {
		a.conn = nil
	}
}

// take sets what every service and task should be. The server's messages are
// whole; only what is needed of them is kept. The machine's lock is held.
func (a *agent) take(as *agentapi.Assignment) {
	now := time.Now()
	a.generation, a.seen, a.dirty = as.Generation, true, true
	services := make([]service, len(as.Services))
	for i := range as.Services {
		spec := &as.Services[i]
		if j := slices.IndexFunc(a.m.services, func(s service) bool { return s.name == spec.Name }); j >= 0 {
			services[i] = a.m.services[j]
		} else {
			services[i] = newService(spec, now)
		}
		services[i].want(spec, as.Intent, now)
	}
	a.m.services = services
	tasks := make([]agentapi.TaskStatus, len(as.Tasks))
	for i := range as.Tasks {
		if j := slices.IndexFunc(a.tasks, func(t agentapi.TaskStatus) bool { return t.ID == as.Tasks[i].ID }); j >= 0 {
			tasks[i] = a.tasks[j]
		} else {
			tasks[i] = finish(&as.Tasks[i], now)
		}
	}
	a.tasks = tasks
	a.kick()
}

// finish does a task: at once and well, unless it was cancelled before.
func finish(t *agentapi.Task, now time.Time) agentapi.TaskStatus {
	st := agentapi.TaskStatus{ID: t.ID, State: agentapi.TaskDone, Started: now, Ended: now}
	for _, s := range t.Steps {
		if s.Capture != "" {
			st.Value = "sim-" + t.ID
		}
	}
	if t.Cancel {
		st.State, st.Message = agentapi.TaskFailed, "cancelled"
	}
	return st
}

// kick has the agent look at what is to be done. The machine's lock is held.
func (a *agent) kick() {
	if a.working || a.over || a.conn == nil {
		return
	}
	a.working = true
	a.cloud.wg.Go(a.work)
}

// wake is kick for the timer.
func (a *agent) wake() {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	a.kick()
}

// work does what is to be done now and sets the timer for what is due later.
func (a *agent) work() {
	for {
		a.m.mu.Lock()
		now := time.Now()
		due := a.advance(now)
		c := a.conn
		task, waits := a.permitWanted(now)
		beats := a.cloud.cfg.Agents.Heartbeat > 0
		switch {
		case c == nil || a.over:
			a.working = false
			a.m.mu.Unlock()
			return
		case task != "":
			a.m.mu.Unlock()
			a.askPermit(c, task)
		case a.dirty || beats && !now.Before(a.beat):
			r := a.report()
			a.dirty, a.beat = false, now.Add(a.cloud.cfg.Agents.Heartbeat)
			a.m.mu.Unlock()
			a.send(c, r)
		default:
			if beats {
				due = earlier(due, a.beat)
			}
			a.rest(earlier(due, waits), now)
			a.working = false
			a.m.mu.Unlock()
			return
		}
	}
}

// rest sets the timer. The machine's lock is held.
func (a *agent) rest(until, now time.Time) {
	switch {
	case until.IsZero():
	case a.timer == nil:
		a.timer = time.AfterFunc(until.Sub(now), a.wake)
	default:
		a.timer.Reset(until.Sub(now))
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// report gathers what is observed. The machine's lock is held.
func (a *agent) report() *agentapi.Report {
	a.sequence++
	r := &agentapi.Report{
		Node: a.m.ref.Key, Incarnation: a.incarnation, Sequence: a.sequence, Generation: a.generation,
		Services: make([]api.ServiceStatus, len(a.m.services)), Done: slices.Clone(a.m.done), Tasks: slices.Clone(a.tasks),
	}
	for i := range a.m.services {
		r.Services[i] = a.m.services[i].observe()
	}
	return r
}

// send reports; without an answer the session is over and all is reported
// again in the next.
func (a *agent) send(c *conn, r *agentapi.Report) {
	if observe := a.cloud.cfg.Agents.Observe; observe != nil {
		for i := range r.Services {
			observe(a.m.ref.Name, &r.Services[i])
		}
	}
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
	defer cancel()
	var resp agentapi.ReportResponse
	if err := call(ctx, c.carrier, agentapi.PathReport, r.Node, r, &resp); err != nil || resp.Fenced {
		a.lose(c)
	}
}

// lose ends a session that does not work.
func (a *agent) lose(c *conn) {
	c.broken()
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	a.dirty = true
	if a.conn == c {
		a.conn = nil
	}
}

// permitPause is how long an agent waits for its turn with a one-time task.
const permitPause = time.Second

// permitWanted returns a cluster-wide one-time task some service needs a
// permit for now, or when to ask again. The machine's lock is held.
func (a *agent) permitWanted(now time.Time) (task string, again time.Time) {
	for i := range a.m.services {
		s := &a.m.services[i]
		if !s.run || len(s.once) == 0 || s.state == api.StateBlocked {
			continue
		}
		if !s.due.After(now) {
			return s.name + "/" + s.once[0], time.Time{}
		}
		again = earlier(again, s.due)
	}
	return "", again
}

// askPermit asks whether a one-time task may run here, and runs it.
func (a *agent) askPermit(c *conn, task string) {
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
	defer cancel()
	node := a.m.ref.Key
	var r agentapi.PermitResponse
	if err := call(ctx, c.carrier, agentapi.PathPermit, node, &agentapi.PermitRequest{Node: node, Task: task}, &r); err != nil {
		a.lose(c)
		return
	}
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	now := time.Now()
	for i := range a.m.services {
		s := &a.m.services[i]
		if len(s.once) == 0 || s.name+"/"+s.once[0] != task {
			continue
		}
		switch r.Permit {
		case agentapi.PermitRun:
			a.m.done = append(a.m.done, task)
			s.once = s.once[1:]
		case agentapi.PermitDone:
			s.set(api.StateBlocked, fmt.Sprintf("DataMissing: %s has been done for this cluster, but its evidence is not there", task), now)
		case agentapi.PermitWait:
			s.set(api.StateGated, fmt.Sprintf("waits for %s to run %s", r.Holder, task), now)
			s.due = now.Add(permitPause)
		}
	}
	a.dirty = true
}

// advance brings every service as far as it is by now, and returns when the
// next goes on. The machine's lock is held.
func (a *agent) advance(now time.Time) time.Time {
	var next time.Time
	for i := range a.m.services {
		s := &a.m.services[i]
		s.once = slices.DeleteFunc(s.once, func(t string) bool { return slices.Contains(a.m.done, s.name+"/"+t) })
		changed, due := s.advance(now, &a.cloud.cfg.Agents)
		a.dirty = a.dirty || changed
		next = earlier(next, due)
	}
	return next
}
