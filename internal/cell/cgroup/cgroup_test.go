package cgroup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// files makes a tree like the kernel's and returns its folder.
func files(t *testing.T, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, dir string, names ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		found[name] = string(text)
	}
	return found
}

// TestVersion2 looks at the files that are written: the interface of the kernel is
// files, and this machine may have version 1 only.
func TestVersion2(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the path is that of root")
	}
	dir := files(t, map[string]string{
		"cgroup.controllers": "cpuset cpu memory pids", "cgroup.subtree_control": "cpu", "self": "0::/user.slice/session\n",
		"howdah/cgroup.controllers": "cpu memory pids", "howdah/cgroup.subtree_control": "",
		"howdah/w/cgroup.controllers": "cpu memory pids", "howdah/w/cgroup.subtree_control": "cpu memory pids",
		"howdah/w/t/memory.max": "", "howdah/w/t/memory.swap.max": "", "howdah/w/t/cpu.weight": "", "howdah/w/t/cpu.max": "", "howdah/w/t/pids.max": "", "howdah/w/t/cgroup.procs": "",
		"howdah/w/t/cpu.stat":      "usage_usec 2500000\nthrottled_usec 7000\n",
		"howdah/w/t/memory.events": "oom 3\noom_kill 2\n", "howdah/w/t/memory.current": "100\n", "howdah/w/t/memory.peak": "200\n", "howdah/w/t/pids.current": "4\n", "howdah/w/t/pids.events": "max 9\n",
	})
	p, err := Find(dir, filepath.Join(dir, "self"), "howdah/w")
	if err != nil || p.Version != 2 || p.Path != "/howdah/w" {
		t.Fatalf("%+v, %v", p, err)
	}
	g := p.Group("t")
	if err := g.Create(Limits{Memory: 64 << 20, CPUShares: 512, CPUQuota: 50 * time.Millisecond, Pids: 10}); err != nil {
		t.Fatal(err)
	}
	if err := g.Enter(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"cgroup.subtree_control": "+memory +pids", "howdah/cgroup.subtree_control": "+cpu +memory +pids", "howdah/w/cgroup.subtree_control": "cpu memory pids",
		"howdah/w/t/memory.max": "67108864", "howdah/w/t/memory.swap.max": "0", "howdah/w/t/cpu.weight": "20",
		"howdah/w/t/cpu.max": "50000 100000", "howdah/w/t/pids.max": "10", "howdah/w/t/cgroup.procs": "0",
	}
	var names []string
	for name := range want {
		names = append(names, name)
	}
	got := read(t, dir, names...)
	// These are real files: a short text leaves the end of a longer one.
	got["cgroup.subtree_control"] = strings.TrimSpace(got["cgroup.subtree_control"])
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	stats := Stats{CPU: 2500 * time.Millisecond, Throttled: 7 * time.Millisecond, OOMKills: 2, Memory: 100, MaxMemory: 200, Pids: 4, Refused: 9}
	if diff := cmp.Diff(stats, g.Stats()); diff != "" {
		t.Error(diff)
	}
}

func TestFindVersion1(t *testing.T) {
	dir := files(t, map[string]string{
		"cpu,cpuacct/own/x": "", "memory/own/x": "", "pids/x": "",
		"self": "12:cpu,cpuacct:/own\n11:memory:/own\n3:pids:/only/outside\n1:name=systemd:/\n0::/\n",
	})
	p, err := Find(dir, filepath.Join(dir, "self"), "howdah/w")
	if err != nil {
		t.Fatal(err)
	}
	want := Group{Version: 1, Dirs: map[string]string{
		"cpu": dir + "/cpu,cpuacct/own/howdah/w/t", "cpuacct": dir + "/cpu,cpuacct/own/howdah/w/t",
		"memory": dir + "/memory/own/howdah/w/t", "pids": dir + "/pids/howdah/w/t",
	}}
	if diff := cmp.Diff(want, p.Group("t")); diff != "" || p.Path != "howdah/w" {
		t.Error(diff, p.Path)
	}
	if _, err := Find(dir, filepath.Join(dir, "self"), "../w"); err == nil || err.Error() != `cannot use "../w" as the name of a control group` {
		t.Error(err)
	}
	none := files(t, map[string]string{"self": "1:name=systemd:/\n"})
	if _, err := Find(none, filepath.Join(none, "self"), "w"); err == nil || err.Error() != "the kernel offers no control groups for memory" {
		t.Error(err)
	}
}

