package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/node/proc"
)

// TestServiceComesUp: files, gate, start, ready; the token is used up.
func TestServiceComesUp(t *testing.T) {
	h := newHub(t)
	svc := h.service("")
	svc.Files = []agentapi.File{{Path: h.path("svc", "conf", "a"), Content: "hello\n", OnChange: agentapi.ChangeRestart}}
	svc.Gates = []agentapi.Probe{{Message: "the other", Adapter: "file", Check: h.path("gate"), Every: 10 * time.Millisecond, Max: time.Minute}}
	h.serve(svc)
	h.agent()
	if got := h.state("gated").Message; !strings.HasPrefix(got, "waits for the other: ") {
		t.Errorf("message %q", got)
	}
	if got := h.lines("conf/a"); len(got) != 1 || got[0] != "hello" {
		t.Errorf("file %q", got)
	}
	if len(h.processes()) > 0 {
		t.Error("it was started before its gate opened")
	}
	h.write("gate", "open")
	st := h.state("ready")
	if want := fmt.Sprintf("%d yes", st.PID); len(h.lines("starts")) != 1 || h.lines("starts")[0] != want || st.Incarnation != 1 {
		t.Errorf("%q, want %q; %+v", h.lines("starts"), want, st)
	}
	if _, err := os.Stat(h.path("join.json")); err == nil {
		t.Error("the join file is still there")
	}
}

// TestGateHasAMaximum: then the service starts all the same.
func TestGateHasAMaximum(t *testing.T) {
	h := newHub(t)
	svc := h.service("")
	svc.Gates = []agentapi.Probe{{Message: "nobody", Adapter: "file", Check: h.path("never"), Every: 10 * time.Millisecond, Max: 200 * time.Millisecond}}
	h.serve(svc)
	h.agent()
	h.state("ready")
}

// TestExit: a service that ends is started again, after a pause, and says how
// it ended.
func TestExit(t *testing.T) {
	h := newHub(t)
	h.serve(h.service(`echo x >> starts; if [ $(wc -l < starts) -lt 3 ]; then echo "no luck"; exit 3; fi; touch ready; exec sleep 1000`))
	h.agent()
	h.tells("it failed", func(st api.ServiceStatus) bool {
		return st.State == "failed" && st.Message == "restarting in 1 s after 1 end in 10 minutes: exit 3: no luck"
	})
	st := h.state("ready")
	if len(h.lines("starts")) != 3 || st.Incarnation != 3 || st.Restarts != 2 || !strings.Contains(st.LastExit, "3") {
		t.Errorf("%d starts, %+v", len(h.lines("starts")), st)
	}
	_ = syscall.Kill(st.PID, syscall.SIGKILL)
	h.until("it is back", func() bool { return len(h.lines("starts")) == 4 && h.seen().State == "ready" })
}

// TestNotReadyInTime: it is stopped, and tried again.
func TestNotReadyInTime(t *testing.T) {
	h := newHub(t)
	svc := h.service(`echo x >> starts; exec sleep 1000`)
	svc.Ready.Max = 200 * time.Millisecond
	h.serve(svc)
	h.agent()
	h.tells("it is not ready", func(st api.ServiceStatus) bool {
		return st.State == "failed" && strings.HasPrefix(st.Message, "restarting in 1 s after 1 end in 10 minutes: not ready after 200ms: it is ready: ")
	})
	h.until("tried again", func() bool { return len(h.lines("starts")) == 2 })
}

