package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/number"
)

// How long a service that ended unasked waits before it is started again:
// 1 s, doubled with each further end within endsWindow, at most maxPause. Ends
// before a time of health do not count.
const (
	firstPause  = time.Second
	maxPause    = 30 * time.Second
	endsWindow  = 10 * time.Minute
	settleAfter = 2 * time.Minute // of health without a break
	// blockedPause is how often what only a person can change is looked at.
	blockedPause = 5 * time.Second
)

// endedError says how a program ended that nobody asked to.
type endedError struct{ how string }

func (e *endedError) Error() string { return e.how }

// blockedError is a state only a person can change.
type blockedError struct{ msg string }

func (e *blockedError) Error() string { return e.msg }

// pause is a wait before the next start. It is kept, so that an agent that is
// started again does not begin with the shortest one.
type pause struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
	Ended  bool      `json:"ended,omitempty"` // the program ended; else its start failed
}

// fail says what is wrong and pauses, unless the wish changes first.
func (s *service) fail(ctx context.Context, err error) {
	if _, ok := errors.AsType[*blockedError](err); ok {
		s.set(api.StateBlocked, "%v", err)
		s.rest(ctx, blockedPause)
		return
	}
	_, ended := errors.AsType[*endedError](err)
	wait := s.backoff()
	s.rec.Pause = &pause{Until: time.Now().Add(wait), Reason: err.Error(), Ended: ended}
	if err := s.save(); err != nil {
		s.agent.log.Warn("cannot keep how long a service waits for its next start", "service", s.name, "error", err)
	}
	s.hold(ctx, wait)
}

// resume waits out the rest of a pause that an earlier agent began, unless
// something else is wanted now.
func (s *service) resume(ctx context.Context) {
	s.mu.Lock()
	w := s.wanted
	s.mu.Unlock()
	p := s.rec.Pause
	if p == nil || s.proc != nil || !w.run || w.spec == nil || w.spec.RestartKey != s.rec.RestartKey {
		return
	}
	// The clock may have been set meanwhile: no pause is longer than the longest.
	if left := min(time.Until(p.Until), maxPause); left > 0 {
		s.hold(ctx, left)
	}
}

// hold says what is waited for, and waits.
func (s *service) hold(ctx context.Context, wait time.Duration) {
	p := s.rec.Pause
	if p.Ended {
		s.set(api.StateFailed, "restarting in %s after %s in %d minutes: %s", seconds(wait), number.Count(s.ends(s.rec.Settled), "end"), int(endsWindow.Minutes()), p.Reason)
	} else {
		s.set(api.StateFailed, "%s; trying again in %s", p.Reason, seconds(wait))
	}
	s.rest(ctx, wait)
}

// rest waits, unless the wish changes first.
func (s *service) rest(ctx context.Context, wait time.Duration) {
	_, rctx, cancel := s.round(ctx)
	defer cancel()
	sleep(rctx, wait)
}

// backoff grows with the ends that count, and with failures in a row.
func (s *service) backoff() time.Duration {
	return min(maxPause, firstPause<<min(5, max(0, s.ends(s.rec.Settled)-1, s.failures-1)))
}

// ends counts unasked ends within the window, from a time on.
func (s *service) ends(from time.Time) int {
	n := 0
	for _, t := range s.rec.Exits {
		if time.Since(t) < endsWindow && !t.Before(from) {
			n++
		}
	}
	return n
}

// noteEnd counts an unasked end.
func (s *service) noteEnd() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.healthy.IsZero() && now.Sub(s.healthy) >= settleAfter {
		s.rec.Settled = now
	}
	s.healthy = time.Time{}
	s.rec.Exits = append(s.rec.Exits, now)
	s.rec.Exits = s.rec.Exits[max(0, len(s.rec.Exits)-maxExits):]
}

// maxExits bounds how many ends are kept.
const maxExits = 20

// seconds writes a pause in whole seconds, never less than one.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%d s", max(1, int(d.Round(time.Second).Seconds())))
}
