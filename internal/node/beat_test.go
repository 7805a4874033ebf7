package node

import (
	"testing"
	"testing/synctest"
	"time"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/probe"
)

// TestBeat: what is done again and again, whenever it began and however long each time
// takes, is done at the same moments, none twice and none too soon after the last.
func TestBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &Agent{began: time.Now()}
		for _, c := range []struct {
			after, period, want time.Duration
		}{
			{0, 5 * time.Second, 5 * time.Second},
			{time.Second, 5 * time.Second, 4 * time.Second},
			{3750 * time.Millisecond, 5 * time.Second, 1250 * time.Millisecond},
			{3751 * time.Millisecond, 5 * time.Second, 6249 * time.Millisecond},
			{5 * time.Second, 5 * time.Second, 5 * time.Second},
			{7 * time.Second, 10 * time.Second, 3 * time.Second},
			{12 * time.Second, 0, 0},
			{12 * time.Second, -time.Second, 0},
		} {
			time.Sleep(c.after - time.Since(a.began))
			if got := a.beat(c.period); got != c.want {
				t.Errorf("%s after the start the next beat of %s is in %s, want %s", time.Since(a.began), c.period, got, c.want)
			}
		}
	})
}

// TestPauseOfTries: a probe that names no pause says the one that is made.
func TestPauseOfTries(t *testing.T) {
	a := &Agent{prober: probe.New(nil)}
	defer a.prober.Close()
	s := newService(a, "svc")
	for every, want := range map[time.Duration]float64{0: 0.2, 5 * time.Second: 5} {
		if err := s.ask(t.Context(), probeReady, agentapi.Probe{TCP: "127.0.0.1:1", Every: every, Timeout: time.Second}); err == nil {
			t.Error("somebody listens on port 1")
		}
		if got := s.probes[probeReady].status.EverySeconds; got != want {
			t.Errorf("a pause of %s is said to be %g s, want %g", every, got, want)
		}
	}
}
