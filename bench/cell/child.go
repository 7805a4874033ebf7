package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/process"
	"howdah.dev/howdah/internal/cell/simworker"
)

// Roles of the processes of a cell.
const (
	roleMaster    = "master"
	roleScheduler = "scheduler"
	roleWorkers   = "workers" // simulated, all in one process
	roleWorker    = "worker"  // a real one
)

// serveAs is one process of a cell. It ends when its parent does, which holds the
// other end of its input.
func serveAs(ctx context.Context, role, config, profile string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
		stop()
	}()
	end, err := startProfile(profile)
	if err != nil {
		return err
	}
	// Warnings of lost connections are to be expected: processes are killed.
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	switch role {
	case roleMaster:
		err = process.Master(ctx, config, log)
	case roleScheduler:
		err = process.Scheduler(ctx, config, "bench", log)
	case roleWorkers:
		err = workers(ctx, config)
	case roleWorker:
		err = realWorker(ctx, config, log)
	default:
		err = fmt.Errorf("there is no role %q", role)
	}
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, end())
}

// startProfile profiles the process until the function it returns is called.
func startProfile(prefix string) (end func() error, err error) {
	if prefix == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(filepath.Dir(prefix), 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(prefix + ".cpu.prof")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		h, err := os.Create(prefix + ".heap.prof")
		if err != nil {
			return errors.Join(err, f.Close())
		}
		runtime.GC()
		return errors.Join(pprof.WriteHeapProfile(h), h.Close(), f.Close())
	}, nil
}

// workersConfig is the configuration of the process with all workers.
type workersConfig struct {
	Master string        `json:"master"` // URL
	Secret string        `json:"secret"`
	Count  int           `json:"count"`
	Start  time.Duration `json:"start"` // of a task
}

// workers runs simulated workers until ctx ends.
func workers(ctx context.Context, config string) error {
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	var cfg workersConfig
	if err := json.Unmarshal(text, &cfg); err != nil {
		return err
	}
	transport := &http.Transport{MaxIdleConns: 0, MaxIdleConnsPerHost: 256}
	var wg sync.WaitGroup
	for n := range cfg.Count {
		w := simworker.New(simworker.Config{
			Master: cfg.Master, Hostname: fmt.Sprintf("worker-%03d", n), Address: fmt.Sprintf("127.0.1.%d:5051", n%250+1), Start: cfg.Start,
			Authorize: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+cfg.Secret) },
			Client:    &http.Client{Transport: transport},
			Resources: mesos.Resources{
				mesos.NewScalar("cpus", 64), mesos.NewScalar("mem", 256<<10), mesos.NewScalar("disk", 1<<20),
				mesos.NewRanges("ports", mesos.Range{Begin: 31000, End: 32000}),
			},
			Attributes: []mesos.Attribute{
				{Name: "rack", Type: mesos.Text, Text: &mesos.TextValue{Value: fmt.Sprintf("r%d", n%10)}},
				{Name: "runtimes", Type: mesos.Text, Text: &mesos.TextValue{Value: "runc,plain"}},
			},
		})
		wg.Go(func() { w.Run(ctx) })
	}
	wg.Wait()
	return nil
}
