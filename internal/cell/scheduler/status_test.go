package scheduler

import (
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
)

// TestWhyAfterAnswer: when a master's answer to reconciliation ends a task, the
// worker's own word that comes later is what is kept of why.
func TestWhyAfterAnswer(t *testing.T) {
	s := newState()
	i := &instance.Instance{ID: "g_a.instance-1", App: "/g/a", Incarnation: 1, AgentID: "S1", Condition: instance.Running, State: mesos.TaskRunning}
	s.instances[i.ID], s.byApp[i.App] = i, instanceSet{i.ID: i}
	s.apps[i.App] = &App{Spec: &app.App{ID: i.App, Instances: 1, BackoffSeconds: 1, BackoffFactor: 1.15, MaxLaunchDelaySeconds: 300}}
	told := func(task, reason, message string) string {
		x := newTx(s, &Config{}, time.Unix(1, 0))
		x.status(&mesos.TaskStatus{TaskID: mesos.ID{Value: task}, State: mesos.TaskFailed, Reason: reason, Message: message, Source: mesos.SourceMaster})
		x.merge()
		return s.apps[i.App].LastFailure.Message
	}
	for _, step := range []struct{ task, reason, message, want string }{
		{i.TaskID(), mesos.ReasonReconciliation, "Reconciliation: Latest task state", "Reconciliation: Latest task state"},
		{i.TaskID(), "", "Command exited with status 7", "Command exited with status 7"},
		{i.TaskID(), mesos.ReasonReconciliation, "Reconciliation: Latest task state", "Command exited with status 7"},
		{"g_a.instance-2._app.1", "", "another", "Command exited with status 7"},
	} {
		if got := told(step.task, step.reason, step.message); got != step.want {
			t.Errorf("after %s %q it is %q, not %q", step.task, step.message, got, step.want)
		}
	}
}
