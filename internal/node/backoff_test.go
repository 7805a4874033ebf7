package node

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"howdah.dev/howdah/api"
)

// TestBackoff: each end makes the next start wait longer, up to a bound; old
// ends, and those before a time of health, count no more.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(nil, "svc")
		var got []string
		for range 7 {
			s.noteEnd()
			got = append(got, seconds(s.backoff()))
		}
		if want := "1 s, 2 s, 4 s, 8 s, 16 s, 30 s, 30 s"; strings.Join(got, ", ") != want {
			t.Errorf("pauses are %v, want %s", got, want)
		}
		if n := s.ends(s.rec.Settled); n != 7 {
			t.Errorf("%d ends count, want 7", n)
		}
		time.Sleep(endsWindow)
		if n, wait := s.ends(s.rec.Settled), s.backoff(); n != 0 || wait != time.Second {
			t.Errorf("after %s %d ends count, the pause is %s", endsWindow, n, wait)
		}

		s.noteEnd()
		s.healthy = time.Now()
		time.Sleep(settleAfter - time.Second)
		s.noteEnd() // just too early
		if n := s.ends(s.rec.Settled); n != 2 {
			t.Errorf("%d ends count, want 2", n)
		}
		s.healthy = time.Now()
		time.Sleep(settleAfter)
		s.noteEnd()
		if n, all := s.ends(s.rec.Settled), s.ends(time.Time{}); n != 1 || all != 3 {
			t.Errorf("after a time of health %d ends count, want 1; %d are told, want 3", n, all)
		}
		for range 2 * maxExits {
			s.noteEnd()
		}
		if len(s.rec.Exits) != maxExits {
			t.Errorf("%d ends are kept, want %d", len(s.rec.Exits), maxExits)
		}
	})
}

// TestBackoffOutlivesTheAgent: an agent that is started again waits out what its
// predecessor began, and says why.
func TestBackoffOutlivesTheAgent(t *testing.T) {
	h := newHub(t)
	h.serve(h.service(`echo x >> starts; echo "line one"; echo "no luck"; exit 3`))
	stop := h.agent()
	var held time.Time
	h.until("it waits 4 s", func() bool {
		held = time.Now()
		return h.seen().Message == "restarting in 4 s after 3 ends in 10 minutes: exit 3: no luck"
	})
	_ = stop()
	starts := len(h.lines("starts"))
	h.agent()
	h.until("a second connection", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.report.Incarnation == 2 })
	st := h.state("failed")
	if !strings.HasSuffix(st.Message, " s after 3 ends in 10 minutes: exit 3: no luck") || st.Restarts != 3 {
		t.Errorf("the new agent says %q, %d restarts", st.Message, st.Restarts)
	}
	if n := len(h.lines("starts")); n != starts {
		t.Errorf("the new agent started it at once: %d starts, there were %d", n, starts)
	}
	h.until("it is started again", func() bool { return len(h.lines("starts")) == starts+1 })
	if waited := time.Since(held); waited < 2*time.Second {
		t.Errorf("it was started after %s, 4 s were to be waited", waited)
	}
	// What changes a start is tried at once.
	h.until("it waits long", func() bool { return strings.HasPrefix(h.seen().Message, "restarting in 8 s after 4 ends") })
	svc := h.service("")
	svc.RestartKey = "two"
	h.serve(svc)
	began := time.Now()
	h.state("ready")
	if took := time.Since(began); took > 7*time.Second {
		t.Errorf("the new assignment waited %s", took)
	}
}

