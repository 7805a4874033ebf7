package cluster_test

import (
	"sync"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
)

// TestGlance: who asks while nothing happens is given what was put together before; what
// happened before somebody asks is in the answer, whether the store tells of it or not.
func TestGlance(t *testing.T) {
	c := start(t)
	c.apply(store1)
	c.ready("store")
	a := c.agent("store-head-1")
	shared := func(x, y api.ClusterStatus) bool { return &x.Nodes[0] == &y.Nodes[0] }

	// The agents have said all they say; a second may end between any two questions.
	for deadline := time.Now().Add(time.Minute); !shared(c.get("store"), c.get("store")); {
		if time.Now().After(deadline) {
			t.Fatal("in a minute no two answers were one")
		}
	}
	for deadline := time.Now().Add(time.Minute); ; {
		list, err := c.m.List(t.Context())
		if err != nil || len(list) != 1 || list[0].Cause != nil {
			t.Fatalf("%v %+v", err, list)
		}
		if shared(c.get("store"), list[0]) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the list has another: %+v", list)
		}
	}

	// In memory alone: an agent goes, comes, is refused, cannot be run, falls silent, is heard.
	changes := []struct {
		name   string
		change func()
		shown  func(api.NodeStatus) bool
	}{
		{"goes", a.end, func(n api.NodeStatus) bool { return !n.Connected }},
		{"is refused", func() {
			if err := c.m.Watch(t.Context(), &agentapi.WatchRequest{Node: a.node, Facts: agentapi.Facts{Protocol: 99}}, nil); err == nil {
				t.Error("an agent of another protocol is let in")
			}
		}, func(n api.NodeStatus) bool { return n.AgentRefused != "" }},
		{"falls silent", func() { c.m.Quiet(a.node, time.Hour) }, func(n api.NodeStatus) bool { return n.State == api.StateUnknown }},
		{"cannot be run", func() {
			c.mu.Lock()
			c.trouble = "no room"
			c.mu.Unlock()
			if err := c.m.Look(t.Context()); err != nil {
				t.Error(err)
			}
		}, func(n api.NodeStatus) bool {
			return len(n.Conditions) == 1 && n.Conditions[0].Type == api.ConditionAgentFailing
		}},
	}
	for _, tt := range changes {
		c.get("store") // as before
		tt.change()
		if n := c.node("store", "store-head-1"); !tt.shown(n) {
			t.Errorf("an agent %s: %+v", tt.name, n)
		}
	}

	// Of those who ask while it is put together, each is told of what was before they asked.
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				if st, err := c.m.Get(t.Context(), "store"); err != nil || st.Nodes[0].Connected {
					t.Errorf("%v %+v", err, st)
				}
			}
		})
	}
	wg.Wait()
}
