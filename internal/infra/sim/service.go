package sim

import (
	"strconv"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
)

// service is one program that does not exist, as far as its agent tells.
type service struct {
	name  string
	log   string
	run   bool     // wanted
	drain bool     // wanted
	key   string   // restart key that is wanted
	once  []string // cluster-wide one-time tasks that may still be to do

	running     bool
	has         string // restart key of what runs
	drained     bool
	state       string
	message     string
	incarnation int64
	since       time.Time
	due         time.Time // when what it is doing is over
}

func newService(spec *agentapi.Service, now time.Time) service {
	return service{name: spec.Name, log: spec.Dir + "/logs/" + spec.Name + ".out", state: api.StateWaiting, since: now}
}

// want sets what the service should be.
func (s *service) want(spec *agentapi.Service, intent agentapi.Intent, now time.Time) {
	run, drain := intent == agentapi.IntentRun || intent == agentapi.IntentDrain, intent == agentapi.IntentDrain
	if drain && !s.drain {
		s.due = time.Time{}
	}
	s.run, s.drain, s.key = run, drain, spec.RestartKey
	if !run || !drain {
		s.drained = false
	}
	s.once = nil
	for _, t := range spec.Init {
		if t.Cluster {
			s.once = append(s.once, t.Name)
		}
	}
	if s.state == api.StateBlocked {
		s.set(api.StateWaiting, "", now)
	}
}

func (s *service) set(state, message string, now time.Time) {
	if s.state != state {
		s.since = now
	}
	s.state, s.message = state, message
}

// advance goes as far as it can by now; due is when it goes on by itself.
func (s *service) advance(now time.Time, b *Agents) (changed bool, due time.Time) {
	for {
		was, wasDrained := s.state, s.drained
		due, again := s.step(now, b)
		changed = changed || s.state != was || s.drained != wasDrained
		if !again {
			return changed, due
		}
	}
}

// step does the next thing that is due; again is true when more may be.
func (s *service) step(now time.Time, b *Agents) (due time.Time, again bool) {
	switch {
	case s.state == api.StateStopping:
		if s.due.After(now) {
			return s.due, false
		}
		s.running, s.drained = false, true
		s.set(api.StateStopped, "", now)
		return time.Time{}, true
	case s.running && (!s.run || s.has != s.key):
		s.set(api.StateStopping, "asked to end", now)
		s.due = now.Add(b.Stop)
		return time.Time{}, true
	case !s.run:
		s.drained = true
		s.set(api.StateStopped, "", now)
		return time.Time{}, false
	case len(s.once) > 0:
		return time.Time{}, false // a permit is needed first
	case !s.running:
		s.running, s.has, s.drained = true, s.key, false
		s.incarnation++
		s.set(api.StateStarting, "", now)
		s.due = now.Add(s.start(b))
		return time.Time{}, true
	case s.state == api.StateStarting:
		if s.due.After(now) {
			return s.due, false
		}
		s.set(api.StateReady, "", now)
		s.due = time.Time{}
		return time.Time{}, true
	case s.drain && !s.drained:
		if s.due.IsZero() {
			s.due = now.Add(b.Drain)
		}
		if s.due.After(now) {
			return s.due, false
		}
		s.drained = true
	}
	return time.Time{}, false
}

// killed is what the end of its machine does to a service.
func (s *service) killed() {
	s.running, s.drained, s.drain, s.due = false, false, false, time.Time{}
	s.set(api.StateWaiting, "", time.Now())
}

func (s *service) start(b *Agents) time.Duration {
	if d, ok := b.Start[s.name]; ok {
		return d
	}
	return b.Start[""]
}

func (s *service) observe() api.ServiceStatus {
	st := api.ServiceStatus{
		Name: s.name, State: s.state, Message: s.message, Since: s.since, Incarnation: s.incarnation, Drained: s.drained, Log: s.log,
	}
	if s.running {
		st.PID = int(s.incarnation) + 1
	}
	if s.state == api.StateBlocked {
		since := s.since
		st.Conditions = []api.Condition{{Type: api.ConditionDataMissing, Status: true, Reason: "EvidenceAbsent", Message: s.message, Since: &since}}
	}
	return st
}

func hex(n uint64) string { return strconv.FormatUint(n, 16) }
