package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/adapter/marathon"
	"howdah.dev/howdah/internal/number"
)

const (
	// probation is for how long new instances are looked at that no health check
	// speaks for: most that cannot run end at once.
	probation = time.Second
	// queueGlance is how often it is asked what keeps launches back, and
	// reasonsAgain after how long reasons are printed again that have changed.
	queueGlance  = time.Second
	reasonsAgain = 15 * time.Second
	maxReasons   = 8 // printed at once
)

// deploy makes a change and follows it.
func (a *app) deploy(ctx context.Context, f *appFlags, id string, change func(context.Context, *cell) (marathon.Result, error)) error {
	c, err := a.openCell(ctx, f.cell)
	if err != nil {
		return err
	}
	before, err := c.App(ctx, id)
	if err != nil {
		before = &marathon.App{} // a new one; whether the cell answers shows now
	}
	r, err := change(ctx, c)
	if err != nil {
		return appError(err)
	}
	if !f.wait {
		return a.print(r, func(w io.Writer) { fmt.Fprintf(w, "deployment %s of %s\n", r.DeploymentID, id) })
	}
	a.goesOn = f.onCell("howdah app describe " + id)
	return a.followApp(ctx, c, before, id, r)
}

// followApp waits until a change of an app is through, and tells whether it went
// well.
func (a *app) followApp(ctx context.Context, c *cell, before *marathon.App, id string, r marathon.Result) error {
	t := a.teller(c)
	if before.LastFailure != nil {
		t.failures[id] = *before.LastFailure
	}
	for wait := r.DeploymentID; ; {
		err := c.Wait(ctx, wait, func(d marathon.Deployment) { t.tell(ctx, d.Waiting) })
		if err != nil {
			return appError(err)
		}
		now, err := c.App(ctx, id)
		if err == nil && len(now.Deployments) > 0 && now.Version <= r.Version { // nothing was to be changed, but an earlier change is not through
			wait = now.Deployments[0].ID
			continue
		}
		if err == nil {
			err = c.failing(ctx, now, r)
		}
		if err != nil && !errors.Is(err, marathon.ErrNotFound) { // Through says whether it is to be there
			return appError(err)
		}
		if now, err = c.Through(ctx, id, r); err != nil {
			return appError(err)
		}
		if now == nil {
			return a.print(r, func(w io.Writer) { fmt.Fprintf(w, "%s is gone\n", id) })
		}
		return a.print(now, func(w io.Writer) { fmt.Fprintf(w, "%s runs %d of %d\n", id, now.TasksRunning, now.Instances) })
	}
}

// onCell adds what a command needs to find the same cell.
func (f *appFlags) onCell(command string) string {
	if f.cell != "" {
		command += " --cell " + f.cell
	}
	return command
}

// failing says why instances of an app fail that has just been deployed, nil if they
// do not. Where no health check has shown that they are well, they are looked at for
// as long as most take that cannot run.
func (c *cell) failing(ctx context.Context, now *marathon.App, r marathon.Result) error {
	was, end := now.LastFailure, time.Now().Add(probation)
	for {
		last := now.LastFailure
		switch lately := last != nil && last.Timestamp >= r.Version; {
		case now.TasksUnhealthy > 0, lately && now.TasksRunning < now.Instances:
			queue, err := c.Queue(ctx)
			if err != nil {
				return err
			}
			return failed(appFindings(now, queue, nil))
		case last != nil && (was == nil || *last != *was):
			e := &appChain{app: now.ID}
			e.add("is", fmt.Sprintf("%s runs %d of %d, but instances end as soon as they run", now.ID, now.TasksRunning, now.Instances), "")
			e.failure(last)
			e.add("next", "read what it wrote: howdah app logs "+now.ID, "")
			return failed(e.findings)
		case len(now.HealthChecks) > 0, now.Instances == 0, now.Version > r.Version, time.Now().After(end):
			return nil
		}
		if err := sleep(ctx, glance); err != nil {
			return err
		}
		var err error
		if now, err = c.App(ctx, now.ID); err != nil {
			return err
		}
	}
}

func failed(findings []api.Finding) error {
	return &followError{code: exitFailed, summary: findings[0].Message, findings: findings}
}

// teller says what apps wait for, to people: what it has said it says again only
// when it has changed.
type teller struct {
	a        *app
	c        *cell
	waits    map[string]string           // by app; without for how long
	failures map[string]marathon.Failure // by app
	pauses   map[string]time.Time        // until when launches wait, by app
	reasons  map[string]string           // of workers, by app
	told     map[string]time.Time        // when reasons were, by app
	looked   time.Time                   // at the queue
}

func (a *app) teller(c *cell) *teller {
	return &teller{a, c, map[string]string{}, map[string]marathon.Failure{}, map[string]time.Time{}, map[string]string{}, map[string]time.Time{}, time.Time{}}
}

// tell takes in what each app waits for, in a sentence.
func (t *teller) tell(ctx context.Context, waiting map[string]string) {
	if t.a.programs() {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(waiting)) {
		if wait := steady(waiting[id]); wait != t.waits[id] {
			t.waits[id] = wait
			t.say(id, waiting[id])
		}
	}
	if len(waiting) == 0 || time.Since(t.looked) < queueGlance {
		return
	}
	t.looked = time.Now()
	for id := range waiting {
		if x, err := t.c.App(ctx, id); err == nil && x.LastFailure != nil && *x.LastFailure != t.failures[id] {
			t.failures[id] = *x.LastFailure
			t.say(id, "an instance failed: "+cmp.Or(x.LastFailure.Message, x.LastFailure.State))
		}
	}
	queue, err := t.c.Queue(ctx)
	if err != nil {
		return // it is a courtesy; what is waited for says by itself if the cell is away
	}
	for _, q := range queue {
		if _, ours := waiting[q.App.ID]; ours {
			t.queued(q)
		}
	}
}

// queued says what keeps launches back: a pause after failures, or each worker.
func (t *teller) queued(q marathon.Queued) {
	id := q.App.ID
	if left := time.Duration(q.Delay.Left) * time.Second; left > 0 {
		until := time.Now().Add(left)
		if until.Sub(t.pauses[id]) > 2*time.Second { // the cell counts in seconds
			t.pauses[id] = until
			t.say(id, "the next launch waits "+span(left)+", for instances failed")
		}
		return
	}
	reasons := strings.Join(q.Reasons, "\n")
	if reasons == t.reasons[id] || time.Since(t.told[id]) < reasonsAgain {
		return
	}
	t.reasons[id], t.told[id] = reasons, time.Now()
	for n, r := range q.Reasons {
		if n == maxReasons {
			t.say(id, fmt.Sprintf("  and %s more; see: howdah app describe %s", number.Count(len(q.Reasons)-n, "worker"), id))
			break
		}
		t.say(id, "  "+r)
	}
}

func (t *teller) say(id, what string) { fmt.Fprintf(t.a.err, "%s: %s\n", tame(id), tame(what)) }

var forSoLong = regexp.MustCompile(` for \d+ (s|min|h)( \d+ (s|min))?`)

// steady leaves out for how long something waits, which always changes.
func steady(wait string) string { return forSoLong.ReplaceAllString(wait, "") }
