package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

const (
	perApp    = 500
	bigApps   = 16
	workLimit = 5 * time.Minute // of one deployment of everything
)

// tasks measures how long 500 and 8,000 tasks take to start, to be replaced and
// to be found again.
func (b *bench) tasks(ctx context.Context) error {
	c, err := b.newCell(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	each := b.of(perApp)
	one, err := c.timed(ctx, func() error {
		_, err := c.api.call(ctx, http.MethodPost, "/v2/apps", newSpec("/one", each), nil)
		return err
	})
	if err != nil {
		return err
	}
	b.atMost(1.5, "1 × 500 instances created, s", one)
	if _, err := c.timed(ctx, func() error {
		_, err := c.api.call(ctx, http.MethodDelete, "/v2/apps/one", nil, nil)
		return err
	}); err != nil {
		return err
	}
	if err := b.replace(ctx, c, each); err != nil {
		return err
	}
	return b.recovery(ctx, c, each*bigApps)
}

// timed tells how many seconds some calls and what they ask for took.
func (c *cell) timed(ctx context.Context, calls func() error) (float64, error) {
	begun := time.Now()
	if err := calls(); err != nil {
		return 0, err
	}
	err := c.api.wait(ctx, workLimit, "all deployments are through", c.api.quiet)
	return time.Since(begun).Seconds(), err
}

// forAll makes one call for each of the 16 apps.
func (c *cell) forAll(ctx context.Context, method, path string, body func(id string) any) func() error {
	return func() error {
		for n := range bigApps {
			id := fmt.Sprintf("/big/app-%02d", n)
			if _, err := c.api.call(ctx, method, fmt.Sprintf(path, id), body(id), nil); err != nil {
				return err
			}
		}
		return nil
	}
}

// replace creates, restarts and updates 16 apps.
func (b *bench) replace(ctx context.Context, c *cell, each int) error {
	for _, step := range []struct {
		name string
		goal float64
		do   func() error
	}{
		{"created", 15, c.forAll(ctx, http.MethodPost, "/v2/apps%.0s", func(id string) any { return newSpec(id, each) })},
		{"restarted", 30, c.forAll(ctx, http.MethodPost, "/v2/apps%s/restart", func(string) any { return nil })},
		{"updated", 30, c.forAll(ctx, http.MethodPut, "/v2/apps%s", func(string) any { return spec{Command: "exec sleep 2000000"} })},
	} {
		c.resetPeaks()
		before := c.usage()
		took, err := c.timed(ctx, step.do)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		b.atMost(step.goal, "16 × 500 instances "+step.name+", s", took)
		b.Note("%s: processor %s", step.name, c.usage().since(before))
		if n, err := c.api.running(ctx); err != nil || n != each*bigApps {
			return fmt.Errorf("%s: %d tasks run: %w", step.name, n, err)
		}
		for _, role := range []string{roleScheduler, roleMaster} {
			peak, err := c.peak(role)
			if err != nil {
				return err
			}
			b.atMost(200, "  "+step.name+", peak of the "+role+", MB", peak)
		}
	}
	return nil
}

// recovery kills the scheduler, then the master, and tells how long the next one
// takes until it knows all tasks, and until a new app runs.
func (b *bench) recovery(ctx context.Context, c *cell, total int) error {
	probe := func(id string) error {
		_, err := c.timed(ctx, func() error {
			_, err := c.api.call(ctx, http.MethodPost, "/v2/apps", newSpec(id, 1), nil)
			return err
		})
		return err
	}
	for _, p := range []struct {
		role string
		ask  func(context.Context) (bool, error)
	}{
		{roleScheduler, func(ctx context.Context) (bool, error) {
			n, err := c.api.running(ctx)
			return err == nil && n == total, nil
		}},
		{roleMaster, func(ctx context.Context) (bool, error) {
			var answer map[string]float64
			err := c.get(ctx, "/metrics/snapshot", &answer)
			return err == nil && answer["master/tasks_running"] >= float64(total), nil
		}},
	} {
		c.kill(p.role)
		begun := time.Now()
		if err := c.start(p.role); err != nil {
			return err
		}
		if err := c.api.wait(ctx, workLimit, "the "+p.role+" knows all tasks", p.ask); err != nil {
			return err
		}
		b.atMost(5, "a killed "+p.role+" knows 8,000 tasks again, s", time.Since(begun).Seconds())
		if err := probe("/probe-" + p.role); err != nil {
			return err
		}
		b.atMost(5, "  a killed "+p.role+" has a new app running, s", time.Since(begun).Seconds())
	}
	return nil
}
