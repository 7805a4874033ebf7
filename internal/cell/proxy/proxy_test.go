package proxy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/proxy"
	"howdah.dev/howdah/internal/cell/serviceapi"
)

// TestRoundRobin asks as many times as shares are even.
func TestRoundRobin(t *testing.T) {
	s, _ := run(t, proxy.Config{})
	port := freePort(t)
	one, _ := web(t, "one")
	two, _ := web(t, "two")
	three, _ := web(t, "three")
	ill, _ := web(t, "ill")
	ill.Healthy = false
	s.say(service(port, one, two, ill, three))
	answers(t, port)
	got := map[string]int{}
	for range 30 {
		name, err := ask(port)
		if err != nil {
			t.Fatal(err)
		}
		got[name]++
	}
	if diff := cmp.Diff(map[string]int{"one": 10, "two": 10, "three": 10}, got); diff != "" {
		t.Error(diff)
	}
}

// TestDead tries another instance where one refuses, or is a port in front of a
// container with nobody inside: it accepts, and cuts.
func TestDead(t *testing.T) {
	s, _ := run(t, proxy.Config{})
	port := freePort(t)
	live, _ := web(t, "live")
	dead := serviceapi.Backend{Host: "127.0.0.1", Port: 1, Task: "dead", Healthy: true} // a port that is given to nobody
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	go func() {
		for {
			c, err := front.Accept()
			if err != nil {
				return
			}
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}()
	s.say(service(port, dead, backend(front, "front"), live))
	until(t, "the port is open", func() bool { c, err := net.Dial("tcp", at(port)); return err == nil && c.Close() == nil })
	for range 12 {
		if name, err := ask(port); name != "live" {
			t.Fatalf("answered by %q: %v", name, err)
		}
	}
	s.say(service(port, dead))
	until(t, "a client sees a reset", func() bool { _, err := ask(port); return errors.Is(err, syscall.ECONNRESET) })
}

// drain is how long an instance that has left the table goes on taking connections.
const drain = 300 * time.Millisecond

// TestRolling replaces the instances again and again below a loop of requests:
// each old one leaves the table first, and ends a little later, as workers do it.
func TestRolling(t *testing.T) {
	s, _ := run(t, proxy.Config{})
	port := freePort(t)
	now, old := web(t, "0")
	s.say(service(port, now))
	answers(t, port)
	ctx, cancel := context.WithCancel(t.Context())
	var askers sync.WaitGroup
	var asked, failed atomic.Int64
	for range 4 {
		askers.Go(func() {
			for ctx.Err() == nil {
				if _, err := ask(port); err != nil {
					failed.Add(1)
					t.Error(err)
				}
				asked.Add(1)
			}
		})
	}
	for n := 1; n <= 12; n++ {
		next, srv := web(t, fmt.Sprint(n))
		s.say(service(port, now, next))
		s.say(service(port, next))
		until(t, "the proxy has the newest table", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.taken == s.table.Revision })
		time.Sleep(drain)
		if err := old.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		now, old = next, srv
		if name, err := ask(port); err != nil || name != fmt.Sprint(n) {
			t.Errorf("%q answers instead of %d: %v", name, n, err)
		}
	}
	cancel()
	askers.Wait()
	if failed.Load() > 0 || asked.Load() < 24 {
		t.Errorf("%d of %d requests failed", failed.Load(), asked.Load())
	}
}

// TestQuick takes a change in within 100 ms. Nine of ten may be late: a busy machine
// delays some, the proxy would delay all.
func TestQuick(t *testing.T) {
	s, _ := run(t, proxy.Config{})
	port := freePort(t)
	one, _ := web(t, "one")
	two, _ := web(t, "two")
	s.say(service(port, one))
	answers(t, port)
	quickest := time.Hour
	for range 5 {
		for _, b := range []serviceapi.Backend{two, one} {
			start := time.Now()
			s.say(service(port, b))
			until(t, "the other one answers", func() bool { name, _ := ask(port); return name == b.Task })
			quickest = min(quickest, time.Since(start))
		}
	}
	if quickest > 100*time.Millisecond {
		t.Errorf("the quickest of ten took %s", quickest)
	}
}

