package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStartGivesACleanPlace(t *testing.T) {
	// As under nohup from a careless parent: SIGHUP ignored, a file left open.
	spec := shell(t, `grep -E 'SigBlk|SigIgn' /proc/self/status; echo sid=$(cut -d' ' -f6 /proc/$$/stat) pid=$$
		echo fds=$(ls /proc/$$/fd | tr '\n' ' '); readlink /proc/$$/fd/0; cut -d' ' -f7,19 /proc/$$/stat; env; pwd; echo oops >&2`)
	spec.Env = []string{"PATH=/usr/bin:/bin", "TWICE=1", "HOWDAH_NODE=stale", "TWICE=2"}
	spec.Nice = 5
	cmd := exec.Command("/bin/sh", "-c", `trap "" HUP INT; exec 9</dev/null; exec "$@"`, "sh", os.Args[0], "helper-start", mustJSON(t, spec))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill9(cmd) })
	until(t, func() bool { b, _ := os.ReadFile(spec.Output); return strings.Contains(string(b), "oops") }, "no output")

	out := output(t, spec)
	for _, want := range []string{
		"SigBlk:\t0000000000000000", "fds=0 1 2", "/dev/null", fmt.Sprintf("0 %d\n", niceness(t, 5)), // tty, nice
		"HOWDAH_NODE=" + spec.Labels.Node + "\n", "HOWDAH_SERVICE=svc\n", "HOWDAH_INCARNATION=7\n", "TWICE=2\n", spec.Dir + "\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	// The C library keeps signals 32 to 34 for itself; make leaves 32 ignored.
	_, ign, _ := strings.Cut(out, "SigIgn:\t")
	if mask, err := strconv.ParseUint(ign[:16], 16, 64); err != nil || mask&^(7<<31) != 0 {
		t.Errorf("ignored signals %s", ign[:16])
	}
	if strings.Contains(out, "stale") {
		t.Errorf("stale label:\n%s", out)
	}
	var sid, pid int
	_, rest, _ := strings.Cut(out, "sid=")
	if n := scanInts(rest, &sid, &pid); n != 2 || sid != pid {
		t.Errorf("session %d of pid %d", sid, pid)
	}
}

func TestStartAppends(t *testing.T) {
	spec := shell(t, "echo again")
	for range 2 {
		if exit := waitExit(t, started(t, spec)); !exit.Success() {
			t.Fatal(exit)
		}
	}
	if got := output(t, spec); got != "again\nagain\n" {
		t.Errorf("got %q", got)
	}
}

func TestStartErrors(t *testing.T) {
	good := shell(t, "true")
	script := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(script, []byte("true"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		change func(*Spec)
		want   string
	}{
		{func(s *Spec) { s.Argv = nil }, "cannot start process: no command given"},
		{func(s *Spec) { s.Labels.Node = "" }, "cannot start sh: the labels name no node"},
		{func(s *Spec) { s.Output = "" }, "cannot start sh: no output file given"},
		{func(s *Spec) { s.Argv[0] = "nix"; s.Env = []string{"PATH=/bin"} }, "cannot start nix: no such program in PATH (/bin)"},
		{func(s *Spec) { s.Env = []string{} }, "cannot start sh: no such program: its environment has no PATH"},
		{func(s *Spec) { s.Argv[0] = "/nix" }, "cannot start /nix: no such file or directory"},
		{func(s *Spec) { s.Argv[0] = script }, "cannot start " + script + ": permission denied"},
		{func(s *Spec) { s.Output = "/nix/out" }, "cannot start sh: open /nix/out: no such file or directory"},
	} {
		spec := good
		spec.Argv = append([]string(nil), good.Argv...)
		tt.change(&spec)
		p, err := Start(spec)
		if err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
		if p != nil {
			p.Release()
		}
	}
}

func TestExits(t *testing.T) {
	for script, want := range map[string]string{
		"exit 0": "exit 0", "exit 200": "exit 200", "kill -9 $$": "killed by SIGKILL", "kill -15 $$": "killed by SIGTERM",
	} {
		p := started(t, shell(t, script))
		if exit := waitExit(t, p); exit.String() != want {
			t.Errorf("%s: got %s", script, exit)
		}
		if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("signal to the dead: %v", err)
		}
	}
	if got := (Exit{}).String(); got != "unknown" {
		t.Error(got)
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	p := started(t, shell(t, "sleep 60"))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	p.Release()
	if _, err := p.Wait(context.Background()); !errors.Is(err, ErrReleased) {
		t.Error(err)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, ErrReleased) {
		t.Error(err)
	}
	if !alive(p.Record().PID) {
		t.Error("release ended the process")
	}
}

func TestStop(t *testing.T) {
	ctx := context.Background()
	polite := shell(t, `trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.05; done`)
	p := started(t, polite)
	eventually(t, polite, "ready")
	if err := p.Signal(syscall.SIGSTOP); err != nil { // a stopped process has to hear it too
		t.Fatal(err)
	}
	if exit, err := p.Stop(ctx, time.Minute); err != nil || exit.String() != "exit 3" {
		t.Errorf("got %s, %v", exit, err)
	}
	if exit, err := p.Stop(ctx, time.Second); err != nil || exit.String() != "exit 3" {
		t.Errorf("again: got %s, %v", exit, err)
	}

	deaf := shell(t, `trap "echo heard" TERM; echo ready; while :; do sleep 0.05; done`)
	p = started(t, deaf)
	eventually(t, deaf, "ready")
	const grace = 3 * time.Second // a busy machine lets the shell run within it
	begin := time.Now()
	if exit, err := p.Stop(ctx, grace); err != nil || exit != sigkilled {
		t.Errorf("got %s, %v", exit, err)
	}
	if took := time.Since(begin); took < grace {
		t.Errorf("killed after %s", took)
	}
	if !strings.Contains(output(t, deaf), "heard") {
		t.Error("no SIGTERM before SIGKILL")
	}
}

// niceness is ours and some more; tests may run niced themselves.
func niceness(t *testing.T, more int) int {
	t.Helper()
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	return min(19, 20-raw+more) // the system call tells 20 minus the niceness
}
