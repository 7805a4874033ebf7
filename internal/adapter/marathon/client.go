// Package marathon is a client of Marathon's API: apps, tasks, deployments and
// the queue. It knows no cell and no cluster.
package marathon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	maxAnswer   = 64 << 20
	callTimeout = 30 * time.Second
	watchEvery  = 200 * time.Millisecond
	running     = "TASK_RUNNING"
)

// ErrNotFound is what errors are that mean something is not there.
var ErrNotFound = errors.New("not found")

// Config says where the API is and how to get in.
type Config struct {
	URL   string
	Token string // sent as bearer
	HTTP  *http.Client
}

// Client speaks to one Marathon.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New returns a client.
func New(cfg Config) *Client {
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Timeout: callTimeout}
	}
	return &Client{strings.TrimRight(cfg.URL, "/"), cfg.Token, cfg.HTTP}
}

// Error is a refusal in Marathon's form.
type Error struct {
	Status      int             `json:"-"`
	Message     string          `json:"message"`
	Details     json.RawMessage `json:"details,omitempty"`
	Findings    []Finding       `json:"findings,omitempty"`
	Deployments []Ref           `json:"deployments,omitempty"`
}

// Finding is one thing wrong, as Howdah's cells say it.
type Finding struct {
	Pointer string `json:"pointer"`
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
}

// Ref names a deployment.
type Ref struct {
	ID string `json:"id"`
}

// Error says everything, a line each.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for _, f := range e.Findings {
		fmt.Fprintf(&b, "\n  %s: %s", f.Pointer, f.Message)
		if f.Remedy != "" {
			fmt.Fprintf(&b, "\n    %s", f.Remedy)
		}
	}
	if len(e.Findings) == 0 && len(e.Details) > 0 && string(e.Details) != "null" {
		fmt.Fprintf(&b, "\n  %s", e.Details)
	}
	for _, d := range e.Deployments {
		fmt.Fprintf(&b, "\n  deployment %s", d.ID)
	}
	return b.String()
}

// Is makes a 404 an ErrNotFound.
func (e *Error) Is(target error) bool {
	return target == ErrNotFound && e.Status == http.StatusNotFound
}

// Call sends a body, if it is not nil, and reads the answer into into, if that
// is not nil.
func (c *Client) Call(ctx context.Context, method, path string, q url.Values, body, into any) error {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		r = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return fmt.Errorf("cannot encode request: %w", err)
		}
		r = bytes.NewReader(text)
	}
	address := c.base + path
	if len(q) > 0 {
		address += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, r)
	if err != nil {
		return err
	}
	if r != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("cannot reach the cell: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("cannot read the cell's answer: %w", err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		refused := &Error{Status: resp.StatusCode}
		if json.Unmarshal(text, refused) != nil || refused.Message == "" {
			refused.Message = resp.Status
		}
		return refused
	}
	if into == nil || len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("cannot read the cell's answer: %w", err)
	}
	return nil
}

// App is the part of an app's answer that is asked for here.
type App struct {
	ID             string            `json:"id"`
	Cmd            string            `json:"cmd,omitempty"`
	Instances      int               `json:"instances"`
	CPUs           float64           `json:"cpus"`
	Mem            float64           `json:"mem"`
	Version        string            `json:"version"`
	VersionInfo    VersionInfo       `json:"versionInfo"`
	Labels         map[string]string `json:"labels,omitempty"`
	TasksStaged    int               `json:"tasksStaged"`
	TasksRunning   int               `json:"tasksRunning"`
	TasksHealthy   int               `json:"tasksHealthy"`
	TasksUnhealthy int               `json:"tasksUnhealthy"`
	HealthChecks   []json.RawMessage `json:"healthChecks,omitempty"`
	Deployments    []Ref             `json:"deployments"`
	Tasks          []Task            `json:"tasks,omitempty"`
	LastFailure    *Failure          `json:"lastTaskFailure,omitempty"`
	Container      *struct {
		Docker *struct {
			Image string `json:"image"`
		} `json:"docker,omitempty"`
		PortMappings []struct {
			Name        string `json:"name,omitempty"`
			Protocol    string `json:"protocol"`
			ServicePort int    `json:"servicePort"`
		} `json:"portMappings,omitempty"`
	} `json:"container,omitempty"`
	PortDefinitions []struct {
		Name     string `json:"name,omitempty"`
		Protocol string `json:"protocol"`
		Port     int    `json:"port"` // the service port
	} `json:"portDefinitions,omitempty"`
}

