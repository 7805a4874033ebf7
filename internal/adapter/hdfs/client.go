package hdfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// maxAnswer bounds one answer, in bytes. It grows with the DataNodes, some 500
// bytes each.
const maxAnswer = 32 << 20

// ErrUnreachable means: the NameNode did not answer; test with errors.Is.
var ErrUnreachable = errors.New("NameNode is unreachable")

// Config says where one NameNode is.
type Config struct {
	// Address is its web address, scheme://host:port.
	Address string
	// HTTP does the requests; http.DefaultClient if nil.
	HTTP *http.Client
}

// Client asks one NameNode. It may be used by many goroutines.
type Client struct{ cfg Config }

// New returns a client. It opens no connection.
func New(cfg Config) *Client {
	if cfg.HTTP == nil {
		cfg.HTTP = http.DefaultClient
	}
	return &Client{cfg: cfg}
}

// bean reads one of the NameNode's management beans into v.
func (c *Client) bean(ctx context.Context, name string, v any) error {
	target := c.cfg.Address + "/jmx?" + url.Values{"qry": {"Hadoop:service=NameNode,name=" + name}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	resp, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP status %d", resp.StatusCode)
	}
	var answer struct {
		Beans []json.RawMessage `json:"beans"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return fmt.Errorf("cannot decode %s: %w", name, err)
	}
	if len(answer.Beans) == 0 {
		// The page is up before the file system is.
		return fmt.Errorf("%w: it has no %s yet", ErrUnreachable, name)
	}
	if err := json.Unmarshal(answer.Beans[0], v); err != nil {
		return fmt.Errorf("cannot decode %s: %w", name, err)
	}
	return nil
}
