package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"howdah.dev/howdah/bench/report"
)

const (
	oneByOne    = 50
	atOnce      = 100
	launchLimit = time.Minute // of what takes seconds

	provisioned = "Provisioned" // the intent to launch is committed; the accepted offer goes to the master
	starting    = "TASK_STARTING"
	running     = "TASK_RUNNING"
)

// launch measures how long a real worker takes to start containers and commands, and
// what those who take too much do to their neighbours.
func (b *bench) launch(ctx context.Context) error {
	c, end, err := b.newRealCell(ctx)
	if err != nil {
		return err
	}
	defer end()
	hearing, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	h := &heard{came: map[happening][]time.Time{}}
	if _, err := c.api.listen(hearing, &wg, h.take); err != nil {
		return err
	}
	// The first pulls the image and unpacks it.
	if _, err := c.launchOne(ctx, h, contained("/launch/first", nil)); err != nil {
		return err
	}
	if err := b.one(ctx, c, h, "container", contained, 60, 150); err != nil {
		return err
	}
	if err := b.many(ctx, c, h); err != nil {
		return err
	}
	if err := b.one(ctx, c, h, "plain command", command, 20, 0); err != nil {
		return err
	}
	return b.neighbours(ctx, c, h)
}

// appSpec is an app with fields that spec has not.
type appSpec map[string]any

func (s appSpec) id() string { return s["id"].(string) }

// contained is an app of the image, changed by fields.
func contained(id string, fields appSpec) appSpec {
	s := appSpec{
		"id": id, "cpus": 0.01, "mem": 32, "instances": 1, "args": []string{"trap", "0", "wait"},
		"container": map[string]any{"type": "MESOS", "docker": map[string]any{"image": imageName}},
		"networks":  []map[string]string{{"mode": "container/bridge"}},
	}
	maps.Copy(s, fields)
	return s
}

// command is an app of a plain command.
func command(id string, _ appSpec) appSpec {
	return appSpec{"id": id, "cpus": 0.01, "mem": 32, "instances": 1, "cmd": "exec sleep 1000000"}
}

// one measures launches one after another. Each begins with the event of the committed
// intent and ends with that of TASK_RUNNING, both by the clock at which they come in
// here.
func (b *bench) one(ctx context.Context, c *cell, h *heard, what string, app func(string, appSpec) appSpec, goal50, goal95 float64) error {
	var took, first []float64
	before := c.usage()
	for k := range b.of(oneByOne) {
		s, err := c.launchOne(ctx, h, app(fmt.Sprintf("/launch/%c-%02d", what[0], k), nil))
		if err != nil {
			return err
		}
		took, first = append(took, s.whole), append(first, s.first)
	}
	b.atMost(goal50, fmt.Sprintf("offer to RUNNING, %s, p50, ms", what), report.Quantile(took, 0.5))
	b.atMost(goal95, "  "+what+", p95, ms", report.Quantile(took, 0.95))
	b.Note("%s: p50 %.1f ms to TASK_STARTING, which the worker says once the task is in its records", what, report.Quantile(first, 0.5))
	b.Note("%s: processor for %d: %s", what, len(took), c.usage().since(before))
	return nil
}

// span is how long a launch took, in milliseconds: all of it, and until the worker
// had it.
type span struct{ whole, first float64 }

// launchOne runs an app of one instance and removes it.
func (c *cell) launchOne(ctx context.Context, h *heard, app appSpec) (span, error) {
	if _, err := c.api.call(ctx, http.MethodPost, "/v2/apps", app, nil); err != nil {
		return span{}, err
	}
	if err := c.until(ctx, h, app.id(), running, 1); err != nil {
		return span{}, err
	}
	from := h.at(app.id(), provisioned)
	s := span{report.Millis(h.at(app.id(), running).Sub(from)), report.Millis(h.at(app.id(), starting).Sub(from))}
	return s, c.drop(ctx, app.id())
}

// drop removes apps and waits until nothing of them runs.
func (c *cell) drop(ctx context.Context, ids ...string) error {
	for _, id := range ids {
		if _, err := c.api.call(ctx, http.MethodDelete, "/v2/apps"+id+"?force=true", nil, nil); err != nil {
			return err
		}
	}
	return c.api.wait(ctx, launchLimit, "no deployment is left", c.api.quiet)
}

// many starts 100 instances at once.
func (b *bench) many(ctx context.Context, c *cell, h *heard) error {
	n, before := b.of(atOnce), c.usage()
	app := contained("/launch/many", appSpec{"instances": n})
	begun := time.Now()
	if _, err := c.api.call(ctx, http.MethodPost, "/v2/apps", app, nil); err != nil {
		return err
	}
	if err := c.until(ctx, h, app.id(), running, n); err != nil {
		return err
	}
	b.atMost(8, "100 containers at once, POST to all RUNNING, s", h.last(app.id(), running).Sub(begun).Seconds())
	b.Note("100 at once: processor %s", c.usage().since(before))
	return c.drop(ctx, app.id())
}

// happening is a state of an app's tasks, or a type of event about it.
type happening struct{ app, what string }

// heard is when which events came in.
type heard struct {
	mu   sync.Mutex
	came map[happening][]time.Time
}

// take notes an event that is about the state of a task.
func (h *heard) take(kind string, body []byte) {
	at := time.Now()
	var e struct{ AppID, RunSpecID, TaskStatus, Condition string }
	what := kind
	switch kind {
	case "status_update_event", "instance_changed_event", "unhealthy_instance_kill_event":
	default:
		return
	}
	if json.Unmarshal(body, &e) != nil {
		return // whoever waits for it says so
	}
	if kind != "unhealthy_instance_kill_event" {
		what = e.TaskStatus + e.Condition
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := happening{e.AppID + e.RunSpecID, what}
	h.came[key] = append(h.came[key], at)
}

func (h *heard) count(app, what string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.came[happening{app, what}])
}

// at is when something happened first, zero if it did not.
func (h *heard) at(app, what string) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.came[happening{app, what}] {
		return t
	}
	return time.Time{}
}

// last is when something happened last; it must have.
func (h *heard) last(app, what string) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.came[happening{app, what}]
	return all[len(all)-1]
}

// until waits until something has happened to an app so often. A launch that fails is
// the end: its time would say nothing.
func (c *cell) until(ctx context.Context, h *heard, app, what string, n int) error {
	return c.api.wait(ctx, launchLimit, fmt.Sprintf("%s is %s %d times", app, what, n), func(context.Context) (bool, error) {
		if what == running && h.count(app, failed) > 0 {
			return false, fmt.Errorf("a task of %s has failed", app)
		}
		return h.count(app, what) >= n, nil
	})
}
