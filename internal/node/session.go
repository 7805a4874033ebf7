package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/node/proc"
	"howdah.dev/howdah/internal/session"
)

// dialler is the connection to the server as it was when a session was asked for.
type dialler struct {
	http *http.Client
	base string
}

// pingEvery is how soon a session notices that the server's end has gone while
// neither side says anything.
const pingEvery = 2 * time.Second

// session dials the session the server asked for and does what it is for.
func (a *Agent) session(ctx context.Context, d dialler, r agentapi.SessionRequest) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, out := io.Pipe()
	defer out.Close() // where it was not dialled
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.base+agentapi.PathSession+r.ID, in)
	if err != nil {
		a.log.Warn("cannot dial a session", "error", err)
		return
	}
	resp, err := d.http.Do(req)
	if err != nil {
		a.log.Debug("cannot dial a session", "kind", string(r.Kind), "error", err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		a.log.Debug("a session is not wanted any more", "kind", string(r.Kind), "status", resp.Status)
		return
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	c := &caller{Stream: session.NewStream(resp.Body, out), agent: a, gone: stop}
	pinged := make(chan struct{})
	go func() {
		defer close(pinged)
		for sleep(work, pingEvery) {
			if c.Send(session.FramePing, nil) != nil {
				stop()
			}
		}
	}()
	switch {
	case r.Exec != nil:
		err = a.exec(work, c, r.ID, *r.Exec)
	case r.Logs != nil:
		c.receive(nil)
		err = a.sendLogs(work, c.Stream, *r.Logs)
	default:
		err = fmt.Errorf("this agent, version %s, knows no sessions of %s; upgrade it", a.cfg.Version, r.Kind)
	}
	if err != nil && work.Err() == nil {
		_ = c.Send(api.FrameError, []byte(err.Error())) // the other side may have gone
	}
	stop()
	<-pinged
	_ = out.Close()
	c.settle(ctx)
}

// settleTime is how long the server may take to hear the last of a session.
const settleTime = 5 * time.Second

// caller is the other end of a session.
type caller struct {
	*session.Stream
	agent    *Agent
	gone     context.CancelFunc // ends what the session is for
	received chan struct{}      // closed when the other end says nothing more
}

// receive gives what the other end says to take, until it ends; then what the session
// is for ends too.
func (c *caller) receive(take func(kind byte, data []byte)) {
	c.received = make(chan struct{})
	c.agent.wg.Go(func() {
		defer close(c.received)
		defer c.gone()
		for {
			kind, data, err := c.Recv()
			if err != nil {
				return
			}
			if take != nil {
				take(kind, data)
			}
		}
	})
}

// settle waits until the other end has what was sent: giving up the request before
// would take that back.
func (c *caller) settle(ctx context.Context) {
	if c.received == nil {
		c.receive(nil)
	}
	t := time.NewTimer(settleTime)
	defer t.Stop()
	select {
	case <-c.received:
	case <-ctx.Done():
	case <-t.C:
	}
}

// serviceSessions labels what sessions start: SESSION/ID.
const serviceSessions = "session"

// clearSessions ends what sessions of an earlier agent left running: nobody is at
// their other end any more.
func (a *Agent) clearSessions(ctx context.Context) {
	left, err := proc.List(a.nodeID())
	if err != nil {
		a.log.Warn("cannot list processes", "error", err)
		return
	}
	for _, p := range left {
		if strings.HasPrefix(p.Service, serviceSessions+"/") {
			a.sweepSession(ctx, serviceSessions, 0)
			return
		}
	}
}

func (a *Agent) sweepSession(ctx context.Context, service string, grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if _, err := proc.Sweep(ctx, proc.Labels{Node: a.nodeID(), Service: service}, grace); err != nil && !errors.Is(err, context.Canceled) {
		a.log.Warn("cannot end what a session left running", "error", err)
	}
}
