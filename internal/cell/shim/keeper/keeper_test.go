package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/shim/shimtest"
	"howdah.dev/howdah/internal/node/proc"
)

const node = "keeper-test"

// task is one task of a test: its folders and how to start it.
type task struct {
	t       *testing.T
	program string
	spec    Spec
}

func newTask(t *testing.T, program, id, line string) *task {
	t.Helper()
	dir := t.TempDir()
	state, sandbox := filepath.Join(dir, "state"), filepath.Join(dir, "sandbox")
	for _, d := range []string{state, sandbox} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	id = strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + id
	env := append(Labels(node, id).Env(), "PATH=/usr/bin:/bin")
	k := &task{t: t, program: program, spec: Spec{Program: program, Dir: state, Node: node, Config: shim.Config{
		ID: id, Sandbox: sandbox, Grace: 5 * time.Second, KillTree: true,
		Logs:    shim.Logs{MaxBytes: 64 << 10, Keep: 2, BytesPerSecond: 64 << 20},
		Command: &shim.Command{Argv: []string{"sh", "-c", line}, Env: env, Dir: sandbox},
	}}}
	t.Cleanup(func() {
		if killed, _ := proc.Sweep(context.Background(), Labels(node, id), 0); len(killed) > 0 && !t.Failed() {
			t.Errorf("%d processes of the task were left", len(killed))
		}
	})
	return k
}

func (k *task) start() *Shim {
	k.t.Helper()
	s, err := Start(k.t.Context(), k.spec)
	if err != nil {
		k.t.Fatal(err)
	}
	return s
}

func (k *task) output(name string) string {
	text, _ := os.ReadFile(filepath.Join(k.spec.Config.Sandbox, name))
	return string(text)
}

// until waits for a condition, at most a minute.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in a minute: %s", what)
		}
	}
}

func wait(t *testing.T, s *Shim) shim.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	exit, err := s.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return exit
}

func TestEndings(t *testing.T) {
	program := shimtest.Build(t)
	tests := []struct {
		name, line string
		kill       time.Duration // -1: not asked to end
		want       shim.Exit
	}{
		{name: "success", line: "true", kill: -1},
		{name: "exit code", line: "echo out; echo err >&2; exit 42", kill: -1, want: shim.Exit{ExitCode: 42}},
		{name: "signal of its own", line: "kill -SEGV $$", kill: -1, want: shim.Exit{Signal: 11}},
		{name: "term", line: "echo up; sleep 100", kill: time.Minute, want: shim.Exit{Signal: 15, Killed: true}},
		{name: "ends in order", line: "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done", kill: time.Minute, want: shim.Exit{ExitCode: 7, Killed: true}},
		{name: "does not listen", line: "trap '' TERM; echo up; while :; do sleep 0.01; done", kill: 50 * time.Millisecond, want: shim.Exit{Signal: 9, Killed: true}},
		{name: "leaves children", line: "setsid sleep 1000 & (setsid sleep 1000 &) ; exit 3", kill: -1, want: shim.Exit{ExitCode: 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newTask(t, program, "", tt.line)
			s := k.start()
			if tt.kill >= 0 {
				until(t, "the task runs", func() bool { return k.output("stdout") != "" })
				for range 2 { // asked twice, nothing changes
					if err := s.Kill(tt.kill); err != nil {
						t.Fatal(err)
					}
				}
			}
			got := wait(t, s)
			if got.ExitCode != tt.want.ExitCode || got.Signal != tt.want.Signal || got.Killed != tt.want.Killed || got.Error != "" {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if got.EndedAt.Before(got.StartedAt) || got.StartedAt.IsZero() {
				t.Errorf("from %v to %v", got.StartedAt, got.EndedAt)
			}
			if tt.name == "exit code" && (k.output("stdout") != "out\n" || k.output("stderr") != "err\n") {
				t.Errorf("output %q, %q", k.output("stdout"), k.output("stderr"))
			}
		})
	}
}

func TestNotStarted(t *testing.T) {
	program := shimtest.Build(t)
	tests := []struct {
		name   string
		change func(*shim.Config)
		want   string
	}{
		{"no program", func(c *shim.Config) { c.Command.Argv[0] = "no-such-program" }, "cannot start no-such-program: no such program in PATH (/usr/bin:/bin)"},
		{"no file", func(c *shim.Config) { c.Command.Argv[0] = "./app" }, "cannot start ./app: no such file or directory"},
		{"no folder", func(c *shim.Config) { c.Command.Dir = "/no/such" }, "cannot enter the task's folder: chdir /no/such: no such file or directory"},
		{"no command", func(c *shim.Config) { c.Command.Argv = nil }, "cannot start the task: no command given"},
		{"no group", func(c *shim.Config) {
			c.Cgroup = &cgroup.Group{Version: 1, Dirs: map[string]string{"pids": "/no/such"}}
		}, "cannot set control group: open /no/such/tasks: no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newTask(t, program, "", "true")
			tt.change(&k.spec.Config)
			if got := wait(t, k.start()); got.Error != tt.want {
				t.Errorf("got  %q\nwant %q", got.Error, tt.want)
			}
		})
	}
}

