package op

import (
	"context"
	"fmt"
	"slices"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/store"
)

// How often a waiting step is asked when nothing changes: soon at first, then ever
// more seldom.
const (
	again  = 2 * time.Second
	seldom = 16 * time.Second
)

// launch has steps begin that nothing works on yet, in their order and before all that
// were to begin until now: what is under way is brought to its end before more is taken
// up, and few steps do not wait behind many. The caller holds mu.
func (e *Engine) launch(ctx context.Context, o store.Operation, steps []store.Step) {
	if ctx.Err() != nil {
		return
	}
	for _, s := range slices.Backward(steps) {
		if _, on := e.running[s.ID]; on {
			continue
		}
		f := e.newFlight(ctx, o, s)
		e.running[s.ID] = f
		e.flights[o.ID]++
		e.queue = append(e.queue, f)
	}
	e.start()
}

// newFlight is the work on a step, which has not begun.
func (e *Engine) newFlight(life context.Context, o store.Operation, s store.Step) *flight {
	ctx, cancel := context.WithCancelCause(life)
	f := &flight{step: s.ID, operation: o.ID, cancel: cancel}
	f.work = func() {
		state := s.State
		defer func() {
			cancel(nil)
			e.ended(life, f, state)
		}()
		var err error
		if state, err = e.drive(ctx, f, o, s); err != nil && ctx.Err() == nil {
			e.cfg.Log.Error("cannot record step", "step", s.ID, "kind", s.Kind, "error", err)
			_ = pause(ctx, later(time.Second)) // the disk may be full; do not fill it with lines
		}
	}
	return f
}

// start begins steps of the queue while there is room for them. The caller holds mu.
func (e *Engine) start() {
	for e.acting < e.room && len(e.queue) > 0 {
		last := len(e.queue) - 1
		f := e.queue[last]
		e.queue = slices.Delete(e.queue, last, last+1)
		e.acting++
		e.wg.Go(f.work)
	}
}

// ended takes a step out of the flight and starts what comes after it. A step that
// ended otherwise than done, and the last one of its operation, have the whole
// operation looked at.
func (e *Engine) ended(ctx context.Context, f *flight, state api.StepState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !f.waiting {
		e.acting--
	}
	e.landed(f)
	if g := e.graphs[f.operation]; g != nil {
		if state == api.StepDone {
			e.launch(ctx, g.op, g.end(f.step))
		} else if state != api.StepFailed { // a failure only stops what comes after it
			g.stale = true
			e.nudge()
		}
	}
	if e.flights[f.operation] == 0 {
		e.nudge()
	}
	e.start()
}

// landed takes a step out of what is in flight. The caller holds mu.
func (e *Engine) landed(f *flight) {
	delete(e.running, f.step)
	if e.flights[f.operation]--; e.flights[f.operation] == 0 {
		delete(e.flights, f.operation)
	}
}

func (e *Engine) nudge() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// drive takes one step to its end and returns the state it left it in.
func (e *Engine) drive(ctx context.Context, f *flight, o store.Operation, s store.Step) (api.StepState, error) {
	topic := store.ClusterTopic(o.Cluster)
	if s.Node != "" {
		topic = store.NodeTopic(s.Node)
	}
	sub := e.cfg.Store.Subscribe(topic)
	defer sub.Close()
	kind, known := e.cfg.Kinds[s.Kind]
	open, err := e.begin(ctx, &s)
	if err != nil || !open {
		return s.State, err
	}
	if !known {
		err := e.record(ctx, o, &s, Fail(fmt.Errorf("this howdah knows no step of kind %s", s.Kind)))
		return s.State, err
	}
	// A wait that a restart of the server cut short has its time again. A pause is over:
	// where the clock was set back it would last for hours.
	s.Until, s.NotBefore = nil, nil
	for idle := again; ; {
		// A pause between two tries acts no more than a wait: it may be dropped.
		e.setWaiting(f, s.NotBefore != nil)
		if err := pause(ctx, s.NotBefore); err != nil {
			return s.State, nil //nolint:nilerr // the step stays as it is in the journal
		}
		e.setWaiting(f, false)
		e.cfg.Crash("do:" + s.Key)
		seen(sub.C)
		r := kind.Do(ctx, Call{Step: s, Operation: o, Waits: func(on bool) { e.setWaiting(f, on) }})
		if ctx.Err() != nil && r.state != resultDone {
			return s.State, nil
		}
		if err := e.record(ctx, o, &s, r); err != nil {
			return s.State, err
		}
		switch s.State {
		case api.StepWaiting:
			e.setWaiting(f, true)
			changed, on := rouse(ctx, sub, s.Until, idle)
			if !on {
				return s.State, nil
			}
			if idle = min(2*idle, seldom); changed {
				idle = again
			}
		case api.StepDoing: // to be tried again
		case api.StepTodo, api.StepDone, api.StepFailed, api.StepSkipped:
			return s.State, nil
		}
	}
}

// setWaiting notes whether a step only waits, which makes room for another. One that was
// dropped while it acted ends as soon as it would wait.
func (e *Engine) setWaiting(f *flight, on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case on && !f.waiting:
		e.acting--
	case f.waiting && !on:
		e.acting++
	}
	f.waiting = on
	if on && f.dropped {
		f.cancel(errDropped)
	}
	e.start()
}

