package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
)

// watch looks after a running process until it ends or the wish changes.
func (s *service) watch(ctx context.Context, w want) error {
	if w.drain {
		// A service that gives everything up need not count as ready again.
		s.reached(w, api.StateReady, "draining")
		return s.drain(ctx, w)
	}
	if !s.rec.Ready {
		if err := s.untilReady(ctx, w); err != nil || s.proc == nil || ctx.Err() != nil {
			return err
		}
	} else {
		s.hear(w.spec)
		s.reached(w, api.StateReady, "")
	}
	if s.healthy.IsZero() {
		s.healthy = time.Now()
	}
	return s.stayHealthy(ctx, w)
}

// untilReady probes until the service is ready, ends, or takes too long.
func (s *service) untilReady(ctx context.Context, w want) error {
	p := w.spec.Ready
	s.set(api.StateStarting, "%s", p.Message)
	deadline := time.Now().Add(p.Max)
	for {
		err := s.ask(ctx, probeReady, p)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			s.rec.Ready = true
			if err := s.save(); err != nil {
				return err
			}
			// What changed while it started may want a reload.
			if err := s.refresh(ctx, w.spec); err != nil {
				return err
			}
			s.hear(w.spec)
			s.reached(w, api.StateReady, "")
			return nil
		}
		s.set(api.StateStarting, "%v", p.Unmet(err))
		if time.Now().After(deadline) {
			if err := s.stop(ctx, w.spec); err != nil {
				return err
			}
			s.noteEnd()
			return &endedError{how: fmt.Sprintf("not ready after %s: %v", p.Max, p.Unmet(err))}
		}
		if gone, err := s.pause(ctx, pace(p.Every, readyEvery)); gone {
			return err
		}
	}
}

// stayHealthy probes a ready service until it ends or the wish changes.
func (s *service) stayHealthy(ctx context.Context, w want) error {
	h := w.spec.Health
	if h == nil {
		h = &agentapi.Probe{Every: time.Minute}
	}
	fails := 0
	for {
		if gone, err := s.pause(ctx, s.agent.beat(h.Every)); gone {
			return err
		}
		err := s.ask(ctx, probeHealth, *h)
		s.hear(w.spec)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && fails > 0:
			if fails >= h.Fails {
				s.healthy = time.Now()
			}
			fails = 0
			s.set(api.StateReady, "")
		case err != nil:
			fails++
			if fails >= h.Fails {
				s.set(api.StateUnhealthy, "%v", h.Unmet(err))
			}
		}
	}
}

// drain probes until the service has given up what it holds.
func (s *service) drain(ctx context.Context, w want) error {
	d := w.spec.Drained
	if d == nil {
		s.setDrained(true)
		if gone, err := s.pause(ctx, time.Hour); gone {
			return err
		}
		return nil
	}
	for {
		err := s.agent.prober.Ask(ctx, *d)
		if ctx.Err() != nil {
			return nil
		}
		s.setDrained(err == nil)
		state := api.StateReady
		if s.proc == nil {
			state = api.StateStopped
		}
		if err != nil {
			s.set(state, "draining: %v", d.Unmet(err))
		} else {
			s.set(state, "drained")
		}
		if gone, err := s.pause(ctx, pace(d.Every, time.Second)); gone {
			return err
		}
	}
}

// pause waits a while; true when the process ended or ctx did. An exit is
// recorded, and described in the error.
func (s *service) pause(ctx context.Context, d time.Duration) (bool, error) {
	t := time.NewTimer(d)
	defer t.Stop()
	var done <-chan struct{}
	if s.proc != nil {
		done = s.proc.Done()
	}
	select {
	case <-ctx.Done():
		return true, nil
	case <-t.C:
		return false, nil
	case <-done:
	}
	exit, err := s.proc.Wait(ctx)
	if err != nil {
		return true, nil //nolint:nilerr // the wish changed; the next round sees the exit
	}
	if err := s.ended(exit); err != nil {
		return true, err
	}
	s.mu.Lock()
	w := s.wanted
	s.mu.Unlock()
	if w.drain {
		return true, nil
	}
	text := ""
	if w.spec != nil {
		text = s.lastWords(w.spec)
	}
	return true, &endedError{how: exit.String() + strings.TrimSuffix(": "+text, ": ")}
}

// lastWords is the line this incarnation printed that says most of why it ended.
// What an earlier one printed says nothing of this one.
func (s *service) lastWords(spec *agentapi.Service) string {
	out := s.output(spec)
	size, from := sizeOf(out), s.rec.Output
	if size < from {
		from = 0 // it was rotated meanwhile
	}
	return lastLine(tail(out, min(4000, size-from)))
}
