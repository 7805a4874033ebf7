// Package v1client owns the HTTP of a scheduler that speaks the Mesos v1 API:
// one stream of events, and calls that belong to it. When to subscribe again
// after a stream has ended is its caller's to decide.
package v1client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

const (
	path         = "/api/v1/scheduler"
	streamHeader = "Mesos-Stream-Id"
	jsonType     = "application/json"
	maxRedirects = 5
	maxMessage   = 4 << 10  // of a refusal
	maxEvent     = 64 << 20 // a SUBSCRIBED or a batch of offers of a very large cell
	// beats is how many heartbeats may be missing before a stream counts as dead.
	beats = 5
)

// Config says where the master is.
type Config struct {
	// URL is the master's: http://host:port. A path in it is kept if it is the
	// whole path of the scheduler API.
	URL string
	// Authorize puts credentials on a request; nil puts none.
	Authorize func(*http.Request)
	// Transport is what requests go through; nil is one of the client's own.
	Transport http.RoundTripper
	// Timeout is for one call, and for the answer to a subscription; 0 is 30 s.
	Timeout time.Duration
}

// Client subscribes to a master.
type Client struct {
	url       *url.URL
	http      *http.Client
	authorize func(*http.Request)
	timeout   time.Duration
}

// StatusError is a refusal by the master.
type StatusError struct {
	Status  int    // of HTTP
	Message string // the body
}

// Error says what the master said.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the master answers %d %s: %s", e.Status, http.StatusText(e.Status), e.Message)
}

// New returns a client. It connects to nothing yet.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("cannot use master URL %q: it is not like http://host:port", cfg.URL)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = path
	}
	if cfg.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.Proxy, t.MaxIdleConnsPerHost = nil, 16
		cfg.Transport = t
	}
	if cfg.Authorize == nil {
		cfg.Authorize = func(*http.Request) {}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	// Redirects are followed here: the leader's host is another, and wants the
	// credentials too.
	client := &http.Client{Transport: cfg.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Client{url: u, http: client, authorize: cfg.Authorize, timeout: cfg.Timeout}, nil
}

// post sends v, to the leader if the master says who that is. It returns where the
// answer came from.
func (c *Client) post(ctx context.Context, to *url.URL, streamID string, v any) (*http.Response, *url.URL, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot encode call: %w", err)
	}
	for range maxRedirects {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
		if err != nil {
			return nil, nil, err
		}
		req.Header.Set("Content-Type", jsonType)
		req.Header.Set("Accept", jsonType)
		if streamID != "" {
			req.Header.Set(streamHeader, streamID)
		}
		c.authorize(req)
		resp, err := c.http.Do(req)
		if err != nil {
			return nil, nil, err
		}
		if resp.StatusCode != http.StatusTemporaryRedirect && resp.StatusCode != http.StatusPermanentRedirect {
			return resp, to, nil
		}
		_ = resp.Body.Close()
		if to, err = leader(to, resp.Header.Get("Location")); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, fmt.Errorf("the masters redirect to each other")
}

// leader resolves a Location, which Mesos writes without a scheme.
func leader(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || location == "" || to.Host == "" {
		return nil, fmt.Errorf("the master redirects to %q, which is no address", location)
	}
	if from.Scheme == "https" && to.Scheme != "https" {
		return nil, fmt.Errorf("the master redirects to %s, which is not encrypted", to)
	}
	if to.Path == "" || to.Path == "/" {
		to.Path = from.Path
	}
	return to, nil
}

func refusal(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	return &StatusError{Status: resp.StatusCode, Message: strings.TrimSpace(string(text))}
}

// Subscribe opens a stream of events. It lasts until Close, until ctx ends, or
// until the master or the network ends it. sub.FrameworkInfo.ID is nil for a new
// framework; the first event tells its id.
func (c *Client) Subscribe(ctx context.Context, sub mesos.Subscribe) (*Stream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(c.timeout, func() { cancel(fmt.Errorf("no answer within %s", c.timeout)) })
	call := mesos.Call{FrameworkID: sub.FrameworkInfo.ID, Type: mesos.CallSubscribe, Subscribe: &sub}
	resp, at, err := c.post(ctx, c.url, "", call)
	late.Stop()
	if err == nil && resp.StatusCode != http.StatusOK {
		err = refusal(resp)
		_ = resp.Body.Close()
	}
	if err == nil && ctx.Err() != nil {
		_ = resp.Body.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		err = because(ctx, err)
		cancel(nil)
		return nil, fmt.Errorf("cannot subscribe at %s: %w", c.url.Host, err)
	}
	s := &Stream{
		client: c, at: at, id: resp.Header.Get(streamHeader), framework: sub.FrameworkInfo.ID,
		body: resp.Body, cancel: cancel, cause: func() error { return context.Cause(ctx) },
		records: mesos.NewRecordReader(resp.Body, maxEvent), silence: beats * 15 * time.Second,
	}
	s.watch = time.AfterFunc(s.silence, s.expire)
	return s, nil
}

// because prefers why a context was ended to that it was.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}
