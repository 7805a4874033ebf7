package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of forwards.
const (
	maxConnections = 4096 // of one port at a time
	maxPeers       = 1024 // UDP senders of one port that an answer can reach
	peerIdle       = time.Minute
	gatewayDial    = 10 * time.Second
)

// openForwards listens for all of the network's ports and gateways, before the task
// starts: a taken port is an error of the launch.
func openForwards(n *Network, ns *netns) error {
	var errs []error
	for _, f := range n.Forwards {
		errs = append(errs, openForward(f, ns))
	}
	for _, g := range n.Gateways {
		l, err := ns.listen(g.Port)
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot open port %d inside the container: %w", g.Port, err))
			continue
		}
		go serve(l, func() (net.Conn, error) {
			return (&net.Dialer{Timeout: gatewayDial}).Dial(g.Network, g.Address)
		})
	}
	return errors.Join(errs...)
}

func openForward(f Forward, ns *netns) error {
	var lc net.ListenConfig
	var err error
	switch f.Protocol {
	case "tcp":
		var l net.Listener
		if l, err = lc.Listen(context.Background(), "tcp", f.Listen); err == nil {
			go serve(l, func() (net.Conn, error) { return ns.dial("tcp", f.Port) })
		}
	case "udp":
		var p net.PacketConn
		if p, err = lc.ListenPacket(context.Background(), "udp", f.Listen); err == nil {
			u := udpForward{conn: p, ns: ns, port: f.Port, peers: map[string]*peer{}}
			go u.run()
		}
	default:
		err = fmt.Errorf("unknown protocol %q", f.Protocol)
	}
	if err != nil {
		return fmt.Errorf("cannot forward %s port %s: %w", f.Protocol, f.Listen, err)
	}
	return nil
}

func serve(l net.Listener, dial func() (net.Conn, error)) {
	var open atomic.Int64
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of files: others will end
			continue
		}
		if open.Load() >= maxConnections {
			c.Close()
			continue
		}
		open.Add(1)
		go func() {
			defer open.Add(-1)
			defer c.Close()
			to, err := dial()
			if err != nil {
				refuse(c)
				return
			}
			defer to.Close()
			join(c, to)
		}()
	}
}

// refuse makes the caller see a reset, as it would where nobody listens.
func refuse(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
}

// join copies both ways until both have ended; one side may end before the other.
func join(a, b net.Conn) {
	var both sync.WaitGroup
	one := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite()
			return
		}
		_ = to.Close() // an error: wake the other direction up
		_ = from.Close()
	}
	both.Go(func() { one(a, b) })
	both.Go(func() { one(b, a) })
	both.Wait()
}

// udpForward keeps one socket inside for each sender outside, so that answers find
// their way back.
type udpForward struct {
	conn net.PacketConn
	ns   *netns
	port int

	mu    sync.Mutex
	peers map[string]*peer
}

type peer struct{ conn net.Conn }

func (u *udpForward) run() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := u.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if p := u.peer(from); p != nil {
			_ = p.conn.SetReadDeadline(time.Now().Add(peerIdle))
			_, _ = p.conn.Write(buf[:n])
		}
	}
}

func (u *udpForward) peer(from net.Addr) *peer {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := from.String()
	if p := u.peers[key]; p != nil {
		return p
	}
	if len(u.peers) >= maxPeers {
		return nil
	}
	c, err := u.ns.dial("udp", u.port)
	if err != nil {
		return nil
	}
	p := &peer{conn: c}
	u.peers[key] = p
	go u.back(p, from)
	return p
}

func (u *udpForward) back(p *peer, to net.Addr) {
	defer func() {
		p.conn.Close()
		u.mu.Lock()
		delete(u.peers, to.String())
		u.mu.Unlock()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := p.conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
			return
		}
		if err != nil { // refused: nobody listens inside (yet)
			continue
		}
		_, _ = u.conn.WriteTo(buf[:n], to)
	}
}
