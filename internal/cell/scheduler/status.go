package scheduler

import (
	"math"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
)

const (
	// launchLimit is how long a task may take to start, as Marathon's
	// task_launch_timeout.
	launchLimit = 300 * time.Second
	// killRepeat is after how long a kill is asked for again.
	killRepeat = 30 * time.Second
	// lostDelay is how long the next launch waits after one that did not reach its
	// worker: what a master refuses each time must not keep everybody busy.
	lostDelay = time.Second
)

// conditions are what Mesos's states mean for an instance.
var conditions = map[mesos.TaskState]instance.Condition{
	mesos.TaskStaging: instance.Staging, mesos.TaskStarting: instance.Starting, mesos.TaskRunning: instance.Running,
	mesos.TaskKilling: instance.Killing, mesos.TaskFinished: instance.Finished, mesos.TaskFailed: instance.Failed,
	mesos.TaskKilled: instance.Killed, mesos.TaskError: instance.Error, mesos.TaskLost: instance.Dropped,
	mesos.TaskDropped: instance.Dropped, mesos.TaskUnreachable: instance.Unreachable, mesos.TaskGone: instance.Gone,
	mesos.TaskUnknown: instance.Unknown, taskGoneByOperator: instance.Gone,
}

// taskGoneByOperator is what real masters say of a worker that an operator gave up.
const taskGoneByOperator mesos.TaskState = "TASK_GONE_BY_OPERATOR"

// status takes in what the master says of a task. It is acknowledged after the
// commit.
func (t *tx) status(s *mesos.TaskStatus) {
	if len(s.UUID) > 0 && s.AgentID != nil {
		t.call(&mesos.Call{Type: mesos.CallAcknowledge, Acknowledge: &mesos.Acknowledge{AgentID: *s.AgentID, TaskID: s.TaskID, UUID: s.UUID}})
	}
	delete(t.questions.open, s.TaskID.Value)
	id, _, _ := instance.OfTask(s.TaskID.Value)
	old := t.instances.get(id)
	condition, known := conditions[s.State]
	if !known {
		return // a state of a newer Mesos; the next one is known again
	}
	if old == nil || old.TaskID() != s.TaskID.Value {
		t.stranger(s, id, condition)
		return
	}
	if obsolete(old, s) {
		return
	}
	i := clone(old)
	i.State, i.Message, i.Reason = s.State, s.Message, s.Reason
	switch {
	case condition == instance.Unreachable && i.KillAsked != nil:
		t.expunge(i) // should it come back, it is killed as a stranger
		return
	case i.Condition == instance.UnreachableInactive && !terminal(condition):
		if condition == instance.Unreachable {
			return
		}
		if t.replaced(i) {
			t.sentence(i, "it came back when another had taken its place")
			return
		}
	case condition == instance.Running && i.KillAsked != nil:
		condition = instance.Killing
	}
	if condition != i.Condition {
		i.Condition, i.Since = condition, t.now
	}
	if s.State == mesos.TaskRunning {
		t.running(i, s)
	}
	t.emitStatus(i, s)
	if i.Terminal() {
		t.ended(i, s)
		return
	}
	t.putInstance(i)
}

// terminal tells whether an instance in this condition has ended.
func terminal(c instance.Condition) bool { return (&instance.Instance{Condition: c}).Terminal() }

// replaced tells whether an instance that was written off is not needed any more:
// with it there would be more active ones than wanted.
func (t *tx) replaced(i *instance.Instance) bool {
	a := t.apps.get(i.App)
	if a == nil || i.KillAsked != nil {
		return true
	}
	active := 0
	for _, other := range t.of(i.App) {
		if other.Active() {
			active++
		}
	}
	target, _ := t.target(a)
	return active >= target.Wanted
}

