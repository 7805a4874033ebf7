package cell

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/shim/shimtest"
	"howdah.dev/howdah/test/e2e/harness"
)

// definition is a cell of two workers that differ in an attribute.
const definition = `
clusters:
  - name: cell
    stack: mesos
    configuration:
      mesos:
        scheduler.yaml:
          progressDeadline: 4s
          projects.shop.images: tools
        worker.yaml: {runtimes: "runc,plain"}
    nodeGroups:
      - {name: master, roles: [mesos_master], instanceNum: 1}
      - name: a
        roles: [mesos_worker]
        instanceNum: 1
        configuration: {mesos: {worker.yaml: {attributes: "rack:red"}}}
      - name: b
        roles: [mesos_worker]
        instanceNum: 1
        configuration: {mesos: {worker.yaml: {attributes: "rack:blue"}}}
`

// cell is a running cell and the way to its API.
type cell struct {
	*harness.Home
	t     testing.TB
	url   string // of the scheduler
	token string
	// engine is the folder of the Docker engine that runs containers, empty without one.
	engine string
}

// newCell starts a home with a cell.
func newCell(t *testing.T) *cell {
	t.Helper()
	shimtest.NeedRunc(t)
	return openCell(t, harness.New(t))
}

func openCell(t *testing.T, h *harness.Home) *cell {
	t.Helper()
	h.Up(h.Write("cell.yaml", definition))
	return &cell{h, t, h.Cluster("cell").Exports["marathon"], token(h, "default", "admin"), ""}
}

func token(h *harness.Home, project, role string) string {
	return strings.TrimSpace(h.OK("token", "create", "--project", project, "--role", role))
}

// with is the cell for a subtest.
func (c *cell) with(t *testing.T) *cell {
	in := *c
	in.t, in.Home = t, c.For(t)
	return &in
}

// as is the cell for the holder of another token.
func (c *cell) as(token string) *cell {
	in := *c
	in.token = token
	return &in
}

var program = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // built once a test program
	out := filepath.Join(shared(), "content")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", out, "howdah.dev/howdah/internal/cell/shim/shimtest/content")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build: %w\n%s", err, text)
	}
	return out, nil
})

// shared is a folder of this test program, open to all users.
func shared() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("howdah-e2e-content-%d", os.Getpid()))
}

// TestMain removes what the tests share.
func TestMain(m *testing.M) {
	err := os.Mkdir(shared(), 0o755) //nolint:gosec // a plain user reads there too
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(shared())
	os.Exit(code)
}

// pack puts the program of the tests into the registry, with flags of image pack.
func (c *cell) pack(name string, flags ...string) string {
	c.t.Helper()
	path, err := program()
	if err != nil {
		c.t.Fatal(err)
	}
	return c.OK(append([]string{"image", "pack", path, name, "--entrypoint", "/content"}, flags...)...)
}

// call sends a request to the scheduler and returns status and body.
func (c *cell) call(method, path, body string) (int, string) {
	c.t.Helper()
	return c.at(method, c.url+path, body)
}

func (c *cell) at(method, url, body string) (int, string) {
	c.t.Helper()
	return harness.Ask(c.t, method, url, c.token, body)
}

// want sends a request that must be answered with a status, and reads the body.
func (c *cell) want(status int, method, path, body string, into any) {
	c.t.Helper()
	code, text := c.call(method, path, body)
	if code != status {
		c.t.Fatalf("%s %s: %d, want %d\n%s", method, path, code, status, text)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			c.t.Fatalf("%s %s: %v\n%s", method, path, err, text)
		}
	}
}

// task is an instance as the API shows it.
type task struct {
	ID, AppID, Host, Worker, State, Version string // Host is an address
	Ports                                   []int
	HealthCheckResults                      []struct{ Alive bool }
}

func (x task) well() bool {
	return x.State == "TASK_RUNNING" && !slices.ContainsFunc(x.HealthCheckResults, func(r struct{ Alive bool }) bool { return !r.Alive })
}

// app is an app as the API shows it.
type app struct {
	ID, Version     string
	Instances       int
	Deployments     []struct{ ID string }
	Tasks           []task
	LastTaskFailure struct{ Message, State, TaskID string }
}

func (a app) running() int {
	n := 0
	for _, t := range a.Tasks {
		if t.well() {
			n++
		}
	}
	return n
}

