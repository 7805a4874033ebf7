package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// A supervisor leaves a worker in a session of its own, which goes on forking.
func TestSweepCatchesForkingGrandchildren(t *testing.T) {
	spec := shell(t, `setsid sh -c 'trap "" TERM; echo ready; while :; do setsid sleep 61 & sleep 0.01; done' & wait`)
	p := started(t, spec)
	eventually(t, spec, "ready")
	if exit, err := p.Stop(context.Background(), time.Minute); err != nil {
		t.Fatal(exit, err)
	}
	until(t, func() bool { infos, err := List(spec.Labels.Node); return err == nil && len(infos) > 5 }, "it does not fork")
	killed, err := Sweep(context.Background(), Labels{Node: spec.Labels.Node, Service: "svc"}, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if len(killed) < 5 {
		t.Errorf("killed only %v", killed)
	}
	time.Sleep(100 * time.Millisecond)
	if left, err := List(spec.Labels.Node); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestSweepIsPoliteFirst(t *testing.T) {
	spec := shell(t, `trap "echo bye; exit" TERM; echo ready; while :; do sleep 0.02; done`)
	p := started(t, spec)
	eventually(t, spec, "ready")
	begin := time.Now()
	killed, err := Sweep(context.Background(), spec.Labels, time.Minute)
	if err != nil || !slices.Contains(killed, p.Record()) {
		t.Errorf("killed %v, %v", killed, err)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("waited %s for what was gone", took)
	}
	if out := output(t, spec); !strings.Contains(out, "bye") {
		t.Errorf("no SIGTERM: %q", out)
	}
}

func TestSweepTakesDescendantsWithoutLabels(t *testing.T) {
	sleep := fmt.Sprintf("sleep 61.%d", os.Getpid()) // no other test's
	spec := shell(t, `env -i setsid sh -c '`+sleep+`; :' & echo ready; wait`)
	started(t, spec)
	eventually(t, spec, "ready")
	until(t, func() bool {
		all, err := scan()
		return err == nil && slices.ContainsFunc(all, func(e entry) bool { return !e.hasLabels && Command(e.pid) == sleep })
	}, "no sleep")
	killed, err := Sweep(context.Background(), spec.Labels, time.Minute)
	if err != nil || len(killed) < 3 {
		t.Errorf("killed %v, %v", killed, err)
	}
	for _, rec := range killed {
		if rec.alive() {
			t.Errorf("%v is alive", rec)
		}
	}
}

func TestSweepSparesOthers(t *testing.T) {
	spec := shell(t, "exec sleep 61")
	p := started(t, spec)
	for _, match := range []Labels{
		{Node: spec.Labels.Node, Service: "other"},
		{Node: spec.Labels.Node, Incarnation: 6},
		{Node: spec.Labels.Node + "x"},
	} {
		if killed, err := Sweep(context.Background(), match, 0); err != nil || len(killed) > 0 {
			t.Errorf("%s: killed %v, %v", match, killed, err)
		}
	}
	if !alive(p.Record().PID) {
		t.Error("the process is gone")
	}
	if _, err := Sweep(context.Background(), Labels{Service: "svc"}, 0); err == nil {
		t.Error("a sweep without a node")
	}
}

// The caller itself may carry the node's label: an agent that sweeps its own node.
func TestSweepSparesTheCaller(t *testing.T) {
	spec := shell(t, `setsid sleep 61 & exec "$1" -test.run '^TestHelperSweepOwnNode$' -test.v`, os.Args[0])
	exit := waitExit(t, started(t, spec))
	if !exit.Success() || !strings.Contains(output(t, spec), "swept 1") {
		t.Errorf("%s:\n%s", exit, output(t, spec))
	}
}

func TestHelperSweepOwnNode(t *testing.T) {
	labels, ok := LabelsOf(os.Getpid())
	if !ok || labels.Service != "svc" {
		t.Skip("not started by TestSweepSparesTheCaller")
	}
	killed, err := Sweep(context.Background(), Labels{Node: labels.Node}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("swept %d", len(killed))
}

func TestSweepEndsWithContext(t *testing.T) {
	spec := shell(t, `trap "" TERM; echo ready; while :; do sleep 0.05; done`)
	started(t, spec)
	eventually(t, spec, "ready")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := Sweep(ctx, spec.Labels, time.Minute)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "still alive: pid ") {
		t.Errorf("got %v", err)
	}
}

func TestList(t *testing.T) {
	spec := shell(t, `sleep 61 & wait`)
	p := started(t, spec)
	until(t, func() bool { // the child has become another program
		infos, _ := List(spec.Labels.Node)
		return len(infos) == 2 && infos[1].Command == "sleep 61"
	}, "not two processes")
	infos, err := List(spec.Labels.Node)
	if err != nil {
		t.Fatal(err)
	}
	main, child := infos[0], infos[1]
	if main.Record != p.Record() || child.PPID != main.PID || child.Session != main.PID || child.Command != "sleep 61" {
		t.Errorf("got %+v", infos)
	}
	if age := time.Since(main.Started); age < -time.Second || age > 20*time.Second {
		t.Errorf("started %s ago", age)
	}
	if pss, err := PSS(main.PID); err != nil || pss <= 0 || main.RSS <= 0 {
		t.Errorf("PSS %d, RSS %d, %v", pss, main.RSS, err)
	}
}
