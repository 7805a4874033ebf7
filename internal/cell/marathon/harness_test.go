package marathon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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
	t       *testing.T
	dir     string
	master  *httptest.Server
	workers []*simworker.Worker
	engine  *scheduler.Engine
	api     *httptest.Server
	stop    func()
}

type cellConfig struct {
	workers   int
	resources string
	start     time.Duration
	outcome   func(mesos.TaskInfo) (mesos.TaskState, string)
	deadline  time.Duration
}

func newCell(t *testing.T, cfg cellConfig) *cell {
	t.Helper()
	if cfg.workers == 0 {
		cfg.workers = 2
	}
	if cfg.resources == "" {
		cfg.resources = "cpus:8;mem:16384;disk:100000;ports:[31000-31999]"
	}
	resources, err := mesos.ParseResources(cfg.resources)
	if err != nil {
		t.Fatal(err)
	}
	c := &cell{t: t, dir: t.TempDir()}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	m, err := master.New(master.Config{
		Dir: filepath.Join(c.dir, "master"), Address: netip.MustParseAddrPort("127.0.0.1:5050"),
		Authorize: func(*http.Request) (string, error) { return "cell", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	c.master = httptest.NewServer(m.Handler())
	wg.Go(func() { _ = m.Run(ctx) })
	for i := range cfg.workers {
		rack := fmt.Sprintf("r%d", i%2+1)
		w := simworker.New(simworker.Config{
			Master: c.master.URL, Hostname: fmt.Sprintf("worker-%d", i+1), Resources: resources, Start: cfg.start, Outcome: cfg.outcome,
			Attributes: []mesos.Attribute{{Name: "rack", Type: mesos.Text, Text: &mesos.TextValue{Value: rack}}},
		})
		c.workers = append(c.workers, w)
		wg.Go(func() { w.Run(ctx) })
	}
	c.start(cfg)
	t.Cleanup(func() {
		c.stop()
		c.master.CloseClientConnections()
		cancel()
		c.master.Close()
		wg.Wait()
	})
	return c
}

// start starts the scheduler, again after c.stop.
func (c *cell) start(cfg cellConfig) {
	c.t.Helper()
	client, err := v1client.New(v1client.Config{URL: c.master.URL})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	hub := marathon.NewHub(fmt.Sprint(time.Now().UnixNano()))
	c.engine, err = scheduler.Open(ctx, scheduler.Config{
		Path: filepath.Join(c.dir, "scheduler.db"), Master: client, Publish: hub.Publish, ProgressDeadline: cfg.deadline,
		Framework: mesos.FrameworkInfo{User: "root", Name: "marathon", Roles: []string{"*"}, FailoverTimeout: 604800, Checkpoint: true,
			Capabilities: []mesos.Capability{{Type: mesos.CapPartitionAware}, {Type: mesos.CapTaskKillingState}, {Type: mesos.CapMultiRole}}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.engine.Run(ctx) }()
	api := marathon.New(marathon.Config{
		Engine: c.engine, Hub: hub, Settings: app.Settings{Role: "*"}, Address: "127.0.0.1:8080", MesosURL: c.master.URL, ServicePorts: [2]int{10000, 20000},
		Principal: func(r *http.Request) (tenant.Token, error) {
			project, role, _ := strings.Cut(tenant.FromRequest(r), ":")
			if project == "" {
				return tenant.Token{Project: marathon.DefaultProject, Role: tenant.Admin}, nil
			}
			return tenant.Token{Project: project, Role: tenant.Role(role)}, nil
		},
		Policy:   func(string) policy.Policy { return policy.Policy{HostNetwork: true, RootForPlainCommands: true} },
		Shutdown: func() {}, Version: "test",
	})
	c.api = httptest.NewServer(api)
	c.stop = func() {
		api.Close()
		c.api.CloseClientConnections()
		c.api.Close()
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	}
}

// call asks the API, and returns status and body.
func (c *cell) call(method, path, body string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequest(method, c.api.URL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

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

// until waits for a condition, for at most 20 s.
func (c *cell) until(what string, is func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
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
	Deployments  []struct {
		ID string `json:"id"`
	} `json:"deployments"`
	Tasks []struct {
		ID      string `json:"id"`
		Host    string `json:"host"`
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

// settled tells whether an app runs as wanted and nothing is under way.
func (c *cell) settled(id string) bool {
	a := c.app(id)
	return a.TasksRunning == a.Instances && a.TasksStaged == 0 && len(a.Deployments) == 0
}
