package worker

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/worker/container"
)

// forking is a task that is refused processes after a while.
type forking struct {
	container.Running
	began time.Time
}

func (f forking) Stats() cgroup.Stats {
	if time.Since(f.began) < 15*time.Second {
		return cgroup.Stats{}
	}
	return cgroup.Stats{Refused: int64(time.Since(f.began))}
}

// TestProcessLimit: a task that reaches its limit of processes says so, once, and so
// does its end.
func TestProcessLimit(t *testing.T) {
	const limit = "limit of 1024 processes reached"
	synctest.Test(t, func(t *testing.T) {
		w := &Worker{cfg: Config{Dir: t.TempDir(), Quota: 10 * time.Second}, log: slog.New(slog.DiscardHandler)}
		task := w.newTask(mesos.ID{Value: "f"}, mesos.TaskInfo{})
		task.rec.Phase = phaseRunning
		go task.watchProcesses(t.Context(), forking{began: time.Now()})
		time.Sleep(time.Minute)
		rec, _ := task.snapshot()
		var said []string
		for _, s := range rec.Pending {
			said = append(said, string(s.State)+" "+s.Reason+" "+s.Message)
		}
		if len(said) != 1 || said[0] != "TASK_RUNNING REASON_CONTAINER_LIMITATION "+limit {
			t.Errorf("it said %q", said)
		}
	})
	if s := verdict(&record{}, shim.Exit{ExitCode: 2, Refused: true}); s.message != "Command exited with status 2; "+limit {
		t.Error(s.message)
	}
	if s := verdict(&record{}, shim.Exit{Refused: true}); s.state != mesos.TaskFinished {
		t.Errorf("%+v", s)
	}
}
