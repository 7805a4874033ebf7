package gateway

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"howdah.dev/howdah/internal/adapter/webhdfs"
	"howdah.dev/howdah/internal/warehouse/webhdfstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a gateway in front of a store.
type world struct {
	t       *testing.T
	store   *webhdfstest.Store
	gateway *Gateway
	server  *httptest.Server
	http    *http.Client
	busy    sync.WaitGroup // requests that the gateway is at; an answer is not their end

	mu      sync.Mutex
	grants  map[string]Grant
	records []Record
}

func newWorld(t *testing.T, change func(*Config)) *world {
	w := &world{t: t, store: webhdfstest.New(t), grants: map[string]Grant{
		"secret": {Project: "ads", User: "ads", Datasets: []Dataset{
			{Name: "clicks", Path: "/data/clicks", Access: ReadWrite}, {Name: "geo", Path: "/data/geo", Access: ReadOnly},
		}},
		"old": {Project: "ads", User: "ads", Expires: time.Now().Add(-time.Second)},
	}}
	cfg := Config{
		NameNodes: func() []string { return []string{w.store.Name.URL} },
		Authorize: func(_ context.Context, token string) (Grant, bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			g, ok := w.grants[token]
			return g, ok
		},
		Audit: func(r Record) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.records = append(w.records, r)
		},
		Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.gateway = g
	w.server = httptest.NewUnstartedServer(nil)
	w.server.Config = g.Server()
	serve := w.server.Config.Handler
	w.server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.busy.Add(1)
		defer w.busy.Done()
		serve.ServeHTTP(rw, r)
	})
	w.server.Start()
	w.http = w.server.Client()
	w.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() {
		w.server.Close()
		g.Close()
	})
	return w
}

// adapter is Howdah's own client, which follows redirects, with a token.
func (w *world) adapter(token string) *webhdfs.Client {
	return webhdfs.New(webhdfs.Config{Addresses: []string{w.server.URL}, User: "root", HTTP: &http.Client{Transport: bearer{token, w.http.Transport}}})
}

type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// reply is a response whose body was read.
type reply struct {
	StatusCode int
	Status     string
	Header     http.Header
}

// do sends a request with the token "secret", or with that in the query.
func (w *world) do(method, target string, body io.Reader) (reply, string) {
	w.t.Helper()
	if !strings.HasPrefix(target, "http") {
		target = w.server.URL + prefix + target
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, target, body)
	if err != nil {
		w.t.Fatal(err)
	}
	if !strings.Contains(target, "token=") && !strings.Contains(target, "delegation=") {
		r.Header.Set("X-Howdah-Token", "secret")
	}
	resp, err := w.http.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Status, resp.Header}, string(data)
}

// audited returns what was noted of requests since it was asked last.
func (w *world) audited() []Record {
	w.busy.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.records
	w.records = nil
	for i := range all {
		all[i].At, all[i].Took = time.Time{}, 0
	}
	return all
}

func (w *world) wantFile(name, want string) {
	w.t.Helper()
	if got, _ := w.store.Get(name); got != want {
		w.t.Errorf("%s holds %.60q, want %.60q", name, got, want)
	}
}

// refused is the body of a refusal.
func refused(exception, class, message string) string {
	return `{"RemoteException":{"exception":"` + exception + `","javaClassName":"` + class + `","message":"` + message + `"}}` + "\n"
}
