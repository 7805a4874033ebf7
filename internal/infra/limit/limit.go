// Package limit keeps the calls of a driver to what its infrastructure bears:
// so many at a time and no more, fewer after it said that there are too many,
// one more again after each round that went well. No call is lost: each is
// made, or ends with its context. It must not know what the calls are for.
//
//	call ──► waits for its turn ──► under way ──► done, failed
//	               ▲                    │
//	               └── throttled: half as many from now on, after a pause
package limit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"howdah.dev/howdah/internal/infra"
)

const (
	// unknown is how many calls a driver is trusted with that does not say.
	unknown = 16
	// Patience is how long calls are repeated that are refused for being too many.
	Patience = 10 * time.Minute
	// Longest is how long one call may take. No call waits for a machine to
	// boot, so one that takes longer will not come back.
	Longest = 5 * time.Minute
	// Pauses after a refusal without a word of when to come again; they double
	// with each that follows without a success between.
	firstPause = time.Second
	maxPause   = 30 * time.Second
)

// Driver is a driver with limited calls.
type Driver struct {
	infra.Driver
	most int

	mu       sync.Mutex
	allowed  float64 // calls under way that are allowed now
	inFlight int
	round    uint64 // counts halvings
	refusals int    // in a row
	notYet   time.Time
	timer    *time.Timer    // set while everybody waits for notYet
	queue    []*turn        // first come, first served
	waits    map[string]int // calls in the queue, by node
}

// turn is a call that waits. A call that was refused waits again before all
// that came after it.
type turn struct {
	key   string
	since time.Time
	ready chan struct{} // closed when it may go
	round uint64        // in which it went
}

// New limits a driver's calls.
func New(d infra.Driver) *Driver {
	most := unknown
	if l, ok := d.(infra.Limited); ok && l.Limit() > 0 {
		most = l.Limit()
	}
	return &Driver{Driver: d, most: most, allowed: float64(most), waits: map[string]int{}}
}

// Allowed is how many calls may be under way now.
func (d *Driver) Allowed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int(d.allowed)
}

// Waits says what the call for a node waits for, "" when none of it waits.
func (d *Driver) Waits(key string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waits[key] == 0 {
		return ""
	}
	if pause := time.Until(d.notYet); pause > 0 {
		return fmt.Sprintf("its turn: the infrastructure asks for fewer calls, again in %s", pause.Round(time.Second))
	}
	return fmt.Sprintf("its turn: %d calls under way", d.inFlight)
}

// Inventory is the driver's, in its turn.
func (d *Driver) Inventory(ctx context.Context) (inv infra.Inventory, err error) {
	err = d.do(ctx, "", func(ctx context.Context) error {
		inv, err = d.Driver.Inventory(ctx)
		return err
	})
	return inv, err
}

// Create is the driver's, in its turn.
func (d *Driver) Create(ctx context.Context, r infra.CreateRequest) error {
	return d.do(ctx, r.Key, func(ctx context.Context) error { return d.Driver.Create(ctx, r) })
}

// Delete is the driver's, in its turn.
func (d *Driver) Delete(ctx context.Context, ref infra.Ref) error {
	return d.do(ctx, ref.Key, func(ctx context.Context) error { return d.Driver.Delete(ctx, ref) })
}

// Power is the driver's, in its turn.
func (d *Driver) Power(ctx context.Context, ref infra.Ref, on bool) error {
	return d.do(ctx, ref.Key, func(ctx context.Context) error { return d.Driver.Power(ctx, ref, on) })
}

// Describe is the driver's, in its turn.
func (d *Driver) Describe(ctx context.Context, ref infra.Ref) (desc infra.Description, err error) {
	err = d.do(ctx, ref.Key, func(ctx context.Context) error {
		desc, err = d.Driver.Describe(ctx, ref)
		return err
	})
	return desc, err
}

// Mend is the driver's own way to bring back a node, in its turn; has is false
// where it has none.
func (d *Driver) Mend(ctx context.Context, ref infra.Ref) (has bool, err error) {
	m, has := d.Driver.(infra.Mender)
	if !has {
		return false, nil
	}
	return true, d.do(ctx, ref.Key, func(ctx context.Context) error { return m.Mend(ctx, ref) })
}

