package master

import (
	"bytes"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

// kill ends a task. A kill for a worker that is away is kept for when it is back.
func (c *core) kill(f *framework, k *mesos.Kill) {
	c.counts.add("messages_kill_task")
	t := f.tasks[k.TaskID.Value]
	if t == nil {
		c.reconcileOne(f, mesos.ReconcileTask{TaskID: k.TaskID, AgentID: k.AgentID})
		return
	}
	t.kill = f.killOrder(k.TaskID, k.KillPolicy)
	if w := c.workers[t.worker]; w != nil {
		c.order(w, workerapi.Order{Type: workerapi.OrderKill, Kill: t.kill})
	}
}

// killOrder is how a worker is told to end one of the framework's tasks.
func (f *framework) killOrder(task mesos.ID, policy *mesos.KillPolicy) *workerapi.Kill {
	return &workerapi.Kill{FrameworkID: mesos.ID{Value: f.id}, TaskID: task, KillPolicy: policy, Announce: f.info.Has(mesos.CapTaskKillingState)}
}

// acknowledge passes on that a status is kept. One that does not reach the worker
// is not missed: the worker repeats its status.
func (c *core) acknowledge(f *framework, a *mesos.Acknowledge) {
	c.counts.add("messages_status_update_acknowledgement")
	w := c.workers[a.AgentID.Value]
	if w == nil {
		return
	}
	c.order(w, workerapi.Order{Type: workerapi.OrderAcknowledge, Acknowledge: &workerapi.Acknowledge{
		FrameworkID: mesos.ID{Value: f.id}, TaskID: a.TaskID, UUID: a.UUID,
	}})
	t := w.tasks[taskKey{f.id, a.TaskID.Value}]
	if t == nil {
		return
	}
	if t.pending != nil && bytes.Equal(t.pending.UUID, a.UUID) {
		t.pending = nil
	}
	if t.status.State.Terminal() && (len(t.status.UUID) == 0 || bytes.Equal(t.status.UUID, a.UUID)) {
		c.finish(t)
	}
}

// reconcile tells the states of tasks, of all of the framework if none is named.
func (c *core) reconcile(f *framework, r *mesos.Reconcile) {
	c.counts.add("messages_reconcile_tasks")
	if len(r.Tasks) == 0 {
		for _, t := range sortedBy(f.tasks) {
			c.tellLatest(f, t)
		}
		return
	}
	for _, t := range r.Tasks {
		c.reconcileOne(f, t)
	}
}

// tellLatest tells the newest state of a task. Of one that has ended it says what
// the worker said, unlike Mesos: when that is still on its way, this answer is what
// the framework keeps.
func (c *core) tellLatest(f *framework, t *task) {
	s := t.status
	s.UUID, s.Reason = nil, mesos.ReasonReconciliation
	if !s.State.Terminal() || s.Message == "" {
		s.Message = "Reconciliation: Latest task state"
	}
	c.tell(f, s)
}

// reconcileOne answers for one task. While a worker may still register that may
// have the task, there is no answer.
func (c *core) reconcileOne(f *framework, r mesos.ReconcileTask) {
	if t := f.tasks[r.TaskID.Value]; t != nil {
		c.tellLatest(f, t)
		return
	}
	s := mesos.TaskStatus{TaskID: r.TaskID, AgentID: r.AgentID, Reason: mesos.ReasonReconciliation}
	var w *worker
	if r.AgentID != nil {
		w = c.workers[r.AgentID.Value]
	}
	switch {
	case w == nil && c.mayAppear(r.AgentID), w != nil && w.state == recovering:
		return
	case w == nil:
		s.State, s.Message = f.lostAs(mesos.TaskUnknown), "Reconciliation: Task is unknown"
	case w.state == unreachable:
		s.State, s.Message = f.lostAs(mesos.TaskUnreachable), "Reconciliation: Task is unreachable"
		s.UnreachableTime = &mesos.TimeInfo{Nanoseconds: w.lostAt.UnixNano()}
	default:
		s.State, s.Message = f.lostAs(mesos.TaskGone), "Reconciliation: Task is unknown to the agent"
	}
	c.tell(f, s)
}

// mayAppear tells whether a worker not registered since the start may have a task
// of which nobody says on which worker it is.
func (c *core) mayAppear(agent *mesos.ID) bool {
	if agent != nil && agent.Value != "" {
		return false
	}
	for _, w := range c.workers {
		if w.state == recovering {
			return true
		}
	}
	return false
}
