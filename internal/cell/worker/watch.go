package worker

import (
	"context"
	"fmt"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/worker/check"
	"howdah.dev/howdah/internal/cell/worker/container"
)

// watch looks after a running task until ctx ends: its health, its check, its disk,
// its processes.
func (t *task) watch(ctx context.Context, run container.Running) {
	if _, ok := run.Started(); !ok {
		return
	}
	info := &t.info // does not change
	if h := info.HealthCheck; h != nil {
		go t.watchHealth(ctx, run, h)
	}
	if c := info.Check; c != nil {
		go t.watchCheck(ctx, run, c)
	}
	go t.watchDisk(ctx)
	go t.watchProcesses(ctx, run)
}

// watchProcesses says once when a task was refused processes: what it cannot start
// then it says in its own log at best.
func (t *task) watchProcesses(ctx context.Context, run container.Running) {
	tick := time.NewTicker(t.w.cfg.Quota)
	defer tick.Stop()
	for run.Stats().Refused == 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	t.running(mesos.ReasonContainerLimit, processLimit())
}

func processLimit() string { return fmt.Sprintf("limit of %d processes reached", maxPids) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (t *task) watchHealth(ctx context.Context, run container.Running, h *mesos.HealthCheck) {
	q := check.Question{
		Command: h.Command, HTTP: h.HTTP, TCP: h.TCP,
		Delay: seconds(h.DelaySeconds), Interval: seconds(h.IntervalSeconds), Timeout: seconds(h.TimeoutSeconds),
	}
	started, _ := run.Started()
	health := check.Health{Grace: seconds(h.GracePeriodSeconds), Most: h.ConsecutiveFailures, Started: started.At}
	check.Repeat(ctx, q, run, func(a check.Answer) {
		healthy, changed, dead := health.Count(a, time.Now())
		if changed {
			t.mu.Lock()
			t.healthy = &healthy
			t.mu.Unlock()
			message := "healthy"
			if !healthy {
				message = "not healthy: " + a.Err.Error()
			}
			t.running(mesos.ReasonHealthCheck, message)
		}
		if dead {
			t.kill(killing{
				Grace: grace(t.info.KillPolicy), Reason: mesos.ReasonHealthCheck,
				Message: fmt.Sprintf("the health check failed %d times in a row: %v", health.Most, a.Err),
			})
		}
	})
}

// running reports news of a task that runs, unless it is about to end.
func (t *task) running(reason, message string) {
	t.mu.Lock()
	stands := t.rec.Phase == phaseRunning && t.rec.Kill == nil
	t.mu.Unlock()
	if stands {
		_ = t.report(status{state: mesos.TaskRunning, reason: reason, message: message})
	}
}

func (t *task) watchCheck(ctx context.Context, run container.Running, c *mesos.CheckInfo) {
	q := check.Question{HTTP: c.HTTP, TCP: c.TCP, Delay: seconds(c.DelaySeconds), Interval: seconds(c.IntervalSeconds), Timeout: seconds(c.TimeoutSeconds)}
	if c.Command != nil {
		q.Command = &c.Command.Command
	}
	var last *check.Answer
	check.Repeat(ctx, q, run, func(a check.Answer) {
		if last != nil && last.Code == a.Code && (last.Err == nil) == (a.Err == nil) {
			return
		}
		last = &a
		t.mu.Lock()
		t.check = checkStatus(c.Type, a)
		t.mu.Unlock()
		t.running(mesos.ReasonCheck, "")
	})
}

// checkStatus has no value inside when there was no answer.
func checkStatus(kind string, a check.Answer) *mesos.CheckStatus {
	s := &mesos.CheckStatus{Type: kind}
	switch kind {
	case "COMMAND":
		s.Command = &struct {
			ExitCode *int `json:"exit_code,omitempty"`
		}{}
		if a.Err == nil || a.Code != 0 {
			s.Command.ExitCode = &a.Code
		}
	case "HTTP":
		s.HTTP = &struct {
			StatusCode *int `json:"status_code,omitempty"`
		}{}
		if a.Code != 0 {
			s.HTTP.StatusCode = &a.Code
		}
	case "TCP":
		ok := a.Err == nil
		s.TCP = &struct {
			Succeeded *bool `json:"succeeded,omitempty"`
		}{&ok}
	}
	return s
}
