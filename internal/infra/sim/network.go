package sim

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Network joins agents and their server in memory. It works inside a bubble of
// testing/synctest, where sockets do not.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
}

// Listen opens a listener at an address; the address is free again when the
// listener is closed.
func (n *Network) Listen(address string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[address] != nil {
		return nil, fmt.Errorf("cannot listen on %s: it is taken", address)
	}
	l := &listener{network: n, address: address, calls: make(chan net.Conn), closed: make(chan struct{})}
	if n.listeners == nil {
		n.listeners = map[string]*listener{}
	}
	n.listeners[address] = l
	return l, nil
}

// Dial connects to a listener.
func (n *Network) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	n.mu.Unlock()
	refused := fmt.Errorf("cannot connect to %s: nothing listens there", address)
	if l == nil {
		return nil, refused
	}
	near, far := net.Pipe()
	select {
	case l.calls <- far:
		return near, nil
	case <-l.closed:
	case <-ctx.Done():
		refused = context.Cause(ctx)
	}
	near.Close()
	far.Close()
	return nil, refused
}

type listener struct {
	network *Network
	address string
	calls   chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.calls:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		delete(l.network.listeners, l.address)
		l.network.mu.Unlock()
		close(l.closed)
	})
	return nil
}

// Addr is the address listened on.
func (l *listener) Addr() net.Addr { return address(l.address) }

type address string

func (address) Network() string  { return "sim" }
func (a address) String() string { return string(a) }
