package sim

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"howdah.dev/howdah/internal/infra"
)

// Call is a kind of call of a driver.
type Call string

// Kinds of calls.
const (
	CallInventory Call = "inventory"
	CallCreate    Call = "create"
	CallDelete    Call = "delete"
	CallPower     Call = "power"
	CallDescribe  Call = "describe"
)

// Effect is what goes wrong with a call.
type Effect string

// What can go wrong.
const (
	// Fail answers an error of the fault's kind and does nothing.
	Fail Effect = "fail"
	// Lose does what was asked; the answer is lost: the caller gets a temporary error.
	Lose Effect = "lose"
	// Hang does what was asked and answers only when the call's time is over.
	Hang Effect = "hang"
	// Stall does nothing until the call's time is over.
	Stall Effect = "stall"
	// Half ends between the two acts of a Create (a machine, its power) or of a
	// Delete (its power, the machine), with a temporary error.
	Half Effect = "half"
	// NeverBoots makes a machine whose agent never starts.
	NeverBoots Effect = "never-boots"
	// Dies makes a machine that ends by itself After it was switched on.
	Dies Effect = "dies"
)

// Fault is one thing that goes wrong. Calls are counted from 1, per Call and,
// where Node is given, for that node alone.
type Fault struct {
	Call Call   // kind of calls; "" for all but inventories
	Node string // name of a node; "" for all
	Nth  int    // first call that has it; 0 for the first
	// Times is how many calls in a row have it; 0 for one, negative for all that follow.
	Times int
	// Chance, where not 0, is the probability that a call has it; Nth and Times
	// are without meaning then. The seed decides, for each call of a node by its
	// number: not the order in which calls of several nodes come.
	Chance     float64
	Do         Effect
	Kind       infra.Kind    // what Fail answers; "" for temporary
	RetryAfter time.Duration // for KindThrottled
	After      time.Duration // for Dies
}

// dice returns random numbers that depend on the seed and on what they are for.
func (c *Cloud) dice(what ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintln(h, what...)
	return rand.New(rand.NewPCG(c.cfg.Seed, h.Sum64())) //nolint:gosec // repeatable, not secret
}

type counter struct {
	call Call
	node string
}

// choose counts a call and returns the fault it has, if any. c.mu is held.
func (c *Cloud) choose(call Call, node string) (Fault, int) {
	c.counts[counter{call: call}]++
	c.counts[counter{node: node}]++
	c.counts[counter{}]++
	c.counts[counter{call, node}]++
	nth := c.counts[counter{call, node}]
	for i, f := range c.cfg.Faults {
		if f.Call == "" && call == CallInventory || f.Call != "" && f.Call != call || f.Node != "" && f.Node != node {
			continue
		}
		if f.Chance > 0 {
			if c.dice("fault", i, call, node, nth).Float64() < f.Chance {
				return f, nth
			}
			continue
		}
		n, first, times := c.counts[counter{f.Call, f.Node}], max(1, f.Nth), f.Times
		if times == 0 {
			times = 1
		}
		if n >= first && (times < 0 || n < first+times) {
			return f, nth
		}
	}
	return Fault{}, nth
}

// err is what a failed call answers.
func (f Fault) err(call Call, node string) error {
	kind := f.Kind
	if kind == "" {
		kind = infra.KindTemporary
	}
	if kind == infra.KindThrottled {
		return infra.Throttled(f.RetryAfter, "cannot %s %s: too many calls", call, node)
	}
	return infra.Errorf(kind, "cannot %s %s: %s, as the simulation was told", call, node, kind)
}

// lost is what a caller gets who cannot know what became of a call.
func lost(call Call, node string) error {
	return infra.Errorf(infra.KindTemporary, "cannot %s %s: no answer came", call, node)
}

// cutOff is what a caller gets whose time was over.
func cutOff(ctx context.Context, call Call, node string) error {
	return infra.Errorf(infra.KindTemporary, "cannot %s %s in time: %w", call, node, context.Cause(ctx))
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
