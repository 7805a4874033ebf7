package storm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

// Web serves the REST API of Storm's UI, as the pages of Storm 2.8 describe it
// (docs/STORM-UI-REST-API.md in apache/storm), with paths that begin after
// /api/v1. It answers from nimbus alone: what needs Storm's log viewer or
// profiler is refused by name. Errors are JSON with error and errorMessage.
//
// It asks for no login; its caller does.
func (c *Client) Web() http.Handler {
	mux := http.NewServeMux()
	for _, r := range c.webRoutes() {
		mux.Handle(r.path, r)
	}
	for _, path := range webUnserved {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			writeWebError(w, http.StatusNotImplemented, fmt.Sprintf("%s %s is not served: it belongs to Storm's own UI server and log viewer", r.Method, r.URL.Path))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeWebError(w, http.StatusNotFound, "Storm's REST API has nothing at "+r.URL.Path)
	})
	return mux
}

// webRoute is an address of the API and its one method.
type webRoute struct {
	method, path string
	answer       func(*http.Request) (any, error)
}

// webRoutes is the whole API.
func (c *Client) webRoutes() []webRoute {
	return []webRoute{
		{http.MethodGet, "/cluster/configuration", c.webConfiguration},
		{http.MethodGet, "/cluster/summary", c.webCluster},
		{http.MethodGet, "/nimbus/summary", c.webNimbuses},
		{http.MethodGet, "/history/summary", c.webHistory},
		{http.MethodGet, "/owner-resources", c.webOwners},
		{http.MethodGet, "/owner-resources/{id}", c.webOwner},
		{http.MethodGet, "/supervisor/summary", c.webSupervisors},
		{http.MethodGet, "/supervisor", c.webSupervisor},
		{http.MethodGet, "/topology/summary", c.webTopologies},
		{http.MethodGet, "/topology/{id}", c.webTopology},
		{http.MethodGet, "/topology-workers/{id}", c.webTopologyWorkers},
		{http.MethodGet, "/topology/{id}/metrics", c.webMetrics},
		{http.MethodGet, "/topology/{id}/visualization", c.webVisualization},
		{http.MethodGet, "/topology/{id}/component/{component}", c.webComponent},
		{http.MethodPost, "/topology/{id}/activate", c.webActivate},
		{http.MethodPost, "/topology/{id}/deactivate", c.webDeactivate},
		{http.MethodPost, "/topology/{id}/rebalance/{wait}", c.webRebalance},
		{http.MethodPost, "/topology/{id}/kill/{wait}", c.webKill},
	}
}

// webUnserved is what the UI server has besides.
var webUnserved = []string{
	"/topology/{id}/lag",
	"/topology/{id}/logconfig",
	"/topology/{id}/visualization-init",
	"/topology/{id}/debug/{action}/{percent}",
	"/topology/{id}/component/{component}/debug/{action}/{percent}",
	"/topology/{id}/profiling/{rest...}",
}

// badRequest is an error of who asks.
type badRequest string

func (e badRequest) Error() string { return string(e) }

func (route webRoute) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != route.method && (r.Method != http.MethodHead || route.method != http.MethodGet) {
		w.Header().Set("Allow", route.method)
		writeWebError(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s is for %s only", r.URL.Path, route.method))
		return
	}
	// Any page could read answers as a script, past the browser's own guard.
	if r.URL.Query().Has("callback") {
		writeWebError(w, http.StatusBadRequest, "answers are plain JSON; leave out callback")
		return
	}
	v, err := route.answer(r)
	if err != nil {
		writeWebError(w, webStatus(err), err.Error())
		return
	}
	data, err := json.Marshal(v)
	if err != nil { // a latency that is no number
		writeWebError(w, http.StatusBadGateway, "nimbus answered what JSON cannot say: "+err.Error())
		return
	}
	writeWeb(w, http.StatusOK, data)
}

