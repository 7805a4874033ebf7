// Package client is the Go SDK over Howdah's REST API. The command line uses
// nothing else. Errors from the server are *api.Problem.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"howdah.dev/howdah/api"
)

// Config says where the server is. Give Socket (on the server's host), or URL
// and Token.
type Config struct {
	Socket string // path of the unix socket
	URL    string // http://host:port
	Token  string
	HTTP   *http.Client // for URL; http.DefaultClient where nil
}

// Client talks to one server. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New makes a client. It does not connect.
func New(cfg Config) *Client {
	c := &Client{base: strings.TrimSuffix(cfg.URL, "/"), token: cfg.Token, http: cfg.HTTP}
	if cfg.Socket != "" {
		c.base = "http://howdah"
		c.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", cfg.Socket)
		}}}
	}
	if c.http == nil {
		c.http = http.DefaultClient
	}
	return c
}

// ErrUnreachable is returned when no server answers.
var ErrUnreachable = errors.New("no server answers")

// send makes a request; the caller closes the answer's body.
func (c *Client) send(ctx context.Context, method, path, kind string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if resp.StatusCode < http.StatusBadRequest {
		return resp, nil
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	p := &api.Problem{Status: resp.StatusCode, Title: resp.Status}
	if json.Unmarshal(data, p) != nil {
		p.Detail = strings.TrimSpace(string(data))
	}
	return nil, p
}

// call sends a JSON body and reads a JSON answer; either may be nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	kind := ""
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, kind = bytes.NewReader(data), "application/json"
	}
	resp, err := c.send(ctx, method, path, kind, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("cannot read the server's answer: %w", err)
	}
	return nil
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var out T
	err := c.call(ctx, http.MethodGet, path, nil, &out)
	return out, err
}

func post[T any](ctx context.Context, c *Client, path string, in any) (T, error) {
	var out T
	err := c.call(ctx, http.MethodPost, path, in, &out)
	return out, err
}

// Info says what answers.
func (c *Client) Info(ctx context.Context) (api.Info, error) {
	return get[api.Info](ctx, c, "/v1/info")
}

// Shutdown ends the server; services and agents go on.
func (c *Client) Shutdown(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/shutdown", nil, nil)
}

// Plan says what applying a file would do.
func (c *Client) Plan(ctx context.Context, f api.File) (api.Planned, error) {
	return post[api.Planned](ctx, c, "/v1/plan", f)
}

// Apply applies a file.
func (c *Client) Apply(ctx context.Context, f api.File) (api.Applied, error) {
	return post[api.Applied](ctx, c, "/v1/apply", f)
}

// Clusters lists all clusters.
func (c *Client) Clusters(ctx context.Context) ([]api.ClusterStatus, error) {
	return get[[]api.ClusterStatus](ctx, c, "/v1/clusters")
}

func clusterPath(name string, more ...string) string {
	return "/v1/clusters/" + url.PathEscape(name) + strings.Join(more, "")
}

// Cluster returns one cluster.
func (c *Client) Cluster(ctx context.Context, name string) (api.ClusterStatus, error) {
	return get[api.ClusterStatus](ctx, c, clusterPath(name))
}

// Delete deletes a cluster; destroy names it again where it holds data or
// others use it.
func (c *Client) Delete(ctx context.Context, name, destroy string) (*api.Operation, error) {
	var out *api.Operation
	err := c.call(ctx, http.MethodDelete, clusterPath(name, "?destroyData=", url.QueryEscape(destroy)), nil, &out)
	return out, err
}

// Start starts a cluster.
func (c *Client) Start(ctx context.Context, name string) (*api.Operation, error) {
	return post[*api.Operation](ctx, c, clusterPath(name, "/start"), nil)
}

// Stop stops a cluster; with suspend only until the platform is up again.
func (c *Client) Stop(ctx context.Context, name string, suspend bool) (*api.Operation, error) {
	return post[*api.Operation](ctx, c, clusterPath(name, "/stop?suspend=", strconv.FormatBool(suspend)), nil)
}

// Smoke runs a cluster's own test.
func (c *Client) Smoke(ctx context.Context, name string) (*api.Operation, error) {
	return post[*api.Operation](ctx, c, clusterPath(name, "/smoke"), nil)
}

// Explain says why a cluster is not ready.
func (c *Client) Explain(ctx context.Context, name string) ([]api.Finding, error) {
	return get[[]api.Finding](ctx, c, clusterPath(name, "/explain"))
}

// Java says which Java a cluster's tools need.
func (c *Client) Java(ctx context.Context, name string) (api.JavaRange, error) {
	return get[api.JavaRange](ctx, c, clusterPath(name, "/java"))
}

