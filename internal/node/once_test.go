package node

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/node/proc"
)

// formatted is a service with a one-time task that leaves data/VERSION, and
// notes when it finds remains of an earlier run.
func (h *hub) formatted(script string) agentapi.Service {
	svc := h.service("")
	svc.Init = []agentapi.InitTask{{
		Name: "format", Cluster: true, Evidence: h.path("svc", "data", "VERSION"), Wipe: h.path("svc", "data"), Timeout: time.Minute,
		Argv: []string{"/bin/sh", "-c", "test -e data/half && echo dirty >> formats; echo run >> formats; touch data/half; " + script},
	}}
	return svc
}

func TestOnce(t *testing.T) {
	h := newHub(t)
	h.permit = agentapi.PermitWait
	h.serve(h.formatted("touch data/VERSION"))
	stop := h.agent()
	if st := h.state("gated"); st.Message != "waits for n2 to run format" {
		t.Errorf("%q", st.Message)
	}
	h.mu.Lock()
	h.permit = agentapi.PermitRun
	h.mu.Unlock()
	h.state("ready")
	h.until("it is reported done", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.Equal(h.report.Done, []string{"svc/format"})
	})
	if got := strings.Join(h.lines("formats"), " "); got != "run" {
		t.Errorf("%q", got)
	}
	// Neither a restart of the service nor of the agent asks again.
	h.mu.Lock()
	asked := len(h.asked)
	h.mu.Unlock()
	h.assign(func(a *agentapi.Assignment) { a.Services[0].RestartKey = "two" })
	h.until("restarted", func() bool { return len(h.lines("starts")) == 2 && h.seen().State == "ready" })
	_ = stop()
	h.agent()
	h.assign(func(a *agentapi.Assignment) { a.Services[0].RestartKey = "three" })
	h.until("restarted", func() bool { return len(h.lines("starts")) == 3 && h.seen().State == "ready" })
	if len(h.asked) != asked || len(h.lines("formats")) != 1 {
		t.Errorf("asked %v, ran %v", h.asked, h.lines("formats"))
	}
}

// TestOnceKilled: what a killed task left is wiped, and it runs again.
func TestOnceKilled(t *testing.T) {
	h := newHub(t)
	h.serve(h.formatted("while ! test -e go; do sleep 0.02; done; touch data/VERSION"))
	h.agent()
	h.until("it runs", func() bool { return len(h.lines("formats")) == 1 })
	if _, err := proc.Sweep(context.Background(), proc.Labels{Node: h.node, Service: "svc-format"}, 0); err != nil {
		t.Fatal(err)
	}
	h.tells("it failed", func(s api.ServiceStatus) bool { return strings.HasPrefix(s.Message, "svc/format failed (") })
	h.write("svc/go", "")
	h.state("ready")
	if got := strings.Join(h.lines("formats"), " "); got != "run run" {
		t.Errorf("%q; the second run must find nothing of the first", got)
	}
}

// TestOnceOutlivesAgent: a task that runs when the agent ends is taken up, not
// begun again.
func TestOnceOutlivesAgent(t *testing.T) {
	h := newHub(t)
	h.serve(h.formatted("while ! test -e go; do sleep 0.02; done; touch data/VERSION"))
	stop := h.agent()
	h.until("it runs", func() bool { return len(h.lines("formats")) == 1 })
	_ = stop()
	h.agent()
	time.Sleep(300 * time.Millisecond)
	h.write("svc/go", "")
	h.state("ready")
	if got := strings.Join(h.lines("formats"), " "); got != "run" {
		t.Errorf("%q", got)
	}
}

