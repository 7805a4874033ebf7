package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	callLimit = time.Minute // of one call
	pollPause = 5 * time.Millisecond
	maxAnswer = 256 << 20
)

// api is a client of the scheduler's API.
type api struct {
	url, secret string
	http        *http.Client
	transport   *http.Transport
}

func newAPI(url, secret string) *api {
	t := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	return &api{url: url, secret: secret, http: &http.Client{Transport: t}, transport: t}
}

func (a *api) close() { a.transport.CloseIdleConnections() }

// do carries out a request, reads all of its answer, and returns its status.
func (a *api) do(req *http.Request, into any) (status int, err error) {
	ctx, cancel := context.WithTimeout(req.Context(), callLimit)
	defer cancel()
	req = req.WithContext(ctx)
	req.Header.Set("Authorization", "Bearer "+a.secret)
	resp, err := a.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return resp.StatusCode, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return resp.StatusCode, fmt.Errorf("%s %s: %s: %.500s", req.Method, req.URL.Path, resp.Status, text)
	}
	if into != nil {
		err = json.Unmarshal(text, into)
	}
	return resp.StatusCode, err
}

// call makes a call, whose body is sent as JSON, and returns the answer's status.
func (a *api) call(ctx context.Context, method, path string, body, into any) (status int, err error) {
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return 0, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	return a.do(req, into)
}

// wait asks until the answer is yes.
func (a *api) wait(ctx context.Context, most time.Duration, what string, ask func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("it is not so after %s: %s", most, what))
	defer cancel()
	for {
		yes, err := ask(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("waiting until %s: %w", what, err)
		case yes:
			return nil
		}
		if err := sleep(ctx, pollPause); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// alive tells whether the API answers.
func (a *api) alive(ctx context.Context) (bool, error) {
	_, err := a.call(ctx, http.MethodGet, "/v2/leader", nil, nil)
	return err == nil, nil
}

// quiet tells whether no deployment is on its way.
func (a *api) quiet(ctx context.Context) (bool, error) {
	var list []json.RawMessage
	_, err := a.call(ctx, http.MethodGet, "/v2/deployments", nil, &list)
	return len(list) == 0, err
}

// counted is what is looked at of an app.
type counted struct {
	ID      string `json:"id"`
	Running int    `json:"tasksRunning"`
	Staged  int    `json:"tasksStaged"`
	Version string `json:"version"`
}

// running counts the running tasks of all apps.
func (a *api) running(ctx context.Context) (int, error) {
	var list struct{ Apps []counted }
	_, err := a.call(ctx, http.MethodGet, "/v2/apps?embed=apps.counts", nil, &list)
	n := 0
	for _, at := range list.Apps {
		n += at.Running
	}
	return n, err
}

// spec is an app of the benchmark.
type spec struct {
	ID        string            `json:"id,omitempty"`
	Command   string            `json:"cmd,omitempty"`
	CPUs      float64           `json:"cpus,omitempty"`
	Mem       float64           `json:"mem,omitempty"`
	Instances *int              `json:"instances,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
}

func newSpec(id string, instances int) spec {
	return spec{
		ID: id, Command: "exec sleep 1000000", CPUs: 0.01, Mem: 16, Instances: &instances,
		Env: map[string]string{"MODE": "bench", "COLOUR": "blue"}, Labels: map[string]string{"owner": "bench"},
	}
}
