package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/store"
)

// TestFormerAgent: an agent that speaks the former protocol, and names none, is
// served; one that is further away is refused, and its node says why.
func TestFormerAgent(t *testing.T) {
	c := start(t)
	c.apply("name: one\nstack: plain\n")
	node := c.agent("one-thing-1")
	data, err := os.ReadFile("../agentapi/testdata/protocol-1/watch.json")
	if err != nil {
		t.Fatal(err)
	}
	var r agentapi.WatchRequest
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	r.Node, r.Instance, r.Facts = node.node, "former", facts() // of a machine that is there
	if r.Facts.Protocol != 0 {
		t.Fatalf("a former agent names protocol %d", r.Facts.Protocol)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var got []*agentapi.WatchEvent
	_ = c.m.Watch(ctx, &r, func(ev *agentapi.WatchEvent) error {
		got = append(got, ev)
		if ev.Assignment != nil {
			cancel()
		}
		return nil
	})
	cancel()
	// What it does not know between the two, as new authorities, it passes over.
	if len(got) < 2 || got[0].Incarnation == 0 || got[0].Protocol != agentapi.Protocol {
		t.Fatalf("a former agent is sent %+v", got)
	}
	if last := got[len(got)-1].Assignment; last == nil || last.Services[0].Name != "thingd" {
		t.Errorf("a former agent is sent %+v in the end", last)
	}

	r.Facts.Protocol = agentapi.Protocol + 2
	err = c.m.Watch(context.Background(), &r, func(*agentapi.WatchEvent) error { t.Error("it is sent something"); return nil })
	if !errors.Is(err, agentapi.ErrProtocol) {
		t.Errorf("an agent of a later protocol: %v", err)
	}
	if n := c.get("one").Nodes[0]; err != nil && n.AgentRefused != err.Error() {
		t.Errorf("its node says %q, want %q", n.AgentRefused, err)
	}
	if _, err := c.m.Join(context.Background(), agentapi.JoinRequest{Protocol: agentapi.Protocol + 2}); !errors.Is(err, agentapi.ErrProtocol) {
		t.Errorf("its joining: %v", err)
	}
}

func TestReplaceAgentRefusals(t *testing.T) {
	c := start(t)
	c.apply("name: one\nstack: plain\n")
	for _, at := range []struct {
		cluster, node string
		want          error
	}{{"none", "one-thing-1", store.ErrNotFound}, {"one", "none", store.ErrNotFound}, {"one", "one-thing-1", cluster.ErrUnsupported}} {
		if err := c.m.ReplaceAgent(context.Background(), at.cluster, at.node); !errors.Is(err, at.want) {
			t.Errorf("replacing the agent of %s %s: %v, want %v", at.cluster, at.node, err, at.want)
		}
	}
}