// obsolete tells whether a status says nothing new: an answer to a question
// about the state of things, or one from before a later one.
func obsolete(i *instance.Instance, s *mesos.TaskStatus) bool {
	if s.Reason == mesos.ReasonReconciliation && s.State == i.State && s.Healthy == nil {
		return true
	}
	// An instance that was never accepted is not unreachable, it is not there yet.
	return s.State == mesos.TaskStaging && i.Condition != instance.Provisioned && i.Condition != instance.Unreachable && i.Condition != instance.UnreachableInactive
}

// stranger deals with a task the scheduler does not know (any more).
func (t *tx) stranger(s *mesos.TaskStatus, id string, c instance.Condition) {
	if s.State.Terminal() || s.State == mesos.TaskUnreachable {
		t.sayWhy(s, id)
		t.emit("unknown_instance_terminated_event", unknownEvent{InstanceID: id, RunSpecID: instance.AppOf(id), Condition: c})
		return
	}
	t.call(&mesos.Call{Type: mesos.CallKill, Kill: &mesos.Kill{TaskID: s.TaskID, AgentID: s.AgentID}})
}

// sayWhy completes the last failure of an app when the worker's own word comes
// after an answer to reconciliation, which ended the instance and says nothing.
func (t *tx) sayWhy(s *mesos.TaskStatus, id string) {
	a := t.apps.get(instance.AppOf(id))
	if a == nil || a.LastFailure == nil || a.LastFailure.TaskID != s.TaskID.Value || s.Reason == mesos.ReasonReconciliation || s.Message == "" {
		return
	}
	next, failure := clone(a), clone(a.LastFailure)
	failure.Message, failure.State = s.Message, string(s.State)
	next.LastFailure = failure
	t.putApp(next)
}

// running notes what a running task tells about itself.
func (t *tx) running(i *instance.Instance, s *mesos.TaskStatus) {
	if i.StartedAt == nil {
		at := t.now
		i.StartedAt = &at
	}
	if s.Reason == mesos.ReasonContainerLimit {
		i.Notice = s.Message
	}
	if s.ContainerStatus != nil {
		i.Addresses = nil
		for _, n := range s.ContainerStatus.NetworkInfos {
			for _, a := range n.IPAddresses {
				i.Addresses = append(i.Addresses, a.IPAddress)
			}
		}
	}
	if s.Healthy != nil && s.Reason != mesos.ReasonContainerLimit {
		t.healthOfWorker(i, s)
	}
}

// ended forgets an instance that has ended, and remembers why if it was not
// asked to.
func (t *tx) ended(i *instance.Instance, s *mesos.TaskStatus) {
	t.removeInstance(i)
	a := t.apps.get(i.App)
	if a == nil || i.KillAsked != nil {
		return
	}
	next := clone(a)
	if lostLaunch(i, s) {
		next.Backoff.Until = latest(a.Backoff.Until, t.now.Add(lostDelay))
		t.putApp(next)
		return
	}
	next.LastFailure = &Failure{
		AppID: i.App, Host: i.Host, Message: s.Message, State: string(s.State), TaskID: i.TaskID(),
		Timestamp: app.At(t.now), Version: app.Timestamp{Time: i.Version}, AgentID: i.AgentID,
	}
	next.Backoff = t.delay(a, i)
	t.putApp(next)
}

// lostLaunch tells whether an instance never reached its worker: the offer was
// gone, or the call was. That is no failure of the app.
func lostLaunch(i *instance.Instance, s *mesos.TaskStatus) bool {
	if i.StartedAt != nil || s.Source != mesos.SourceMaster {
		return false
	}
	switch s.State {
	case mesos.TaskDropped, mesos.TaskLost, mesos.TaskGone, mesos.TaskUnknown:
		return true
	default:
		return false
	}
}

