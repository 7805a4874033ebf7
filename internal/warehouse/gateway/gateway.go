package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Config is what a gateway is made of. NameNodes and Authorize must be given.
type Config struct {
	// NameNodes returns the web addresses of the warehouse's NameNodes as
	// http://host:port; the active one is found by asking.
	NameNodes func() []string
	// DataNodes returns the web addresses of the warehouse's DataNodes as
	// host:port. A redirect to any other is refused. If nil, the NameNode is
	// asked which DataNodes are live.
	DataNodes func(ctx context.Context) ([]string, error)
	// Authorize returns what a token grants; false if it is not known. It is
	// asked for every request, and again while a long transfer runs. It must
	// compare tokens in constant time.
	Authorize func(ctx context.Context, token string) (Grant, bool)
	// Audit gets one record per change, also of one that was refused. It must
	// not block. May be nil.
	Audit func(Record)
	// Log is for the operator; slog.Default if nil. Tokens never get into it.
	Log *slog.Logger
	// Limits bounds what one token and one request may take.
	Limits Limits
}

// Limits bounds what one token and one request may take. Zero means the default.
type Limits struct {
	Requests       int           // at the same time with one token; 64
	BytesPerSecond int64         // of file contents with one token, both ways; 0 is no limit
	Idle           time.Duration // without a byte of a file's contents moving; 1 minute
	Answer         time.Duration // until NameNode or DataNode answers; 1 minute
	Header         int           // bytes of a request's header; 64 KiB
}

func (l Limits) filled() Limits {
	orDefault(&l.Requests, 64)
	orDefault(&l.Idle, time.Minute)
	orDefault(&l.Answer, time.Minute)
	orDefault(&l.Header, 64<<10)
	return l
}

func orDefault[T int | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

// Record says what a caller changed, or tried to.
type Record struct {
	At      time.Time // when the request came
	Project string
	User    string // the HDFS user it was done as
	Op      string
	Path    string
	Others  []string // RENAME's destination, CONCAT's sources
	Status  int      // of HTTP; 2xx if it was done
	Reason  string   // why it was not done
	Bytes   int64    // of contents that were sent
	Took    time.Duration
}

// Gateway is the http.Handler. It may be used by many goroutines.
type Gateway struct {
	cfg    Config
	limits Limits
	client *http.Client
	tokens *tokens
	live   liveNodes
	active atomic.Pointer[string] // address of the NameNode that answered last
}

// New returns a gateway. It opens no connection.
func New(cfg Config) (*Gateway, error) {
	if cfg.NameNodes == nil || cfg.Authorize == nil {
		return nil, errors.New("cannot make gateway: NameNodes and Authorize must be given")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	g := &Gateway{cfg: cfg, limits: cfg.Limits.filled()}
	g.tokens = newTokens(g.limits)
	g.client = &http.Client{
		// No proxy of the environment: the warehouse is asked directly.
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			ResponseHeaderTimeout: g.limits.Answer,
			IdleConnTimeout:       time.Minute,
			MaxIdleConnsPerHost:   16,
			DisableCompression:    true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return g, nil
}

// Close drops idle connections to the warehouse.
func (g *Gateway) Close() { g.client.CloseIdleConnections() }

// Server returns an http.Server that serves only this gateway, with the limits
// a handler cannot set: header size and time, and idle connections. Contents
// have no time limit but Limits.Idle.
func (g *Gateway) Server() *http.Server {
	return &http.Server{
		Handler:           g,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    g.limits.Header,
		ErrorLog:          slog.NewLogLogger(g.cfg.Log.Handler(), slog.LevelDebug),
	}
}

// ServeHTTP answers one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	token := tokenOf(r)
	grant, err := g.authorize(r.Context(), token)
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="warehouse"`)
		writeError(w, err)
		return
	}
	c, err := parse(r)
	if err != nil {
		writeError(w, err)
		return
	}
	c.token = token
	c.user, err = grant.permit(c)
	if err == nil {
		err = g.answer(w, r, c)
	}
	status := http.StatusOK
	if err != nil {
		status = refusalOf(err).status
		g.cfg.Log.Debug("request refused", "project", grant.Project, "op", c.name, "path", c.path.String(), "status", status, "error", err)
	}
	if c.op.need == write && g.cfg.Audit != nil && (!c.asked || err != nil) {
		g.cfg.Audit(record(began, grant, c, status, err))
	}
	switch {
	case errors.Is(err, errBegun):
		panic(http.ErrAbortHandler) // a clean end would look like the end of the file
	case err != nil:
		writeError(w, err)
	}
}

func (g *Gateway) authorize(ctx context.Context, token string) (Grant, error) {
	if token == "" {
		return Grant{}, errNoToken
	}
	grant, ok := g.cfg.Authorize(ctx, token)
	if !ok {
		return Grant{}, errBadToken
	}
	if !grant.Expires.IsZero() && !time.Now().Before(grant.Expires) {
		return Grant{}, errExpired
	}
	return grant, nil
}

// answer does a permitted call within the limits of its token.
func (g *Gateway) answer(w http.ResponseWriter, r *http.Request, c *call) error {
	leave, ok := g.tokens.enter(c.token)
	if !ok {
		return errBusy(g.limits.Requests)
	}
	defer leave()
	switch c.op.kind {
	case fetch:
		return g.fetch(w, r, c)
	case upload:
		return g.upload(w, r, c)
	default:
		return g.plain(w, r, c)
	}
}

func record(began time.Time, grant Grant, c *call, status int, err error) Record {
	rec := Record{
		At: began, Project: grant.Project, User: c.user, Op: c.name, Path: c.path.String(),
		Status: status, Took: time.Since(began),
	}
	if c.op.kind == upload {
		rec.Bytes = c.moved.Load()
	}
	for _, p := range c.others {
		rec.Others = append(rec.Others, p.String())
	}
	if err != nil {
		rec.Reason = refusalOf(err).message
	}
	return rec
}
