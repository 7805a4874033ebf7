package runc

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/shim/shimtest"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/cell/worker/container/containertest"
)

const (
	rootlessEnv = "HOWDAH_TEST_ROOTLESS"
	home        = "/" + "root"
	private     = home + "/private"
	nobodyElse  = 54321 // an id that nobody has
)

// TestRootless runs the tests below as a plain user.
func TestRootless(t *testing.T) {
	shimtest.NeedRunc(t)
	program, layer := shimtest.Build(t), shimtest.Layer(t)
	if err := container.Own(layer, nobodyElse, nobodyElse); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal([]string{program, layer})
	if err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(filepath.Dir(program), "test") // where that user may run it
	if err := copyFile(self, os.Args[0]); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestAsUser$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), rootlessEnv+"="+string(text), "TMPDIR=/tmp")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyElse, Gid: nobodyElse}}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, fs.ErrPermission) {
		t.Fatalf("%v: another user must be able to reach %s; open the folders above it, or set TMPDIR", err, self)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: TestAsUser") {
		t.Errorf("as a user: %v\n%s", err, out)
	}
}

func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}

func TestAsUser(t *testing.T) {
	text := os.Getenv(rootlessEnv)
	if text == "" {
		t.Skip("TestRootless runs it")
	}
	var paths []string
	if err := json.Unmarshal([]byte(text), &paths); err != nil {
		t.Fatal(err)
	}
	b := &containertest.Bench{T: t, Node: "runc-rootless", Image: &container.Image{Name: "content", Layers: []string{paths[1]}}}
	b.Runtime = New(Config{Shims: container.Shims{Program: paths[0], Node: b.Node, IP: "127.0.0.1"}})
	t.Cleanup(b.CheckClean)
	weaker, err := b.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"all users of a container are the worker's own user: not root",
		"limits of memory, processor and processes cannot be set: not root",
	}
	if !slices.Equal(weaker, want) {
		t.Errorf("weaker: %q", weaker)
	}
	port := containertest.FreePort(t, "tcp")
	spec := b.Spec("id", "cat", private, "write", home+"/new", "write", "/mnt/mesos/sandbox/new", "mount", "trap", "6", "listen", "80", "wait")
	spec.Network.Forwards = []shim.Forward{{Protocol: "tcp", Listen: port, Port: 80}}
	spec.Volumes = []container.Volume{{ContainerPath: "/run/secret", Data: []byte("hush")}}
	r := b.Begin(spec)
	b.Until("it listens", func() bool { return strings.Contains(b.Output(spec), "listening") || !started(b, r) })
	if want := "0 0 1\nof root\nerror: operation not permitted\nlistening\n"; b.Output(spec) != want {
		log, _ := os.ReadFile(filepath.Join(spec.Dir, shim.LogFile))
		t.Errorf("output %q, log %s", b.Output(spec), log)
	}
	if text := containertest.Fetch(t, "http://"+port+"/"); text != "hello from 1, port 80\n" {
		t.Errorf("through the port: %q", text)
	}
	code, out, err := r.Run(t.Context(), shim.ExecRequest{Argv: []string{"/bin/content", "cat", "/run/secret", "exit", "4"}}, 100)
	if err != nil || code != 4 || string(out) != "hush" {
		t.Errorf("exec: %d %q %v", code, out, err)
	}
	_ = r.Kill(spec.Grace)
	if exit := b.Wait(r); exit.ExitCode != 6 || !exit.Killed || exit.Error != "" {
		t.Errorf("exit %+v", exit)
	}
	if _, err := os.Stat(filepath.Join(paths[1], "root", "new")); err == nil {
		t.Error("the layer was written to")
	}
	first := b.Spec("wait")
	first.ID = "killed"
	killed := b.Begin(first)
	started, ok := killed.Started()
	if !ok {
		t.Fatalf("%+v", b.Wait(killed))
	}
	if err := syscall.Kill(killed.(interface{ PID() int }).PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := b.Wait(killed); exit.Error != "its shim was killed; the task was ended with it" {
		t.Errorf("exit %+v", exit)
	}
	if stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(started.PID), "stat")); err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("the container lives on: %s", stat)
	}
}

func started(b *containertest.Bench, r container.Running) bool {
	_, ok := r.Started()
	if !ok {
		b.T.Fatalf("not started: %+v", b.Wait(r))
	}
	return ok
}
