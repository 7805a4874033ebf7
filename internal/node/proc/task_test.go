package proc

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func wantState(t *testing.T, rec Record, file string, want TaskStatus) {
	t.Helper()
	if got, err := TaskState(rec, file); err != nil || got != want {
		t.Errorf("task is %+v, %v; want %+v", got, err, want)
	}
}

func untilEnded(t *testing.T, rec Record, file string) {
	t.Helper()
	until(t, func() bool { s, err := TaskState(rec, file); return err == nil && s.Phase != TaskRunning }, "task does not end")
}

var running, interrupted = TaskStatus{Phase: TaskRunning}, TaskStatus{Phase: TaskInterrupted}

func exited(code int) TaskStatus {
	return TaskStatus{Phase: TaskExited, Exit: Exit{Known: true, Code: code}}
}

func TestTaskOutlivesItsStarter(t *testing.T) {
	spec := shell(t, `trap "exit 77" USR1; echo ready; while :; do sleep 0.02; done`)
	file := filepath.Join(t.TempDir(), "exit")
	helper, rec := starter(t, "helper-task", spec, file)
	eventually(t, spec, "ready")
	wantState(t, rec, file, running)
	kill9(helper)
	time.Sleep(50 * time.Millisecond)
	wantState(t, rec, file, running)
	if found, ok := Find(spec.Labels); !ok || found != rec {
		t.Errorf("found %v, want %v", found, rec)
	}
	p, ok := Adopt(rec)
	if !ok {
		t.Fatal("not adopted")
	}
	if err := p.Signal(syscall.SIGUSR1); err != nil { // passed on
		t.Fatal(err)
	}
	if exit := waitExit(t, p); tellsExits(t) && exit.String() != "exit 77" {
		t.Errorf("wrapper: %s", exit)
	}
	wantState(t, rec, file, exited(77))
	wantState(t, Record{Labels: spec.Labels}, file, exited(77)) // the record was never written

	other := rec
	other.StartTicks++
	wantState(t, other, file, interrupted) // an earlier run's file
	other = Record{Labels: spec.Labels}
	other.Incarnation++
	wantState(t, other, file, interrupted)
	if entries, _ := os.ReadDir(filepath.Dir(file)); len(entries) != 1 {
		t.Errorf("left in the directory: %v", entries)
	}
}

func TestTaskInterrupted(t *testing.T) {
	spec := shell(t, `echo ready; exec sleep 61`)
	file := filepath.Join(t.TempDir(), "exit")
	p, err := StartTask(Task{Spec: spec, ExitFile: file})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	eventually(t, spec, "ready")
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitExit(t, p)
	wantState(t, p.Record(), file, interrupted)
	until(t, func() bool { infos, err := List(spec.Labels.Node); return err == nil && len(infos) == 0 }, "the command goes on")
}

func TestTaskExits(t *testing.T) {
	for _, tt := range []struct {
		script string
		want   Exit
		code   int
	}{
		{"exit 0", Exit{Known: true}, 0},
		{"exit 5", Exit{Known: true, Code: 5}, 5},
		{"kill -9 $$", sigkilled, 137},
	} {
		spec := shell(t, tt.script)
		file := filepath.Join(t.TempDir(), "exit")
		if err := os.WriteFile(file, []byte("stale"), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := StartTask(Task{Spec: spec, ExitFile: file})
		if err != nil {
			t.Fatal(err)
		}
		if exit := waitExit(t, p); exit.Code != tt.code {
			t.Errorf("%s: wrapper %s", tt.script, exit)
		}
		wantState(t, p.Record(), file, TaskStatus{Phase: TaskExited, Exit: tt.want})
	}
}

func TestTaskStops(t *testing.T) {
	spec := shell(t, `trap "exit 4" TERM; echo ready; while :; do sleep 0.02; done`)
	file := filepath.Join(t.TempDir(), "exit")
	p, err := StartTask(Task{Spec: spec, ExitFile: file})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, spec, "ready")
	if exit, err := p.Stop(context.Background(), time.Minute); err != nil || exit.Code != 4 {
		t.Errorf("got %s, %v", exit, err)
	}
	wantState(t, p.Record(), file, exited(4))
}

func TestTaskThatCannotRun(t *testing.T) {
	spec := shell(t, "echo ran")
	file := filepath.Join(t.TempDir(), "missing", "exit")
	p, err := StartTask(Task{Spec: spec, ExitFile: file})
	if err != nil {
		t.Fatal(err)
	}
	if exit := waitExit(t, p); exit.Code != codeNoRecord {
		t.Errorf("got %s", exit)
	}
	wantState(t, p.Record(), file, interrupted)
	if out := output(t, spec); strings.Contains(out, "ran") || !strings.Contains(out, "howdah: cannot record exit of /") {
		t.Errorf("output %q", out)
	}

	spec = shell(t, "")
	spec.Argv = []string{"/nix"}
	file = filepath.Join(t.TempDir(), "exit")
	if p, err = StartTask(Task{Spec: spec, ExitFile: file}); err != nil {
		t.Fatal(err)
	}
	untilEnded(t, p.Record(), file)
	wantState(t, p.Record(), file, exited(codeNoCommand))
	waitExit(t, p)

	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := TaskState(p.Record(), file); err == nil || !strings.HasPrefix(err.Error(), "cannot read exit of task ") {
		t.Errorf("got %v", err)
	}
	if _, err := StartTask(Task{Spec: Spec{Argv: []string{"nix"}}}); err == nil || !strings.HasPrefix(err.Error(), "cannot start task nix: no such program in PATH") {
		t.Errorf("got %v", err)
	}
}
