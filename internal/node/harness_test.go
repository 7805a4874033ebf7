package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/node/proc"
	"howdah.dev/howdah/internal/probe"
	"howdah.dev/howdah/internal/session"
	"howdah.dev/howdah/internal/tenant"
)

// The test binary runs one-time tasks, as the agent's own program does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == proc.TaskCommand {
		os.Exit(proc.TaskMain(os.Args[2:]))
	}
	goleak.VerifyTestMain(m)
}

// hub plays the server: it sends assignments, answers permits, keeps reports.
type hub struct {
	t    *testing.T
	dir  string // the node's
	node string
	http *httptest.Server

	mu      sync.Mutex
	as      agentapi.Assignment
	changed chan struct{}
	permit  agentapi.Permit
	asked   []string
	report  agentapi.Report
	told    []api.ServiceStatus // of the first service, by all reports
	watches int64
	fenced  bool
	senses  senses        // of agents
	ahead   time.Duration // of the server's clock; set before an agent starts
	speaks  int           // protocol the server names; 0 as the former did

	ended  chan error // of the newest agent, when it has
	broker *session.Broker
	asks   chan agentapi.SessionRequest
}

func newHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{t: t, dir: t.TempDir(), changed: make(chan struct{}), permit: agentapi.PermitRun, broker: session.NewBroker(session.Defaults), asks: make(chan agentapi.SessionRequest)}
	h.node = fmt.Sprintf("%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), os.Getpid())
	h.as = agentapi.Assignment{Node: agentapi.Node{ID: h.node, Name: "n1", Cluster: "c"}, Intent: agentapi.IntentRun}
	authority, err := tenant.OpenAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Server(net.IPv4(127, 0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	h.http = httptest.NewUnstartedServer(h.handler(authority))
	h.http.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: authority.Pool(), MinVersion: tls.VersionTLS13}
	h.http.EnableHTTP2 = true
	h.http.StartTLS()
	t.Cleanup(func() {
		if _, err := proc.Sweep(context.Background(), proc.Labels{Node: h.node}, 0); err != nil {
			t.Error(err)
		}
		h.http.CloseClientConnections()
		h.http.Close()
	})
	h.write("host.json", agentapi.HostFile{Address: "127.0.0.1", Cache: filepath.Join(h.dir, "cache"), MemoryMB: 100, CPUs: 1, Env: map[string]string{"FROM_DRIVER": "yes"}})
	h.write("join.json", agentapi.JoinFile{Node: h.node, Server: h.http.Listener.Addr().String(), CA: string(authority.PEM()), Token: "token", Expires: time.Now().Add(time.Hour)})
	return h
}

func (h *hub) write(name string, v any) {
	h.t.Helper()
	data, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(h.path(name), data, 0o600)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *hub) path(elem ...string) string { return filepath.Join(append([]string{h.dir}, elem...)...) }

func (h *hub) handler(authority *tenant.Authority) http.Handler {
	codec := connect.WithCodec(agentapi.Codec{})
	mux := http.NewServeMux()
	mux.Handle(agentapi.PathJoin, connect.NewUnaryHandler(agentapi.PathJoin, func(_ context.Context, r *connect.Request[agentapi.JoinRequest]) (*connect.Response[agentapi.JoinResponse], error) {
		if r.Msg.Token != "token" {
			return nil, connect.NewError(connect.CodePermissionDenied, errors.New("wrong token"))
		}
		der, err := authority.Node(r.Msg.Node, r.Msg.CSR)
		return connect.NewResponse(&agentapi.JoinResponse{Certificate: der, CA: authority.PEM()}), err
	}, codec))
	mux.Handle(agentapi.PathWatch, connect.NewServerStreamHandler(agentapi.PathWatch, func(ctx context.Context, _ *connect.Request[agentapi.WatchRequest], st *connect.ServerStream[agentapi.WatchEvent]) error {
		h.mu.Lock()
		h.watches++
		n, speaks := h.watches, h.speaks
		h.mu.Unlock()
		if err := st.Send(&agentapi.WatchEvent{Incarnation: n, Protocol: speaks}); err != nil {
			return err
		}
		for {
			h.mu.Lock()
			as, changed, fenced := h.as, h.changed, h.fenced
			h.mu.Unlock()
			ev := &agentapi.WatchEvent{Assignment: &as}
			if fenced {
				ev = &agentapi.WatchEvent{Fenced: true}
			}
			if err := st.Send(ev); err != nil {
				return err
			}
			for wait := true; wait; {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-changed:
					wait = false
				case r := <-h.asks:
					if err := st.Send(&agentapi.WatchEvent{Session: &r}); err != nil {
						return err
					}
				}
			}
		}
	}, codec))
	mux.Handle(agentapi.PathReport, connect.NewUnaryHandler(agentapi.PathReport, func(_ context.Context, r *connect.Request[agentapi.Report]) (*connect.Response[agentapi.ReportResponse], error) {
		h.mu.Lock()
		h.report = *r.Msg
		if len(r.Msg.Services) > 0 {
			h.told = append(h.told, r.Msg.Services[0])
		}
		h.mu.Unlock()
		return connect.NewResponse(&agentapi.ReportResponse{}), nil
	}, codec))
	mux.HandleFunc("POST "+agentapi.PathSession+"{id}", func(w http.ResponseWriter, r *http.Request) {
		node, _ := tenant.NodeOf(r.TLS)
		h.broker.Serve(w, r, node, r.PathValue("id"))
	})
	mux.Handle(agentapi.PathPermit, connect.NewUnaryHandler(agentapi.PathPermit, func(_ context.Context, r *connect.Request[agentapi.PermitRequest]) (*connect.Response[agentapi.PermitResponse], error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.asked = append(h.asked, r.Msg.Task)
		return connect.NewResponse(&agentapi.PermitResponse{Permit: h.permit, Holder: "n2"}), nil
	}, codec))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(h.ahead).UTC().Format(http.TimeFormat))
		mux.ServeHTTP(w, r)
	})
}

