package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPresence: an agent is silent only as long as somebody listened.
func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPresence(time.Now())
		pass := func(d time.Duration) { // a server that is there
			for range d / tickEvery {
				time.Sleep(tickEvery)
				p.tick(time.Now())
			}
		}
		want := func(what string, last time.Time, want time.Duration) {
			t.Helper()
			if got := p.quiet(time.Now(), last); got != want {
				t.Errorf("%s: silent for %s, want %s", what, got, want)
			}
		}
		pass(10 * time.Second)
		want("an agent nobody has heard of since the start", time.Time{}, 10*time.Second)
		last := time.Now()
		pass(21 * time.Second)
		want("a silent agent", last, 21*time.Second)
		want("one that just reported", time.Now(), 0)

		// The server is stopped for a minute, as by SIGSTOP.
		time.Sleep(time.Minute)
		want("before the first tick", last, 0)
		p.tick(time.Now())
		want("at the first tick", last, 0)
		pass(19 * time.Second)
		want("within the grace", last, 19*time.Second)
		pass(2 * time.Second)
		want("one that is still silent after it", last, 21*time.Second)
	})
}
