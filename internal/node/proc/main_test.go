package proc

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary plays the other processes of these tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case TaskCommand:
			os.Exit(TaskMain(os.Args[2:]))
		case "helper-start": // starts a Spec, prints its record, hangs
			helperStart(Start)
		case "helper-task":
			helperStart(func(s Spec) (*Process, error) {
				return StartTask(Task{Spec: s, ExitFile: os.Args[3]})
			})
		case "helper-lazy": // a parent that never collects its child
			cmd := exec.Command("/bin/sh", "-c", os.Args[2])
			must(cmd.Start())
			fmt.Println(cmd.Process.Pid)
			select {}
		}
	}
	goleak.VerifyTestMain(m)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func helperStart(start func(Spec) (*Process, error)) {
	var spec Spec
	must(json.Unmarshal([]byte(os.Args[2]), &spec))
	p, err := start(spec)
	must(err)
	must(json.NewEncoder(os.Stdout).Encode(p.Record()))
	select {}
}

// starter runs a helper that starts spec, and returns it with the record.
func starter(t *testing.T, mode string, spec Spec, args ...string) (helper *exec.Cmd, rec Record) {
	t.Helper()
	b, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	helper = exec.Command(os.Args[0], append([]string{mode, string(b)}, args...)...)
	helper.Stderr = os.Stderr
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill9(helper) })
	if err := json.NewDecoder(out).Decode(&rec); err != nil {
		t.Fatalf("helper said nothing: %v", err)
	}
	return helper, rec
}

func kill9(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// shell is the spec of a script, swept up when the test ends.
func shell(t *testing.T, script string, args ...string) Spec {
	t.Helper()
	labels := Labels{Node: fmt.Sprintf("%s-%d", t.Name(), os.Getpid()), Service: "svc", Incarnation: 7}
	t.Cleanup(func() {
		if _, err := Sweep(context.Background(), Labels{Node: labels.Node}, 0); err != nil {
			t.Error(err)
		}
	})
	return Spec{
		Argv:   append([]string{"sh", "-c", script, "sh"}, args...),
		Dir:    t.TempDir(),
		Output: filepath.Join(t.TempDir(), "out"),
		Labels: labels,
	}
}

func started(t *testing.T, spec Spec) *Process {
	t.Helper()
	p, err := Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	return p
}

func waitExit(t *testing.T, p *Process) Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	exit, err := p.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return exit
}

// eventually waits until the output of spec contains text.
func eventually(t *testing.T, spec Spec, text string) {
	t.Helper()
	until(t, func() bool { return strings.Contains(output(t, spec), text) }, "output never holds "+text)
}

func until(t *testing.T, ok func() bool, message string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(message)
		}
	}
}

func output(t *testing.T, spec Spec) string {
	t.Helper()
	b, err := os.ReadFile(spec.Output)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func alive(pid int) bool {
	st, err := readStat(pid)
	return err == nil && !st.dead()
}

var sigkilled = Exit{Known: true, Signal: syscall.SIGKILL}