// app returns an app; the zero value if there is none.
func (c *cell) app(id string) app {
	c.t.Helper()
	var body struct{ App app }
	if code, text := c.call(http.MethodGet, "/v2/apps"+id, ""); code == http.StatusOK {
		if err := json.Unmarshal([]byte(text), &body); err != nil {
			c.t.Fatal(err)
		}
	}
	return body.App
}

// put makes an app without waiting, of what is common to the tests and fields.
func (c *cell) put(id, fields string) {
	c.t.Helper()
	c.want(c.putStatus(id), http.MethodPut, "/v2/apps"+id+"?force=true", spec(id, fields), nil)
}

func (c *cell) putStatus(id string) int {
	if c.app(id).ID == "" {
		return http.StatusCreated
	}
	return http.StatusOK
}

// spec is an app of a container that answers on a port, changed by fields.
func spec(id, fields string) string {
	m := map[string]any{}
	for _, text := range []string{`{"cpus": 0.05, "mem": 64, "args": ["linger", "1000", "listen", "8080", "wait"],
		"container": {"type": "MESOS", "docker": {"image": "hello:1"}, "portMappings": [{"containerPort": 8080, "hostPort": 0, "name": "http"}]},
		"networks": [{"mode": "container/bridge"}], "backoffSeconds": 1, "backoffFactor": 1}`, fields} {
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			panic(err)
		}
	}
	m["id"] = id
	out, _ := json.Marshal(m)
	return string(out)
}

// settled waits until an app has as many well instances as it wants, and no
// deployment.
func (c *cell) settled(id string) app {
	c.t.Helper()
	var a app
	harness.Within(c.t, 30*time.Second, id+" runs", func() (bool, string) {
		a = c.app(id)
		return a.ID != "" && len(a.Deployments) == 0 && a.running() == a.Instances && len(a.Tasks) == a.Instances, fmt.Sprintf("%+v", a)
	})
	return a
}

// run makes an app and waits until it runs.
func (c *cell) run(id, fields string) app {
	c.t.Helper()
	c.put(id, fields)
	return c.settled(id)
}

// delete removes apps or groups and waits until their tasks are gone.
func (c *cell) delete(paths ...string) {
	c.t.Helper()
	for _, path := range paths {
		c.want(http.StatusOK, http.MethodDelete, path+"?force=true", "", nil)
	}
	for _, path := range paths {
		harness.Within(c.t, 30*time.Second, path+" is gone", func() (bool, string) {
			code, text := c.call(http.MethodGet, path, "")
			return code == http.StatusNotFound, text
		})
	}
}

// failure waits until an app has failed with a sentence.
func (c *cell) failure(id, piece string) app {
	c.t.Helper()
	var a app
	harness.Within(c.t, 20*time.Second, id+" has failed with "+piece, func() (bool, string) {
		a = c.app(id)
		return strings.Contains(a.LastTaskFailure.Message, piece), fmt.Sprintf("%+v", a)
	})
	return a
}

// get asks a task over its host port.
func (c *cell) get(t task, path string) (string, error) {
	resp, err := (&http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Get(fmt.Sprintf("http://%s:%d%s", t.Host, t.Ports[0], path))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// listen waits until tasks answer: one without a health check runs before it does.
func (c *cell) listen(tasks ...task) {
	c.t.Helper()
	for _, x := range tasks {
		harness.Within(c.t, 20*time.Second, x.ID+" answers", func() (bool, string) {
			_, err := c.get(x, "/env/PORT0")
			return err == nil, fmt.Sprint(err)
		})
	}
}

// addresses are those of the cell's nodes, by name.
func (c *cell) addresses() map[string]string {
	c.t.Helper()
	out := map[string]string{}
	for _, n := range c.Cluster("cell").Nodes {
		out[n.Name] = n.Address
	}
	return out
}

// exec runs the program of the tests in an app's first task.
func (c *cell) exec(id string, words ...string) string {
	c.t.Helper()
	return c.OK(append([]string{"app", "exec", id, "--", "/content"}, words...)...)
}

// lines of a text, sorted.
func lines(text string) []string {
	out := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(out)
	return out
}

// follow starts howdah app logs -F, and returns what it has printed so far.
func (c *cell) follow(id string) (printed func() string) {
	c.t.Helper()
	cmd := c.Command("app", "logs", id, "-F")
	out, err := os.CreateTemp(c.t.(*testing.T).TempDir(), "log")
	if err != nil {
		c.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); out.Close() })
	return func() string {
		text, _ := os.ReadFile(out.Name())
		return string(bytes.TrimSpace(text))
	}
}
