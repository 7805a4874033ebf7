package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"howdah.dev/howdah/bench/report"
	"howdah.dev/howdah/internal/cluster/simtest"
	"howdah.dev/howdah/internal/infra/sim"
)

// toys is a cluster of a head and workers, which need no artifacts.
func toys(infrastructure string, nodes int) string {
	return fmt.Sprintf(`
name: big
stack: toy
infrastructure: %s
nodeGroups:
  - {name: head, roles: [head], instanceNum: 1, memCapacityMB: 100, cpuNum: 1}
  - {name: worker, roles: [worker], instanceNum: %d, memCapacityMB: 100, cpuNum: 1}
`, infrastructure, nodes-1)
}

// slowCalls is how many calls the slow infrastructure bears at once.
const slowCalls = 100

// goals by number of nodes, of all that are measured.
var goals = map[int]struct{ create, again, memory float64 }{ //nolint:gochecknoglobals // a table
	100: {}, 1000: {create: 2, again: 0.5}, 3000: {}, 10000: {create: 30, memory: 800},
}

// Names of the figures that are plotted.
func each(nodes int) string { return fmt.Sprintf("  for each of %d nodes, ms", nodes) }

func peakOf(nodes int) string {
	return fmt.Sprintf("%d nodes: server and simulated machines, peak RSS, MiB", nodes)
}

// create makes a cluster, applies it again, and says what the process took at most. A
// call of the driver takes so long; where it takes any time, there are two for each
// node, of which 100 at once.
func create(ctx context.Context, dir string, nodes int, call time.Duration) (out []report.Figure, err error) {
	cfg := simtest.Config{Dir: dir}
	if call > 0 {
		cfg.Sim.Latency = map[sim.Call]time.Duration{sim.CallCreate: call, sim.CallDescribe: call, sim.CallPower: call, sim.CallDelete: call}
		cfg.Sim.Limit = slowCalls
	}
	w, err := simtest.Open(cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	made, err := applied(ctx, w, nodes)
	if err != nil {
		return nil, err
	}
	if call > 0 {
		// The second call of each node: its removal.
		begun := time.Now()
		o, err := w.Manager.Delete(ctx, "big", "big")
		if err == nil {
			err = w.Done(ctx, *o)
		}
		return []report.Figure{figure(fmt.Sprintf("%d nodes, calls of %s, %d at once, two for each node, s", nodes, call, slowCalls), 45, (made + time.Since(begun)).Seconds())}, err
	}
	peak, err := report.Peak(os.Getpid())
	if err != nil {
		return nil, err
	}
	again, err := applied(ctx, w, nodes)
	if err != nil {
		return nil, err
	}
	goal := goals[nodes]
	return []report.Figure{
		figure(fmt.Sprintf("%d nodes: create, s", nodes), goal.create, made.Seconds()),
		figure(each(nodes), 0, made.Seconds()*1000/float64(nodes)),
		figure(fmt.Sprintf("%d nodes: apply again, s", nodes), goal.again, again.Seconds()),
		figure(peakOf(nodes), goal.memory, peak/(1<<20)),
	}, nil
}

// applied applies the cluster and waits until that is done.
func applied(ctx context.Context, w *simtest.World, nodes int) (time.Duration, error) {
	begun := time.Now()
	ops, err := w.Apply(ctx, toys("local", nodes))
	if err == nil {
		err = w.Done(ctx, ops...)
	}
	return time.Since(begun), err
}
