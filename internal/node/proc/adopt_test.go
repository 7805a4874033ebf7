package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func scanInts(s string, into ...*int) int {
	n, _ := fmt.Sscanf(strings.NewReplacer("pid=", "").Replace(s), "%d %d", into[0], into[1])
	return n
}

// tellsExits: the kernel gives the exit of another's child (6.15).
func tellsExits(t *testing.T) bool {
	t.Helper()
	var uts syscall.Utsname
	if err := syscall.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	var release []byte
	for _, c := range uts.Release {
		release = append(release, byte(c))
	}
	var major, minor int
	fmt.Sscanf(string(release), "%d.%d", &major, &minor)
	return major > 6 || major == 6 && minor >= 15
}

func TestSurvivesAndIsAdopted(t *testing.T) {
	for _, tt := range []struct{ script, want string }{
		{`trap "exit 42" USR1; echo ready; while :; do sleep 0.02; done`, "exit 42"},
		{`trap "kill -9 $$" USR1; echo ready; while :; do sleep 0.02; done`, "killed by SIGKILL"},
	} {
		spec := shell(t, tt.script)
		helper, rec := starter(t, "helper-start", spec)
		eventually(t, spec, "ready")
		kill9(helper)
		time.Sleep(50 * time.Millisecond)

		p, ok := Adopt(rec)
		if !ok {
			t.Fatal("the process did not survive its starter")
		}
		if p.Record() != rec {
			t.Errorf("record changed: %v", p.Record())
		}
		if err := p.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		want := tt.want
		if !tellsExits(t) {
			want = "unknown"
		}
		if exit := waitExit(t, p); exit.String() != want {
			t.Errorf("got %s, want %s", exit, want)
		}
		if _, ok := Adopt(rec); ok {
			t.Error("adopted the dead")
		}
	}
}

func TestAdoptRefusesOthers(t *testing.T) {
	p := started(t, shell(t, "sleep 60"))
	for name, change := range map[string]func(*Record){
		"another boot":            func(r *Record) { r.BootID = "other" },
		"a number used again":     func(r *Record) { r.StartTicks-- },
		"no such process":         func(r *Record) { r.PID = 1 << 30 },
		"an empty record":         func(r *Record) { r.PID = 0 },
		"a negative number (all)": func(r *Record) { r.PID = -1 },
	} {
		rec := p.Record()
		change(&rec)
		if q, ok := Adopt(rec); ok {
			q.Release()
			t.Errorf("adopted %s", name)
		}
	}
	q, ok := Adopt(p.Record()) // while it is our child as well
	if !ok {
		t.Fatal("not adopted")
	}
	if exit, err := q.Stop(context.Background(), time.Minute); err != nil || exit.Signal != syscall.SIGTERM {
		t.Errorf("adopted: got %s, %v", exit, err)
	}
	if exit := waitExit(t, p); exit.Signal != syscall.SIGTERM {
		t.Errorf("child: got %s", exit)
	}
}

// catches tells whether a process has a handler of its own for a signal.
func catches(t *testing.T, pid int, sig syscall.Signal) bool {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "SigCgt:\t")
	var mask uint64
	fmt.Sscanf(rest, "%x", &mask)
	return mask&(1<<(sig-1)) != 0
}

// A zombie whose parent never collects it is dead to us, and its exit is known.
func TestZombieOfAnother(t *testing.T) {
	cmd := exec.Command(os.Args[0], "helper-lazy", "read x < /proc/self/stat; trap 'exit 9' TERM; while :; do sleep 0.02; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer kill9(cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	fmt.Sscan(line, &pid)
	st, err := readStat(pid)
	if err != nil {
		t.Fatal(err)
	}
	boot, _ := BootID()
	rec := Record{BootID: boot, PID: pid, StartTicks: st.startTicks}
	p, ok := Adopt(rec)
	if !ok {
		t.Fatal("not adopted")
	}
	until(t, func() bool { return catches(t, pid, syscall.SIGTERM) }, "no trap")
	if exit, err := p.Stop(context.Background(), time.Minute); err != nil || exit.String() != "exit 9" {
		t.Errorf("got %s, %v", exit, err)
	}
	if st, err := readStat(pid); err != nil || st.state != 'Z' {
		t.Fatalf("no zombie: %c, %v", st.state, err)
	}
	if _, ok := Adopt(rec); ok {
		t.Error("adopted a zombie")
	}
	if rec.alive() {
		t.Error("a zombie is alive")
	}
}

func TestFind(t *testing.T) {
	spec := shell(t, `setsid sleep 60 & sleep 60 & echo ready; wait`)
	helper, rec := starter(t, "helper-start", spec)
	eventually(t, spec, "ready")
	kill9(helper) // "before it could write the record"

	got, ok := Find(spec.Labels)
	if !ok || got != rec {
		t.Fatalf("found %v, want %v", got, rec)
	}
	for _, other := range []Labels{
		{Node: spec.Labels.Node, Service: "svc", Incarnation: 8},
		{Node: spec.Labels.Node, Service: "", Incarnation: 7},
		{Node: "x", Service: "svc", Incarnation: 7},
	} {
		if got, ok := Find(other); ok {
			t.Errorf("found %v for %v", got, other)
		}
	}
}

// Once the main process has ended, a worker it left behind is not taken for it.
func TestFindIgnoresLeftBehindWorkers(t *testing.T) {
	spec := shell(t, `sleep 2.5; setsid sleep 60 & sleep 60 & exit 0`)
	p := started(t, spec)
	if got, ok := Find(spec.Labels); !ok || got != p.Record() {
		t.Fatalf("found %v", got)
	}
	waitExit(t, p)
	until(t, func() bool { infos, err := List(spec.Labels.Node); return err == nil && len(infos) == 2 }, "no workers")
	if got, ok := Find(spec.Labels); ok {
		t.Errorf("found %v", got)
	}
}

func TestOrderWithinOneTick(t *testing.T) {
	child := entry{stat: stat{pid: 5, ppid: 32000, startTicks: 9}} // the numbers wrapped round
	parent := entry{stat: stat{pid: 32000, ppid: 1, startTicks: 9}}
	if !parent.older(child) || child.older(parent) {
		t.Error("the child counts as older")
	}
}

func TestSignalAfterRelease(t *testing.T) {
	p := started(t, shell(t, "sleep 60"))
	p.Release()
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, ErrReleased) {
		t.Error(err)
	}
}
