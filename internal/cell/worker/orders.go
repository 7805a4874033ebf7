package worker

import (
	"bytes"
	"context"
	"slices"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

// obey carries out an order. Orders may come twice; none of them waits. Tasks live as
// long as ctx, which is the worker's and not the connection's.
func (w *Worker) obey(ctx context.Context, l *link, o workerapi.Order) {
	switch {
	case o.Type == workerapi.OrderLaunch && o.Launch != nil:
		w.launch(ctx, o.Launch)
	case o.Type == workerapi.OrderKill && o.Kill != nil:
		w.kill(ctx, o.Kill)
	case o.Type == workerapi.OrderAcknowledge && o.Acknowledge != nil:
		if t := w.task(o.Acknowledge.FrameworkID.Value, o.Acknowledge.TaskID.Value); t != nil {
			t.acknowledge(o.Acknowledge.UUID)
		}
	case o.Type == workerapi.OrderShutdown && o.Shutdown != nil:
		for _, t := range w.all() {
			if t.key().framework == o.Shutdown.FrameworkID.Value {
				t.ordered(nil, false)
			}
		}
	case o.Type == workerapi.OrderPing:
		go func() {
			if err := w.call(l.ctx, l, workerapi.Call{Type: workerapi.CallPong}); err != nil {
				w.log.Warn("cannot answer the master", "error", err)
			}
		}()
	case o.Type == workerapi.OrderFenced:
		l.cancel(errFenced)
	}
}

// launch begins a task that is not known yet. Its record is the promise to run it.
func (w *Worker) launch(ctx context.Context, o *workerapi.Launch) {
	if w.task(o.FrameworkID.Value, o.Task.TaskID.Value) != nil {
		return
	}
	t := w.newTask(o.FrameworkID, o.Task)
	name := ""
	if t.runtime = w.choose(needsContainer(&o.Task)); t.runtime != nil {
		name = t.runtime.Name()
	}
	if err := t.report(status{state: mesos.TaskStarting, source: mesos.SourceSlave, set: func(r *record) { r.Runtime = name }}); err != nil {
		_ = t.report(status{
			state: mesos.TaskFailed, source: mesos.SourceSlave, reason: mesos.ReasonContainerLaunchFailed,
			message: err.Error(), set: ended(nil),
		})
	}
	w.add(ctx, t)
}

// kill ends a task. Of one that is not known it says so: the order to launch it was
// lost with a connection.
func (w *Worker) kill(ctx context.Context, o *workerapi.Kill) {
	t := w.task(o.FrameworkID.Value, o.TaskID.Value)
	if t != nil {
		t.ordered(o.KillPolicy, o.Announce)
		return
	}
	t = w.newTask(o.FrameworkID, mesos.TaskInfo{TaskID: o.TaskID})
	_ = t.report(status{
		state: mesos.TaskLost, source: mesos.SourceSlave, reason: mesos.ReasonSlaveUnknown,
		message: "this worker does not know the task", set: ended(nil),
	})
	w.add(ctx, t)
}

const defaultGrace = 3 * time.Second // of Mesos and Marathon

// grace is how long a task may take to end.
func grace(policies ...*mesos.KillPolicy) time.Duration {
	for _, p := range policies {
		if p != nil && p.GracePeriod != nil && p.GracePeriod.Nanoseconds >= 0 {
			return time.Duration(p.GracePeriod.Nanoseconds)
		}
	}
	return defaultGrace
}

// ordered kills the task because somebody wants it, and says so if that is asked for.
func (t *task) ordered(policy *mesos.KillPolicy, announce bool) {
	t.mu.Lock()
	first, running := t.rec.Kill == nil, t.rec.Phase == phaseRunning
	k := killing{Grace: grace(policy, t.info.KillPolicy), Announce: announce}
	t.mu.Unlock()
	if first && running {
		t.killing(k)
		if d := t.w.cfg.Drain; d > 0 && t.hasPorts() {
			time.AfterFunc(d, func() { t.kill(k) }) // it is in the record: should the worker end now, its next life does it
			return
		}
	}
	t.kill(k)
}

// hasPorts tells whether others may send the task requests.
func (t *task) hasPorts() bool {
	return slices.ContainsFunc(t.info.Resources, func(r mesos.Resource) bool { return r.Name == "ports" })
}

// killing keeps that the task was ordered to end, and has not yet.
func (t *task) killing(k killing) {
	keep := func(r *record) { r.Kill = &k }
	switch {
	case k.Announce:
		_ = t.report(status{state: mesos.TaskKilling, set: keep})
	case k.Reason == "":
		_ = t.change(keep)
	}
}

// acknowledge drops a status that is kept elsewhere.
func (t *task) acknowledge(uuid []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rec.Pending) > 0 && bytes.Equal(t.rec.Pending[0].UUID, uuid) {
		_ = t.changeLocked(func(r *record) { r.Pending = r.Pending[1:] })
	}
}