func TestHealth(t *testing.T) {
	h := newHub(t)
	svc := h.service("")
	svc.Health = &agentapi.Probe{Message: "it answers", Adapter: "file", Check: h.path("svc", "ready"), Expect: `body == ""`, Every: 10 * time.Millisecond, Fails: 3}
	h.serve(svc)
	h.agent()
	h.state("ready")
	if err := os.WriteFile(h.path("svc", "ready"), []byte("sick"), 0o600); err != nil {
		t.Fatal(err)
	}
	if st := h.state("unhealthy"); st.Message != "it answers: not yet" {
		t.Errorf("%q", st.Message)
	}
	if err := os.WriteFile(h.path("svc", "ready"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.state("ready")
	if n := len(h.lines("starts")); n != 1 {
		t.Errorf("started %d times; a sick service is left to people", n)
	}
}

// TestSaid: what a program says of itself is shown while it runs; what is none of
// its business, or no condition, is not.
func TestSaid(t *testing.T) {
	h := newHub(t)
	svc := h.service("")
	svc.Conditions = h.path("svc", "conditions.json")
	svc.Health = &agentapi.Probe{Message: "it answers", Adapter: "file", Check: h.path("svc", "ready"), Expect: `body == ""`, Every: 10 * time.Millisecond, Fails: 3}
	said := func(text string) {
		t.Helper()
		if err := os.WriteFile(svc.Conditions, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(h.path("svc"), 0o700); err != nil {
		t.Fatal(err)
	}
	said(`[{"type": "Weakened", "status": true, "reason": "Host", "message": "no limits"}, {"type": "DataMissing", "status": true}, {"type": "not a type", "status": true}]`)
	h.serve(svc)
	h.agent()
	want := []api.Condition{{Type: "Weakened", Status: true, Reason: "Host", Message: "no limits"}}
	if diff := cmp.Diff(want, h.state("ready").Conditions); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]int{`[{"type": "A"}, {"type": "B"}]`: 2, "[" + strings.Repeat(`{"type": "A"},`, 29) + `{"type": "A"}]`: 20, "{": 0, "[]": 0} {
		said(`[{"type": "Other"}]`)
		h.until("the other is heard", func() bool { return len(h.seen().Conditions) == 1 })
		said(text)
		h.until(fmt.Sprintf("%.30s is heard", text), func() bool { return len(h.seen().Conditions) == want })
	}
	said(`[{"type": "Other"}]`)
	h.until("the other is heard", func() bool { return len(h.seen().Conditions) == 1 })
	if err := os.Remove(svc.Conditions); err != nil {
		t.Fatal(err)
	}
	h.until("nothing is said", func() bool { return len(h.seen().Conditions) == 0 })
}

// TestChange: another restart key restarts once, a reload file only reloads,
// a file of no effect is only written.
func TestChange(t *testing.T) {
	h := newHub(t)
	svc := h.service("")
	svc.Files = []agentapi.File{
		{Path: h.path("svc", "none"), Content: "1", OnChange: agentapi.ChangeNone}, {Path: h.path("svc", "reload"), Content: "1", OnChange: agentapi.ChangeReload},
	}
	svc.Reload = []string{"/bin/sh", "-c", "cat reload >> reloads; echo >> reloads"}
	h.serve(svc)
	h.agent()
	h.state("ready")
	steady := func(what string, starts, reloads int) {
		t.Helper()
		h.until(what, func() bool {
			return h.seen().State == "ready" && len(h.lines("starts")) == starts && len(h.lines("reloads")) == reloads
		})
		time.Sleep(200 * time.Millisecond)
		if a, b := len(h.lines("starts")), len(h.lines("reloads")); a != starts || b != reloads || h.seen().State != "ready" {
			t.Errorf("%s: %d starts and %d reloads, want %d and %d", what, a, b, starts, reloads)
		}
	}
	steady("start", 1, 0)
	svc.Files[0].Content = "2"
	h.serve(svc)
	h.until("the file is written", func() bool { l := h.lines("none"); return len(l) == 1 && l[0] == "2" })
	steady("none", 1, 0)
	svc.Files[1].Content = "2"
	h.serve(svc)
	steady("reload", 1, 1)
	svc.RestartKey = "two"
	h.serve(svc)
	steady("restart", 2, 1)
	h.serve(svc)
	steady("the same again", 2, 1)
}

// TestStop sweeps what the service started, and a start follows on it.
func TestStop(t *testing.T) {
	h := newHub(t)
	h.serve(h.service(`echo x >> starts; trap 'echo bye >> starts; exit' TERM; setsid sleep 999 & touch ready; while :; do sleep 0.05; done`))
	h.agent()
	h.state("ready")
	h.until("both run", func() bool { return len(h.processes()) >= 2 })
	h.assign(func(a *agentapi.Assignment) { a.Intent = agentapi.IntentStop })
	if st := h.state("stopped"); !st.Drained || st.PID != 0 {
		t.Errorf("%+v", st)
	}
	if got := strings.Join(h.lines("starts"), " "); got != "x bye" {
		t.Errorf("%q: it was not asked first", got)
	}
	if ps := h.processes(); len(ps) > 0 {
		t.Errorf("left running: %+v", ps)
	}
	h.assign(func(a *agentapi.Assignment) { a.Intent = agentapi.IntentRun })
	h.state("ready")
}

func TestStopKillsTheDeaf(t *testing.T) {
	h := newHub(t)
	svc := h.service(`trap '' TERM; touch ready; while :; do sleep 0.05; done`)
	svc.Stop.Grace = 200 * time.Millisecond
	h.serve(svc)
	h.agent()
	h.state("ready")
	h.assign(func(a *agentapi.Assignment) { a.Intent = agentapi.IntentStop })
	h.state("stopped")
	if ps := h.processes(); len(ps) > 0 {
		t.Errorf("left running: %+v", ps)
	}
}

// TestGone: a service that is no longer assigned ends.
func TestGone(t *testing.T) {
	h := newHub(t)
	h.serve(h.service(""))
	h.agent()
	h.state("ready")
	h.assign(func(a *agentapi.Assignment) { a.Services = nil })
	h.until("it ended", func() bool { return len(h.processes()) == 0 })
}

func TestDrain(t *testing.T) {
	h := newHub(t)
	svc := h.service("")
	svc.Drained = &agentapi.Probe{Message: "it is empty", Adapter: "file", Check: h.path("empty"), Every: 10 * time.Millisecond}
	h.serve(svc)
	h.agent()
	if h.state("ready").Drained {
		t.Error("drained before it was asked")
	}
	h.assign(func(a *agentapi.Assignment) { a.Intent = agentapi.IntentDrain })
	h.until("it drains", func() bool { return strings.HasPrefix(h.seen().Message, "draining: it is empty: ") })
	if h.seen().Drained {
		t.Error("drained while it holds something")
	}
	h.write("empty", "")
	h.until("it is drained", func() bool { return h.seen().Drained && h.seen().State == "ready" })
	// One that ends by itself while draining is not started again.
	_ = syscall.Kill(h.seen().PID, syscall.SIGKILL)
	h.state("stopped")
	if n := len(h.lines("starts")); n != 1 {
		t.Errorf("started %d times", n)
	}
}

// TestAdoption: services outlive their agent; the next one takes them up,
// also when it cannot reach the server.
func TestAdoption(t *testing.T) {
	h := newHub(t)
	h.serve(h.service(""))
	stop := h.agent()
	st := h.state("ready")
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if ps := h.processes(); len(ps) != 1 || ps[0].PID != st.PID {
		t.Fatalf("after the agent: %+v", ps)
	}
	stop = h.agent()
	h.until("a second connection", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.watches == 2 && h.report.Incarnation == 2 })
	if now := h.state("ready"); now.PID != st.PID || now.Incarnation != 1 || len(h.lines("starts")) != 1 {
		t.Errorf("was %+v, is %+v", st, now)
	}
	// It ends while no agent looks: the next one starts it, without a server.
	_ = stop()
	_ = syscall.Kill(st.PID, syscall.SIGKILL)
	h.http.Listener.Close()
	h.http.CloseClientConnections()
	h.agent()
	h.until("it is started again", func() bool { return len(h.lines("starts")) == 2 })
}

// TestStartNotRecorded: an agent killed between a start and its record finds
// the process by its labels.
func TestStartNotRecorded(t *testing.T) {
	h := newHub(t)
	h.serve(h.service(""))
	stop := h.agent()
	st := h.state("ready")
	_ = stop()
	file := h.path("agent", "services", "svc.json")
	var rec record
	if err := readJSON(file, &rec); err != nil {
		t.Fatal(err)
	}
	rec.Process, rec.Ready = nil, false
	h.write("agent/services/svc.json", rec)
	h.agent()
	h.until("a second connection", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.report.Incarnation == 2 })
	if now := h.state("ready"); now.PID != st.PID || len(h.lines("starts")) != 1 {
		t.Errorf("was %+v, is %+v, %d starts", st, now, len(h.lines("starts")))
	}
}

// TestFenced: an agent that a newer one replaced ends; two cannot be.
func TestFenced(t *testing.T) {
	h := newHub(t)
	h.serve(h.service(""))
	stop := h.agent()
	h.state("ready")
	if err := Run(context.Background(), Config{Dir: h.dir}); !errors.Is(err, ErrRunning) {
		t.Error(err)
	}
	h.mu.Lock()
	h.fenced = true
	h.mu.Unlock()
	h.assign(func(*agentapi.Assignment) {})
	h.until("the agent ends by itself", func() bool { return len(h.ended) > 0 })
	if err := stop(); !errors.Is(err, ErrFenced) {
		t.Error(err)
	}
	if ps, err := proc.List(h.node); err != nil || len(ps) != 1 {
		t.Errorf("%v %v", ps, err)
	}
}

// TestPortTaken says by whom.
func TestPortTaken(t *testing.T) {
	h := newHub(t)
	svc := h.service("")
	svc.Ports = []agentapi.Port{{Name: "main", Address: h.http.Listener.Addr().String()}}
	h.serve(svc)
	h.agent()
	st := h.state("failed")
	if want := fmt.Sprintf("cannot start svc: port %s (main) is taken by pid %d (", h.http.Listener.Addr(), os.Getpid()); !strings.HasPrefix(st.Message, want) {
		t.Errorf("%q, want %q", st.Message, want)
	}
	// Each failure in a row makes the next try wait longer.
	h.tells("it waits longer", func(s api.ServiceStatus) bool { return strings.HasSuffix(s.Message, "trying again in 4 s") })
}

// TestOwnLog: the agent keeps its own log small while others append to it.
func TestOwnLog(t *testing.T) {
	h := newHub(t)
	log := h.path("agent", "agent.log")
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, make([]byte, proc.MaxOwnLog+1), 0o600); err != nil {
		t.Fatal(err)
	}
	h.agent()
	h.until("the log is rotated", func() bool {
		old, err := os.Stat(log + ".1")
		now, nowErr := os.Stat(log)
		return err == nil && nowErr == nil && old.Size() > proc.MaxOwnLog-8192 && now.Size() <= 8192
	})
}

