package process

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/proxy"
)

// drain is how long tasks with ports are left alone when they are to end. The
// proxies of all workers know of it by then: they take 100 ms at most.
const drain = 250 * time.Millisecond

// serveServices opens the service ports of all apps on the worker's own address
// until ctx ends. A worker whose configuration says no, or names no scheduler, has
// no such ports.
func (c *WorkerConfig) serveServices(ctx context.Context, address netip.Addr, g *gate, offered mesos.Resources, log *slog.Logger) error {
	if !c.proxies() {
		<-ctx.Done()
		return nil
	}
	return proxy.New(proxy.Config{
		Address: address, Source: proxy.Scheduler{URL: c.Scheduler, Client: g.client()}, Avoid: offers(offered), Log: log,
	}).Run(ctx)
}

func (c *WorkerConfig) proxies() bool {
	return c.Scheduler != "" && (c.ServiceProxy == nil || *c.ServiceProxy)
}

// offers tells which ports tasks may be given.
func offers(resources mesos.Resources) func(port int) bool {
	return func(port int) bool {
		for _, r := range resources {
			if r.Name != "ports" || r.Ranges == nil {
				continue
			}
			for _, span := range r.Ranges.Range {
				if uint64(port) >= span.Begin && uint64(port) <= span.End { //nolint:gosec // a port is not negative
					return true
				}
			}
		}
		return false
	}
}
