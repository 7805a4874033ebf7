package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/net/netutil"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// limitedServer serves a handler behind limits on a port of its own; X-Caller says who
// asks.
func limitedServer(t *testing.T, l limits, h http.Handler) (address string) {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveLimited(t, lis, l, h)
	return lis.Addr().String()
}

// pipes are a listener within a bubble of synctest, which real connections are not.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

// Accept is net.Listener's.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's.
func (p *pipes) Close() error { p.close(); return nil }

// Addr is net.Listener's.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// dial opens a connection and writes the head of a request.
func (p *pipes) dial(t *testing.T, head string) net.Conn {
	t.Helper()
	c, theirs := net.Pipe()
	t.Cleanup(func() { c.Close() })
	p.conns <- theirs
	request(t, c, head)
	return c
}

func serveLimited(t *testing.T, lis net.Listener, l limits, h http.Handler) {
	inner := newGate(l).limited(h)
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r.WithContext(withCaller(r.Context(), tenant.Token{ID: r.Header.Get("X-Caller")})))
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(lis) }()
	t.Cleanup(func() { srv.Close(); <-done })
}

// quick are limits that a test need not wait long for.
func quick() limits {
	return limits{body: time.Second, piece: 64, write: 300 * time.Millisecond, all: 8, each: 8, line: 100 * time.Millisecond, streams: 8}
}

// dial opens a connection and writes the head of a request.
func dial(t *testing.T, address, head string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	request(t, c, head)
	return c
}

func request(t *testing.T, c net.Conn, head string) {
	t.Helper()
	if _, err := io.WriteString(c, strings.ReplaceAll(head, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
}

// TestSlowBody: a body that trickles is cut, one that moves may last, and work after it
// has no deadline.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testSlowBody)
}

func testSlowBody(t *testing.T) {
	l := quick()
	got := make(chan error, 1)
	p := newPipes()
	serveLimited(t, p, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		if err == nil {
			select {
			case <-r.Context().Done():
				err = context.Cause(r.Context())
			case <-time.After(2 * l.body):
			}
		}
		got <- err
	}))
	for _, tt := range []struct {
		name         string
		bytes, times int
		cut          bool
	}{
		{"one byte at a time", 1, 1000, true},
		{"as fast as it must be", l.piece, 10, false},
	} {
		c := p.dial(t, fmt.Sprintf("POST / HTTP/1.1\nHost: h\nContent-Length: %d\n\n", tt.bytes*tt.times))
		sent, ended := 0, false
		var err error
		for sent < tt.times && !ended {
			if _, failed := io.WriteString(c, strings.Repeat("x", tt.bytes)); failed != nil {
				break
			}
			sent++
			select {
			case err = <-got:
				ended = true
			case <-time.After(l.body / 5):
			}
		}
		if !ended {
			err = <-got
		}
		if cut := err != nil; cut != tt.cut {
			t.Errorf("%s: after %d of %d pieces: %v", tt.name, sent, tt.times, err)
		}
		t.Logf("%s: %d of %d pieces of %d bytes were taken", tt.name, sent, tt.times, tt.bytes)
	}
}

// TestSlowReader: an answer that nobody takes ends when its time is over and not before.
// With SOAK=1 the time is that of a real server.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	l := quick()
	if os.Getenv("SOAK") != "" {
		l = usual
	}
	cut := make(chan time.Duration, 1)
	address := limitedServer(t, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, l.piece)
		for {
			began := time.Now()
			if _, err := w.Write(piece); err != nil {
				cut <- time.Since(began)
				return
			}
		}
	}))
	dial(t, address, "GET / HTTP/1.1\nHost: h\n\n")
	select {
	case took := <-cut:
		if took < l.write*9/10 {
			t.Errorf("a reader that takes nothing was cut after %s, want %s", took, l.write)
		}
		t.Logf("a reader that took nothing was cut after %.1f s", took.Seconds())
	case <-time.After(l.write + time.Minute):
		t.Fatalf("a reader that takes nothing is not cut after %s", l.write)
	}
}

// TestSlowReaderOfEvents: who does not read is cut, and nobody else notices.
func TestSlowReaderOfEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testSlowReaderOfEvents)
}

