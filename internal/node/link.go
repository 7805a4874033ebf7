package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"howdah.dev/howdah/internal/agentapi"
)

const (
	heartbeat = 5 * time.Second  // how often at least a report goes out
	callTime  = 10 * time.Second // how long one call may take
)

// link is the agent's connection to the server.
type link struct {
	agent       *Agent
	id          string // of the node
	server      string // host:port, when the agent began
	instance    string
	incarnation atomic.Int64
	online      atomic.Bool
	current     atomic.Pointer[conn] // where calls go
	warned      string               // what was said last of a connection that a person has to mend

	mu       sync.Mutex
	sequence int64 // of reports
}

// newLink prepares the connection. Without an identity yet, the node's id is
// read from the join file; joining itself waits for run.
func newLink(a *Agent) (*link, error) {
	l := &link{agent: a}
	buf := make([]byte, 16)
	if _, err := rand.Read(buf); err != nil {
		return nil, err
	}
	l.instance = hex.EncodeToString(buf)
	id, err := a.identity()
	switch {
	case err == nil:
		l.id, l.server = id.Node, id.Server
		return l, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	var join agentapi.JoinFile
	if err := readJSON(a.path(fileJoin), &join); err != nil {
		return nil, fmt.Errorf("cannot join: no identity and no join file: %w", err)
	}
	l.id, l.server = join.Node, join.Server
	return l, nil
}

func (l *link) node() string { return l.id }

// run keeps the connection until ctx ends or the agent is fenced.
func (l *link) run(ctx context.Context) error {
	pause := 200 * time.Millisecond
	for {
		err := l.refused(l.serve(ctx))
		l.online.Store(false)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrFenced):
			return err
		}
		l.say(err, pause)
		if !sleep(ctx, pause) {
			return context.Cause(ctx)
		}
		pause = min(2*pause, 3*time.Second)
	}
}

// say logs why there is no connection; once, and loudly, what a person has to mend.
func (l *link) say(err error, again time.Duration) {
	if by, ok := errors.AsType[*identityError](err); ok {
		if l.warned != by.msg {
			l.warned = by.msg
			l.agent.log.Warn("the server and this node do not know each other", "error", by.msg)
		}
		return
	}
	if text := err.Error(); connect.CodeOf(err) == connect.CodeFailedPrecondition || errors.Is(err, agentapi.ErrProtocol) {
		if text != l.warned { // it is asked again every few seconds
			l.agent.log.Error("the server refuses this agent", "error", err)
		}
		l.warned = text
	}
	l.agent.log.Debug("no connection to the server", "error", err, "again", again)
}

// serve joins if needed, then keeps a stream until it breaks. When the node gets
// another certificate, a stream with it is up before the old one is closed.
func (l *link) serve(ctx context.Context) error {
	if err := l.join(ctx); err != nil {
		return err
	}
	c, err := l.connect()
	if err != nil {
		return err
	}
	now := l.open(ctx, c)
	defer func() { now.close() }()
	for {
		// Looked at from time to time: a host that slept has other clocks than timers.
		t := time.NewTimer(min(time.Until(now.due), time.Minute))
		renew := false
		select {
		case <-now.done:
			t.Stop()
			return now.err
		case told := <-now.told:
			if err := l.trust(told); err != nil {
				l.agent.log.Warn("cannot keep the server's authorities", "error", err)
			}
			renew = told.Renew
		case <-t.C:
			renew = !time.Now().Before(now.due)
		}
		t.Stop()
		if !renew || ctx.Err() != nil {
			continue
		}
		next, err := l.replace(ctx, now)
		switch {
		case errors.Is(err, ErrFenced):
			return err
		case err != nil:
			l.agent.log.Warn("cannot renew the certificate; trying again", "error", err, "ends", now.conn.ends)
			now.due = time.Now().Add(retryAfter(time.Until(now.conn.ends)))
		default:
			now.close()
			now = next
		}
	}
}

// retryAfter is the pause before another try to renew a certificate that is good for
// so long.
func retryAfter(left time.Duration) time.Duration {
	return min(max(left/20, 100*time.Millisecond), time.Hour)
}

// replace renews the certificate and opens a stream with it.
func (l *link) replace(ctx context.Context, now *stream) (*stream, error) {
	if err := l.renew(ctx, now.conn); err != nil {
		return nil, err
	}
	c, err := l.connect()
	if err != nil {
		return nil, err
	}
	next := l.open(ctx, c)
	t := time.NewTimer(callTime)
	defer t.Stop()
	select {
	case <-next.up:
		return next, nil
	case <-t.C:
		err = errors.New("cannot open a stream with the new certificate: the server does not answer")
	case <-next.done:
		err = fmt.Errorf("cannot open a stream with the new certificate: %w", next.err)
	}
	next.close()
	return nil, err
}