func webStatus(err error) int {
	var bad badRequest
	switch {
	case errors.As(err, &bad), errors.Is(err, ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, ErrNotFound), errors.Is(err, errNoComponent), errors.Is(err, errNoSupervisor):
		return http.StatusNotFound
	case errors.Is(err, ErrDenied):
		return http.StatusForbidden
	case errors.Is(err, ErrUnreachable), errors.Is(err, ErrNotLeader):
		return http.StatusServiceUnavailable
	}
	return http.StatusBadGateway
}

func writeWebError(w http.ResponseWriter, status int, message string) {
	data, _ := json.Marshal(map[string]string{"error": fmt.Sprintf("%d %s", status, http.StatusText(status)), "errorMessage": message}) // strings always are JSON
	writeWeb(w, status, data)
}

func writeWeb(w http.ResponseWriter, status int, data []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json;charset=utf-8")
	h.Set("Cache-Control", "no-cache, no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client may have gone
}

// windowOf reads the window of a request.
func windowOf(r *http.Request) (Window, error) {
	text := r.URL.Query().Get("window")
	for _, w := range windows {
		if text == w.String() {
			return w, nil
		}
	}
	if text != "" {
		return 0, badRequest(fmt.Sprintf("window %q is unknown; it is one of 600, 10800, 86400 and :all-time", text))
	}
	return AllTime, nil
}

// windows are those there are, as answers list them.
var windows = []Window{TenMinutes, ThreeHours, OneDay, AllTime}

// sysOf tells whether a request asks for Storm's own components and streams.
func sysOf(r *http.Request) (bool, error) {
	switch text := r.URL.Query().Get("sys"); text {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	default:
		return false, badRequest(fmt.Sprintf("sys is 1 or 0, not %q", text))
	}
}

func windowAndSys(r *http.Request) (Window, bool, error) {
	w, err := windowOf(r)
	if err != nil {
		return w, false, err
	}
	sys, err := sysOf(r)
	return w, sys, err
}

// webConf is what answers need of nimbus's configuration.
type webConf struct {
	DisplayResource bool     `json:"scheduler.display.resource"`
	LogviewerPort   int      `json:"logviewer.port"`
	Seeds           []string `json:"nimbus.seeds"`
	ThriftPort      int      `json:"nimbus.thrift.port"`
	Bugtracker      *string  `json:"ui.project.bugtracker.url"`
	CentralLog      *string  `json:"ui.central.logging.url"`
}

// ask makes calls and reads nimbus's configuration, over one connection.
func (c *Client) ask(ctx context.Context, f call) (webConf, error) {
	var (
		conf webConf
		text string
	)
	err := c.query(ctx, func(ctx context.Context, n *nimbusthrift.NimbusClient) (err error) {
		if text, err = n.GetNimbusConf(ctx); err != nil {
			return err
		}
		return f(ctx, n)
	})
	if err != nil {
		return conf, err
	}
	if err := json.Unmarshal([]byte(text), &conf); err != nil {
		return conf, fmt.Errorf("cannot read nimbus's configuration: %w", err)
	}
	return conf, nil
}

// requested finds the topology a request is about, by id or name.
func (c *Client) requested(r *http.Request) (TopologySummary, error) {
	id := r.PathValue("id")
	sum, err := c.find(r.Context(), id)
	if err != nil {
		return sum, fmt.Errorf("cannot read topology %s: %w", id, err)
	}
	return sum, nil
}

// prettyUptime writes seconds as the UI does: 1d 0h 3m 5s, and nothing for none.
func prettyUptime(seconds int) string {
	var parts []string
	for _, unit := range []struct {
		name string
		size int
	}{{"s", 60}, {"m", 60}, {"h", 24}} {
		if seconds > 0 {
			parts = append(parts, strconv.Itoa(seconds%unit.size)+unit.name)
			seconds /= unit.size
		}
	}
	if seconds > 0 {
		parts = append(parts, strconv.Itoa(seconds)+"d")
	}
	slices.Reverse(parts)
	return strings.Join(parts, " ")
}

// windowHint writes a window as the UI does.
func windowHint(window string) string {
	if window == AllTime.String() {
		return "All time"
	}
	n, err := strconv.Atoi(window)
	if err != nil {
		return window
	}
	return prettyUptime(n)
}