// TestDataMissing: once done, never done again, whoever remembers it.
func TestDataMissing(t *testing.T) {
	for _, who := range []string{"agent", "server"} {
		t.Run(who, func(t *testing.T) {
			h := newHub(t)
			h.serve(h.formatted("touch data/VERSION"))
			stop := h.agent()
			h.state("ready")
			h.assign(func(a *agentapi.Assignment) { a.Intent = agentapi.IntentStop })
			h.state("stopped")
			_ = stop()
			if err := os.RemoveAll(h.path("svc", "data")); err != nil {
				t.Fatal(err)
			}
			if who == "server" {
				if err := os.RemoveAll(h.path("agent", "services")); err != nil {
					t.Fatal(err)
				}
				h.permit = agentapi.PermitDone
			}
			h.agent()
			h.assign(func(a *agentapi.Assignment) { a.Intent = agentapi.IntentRun })
			st := h.state("blocked")
			text := "format has been done for this cluster, but " + h.path("svc", "data", "VERSION") + " is not there; restore the directory, or delete the cluster"
			if st.Message != "DataMissing: "+text || len(st.Conditions) != 1 || st.Conditions[0].Type != api.ConditionDataMissing || st.Conditions[0].Message != text {
				t.Errorf("%+v", st)
			}
			time.Sleep(300 * time.Millisecond)
			if len(h.lines("formats")) != 1 || len(h.lines("starts")) != 1 {
				t.Errorf("formatted %v, started %v", h.lines("formats"), h.lines("starts"))
			}
			// The data is back: the service is, too.
			if err := os.MkdirAll(h.path("svc", "data"), 0o700); err != nil {
				t.Fatal(err)
			}
			h.write("svc/data/VERSION", "")
			if st := h.state("ready"); len(st.Conditions) != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

func (h *hub) work(task agentapi.Task) {
	h.assign(func(a *agentapi.Assignment) { a.Tasks = []agentapi.Task{task} })
}

func (h *hub) taskUntil(state agentapi.TaskState) agentapi.TaskStatus {
	h.t.Helper()
	var st agentapi.TaskStatus
	h.until("the task is "+string(state), func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.report.Tasks) == 0 {
			return false
		}
		st = h.report.Tasks[0]
		return st.State == state
	})
	return st
}

// TestTask runs commands and probes in order and finds a value in the output.
func TestTask(t *testing.T) {
	h := newHub(t)
	h.agent()
	dir := h.path("task")
	h.work(agentapi.Task{
		ID: "t1", Title: "work", Dir: dir, Timeout: time.Minute, Env: map[string]string{"X": "7"},
		Files: []agentapi.File{{Path: dir + "/in", Content: "text"}},
		Steps: []agentapi.TaskStep{
			{Title: "submit", Argv: []string{"/bin/sh", "-c", "cat in; echo; echo id=job_$X more"}, Capture: "id=([a-z_0-9]+)"},
			{Title: "wait", Probe: &agentapi.Probe{Adapter: "file", Check: dir + "/in"}},
			{Title: "end", Argv: []string{"/bin/sh", "-c", "echo bye"}},
		},
	})
	st := h.taskUntil(agentapi.TaskDone)
	if st.Value != "job_7" || st.Output != "text\nid=job_7 more\nbye\n" || st.Step != "end" || st.Ended.IsZero() {
		t.Errorf("%+v", st)
	}
}

func TestTaskFails(t *testing.T) {
	for _, tt := range []struct {
		name, script, capture, want string
		timeout                     time.Duration
	}{
		{"exit", "echo first; echo why >&2; exit 4", "", "step: exit 4: why", time.Minute},
		{"nothing found", "echo hello", "id=.*", "step: it printed nothing that looks like id=.*", time.Minute},
		{"time", "sleep 100", "", "step: not finished after 300ms", 300 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHub(t)
			h.agent()
			h.work(agentapi.Task{ID: "t1", Dir: h.path("task"), Timeout: tt.timeout, Steps: []agentapi.TaskStep{{Title: "step", Argv: []string{"/bin/sh", "-c", tt.script}, Capture: tt.capture}}})
			if st := h.taskUntil(agentapi.TaskFailed); st.Message != tt.want {
				t.Errorf("%q, want %q", st.Message, tt.want)
			}
			if ps := h.processes(); len(ps) > 0 {
				t.Errorf("left running: %+v", ps)
			}
		})
	}
}

func TestTaskCancel(t *testing.T) {
	h := newHub(t)
	h.agent()
	task := agentapi.Task{ID: "t1", Dir: h.path("task"), Timeout: time.Minute, Steps: []agentapi.TaskStep{{Title: "step", Argv: []string{"sleep", "100"}}}}
	h.work(task)
	h.until("it runs", func() bool { return len(h.processes()) > 0 })
	task.Cancel = true
	h.work(task)
	if st := h.taskUntil(agentapi.TaskFailed); st.Message != "cancelled" {
		t.Errorf("%+v", st)
	}
	if ps := h.processes(); len(ps) > 0 {
		t.Errorf("left running: %+v", ps)
	}
}

// TestTaskOutlivesAgent: a command is taken up, not begun again.
func TestTaskOutlivesAgent(t *testing.T) {
	h := newHub(t)
	stop := h.agent()
	dir := h.path("task")
	h.work(agentapi.Task{ID: "t1", Dir: dir, Timeout: time.Minute, Steps: []agentapi.TaskStep{
		{Title: "once", Argv: []string{"/bin/sh", "-c", "echo run >> runs; while ! test -e go; do sleep 0.02; done"}}, {Title: "count", Argv: []string{"cat", "runs"}},
	}})
	h.until("it runs", func() bool { _, err := os.Stat(dir + "/runs"); return err == nil })
	_ = stop()
	h.agent()
	time.Sleep(200 * time.Millisecond)
	h.write("task/go", "")
	if st := h.taskUntil(agentapi.TaskDone); st.Output != "run\n" {
		t.Errorf("%q", st.Output)
	}
}
