package scheduler

import (
	"context"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
)

const (
	askFirst = time.Second // before unanswered questions are asked again, at first
	askMost  = 30 * time.Second
	maxAsked = 5000 // tasks in one call: masters take calls of 4 MiB
)

// questions are the tasks that were asked for and of which nothing was heard since.
// A master answers only once it knows: while it waits for a worker to come back it
// says nothing of what may run there, and does not say it later by itself.
type questions struct {
	open  map[string]bool // task ids
	pause time.Duration
	next  time.Time
}

// ask asks for the state of every task, but for those launched after a moment:
// their launch may be on its way still, and the master would not know them.
func (t *tx) ask(before time.Time) {
	var tasks []mesos.ReconcileTask
	t.questions.open, t.questions.pause, t.questions.next = map[string]bool{}, askFirst, t.now.Add(askFirst)
	for _, i := range t.instances.all() {
		if i.Condition == instance.Provisioned && i.StagedAt.After(before) {
			continue
		}
		t.questions.open[i.TaskID()] = true
		tasks = append(tasks, askFor(i))
	}
	t.askTasks(tasks)
	t.call(&mesos.Call{Type: mesos.CallReconcile, Reconcile: &mesos.Reconcile{}}) // and those it knows and we do not
}

func askFor(i *instance.Instance) mesos.ReconcileTask {
	return mesos.ReconcileTask{TaskID: mesos.ID{Value: i.TaskID()}, AgentID: &mesos.ID{Value: i.AgentID}}
}

// askAgain asks for the tasks of which nothing was heard since they were asked for.
func (t *tx) askAgain() {
	q := t.questions
	if len(q.open) == 0 || t.now.Before(q.next) {
		return
	}
	q.pause = min(2*q.pause, askMost)
	q.next = t.now.Add(q.pause)
	var tasks []mesos.ReconcileTask
	for task := range q.open {
		id, _, _ := instance.OfTask(task)
		i := t.instances.get(id)
		if i == nil || i.TaskID() != task {
			delete(q.open, task)
			continue
		}
		tasks = append(tasks, askFor(i))
	}
	t.askTasks(tasks)
}

// askTasks asks for tasks in a fixed order, in as many calls as that takes.
func (t *tx) askTasks(tasks []mesos.ReconcileTask) {
	slices.SortFunc(tasks, func(a, b mesos.ReconcileTask) int { return strings.Compare(a.TaskID.Value, b.TaskID.Value) })
	for part := range slices.Chunk(tasks, maxAsked) {
		t.call(&mesos.Call{Type: mesos.CallReconcile, Reconcile: &mesos.Reconcile{Tasks: part}})
	}
}

// reconcile asks for the state of every task from time to time, and again for what
// was not answered.
func (e *Engine) reconcile(ctx context.Context) {
	all := time.NewTicker(e.cfg.Reconcile)
	defer all.Stop()
	again := time.NewTicker(askFirst)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-all.C:
			e.tell(ctx, func(t *tx) { t.ask(t.now.Add(-onTheWay)) })
		case <-again.C:
			e.tell(ctx, func(t *tx) { t.askAgain() })
		}
	}
}
