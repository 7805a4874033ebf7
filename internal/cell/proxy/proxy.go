// Package proxy owns the way to apps by their service ports: on a worker's own
// address it listens at every service port of the cell and passes TCP connections
// on to instances, in turn. It takes the table of services as it is told, keeps
// the last one while nobody tells, and knows nothing of schedulers, tasks or
// protocols above TCP.
package proxy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"howdah.dev/howdah/internal/cell/serviceapi"
)

// Source tells the services. Next returns at once when after is not the newest
// revision, else when there is a newer one or after a while.
type Source interface {
	Next(ctx context.Context, after string) (serviceapi.Table, error)
}

// Config is what a proxy needs. Address and Source are required.
type Config struct {
	Address netip.Addr
	Source  Source
	// Avoid tells which ports are left alone, as they may be given to tasks.
	Avoid func(port int) bool

	MaxPorts       int           // listened at; 4,096 if zero
	MaxConnections int           // of one port at a time; 1,024 if zero
	MaxTotal       int           // of all ports at a time; 8,192 if zero
	Idle           time.Duration // without a byte before a connection is cut; 10 min if zero
	DialTimeout    time.Duration // of one instance; 2 s if zero
	Rebind         time.Duration // between attempts at a port that is taken; 5 s if zero
	Log            *slog.Logger
}

func (c *Config) complete() {
	c.MaxPorts = cmp.Or(c.MaxPorts, 4096)
	c.MaxConnections = cmp.Or(c.MaxConnections, 1024)
	c.MaxTotal = cmp.Or(c.MaxTotal, 8192)
	c.Idle = cmp.Or(c.Idle, 10*time.Minute)
	c.DialTimeout = cmp.Or(c.DialTimeout, 2*time.Second)
	c.Rebind = cmp.Or(c.Rebind, 5*time.Second)
	if c.Avoid == nil {
		c.Avoid = func(int) bool { return false }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Times between attempts to reach a source that is away.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// Proxy is the proxy of one worker. Run it once.
type Proxy struct {
	cfg   Config
	open  atomic.Int64 // connections
	conns sync.WaitGroup

	mu     sync.Mutex
	ports  map[int]*port  // that are listened at
	warned map[int]string // last said of a port that cannot be had; once each
}

// New returns a proxy.
func New(cfg Config) *Proxy {
	cfg.complete()
	return &Proxy{cfg: cfg, ports: map[int]*port{}, warned: map[int]string{}}
}

// Run serves until ctx ends, then cuts all connections.
func (p *Proxy) Run(ctx context.Context) error {
	tables := make(chan serviceapi.Table)
	var asking sync.WaitGroup
	asking.Go(func() { p.ask(ctx, tables) })
	again := time.NewTicker(p.cfg.Rebind)
	defer again.Stop()
	var table serviceapi.Table
	for {
		select {
		case <-ctx.Done():
			asking.Wait()
			p.close()
			return nil
		case table = <-tables:
			p.apply(ctx, table)
		case <-again.C:
			if p.lacks() {
				p.apply(ctx, table)
			}
		}
	}
}

// ask keeps asking for the table. Without an answer the last one stays.
func (p *Proxy) ask(ctx context.Context, to chan<- serviceapi.Table) {
	after, wait, away := "", firstRetry, false
	for ctx.Err() == nil {
		t, err := p.cfg.Source.Next(ctx, after)
		if err != nil {
			if !away && ctx.Err() == nil {
				p.cfg.Log.Warn("the services are not known anew; the last known ones stay", "error", err)
			}
			away = true
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			wait = min(2*wait, lastRetry)
			continue
		}
		if away {
			p.cfg.Log.Info("the services are known again")
		}
		wait, away = firstRetry, false
		if t.Revision == after {
			continue
		}
		after = t.Revision
		select {
		case to <- t:
		case <-ctx.Done():
		}
	}
}

// apply makes a table the one that counts: instances first, then ports.
func (p *Proxy) apply(ctx context.Context, t serviceapi.Table) {
	want := map[int]serviceapi.Service{}
	for _, s := range t.Services {
		if _, twice := want[s.Port]; s.Protocol == "tcp" && s.Port > 0 && s.Port < 1<<16 && !twice && len(want) < p.cfg.MaxPorts {
			want[s.Port] = s
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for number, s := range want {
		if at := p.ports[number]; at != nil {
			at.set(s)
			continue
		}
		if at := p.listen(ctx, s); at != nil {
			p.ports[number] = at
		}
	}
	for number, at := range p.ports {
		if _, ok := want[number]; !ok { // its connections go on
			_ = at.listener.Close()
			delete(p.ports, number)
		}
	}
	for number := range p.warned {
		if _, ok := want[number]; !ok {
			delete(p.warned, number)
		}
	}
}

// listen opens a port; nil if it cannot be had.
func (p *Proxy) listen(ctx context.Context, s serviceapi.Service) *port {
	if p.cfg.Avoid(s.Port) {
		p.warn(s, "tasks of this worker may be given the port; use a service port outside of the ports it offers")
		return nil
	}
	address := net.JoinHostPort(p.cfg.Address.String(), strconv.Itoa(s.Port))
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		p.warn(s, err.Error())
		return nil
	}
	delete(p.warned, s.Port)
	at := &port{proxy: p, listener: l, suspects: map[string]time.Time{}}
	at.set(s)
	p.conns.Go(func() { at.accept(ctx) })
	return at
}

// warn says once that an app is not reached by its service port, and why.
func (p *Proxy) warn(s serviceapi.Service, why string) {
	text := s.App + " " + why
	if p.warned[s.Port] == text {
		return
	}
	p.warned[s.Port] = text
	p.cfg.Log.Warn("an app is not reached by its service port here", "app", s.App, "port", s.Port, "why", why)
}

// lacks tells whether a port could not be had.
func (p *Proxy) lacks() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.warned) > 0
}

func (p *Proxy) close() {
	p.mu.Lock()
	for _, at := range p.ports {
		_ = at.listener.Close()
	}
	p.mu.Unlock()
	p.conns.Wait()
}

// Ports are those that are listened at.
func (p *Proxy) Ports() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []int
	for number := range p.ports {
		out = append(out, number)
	}
	return out
}

var errNobody = errors.New("no instance can be reached")
