package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// recheck is how often a long transfer asks whether its token still holds.
const recheck = 10 * time.Second

// fetch answers what a DataNode knows: it follows the redirect itself.
func (g *Gateway) fetch(w http.ResponseWriter, r *http.Request, c *call) error {
	if c.asked {
		// The NameNode is asked all the same, so that a missing file is told now.
		if _, err := g.dataNode(r.Context(), c, nil); err != nil {
			return err
		}
		g.tellWhere(w, r, c)
		return nil
	}
	resp, err := g.atDataNode(r.Context(), c, nil, 0)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return g.pass(w, r, resp, c)
}

// upload takes a body to a DataNode. A caller that sends none is told to send
// it to the same address, as WebHDFS tells its callers to send it elsewhere.
func (g *Gateway) upload(w http.ResponseWriter, r *http.Request, c *call) error {
	if c.asked {
		g.tellWhere(w, r, c)
		return nil
	}
	if err := g.mustNotExist(r.Context(), c); err != nil {
		return err
	}
	f, ctx := g.newFlow(w, r, c)
	defer f.stop()
	f.reading = true
	body := &incoming{r: r.Body, f: f, left: r.ContentLength}
	resp, err := g.atDataNode(ctx, c, body, r.ContentLength)
	f.reading = !body.finished()
	if berr := body.failed(); berr != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return invalid("the body broke off: %v", berr)
	}
	if err != nil {
		return err
	}
	resp.Body.Close()
	if c.name == "CREATE" {
		w.Header().Set("Location", here(r, r.URL.EscapedPath(), nil))
	}
	w.WriteHeader(resp.StatusCode)
	return nil
}

// mustNotExist looks before a CREATE that may not replace, because a DataNode
// that refuses while the body is still coming tends to reset the connection,
// and its reason is lost. HDFS still decides who is first.
func (g *Gateway) mustNotExist(ctx context.Context, c *call) error {
	if c.name != "CREATE" || strings.EqualFold(c.params.Get("overwrite"), "true") || c.params.Has("createflag") {
		return nil
	}
	look := &call{name: "GETFILESTATUS", op: operations["GETFILESTATUS"], path: c.path, user: c.user}
	resp, err := g.ask(ctx, look, nil)
	if err == nil {
		resp.Body.Close()
		return exists(c.path.String())
	}
	if refusalOf(err).exception == "FileNotFoundException" {
		return nil
	}
	return err
}

// atDataNode does a call at the DataNode the NameNode names, or at another one
// if that cannot be connected to; a body is not touched before.
func (g *Gateway) atDataNode(ctx context.Context, c *call, body io.Reader, length int64) (*http.Response, error) {
	var excluded []string
	for {
		target, err := g.dataNode(ctx, c, excluded)
		if err != nil {
			return nil, err
		}
		if body != nil && length == 0 {
			body = http.NoBody
		}
		resp, err := g.send(ctx, c.op.method, target, body, length)
		if err == nil && resp.StatusCode/100 != 2 {
			resp.Body.Close()
			return nil, broken("a DataNode answered %s with a redirect", c.name)
		}
		t, ok := errors.AsType[*transportError](err)
		if !ok || !t.notConnected() || len(excluded)+1 >= tries {
			return resp, err
		}
		g.cfg.Log.Warn("DataNode cannot be connected to", "address", target.Host, "error", err)
		excluded = append(excluded, target.Host)
	}
}

// tellWhere answers with an address of the gateway, in WebHDFS's two styles.
func (g *Gateway) tellWhere(w http.ResponseWriter, r *http.Request, c *call) {
	q := r.URL.Query()
	for name := range q {
		if strings.EqualFold(name, "noredirect") {
			q.Del(name)
		}
	}
	if c.op.kind == upload {
		q.Set("data", "true")
	}
	location := here(r, r.URL.EscapedPath(), q)
	if c.noRedirect {
		writeJSON(w, http.StatusOK, map[string]string{"Location": location})
		return
	}
	w.Header().Set("Location", location)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// here returns an address of the gateway as the caller knows it.
func here(r *http.Request, path string, q url.Values) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	location := scheme + "://" + r.Host + path
	if len(q) > 0 {
		location += "?" + q.Encode()
	}
	return location
}