// TestFindAgain is a worker that comes back: the task's processes are the same and
// its exit code is known, whether it ended before or after.
func TestFindAgain(t *testing.T) {
	program := shimtest.Build(t)
	k := newTask(t, program, "", "echo up; while [ ! -e end ]; do sleep 0.01; done; exit 42")
	s := k.start()
	pid := s.PID()
	first, _ := s.Started()
	s.Release()

	again, err := Find(t.Context(), k.spec.Dir, node)
	if err != nil {
		t.Fatal(err)
	}
	second, ok := again.Started()
	if again.PID() != pid || !ok || second != first {
		t.Fatalf("found shim %d and %+v, want %d and %+v", again.PID(), second, pid, first)
	}
	if err := os.WriteFile(filepath.Join(k.spec.Config.Sandbox, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if exit := wait(t, again); exit.ExitCode != 42 {
		t.Errorf("exit %+v", exit)
	}
	_, _ = syscall.Wait4(pid, nil, 0, nil) // released, so ours to collect
	late, err := Find(t.Context(), k.spec.Dir, node)
	if err != nil {
		t.Fatal(err)
	}
	if exit := wait(t, late); exit.ExitCode != 42 {
		t.Errorf("found after its end: %+v", exit)
	}
}

func TestFindNever(t *testing.T) {
	program := shimtest.Build(t)
	k := newTask(t, program, "", "true")
	if _, err := Find(t.Context(), k.spec.Dir, node); !errors.Is(err, ErrNever) {
		t.Fatalf("without anything: %v", err)
	}
	// The configuration is written, the shim is only just starting.
	if err := shim.Write(k.spec.Dir, shim.ConfigFile, k.spec.Config, false); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(t.Context(), k.spec.Dir, node); !errors.Is(err, ErrNever) {
		t.Fatalf("before it took the lock: %v", err)
	}
	late := exec.Command(program, "run", k.spec.Dir)
	out, err := late.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "cannot claim the task: it has ended") {
		t.Errorf("a late shim: %v %s", err, out)
	}
}

func TestShimKilled(t *testing.T) {
	program := shimtest.Build(t)
	k := newTask(t, program, "", "sleep 1000 & (setsid sleep 1001 &); echo up; wait")
	s := k.start()
	until(t, "the task runs", func() bool { return k.output("stdout") != "" })
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	exit := wait(t, s)
	if want := "its shim was killed; the task was ended with it, but for processes without its environment: there are no control groups to find them by"; exit.Error != want {
		t.Errorf("got %q, want %q", exit.Error, want)
	}
	left, err := proc.List(node)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(left, func(i proc.Info) bool { return i.Service == "task-"+k.spec.Config.ID }) {
		t.Errorf("left: %+v", left)
	}
}

// TestExecUnread: a command that does not read its input ends with its caller all the
// same, and one that reads late gets all of it.
func TestExecUnread(t *testing.T) {
	program := shimtest.Build(t)
	for _, tty := range []bool{false, true} {
		t.Run(fmt.Sprintf("terminal %v", tty), func(t *testing.T) {
			k := newTask(t, program, "", "echo up; sleep 1000")
			s := k.start()
			until(t, "the task runs", func() bool { return k.output("stdout") != "" })
			e, err := s.Client().Exec(t.Context(), shim.ExecRequest{Argv: []string{"/bin/sh", "-c", "echo $$ > pid; exec sleep 1000"}, Tty: tty})
			if err != nil {
				t.Fatal(err)
			}
			var pid int
			until(t, "the command runs", func() bool {
				n, _ := fmt.Sscan(k.output("pid"), &pid)
				return n == 1
			})
			ended := make(chan struct{})
			go func() { // until it is held back, then until it is closed
				defer close(ended)
				for e.Send(shim.FrameStdin, bytes.Repeat([]byte("0123456\n"), 8<<10)) == nil {
				}
			}()
			time.Sleep(100 * time.Millisecond)
			e.Close()
			<-ended
			until(t, "the command ends", func() bool { return syscall.Kill(pid, 0) != nil })
			if err := s.Kill(0); err != nil {
				t.Fatal(err)
			}
			wait(t, s)
		})
	}
	k := newTask(t, program, "late", "echo up; sleep 1000")
	s := k.start()
	until(t, "the task runs", func() bool { return k.output("stdout") != "" })
	e, err := s.Client().Exec(t.Context(), shim.ExecRequest{Argv: []string{"/bin/sh", "-c", "sleep 2.5; wc -c"}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	go func() {
		for range 16 {
			_ = e.Send(shim.FrameStdin, make([]byte, 64<<10))
		}
		_ = e.Send(shim.FrameStdin, nil)
	}()
	var out string
	for kind := byte(0); kind != shim.FrameExit; {
		var data []byte
		if kind, data, err = e.Next(); err != nil {
			t.Fatal(err)
		}
		out += string(data)
	}
	if out != "1048576\n0" {
		t.Errorf("read late: %q", out)
	}
	if err := s.Kill(0); err != nil {
		t.Fatal(err)
	}
	wait(t, s)
}

// newTaskInGroup is a task with a control group of its own, which goes with the test.
func newTaskInGroup(t *testing.T, script string) (*task, cgroup.Group) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("control groups need root")
	}
	parent, err := cgroup.Find("/sys/fs/cgroup", "/proc/self/cgroup", "keeper-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(parent.Remove)
	k := newTask(t, shimtest.Build(t), "", script)
	g := parent.Group(k.spec.Config.ID)
	if err := g.Create(cgroup.Limits{Memory: 256 << 20, CPUShares: 64, Pids: 50}); err != nil {
		t.Fatal(err)
	}
	k.spec.Config.Cgroup = &g
	return k, g
}

// TestShimKilledInGroup: what a task started and stripped of all that tells whose it is
// ends with a killed shim, where there are control groups.
func TestShimKilledInGroup(t *testing.T) {
	k, _ := newTaskInGroup(t, "env -i setsid sh -c 'echo $$ > daemon; exec sleep 1005' & sleep 1006")
	s := k.start()
	var pid int
	until(t, "the daemon runs", func() bool {
		n, _ := fmt.Sscan(k.output("daemon"), &pid)
		return n == 1
	})
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit, want := wait(t, s), "its shim was killed; the task was ended with it"; exit.Error != want {
		t.Errorf("got %q, want %q", exit.Error, want)
	}
	// It is not our child: a zombie is for others to collect.
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(text), ") Z ") {
		t.Errorf("the daemon lives on: %s", text)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// TestWhoIsInTheGroup: the command and what it starts are, with each controller; the shim
// is not, nor one of its threads: it must live when the task has no memory left.
func TestWhoIsInTheGroup(t *testing.T) {
	k, g := newTaskInGroup(t, "sleep 1007 & echo $! > child; wait")
	s := k.start()
	var child int
	until(t, "the command has a child", func() bool {
		n, _ := fmt.Sscan(k.output("child"), &child)
		return n == 1
	})
	started, _ := s.Started()
	want := []int{started.PID, child}
	slices.Sort(want)
	for controller, dir := range g.Dirs {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		var got []int
		for f := range strings.FieldsSeq(string(text)) {
			pid, _ := strconv.Atoi(f)
			got = append(got, pid)
		}
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: in the group are %v, want %v (the shim is %d): %v", controller, got, want, s.PID(), err)
		}
	}
	if err := s.Kill(0); err != nil {
		t.Fatal(err)
	}
	wait(t, s)
}

func TestEndlessLog(t *testing.T) {
	program := shimtest.Build(t)
	k := newTask(t, program, "", "while :; do echo 0123456789012345678901234567890123456789; done & wait")
	if err := os.Symlink("/etc/passwd", filepath.Join(k.spec.Config.Sandbox, "stdout")); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	s := k.start()
	until(t, "the log was put aside three times", func() bool {
		// The task's symbolic link was put aside too, and fell off at the end.
		info, err := os.Lstat(filepath.Join(k.spec.Config.Sandbox, "stdout.2"))
		return err == nil && info.Mode().IsRegular()
	})
	if err := s.Kill(0); err != nil {
		t.Fatal(err)
	}
	wait(t, s)
	if after, _ := os.ReadFile("/etc/passwd"); string(after) != string(before) {
		t.Error("the log was written through a symbolic link")
	}
	entries, _ := os.ReadDir(k.spec.Config.Sandbox)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if info, err := e.Info(); err != nil || info.Size() > 64<<10 {
			t.Errorf("%s has %d bytes, %v", e.Name(), info.Size(), err)
		}
	}
	if want := []string{"stderr", "stdout", "stdout.1", "stdout.2"}; !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
}

func TestExec(t *testing.T) {
	program := shimtest.Build(t)
	k := newTask(t, program, "", "echo up; sleep 1000")
	k.spec.Config.Command.Env = append(k.spec.Config.Command.Env, "COLOUR=red")
	s := k.start()
	defer func() { wait(t, s) }()
	defer s.Kill(0)
	until(t, "the task runs", func() bool { return k.output("stdout") != "" })
	code, out, err := s.Client().Run(t.Context(), shim.ExecRequest{Argv: []string{"sh", "-c", "echo $COLOUR $SIZE; exit 5"}, Env: []string{"SIZE=big"}}, 100)
	if err != nil || code != 5 || string(out) != "red big\n" {
		t.Errorf("got %d %q %v", code, out, err)
	}
	if _, _, err := s.Client().Run(t.Context(), shim.ExecRequest{Argv: []string{"nothing-there"}}, 100); err == nil || err.Error() != "cannot start nothing-there: no such program in PATH (/usr/bin:/bin)" {
		t.Errorf("no program: %v", err)
	}
	// A command that takes too long is ended.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := s.Client().Run(ctx, shim.ExecRequest{Argv: []string{"sleep", "1002"}}, 100); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("too long: %v", err)
	}
	until(t, "the command is gone", func() bool {
		left, _ := proc.List(node)
		return !slices.ContainsFunc(left, func(i proc.Info) bool { return i.Command == "sleep 1002" })
	})
	terminal(t, s.Client())
}

