package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"howdah.dev/howdah/bench/report"
)

const (
	listedApps = 1000
	tasksEach  = 8
	looks      = 50 // at an unchanged list
	changes    = 20 // of one task
)

// list measures what a poll of all apps with their tasks costs.
func (b *bench) list(ctx context.Context) error {
	c, err := b.newCell(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	n, before := b.of(listedApps), c.usage()
	group := struct {
		ID   string `json:"id"`
		Apps []spec `json:"apps"`
	}{ID: "/listed"}
	for k := range n {
		group.Apps = append(group.Apps, newSpec(fmt.Sprintf("/listed/app-%04d", k), tasksEach))
	}
	took, err := c.timed(ctx, func() error {
		_, err := c.api.call(ctx, http.MethodPost, "/v2/groups", group, nil)
		return err
	})
	if err != nil {
		return err
	}
	b.atMost(0, "a group of 1,000 × 8 instances created, s", took)
	b.Note("list: processor %s", c.usage().since(before))
	return b.polls(ctx, c)
}

func (b *bench) polls(ctx context.Context, c *cell) error {
	first, err := c.api.poll(ctx, "")
	if err != nil {
		return err
	}
	b.Note("the list has %.1f MB", float64(first.size)/1e6)
	var same, cached, changed []float64
	for range looks {
		p, err := c.api.poll(ctx, first.tag)
		if err != nil {
			return err
		}
		if p.status != http.StatusNotModified {
			return fmt.Errorf("the list changed though nothing did: %d", p.status)
		}
		same = append(same, report.Millis(p.took))
		if p, err = c.api.poll(ctx, ""); err != nil {
			return err
		}
		cached = append(cached, report.Millis(p.took))
	}
	tag := first.tag
	for k := range changes {
		p, err := c.afterChange(ctx, k, tag)
		if err != nil {
			return err
		}
		tag = p.tag
		changed = append(changed, report.Millis(p.took))
	}
	b.atMost(2, "the list of 1,000 apps × 8 tasks: 304, ms", report.Median(same))
	b.atMost(10, "  200 cached, ms", report.Median(cached))
	b.atMost(20, "  200 after one task changed, ms", report.Median(changed))
	b.Note("list: slowest 304 %.1f ms, cached %.1f ms, after a change %.1f ms", report.Quantile(same, 1), report.Quantile(cached, 1), report.Quantile(changed, 1))
	return nil
}

// afterChange kills a task, waits for the next one to run and polls.
func (c *cell) afterChange(ctx context.Context, k int, tag string) (answer, error) {
	id := fmt.Sprintf("/listed/app-%04d", k)
	var tasks struct{ Tasks []struct{ ID string } }
	if _, err := c.api.call(ctx, http.MethodGet, "/v2/apps"+id+"/tasks", nil, &tasks); err != nil {
		return answer{}, err
	}
	if len(tasks.Tasks) == 0 {
		return answer{}, errors.New("the app has no tasks")
	}
	gone := tasks.Tasks[0].ID
	if _, err := c.api.call(ctx, http.MethodDelete, "/v2/apps"+id+"/tasks/"+gone, nil, nil); err != nil {
		return answer{}, err
	}
	err := c.api.wait(ctx, time.Minute, "another task runs", func(ctx context.Context) (bool, error) {
		var app struct{ App counted }
		_, err := c.api.call(ctx, http.MethodGet, "/v2/apps"+id, nil, &app)
		if err != nil || app.App.Running != tasksEach {
			return false, err
		}
		_, err = c.api.call(ctx, http.MethodGet, "/v2/apps"+id+"/tasks", nil, &tasks)
		for _, t := range tasks.Tasks {
			if t.ID == gone {
				return false, err
			}
		}
		return true, err
	})
	if err != nil {
		return answer{}, err
	}
	p, err := c.api.poll(ctx, tag)
	if err == nil && p.status != http.StatusOK {
		err = fmt.Errorf("a task changed and the list did not: %d", p.status)
	}
	return p, err
}

// answer is what a poll got.
type answer struct {
	status int
	size   int64
	tag    string
	took   time.Duration
}

// poll asks for the list, and reads all of it.
func (a *api) poll(ctx context.Context, tag string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/v2/apps?embed=apps.tasks", nil)
	if err != nil {
		return answer{}, err
	}
	if tag != "" {
		req.Header.Set("If-None-Match", tag)
	}
	req.Header.Set("Authorization", "Bearer "+a.secret)
	begun := time.Now()
	resp, err := a.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	size, err := io.Copy(io.Discard, resp.Body) // keeping it would measure this program
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("the list is refused: %s", resp.Status)
	}
	return answer{resp.StatusCode, size, resp.Header.Get("ETag"), time.Since(begun)}, err
}
