package worker

import (
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

// TestDrain leaves a task with ports alone for a moment when it is to end, so that
// proxies learn of it first; other tasks, and those of a worker that comes back,
// are told at once.
func TestDrain(t *testing.T) {
	const drain = 5 * time.Second // a busy machine is quicker
	c := newCell(t, func(s *setup) { s.Drain = drain })
	quick := shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done")
	for _, tt := range []struct {
		name, resources string
		waits           bool
	}{
		{"with ports", "cpus:0.1;mem:64;ports:[31000-31000]", true},
		{"without", "", false},
	} {
		id := c.launch(quick, tt.resources)
		c.untilState(id, mesos.TaskRunning)
		c.untilState(id, mesos.TaskRunning)
		c.file(id, "stdout", "up")
		began := time.Now()
		c.kill(id)
		c.untilState(id, mesos.TaskKilling)
		if told := time.Since(began); told > drain {
			t.Errorf("%s: it took %s until the task was said to end", tt.name, told)
		}
		end := c.end(id)
		if took := time.Since(began); end.Message != "Command exited with status 7" || took < drain == tt.waits {
			t.Errorf("%s: %q after %s", tt.name, end.Message, took)
		}
	}
	id := c.launch(quick, "cpus:0.2;mem:1024;ports:[31001-31001]")
	c.untilState(id, mesos.TaskRunning)
	c.untilState(id, mesos.TaskRunning)
	c.file(id, "stdout", "up")
	c.kill(id)
	c.untilState(id, mesos.TaskKilling)
	c.killWorker()
	c.startWorker()
	if end := c.end(id); end.State != mesos.TaskKilled || end.Message != "Command exited with status 7" {
		t.Errorf("%s %q", end.State, end.Message)
	}
}
