// Package marathon owns Marathon's REST API, as of Marathon 1.8 to 1.11, over a
// scheduler: paths, parameters, bodies, codes, events. It decides nothing about
// instances, and it knows neither the Mesos master nor the store.
package marathon

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/policy"
	"howdah.dev/howdah/internal/cell/scheduler"
	"howdah.dev/howdah/internal/tenant"
)

const (
	maxBody     = 16 << 20 // of a group with thousands of apps
	maxRequests = 256      // at once, streams not counted; Marathon's http_max_concurrent_requests
	maxStreams  = 1024     // of a project, at once
)

// Config is what the API needs.
type Config struct {
	Engine   *scheduler.Engine
	Hub      *Hub
	Settings app.Settings
	// Address is where the API is reached, host:port; it is the leader's name.
	Address string
	// MesosURL is the address of the master's pages.
	MesosURL string
	// Principal tells who calls; an error that is tenant.ErrToken means nobody.
	Principal func(*http.Request) (tenant.Token, error)
	// Policy is what a project's apps may ask for.
	Policy func(project string) policy.Policy
	// ServicePorts are the first and the last of those given out.
	ServicePorts [2]int
	// Shutdown ends the process, for DELETE /v2/leader. Its supervisor starts it again.
	Shutdown func()
	Version  string
	// KeepAlive is after how long a stream without events gets an empty line; 10 s
	// if 0.
	KeepAlive time.Duration
	Log       *slog.Logger
}

// API serves Marathon's API.
type API struct {
	Config
	engine  *scheduler.Engine
	hub     *Hub
	log     *slog.Logger
	slots   chan struct{} // for requests
	closing chan struct{}
	once    sync.Once
	started time.Time
	routes  []route

	mu      sync.Mutex
	streams map[string]int // that are open, by project

	lists        lists
	serviceTable serviceTable
}

// New returns an API.
func New(cfg Config) *API {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = keepAlive
	}
	return &API{
		Config: cfg, engine: cfg.Engine, hub: cfg.Hub, log: cfg.Log, slots: make(chan struct{}, maxRequests),
		streams: map[string]int{}, closing: make(chan struct{}), started: time.Now(), lists: newLists(),
		routes: routes(),
	}
}

// Close ends the streams of events.
func (a *API) Close() { a.once.Do(func() { close(a.closing) }) }

// call is one request on its way.
type call struct {
	*http.Request
	who tenant.Token
	id  string // the app's, group's, or what else the path names
	sub string // what the path names below it
}

// handler answers a call. What it returns is written as JSON; an error as
// Marathon writes errors.
type handler func(*API, http.ResponseWriter, *call) (any, error)

// route is a line of the table of all there is.
type route struct {
	method string
	path   string // "*" at the end takes the rest; see split
	role   tenant.Role
	do     handler
	stream bool // does not end by itself
	cell   bool // concerns all projects
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Marathon-Leader", "http://"+a.Address)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-XSS-Protection", "1; mode=block")
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "0")
	h.Set("X-Content-Type-Options", "nosniff")
	if strings.TrimRight(r.URL.Path, "/") == "/ping" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		a.ping(w, r)
		return
	}
	who, err := a.Principal(r)
	if err != nil {
		h.Set("WWW-Authenticate", `Basic realm="Mesosphere"`)
		a.fail(w, r, &statusError{http.StatusUnauthorized, "Invalid username or password: " + err.Error()})
		return
	}
	a.dispatch(w, &call{Request: r, who: who})
}

