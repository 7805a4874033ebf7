package marathon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/marathon"
	"howdah.dev/howdah/internal/cell/master"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/mesos/v1client"
	"howdah.dev/howdah/internal/cell/policy"
	"howdah.dev/howdah/internal/cell/scheduler"
	"howdah.dev/howdah/internal/cell/simworker"
	"howdah.dev/howdah/internal/tenant"
)

// cell is a master, workers that run nothing, a scheduler and its API, over real
// HTTP on loopback.
type cell struct {
	t       testing.TB
	dir     string
	master  *httptest.Server
	cfg     cellConfig
	workers []*simworker.Worker
	plugs   []func() // each takes its worker off the network
	running sync.WaitGroup
	live    context.Context
	hub     *marathon.Hub
	engine  *scheduler.Engine
	ended   chan struct{} // closed when the engine does not run any more
	api     *httptest.Server
	stop    func()
}

type cellConfig struct {
	workers   int
	resources string
	start     time.Duration
	outcome   func(mesos.TaskInfo) (mesos.TaskState, string)
	deadline  time.Duration
	timings   master.Timings
	most      int // deployments at once
	perOffer  int
	crash     func(string) bool
	keepAlive time.Duration
	roles     []string // of the framework; "*" if none
	failover  float64  // seconds; a week if 0
	transport http.RoundTripper
	reconcile time.Duration
}

