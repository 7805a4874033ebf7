package deploy

import (
	"fmt"
	"time"

	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/number"
)

// Waits says in one sentence what is waited for, empty when Done. A decision stands
// until something happens; for how long it waits is of the moment.
func (d Decision) Waits(now time.Time) string {
	if d.Since.IsZero() {
		return d.Wait
	}
	return d.Wait + " for " + number.Span(now.Sub(d.Since))
}

// wait says how far this is and what it waits for.
func (s *state) wait(d *Decision) string {
	if s.t.Wanted == 0 {
		return s.endings(len(d.Kill))
	}
	what := "running"
	switch {
	case s.t.Readiness:
		what = "ready"
	case s.t.HealthChecks:
		what = "healthy"
	}
	which := "instances"
	if s.versionsDiffer() {
		which = "instances of the new version"
	}
	return fmt.Sprintf("%d of %d %s %s; %s", s.freshHealthy, s.t.Wanted, which, what, s.cause(d))
}

func (s *state) cause(d *Decision) string {
	missing := s.t.Wanted - len(s.fresh)
	if d.Launch > 0 {
		return fmt.Sprintf("%d more %s for a worker", d.Launch, verb(d.Launch, "waits", "wait"))
	}
	if i := s.slowest(); i != nil {
		d.On, d.Since = i.ID, began(i)
		return i.ID + " " + s.waitsFor(i)
	}
	if ending := len(s.ending) + len(d.Kill); ending > 0 && missing > 0 {
		return fmt.Sprintf("%d more %s when others have ended: %s", missing, verb(missing, "starts", "start"), s.endings(len(d.Kill)))
	}
	return s.endings(len(d.Kill))
}

// slowest returns the new instance that has been on its way for the longest time.
func (s *state) slowest() *instance.Instance {
	var found *instance.Instance
	for _, i := range s.fresh {
		if s.healthy(i) {
			continue
		}
		if found == nil || began(i).Before(began(found)) || began(i).Equal(began(found)) && i.ID < found.ID {
			found = i
		}
	}
	return found
}

func (s *state) waitsFor(i *instance.Instance) string {
	switch {
	case i.Condition == instance.Unreachable:
		return "is on a worker that is away"
	case i.Condition != instance.Running:
		return "is starting"
	case i.Healthy != nil && !*i.Healthy:
		return "is unhealthy"
	case s.t.HealthChecks && i.Healthy == nil:
		return "waits for its health check"
	default:
		return "waits for its readiness check"
	}
}

// endings says which instances must end still; more are about to be asked.
func (s *state) endings(more int) string {
	n := len(s.ending) + more
	away := 0
	for _, i := range s.ending {
		if i.Condition == instance.Unreachable {
			away++
		}
	}
	switch {
	case n == 0:
		return "nothing" // nothing is left to wait for, the next look will say done
	case away == n:
		return fmt.Sprintf("%s to end on a worker that is away", has(n))
	case away > 0:
		return fmt.Sprintf("%s to end, %d of them on a worker that is away", has(n), away)
	default:
		return fmt.Sprintf("%s to end", has(n))
	}
}

func (s *state) versionsDiffer() bool {
	for _, list := range [][]*instance.Instance{s.old, s.ending} {
		for _, i := range list {
			if i.Version.Before(s.t.Version) {
				return true
			}
		}
	}
	return false
}

// began is when an instance began to wait for what it waits for now.
func began(i *instance.Instance) time.Time {
	switch {
	case i.Condition == instance.Running && i.StartedAt != nil:
		return *i.StartedAt
	case i.Since.IsZero():
		return i.StagedAt
	default:
		return i.Since
	}
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func is(n int) string { return fmt.Sprintf("%d %s", n, verb(n, "is", "are")) }

func has(n int) string { return fmt.Sprintf("%d %s", n, verb(n, "instance has", "instances have")) }