// pass streams an answer to the caller. What the warehouse says of itself in
// headers and cookies stays here.
func (g *Gateway) pass(w http.ResponseWriter, r *http.Request, resp *http.Response, c *call) error {
	f, ctx := g.newFlow(w, r, c)
	defer f.stop()
	stop := context.AfterFunc(ctx, func() { resp.Body.Close() })
	defer stop()
	for _, name := range []string{"Content-Type", "Content-Length"} {
		if value := resp.Header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(resp.StatusCode)
	buffer := make([]byte, chunk)
	for {
		n, err := resp.Body.Read(buffer)
		if n > 0 {
			if err := f.moved(n); err != nil {
				return errors.Join(errBegun, err)
			}
			if _, err := w.Write(buffer[:n]); err != nil {
				return errors.Join(errBegun, err)
			}
			if n < len(buffer) { // nothing more is here yet
				_ = f.control.Flush()
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errors.Join(errBegun, err)
		}
	}
}

// flow watches the contents of one file go by: it ends a transfer that stands
// still or whose token was taken back, and holds it to the token's rate.
type flow struct {
	g       *Gateway
	c       *call
	ended   func() error      // why it was given up, nil if it was not
	wait    func(n int) error // holds back n bytes
	allowed func() error      // why the token is not good any more
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	control *http.ResponseController
	unwatch func() bool
	checked time.Time
	reading bool // there may be more of the caller's body to come
}

// newFlow returns a flow and the context it ends.
func (g *Gateway) newFlow(w http.ResponseWriter, r *http.Request, c *call) (*flow, context.Context) {
	ctx, cancel := context.WithCancelCause(r.Context())
	f := &flow{g: g, c: c, cancel: cancel, checked: time.Now()}
	f.ended = func() error { return context.Cause(ctx) }
	f.wait = func(n int) error { return g.tokens.wait(ctx, c.token, n) }
	f.allowed = func() error {
		_, err := g.authorize(ctx, c.token)
		return err
	}
	f.control = http.NewResponseController(w)
	f.timer = time.AfterFunc(g.limits.Idle, func() { cancel(errIdle) })
	f.unwatch = context.AfterFunc(ctx, func() { f.unblock() })
	return f, ctx
}

// unblock ends a read or write of the caller's connection that hangs. Of an
// upload only the reading ends, so that the reason can be told.
func (f *flow) unblock() {
	past := time.Unix(1, 0)
	if f.c.op.kind == upload {
		_ = f.control.SetReadDeadline(past)
	} else {
		_ = f.control.SetWriteDeadline(past)
	}
}

// moved notes n bytes that have come and are about to go on.
func (f *flow) moved(n int) error {
	if err := f.ended(); err != nil {
		return err
	}
	if now := time.Now(); now.Sub(f.checked) >= recheck {
		f.checked = now
		if err := f.allowed(); err != nil {
			f.cancel(err)
			return err
		}
	}
	f.timer.Stop() // the wait for the rate is no idleness
	err := f.wait(n)
	f.timer.Reset(f.g.limits.Idle)
	f.c.moved.Add(int64(n))
	return err
}

func (f *flow) stop() {
	f.timer.Stop()
	f.unwatch() // or the deadline would hit the connection's next request
	if f.reading {
		f.unblock() // the server waits for whoever still reads the body
	}
	f.cancel(nil)
}

// incoming is the caller's body on its way to a DataNode. When it fails the
// request to the DataNode is broken off, never ended cleanly.
type incoming struct {
	r    io.Reader
	f    *flow
	mu   sync.Mutex
	left int64 // bytes to come; below 0: not known
	err  error // what Read ended with; io.EOF is the end
}

func (b *incoming) Read(p []byte) (int, error) {
	n, err := b.r.Read(p[:min(len(p), chunk)])
	if n > 0 {
		if werr := b.f.moved(n); werr != nil {
			err = werr
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left > 0 {
		b.left -= int64(n)
	}
	b.err = err
	if b.left == 0 || errors.Is(err, io.EOF) {
		b.f.timer.Stop() // what is waited for now is the DataNode's answer
	}
	return n, err
}

// failed returns why the body could not be read, nil if it could.
func (b *incoming) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(b.err, io.EOF) {
		return nil
	}
	return b.err
}

// finished reports whether all of the body was read.
func (b *incoming) finished() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Is(b.err, io.EOF) || b.left == 0
}