func newCell(t testing.TB, cfg cellConfig) *cell {
	t.Helper()
	if cfg.workers == 0 {
		cfg.workers = 2
	}
	if len(cfg.roles) == 0 {
		cfg.roles = []string{"*"}
	}
	if cfg.failover == 0 {
		cfg.failover = (7 * 24 * time.Hour).Seconds()
	}
	if cfg.resources == "" {
		cfg.resources = "cpus:8;mem:16384;disk:100000;ports:[31000-31999]"
	}
	resources, err := mesos.ParseResources(cfg.resources)
	if err != nil {
		t.Fatal(err)
	}
	c := &cell{t: t, dir: t.TempDir(), cfg: cfg}
	ctx, cancel := context.WithCancel(context.Background())
	c.live = ctx
	m, err := master.New(master.Config{
		Dir: filepath.Join(c.dir, "master"), Address: netip.MustParseAddrPort("127.0.0.1:5050"),
		Authorize: func(*http.Request) (string, error) { return "cell", nil }, Timings: cfg.timings,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.master = httptest.NewServer(m.Handler())
	c.running.Go(func() { _ = m.Run(ctx) })
	for i := range cfg.workers {
		rack := fmt.Sprintf("r%d", i%2+1)
		w := simworker.New(simworker.Config{
			Master: c.master.URL, Hostname: fmt.Sprintf("worker-%d", i+1), Address: "127.0.0.1:5051", Resources: resources, Start: cfg.start, Outcome: cfg.outcome,
			Attributes: []mesos.Attribute{{Name: "rack", Type: mesos.Text, Text: &mesos.TextValue{Value: rack}}},
		})
		c.workers, c.plugs = append(c.workers, w), append(c.plugs, nil)
		c.plug(i)
	}
	c.registered(cfg.workers)
	c.start()
	t.Cleanup(func() {
		c.stop()
		cancel()
		c.master.CloseClientConnections()
		c.master.Close()
		c.running.Wait()
	})
	return c
}

// registered waits until the master knows so many workers, so that the scheduler
// is offered all of them at once.
func (c *cell) registered(n int) {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		resp, err := http.Get(c.master.URL + "/slaves")
		if err != nil {
			c.t.Fatal(err)
		}
		var body struct{ Slaves []struct{} }
		err = json.NewDecoder(resp.Body).Decode(&body)
		_ = resp.Body.Close()
		if err == nil && len(body.Slaves) == n {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("the master knows %d workers, not %d: %v", len(body.Slaves), n, err)
		}
	}
}

// plug connects a worker; c.plugs[i] takes it off again, with its tasks alive.
func (c *cell) plug(i int) {
	ctx, cancel := context.WithCancel(c.live)
	done := make(chan struct{})
	c.plugs[i] = func() { cancel(); <-done }
	w := c.workers[i]
	c.running.Go(func() { defer close(done); w.Run(ctx) })
}

// truth returns the states of all tasks as the workers know them.
func (c *cell) truth() map[string]mesos.TaskState {
	all := map[string]mesos.TaskState{}
	for _, w := range c.workers {
		maps.Copy(all, w.Tasks())
	}
	return all
}

// end has a task end as if by itself.
func (c *cell) end(task string, state mesos.TaskState, why string) {
	for _, w := range c.workers {
		w.Finish(c.live, task, state, why)
	}
}

// start starts the scheduler, again after c.stop.
func (c *cell) start() {
	c.t.Helper()
	client, err := v1client.New(v1client.Config{URL: c.master.URL, Transport: c.cfg.transport})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	hub := marathon.NewHub(fmt.Sprint(time.Now().UnixNano()))
	c.hub = hub
	c.engine, err = scheduler.Open(ctx, scheduler.Config{
		Path: filepath.Join(c.dir, "scheduler.db"), Master: client, Reconcile: c.cfg.reconcile, Publish: hub.Publish, ProgressDeadline: c.cfg.deadline,
		MaxDeployments: c.cfg.most, MaxPerOffer: c.cfg.perOffer, Crash: c.cfg.crash,
		Framework: mesos.FrameworkInfo{
			User: "root", Name: "marathon", Roles: c.cfg.roles, FailoverTimeout: c.cfg.failover, Checkpoint: true,
			Capabilities: []mesos.Capability{{Type: mesos.CapPartitionAware}, {Type: mesos.CapTaskKillingState}, {Type: mesos.CapMultiRole}},
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	done, ended := make(chan error, 1), make(chan struct{})
	c.ended = ended
	go func() { done <- c.engine.Run(ctx); close(ended) }()
	api := marathon.New(marathon.Config{
		Engine: c.engine, Hub: hub, Settings: app.Settings{Role: "*"}, Address: "127.0.0.1:8080", MesosURL: c.master.URL, ServicePorts: [2]int{10000, 20000},
		Principal: func(r *http.Request) (tenant.Token, error) {
			project, role, _ := strings.Cut(tenant.FromRequest(r), ":")
			if project == "" {
				return tenant.Token{Project: tenant.DefaultProject, Role: tenant.Admin}, nil
			}
			return tenant.Token{Project: project, Role: tenant.Role(role)}, nil
		},
		Policy: func(project string) policy.Policy {
			p := policy.Policy{HostNetwork: true, RootForPlainCommands: true, Project: project}
			if project == "shop" {
				p.HostVolumes = []string{"/srv/shop"}
			}
			return p
		},
		Shutdown: func() {}, Version: "test", KeepAlive: c.cfg.keepAlive,
	})
	c.api = httptest.NewServer(api)
	c.stop = func() {
		api.Close()
		c.api.CloseClientConnections()
		c.api.Close()
		cancel()
		if err := <-done; err != nil && c.cfg.crash == nil {
			c.t.Error(err)
		}
	}
}

// call asks the API, and returns status and body.
func (c *cell) call(method, path, body string) (int, string) {
	c.t.Helper()
	a := c.ask(method, path, body)
	return a.code, a.body
}

// answer is what the API answered.
type answer struct {
	code   int
	header http.Header
	body   string
}

// ask asks the API with headers such as "Accept: text/html".
func (c *cell) ask(method, path, body string, headers ...string) answer {
	c.t.Helper()
	a, err := c.try(method, path, body, headers...)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

func (c *cell) try(method, path, body string, headers ...string) (a answer, err error) {
	req, err := http.NewRequest(method, c.api.URL+path, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if req.Header.Set(name, value); name == "Host" {
			req.Host = value
		}
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if name := shapeOf(method, path, resp.StatusCode); name != "" && err == nil && len(text) < maxChecked && !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain; version=") {
		conforms(c.t, name, string(text))
	}
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

// as is the header by which a project's token is shown.
func as(token string) string { return "Authorization: Bearer " + token }

// ok asks the API for something that must work.
func (c *cell) ok(method, path, body string, into any) {
	c.t.Helper()
	code, text := c.call(method, path, body)
	if code/100 != 2 {
		c.t.Fatalf("%s %s: %d %s", method, path, code, text)
	}
	if into != nil {
		if err := json.NewDecoder(bytes.NewReader([]byte(text))).Decode(into); err != nil {
			c.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
}

// until waits for a condition, for at most a minute.
func (c *cell) until(what string, is func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			_, apps := c.call(http.MethodGet, "/v2/apps?embed=apps.tasks", "")
			_, queue := c.call(http.MethodGet, "/v2/queue", "")
			_, deployments := c.call(http.MethodGet, "/v2/deployments", "")
			c.t.Fatalf("waited in vain until %s\napps %s\nqueue %s\ndeployments %s", what, apps, queue, deployments)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

type appAnswer struct {
	ID           string `json:"id"`
	Version      string `json:"version"`
	Instances    int    `json:"instances"`
	TasksStaged  int    `json:"tasksStaged"`
	TasksRunning int    `json:"tasksRunning"`
	Healthy      int    `json:"tasksHealthy"`
	Unhealthy    int    `json:"tasksUnhealthy"`
	Deployments  []struct {
		ID string `json:"id"`
	} `json:"deployments"`
	Tasks []struct {
		ID      string `json:"id"`
		Host    string `json:"worker"`
		State   string `json:"state"`
		Version string `json:"version"`
		Ports   []int  `json:"ports"`
	} `json:"tasks"`
	LastTaskFailure *struct {
		Message string `json:"message"`
	} `json:"lastTaskFailure"`
}

func (c *cell) app(id string) appAnswer {
	c.t.Helper()
	var body struct{ App appAnswer }
	c.ok(http.MethodGet, "/v2/apps"+id, "", &body)
	return body.App
}

// settled tells whether an app runs as wanted, without some tasks, and nothing is
// under way: all as of one moment.
func (c *cell) settled(id string, gone ...string) bool {
	a := c.app(id)
	for _, task := range a.Tasks {
		if slices.Contains(gone, task.ID) {
			return false
		}
	}
	return a.TasksRunning == a.Instances && a.TasksStaged == 0 && len(a.Deployments) == 0
}

// taskIDs returns the ids of an app's tasks, sorted.
func (c *cell) taskIDs(id string) []string {
	var ids []string
	for _, task := range c.app(id).Tasks {
		ids = append(ids, task.ID)
	}
	slices.Sort(ids)
	return ids
}

// run makes an app and waits until it is as wanted and until that was told: the
// state of the API is ahead of its events, and who listens next must not hear
// of this deployment.
func (c *cell) run(id, members string) {
	c.t.Helper()
	s := c.listen("?event_type=deployment_success")
	defer s.close()
	var made appAnswer
	c.ok(http.MethodPost, "/v2/apps", fmt.Sprintf(`{"id": %q, "cmd": "sleep 1000", "cpus": 0.1, "mem": 32, %s}`, id, members), &made)
	c.until(id+" is as wanted", func() bool { return c.settled(id) })
	s.until(c, "the deployment of "+id+" was told", through(made.Deployments[0].ID))
}

// scrub replaces what differs from run to run.
func scrub(body string) string {
	for _, r := range []struct{ pattern, with string }{
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`, "TIME"},
		{`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(-S\d+)?`, "UUID"},
	} {
		body = regexp.MustCompile(r.pattern).ReplaceAllString(body, r.with)
	}
	return body
}

// maxChecked is up to how many bytes every answer is checked against its schema;
// longer ones are of the same kinds.
const maxChecked = 64 << 10

// shapeOf names the schema of what a call is answered with, "" for none.
func shapeOf(method, path string, code int) string {
	path, query, _ := strings.Cut(path, "?")
	path = strings.TrimSuffix(path, "/")
	top, rest, _ := strings.Cut(strings.TrimPrefix(path, "/v2/"), "/")
	versions := regexp.MustCompile(`(^|/)versions(/[^/]+)?$`).FindStringSubmatch(rest)
	get := method == http.MethodGet
	switch {
	case method == http.MethodHead || code == 202 || code == 204 || code == 302 || code == 304:
		return ""
	case code >= 400:
		return "error.json"
	case path == "/metrics":
		return "answers.json#/$defs/metrics"
	case !strings.HasPrefix(path, "/v2/"):
		return ""
	}
	kind := top
	switch {
	case top == "tasks" && !get, top == "apps" && regexp.MustCompile(`/tasks(/[^/]+)?$`).MatchString(rest) && !get:
		kind = "killed"
	case top == "leader" && !get:
		kind = "message"
	case !get && regexp.MustCompile(`(?i)dryRun=true`).MatchString(query):
		kind = "dryRun"
	case top == "apps" && method == http.MethodPost && rest == "":
		return "app.json"
	case (top == "apps" || top == "groups" || top == "deployments") && !get:
		kind = "result"
	case versions != nil && versions[2] != "":
		return strings.TrimSuffix(top, "s") + ".json"
	case versions != nil && top == "apps":
		kind = "versions"
	case versions != nil:
		kind = "groupVersions"
	case top == "groups" && strings.HasSuffix(rest, "/apps"):
		kind = "apps"
	case top == "groups" && query == "":
		return "group.json"
	case top == "apps" && strings.HasSuffix(rest, "/tasks"):
		kind = "appTasks"
	case top == "apps" && strings.HasSuffix(rest, "*"):
		kind = "appsOf"
	case top == "apps" && rest != "":
		kind = "app"
	case top == "groups" || top == "plugins" || top == "pods" || top == "events":
		return ""
	}
	return "answers.json#/$defs/" + kind
}

// schemas are those of package app, compiled when they are first asked for.
//
//nolint:gochecknoglobals // every answer of every test is checked
var schemas = struct {
	sync.Mutex
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema
}{compiled: map[string]*jsonschema.Schema{}}

func schema(t testing.TB, name string) *jsonschema.Schema {
	t.Helper()
	const base = "https://howdah.dev/schema/marathon/"
	schemas.Lock()
	defer schemas.Unlock()
	if schemas.compiler == nil {
		schemas.compiler = jsonschema.NewCompiler()
		for _, file := range []string{"app.json", "group.json", "error.json", "answers.json", "events.json"} {
			raw, err := app.Schemas.ReadFile("schema/" + file)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if err := schemas.compiler.AddResource(base+file, doc); err != nil {
				t.Fatal(err)
			}
		}
	}
	if schemas.compiled[name] == nil {
		compiled, err := schemas.compiler.Compile(base + name)
		if err != nil {
			t.Errorf("there is no schema %s: %v", name, err)
			return nil
		}
		schemas.compiled[name] = compiled
	}
	return schemas.compiled[name]
}

// conforms checks an answer against one of package app's schemas.
func conforms(t testing.TB, name, body string) {
	t.Helper()
	against := schema(t, name)
	if against == nil {
		return
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		t.Errorf("%v in %s", err, body)
		return
	}
	if err := against.Validate(value); err != nil {
		t.Errorf("%s: %v\n%s", name, err, body)
	}
}