// assign changes the assignment and sends it.
func (h *hub) assign(change func(*agentapi.Assignment)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	data, err := json.Marshal(h.as)
	if err != nil {
		h.t.Fatal(err)
	}
	var as agentapi.Assignment // a copy: the agent's side reads the other
	if err := json.Unmarshal(data, &as); err != nil {
		h.t.Fatal(err)
	}
	change(&as)
	as.Generation++
	h.as = as
	close(h.changed)
	h.changed = make(chan struct{})
}

// agent starts an agent; the function it returns ends it, as the end of its
// process does: the services go on.
func (h *hub) agent() (stop func() error) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	h.ended = done
	go func() {
		done <- Run(ctx, Config{
			Dir: h.dir, Version: "test", BootID: func() string { return "boot" }, Log: slog.New(slog.DiscardHandler),
			Javas: func(context.Context) []agentapi.Java { return nil }, senses: h.senses,
			// A file stands for whatever a program answers.
			Adapters: map[string]probe.Adapter{"file": func(_ context.Context, _, check string) (any, error) {
				data, err := os.ReadFile(check)
				return string(data), err
			}},
		})
	}()
	ended := false
	stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		return <-done
	}
	h.t.Cleanup(func() { _ = stop() })
	return stop
}

// service is a shell script as a service: it counts its starts, says that it
// is ready, and goes on.
func (h *hub) service(script string) agentapi.Service {
	if script == "" {
		script = `echo "$$ $FROM_DRIVER" >> starts; touch ready; exec sleep 1000`
	}
	dir := h.path("svc")
	return agentapi.Service{
		Name: "svc", Role: "r", Dir: dir, Argv: []string{"/bin/sh", "-c", script},
		Dirs:  []agentapi.Dir{{Name: "logs", Path: filepath.Join(dir, "logs")}, {Name: "data", Path: filepath.Join(dir, "data"), Keep: true}},
		Ready: agentapi.Probe{Message: "it is ready", Adapter: "file", Check: filepath.Join(dir, "ready"), Every: 10 * time.Millisecond, Max: time.Minute},
		Stop:  agentapi.Stop{Signal: "TERM", Grace: 20 * time.Second}, RestartKey: "one",
	}
}

func (h *hub) serve(svc agentapi.Service) {
	h.assign(func(a *agentapi.Assignment) { a.Services = []agentapi.Service{svc} })
}

// seen returns the last report of the service.
func (h *hub) seen() api.ServiceStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.report.Services) == 0 || h.report.Generation != h.as.Generation {
		return api.ServiceStatus{State: "no report of this generation"}
	}
	return h.report.Services[0]
}

func (h *hub) until(what string, ok func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("never: %s; the service is %+v", what, h.seen())
		}
	}
}

// state waits until the service is reported in a state.
func (h *hub) state(want string) api.ServiceStatus {
	h.t.Helper()
	h.until("svc is "+want, func() bool { return h.seen().State == want })
	return h.seen()
}

// tells waits until the service is or was reported in a state that does not last.
func (h *hub) tells(what string, ok func(api.ServiceStatus) bool) {
	h.t.Helper()
	h.until("it is told that "+what, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.ContainsFunc(h.told, ok)
	})
}

// lines returns the lines of a file of the service, none without it.
func (h *hub) lines(name string) []string {
	data, err := os.ReadFile(h.path("svc", name))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func (h *hub) processes() []proc.Info {
	h.t.Helper()
	ps, err := proc.List(h.node)
	if err != nil {
		h.t.Fatal(err)
	}
	return ps
}