// TestReasonOfThisEnd: what an earlier incarnation printed is not given as the
// reason of a later one's end; after its output was rotated the rest is.
func TestReasonOfThisEnd(t *testing.T) {
	h := newHub(t)
	h.serve(h.service(`echo x >> starts; [ $(wc -l < starts) != 1 ] || echo "no luck"; touch ready; exec sleep 1000`))
	stop := h.agent()
	st := h.state("ready")
	_ = syscall.Kill(st.PID, syscall.SIGKILL)
	h.tells("the first end has its reason", func(s api.ServiceStatus) bool {
		return s.Message == "restarting in 1 s after 1 end in 10 minutes: killed by SIGKILL: no luck"
	})
	st = h.state("ready")
	_ = syscall.Kill(st.PID, syscall.SIGKILL)
	h.tells("the second has none", func(s api.ServiceStatus) bool {
		return s.Message == "restarting in 2 s after 2 ends in 10 minutes: killed by SIGKILL"
	})
	_ = stop()

	a := &Agent{}
	s := newService(a, "svc")
	spec := h.service("")
	out := s.output(&spec)
	for _, c := range []struct {
		output, want string
		before       int64
	}{
		{"old\nnew\n", "new", 4}, {"old\n", "", 4}, {"left\n", "left", 400}, {"", "", 0},
	} {
		writeFile(t, out, c.output)
		s.rec.Output = c.before
		if got := s.lastWords(&spec); got != c.want {
			t.Errorf("of %q after %d bytes: %q, want %q", c.output, c.before, got, c.want)
		}
	}
}

// TestProbing: the results of a service's probes are told: what changed, how
// often, and how long answers took.
func TestProbing(t *testing.T) {
	h := newHub(t)
	svc := h.service(`echo "$$" >> starts; exec sleep 1000`)
	svc.Ready.Expect = `body == ""`
	health := svc.Ready
	health.Every, health.Fails, health.Message = 20*time.Millisecond, 2, "it answers"
	svc.Health = &health
	h.serve(svc)
	h.agent()
	h.until("it is asked", func() bool { return strings.Contains(h.seen().Message, "it is ready: ") })
	whole := h.path("svc", "whole") // and not empty for a moment, which would be ready
	writeFile(t, whole, "x")
	if err := os.Rename(whole, h.path("svc", "ready")); err != nil {
		t.Fatal(err)
	}
	h.until("it is answered", func() bool { return h.seen().Message == "it is ready: not yet" })
	touch := func(text string) {
		t.Helper()
		writeFile(t, h.path("svc", "ready"), text)
	}
	touch("")
	st := h.state("ready")
	if len(st.Probes) == 0 || st.Probes[0].Kind != "ready" {
		t.Fatalf("%+v", st.Probes)
	}
	ready := st.Probes[0]
	if n := len(ready.Results); n != 3 || ready.Results[0].OK || !ready.Results[2].OK || ready.Results[1].Message != "not yet" {
		t.Errorf("the readiness probe found %+v", ready.Results)
	}
	if ready.EverySeconds != 0.01 || ready.Failed != ready.Asked-1 || ready.P95Millis < ready.P50Millis || ready.Since.IsZero() {
		t.Errorf("the readiness probe: %+v", ready)
	}
	touch("sick")
	st = h.state("unhealthy")
	got := st.Probes[1]
	if last := got.Results[len(got.Results)-1]; got.Kind != "health" || last.OK || last.Count < 2 || last.Message != "not yet" || last.First.After(last.Last) {
		t.Errorf("the health probe: %+v", got)
	}
	touch("")
	h.state("ready")
	// The ring is bounded, and survives the program.
	for i := range 2 * maxResults {
		touch(strings.Repeat("x", i%2))
		if i%2 == 1 {
			h.state("unhealthy")
		} else {
			h.state("ready")
		}
	}
	st = h.seen()
	if n := len(st.Probes[1].Results); n != maxResults {
		t.Errorf("%d results are kept, want %d", n, maxResults)
	}
	touch("")
	st = h.state("ready")
	asked := st.Probes[1].Asked
	_ = syscall.Kill(st.PID, syscall.SIGKILL)
	h.until("it is back", func() bool { return h.seen().State == "ready" && h.seen().Incarnation == 2 })
	if n := h.seen().Probes[1].Asked; n < asked {
		t.Errorf("asked %d times, it was %d before the program ended", n, asked)
	}
}

// TestPercentiles of a ring that has gone round.
func TestPercentiles(t *testing.T) {
	var p probing
	for i := range maxTook + 40 {
		p.note(time.Now(), time.Duration(i+1)*time.Millisecond, nil)
	}
	// 41 to 100 ms are left.
	if got := p.observe(); got.P50Millis != 70 || got.P95Millis != 97 || got.Asked != 100 || len(got.Results) != 1 || got.Results[0].Count != 100 {
		t.Errorf("%+v", got)
	}
	if got := fmt.Sprint(new(probing).observe().P95Millis); got != "0" {
		t.Errorf("without an answer p95 is %s", got)
	}
}
