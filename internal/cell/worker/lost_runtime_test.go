package worker

import (
	"context"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/cell/mesos"
)

// TestRuntimeOutOfOrder: a runtime that cannot be used when the worker comes back keeps
// its tasks and gets no others.
func TestRuntimeOutOfOrder(t *testing.T) {
	c := newCell(t, nil)
	info, runs := c.once("while :; do sleep 0.01; done")
	id := c.launch(info, "")
	pid := c.untilState(id, mesos.TaskRunning).ContainerStatus.ExecutorPID
	c.eventually("it runs", func() bool { return runs() == 1 })
	c.killWorker()
	c.setup.Plain = "broken"
	c.startWorker()
	c.holds(id, true)
	_, state := c.get("/state")
	for _, want := range []string{`"attributes":{"runtimes":""}`, `"weaker":["plain: it is out of order"]`} {
		if !strings.Contains(state, want) {
			t.Errorf("no %s in %s", want, state)
		}
	}
	other := c.launch(shell("true"), "")
	if end := c.end(other); end.State == mesos.TaskFinished {
		t.Error("a task was started by a runtime that cannot be used")
	}
	if got := describe(c.history(id)); got != "STARTING RUNNING" || !alive(pid) {
		t.Fatalf("%s, alive %v", got, alive(pid))
	}
	c.kill(id)
	if end := c.end(id); end.State != mesos.TaskKilled || alive(pid) || runs() != 1 {
		t.Errorf("%s %q, alive %v, %d runs", end.State, end.Message, alive(pid), runs())
	}
}

// TestRuntimeNotConfigured: tasks of a runtime that the worker is not to use any more
// are left alone, and said to be.
func TestRuntimeNotConfigured(t *testing.T) {
	c := newCell(t, nil)
	info, runs := c.once("while :; do sleep 0.01; done")
	id := c.launch(info, "")
	pid := c.untilState(id, mesos.TaskRunning).ContainerStatus.ExecutorPID
	c.eventually("it runs", func() bool { return runs() == 1 })
	c.killWorker()
	c.setup.Plain = "absent"
	c.startWorker()
	c.until(id, "told", func(s mesos.TaskStatus) bool {
		return s.State == mesos.TaskRunning && strings.HasPrefix(s.Message, "the task was started by the runtime plain, which")
	})
	if got := c.went(id); got != "STARTING RUNNING" || !alive(pid) {
		t.Fatalf("%s, alive %v", got, alive(pid))
	}
	c.kill(id) // kept until somebody can do it
	c.untilState(id, mesos.TaskKilling)
	c.killWorker()
	c.setup.Plain = ""
	c.startWorker()
	if end := c.end(id); end.State != mesos.TaskKilled || alive(pid) || runs() != 1 {
		t.Errorf("%s %q, alive %v, %d runs", end.State, end.Message, alive(pid), runs())
	}
}

// TestHoldsWaits no longer than its caller.
func TestHoldsWaits(t *testing.T) {
	w := &Worker{loaded: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if w.Holds(ctx, "f", "t") {
		t.Error("a worker that knows nothing yet holds a task")
	}
}
