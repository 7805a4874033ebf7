package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/bench/report"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/cluster/simtest"
	"howdah.dev/howdah/internal/golden"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/sim"
	"howdah.dev/howdah/internal/server"
)

const (
	connected = 1000 // agents, each with a connection and a certificate of its own
	callers   = 200
	every     = time.Second // each of them asks
	watching  = 20 * time.Second
)

// clients measures a whole server with 1,000 connected agents while 200 clients ask, as
// the command line and a page would: for all clusters, one operation, what happened.
func clients(ctx context.Context, dir string) (out []report.Figure, err error) {
	cloud, err := sim.New(sim.Config{Agents: sim.Agents{TLS: true}, Dial: (&net.Dialer{}).DialContext})
	if err != nil {
		return nil, err
	}
	defer cloud.Close()
	home := server.Home{Dir: filepath.Join(dir, "h")}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- server.Run(ctx, server.Config{
			Home: home, Options: server.Options{OpenPorts: true}, Version: "bench", Stacks: golden.Parse(simtest.Toy).FS(),
			Clients: func(string) cluster.Clients { return nil }, Agent: []string{"/bin/false"},
			Drivers: map[string]infra.Driver{"sim": cloud}, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		})
	}()
	defer func() { stop(); err = errors.Join(err, <-ended, home.Remove(context.Background())) }()
	c := client.New(client.Config{Socket: home.Socket()})
	info, err := answers(ctx, c, ended)
	if err != nil {
		return nil, err
	}
	applied, err := c.Apply(ctx, api.File{Name: "big.yaml", Content: toys("sim", connected)})
	if err != nil {
		return nil, err
	}
	id := applied.Operations[0].ID
	for o := (api.Operation{}); !o.State.Final(); time.Sleep(100 * time.Millisecond) {
		if o, err = c.Operation(ctx, id); err != nil {
			return nil, err
		}
		if o.State == api.OperationFailed {
			return nil, fmt.Errorf("the cluster was not made: %s", o.Reason)
		}
	}
	token, err := os.ReadFile(home.Token())
	if err != nil {
		return nil, err
	}
	took, err := ask(ctx, info.Address, strings.TrimSpace(string(token)), []string{"/v1/clusters", "/v1/operations", "/v1/history?limit=50", "/v1/info"})
	if err != nil {
		return nil, err
	}
	return []report.Figure{
		figure(fmt.Sprintf("%d agents connected, %d clients: requests answered", connected, callers), 0, float64(len(took))),
		figure("  p50, ms", 0, report.Quantile(took, 0.5)),
		figure("  p99, ms", 100, report.Quantile(took, 0.99)),
	}, nil
}

// answers waits until the server does.
func answers(ctx context.Context, c *client.Client, ended chan error) (api.Info, error) {
	for {
		info, err := c.Info(ctx)
		if err == nil {
			return info, nil
		}
		select {
		case err := <-ended:
			ended <- nil
			return info, fmt.Errorf("the server ended: %w", err)
		case <-ctx.Done():
			return info, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// ask has each client make a request a second, one path after another, and returns how
// many milliseconds each took. The clients begin spread over a second.
func ask(ctx context.Context, address, token string, paths []string) ([]float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}, Timeout: 30 * time.Second}
	defer hc.CloseIdleConnections()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var took []float64
	for i := range callers {
		wg.Go(func() {
			time.Sleep(every * time.Duration(i) / callers)
			tick := time.NewTicker(every)
			defer tick.Stop()
			for k := range int(watching / every) {
				ms, err := get(ctx, hc, address+paths[(i+k)%len(paths)], token)
				if err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				took = append(took, ms)
				mu.Unlock()
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Wait()
	return took, context.Cause(ctx)
}

func get(ctx context.Context, hc *http.Client, url, token string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	begun := time.Now()
	resp, err := hc.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return report.Millis(time.Since(begun)), nil
}