// stream is one open stream of assignments.
type stream struct {
	conn   *conn
	due    time.Time // when the certificate is renewed
	cancel context.CancelFunc
	told   chan agentapi.Trust // the newest
	up     chan struct{}       // closed when the server has answered
	done   chan struct{}
	err    error // once done
}

// open opens a stream; it is up, or done, later.
func (l *link) open(ctx context.Context, c *conn) *stream {
	s := &stream{conn: c, due: c.due, told: make(chan agentapi.Trust, 1), up: make(chan struct{}), done: make(chan struct{})}
	ctx, s.cancel = context.WithCancel(ctx)
	go func() {
		defer close(s.done)
		s.err = l.session(ctx, s)
	}()
	return s
}

// close ends the stream and its connection.
func (s *stream) close() {
	s.cancel()
	<-s.done
	s.conn.http.CloseIdleConnections()
}

// session serves a stream until it breaks.
func (l *link) session(ctx context.Context, s *stream) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, err := s.conn.watch.CallServerStream(ctx, connect.NewRequest(&agentapi.WatchRequest{
		Node: l.id, Instance: l.instance, Facts: l.agent.facts(ctx),
	}))
	if err != nil {
		return err
	}
	defer in.Close()
	reporting := false
	for in.Receive() {
		ev := in.Msg()
		switch {
		case ev.Fenced:
			return ErrFenced
		case ev.Incarnation != 0:
			if err := agentapi.CheckServer(ev.Protocol); err != nil {
				return err
			}
			l.incarnation.Store(ev.Incarnation)
			l.current.Store(s.conn)
			l.online.Store(true)
			if !reporting {
				reporting = true
				close(s.up)
				done := make(chan struct{})
				defer func() { cancel(); <-done }()
				go func() { defer close(done); l.reports(ctx, s.conn, cancel) }()
			}
		case ev.Trust != nil:
			select { // the newest is the one that counts
			case <-s.told:
			default:
			}
			s.told <- *ev.Trust
		case ev.Assignment != nil:
			if err := l.agent.take(l.agent.life, ev.Assignment); err != nil {
				return err
			}
		case ev.Session != nil:
			d, r := dialler{s.conn.http, s.conn.base}, *ev.Session
			l.agent.wg.Go(func() { l.agent.session(l.agent.life, d, r) })
		}
	}
	return errors.Join(errors.New("the stream ended"), in.Err())
}

// reports sends what is observed: soon after a change, else as a heartbeat.
func (l *link) reports(ctx context.Context, c *conn, broken context.CancelFunc) {
	for {
		t := time.NewTimer(l.agent.beat(heartbeat))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-l.agent.reports:
			t.Stop()
			sleep(ctx, 30*time.Millisecond) // changes come in groups
		case <-t.C:
		}
		r := l.next()
		if r.Node == "" {
			continue
		}
		rctx, cancel := context.WithTimeout(ctx, callTime)
		sent := time.Now()
		resp, err := c.report.CallUnary(rctx, connect.NewRequest(&r))
		cancel()
		if err == nil {
			l.agent.vitals.compare(resp.Header().Get("Date"), time.Now(), time.Since(sent))
		}
		if err != nil || resp.Msg.Fenced {
			l.agent.changed()
			broken()
			return
		}
	}
}

// next is the next report. Of two streams' reports the one with the higher number
// was observed later.
func (l *link) next() agentapi.Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.agent.report()
	if r.Node == "" {
		return r
	}
	l.sequence++
	r.Incarnation, r.Sequence = l.incarnation.Load(), l.sequence
	return r
}

// permit asks whether a cluster-wide one-time task may run here.
func (l *link) permit(ctx context.Context, task string) (agentapi.PermitResponse, error) {
	c := l.current.Load()
	if !l.online.Load() || c == nil {
		return agentapi.PermitResponse{}, errors.New("no connection to the server")
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	r, err := c.ask.CallUnary(ctx, connect.NewRequest(&agentapi.PermitRequest{Node: l.id, Task: task}))
	if err != nil {
		return agentapi.PermitResponse{}, err
	}
	return *r.Msg, nil
}

// FetchBlob reads a blob from the server, from an offset on.
func (l *link) FetchBlob(ctx context.Context, sum string, offset int64) (io.ReadCloser, error) {
	c := l.current.Load()
	if !l.online.Load() || c == nil {
		return nil, errors.New("no connection to the server")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+agentapi.PathBlob+sum, nil)
	if err != nil {
		return nil, err
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		defer resp.Body.Close()
		return nil, fmt.Errorf("cannot fetch %s: the server answers %s", sum, resp.Status)
	}
	return resp.Body, nil
}
