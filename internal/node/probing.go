package node

import (
	"context"
	"slices"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
)

// Kinds of probes whose results are kept.
const (
	probeReady  = "ready"
	probeHealth = "health"
)

// How much of the past of a probe is kept.
const (
	maxResults = 8  // changes of the result
	maxTook    = 60 // durations
)

// probing is what one probe of a service found since the agent started: only
// changes and counts, so that reports stay small.
type probing struct {
	status api.Probing
	took   []time.Duration // the newest, a ring
}

// ask asks one of the service's probes and keeps the result.
func (s *service) ask(ctx context.Context, kind string, q agentapi.Probe) error {
	began := time.Now()
	err := s.agent.prober.AskOf(ctx, q, s.rec.Started)
	if ctx.Err() != nil || q.HTTP == "" && q.TCP == "" && q.Adapter == "" {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.probes[kind]
	if p == nil {
		p = &probing{status: api.Probing{Kind: kind, Since: began}}
		s.probes[kind] = p
	}
	p.status.EverySeconds = pace(q.Every, readyEvery).Seconds()
	p.note(began, time.Since(began), err)
	return err
}

func (p *probing) note(at time.Time, took time.Duration, err error) {
	st := &p.status
	if len(p.took) < maxTook {
		p.took = append(p.took, took)
	} else {
		p.took[st.Asked%maxTook] = took
	}
	st.Asked++
	message := ""
	if err != nil {
		st.Failed++
		message = err.Error()
	}
	n := len(st.Results)
	if n == 0 || st.Results[n-1].OK != (err == nil) || st.Results[n-1].Message != message {
		st.Results = append(st.Results, api.ProbeResult{OK: err == nil, Message: message, First: at})
		st.Results = st.Results[max(0, len(st.Results)-maxResults):]
		n = len(st.Results)
	}
	last := &st.Results[n-1]
	last.Last, last.Millis = at, millis(took)
	last.Count++
}

// observe returns what is known now.
func (p *probing) observe() api.Probing {
	out := p.status
	out.Results = slices.Clone(out.Results)
	sorted := slices.Sorted(slices.Values(p.took))
	if n := len(sorted); n > 0 {
		out.P50Millis, out.P95Millis = millis(sorted[(n-1)/2]), millis(sorted[(n*95+99)/100-1])
	}
	return out
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