// TestStopSignal: a program that ends on another signal has all its time after
// it; nothing else is sent before it is killed.
func TestStopSignal(t *testing.T) {
	for _, sig := range []string{"INT", "QUIT"} {
		t.Run(sig, func(t *testing.T) {
			h := newHub(t)
			svc := h.service(`trap 'echo TERM >> got; exit 1' TERM
trap 'echo ` + sig + ` >> got; sleep 0.3; echo end >> got; exit 0' ` + sig + `
touch ready
while :; do sleep 0.05; done`)
			svc.Stop.Signal = sig
			h.serve(svc)
			h.agent()
			h.state("ready")
			h.assign(func(a *agentapi.Assignment) { a.Intent = agentapi.IntentStop })
			h.state("stopped")
			if got := strings.Join(h.lines("got"), " "); got != sig+" end" {
				t.Errorf("the program got %s", got)
			}
		})
	}
}

// TestReadyOfThisStart: what is still known of an earlier life of the program
// does not make it ready.
func TestReadyOfThisStart(t *testing.T) {
	h := newHub(t)
	svc := h.service("exec sleep 1000")
	svc.Ready.Check = h.path("heard")
	svc.Ready.Expect = "int(body) >= started"
	heard := func(at time.Time) {
		if err := os.WriteFile(h.path("heard"), fmt.Append(nil, at.UnixMilli()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	heard(time.Now().Add(-time.Hour))
	h.serve(svc)
	h.agent()
	h.until("the start waits", func() bool { return strings.HasSuffix(h.seen().Message, "it is ready: not yet") })
	heard(time.Now())
	h.state("ready")
}

// TestSecretFiles: they are their owner's only, and follow the assignment
// without a restart.
func TestSecretFiles(t *testing.T) {
	h := newHub(t)
	svc := h.service("")
	file := h.path("svc", "conf", "key")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	holds := func(want string) bool {
		text, err := os.ReadFile(file)
		info, statErr := os.Stat(file)
		return err == nil && statErr == nil && string(text) == want && info.Mode().Perm() == 0o600
	}
	svc.Secrets = []agentapi.Secret{{Path: file, Kind: "shared", Name: "key", Content: "one"}}
	h.serve(svc)
	h.agent()
	h.state("ready")
	if !holds("one") {
		t.Error("the file is not as it should be")
	}
	svc.Secrets = []agentapi.Secret{{Path: file, Kind: "shared", Name: "key", Content: "two"}}
	h.serve(svc)
	h.until("the new secret is there", func() bool { return holds("two") })
	h.state("ready")
	if n := len(h.lines("starts")); n != 1 {
		t.Errorf("%d starts", n)
	}
}