// VersionInfo is the part of it that is asked for here.
type VersionInfo struct {
	LastConfigChangeAt string `json:"lastConfigChangeAt"` // the version of its instances
}

// ServicePort is a port by which every worker leads to an app.
type ServicePort struct {
	Port     int
	Name     string
	Protocol string // tcp, udp or "udp,tcp"
}

// ServicePorts lists the service ports of an app, in the order of its ports.
func (a *App) ServicePorts() []ServicePort {
	var out []ServicePort
	for _, p := range a.PortDefinitions {
		out = append(out, ServicePort{p.Port, p.Name, p.Protocol})
	}
	if a.Container != nil {
		for _, p := range a.Container.PortMappings {
			out = append(out, ServicePort{p.ServicePort, p.Name, p.Protocol})
		}
	}
	return slices.DeleteFunc(out, func(p ServicePort) bool { return p.Port == 0 })
}

// Task is an instance of an app.
type Task struct {
	ID           string `json:"id"`
	AppID        string `json:"appId"`
	Host         string `json:"host"`
	Worker       string `json:"worker,omitempty"`
	Ports        []int  `json:"ports"`
	State        string `json:"state"`
	StagedAt     string `json:"stagedAt"`
	StartedAt    string `json:"startedAt,omitempty"`
	Version      string `json:"version"`
	AgentID      string `json:"slaveId"`
	Notice       string `json:"notice,omitempty"` // a limit it runs into
	HealthChecks []struct {
		Alive            bool   `json:"alive"`
		LastFailureCause string `json:"lastFailureCause"`
	} `json:"healthCheckResults,omitempty"`
}

// Failure is the last failure of an app.
type Failure struct {
	Message   string `json:"message"`
	State     string `json:"state"`
	TaskID    string `json:"taskId"`
	Host      string `json:"host"`
	AgentID   string `json:"slaveId"`
	Timestamp string `json:"timestamp"`
}

// Result is the answer to whatever deploys.
type Result struct {
	Version      string `json:"version"`
	DeploymentID string `json:"deploymentId"`
	removes      bool   // the app is to be gone
}

// Deployment is an update on its way.
type Deployment struct {
	ID           string            `json:"id"`
	Version      string            `json:"version"`
	AffectedApps []string          `json:"affectedApps"`
	CurrentStep  int               `json:"currentStep"`
	TotalSteps   int               `json:"totalSteps"`
	Waiting      map[string]string `json:"waiting,omitempty"`
	Stalled      string            `json:"stalled,omitempty"`
}

// Queued is an app that waits for offers.
type Queued struct {
	Count int `json:"count"`
	Delay struct {
		Left int `json:"timeLeftSeconds"`
	} `json:"delay"`
	Since   string   `json:"since"`
	Reasons []string `json:"reasons,omitempty"` // one a worker
	Offers  struct {
		Processed int `json:"processedOffersCount"`
		Unused    int `json:"unusedOffersCount"`
		Refused   []struct {
			Reason   string `json:"reason"`
			Declined int    `json:"declined"`
		} `json:"rejectSummaryLaunchAttempt"`
	} `json:"processedOffersSummary"`
	App App `json:"app"`
}

// App returns an app with its tasks.
func (c *Client) App(ctx context.Context, id string) (*App, error) {
	var body struct{ App App }
	err := c.Call(ctx, http.MethodGet, "/v2/apps"+path(id), nil, nil, &body)
	return &body.App, err
}

// Apps returns every app with its tasks.
func (c *Client) Apps(ctx context.Context) ([]App, error) {
	var body struct{ Apps []App }
	err := c.Call(ctx, http.MethodGet, "/v2/apps", url.Values{"embed": {"apps.tasks", "apps.counts", "apps.lastTaskFailure"}}, nil, &body)
	return body.Apps, err
}

// Put makes or changes an app; definition is its JSON or what encodes to it.
func (c *Client) Put(ctx context.Context, id string, definition any, force bool) (Result, error) {
	var r Result
	q := url.Values{"partialUpdate": {"false"}}
	if force {
		q.Set("force", "true")
	}
	err := c.Call(ctx, http.MethodPut, "/v2/apps"+path(id), q, definition, &r)
	return r, err
}

