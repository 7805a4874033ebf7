package webhdfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// Limits on what is read from a server other than file contents, in bytes. A
// page of a listing has at most a thousand entries by default.
const (
	maxAnswer = 16 << 20
	maxError  = 64 << 10
)

// Config says where HDFS is and who asks.
type Config struct {
	// Addresses are the web addresses of every NameNode as scheme://host:port,
	// at least one. With several, the active one is found by asking.
	Addresses []string
	// User is the HDFS user. Without Kerberos it is believed.
	User string
	// HTTP does the requests; http.DefaultClient if nil. Its Timeout, if any,
	// bounds the transfer of a whole file.
	HTTP *http.Client
}

// Client is a user of one HDFS. It may be used by many goroutines.
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
	// Redirects are followed by hand: a body must go to the DataNode only.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// request is one operation on one path.
type request struct {
	method string
	op     string
	path   string
	params map[string]string
}

func (r request) url(base, user string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	u.Path = path.Join("/", u.Path, "webhdfs/v1") + r.path
	q := url.Values{"op": {r.op}}
	if user != "" {
		q.Set("user.name", user)
	}
	for k, v := range r.params {
		q.Set(k, v)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// ask sends a request without a body to the active NameNode. A nil error comes
// with a response of status 2xx or 307, whose body the caller closes.
func (c *Client) ask(ctx context.Context, r request) (*http.Response, error) {
	if !strings.HasPrefix(r.path, "/") {
		return nil, fmt.Errorf("path %q does not start with a slash", r.path)
	}
	var errs []error
	for _, address := range c.cfg.Addresses {
		target, err := r.url(address, c.cfg.User)
		if err != nil {
			return nil, err
		}
		resp, err := c.send(ctx, r.method, target, nil)
		if err == nil {
			return resp, nil
		}
		// A standby or dead NameNode has done nothing, so another may be asked.
		if !errors.Is(err, ErrStandby) && !errors.Is(err, ErrUnreachable) || ctx.Err() != nil {
			return nil, err
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, fmt.Errorf("%w: no address is known", ErrUnreachable)
	}
	return nil, errors.Join(errs...)
}

// send makes one HTTP request and turns refusals into errors.
func (c *Client) send(ctx context.Context, method, target string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, transportError(err)
	}
	if resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusTemporaryRedirect {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, remoteError(resp)
}

// transportError hides the URL, which names the user, and keeps the cause.
func transportError(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// do sends a request and decodes its JSON answer into answer, unless nil.
func (c *Client) do(ctx context.Context, r request, answer any) error {
	resp, err := c.ask(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body := io.LimitReader(resp.Body, maxAnswer)
	if answer == nil {
		_, err = io.Copy(io.Discard, body)
		return err
	}
	if err := json.NewDecoder(body).Decode(answer); err != nil {
		return fmt.Errorf("cannot decode answer: %w", err)
	}
	return nil
}

// dataNode asks the NameNode which DataNode serves a request.
func (c *Client) dataNode(ctx context.Context, r request) (string, error) {
	resp, err := c.ask(ctx, r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect {
		return "", fmt.Errorf("no DataNode was named: HTTP status %d", resp.StatusCode)
	}
	target, err := resp.Location()
	if err != nil {
		return "", fmt.Errorf("no DataNode was named: %w", err)
	}
	return target.String(), nil
}

func cannot(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot %s %s: %w", verb, name, err)
}