// TestOf: the group of a process, which an engine made.
func TestOf(t *testing.T) {
	v1 := files(t, map[string]string{
		"cpu,cpuacct/docker/c/x": "", "memory/docker/c/x": "", "pids/x": "",
		"one": "12:cpu,cpuacct:/docker/c\n11:memory:/docker/c\n3:pids:/docker/c\n1:name=systemd:/docker/c\n0::/\n",
	})
	v2 := files(t, map[string]string{"cgroup.controllers": "cpu memory pids", "two": "0::/docker/c\n"})
	for _, tt := range []struct {
		mount, file string
		want        Group
	}{
		{v1, "one", Group{Version: 1, Dirs: map[string]string{
			"cpu": v1 + "/cpu,cpuacct/docker/c", "cpuacct": v1 + "/cpu,cpuacct/docker/c", "memory": v1 + "/memory/docker/c",
		}}},
		{v2, "two", Group{Version: 2, Dirs: map[string]string{"": v2 + "/docker/c"}}},
	} {
		got, err := Of(tt.mount, filepath.Join(tt.mount, tt.file))
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := Of(v1, filepath.Join(v1, "none")); err == nil {
		t.Error("a process that has ended has a group")
	}
}

func TestWeight(t *testing.T) {
	for shares, want := range map[int64]int64{0: 1, 2: 1, 1024: 39, 262144: 10000, 1 << 40: 10000} {
		if got := Weight(shares); got != want {
			t.Errorf("Weight(%d) = %d, want %d", shares, got, want)
		}
	}
}

const enterEnv = "HOWDAH_TEST_ENTER"

// TestEnterAndExec is the process that TestReal looks at.
func TestEnterAndExec(t *testing.T) {
	text := os.Getenv(enterEnv)
	if text == "" {
		t.Skip("TestReal runs it")
	}
	var g Group
	if err := json.Unmarshal([]byte(text), &g); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	if err := g.Enter(); err != nil {
		t.Fatal(err)
	}
	threads, err := os.ReadFile(filepath.Join(g.Dirs[pids], "tasks"))
	if err == nil {
		fmt.Println(len(strings.Fields(string(threads))), "of its threads moved")
	}
	line := "i=0; while [ $i -lt 5 ]; do sleep 100 & i=$((i+1)); done; while :; do :; done"
	t.Fatal(syscall.Exec("/bin/sh", []string{"sh", "-c", line}, os.Environ()))
}

// TestWarm: whoever has the kernel wait stays where it is.
func TestWarm(t *testing.T) {
	before, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	err = Warm("/sys/fs/cgroup", "/proc/self/cgroup")
	if err != nil && os.Geteuid() != 0 {
		t.Skip(err)
	}
	after, _ := os.ReadFile("/proc/self/cgroup")
	if diff := cmp.Diff(string(before), string(after)); err != nil || diff != "" {
		t.Error(err, diff)
	}
	// The kernel is asked at all: it must refuse where there is no such file.
	dir := files(t, map[string]string{"cpu/x": "", "self": "1:cpu:/\n"})
	if err := Warm(dir, filepath.Join(dir, "self")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestReal makes a group of this machine, ends what is in it, and removes it.
func TestReal(t *testing.T) {
	p, err := Find("/sys/fs/cgroup", "/proc/self/cgroup", "howdah-test-"+strconv.Itoa(os.Getpid()))
	if err == nil {
		err = p.Check()
	}
	if err != nil && os.Geteuid() != 0 {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Remove()
	g := p.Group("t")
	if err := g.Create(Limits{Memory: 64 << 20, CPUShares: 512, CPUQuota: time.Millisecond, Pids: 20}); err != nil {
		t.Fatal(err)
	}
	defer g.Remove()
	text, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(os.Args[0], "-test.run=^TestEnterAndExec$")
	cmd.Env, cmd.Stdout = append(os.Environ(), enterEnv+"="+string(text)), &out
	// It ends with this test, whatever becomes of it; so do those it starts.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer g.Kill(0)
	for end := time.Now().Add(time.Minute); len(g.Procs()) < 6 || g.Stats().Throttled == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v %+v", g.Procs(), g.Stats())
		}
	}
	if s := g.Stats(); s.CPU == 0 || s.MaxMemory == 0 || s.Pids < 6 {
		t.Errorf("%+v", s)
	}
	for controller, dir := range g.Dirs {
		if text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs")); err != nil || len(strings.Fields(string(text))) != 6 {
			t.Errorf("%s: not all are in the group: %q %v", controller, text, err)
		}
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	if err := g.Kill(time.Minute); err != nil {
		t.Error(err)
	}
	<-ended
	if want := "1 of its threads moved\n"; p.Version == 1 && out.String() != want {
		t.Errorf("said %q, want %q", &out, want)
	}
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
	if len(g.Procs()) != 0 || g.Kill(0) != nil || g.Remove() != nil {
		t.Error("a group that is gone is not empty")
	}
}
