package node

import (
	"fmt"
	"testing"

	"howdah.dev/howdah/internal/agentapi"
)

// TestServersApart: an agent works with a server of the former protocol and of
// the next, and takes nothing from one further away.
func TestServersApart(t *testing.T) {
	for _, speaks := range []int{0, agentapi.Protocol - 1, agentapi.Protocol + 1} {
		t.Run(fmt.Sprint(speaks), func(t *testing.T) {
			h := newHub(t)
			h.speaks = speaks
			h.serve(h.service(""))
			h.agent()
			h.state("ready")
		})
	}

	h := newHub(t)
	h.speaks = agentapi.Protocol + 2
	h.serve(h.service(""))
	stop := h.agent()
	h.until("it has asked again", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.watches > 2
	})
	_ = stop()
	if n := len(h.lines("starts")); n != 0 {
		t.Errorf("the service was started %d times", n)
	}
}
