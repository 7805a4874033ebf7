package marathon

import (
	"fmt"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/scheduler"
)

// TestHubIsBounded: what is kept for those who come back is bounded in number and in
// bytes; who missed more is told so.
func TestHubIsBounded(t *testing.T) {
	const size = 400 << 10
	all := func(scheduler.Event) bool { return true }
	large := scheduler.Event{Type: "api_post_event", Body: postEvent{App: &app.App{ID: "/a", Cmd: strings.Repeat("x", size)}}}
	for _, c := range []struct {
		name   string
		event  scheduler.Event
		events int
		kept   int // no more
	}{
		{"many", scheduler.Event{Type: "e"}, keptEvents + 10, keptEvents},
		{"few", scheduler.Event{Type: "e"}, 10, 10},
		{"large", large, 200, keptBytes / size},
	} {
		h := NewHub("h")
		for range c.events {
			h.Publish(c.event)
		}
		kept := 0
		for _, e := range h.ring {
			if e != nil {
				kept++
			}
		}
		if kept > c.kept || kept < c.kept-1 || h.bytes > keptBytes {
			t.Errorf("%s: %d of %d events are kept, about %d bytes", c.name, kept, c.events, h.bytes)
		}
		for after, lost := range map[int]bool{c.events: false, c.events - kept: false, c.events - kept - 1: true} {
			if after < 0 {
				continue
			}
			_, missed, got := h.join(fmt.Sprintf("h-%d", after), nil, all)
			if got != lost || !lost && len(missed) != c.events-after {
				t.Errorf("%s, after %d of %d: %d missed, some lost: %t", c.name, after, c.events, len(missed), got)
			}
		}
	}
}
