package cluster

import (
	"sync"
	"time"
)

const (
	// silence is how long an agent may say nothing before its node is unknown:
	// four of its heartbeats.
	silence = 20 * time.Second
	// absence is how long this server may be away between two ticks of its own
	// before it grants all agents the time of silence anew: it was stopped, or
	// the host slept, and nobody could report.
	absence   = 5 * time.Second
	tickEvery = time.Second
)

// presence knows since when this server has been listening without a break. Its
// times are readings of the monotonic clock: setting the host's clock makes no
// agent silent.
type presence struct {
	mu     sync.Mutex
	from   time.Time // listening since
	ticked time.Time
}

func newPresence(now time.Time) *presence { return &presence{from: now, ticked: now} }

// tick notes that the server is here.
func (p *presence) tick(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.ticked) > absence {
		p.from = now
	}
	p.ticked = now
}

// quiet says how long an agent that reported last at a time has been silent
// while somebody listened.
func (p *presence) quiet(now, last time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.ticked) > absence {
		return 0
	}
	return max(0, min(now.Sub(last), now.Sub(p.from)))
}