// delay computes how long the next launch waits after an instance ended by
// itself. One that ran for longer than the longest delay begins anew.
func (t *tx) delay(a *App, i *instance.Instance) Backoff {
	most := time.Duration(a.Spec.MaxLaunchDelaySeconds) * time.Second
	first := time.Duration(a.Spec.BackoffSeconds) * time.Second
	delay := a.Backoff.Delay
	switch {
	case delay == 0, i.StartedAt != nil && t.now.Sub(*i.StartedAt) > max(most, first):
		delay = first
	case a.Backoff.Until.Before(t.now): // several that end together count once
		delay = time.Duration(math.Min(float64(delay)*a.Spec.BackoffFactor, float64(most)))
	}
	delay = min(delay, max(most, 0))
	return Backoff{Delay: delay, Until: latest(a.Backoff.Until, t.now.Add(delay))}
}

// kill asks for the end of an instance; asking again changes nothing.
func (t *tx) kill(i *instance.Instance, why string) {
	if i.KillAsked != nil || i.Terminal() {
		return
	}
	if i.Condition == instance.UnreachableInactive || i.Condition == instance.Unreachable {
		i = clone(i)
		at := t.now
		i.KillAsked, i.KillWhy = &at, why
		t.expunge(i)
		return
	}
	t.sentence(i, why)
}

// sentence has an instance end, and keeps it until it has.
func (t *tx) sentence(i *instance.Instance, why string) {
	i = clone(i)
	at := t.now
	i.KillAsked, i.KillWhy = &at, why
	t.putInstance(i)
	t.sendKill(i)
	t.due(i.App, t.now.Add(killRepeat))
}

func (t *tx) sendKill(i *instance.Instance) {
	k := &mesos.Kill{TaskID: mesos.ID{Value: i.TaskID()}, AgentID: &mesos.ID{Value: i.AgentID}}
	t.call(&mesos.Call{Type: mesos.CallKill, Kill: k})
}

// expunge forgets an instance whose worker is away. Should the worker return
// with it, it is a stranger and is killed.
func (t *tx) expunge(i *instance.Instance) {
	i = clone(i)
	i.Condition, i.Since = instance.Gone, t.now
	t.emitCondition(i)
	t.removeInstance(i)
	t.sendKill(i)
}

// remindOf does what is due for one instance, and has the engine come back when
// the next is.
func (t *tx) remindOf(a *App, i *instance.Instance) {
	u := a.Spec.UnreachableStrategy
	switch {
	case i.KillAsked != nil && !i.Terminal():
		// Each commit of the kill is old by now: say it again.
		if again := i.KillAsked.Add(killRepeat); t.now.Before(again) {
			t.due(a.Spec.ID, again)
		} else {
			next := clone(i)
			at := t.now
			next.KillAsked = &at
			t.instances.put(i.ID, next)
			t.index(i.App)[i.ID] = next
			t.sendKill(i)
			t.due(a.Spec.ID, t.now.Add(killRepeat))
		}
	case i.Condition == instance.Unreachable || i.Condition == instance.UnreachableInactive:
		t.remindUnreachable(a, i, u)
	case i.Condition == instance.Provisioned || i.Condition == instance.Staging || i.Condition == instance.Starting:
		if limit := i.StagedAt.Add(launchLimit); t.now.Before(limit) {
			t.due(a.Spec.ID, limit)
		} else {
			t.kill(i, "it did not start within "+launchLimit.String())
		}
	}
}

func (t *tx) remindUnreachable(a *App, i *instance.Instance, u app.UnreachableStrategy) {
	if u.Disabled {
		return
	}
	inactive := i.Since.Add(time.Duration(u.InactiveAfterSeconds) * time.Second)
	gone := i.Since.Add(time.Duration(u.ExpungeAfterSeconds) * time.Second)
	switch {
	case !t.now.Before(gone):
		t.expunge(i)
	case i.Condition == instance.Unreachable && !t.now.Before(inactive):
		next := clone(i)
		next.Condition = instance.UnreachableInactive // Since stays: it is counted from the loss
		t.emitCondition(next)
		t.putInstance(next)
		t.due(a.Spec.ID, gone)
	case i.Condition == instance.Unreachable:
		t.due(a.Spec.ID, earliest(inactive, gone))
	default:
		t.due(a.Spec.ID, gone)
	}
}