func testSlowReaderOfEvents(t *testing.T) {
	st, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "db")})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	const events, slow = 4000, 5
	err = st.Update(t.Context(), func(tx *store.Tx) error {
		for range events {
			if err := tx.Event(api.Event{Type: "test", Message: strings.Repeat("a long message ", 400)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	(&Server{store: st}).events(humago.New(mux, huma.DefaultConfig("test", "1")))
	var open, ended atomic.Int32
	l := quick()
	l.write = 2 * time.Second
	p := newPipes()
	serveLimited(t, p, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open.Add(1)
		mux.ServeHTTP(w, r)
		ended.Add(1)
	}))
	for range slow {
		p.dial(t, "GET /v1/events?after=1 HTTP/1.1\nHost: h\nX-Caller: slow\n\n")
	}
	await(t, "the slow readers are here", func() bool { return open.Load() == slow })
	good := p.dial(t, "GET /v1/events?after=1 HTTP/1.1\nHost: h\nX-Caller: good\n\n")
	read := 0
	for in := bufio.NewScanner(good); read < events-1 && in.Scan(); {
		if strings.HasPrefix(in.Text(), "id: ") {
			read++
		}
	}
	if read != events-1 {
		t.Errorf("who reads got %d events, want %d", read, events-1)
	}
	good.Close()
	await(t, "those who do not read are cut", func() bool { return ended.Load() >= slow })
	t.Logf("%d readers that took nothing were cut; one beside them read %d events", slow, read)
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it is not so that %s", what)
		}
	}
}

// TestTurns: a request waits for its turn, is told when none comes, and one caller does
// not take those of others; what streams has turns of its own.
func TestTurns(t *testing.T) {
	t.Parallel()
	l := quick()
	l.all, l.each, l.streams = 3, 2, 1
	var held atomic.Int32
	release := make(chan struct{})
	address := limitedServer(t, l, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("hold") {
			held.Add(1)
			<-release
		}
	}))
	ask := func(caller, path string) (int, string, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			t.Error(err)
			return 0, "", ""
		}
		req.Header.Set("X-Caller", caller)
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Error(err)
			return 0, "", ""
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header.Get("Retry-After"), string(text)
	}
	var wg sync.WaitGroup
	hold := func(caller, path string) {
		t.Helper()
		now := held.Load() + 1
		wg.Go(func() {
			if status, _, text := ask(caller, path); status != http.StatusOK {
				t.Errorf("%s %s: %d %s", caller, path, status, text)
			}
		})
		await(t, "a request is held", func() bool { return held.Load() == now })
	}
	refused := func(caller, path, want string) {
		t.Helper()
		if status, retry, text := ask(caller, path); status != http.StatusServiceUnavailable || retry != "1" || !strings.Contains(text, want) {
			t.Errorf("%s %s: %d, Retry-After %q: %s", caller, path, status, retry, text)
		}
	}
	hold("a", "/?hold")
	hold("a", "/?hold")
	refused("a", "/", "this token has had 2 requests worked on for 100ms, as many as it may; ask again with fewer at once")
	hold("b", "/?hold") // the last turn of all
	refused("c", "/", "the server has worked on 3 requests for 100ms, as many as it may; ask again")
	hold("a", "/v1/events?hold")
	refused("a", "/v1/events", "this token has 1 streams and transfers open, as many as it may; close some")
	hold("b", "/v1/events?hold")
	close(release)
	wg.Wait()
	for _, caller := range []string{"a", "b", "c"} {
		if status, _, text := ask(caller, "/"); status != http.StatusOK {
			t.Errorf("with all turns free %s gets %d %s", caller, status, text)
		}
	}
}

// TestConnectionsWait: one more connection than there may be is served when another ends.
func TestConnectionsWait(t *testing.T) {
	t.Parallel()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "yes") })}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(netutil.LimitListener(lis, 2)) }()
	defer func() { srv.Close(); <-done }()
	answer := func(c net.Conn) string {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		line, err := bufio.NewReader(c).ReadString('\n')
		return fmt.Sprint(strings.TrimSpace(line), err)
	}
	const get = "GET / HTTP/1.1\nHost: h\n\n"
	first, second := dial(t, lis.Addr().String(), get), dial(t, lis.Addr().String(), get)
	for _, c := range []net.Conn{first, second} {
		if got := answer(c); got != "HTTP/1.1 200 OK<nil>" {
			t.Error(got)
		}
	}
	third := dial(t, lis.Addr().String(), get)
	_ = third.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := third.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("the third connection is served beside two")
	}
	first.Close()
	if got := answer(third); got != "HTTP/1.1 200 OK<nil>" {
		t.Error(got)
	}
}
