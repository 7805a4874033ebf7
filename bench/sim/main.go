// Command sim measures what it costs to make clusters of many nodes: the real server
// side (store, planner, operation engine, handler of agents) over an infrastructure in
// memory. See README.md beside it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"howdah.dev/howdah/internal/cluster/simtest"
	"howdah.dev/howdah/internal/infra/sim"
)

func main() {
	nodes := flag.Int("nodes", 1000, "nodes of the cluster")
	call := flag.Duration("call", 0, "how long each call of the driver takes")
	profile := flag.String("profile", "", "write a profile of the processor to this file")
	flag.Parse()
	if err := run(*nodes, *call, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

func definition(nodes int) string {
	return fmt.Sprintf(`
name: big
stack: toy
nodeGroups:
  - {name: head, roles: [head], instanceNum: 1, memCapacityMB: 100, cpuNum: 1}
  - {name: worker, roles: [worker], instanceNum: %d, memCapacityMB: 100, cpuNum: 1}
`, nodes-1)
}

func run(nodes int, call time.Duration, profile string) error {
	dir, err := os.MkdirTemp("", "howdah-sim-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cfg := simtest.Config{Dir: dir}
	if call > 0 {
		cfg.Sim.Latency = map[sim.Call]time.Duration{sim.CallCreate: call, sim.CallPower: call, sim.CallDelete: call, sim.CallDescribe: call}
		cfg.Sim.Limit = 100
	}
	w, err := simtest.Open(cfg)
	if err != nil {
		return err
	}
	defer w.Close()
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx := context.Background()
	begun := time.Now()
	ops, err := w.Apply(ctx, definition(nodes))
	if err == nil {
		err = w.Done(ctx, ops...)
	}
	if err != nil {
		return err
	}
	created := time.Since(begun)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	begun = time.Now()
	ops, err = w.Apply(ctx, definition(nodes))
	if err == nil {
		err = w.Done(ctx, ops...)
	}
	if err != nil {
		return err
	}
	fmt.Printf("%d nodes: created %.2f s, applied again %.3f s (%d operations), %d MiB from the system\n", nodes, created.Seconds(), time.Since(begun).Seconds(), len(ops), m.Sys>>20)
	return nil
}