// TestLeaving keeps connections to an instance that is not in the table any more,
// and to a port that is not served any more, until they end.
func TestLeaving(t *testing.T) {
	s, _ := run(t, proxy.Config{})
	port := freePort(t)
	one, _ := echo(t, "one")
	two, _ := echo(t, "two")
	s.say(service(port, one))
	c := dial(t, port)
	if got, err := c.say("a"); got != "one: a\n" {
		t.Fatal(got, err)
	}
	s.say(service(port, two))
	until(t, "new connections go to the other", func() bool { got, _ := dial(t, port).say("x"); return got == "two: x\n" })
	if got, err := c.say("b"); got != "one: b\n" {
		t.Error(got, err)
	}
	s.say()
	until(t, "the port is closed", func() bool {
		n, err := net.Dial("tcp", at(port))
		if err == nil {
			n.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if got, err := c.say("c"); got != "one: c\n" {
		t.Error(got, err)
	}
	// One direction may end before the other.
	if _, err := fmt.Fprintln(c, "last"); err != nil {
		t.Fatal(err)
	}
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(c.r)
	if string(rest) != "one: last\n" || err != nil {
		t.Errorf("%q %v", rest, err)
	}
}

// TestAway works on with the last table while nobody tells a newer one, says so
// once, and takes the newer one when somebody does.
func TestAway(t *testing.T) {
	s, log := run(t, proxy.Config{})
	port := freePort(t)
	one, _ := web(t, "one")
	two, _ := web(t, "two")
	s.say(service(port, one))
	answers(t, port)
	s.change(func() { s.away = true })
	until(t, "it has asked twice in vain", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.asked >= 2 })
	if name, err := ask(port); name != "one" {
		t.Error(name, err)
	}
	s.change(func() { s.away = false })
	s.say(service(port, two))
	until(t, "the new table counts", func() bool { name, _ := ask(port); return name == "two" })
	if n := len(log.lines("the last known ones stay")); n != 1 {
		t.Errorf("said %d times that nobody answers", n)
	}
}

// TestTaken says once whose port cannot be had, and has it when it is free.
func TestTaken(t *testing.T) {
	s, log := run(t, proxy.Config{Rebind: 10 * time.Millisecond, Avoid: func(p int) bool { return p == 31000 }})
	other, err := net.Listen("tcp", net.JoinHostPort(loopback.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	port, free := portOf(other), freePort(t)
	one, _ := web(t, "one")
	s.say(service(port, one), service(free, one), serviceapi.Service{Port: 31000, App: "/odd", Protocol: "tcp", Backends: []serviceapi.Backend{one}})
	answers(t, free)
	time.Sleep(50 * time.Millisecond) // some more attempts
	want := fmt.Sprintf("app=/web port=%d why=\"listen tcp %s: bind: address already in use\"\n", port, at(port))
	if got := log.lines("app=/web"); len(got) != 1 || !strings.HasSuffix(got[0], want) {
		t.Errorf("said %q", got)
	}
	want = "app=/odd port=31000 why=\"tasks of this worker may be given the port; use a service port outside of the ports it offers\"\n"
	if got := log.lines("app=/odd"); len(got) != 1 || !strings.HasSuffix(got[0], want) {
		t.Errorf("said %q", got)
	}
	if _, err := net.Dial("tcp", at(31000)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a port of tasks is taken: %v", err)
	}
	other.Close()
	answers(t, port)
}

// TestLimits refuses connections above the limit, and cuts those that are idle.
func TestLimits(t *testing.T) {
	const idle = 3 * time.Second // a busy machine lets who is in use speak within it
	s, _ := run(t, proxy.Config{MaxConnections: 2, Idle: idle})
	port := freePort(t)
	one, _ := echo(t, "one")
	s.say(service(port, one))
	a, b := dial(t, port), dial(t, port)
	for _, c := range []line{a, b} {
		if got, err := c.say("x"); got != "one: x\n" {
			t.Fatal(got, err)
		}
	}
	if got, err := dial(t, port).say("y"); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a third connection is answered %q, %v", got, err)
	}
	for end := time.Now().Add(2 * idle); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err := a.say("x"); err != nil {
			t.Fatalf("a connection in use was cut: %v", err)
		}
	}
	_ = b.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := b.r.ReadString('\n'); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an idle connection is not cut: %v", err)
	}
	until(t, "there is room for another", func() bool { got, _ := dial(t, port).say("z"); return got == "one: z\n" })
}

// TestHead passes on what an instance says before it is asked.
func TestHead(t *testing.T) {
	s, _ := run(t, proxy.Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, "hello")
			c.Close()
		}
	}()
	port := freePort(t)
	s.say(service(port, backend(l, "one")))
	for range 3 { // the first of them is not known to answer yet
		c := dial(t, port)
		text, err := io.ReadAll(c)
		if string(text) != "hello\n" || err != nil {
			t.Errorf("%q %v", text, err)
		}
	}
}

// TestScheduler reads the table over HTTP.
func TestScheduler(t *testing.T) {
	one, _ := web(t, "one")
	port := freePort(t)
	table := serviceapi.Table{Revision: "r1", Services: []serviceapi.Service{service(port, one)}}
	refuse := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != serviceapi.Path {
			http.NotFound(w, r)
			return
		}
		if refuse {
			http.Error(w, "not yours", http.StatusForbidden)
			return
		}
		if r.URL.Query().Get("after") == "r1" {
			<-r.Context().Done()
			return
		}
		_ = json.NewEncoder(w).Encode(table)
	}))
	defer srv.Close()
	source := proxy.Scheduler{URL: srv.URL + "/", Client: srv.Client()}
	_, err := source.Next(t.Context(), "")
	if err == nil || err.Error() != "cannot ask for the services: 403 Forbidden: not yours" {
		t.Error(err)
	}
	refuse = false
	got, err := source.Next(t.Context(), "")
	if diff := cmp.Diff(table, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	t.Run("end to end", func(t *testing.T) {
		run(t, proxy.Config{Source: source})
		answers(t, port)
	})
}