// dispatch finds the route of a request.
func (a *API) dispatch(w http.ResponseWriter, c *call) {
	path := strings.TrimRight(c.URL.Path, "/")
	var allowed []string
	for _, rt := range a.routes {
		id, sub, ok := rt.matches(path)
		if !ok {
			continue
		}
		if rt.method != c.Method && (c.Method != http.MethodHead || rt.method != http.MethodGet) {
			allowed = append(allowed, rt.method)
			continue
		}
		if !c.who.Role.Covers(rt.role) {
			a.fail(w, c.Request, &statusError{http.StatusForbidden, "Not Authorized to perform this action! The role " + string(rt.role) + " is needed; yours is " + string(c.who.Role) + "."})
			return
		}
		if rt.cell && c.who.Project != tenant.DefaultProject {
			a.fail(w, c.Request, &statusError{http.StatusForbidden, "Not Authorized to perform this action! It concerns the whole cell, which is project " + tenant.DefaultProject + "'s."})
			return
		}
		c.id, c.sub = canonical(id), sub
		a.serve(w, c, rt)
		return
	}
	if len(allowed) > 0 {
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(slices.Compact(allowed), ", "))
		a.fail(w, c.Request, &statusError{http.StatusMethodNotAllowed, "HTTP 405 Method Not Allowed"})
		return
	}
	a.fail(w, c.Request, &statusError{http.StatusNotFound, "URI not found: " + c.URL.Path})
}

// canonical writes the id a path names as the scheduler knows it. The group of
// "{group}/*" keeps its star.
func canonical(id string) string {
	if id == "" {
		return ""
	}
	if group, many := strings.CutSuffix(id, "/*"); many {
		return strings.TrimSuffix(app.Canonical(group, "/"), "/") + "/*"
	}
	return app.Canonical(id, "/")
}

// enter takes a place for a request until leave; false where there is none. Streams
// last long, so each project has places of its own for them.
func (a *API) enter(c *call, rt route) (leave func(), ok bool) {
	if !rt.stream {
		select {
		case a.slots <- struct{}{}:
			return func() { <-a.slots }, true
		default:
			return nil, false
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.streams[c.who.Project] >= maxStreams {
		return nil, false
	}
	a.streams[c.who.Project]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.streams[c.who.Project]--; a.streams[c.who.Project] == 0 {
			delete(a.streams, c.who.Project)
		}
	}, true
}

// serve calls a handler, as many at once as are allowed.
func (a *API) serve(w http.ResponseWriter, c *call, rt route) {
	leave, ok := a.enter(c, rt)
	if !ok {
		a.fail(w, c.Request, &statusError{http.StatusServiceUnavailable, "Too many concurrent requests"})
		return
	}
	defer leave()
	c.Body = http.MaxBytesReader(w, c.Body, maxBody)
	answer, err := rt.do(a, w, c)
	switch {
	case err != nil:
		a.fail(w, c.Request, err)
	case answer != nil:
		a.write(w, c.Request, answer)
	}
}

// statusError is an error with its status and Marathon's message.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string { return e.message }

func notFound(message string) error { return &statusError{http.StatusNotFound, message} }

// fail writes an error as Marathon does.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	var status *statusError
	var bad *app.Error
	var locked *scheduler.LockedError
	var large *http.MaxBytesError
	body := any(message{err.Error()})
	code := http.StatusInternalServerError
	switch {
	case errors.As(err, &status):
		code = status.status
	case errors.As(err, &bad):
		code, body = bad.Status, bad
	case errors.As(err, &locked):
		ids := []idRef{}
		for _, id := range locked.Deployments {
			ids = append(ids, idRef{id})
		}
		code, body = http.StatusConflict, lockedBody{err.Error(), ids}
	case errors.Is(err, scheduler.ErrTooMany):
		code = http.StatusForbidden
	case errors.Is(err, scheduler.ErrNotFound):
		code = http.StatusNotFound
		body = message{strings.TrimSuffix(err.Error(), ": "+scheduler.ErrNotFound.Error())}
	case errors.As(err, &large):
		code, body = http.StatusRequestEntityTooLarge, message{"The body is larger than 16 MiB."}
	case r.Context().Err() != nil, errors.Is(err, scheduler.ErrEnded):
		code = http.StatusServiceUnavailable
	default:
		a.log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeJSON(w, code, body)
}

type message struct {
	Message string `json:"message"`
}

type lockedBody struct {
	Message     string  `json:"message"`
	Deployments []idRef `json:"deployments"`
}
