package simtest_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster/simtest"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/sim"
	"howdah.dev/howdah/internal/store"
)

// until waits, in the bubble's time, for something to hold.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 600 {
		if holds() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("after a minute still not: %s", what)
}

func nodeOf(t *testing.T, w *simtest.T, name string) api.NodeStatus {
	t.Helper()
	for _, n := range w.Get("c").Nodes {
		if n.Name == name {
			return n
		}
	}
	t.Fatalf("there is no node %s", name)
	return api.NodeStatus{}
}

// TestMachines: what happens to machines and agents by themselves is seen by
// their owner, and what can be mended is.
func TestMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simtest.New(t, simtest.Config{Sim: sim.Config{Agents: sim.Agents{Boot: 10 * time.Second}}})
		w.Apply(toy(3))
		before := nodeOf(t, w, "c-worker-1")
		if !w.Cloud.Crash("c-worker-1") || w.Cloud.Crash("nobody") {
			t.Fatal("it crashes who is there, and nobody else")
		}
		until(t, "another agent runs c-worker-1", func() bool {
			n := nodeOf(t, w, "c-worker-1")
			return n.Incarnation > before.Incarnation && n.State == "ready"
		})
		if after := nodeOf(t, w, "c-worker-1"); after.Services[0].Incarnation != before.Services[0].Incarnation {
			t.Errorf("its service was started again: %+v", after.Services[0])
		}

		w.Cloud.Die("c-worker-2")
		until(t, "c-worker-2 is silent", func() bool { return !nodeOf(t, w, "c-worker-2").Connected })
		ref := w.Cloud.Nodes()[2].Ref
		if d, err := w.Cloud.Describe(t.Context(), ref); err != nil || d.Powered {
			t.Errorf("%s: %+v %v", ref.Name, d, err)
		}
		if err := w.Cloud.Power(t.Context(), ref, true); err != nil {
			t.Fatal(err)
		}
		until(t, "c-worker-2 is back, with its service started again", func() bool {
			n := nodeOf(t, w, "c-worker-2")
			return n.State == "ready" && n.Connected && n.Services[0].Incarnation == 2
		})

		w.Cloud.Vanish("c-worker-3")
		if _, err := w.Cloud.Describe(t.Context(), infra.Ref{Key: "any", Cluster: "c", Name: "c-worker-3"}); infra.KindOf(err) != infra.KindNotFound {
			t.Errorf("%v", err)
		}
		w.Delete("c")
	})
}

// TestDoomed: a machine that never boots, and one that dies a while after.
func TestDoomed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simtest.New(t, simtest.Config{Sim: sim.Config{Faults: []sim.Fault{
			{Call: sim.CallCreate, Node: "c-worker-1", Do: sim.NeverBoots},
			{Call: sim.CallCreate, Node: "c-worker-2", Do: sim.Dies, After: time.Hour},
		}}})
		ops, err := w.World.Apply(t.Context(), toy(2))
		if err != nil {
			t.Fatal(err)
		}
		o, err := w.Wait(t.Context(), ops[0].ID)
		if err != nil || o.State != api.OperationFailed || !strings.HasPrefix(o.Reason, "make c-worker-1: waited 2m0s for: the agent of c-worker-1 to join") {
			t.Errorf("%s %s %v", o.State, o.Reason, err)
		}
		if n := nodeOf(t, w, "c-worker-2"); n.State != "ready" {
			t.Errorf("c-worker-2 is %s", n.State)
		}
		time.Sleep(time.Hour)
		if n := nodeOf(t, w, "c-worker-2"); n.Connected {
			t.Errorf("c-worker-2 lives: %+v", n)
		}
	})
}

// TestOnce: a one-time task of a cluster is done once, and never again when
// the evidence of it is gone with its machine.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simtest.New(t, simtest.Config{})
		w.Apply(toy(1))
		count := func() (n int) {
			err := w.Store.View(t.Context(), func(tx *store.Tx) error {
				events, err := tx.Events(0, "c", 0, 1000)
				for _, e := range events {
					if e.Type == "once.permitted" || e.Type == "once.done" {
						n++
					}
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := count(); n != 2 {
			t.Errorf("%d events of the one-time task, want it permitted and done", n)
		}
		w.Cloud.Die("c-head-1")
		if err := w.Cloud.Power(t.Context(), w.Cloud.Nodes()[0].Ref, true); err != nil {
			t.Fatal(err)
		}
		until(t, "the head is back", func() bool { return nodeOf(t, w, "c-head-1").Connected })
		if n := count(); n != 2 {
			t.Errorf("it was done again: %d events", n)
		}
	})
}

// TestConnections: agents share connections, 200 at most, and each is heard.
func TestConnections(t *testing.T) {
	var mu sync.Mutex
	conns := 0
	cfg := simtest.Config{Sim: sim.Config{Agents: sim.Agents{Heartbeat: -1, Shared: 20}}}
	cfg.Dialled = func() {
		mu.Lock()
		defer mu.Unlock()
		conns++
	}
	w := simtest.New(t, cfg)
	w.Apply(toy(99))
	ready(t, w, 100)
	mu.Lock()
	defer mu.Unlock()
	if conns != 5 {
		t.Errorf("100 agents that share connections by 20 made %d", conns)
	}
}

// TestTurns: a step that waits for its turn with the infrastructure says so,
// and is dropped at once by what comes after.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simtest.New(t, simtest.Config{Sim: sim.Config{
			Limit: 2, Latency: map[sim.Call]time.Duration{sim.CallCreate: time.Minute}, Agents: sim.Agents{Heartbeat: -1},
		}})
		ops, err := w.World.Apply(t.Context(), toy(9))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		o, err := w.Manager.Operation(t.Context(), ops[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		waiting := 0
		for _, s := range o.Steps {
			if s.State == api.StepDoing && s.Waiting == "its turn: 2 calls under way" {
				waiting++
			}
		}
		if waiting != 8 {
			t.Errorf("%d of 10 nodes wait for their turn, want 8: %+v", waiting, o.Steps)
		}
		chain, err := w.Manager.Explain(t.Context(), "c")
		if err != nil || !strings.Contains(fmt.Sprint(chain), "waits for its turn: 2 calls under way") {
			t.Errorf("explain does not say it: %v %v", chain, err)
		}
		began := time.Now()
		del, err := w.Manager.Delete(t.Context(), "c", "c")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Done(t.Context(), *del); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("the delete took %s: it waited for calls that were not made yet", took)
		}
		check(t, w.Cloud, map[sim.What]int{sim.Made: 2, sim.Removed: 2})
	})
}

// TestCrowd: an infrastructure that refuses crowds gets all it is asked for.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simtest.New(t, simtest.Config{Sim: sim.Config{
			Throttle: 5, RetryAfter: 3 * time.Second, Latency: map[sim.Call]time.Duration{sim.CallCreate: time.Second, sim.CallDelete: time.Second},
			Agents: sim.Agents{Heartbeat: -1},
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		ops, err := w.World.Apply(ctx, toy(59))
		if err == nil {
			err = w.Done(ctx, ops...)
		}
		if err != nil {
			t.Fatal(err)
		}
		w.Delete("c")
		check(t, w.Cloud, map[sim.What]int{sim.Made: 60, sim.Removed: 60})
	})
}
