package scheduler

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// progressWrite is how often progress alone is written. What a crash takes of it
// is noticed again as progress.
const progressWrite = 5 * time.Second

// advance looks at every deployment: opens the next layer where the one before is
// as wanted, ends those that are through, notes progress and its absence.
func (t *tx) advance() {
	for _, d := range t.deploying() {
		if t.step(d) {
			t.settle()
		}
	}
}

// step advances one deployment and tells whether apps must be planned again.
func (t *tx) step(d *Deployment) (again bool) {
	next := clone(d)
	for next.Reached < len(next.Layers) && t.through(next.Layers[next.Reached]) {
		next.Reached++
		next.Best, next.Progressed, next.Stalled = 0, t.now, "" // the next layer's progress is counted from its beginning
		t.emitStep(next)
		if next.Reached < len(next.Layers) {
			for _, id := range next.Layers[next.Reached] {
				t.touch(id)
			}
			t.deployments.put(d.ID, next) // what the plan of those apps looks at
			t.settle()
		}
	}
	if next.Reached == len(next.Layers) {
		t.succeed(next)
		return true
	}
	changed, stalls := t.progress(next)
	switch {
	case stalls, next.Reached != d.Reached, changed && t.now.Sub(d.written) >= progressWrite:
		next.written = t.now
		t.putDeployment(next)
		return true
	case changed:
		t.deployments.put(d.ID, next)
		t.light[d.ID] = true
	}
	return false
}

// through tells whether apps are as wanted.
func (t *tx) through(ids []string) bool {
	return !slices.ContainsFunc(ids, func(id string) bool {
		d := t.decisions.get(id)
		return t.apps.get(id) != nil && (d == nil || !d.Done)
	})
}

// progress notes how far a deployment is, and tells whether that differs from
// before, and whether it stalls or did.
func (t *tx) progress(d *Deployment) (changed, stalls bool) {
	best, stalled := 0, ""
	for _, id := range d.Layers[d.Reached] {
		if dec := t.decisions.get(id); dec != nil {
			best += dec.Progress
			if dec.Stalled != "" {
				stalled = id + ": " + dec.Stalled + t.rootCause(d, id)
			}
		}
	}
	switch {
	case best > d.Best:
		stalls = stalled != "" || d.Stalled != ""
		d.Best, d.Progressed, d.Stalled = best, t.now, ""
		return true, stalls
	case stalled != d.Stalled && (stalled == "" || d.Stalled == ""):
		d.Stalled = stalled
		if stalled != "" {
			t.emitStalled(d)
		}
		return true, true
	}
	return false, false
}

// rootCause names the last failure of an app since its deployment began: what
// waits for instances that fail waits for that to be mended.
func (t *tx) rootCause(d *Deployment, id string) string {
	a := t.apps.get(id)
	if a == nil || a.LastFailure == nil || a.LastFailure.Timestamp.Before(d.Version.Time) {
		return ""
	}
	return "; the last instance failed: " + a.LastFailure.Message
}

// succeed ends a deployment that is through.
func (t *tx) succeed(d *Deployment) {
	t.removeDeployment(d)
	t.emitDeploymentEnd(d, "")
}

// end ends a deployment that is not through. What it asked for stays wanted,
// but nothing is replaced for it any more.
func (t *tx) end(d *Deployment, why string) {
	for id := range d.Before {
		if a := t.apps.get(id); a != nil && !a.Removed {
			a = clone(a)
			a.Accept = time.Time{}
			t.putApp(a)
		}
	}
	t.removeDeployment(d)
	t.emitDeploymentEnd(d, why)
}

// Cancel ends a deployment and leaves everything as it is at this moment.
func (e *Engine) Cancel(ctx context.Context, id string) error {
	return e.do(ctx, func(t *tx) error {
		d := t.deployments.get(id)
		if d == nil {
			return fmt.Errorf("DeploymentPlan %s does not exist: %w", id, ErrNotFound)
		}
		t.end(d, "it was cancelled")
		return nil
	})
}

// Rollback replaces a deployment by one that wants what was wanted before it; a
// dry run only tells its steps.
func (e *Engine) Rollback(ctx context.Context, id string, dryRun bool) (*Deployment, error) {
	var back *Deployment
	err := e.do(ctx, func(t *tx) error {
		d := t.deployments.get(id)
		if d == nil {
			return fmt.Errorf("DeploymentPlan %s does not exist: %w", id, ErrNotFound)
		}
		c, err := t.undo(ctx, e, d)
		if err != nil {
			return err
		}
		back, err = t.update(c, UpdateOptions{Force: true, DryRun: dryRun, Project: d.Project})
		if err == nil && !dryRun && t.deployments.get(id) != nil { // nothing of it was left to take back
			t.removeDeployment(d)
			t.emitDeploymentEnd(d, "it was taken back")
		}
		return err
	})
	return back, err
}

// undo returns the change that takes a deployment back.
func (t *tx) undo(ctx context.Context, e *Engine, d *Deployment) (Change, error) {
	c := Change{Groups: map[string]*Group{}}
	for _, id := range d.Apps() {
		was := d.Before[id]
		if was.Version == "" || was.Removed {
			c.Remove = append(c.Remove, id)
			continue
		}
		spec, err := e.Version(ctx, id, was.Version)
		if err != nil {
			return c, err
		}
		if spec == nil {
			return c, &GoneError{App: id, Version: was.Version}
		}
		spec.Instances = was.Instances
		c.Put, c.Back = append(c.Put, spec), append(c.Back, id)
	}
	for id, g := range d.Groups {
		c.Groups[id] = nil
		if g != nil {
			c.Groups[id] = clone(g)
		}
	}
	return c, nil
}

// held returns an app as it was when a deployment began, if that deployment
// has not come to it yet.
func (t *tx) held(id string) (was Before, by *Deployment) {
	if d := t.deploymentOf(id); d != nil && d.layer(id) > d.Reached {
		return d.Before[id], d
	}
	return Before{}, nil
}