// terminal asks a shell on a terminal how large it is.
func terminal(t *testing.T, c shim.Client) {
	t.Helper()
	session, err := c.Exec(t.Context(), shim.ExecRequest{Argv: []string{"sh"}, Tty: true, Rows: 33, Cols: 77})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.Send(shim.FrameStdin, []byte("stty size; exit 9\n")); err != nil {
		t.Fatal(err)
	}
	var out string
	for {
		kind, data, err := session.Next()
		if err != nil {
			t.Fatalf("%v after %q", err, out)
		}
		if kind == shim.FrameExit {
			if string(data) != "9" || !strings.Contains(out, "33 77") {
				t.Errorf("exit %s after %q", data, out)
			}
			return
		}
		out += string(data)
	}
}

// TestForkBomb bounds a command that does nothing but fork, and ends all of it.
func TestForkBomb(t *testing.T) {
	k, g := newTaskInGroup(t, "bomb() { bomb | bomb & }; echo up; bomb; while :; do sleep 1; done")
	s := k.start()
	most := int64(0)
	until(t, "the bomb grows", func() bool {
		most = max(most, g.Stats().Pids)
		return most > 20
	})
	if most > 50 {
		t.Errorf("%d processes", most)
	}
	if err := s.Kill(0); err != nil {
		t.Fatal(err)
	}
	if exit := wait(t, s); exit.Error != "" || !exit.Killed && exit.ExitCode == 0 {
		t.Errorf("exit %+v", exit)
	}
	if procs := g.Procs(); len(procs) > 0 {
		t.Errorf("left %v", procs)
	}
}