// Bundle returns a cluster's command line client for a machine.
func (c *Client) Bundle(ctx context.Context, name string, r api.ClientRequest) (api.ClientBundle, error) {
	return post[api.ClientBundle](ctx, c, clusterPath(name, "/client"), r)
}

// Operations lists operations, newest first; of one cluster where given.
func (c *Client) Operations(ctx context.Context, cluster string, limit int) ([]api.Operation, error) {
	return get[[]api.Operation](ctx, c, fmt.Sprintf("/v1/operations?cluster=%s&limit=%d", url.QueryEscape(cluster), limit))
}

// Operation returns an operation with its steps.
func (c *Client) Operation(ctx context.Context, id int64) (api.Operation, error) {
	return get[api.Operation](ctx, c, fmt.Sprintf("/v1/operations/%d", id))
}

// Control retries, skips, abandons or cancels an operation; step may be 0.
func (c *Client) Control(ctx context.Context, id int64, verb string, step int64) (api.Operation, error) {
	return post[api.Operation](ctx, c, fmt.Sprintf("/v1/operations/%d/%s?step=%d", id, url.PathEscape(verb), step), nil)
}

// CreateToken makes a token.
func (c *Client) CreateToken(ctx context.Context, r api.TokenRequest) (api.Token, error) {
	return post[api.Token](ctx, c, "/v1/tokens", r)
}

// Artifacts lists artifact sets.
func (c *Client) Artifacts(ctx context.Context) ([]api.ArtifactSet, error) {
	return get[[]api.ArtifactSet](ctx, c, "/v1/artifacts")
}

// Stacks lists kinds of clusters.
func (c *Client) Stacks(ctx context.Context) ([]api.Stack, error) {
	return get[[]api.Stack](ctx, c, "/v1/stacks")
}

func workloadPath(cluster, kind, id string) string {
	p := clusterPath(cluster, "/workloads/", url.PathEscape(kind))
	if id != "" {
		p += "/" + url.PathEscape(id)
	}
	return p
}

// Workloads lists jobs or topologies.
func (c *Client) Workloads(ctx context.Context, cluster, kind string) ([]api.Workload, error) {
	return get[[]api.Workload](ctx, c, workloadPath(cluster, kind, ""))
}

// Workload returns one job or topology.
func (c *Client) Workload(ctx context.Context, cluster, kind, id string) (api.Workload, error) {
	return get[api.Workload](ctx, c, workloadPath(cluster, kind, id))
}

// Submit submits a job or topology.
func (c *Client) Submit(ctx context.Context, cluster, kind string, s api.Submission) (api.Workload, error) {
	return post[api.Workload](ctx, c, workloadPath(cluster, kind, ""), s)
}

// Kill ends a job or topology.
func (c *Client) Kill(ctx context.Context, cluster, kind, id string) error {
	return c.call(ctx, http.MethodDelete, workloadPath(cluster, kind, id), nil, nil)
}

// Rebalance spreads a topology anew.
func (c *Client) Rebalance(ctx context.Context, cluster, kind, id string, r api.Rebalance) error {
	return c.call(ctx, http.MethodPost, workloadPath(cluster, kind, id)+"/rebalance", r, nil)
}

// Logs returns the client command that prints the logs of a job or topology.
func (c *Client) Logs(ctx context.Context, cluster, kind, id string) (api.Command, error) {
	return get[api.Command](ctx, c, workloadPath(cluster, kind, id)+"/logs")
}

// Upload uploads a file and returns its name on the server.
func (c *Client) Upload(ctx context.Context, r io.Reader) (api.Blob, error) {
	resp, err := c.send(ctx, http.MethodPost, "/v1/blobs", "application/octet-stream", r)
	if err != nil {
		return api.Blob{}, err
	}
	defer resp.Body.Close()
	var b api.Blob
	return b, json.NewDecoder(resp.Body).Decode(&b)
}

// Blob downloads a file by its digest, from an offset on.
func (c *Client) Blob(ctx context.Context, sum string, offset int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/v1/blobs/"+sum, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		defer resp.Body.Close()
		return nil, fmt.Errorf("cannot download %s: the server answers %s", sum, resp.Status)
	}
	return resp.Body, nil
}

// OperationHistory returns the first events of an operation that are kept.
func (c *Client) OperationHistory(ctx context.Context, id int64, limit int) ([]api.Event, error) {
	return get[[]api.Event](ctx, c, fmt.Sprintf("/v1/history?operation=%d&limit=%d", id, limit))
}

// History returns the newest events, oldest first; of one cluster where given.
func (c *Client) History(ctx context.Context, cluster string, limit int) ([]api.Event, error) {
	return get[[]api.Event](ctx, c, fmt.Sprintf("/v1/history?cluster=%s&limit=%d", url.QueryEscape(cluster), limit))
}
