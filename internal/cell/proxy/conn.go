package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// settle is how long an instance that has not answered yet may take to say that
	// nobody is there: in front of containers something else accepts the connection
	// and cuts it when it finds nobody inside.
	settle = 10 * time.Millisecond
	// maxPiece is how much is passed on at a time.
	maxPiece = 16 << 10
)

// pass connects a client with an instance until both have ended.
func (at *port) pass(ctx context.Context, client net.Conn) {
	to, b, first, err := at.reach(ctx)
	if err != nil {
		reset(client)
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = client.Close(); _ = to.Close() })
	defer stop()
	defer client.Close()
	defer to.Close()
	if len(first) > 0 {
		at.answered(b)
		if _, err := client.Write(first); err != nil {
			return
		}
	}
	j := joint{idle: at.proxy.cfg.Idle}
	j.touch()
	var both sync.WaitGroup
	both.Go(func() { j.copy(to, client, nil) })
	both.Go(func() { j.copy(client, to, func() { at.answered(b) }) })
	both.Wait()
}

// reach connects to the next instance that can be reached. first is what it said
// before anybody asked. Nothing was sent to those it gave up.
func (at *port) reach(ctx context.Context) (to net.Conn, b *backend, first []byte, err error) {
	d := net.Dialer{Timeout: at.proxy.cfg.DialTimeout}
	for _, b = range at.order(time.Now()) {
		if to, err = d.DialContext(ctx, "tcp", b.address); err != nil {
			at.failed(b)
			continue
		}
		if b.proven.Load() {
			return to, b, nil, nil
		}
		if first, err = listen(to); err == nil {
			return to, b, first, nil
		}
		_ = to.Close()
		at.failed(b)
	}
	return nil, nil, nil, errNobody
}

// listen waits a moment whether the other side cuts the connection, or speaks.
func listen(c net.Conn) ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(settle)); err != nil {
		return nil, err
	}
	buf := make([]byte, maxPiece)
	n, err := c.Read(buf)
	if n == 0 && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, err
	}
	return buf[:n], c.SetReadDeadline(time.Time{})
}

// joint is a connection through the proxy: idle when neither direction moves.
type joint struct {
	idle time.Duration
	last atomic.Int64 // when a byte moved
}

func (j *joint) touch() { j.last.Store(time.Now().UnixNano()) }

// copy passes one direction on until it ends, and ends it on the other side. An
// error ends both directions. moved is called for what was read.
func (j *joint) copy(to, from net.Conn, moved func()) {
	buf := make([]byte, maxPiece)
	for {
		_ = from.SetReadDeadline(time.Now().Add(j.idle))
		n, err := from.Read(buf)
		if n > 0 {
			j.touch()
			if moved != nil {
				moved()
				moved = nil
			}
			_ = to.SetWriteDeadline(time.Now().Add(j.idle))
			if _, failed := to.Write(buf[:n]); errors.Is(failed, os.ErrDeadlineExceeded) {
				break
			} else if failed != nil {
				return // the other direction passes on what is left, and how it ended
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Since(time.Unix(0, j.last.Load())) < j.idle {
			continue // the other direction moves
		}
		if err != nil {
			half, ok := to.(interface{ CloseWrite() error })
			if ok && isEOF(err) && half.CloseWrite() == nil {
				return
			}
			if !isEOF(err) {
				reset(to)
			}
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
}

// reset makes the other side see that the connection failed, not that it ended.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}
