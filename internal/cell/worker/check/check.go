// Package check asks a task whether it is well: by a command in it, by HTTP or HTTPS,
// or by connecting to a port. It knows when to ask and what counts; what follows from
// an answer is its caller's.
package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/shim"
)

// Target is the task that is asked.
type Target interface {
	Dial(ctx context.Context, port int) (net.Conn, error)
	Run(ctx context.Context, r shim.ExecRequest, limit int) (code int, output []byte, err error)
}

// Question is what is asked, and when.
type Question struct {
	Command *mesos.CommandInfo
	HTTP    *mesos.HTTPCheck
	TCP     *mesos.TCPCheck

	Delay, Interval, Timeout time.Duration
}

// Answer is what came back. Err says why there is none, or why it is bad.
type Answer struct {
	Code int // of the command, or the HTTP status
	Err  error
}

const (
	defaultInterval = 10 * time.Second // of Mesos
	defaultTimeout  = 20 * time.Second
	minInterval     = 100 * time.Millisecond
	maxOutput       = 512 // bytes of a command's output in an answer
)

// Repeat asks until ctx ends, and tells each answer.
func Repeat(ctx context.Context, q Question, target Target, tell func(Answer)) {
	if q.Interval <= 0 {
		q.Interval = defaultInterval
	}
	if q.Timeout <= 0 {
		q.Timeout = defaultTimeout
	}
	q.Interval = max(q.Interval, minInterval)
	wait := q.Delay
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		answer := Ask(ctx, q, target)
		if ctx.Err() != nil {
			return
		}
		tell(answer)
		wait = q.Interval
	}
}

// Ask asks once.
func Ask(ctx context.Context, q Question, target Target) Answer {
	late := fmt.Errorf("no answer in %s", q.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, q.Timeout, late)
	defer cancel()
	var a Answer
	switch {
	case q.Command != nil:
		a = command(ctx, q.Command, target)
	case q.HTTP != nil:
		a = ask(ctx, q.HTTP, target)
	case q.TCP != nil:
		var conn net.Conn
		if conn, a.Err = target.Dial(ctx, q.TCP.Port); a.Err == nil {
			conn.Close()
		}
	default:
		a.Err = errors.New("the check has neither command, http nor tcp")
	}
	if a.Err != nil && ctx.Err() != nil {
		a.Err = context.Cause(ctx)
	}
	return a
}

func command(ctx context.Context, c *mesos.CommandInfo, target Target) Answer {
	r := shim.ExecRequest{Argv: append([]string{c.Value}, c.Arguments[min(1, len(c.Arguments)):]...)}
	if c.Shell == nil || *c.Shell {
		r.Argv = []string{"/bin/sh", "-c", c.Value}
	}
	if c.Environment != nil {
		for _, v := range c.Environment.Variables {
			r.Env = append(r.Env, v.Name+"="+v.Value)
		}
	}
	code, output, err := target.Run(ctx, r, maxOutput)
	if err == nil && code != 0 {
		err = fmt.Errorf("the command ended with %d", code)
		if text := strings.TrimSpace(strings.ToValidUTF8(string(output), "?")); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
	}
	return Answer{Code: code, Err: err}
}

func ask(ctx context.Context, h *mesos.HTTPCheck, target Target) Answer {
	scheme := strings.ToLower(h.Scheme)
	if scheme == "" {
		scheme = "http"
	}
	transport := &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return target.Dial(ctx, h.Port) },
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a check of life, as with Mesos: the way is our own
		DisableKeepAlives: true,
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	path := h.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	url := scheme + "://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(h.Port)) + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Answer{Err: err}
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{Err: errors.Unwrap(err)}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	good := resp.StatusCode >= 200 && resp.StatusCode < 400
	if len(h.Statuses) > 0 {
		good = slices.Contains(h.Statuses, resp.StatusCode)
	}
	a := Answer{Code: resp.StatusCode}
	if !good {
		a.Err = fmt.Errorf("HTTP status %d", resp.StatusCode)
	}
	return a
}

// Health counts answers of a health check.
type Health struct {
	Grace    time.Duration // since Started: failures do not count before the first success
	Most     int           // failures in a row that are too many; 0: never
	Started  time.Time
	failures int
	known    bool
	healthy  bool
}

// Count takes an answer. changed says that healthy is news, dead that the task has to
// end.
func (h *Health) Count(a Answer, now time.Time) (healthy, changed, dead bool) {
	if a.Err == nil {
		changed = !h.known || !h.healthy
		h.known, h.healthy, h.failures = true, true, 0
		return true, changed, false
	}
	if !h.known && now.Sub(h.Started) < h.Grace {
		return false, false, false
	}
	h.failures++
	changed = !h.known || h.healthy
	h.known, h.healthy = true, false
	return false, changed, h.Most > 0 && h.failures >= h.Most
}