// begin commits a step as doing before it acts, unless it waits already. What the
// survey saw may be over by now: a step that has ended, or whose operation is to stop,
// is not open. From here on nobody else works on it.
func (e *Engine) begin(ctx context.Context, s *store.Step) (open bool, err error) {
	e.cfg.Crash("begin:before:" + s.Key)
	err = e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		o, err := tx.Operation(s.Operation)
		if err != nil {
			return err
		}
		now, err := tx.Step(s.ID)
		if err != nil {
			return err
		}
		now.After = s.After
		*s = now
		switch {
		case o.State != api.OperationRunning || stopping(o):
			return nil
		case s.State == api.StepWaiting:
			open = true
			return nil
		case s.State != api.StepTodo && s.State != api.StepDoing:
			return nil
		}
		open = true
		at := tx.Now()
		s.State, s.Error, s.Waiting, s.Until = api.StepDoing, "", "", nil
		s.Tries++
		if s.Started == nil {
			s.Started = &at
		}
		return tx.UpdateStep(*s)
	})
	e.cfg.Crash("begin:after:" + s.Key)
	return open, err
}

// record commits what an attempt came to, with the rows it changes.
func (e *Engine) record(ctx context.Context, o store.Operation, s *store.Step, r Result) error {
	next := *s
	next.NotBefore = nil
	now := time.Now()
	ev := api.Event{Cluster: o.Name, Operation: o.ID}
	switch r.state {
	case resultDone:
		next.State, next.Finished, next.Waiting, next.Error, next.Until = api.StepDone, &now, "", "", nil
		ev.Type, ev.Message = "step.done", s.Title
	case resultWait:
		if until := s.Until; s.State == api.StepWaiting && until != nil {
			r.until = *until // a deadline does not move while one waits
		}
		if now.After(r.until) {
			next.State, next.Finished = api.StepFailed, &now
			next.Error = fmt.Sprintf("waited %s for: %s", elapsed(s.Started, now), r.what)
			ev.Type, ev.Message = "step.failed", s.Title+": "+next.Error
			break
		}
		if s.State == api.StepWaiting && s.Waiting == r.what && s.Until != nil {
			return nil
		}
		next.State, next.Waiting, next.Until = api.StepWaiting, r.what, &r.until
		ev.Type, ev.Message = "step.waiting", s.Title+": waiting for "+r.what
	case resultRetry:
		if s.Tries >= maxTries {
			next.State, next.Finished, next.Error = api.StepFailed, &now, fmt.Sprintf("gave up after %d tries: %v", s.Tries, r.err)
			ev.Type, ev.Message = "step.failed", s.Title+": "+next.Error
			break
		}
		later := now.Add(r.after)
		next.State, next.NotBefore, next.Error = api.StepDoing, &later, r.err.Error()
		next.Tries++
		ev.Type, ev.Message = "step.retry", fmt.Sprintf("%s: %v; trying again in %s", s.Title, r.err, r.after)
	case resultFail:
		next.State, next.Finished, next.Error = api.StepFailed, &now, r.err.Error()
		ev.Type, ev.Message = "step.failed", s.Title+": "+next.Error
	}
	if next.State == api.StepFailed && s.Optional {
		next.State, ev.Type, ev.Message = api.StepSkipped, "step.skipped", s.Title+": "+next.Error+"; going on without it"
	}
	e.cfg.Crash("record:before:" + s.Key)
	// The result of an act that happened is recorded even while the engine stops.
	err := e.cfg.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		if r.Commit != nil {
			if err := r.Commit(tx); err != nil {
				return err
			}
		}
		if err := tx.UpdateStep(next); err != nil {
			return err
		}
		return tx.Event(ev)
	})
	e.cfg.Crash("record:after:" + s.Key)
	if err != nil {
		return err
	}
	*s = next
	return nil
}

func elapsed(from *time.Time, now time.Time) time.Duration {
	if from == nil {
		return 0
	}
	return now.Sub(*from).Round(time.Second)
}

func later(d time.Duration) *time.Time {
	t := time.Now().Add(d)
	return &t
}

// pause waits until a time.
func pause(ctx context.Context, until *time.Time) error {
	if until == nil {
		return nil
	}
	t := time.NewTimer(time.Until(*until))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return context.Cause(ctx) // both may be so: who is dropped acts no more
	}
}

// seen takes a signal whose cause is about to be looked at anyway.
func seen(signal <-chan struct{}) {
	select {
	case <-signal:
	default:
	}
}

// rouse waits for a change, a while, or the deadline; on is false when ctx ended.
func rouse(ctx context.Context, sub *store.Subscription, until *time.Time, wait time.Duration) (changed, on bool) {
	if until != nil {
		wait = max(min(wait, time.Until(*until)+time.Millisecond), time.Millisecond)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false, false
	case <-sub.C:
		return true, ctx.Err() == nil // both may be so: who is dropped acts no more
	case <-t.C:
		return false, ctx.Err() == nil
	}
}
