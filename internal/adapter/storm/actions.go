package storm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

// Kill ends a topology: spouts stop at once, workers after wait (rounded up to
// seconds), which lets what is under way finish. The topology is listed as
// KILLED until its workers are told to go. The error may be ErrNotFound.
func (c *Client) Kill(ctx context.Context, name string, wait time.Duration) error {
	secs := wholeSeconds(wait)
	return c.act(ctx, "kill", name, func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
		return n.KillTopologyWithOpts(ctx, name, &nimbusthrift.KillOptions{WaitSecs: &secs})
	})
}

// Activate starts the spouts of a topology again. The error may be ErrNotFound.
func (c *Client) Activate(ctx context.Context, name string) error {
	return c.act(ctx, "activate", name, func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
		return n.Activate(ctx, name)
	})
}

// Deactivate stops the spouts of a topology; its workers stay. The error may
// be ErrNotFound.
func (c *Client) Deactivate(ctx context.Context, name string) error {
	return c.act(ctx, "deactivate", name, func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
		return n.Deactivate(ctx, name)
	})
}

// Options says how a topology is to be spread anew.
type Options struct {
	Wait      time.Duration  // spouts are stopped for this long first
	Workers   int            // unchanged if zero
	Executors map[string]int // by component; those left out stay unchanged
}

// Rebalance spreads a topology over the supervisors anew: after supervisors
// came or went, or to change its size. The error may be ErrNotFound or
// ErrInvalid.
func (c *Client) Rebalance(ctx context.Context, name string, o Options) error {
	secs := wholeSeconds(o.Wait)
	opts := &nimbusthrift.RebalanceOptions{WaitSecs: &secs}
	if o.Workers > 0 {
		workers := int32(o.Workers)
		opts.NumWorkers = &workers
	}
	if len(o.Executors) > 0 {
		opts.NumExecutors = make(map[string]int32, len(o.Executors))
		for component, n := range o.Executors {
			opts.NumExecutors[component] = int32(n)
		}
	}
	return c.act(ctx, "rebalance", name, func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
		return n.Rebalance(ctx, name, opts)
	})
}

func (c *Client) act(ctx context.Context, verb, name string, f call) error {
	err := c.command(ctx, f)
	if errors.Is(err, errFailed) {
		// Leadership may have moved between the two calls.
		if _, lead := c.leader(ctx); errors.Is(lead, ErrNotLeader) {
			err = ErrNotLeader
		}
	}
	if err != nil {
		return fmt.Errorf("cannot %s topology %s: %w", verb, name, err)
	}
	return nil
}

func wholeSeconds(d time.Duration) int32 {
	return int32((d + time.Second - 1) / time.Second)
}
