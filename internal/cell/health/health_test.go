package health_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/health"
)

func target(t *testing.T, address string) (string, int) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return u.Hostname(), port
}

func TestAsk(t *testing.T) {
	release := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-release
		case "/bad":
			w.WriteHeader(http.StatusInternalServerError)
		case "/away":
			http.Redirect(w, r, "/bad", http.StatusFound)
		default:
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write([]byte("well " + r.URL.RequestURI()))
		}
	})
	plain, secure := httptest.NewServer(h), httptest.NewTLSServer(h)
	defer plain.Close()
	defer secure.Close()
	defer close(release)
	const free = "tcp://127.0.0.1:1" // a port that is given to nobody

	for _, c := range []struct {
		name, protocol, at, path string
		codes                    []int
		ok                       bool
		cause                    string // its end
	}{
		{"http", health.HTTP, plain.URL, "/page?q=1", nil, true, ""},
		{"path without a slash", health.HTTP, plain.URL, "page", nil, true, ""},
		{"https with a certificate of its own", health.HTTPS, secure.URL, "/", nil, true, ""},
		{"tcp", health.TCP, plain.URL, "", nil, true, ""},
		{"an error", health.HTTP, plain.URL, "/bad", nil, false, "the answer is 500 Internal Server Error"},
		{"a redirect is an answer", health.HTTP, plain.URL, "/away", nil, true, ""},
		{"a code that was not asked for", health.HTTP, plain.URL, "/", []int{204}, false, "the answer is 200 OK"},
		{"a code that was asked for", health.HTTP, plain.URL, "/bad", []int{204, 500}, true, ""},
		{"slow", health.HTTP, plain.URL, "/slow", nil, false, "within 200ms"},
		{"nobody, tcp", health.TCP, free, "", nil, false, "connection refused"},
		{"nobody, http", health.HTTP, free, "/", nil, false, "connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			host, port := target(t, c.at)
			patience := time.Minute
			if c.path == "/slow" {
				patience = 200 * time.Millisecond
			}
			got := health.New(1).Ask(t.Context(), health.Check{Protocol: c.protocol, Host: host, Port: port, Path: c.path, Timeout: patience, Codes: c.codes})
			if got.OK != c.ok || !strings.HasSuffix(got.Cause, c.cause) || c.ok && got.Cause != "" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestRun: it asks again and again, and ends with its context.
func TestRun(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer s.Close()
	host, port := target(t, s.URL)
	ctx, cancel := context.WithCancel(t.Context())
	var reports int
	health.New(1).Run(ctx, health.Check{Protocol: health.HTTP, Host: host, Port: port, Interval: time.Millisecond, Timeout: time.Minute}, func(a health.Answer) {
		if !a.OK {
			t.Errorf("got %+v", a)
		}
		if reports++; reports == 3 {
			cancel()
		}
	})
	if reports != 3 || asked.Load() != 3 {
		t.Errorf("%d reports of %d questions", reports, asked.Load())
	}
}
