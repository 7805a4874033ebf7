package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxError bounds what is read of an error's body, in bytes.
const maxError = 64 << 10

// plain passes on an operation that the NameNode answers itself.
func (g *Gateway) plain(w http.ResponseWriter, r *http.Request, c *call) error {
	resp, err := g.ask(r.Context(), c, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return broken("the warehouse answered %s in an unexpected way: HTTP status %d", c.name, resp.StatusCode)
	}
	return g.pass(w, r, resp, c)
}

// ask sends an operation, without a body, to the active NameNode. extra are
// further parameters. The answer has status 200 or 307; the caller closes it.
func (g *Gateway) ask(ctx context.Context, c *call, extra url.Values) (*http.Response, error) {
	q := c.query()
	maps.Copy(q, extra)
	var last error
	for _, address := range g.nameNodes() {
		base, err := url.Parse(address)
		if err != nil || base.Host == "" {
			last = broken("the address of the warehouse is wrong")
			continue
		}
		target := url.URL{Scheme: base.Scheme, Host: base.Host, Path: prefix + c.path.String(), RawQuery: q.Encode()}
		resp, err := g.send(ctx, c.op.method, &target, nil, 0)
		if err == nil {
			g.active.Store(&address)
			return resp, nil
		}
		last = err
		if !g.mayAskAnother(ctx, c, err) {
			return nil, last
		}
	}
	if last == nil {
		last = retriable(http.StatusServiceUnavailable, "the warehouse is not running; try again")
	}
	return nil, last
}

// mayAskAnother reports whether the NameNode has done nothing. A change that
// may have been made is not tried again: the second try would be refused.
func (g *Gateway) mayAskAnother(ctx context.Context, c *call, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if refusalOf(err).exception == "StandbyException" {
		return true
	}
	t, ok := errors.AsType[*transportError](err)
	return ok && (c.op.need != write || t.notConnected())
}

// nameNodes returns the addresses to ask, that which answered last before others.
func (g *Gateway) nameNodes() []string {
	all := slices.Clone(g.cfg.NameNodes())
	if last := g.active.Load(); last != nil {
		if i := slices.Index(all, *last); i > 0 {
			all[0], all[i] = all[i], all[0]
		}
	}
	return all
}

// send makes one request. An answer other than 2xx and 307 becomes an error.
func (g *Gateway) send(ctx context.Context, method string, target *url.URL, body io.Reader, length int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.ContentLength = length
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, &transportError{cause: err, ended: context.Cause(ctx)}
	}
	if resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusTemporaryRedirect {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, remoteRefusal(resp)
}

// transportError is a request that got no answer.
type transportError struct {
	cause error
	ended error // why the request was given up, nil if it was not
}

func (e *transportError) Error() string { return e.cause.Error() }

// Unwrap yields what the caller is told; the cause holds addresses and is for
// the log.
func (e *transportError) Unwrap() error {
	if t, ok := errors.AsType[*refusal](e.ended); ok {
		return t
	}
	return retriable(http.StatusServiceUnavailable, "the warehouse cannot be reached; try again")
}

// notConnected reports whether nothing was sent.
func (e *transportError) notConnected() bool {
	op, ok := errors.AsType[*net.OpError](e.cause)
	return ok && op.Op == "dial"
}

// remoteRefusal reads an error of a NameNode or DataNode. It keeps Hadoop's
// class, on which clients act, and the message without its stack trace.
func remoteRefusal(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
	var answer struct{ RemoteException remoteException }
	if json.Unmarshal(data, &answer) != nil || answer.RemoteException.Exception == "" {
		return broken("the warehouse answered with HTTP status %d", resp.StatusCode)
	}
	e := answer.RemoteException
	message, _, _ := strings.Cut(e.Message, "\n")
	status := resp.StatusCode
	if status == http.StatusUnauthorized {
		status = http.StatusForbidden // it is not the caller's token that was refused
	}
	return &refusal{status, e.Exception, e.Class, message}
}
