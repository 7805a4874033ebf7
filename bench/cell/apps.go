package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	manyApps  = 10_000
	posters   = 8
	listeners = 8
	// busyPause is how long a client waits that is told there are too many deployments.
	busyPause = 5 * time.Millisecond
)

// apps0 creates very many apps with no instance, while clients listen that must
// lose nothing.
func (b *bench) apps0(ctx context.Context) error { return b.manyApps(ctx, 0, 500) }

// apps1 does the same with one instance each.
func (b *bench) apps1(ctx context.Context) error { return b.manyApps(ctx, 1, 200) }

func (b *bench) manyApps(ctx context.Context, instances int, goal float64) error {
	c, err := b.newCell(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	hearing, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var ears []*listener
	for range listeners {
		l, err := c.api.listen(hearing, &wg, nil)
		if err != nil {
			return err
		}
		ears = append(ears, l)
	}
	n, before := b.of(manyApps), c.usage()
	begun := time.Now()
	busy, err := c.postAll(ctx, n, instances)
	if err != nil {
		return err
	}
	b.atLeast(goal, fmt.Sprintf("10,000 apps with %d instances each, POST/s", instances), float64(n)/time.Since(begun).Seconds())
	if err := c.api.wait(ctx, workLimit, "all deployments are through", c.api.quiet); err != nil {
		return err
	}
	if instances > 0 {
		b.atLeast(goal, "  and until all of them run, apps/s", float64(n)/time.Since(begun).Seconds())
	}
	b.Note("apps%d: processor %s; %d answers were too many deployments", instances, c.usage().since(before), busy)
	if running, err := c.api.running(ctx); err != nil || running != n*instances {
		return fmt.Errorf("%d tasks run: %w", running, err)
	}
	return b.lost(ctx, c, ears, n, fmt.Sprintf("  events lost by 8 clients, %d instances each", instances))
}

// lost waits until every client has heard of every app, and counts what they missed.
func (b *bench) lost(ctx context.Context, c *cell, ears []*listener, n int, name string) error {
	err := c.api.wait(ctx, time.Minute, "every client has every event", func(context.Context) (bool, error) {
		for _, l := range ears {
			if !l.has("api_post_event", n) || !l.has("deployment_success", n) {
				return false, nil
			}
		}
		return true, nil
	})
	lost, cuts := 0, 0
	for _, l := range ears {
		l.mu.Lock()
		lost, cuts = lost+l.lost, cuts+l.cuts
		l.mu.Unlock()
	}
	b.atMost(0.001, name, float64(lost))
	b.Note("%s: the clients were cut off %d times", strings.TrimSpace(name), cuts)
	return err
}

// postAll creates apps, some at once, and tells how often it had to wait because
// too many deployments ran.
func (c *cell) postAll(ctx context.Context, n, instances int) (busy int64, err error) {
	var next, waits atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range posters {
		g.Go(func() error {
			for {
				k := next.Add(1) - 1
				if k >= int64(n) {
					return nil
				}
				app := newSpec(fmt.Sprintf("/many/g%02d/app-%05d", k%50, k), instances)
				for {
					status, err := c.api.call(ctx, http.MethodPost, "/v2/apps", app, nil)
					if err == nil {
						break
					}
					if status != http.StatusForbidden {
						return err
					}
					waits.Add(1)
					if err := sleep(ctx, busyPause); err != nil {
						return err
					}
				}
			}
		})
	}
	err = g.Wait()
	return waits.Load(), err
}
