package proxy

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"howdah.dev/howdah/internal/cell/serviceapi"
)

// suspicion is for how long an instance that could not be reached is the last to
// be tried.
const suspicion = 2 * time.Second

// maxAttempts bounds how many instances are tried for one connection.
const maxAttempts = 16

// port is one service port that is listened at.
type port struct {
	proxy    *Proxy
	listener net.Listener
	open     atomic.Int64 // connections
	turn     atomic.Uint64

	mu       sync.Mutex
	backends []*backend
	suspects map[string]time.Time // address to when it was not reached
}

// backend is an instance.
type backend struct {
	address string
	// proven: it has answered before, and has not failed since.
	proven atomic.Bool
}

// set takes over which instances there are. Those that were there stay known.
func (at *port) set(s serviceapi.Service) {
	at.mu.Lock()
	defer at.mu.Unlock()
	old := at.backends
	at.backends = nil
	for _, b := range s.Backends {
		if !b.Healthy || b.Port <= 0 {
			continue
		}
		address := net.JoinHostPort(b.Host, strconv.Itoa(b.Port))
		if i := slices.IndexFunc(old, func(o *backend) bool { return o.address == address }); i >= 0 {
			at.backends = append(at.backends, old[i])
		} else {
			at.backends = append(at.backends, &backend{address: address})
		}
	}
	for address := range at.suspects {
		if !slices.ContainsFunc(at.backends, func(b *backend) bool { return b.address == address }) {
			delete(at.suspects, address)
		}
	}
}

// order returns the instances in the order they are to be tried: the next in turn
// first, those that were not reached just now last.
func (at *port) order(now time.Time) []*backend {
	at.mu.Lock()
	defer at.mu.Unlock()
	n := len(at.backends)
	if n == 0 {
		return nil
	}
	first := int((at.turn.Add(1) - 1) % uint64(n)) //nolint:gosec // below n
	var good, bad []*backend
	for i := range n {
		b := at.backends[(first+i)%n]
		if when, ok := at.suspects[b.address]; ok && now.Sub(when) < suspicion {
			bad = append(bad, b)
		} else {
			good = append(good, b)
		}
	}
	good = append(good, bad...)
	return good[:min(n, maxAttempts)]
}

func (at *port) failed(b *backend) {
	b.proven.Store(false)
	at.mu.Lock()
	defer at.mu.Unlock()
	at.suspects[b.address] = time.Now()
}

func (at *port) answered(b *backend) {
	if b.proven.Swap(true) {
		return
	}
	at.mu.Lock()
	defer at.mu.Unlock()
	delete(at.suspects, b.address)
}

// accept takes connections until the listener is closed.
func (at *port) accept(ctx context.Context) {
	p := at.proxy
	for {
		c, err := at.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select { // out of files: others will end
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		if at.open.Load() >= int64(p.cfg.MaxConnections) || p.open.Load() >= int64(p.cfg.MaxTotal) {
			reset(c)
			continue
		}
		at.open.Add(1)
		p.open.Add(1)
		p.conns.Go(func() {
			defer at.open.Add(-1)
			defer p.open.Add(-1)
			at.pass(ctx, c)
		})
	}
}
