package cluster_test

import (
	"context"
	"testing"

	"howdah.dev/howdah/internal/agentapi"
)

// TestStreamPanics: what panics for one agent's stream is for who serves that stream to
// recover, and others are served.
func TestStreamPanics(t *testing.T) {
	c := start(t)
	c.apply("name: one\nstack: plain\n")
	node := c.agent("one-thing-1").node
	func() {
		defer func() {
			if got := recover(); got != "poison" {
				t.Errorf("who serves the stream recovers %v", got)
			}
		}()
		_ = c.m.Watch(t.Context(), &agentapi.WatchRequest{Node: node, Instance: "first", Facts: facts()}, func(*agentapi.WatchEvent) error { panic("poison") })
	}()
	ctx, cancel := context.WithCancel(t.Context())
	served := false
	_ = c.m.Watch(ctx, &agentapi.WatchRequest{Node: node, Instance: "second", Facts: facts()}, func(*agentapi.WatchEvent) error {
		served = true
		cancel()
		return nil
	})
	if !served {
		t.Error("the node is not served any more")
	}
}
