package scheduler

import (
	"context"
	"fmt"
)

// Queued is an app that wants launches.
type Queued struct {
	Waiting
	Count int
}

// Queued returns what an app waits for, or nil if it wants no launch.
func (v View) Queued(id string) *Queued {
	d, w := v.s.decisions[id], v.s.waiting[id]
	if d == nil || w == nil || d.Launch == 0 {
		return nil
	}
	return &Queued{Waiting: *w, Count: d.Launch}
}

// ResetDelay lets the next launch of an app begin at once.
func (e *Engine) ResetDelay(ctx context.Context, id string) error {
	return e.do(ctx, func(t *tx) error {
		a := t.apps.get(id)
		if a == nil {
			return fmt.Errorf("App '%s' does not exist: %w", id, ErrNotFound)
		}
		next := clone(a)
		next.Backoff = Backoff{}
		t.putApp(next)
		return nil
	})
}

// Kill ends instances; others take their place.
func (e *Engine) Kill(ctx context.Context, ids []string) error {
	return e.do(ctx, func(t *tx) error {
		for _, id := range ids {
			if i := t.instances.get(id); i != nil {
				t.kill(i, "asked for")
			}
		}
		return nil
	})
}
