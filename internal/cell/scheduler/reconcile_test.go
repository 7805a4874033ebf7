package scheduler

import (
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
)

// TestAskAgain: a task is asked for until something is heard of it, each time after
// a longer pause; a master that waits for workers does not answer.
func TestAskAgain(t *testing.T) {
	s := newState()
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, n := range []string{"1", "2"} {
		i := &instance.Instance{ID: "a.instance-" + n, App: "/a", Incarnation: 1, AgentID: "S" + n, Condition: instance.Provisioned, StagedAt: began.Add(-time.Second)}
		s.instances[i.ID] = i
	}
	questions := &questions{}
	batch := func(at time.Duration, do func(*tx)) string {
		x := newTx(s, &Config{}, began.Add(at))
		x.questions = questions
		do(x)
		var out []string
		for _, c := range x.calls {
			if c.Reconcile == nil {
				continue
			}
			names := "all"
			for _, r := range c.Reconcile.Tasks {
				names += " " + r.TaskID.Value + "@" + r.AgentID.Value
			}
			out = append(out, strings.TrimPrefix(names, "all "))
		}
		return strings.Join(out, "; ")
	}
	again := func(x *tx) { x.askAgain() }
	both, second := "a.instance-1._app.1@S1 a.instance-2._app.1@S2", "a.instance-2._app.1@S2"
	heard := func(x *tx) {
		x.status(&mesos.TaskStatus{TaskID: mesos.ID{Value: "a.instance-1._app.1"}, State: mesos.TaskStaging, Reason: mesos.ReasonReconciliation})
	}
	for i, tt := range []struct {
		at   time.Duration
		do   func(*tx)
		want string
	}{
		{0, again, ""},
		{0, func(x *tx) { x.ask(x.now) }, both + "; all"},
		{500 * time.Millisecond, again, ""},
		{time.Second, again, both},
		{2 * time.Second, again, ""}, // the pause is two seconds now
		{2 * time.Second, heard, ""},
		{3 * time.Second, again, second},
		{7 * time.Second, again, second},
		{time.Hour, again, second},
		{time.Hour + askMost - 1, again, second}, // the pauses grow, but not for ever
		{time.Hour + 2*askMost, func(*tx) { delete(s.instances, "a.instance-2") }, ""},
		{time.Hour + 3*askMost, again, ""},
	} {
		if got := batch(tt.at, tt.do); got != tt.want {
			t.Errorf("%d, after %s: asked for %q, want %q", i, tt.at, got, tt.want)
		}
	}
	if n := len(questions.open); n != 0 {
		t.Errorf("%d questions are open", n)
	}
}
