package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// limits bound what one caller of the API, and all of them, can hold of the server.
type limits struct {
	body    time.Duration // in which each piece of a body must come, or the request ends
	piece   int           // bytes of a body
	write   time.Duration // in which each piece of an answer must be taken, or the connection ends
	all     int64         // requests that are worked on at once
	each    int64         // of one caller
	line    time.Duration // how long a request waits for its turn
	streams int64         // transfers and answers without an end, at once, of one caller
}

// usual are the limits of a server. A request of the API takes milliseconds, so a
// line of 10 s is thousands of requests long.
var usual = limits{body: 30 * time.Second, piece: 64 << 10, write: 30 * time.Second, all: 256, each: 128, line: 10 * time.Second, streams: 1024}

// gate holds the turns of requests.
type gate struct {
	limits
	all *semaphore.Weighted

	mu      sync.Mutex
	callers map[string]*turns
}

// turns are those of one caller, for as long as any of its requests is here.
type turns struct {
	requests, streams *semaphore.Weighted
	here              int
}

func newGate(l limits) *gate {
	return &gate{limits: l, all: semaphore.NewWeighted(l.all), callers: map[string]*turns{}}
}

// limited has requests wait for their turn, and ends those whose body or answer does
// not move. Who calls is in the request's context.
func (g *gate) limited(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leave, err := g.enter(r)
		if err != nil {
			w.Header().Set("Retry-After", "1")
			writeProblem(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		defer leave()
		if r.Header.Get("Upgrade") != "" { // what is spoken next has its own rules
			h.ServeHTTP(w, r)
			return
		}
		rc := http.NewResponseController(w)
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &pacedBody{ReadCloser: r.Body, rc: rc, limits: g.limits}
		}
		out := &pacedWriter{ResponseWriter: w, rc: rc, limits: g.limits}
		h.ServeHTTP(out, r)
		out.renew() // for what is still in buffers
	})
}

// enter waits for a turn; leave gives it back.
func (g *gate) enter(r *http.Request) (leave func(), err error) {
	name := callerOf(r.Context()).ID
	g.mu.Lock()
	t := g.callers[name]
	if t == nil {
		t = &turns{requests: semaphore.NewWeighted(g.each), streams: semaphore.NewWeighted(g.streams)}
		g.callers[name] = t
	}
	t.here++
	g.mu.Unlock()
	forget := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if t.here--; t.here == 0 {
			delete(g.callers, name)
		}
	}
	if streams(r) {
		if !t.streams.TryAcquire(1) {
			forget()
			return nil, fmt.Errorf("this token has %d streams and transfers open, as many as it may; close some", g.streams)
		}
		return func() { t.streams.Release(1); forget() }, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), g.line)
	defer cancel()
	if t.requests.Acquire(ctx, 1) != nil {
		forget()
		return nil, fmt.Errorf("this token has had %d requests worked on for %s, as many as it may; ask again with fewer at once", g.each, g.line)
	}
	if g.all.Acquire(ctx, 1) != nil {
		t.requests.Release(1)
		forget()
		return nil, fmt.Errorf("the server has worked on %d requests for %s, as many as it may; ask again", g.limits.all, g.line)
	}
	return func() { g.all.Release(1); t.requests.Release(1); forget() }, nil
}

// logsOf are the paths of logs: none is that of a cluster of that name.
var logsOf = regexp.MustCompile(`^/v1/clusters/[^/]+(/.+)?/logs$`)

// streams tells requests that last from those that are answered at once.
func streams(r *http.Request) bool {
	p := r.URL.Path
	return r.Header.Get("Upgrade") != "" || p == "/v1/events" || logsOf.MatchString(p) ||
		p == "/v1/blobs" || strings.HasPrefix(p, "/v1/blobs/") || strings.HasPrefix(p, "/v2/")
}

// pacedBody ends a body that comes too slowly. Once it has come the connection has no
// deadline: work on it may last.
type pacedBody struct {
	io.ReadCloser
	limits

	rc   *http.ResponseController
	left int // bytes until the deadline moves on
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.left = b.piece
		_ = b.rc.SetReadDeadline(time.Now().Add(b.body)) // without deadlines there is nothing to bound
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= n
	if err != nil {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// pacedWriter ends a connection that does not take its answer.
type pacedWriter struct {
	http.ResponseWriter
	limits

	rc *http.ResponseController
}

// Unwrap lets flushes and deadlines through.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) renew() { _ = w.rc.SetWriteDeadline(time.Now().Add(w.write)) }

// WriteHeader is http.ResponseWriter's.
func (w *pacedWriter) WriteHeader(status int) {
	w.renew()
	w.ResponseWriter.WriteHeader(status)
}

// Write is http.ResponseWriter's.
func (w *pacedWriter) Write(p []byte) (n int, err error) {
	for first := true; first || len(p) > 0; first = false {
		w.renew()
		some, err := w.ResponseWriter.Write(p[:min(len(p), w.piece)])
		n += some
		if err != nil {
			return n, err
		}
		p = p[some:]
	}
	return n, nil
}

// maxConnections is how many connections to the API are open at once over TCP: anybody on
// the host can open them, while the socket is the owner's.
// More wait in the kernel's line until one ends; idle ones end after two minutes.
const maxConnections = 2048