// Patch changes what is given of an app.
func (c *Client) Patch(ctx context.Context, id string, change any, force bool) (Result, error) {
	var r Result
	q := url.Values{}
	if force {
		q.Set("force", "true")
	}
	err := c.Call(ctx, http.MethodPatch, "/v2/apps"+path(id), q, change, &r)
	return r, err
}

// Delete removes an app, whatever is under way with it.
func (c *Client) Delete(ctx context.Context, id string) (Result, error) {
	r := Result{removes: true}
	err := c.Call(ctx, http.MethodDelete, "/v2/apps"+path(id), nil, nil, &r)
	return r, err
}

// Restart replaces the instances of an app.
func (c *Client) Restart(ctx context.Context, id string, force bool) (Result, error) {
	var r Result
	q := url.Values{}
	if force {
		q.Set("force", "true")
	}
	err := c.Call(ctx, http.MethodPost, "/v2/apps"+path(id)+"/restart", q, nil, &r)
	return r, err
}

// Versions returns the versions of an app, newest first.
func (c *Client) Versions(ctx context.Context, id string) ([]string, error) {
	var body struct{ Versions []string }
	err := c.Call(ctx, http.MethodGet, "/v2/apps"+path(id)+"/versions", nil, nil, &body)
	return body.Versions, err
}

// Kill ends tasks; with scale their apps shrink by as many.
func (c *Client) Kill(ctx context.Context, ids []string, scale bool) error {
	q := url.Values{}
	if scale {
		q.Set("scale", "true")
	}
	return c.Call(ctx, http.MethodPost, "/v2/tasks/delete", q, map[string]any{"ids": ids}, nil)
}

// Deployments returns those on their way.
func (c *Client) Deployments(ctx context.Context) ([]Deployment, error) {
	var out []Deployment
	err := c.Call(ctx, http.MethodGet, "/v2/deployments", nil, nil, &out)
	return out, err
}

// Queue returns the apps that wait for offers.
func (c *Client) Queue(ctx context.Context) ([]Queued, error) {
	var body struct{ Queue []Queued }
	err := c.Call(ctx, http.MethodGet, "/v2/queue", nil, nil, &body)
	return body.Queue, err
}

// Through tells whether an app is what a deployment wanted that has ended: one that
// was cancelled or made way for another ends as quietly as one that is through. The
// app is nil where the deployment removed it.
func (c *Client) Through(ctx context.Context, id string, r Result) (*App, error) {
	a, err := c.App(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound) && r.removes:
		return nil, nil //nolint:nilnil // it is not there, as it should be
	case err != nil:
		return nil, err
	}
	if missing := a.misses(r); missing != "" {
		return nil, fmt.Errorf("the deployment %s has ended and %s is not as it wanted: %s. It was cancelled, or made way for another", r.DeploymentID, id, missing)
	}
	return a, nil
}

// misses says what an app lacks of what a deployment wanted, "" for nothing.
func (a *App) misses(r Result) string {
	if r.removes {
		return "it is still there"
	}
	if a.Version > r.Version { // an older one is that of a change that found everything as wanted
		return "its version is " + a.Version + ", not " + r.Version
	}
	right := 0
	for _, t := range a.Tasks {
		if t.Version == a.VersionInfo.LastConfigChangeAt && t.State == running {
			right++
		}
	}
	if right < a.Instances || len(a.Tasks) > a.Instances {
		return fmt.Sprintf("%d of %d instances run as it is now, beside %d others", right, a.Instances, len(a.Tasks)-right)
	}
	return ""
}

// Wait returns when a deployment has ended, whether it is through or not. progress,
// if any, is told at each look how it stands. A deployment that is stalled is an error.
func (c *Client) Wait(ctx context.Context, id string, progress func(Deployment)) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		ds, err := c.Deployments(ctx)
		if err != nil {
			return err
		}
		var mine *Deployment
		for i := range ds {
			if ds[i].ID == id {
				mine = &ds[i]
			}
		}
		switch {
		case mine == nil:
			return nil
		case mine.Stalled != "":
			return fmt.Errorf("the deployment %s makes no progress: %s", id, mine.Stalled)
		}
		if progress != nil {
			progress(*mine)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// path escapes an id's segments.
func path(id string) string {
	parts := strings.Split(strings.Trim(id, "/"), "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return "/" + strings.Join(parts, "/")
}
