package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"howdah.dev/howdah/bench/report"
)

const (
	manyEvents = 10_000
	perPost    = 5 // events of one change of an app: the call, the group, the deployment, its step, its end
	audience   = 100
)

// events measures what clients of events do to the API, one of which does not read.
func (b *bench) events(ctx context.Context) error {
	c, err := b.newCell(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	if _, err := c.api.call(ctx, http.MethodPost, "/v2/apps", newSpec("/told", 0), nil); err != nil {
		return err
	}
	alone, err := b.posts(ctx, c)
	if err != nil {
		return err
	}
	reading, err := b.heard(ctx, c, audience-1)
	if err != nil {
		return err
	}
	closer, err := c.api.stall(ctx)
	if err != nil {
		return err
	}
	defer closer.Close()
	stalled, err := b.heard(ctx, c, audience-1)
	if err != nil {
		return err
	}
	b.atMost(0, "10,000 events: p99 of a call, nobody listens, ms", alone)
	b.atMost(0, "  99 clients listen, ms", reading)
	b.atMost(0, "  and one more stalls, ms", stalled)
	b.atMost(1.5, "  ratio of the last two", stalled/reading)
	return nil
}

// heard measures while so many clients listen, and waits until each has had all.
func (b *bench) heard(ctx context.Context, c *cell, clients int) (p99 float64, err error) {
	hearing, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var ears []*listener
	for range clients {
		l, err := c.api.listen(hearing, &wg, nil)
		if err != nil {
			return 0, err
		}
		ears = append(ears, l)
	}
	if p99, err = b.posts(ctx, c); err != nil {
		return 0, err
	}
	n, lost, cuts := b.of(manyEvents)/perPost, 0, 0
	err = c.api.wait(ctx, time.Minute, "every client has every event", func(context.Context) (bool, error) {
		for _, l := range ears {
			if !l.has("deployment_success", n) {
				return false, nil
			}
		}
		return true, nil
	})
	for _, l := range ears {
		l.mu.Lock()
		lost, cuts = lost+l.lost, cuts+l.cuts
		l.mu.Unlock()
	}
	b.Note("%d clients lost %d events and were cut off %d times", clients, lost, cuts)
	if err == nil && lost > 0 {
		err = fmt.Errorf("%d events were lost", lost)
	}
	return p99, err
}

// posts changes an app until there were 10,000 events, and asks for it each time.
// It returns the 99th percentile of all calls in milliseconds.
func (b *bench) posts(ctx context.Context, c *cell) (float64, error) {
	var took []float64
	for k := range b.of(manyEvents) / perPost {
		change := spec{Labels: map[string]string{"k": fmt.Sprint(k), "at": time.Now().Format(time.RFC3339Nano)}}
		begun := time.Now()
		if _, err := c.api.call(ctx, http.MethodPut, "/v2/apps/told?force=true", change, nil); err != nil {
			return 0, err
		}
		took = append(took, report.Millis(time.Since(begun)))
		begun = time.Now()
		if _, err := c.api.call(ctx, http.MethodGet, "/v2/apps/told", nil, nil); err != nil {
			return 0, err
		}
		took = append(took, report.Millis(time.Since(begun)))
	}
	return report.Quantile(took, 0.99), nil
}