// do makes a call in its turn, and again while it is refused for being one too
// many.
func (d *Driver) do(ctx context.Context, key string, call func(context.Context) error) error {
	t := &turn{key: key, since: time.Now()}
	var refused time.Time
	for {
		if err := d.take(ctx, t); err != nil {
			return err
		}
		cctx, cancel := context.WithTimeoutCause(ctx, Longest, errTooLong)
		err := call(cctx)
		cancel()
		throttled := err != nil && infra.KindOf(err) == infra.KindThrottled
		d.give(t, err, throttled)
		switch {
		case !throttled:
			return err
		case refused.IsZero():
			refused = time.Now()
		case time.Since(refused) > Patience:
			return fmt.Errorf("for %s it was one call too many: %w", Patience, err)
		}
	}
}

// errTooLong ends a call that does not come back.
var errTooLong = errors.New("the infrastructure did not answer in " + Longest.String())

// take waits until a call may go.
func (d *Driver) take(ctx context.Context, t *turn) error {
	if ctx.Err() != nil {
		return given(ctx)
	}
	d.mu.Lock()
	t.ready = make(chan struct{})
	d.enqueue(t)
	d.admit()
	d.mu.Unlock()
	told := waiting(ctx, t.ready)
	select {
	case <-t.ready:
	case <-ctx.Done():
		if d.leave(t) {
			return given(ctx)
		}
	}
	told()
	if ctx.Err() != nil { // it may not act any more
		d.mu.Lock()
		defer d.mu.Unlock()
		d.inFlight--
		d.admit()
		return given(ctx)
	}
	return nil
}

// given is what a call ends with that never had its turn.
func given(ctx context.Context) error {
	return infra.Errorf(infra.KindTemporary, "cannot have its turn: %w", context.Cause(ctx))
}

// enqueue puts a turn into the queue in order of first arrival.
func (d *Driver) enqueue(t *turn) {
	d.waits[t.key]++
	i := len(d.queue)
	for i > 0 && d.queue[i-1].since.After(t.since) {
		i--
	}
	d.queue = slices.Insert(d.queue, i, t)
}

// forget takes note that a call does not wait any more. d.mu is held.
func (d *Driver) forget(t *turn) {
	if d.waits[t.key]--; d.waits[t.key] == 0 {
		delete(d.waits, t.key)
	}
}

// leave takes a turn out of the queue; false when it has been admitted.
func (d *Driver) leave(t *turn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(d.queue, t)
	if i < 0 {
		return false
	}
	d.queue = slices.Delete(d.queue, i, i+1)
	d.forget(t)
	return true
}

// admit lets as many go as may. d.mu is held.
func (d *Driver) admit() {
	if pause := time.Until(d.notYet); pause > 0 {
		if d.timer == nil && len(d.queue) > 0 {
			d.timer = time.AfterFunc(pause, func() {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.timer = nil
				d.admit()
			})
		}
		return
	}
	for len(d.queue) > 0 && d.inFlight < int(d.allowed) {
		t := d.queue[0]
		d.queue = d.queue[1:]
		d.forget(t)
		t.round = d.round
		d.inFlight++
		close(t.ready)
	}
}

// give ends a call: half as many may be under way after a refusal, though only
// once for all that were under way together; a share more after a success.
func (d *Driver) give(t *turn, err error, throttled bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inFlight--
	switch {
	case throttled:
		if t.round == d.round {
			d.round++
			d.allowed = max(1, d.allowed/2)
			d.pause(err)
		}
	case err == nil:
		d.refusals = 0
		d.allowed = min(float64(d.most), d.allowed+1/d.allowed)
	}
	d.admit()
}

// pause has everybody wait: as long as the infrastructure asked for, else
// longer each time.
func (d *Driver) pause(err error) {
	p := min(maxPause, firstPause<<min(d.refusals, 10))
	d.refusals++
	if e, ok := errors.AsType[*infra.Error](err); ok && e.RetryAfter > 0 {
		p = e.RetryAfter
	}
	d.notYet = time.Now().Add(p)
}

// waitKey is where a context holds who wants to know that a call waits.
type waitKey struct{}

// Watched returns a context whose calls tell when they begin and end to wait
// for their turn. While one waits it does nothing: its context may be ended and
// nothing is left half done.
func Watched(ctx context.Context, tell func(waits bool)) context.Context {
	return context.WithValue(ctx, waitKey{}, tell)
}

// waiting tells of a wait that is not over yet; the function it returns tells
// that it is.
func waiting(ctx context.Context, ready <-chan struct{}) func() {
	tell, ok := ctx.Value(waitKey{}).(func(bool))
	if !ok {
		return func() {}
	}
	select {
	case <-ready:
		return func() {}
	default:
		tell(true)
		return func() { tell(false) }
	}
}
