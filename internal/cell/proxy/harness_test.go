package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/proxy"
	"howdah.dev/howdah/internal/cell/serviceapi"
)

// loopback is the address that proxies of these tests have: another than that of
// the instances, so that ports do not meet.
var loopback = netip.MustParseAddr("127.91.0.1")

// told is a source that tests speak through.
type told struct {
	mu    sync.Mutex
	table serviceapi.Table
	away  bool
	asked int    // while away
	taken string // revision that the proxy last asked for another than
	news  chan struct{}
}

func (s *told) Next(ctx context.Context, after string) (serviceapi.Table, error) {
	for {
		s.mu.Lock()
		t, away, news := s.table, s.away, s.news
		if s.taken = after; away {
			s.asked++
		}
		s.mu.Unlock()
		switch {
		case away:
			return t, fmt.Errorf("nobody answers")
		case t.Revision != after:
			return t, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return t, context.Cause(ctx)
		}
	}
}

func (s *told) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.news)
	s.news = make(chan struct{})
}

// say makes a table the newest.
func (s *told) say(services ...serviceapi.Service) {
	s.change(func() {
		n, _ := strconv.Atoi(s.table.Revision)
		s.table = serviceapi.Table{Revision: strconv.Itoa(n + 1), Services: services}
	})
}

// journal is a log that tests read.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) lines(with string) (out []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.text.String()) {
		if strings.Contains(line, with) {
			out = append(out, line)
		}
	}
	return out
}

// run runs a proxy until the test ends.
func run(t *testing.T, cfg proxy.Config) (*told, *journal) {
	t.Helper()
	s, j := &told{news: make(chan struct{})}, &journal{}
	cfg.Address, cfg.Log = loopback, slog.New(slog.NewTextHandler(j, nil))
	if cfg.Source == nil {
		cfg.Source = s
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := proxy.New(cfg)
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("the proxy does not end")
		}
		if ports := p.Ports(); len(ports) > 0 {
			if c, err := net.DialTimeout("tcp", at(ports[0]), time.Minute); err == nil {
				c.Close()
				t.Error("a port is open after the end")
			}
		}
	})
	return s, j
}

// freePort finds a port of the proxy's address that nobody has.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(loopback.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return portOf(l)
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func at(port int) string { return net.JoinHostPort(loopback.String(), strconv.Itoa(port)) }

// web starts an instance that answers with its name, and returns what leads to it.
func web(t *testing.T, name string) (serviceapi.Backend, *http.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return backend(l, name), srv
}

func backend(l net.Listener, name string) serviceapi.Backend {
	return serviceapi.Backend{Host: "127.0.0.1", Port: portOf(l), Task: name, Healthy: true}
}

func service(port int, bs ...serviceapi.Backend) serviceapi.Service {
	return serviceapi.Service{Port: port, App: "/web", Protocol: "tcp", Backends: bs}
}

// ask asks over a new connection.
func ask(port int) (string, error) {
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + at(port))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// until waits for a condition, for at most a minute.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain until " + what)
		}
	}
}

// answers waits until a port is answered at.
func answers(t *testing.T, port int) {
	t.Helper()
	until(t, "the port is open", func() bool { _, err := ask(port); return err == nil })
}

// echo starts an instance that sends back each line.
func echo(t *testing.T, name string) (serviceapi.Backend, net.Listener) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					fmt.Fprintf(c, "%s: %s\n", name, lines.Text())
				}
			}()
		}
	}()
	return backend(l, name), l
}

// line is one connection to an echo.
type line struct {
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, port int) line {
	t.Helper()
	var c net.Conn
	until(t, "the port is open", func() (ok bool) {
		var err error
		c, err = net.Dial("tcp", at(port))
		return err == nil
	})
	t.Cleanup(func() { c.Close() })
	return line{c, bufio.NewReader(c)}
}

func (l line) say(text string) (string, error) {
	_ = l.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintln(l, text); err != nil {
		return "", err
	}
	return l.r.ReadString('\n')
}
