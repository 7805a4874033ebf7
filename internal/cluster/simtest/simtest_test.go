package simtest_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"howdah.dev/howdah/internal/cluster/simtest"
	"howdah.dev/howdah/internal/infra/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func toy(workers int) string {
	return fmt.Sprintf("name: c\nstack: toy\nnodeGroups: [{name: head, roles: [head], instanceNum: 1}, {name: worker, roles: [worker], instanceNum: %d}]\n", workers)
}

// check compares effects with how often each is expected.
func check(t *testing.T, c *sim.Cloud, want map[sim.What]int) {
	t.Helper()
	got := map[sim.What]int{}
	for _, e := range c.Effects() {
		got[e.What]++
	}
	for what, n := range want {
		if got[what] != n {
			t.Errorf("%d machines were %s, want %d", got[what], what, n)
		}
	}
	for _, wrong := range sim.Twice(c.Effects()) {
		t.Error(wrong)
	}
}

// TestLife: a cluster is made, grows, shrinks, survives its server, and goes;
// each machine is made and removed once. Nothing takes real time.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simtest.New(t, simtest.Config{Sim: sim.Config{
			Seed: 1, Latency: map[sim.Call]time.Duration{sim.CallCreate: 20 * time.Second, sim.CallDelete: 5 * time.Second}, Jitter: 0.5,
			Agents: sim.Agents{Boot: 40 * time.Second, Start: map[string]time.Duration{"": 5 * time.Second, "headd": 8 * time.Second}, Stop: 3 * time.Second, Drain: time.Minute},
		}})
		began := time.Now()
		w.Apply(toy(3))
		if took := time.Since(began); took < 45*time.Second || took > 3*time.Minute {
			t.Errorf("making it took %s", took)
		}
		if st := w.Get("c"); st.State != "ready" {
			t.Errorf("it is %s: %s", st.State, st.Message)
		}
		w.Apply(toy(5))
		w.Apply(toy(2))
		check(t, w.Cloud, map[sim.What]int{sim.Made: 6, sim.Removed: 3})
		if err := w.Stop(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		w.Apply(toy(3))
		if st := w.Get("c"); st.State != "ready" {
			t.Errorf("after its server came back it is %s: %s", st.State, st.Message)
		}
		w.Delete("c")
		check(t, w.Cloud, map[sim.What]int{sim.Made: 7, sim.Removed: 7})
		if left := w.Cloud.Nodes(); len(left) > 0 {
			t.Errorf("left: %+v", left)
		}
	})
}

// TestFaults: whatever single thing goes wrong with a call, the cluster comes
// up and goes, and each machine is made and removed once.
func TestFaults(t *testing.T) {
	for _, f := range []sim.Fault{
		{Call: sim.CallCreate, Do: sim.Fail},
		{Call: sim.CallCreate, Do: sim.Fail, Kind: "throttled", RetryAfter: time.Minute},
		{Call: sim.CallCreate, Do: sim.Lose},
		{Call: sim.CallCreate, Do: sim.Hang},
		{Call: sim.CallCreate, Do: sim.Stall},
		{Call: sim.CallCreate, Do: sim.Half},
		{Call: sim.CallDelete, Do: sim.Fail},
		{Call: sim.CallDelete, Do: sim.Lose},
		{Call: sim.CallDelete, Do: sim.Hang},
		{Call: sim.CallDelete, Do: sim.Half},
		{Call: sim.CallDescribe, Do: sim.Fail},
		{Call: sim.CallDescribe, Do: sim.Stall},
		{Chance: 0.3, Do: sim.Fail},
		{Chance: 0.3, Do: sim.Lose},
	} {
		t.Run(fmt.Sprint(f.Call, f.Do, f.Kind, f.Chance), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := simtest.New(t, simtest.Config{Sim: sim.Config{Seed: 7, Agents: sim.Agents{Heartbeat: -1}, Faults: []sim.Fault{f}}})
				w.Apply(toy(3))
				w.Delete("c")
				check(t, w.Cloud, map[sim.What]int{sim.Made: 4, sim.Removed: 4})
			})
		})
	}
}

// TestSameAgain: with one seed, what is drawn is drawn the same again.
func TestSameAgain(t *testing.T) {
	made := func(seed uint64) (out []string) {
		synctest.Test(t, func(t *testing.T) {
			w := simtest.New(t, simtest.Config{Sim: sim.Config{
				Seed: seed, Latency: map[sim.Call]time.Duration{sim.CallCreate: time.Minute}, Jitter: 0.9, Faults: []sim.Fault{{Chance: 0.4, Do: sim.Lose}},
			}})
			w.Apply(toy(4))
			for _, n := range []string{"c-head-1", "c-worker-1", "c-worker-2", "c-worker-3", "c-worker-4"} {
				out = append(out, fmt.Sprint(n, w.Cloud.Calls(sim.CallCreate, n)))
			}
			for _, e := range w.Cloud.Effects() {
				out = append(out, fmt.Sprint(e.Node, e.What))
			}
		})
		return out
	}
	a, b, other := made(3), made(3), made(4)
	if !slices.Equal(a, b) {
		t.Errorf("two runs with one seed:\n%v\n%v", a, b)
	}
	if slices.Equal(a, other) {
		t.Errorf("another seed makes no difference: %v", a)
	}
}
