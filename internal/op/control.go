package op

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/store"
)

// Reasons an operation stops early; kept in its row, so that a restart goes on
// stopping it.
const (
	reasonCancel    = "cancelled by request"
	reasonSupersede = "superseded by operation "
)

// stopping reports whether an operation only finishes what it has in flight.
func stopping(o store.Operation) bool {
	return o.Reason == reasonCancel || strings.HasPrefix(o.Reason, reasonSupersede)
}

// Submit adds an operation for a cluster. Open operations of the cluster are
// superseded: what they have in flight finishes first, what they have not
// begun is dropped.
func Submit(tx *store.Tx, o store.Operation) (int64, error) {
	o.State = api.OperationQueued
	if o.Args == "" {
		o.Args = "{}"
	}
	open, err := tx.OpenOperations()
	if err != nil {
		return 0, err
	}
	id, err := tx.InsertOperation(o)
	if err != nil {
		return 0, err
	}
	for _, old := range open {
		if old.Cluster != o.Cluster {
			continue
		}
		old.Reason = fmt.Sprint(reasonSupersede, id)
		if old.State != api.OperationRunning {
			now := tx.Now()
			old.State, old.Finished = api.OperationSuperseded, &now
		}
		if err := tx.UpdateOperation(old); err != nil {
			return 0, err
		}
	}
	return id, tx.Event(api.Event{Type: "operation.queued", Cluster: o.Name, Operation: id, Message: o.Kind + " of " + o.Name + " asked for"})
}

// drop lets an operation that is to stop end once nothing of it acts.
func (e *Engine) drop(ctx context.Context, o store.Operation) error {
	acting := false
	e.mu.Lock()
	delete(e.graphs, o.ID) // nothing of it begins any more
	e.unqueue(o.ID)
	for _, f := range e.running {
		if f.operation != o.ID {
			continue
		}
		f.dropped = true
		if f.waiting {
			f.cancel(errDropped)
		}
		acting = true
	}
	e.mu.Unlock()
	if acting {
		return nil // its goroutines nudge when they end
	}
	e.cfg.Crash("drop:before")
	defer e.cfg.Crash("drop:after")
	return e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		steps, err := tx.Steps(o.ID) // as they are now that nothing acts
		if err != nil {
			return err
		}
		for _, s := range steps {
			switch s.State {
			case api.StepTodo, api.StepDoing, api.StepWaiting:
				now := tx.Now()
				s.State, s.Finished, s.Waiting = api.StepSkipped, &now, ""
				if err := tx.UpdateStep(s); err != nil {
					return err
				}
			case api.StepDone, api.StepFailed, api.StepSkipped:
			}
		}
		o.State = api.OperationSuperseded
		if o.Reason == reasonCancel {
			o.State = api.OperationCancelled
		}
		now := tx.Now()
		o.Finished = &now
		if err := tx.UpdateOperation(o); err != nil {
			return err
		}
		return tx.Event(api.Event{Type: "operation." + string(o.State), Cluster: o.Name, Operation: o.ID, Message: fmt.Sprintf("%s of %s: %s", o.Kind, o.Name, o.Reason)})
	})
}

// unqueue takes the steps of an operation out of the queue. The caller holds mu.
func (e *Engine) unqueue(operation int64) {
	e.queue = slices.DeleteFunc(e.queue, func(f *flight) bool {
		if f.operation != operation {
			return false
		}
		f.cancel(errDropped)
		e.landed(f)
		return true
	})
}

// ErrState is returned when an operation is not in a state for what is asked.
var ErrState = errors.New("not possible now")

// Cancel stops an operation: what is in flight finishes, the rest is dropped.
func (e *Engine) Cancel(ctx context.Context, id int64) error {
	return e.change(ctx, id, func(_ *store.Tx, o *store.Operation, _ []store.Step) error {
		switch o.State {
		case api.OperationQueued, api.OperationFailed:
			o.State, o.Reason = api.OperationCancelled, reasonCancel
		case api.OperationRunning:
			o.Reason = reasonCancel
		case api.OperationDone, api.OperationCancelled, api.OperationSuperseded, api.OperationAbandoned:
			return fmt.Errorf("%w: operation %d is %s", ErrState, id, o.State)
		}
		return nil
	})
}

// Retry runs the failed steps of an operation again; step 0 means all of them.
func (e *Engine) Retry(ctx context.Context, id, step int64) error {
	return e.revive(ctx, id, step, api.StepTodo)
}

// Skip takes a failed step as done and goes on after it.
func (e *Engine) Skip(ctx context.Context, id, step int64) error {
	if step == 0 {
		return fmt.Errorf("%w: say which step to skip", ErrState)
	}
	return e.revive(ctx, id, step, api.StepSkipped)
}

func (e *Engine) revive(ctx context.Context, id, step int64, to api.StepState) error {
	return e.change(ctx, id, func(tx *store.Tx, o *store.Operation, steps []store.Step) error {
		if o.State != api.OperationFailed {
			return fmt.Errorf("%w: operation %d is %s, not failed", ErrState, id, o.State)
		}
		n := 0
		for _, s := range steps {
			if s.State != api.StepFailed && !gaveUp(s) || (step != 0 && s.ID != step) {
				continue
			}
			n++
			s.State, s.Tries, s.Started, s.Finished, s.Until, s.NotBefore = to, 0, nil, nil, nil, nil
			if err := tx.UpdateStep(s); err != nil {
				return err
			}
		}
		if n == 0 && o.Planned {
			return fmt.Errorf("%w: operation %d has no such failed step", ErrState, id)
		}
		o.Reason = ""
		o.State = api.OperationRunning
		if !o.Planned {
			o.State = api.OperationQueued
		}
		return nil
	})
}

// Abandon gives a failed operation up; what it did stays.
func (e *Engine) Abandon(ctx context.Context, id int64) error {
	return e.change(ctx, id, func(tx *store.Tx, o *store.Operation, _ []store.Step) error {
		switch {
		case o.State.Final():
			return fmt.Errorf("%w: operation %d is %s", ErrState, id, o.State)
		case o.State != api.OperationFailed:
			return fmt.Errorf("%w: operation %d is %s, not failed; cancel it instead", ErrState, id, o.State)
		}
		now := tx.Now()
		o.State, o.Finished = api.OperationAbandoned, &now
		return nil
	})
}

// change applies fn to an operation and records it.
func (e *Engine) change(ctx context.Context, id int64, fn func(*store.Tx, *store.Operation, []store.Step) error) error {
	return e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		o, err := tx.Operation(id)
		if err != nil {
			return err
		}
		steps, err := tx.Steps(id)
		if err != nil {
			return err
		}
		if err := fn(tx, &o, steps); err != nil {
			return err
		}
		if o.State.Final() && o.Finished == nil {
			now := tx.Now()
			o.Finished = &now
		}
		if err := tx.UpdateOperation(o); err != nil {
			return err
		}
		return tx.Event(api.Event{Type: "operation." + string(o.State), Cluster: o.Name, Operation: id, Message: fmt.Sprintf("%s of %s is now %s", o.Kind, o.Name, o.State)})
	})
}
