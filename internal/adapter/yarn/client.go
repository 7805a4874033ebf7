package yarn

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
)

// Limits on what is read from a server other than logs, in bytes. A
// ResourceManager keeps a thousand finished applications by default, some
// two kilobytes each.
const (
	maxAnswer = 32 << 20
	maxError  = 64 << 10
)

// Config says where YARN is and who asks.
type Config struct {
	// Address is the ResourceManager's web address, scheme://host:port.
	Address string
	// History is the MapReduce history server's; may be empty.
	History string
	// User is whom changes are made for. Without Kerberos it is believed; if
	// empty, the server's hadoop.http.staticuser.user acts.
	User string
	// HTTP does the requests; http.DefaultClient if nil. Its Timeout, if any,
	// bounds the reading of a whole log.
	HTTP *http.Client
}

// Client asks one YARN. It may be used by many goroutines.
type Client struct {
	cfg  Config
	http http.Client
}

// New returns a client. It opens no connection.
func New(cfg Config) *Client {
	c := &Client{cfg: cfg}
	if cfg.HTTP != nil {
		c.http = *cfg.HTTP
	}
	// A standby ResourceManager and the proxy of an ApplicationMaster that has
	// gone redirect, to addresses that need not be reachable from here.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// open makes a request. A nil error comes with a response of status 2xx whose
// body the caller closes.
func (c *Client) open(ctx context.Context, method, target string, body []byte, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, transportError(err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 == 3 {
		return nil, fmt.Errorf("%w: redirected", ErrStandby)
	}
	return nil, remoteError(resp)
}

// transportError hides the URL, which names the user, and keeps the cause.
func transportError(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// get reads JSON into v.
func (c *Client) get(ctx context.Context, target string, v any) error {
	resp, err := c.open(ctx, http.MethodGet, target, nil, "application/json")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(v); err != nil {
		return fmt.Errorf("cannot decode answer: %w", err)
	}
	return nil
}

// rm returns an address below the ResourceManager's.
func (c *Client) rm(parts ...string) string {
	return address(c.cfg.Address, append([]string{"ws/v1/cluster"}, parts...)...)
}

// address joins a base and path elements, which are escaped whole save for
// the slashes of our own.
func address(base string, parts ...string) string {
	return strings.TrimRight(base, "/") + "/" + strings.Join(parts, "/")
}

// appID takes an application's or MapReduce job's id and returns the
// application's. It is checked, as it becomes part of an address.
func appID(id string) (string, error) {
	number, ok := strings.CutPrefix(id, "application_")
	if !ok {
		number, ok = strings.CutPrefix(id, "job_")
	}
	if !ok || number == "" || strings.Trim(number, "0123456789_") != "" {
		return "", fmt.Errorf("%w: %q is no application id", ErrNotFound, id)
	}
	return "application_" + number, nil
}

// jobID returns the id of an application's MapReduce job.
func jobID(app string) string { return "job_" + strings.TrimPrefix(app, "application_") }
