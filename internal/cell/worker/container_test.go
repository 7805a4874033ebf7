package worker

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/shim/shimtest"
	"howdah.dev/howdah/internal/cell/worker/docker/dockertest"
)

// newContainers is a cell whose worker runs the content image by runc.
func newContainers(t *testing.T, change func(*setup)) *cell {
	t.Helper()
	shimtest.NeedRunc(t)
	return newCell(t, func(s *setup) {
		s.Runc, s.Layer = true, shimtest.Layer(t)
		if change != nil {
			change(s)
		}
	})
}

// content is a task that runs the image's program with arguments.
func content(args ...string) mesos.TaskInfo {
	return mesos.TaskInfo{
		Command:   &mesos.CommandInfo{Shell: new(false), Arguments: args},
		Container: &mesos.ContainerInfo{Type: "DOCKER", Docker: &mesos.DockerInfo{Image: "content", Network: "BRIDGE"}},
	}
}

func port(t *testing.T) int {
	t.Helper()
	_, text, err := net.SplitHostPort(freeAddresses(t, 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestContainers(t *testing.T) { testContainers(t, newContainers) }

// TestDocker: the same by a real Docker engine.
func TestDocker(t *testing.T) {
	testContainers(t, func(t *testing.T, change func(*setup)) *cell {
		engine, image := dockertest.Start(t), dockertest.Image(t)
		file, err := os.Create(filepath.Join(t.TempDir(), "image.tar"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := image.Archive(t.Context(), "howdah.invalid/image:"+strings.TrimPrefix(image.Digest, "sha256:"), file); err != nil {
			t.Fatal(err)
		}
		return newCell(t, func(s *setup) {
			s.Docker, s.Archive, s.Digest = engine.Socket, file.Name(), image.Digest
			change(s)
		})
	})
}

func testContainers(t *testing.T, start func(*testing.T, func(*setup)) *cell) {
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the warehouse\n") }))
	defer gateway.Close()
	c := start(t, func(s *setup) { s.Gateway = strings.TrimPrefix(gateway.URL, "http://") })

	missing := content("true")
	missing.Container.Docker.Image = "nothing"
	if end := c.end(c.launch(missing, "")); end.State != mesos.TaskFailed || end.Message != "cannot pull nothing: there is no such image" {
		t.Errorf("no image: %s %q", end.State, end.Message)
	}
	hog := c.launch(content("hog"), "cpus:0.1;mem:48")
	if end := c.end(hog); end.Reason != mesos.ReasonContainerMemory || end.Message != "memory limit of 48 MB exceeded" {
		t.Errorf("hog: %s %q", end.Reason, end.Message)
	}
	filler := c.launch(content("fill", "/tmp/big"), "cpus:0.1;mem:512;disk:20")
	if end := c.end(filler); end.Reason != mesos.ReasonContainerDisk {
		t.Errorf("filler: %s %q", end.Reason, end.Message)
	}

	host := port(t)
	web := content("listen", "8080", "get", "http://127.0.0.1:9870/", "env", "MESOS_SANDBOX", "wait")
	web.Container.Type = "MESOS"
	web.Container.Docker = nil
	web.Container.Mesos = &mesos.MesosInfo{Image: &mesos.Image{Type: "DOCKER", Docker: &mesos.DockerImage{Name: "content"}}}
	web.Container.NetworkInfos = []mesos.NetworkInfo{{Name: "mesos-bridge", PortMappings: []mesos.PortMapping{{HostPort: host, ContainerPort: 8080, Protocol: "tcp"}}}}
	id := c.launch(web, "")
	c.file(id, "stdout", "listening\nthe warehouse\n/mnt/mesos/sandbox\n")
	resp, err := http.Get(fmt.Sprintf("http://%s:%d/", own, host))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(text) != "hello from 1, port 8080\n" {
		t.Errorf("through the port: %q", text)
	}
	// The worker dies and comes back; the port and the container go on.
	status := c.untilState(id, mesos.TaskRunning)
	c.killWorker()
	if !alive(status.ContainerStatus.ExecutorPID) {
		t.Error("the container died with the worker")
	}
	if resp, err := http.Get(fmt.Sprintf("http://%s:%d/", own, host)); err != nil {
		t.Error(err)
	} else {
		resp.Body.Close()
	}
	c.startWorker()
	c.eventually("the worker is back", func() bool { code, _ := c.get("/state"); return code == 200 })
	execIn(t, c, id)
	c.kill(id)
	if end := c.end(id); end.State != mesos.TaskKilled {
		t.Errorf("%s %q", end.State, end.Message)
	}
}

// execIn runs a command in a task over the worker's web socket.
func execIn(t *testing.T, c *cell, id string) {
	t.Helper()
	q := url.Values{"framework": {c.id.Value}, "task": {id}, "arg": {"/bin/content", "id", "env", "MESOS_TASK_ID", "exit", "5"}}
	address := "ws://" + c.setup.Address + "/exec?" + q.Encode()
	if _, resp, err := websocket.Dial(t.Context(), address, nil); err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized { //nolint:bodyclose // the library did
		t.Errorf("a stranger gets %v, %v", resp, err)
	}
	header := http.Header{"Authorization": {"Basic b3duZXI6cHc="}}
	var socket *websocket.Conn
	c.eventually("the task is found", func() bool {
		s, resp, err := websocket.Dial(t.Context(), address, &websocket.DialOptions{HTTPHeader: header}) //nolint:bodyclose // the library did
		if err != nil && resp != nil && (resp.StatusCode == http.StatusConflict || resp.StatusCode == http.StatusServiceUnavailable) {
			return false // not taken up again yet
		}
		if err != nil {
			t.Fatal(err)
		}
		socket = s
		return true
	})
	defer socket.CloseNow()
	var out string
	for {
		_, message, err := socket.Read(t.Context())
		if err != nil || len(message) == 0 {
			t.Fatalf("%v after %q", err, out)
		}
		if message[0] == shim.FrameExit {
			if string(message[1:]) != "5" || !strings.HasSuffix(out, "\n"+id+"\n") {
				t.Errorf("exit %s after %q", message[1:], out)
			}
			return
		}
		out += string(message[1:])
	}
}

func TestHealth(t *testing.T) {
	c := newContainers(t, nil)
	check := func(h mesos.HealthCheck) *mesos.HealthCheck {
		h.IntervalSeconds, h.TimeoutSeconds = cmp.Or(h.IntervalSeconds, 0.1), 30
		return &h
	}
	ok := "/mnt/mesos/sandbox/ok"
	tests := []struct {
		name    string
		health  *mesos.HealthCheck
		args    []string
		want    string
		message string
	}{
		{
			name: "http, then not", args: []string{"write", ok, "listen", "80", "wait"}, want: "STARTING RUNNING RUNNING(healthy true) RUNNING(healthy false) FAILED(healthy false)",
			health: check(mesos.HealthCheck{Type: "HTTP", HTTP: &mesos.HTTPCheck{Port: 80, Path: "/?ok-if=" + ok}, ConsecutiveFailures: 3, GracePeriodSeconds: 60}), message: "the health check failed 3 times in a row: HTTP status 503",
		},
		{
			name: "http, never", args: []string{"listen", "80", "wait"}, want: "STARTING RUNNING RUNNING(healthy false) FAILED(healthy false)",
			health: check(mesos.HealthCheck{Type: "HTTP", HTTP: &mesos.HTTPCheck{Port: 80, Path: "/status/500"}, ConsecutiveFailures: 3, IntervalSeconds: 1}), message: "the health check failed 3 times in a row: HTTP status 500",
		},
		{
			name: "tcp, nobody listens", args: []string{"wait"}, want: "STARTING RUNNING RUNNING(healthy false) FAILED(healthy false)",
			health: check(mesos.HealthCheck{Type: "TCP", TCP: &mesos.TCPCheck{Port: 81}, ConsecutiveFailures: 2}), message: "the health check failed 2 times in a row: dial tcp 127.0.0.1:81: connect: connection refused",
		},
		{
			name: "command", args: []string{"wait"}, want: "STARTING RUNNING RUNNING(healthy false) FAILED(healthy false)",
			health:  check(mesos.HealthCheck{Type: "COMMAND", Command: &mesos.CommandInfo{Value: "echo sick exit 7"}, ConsecutiveFailures: 2}),
			message: "the health check failed 2 times in a row: the command ended with 7: sick",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c.t = t
			info := content(tt.args...)
			info.HealthCheck = tt.health
			id := c.launch(info, "")
			if strings.Contains(tt.want, "healthy true") {
				well := c.until(id, "well", func(s mesos.TaskStatus) bool { return s.Healthy != nil && *s.Healthy })
				if err := os.Remove(filepath.Join(c.setup.Dir, "sandboxes", well.ContainerStatus.ContainerID.Value, "ok")); err != nil {
					t.Fatal(err)
				}
			}
			end := c.end(id)
			if got := describe(c.history(id)); got != tt.want || end.Message != tt.message {
				t.Errorf("%s, %q", got, end.Message)
			}
		})
	}
	c.t = t
	// A check is only told.
	info := content("listen", "80", "wait")
	info.Check = &mesos.CheckInfo{Type: "HTTP", HTTP: &mesos.HTTPCheck{Port: 80, Path: "/status/404"}, IntervalSeconds: 0.1, TimeoutSeconds: 5}
	id := c.launch(info, "")
	c.until(id, "the check's result", func(s mesos.TaskStatus) bool {
		return s.CheckStatus != nil && s.CheckStatus.HTTP != nil && s.CheckStatus.HTTP.StatusCode != nil && *s.CheckStatus.HTTP.StatusCode == 404
	})
	c.kill(id)
	c.end(id)
}

func TestFilesAPI(t *testing.T) {
	c := newCell(t, nil)
	id := c.launch(shell("echo hello; echo two; mkdir sub; echo x > sub/file; ln -s /etc/passwd out; ln -s sub in; mkfifo pipe; while [ ! -e end ]; do sleep 0.01; done; echo three"), "")
	c.file(id, "stdout", "two")
	c.untilState(id, mesos.TaskRunning)
	c.file(id, "sub/file", "x")
	dir := c.dirOf(id)
	c.eventually("the pipe is there", func() bool {
		_, text := c.get("/files/browse?path=" + dir)
		return strings.Contains(text, "/pipe\"")
	})
	tests := []struct {
		path string
		code int
		text string
	}{
		{"/files/read?path=" + dir + "/stdout&offset=6&length=100", 200, `{"data":"two\n","offset":6}`},
		{"/files/read?path=" + dir + "/stdout", 200, `{"data":"","offset":10}`},
		{"/slave(1)/files/read.json?path=" + dir + "/stdout&offset=-1", 200, `{"data":"","offset":10}`},
		{"/files/read?path=" + dir + "/stdout&offset=99", 200, `{"data":"","offset":99}`},
		{"/files/read?path=" + dir + "/stdout&offset=x", 400, `failed to parse offset: "x" is no number`},
		{"/files/read?path=" + dir + "/in/file&offset=0", 200, `{"data":"x\n","offset":0}`},
		{"/files/tail?path=" + dir + "/stdout&lines=1", 200, "two"},
		{"/files/download?path=" + dir + "/out", 404, "there is no such file"},
		{"/files/download?path=" + dir + "/../../../etc/passwd", 404, "there is no such file"},
		{"/files/download?path=" + dir + "/%2e%2e/%2e%2e/worker.log", 404, "there is no such file"},
		{"/files/download?path=" + dir + "/pipe", 400, "it is not a plain file"},
		{"/files/download?path=" + dir + "/sub", 400, "it is a folder"},
		{"/files/browse?path=" + dir + "/stdout", 400, "it is not a folder"},
		{"/files/browse?path=/etc", 404, "there is no such file"},
		{"/files/browse?path=" + c.setup.Dir, 404, "there is no such file"},
		{"/files/browse", 400, "Expecting 'path=value' in query."},
		{"/ping", 200, "pong"},
	}
	for _, tt := range tests {
		if code, text := c.get(tt.path); code != tt.code || strings.TrimSpace(text) != tt.text {
			t.Errorf("%s: %d %q, want %d %q", tt.path, code, text, tt.code, tt.text)
		}
	}
	resp, err := http.Get("http://" + c.setup.Address + "/files/browse?path=" + dir)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger gets %d", resp.StatusCode)
	}
	var entries []struct{ Path, Mode string }
	_, text := c.get("/files/browse?path=" + dir)
	if err := json.Unmarshal([]byte(text), &entries); err != nil || len(entries) != 6 || !strings.HasSuffix(entries[0].Path, "/in") || entries[0].Mode[0] != 'l' {
		t.Errorf("%v %s", err, text)
	}
	followed := make(chan string, 1)
	go func() {
		_, text := c.get("/files/tail?path=" + dir + "/stdout&follow=true")
		followed <- text
	}()
	sandbox := filepath.Join(c.setup.Dir, "sandboxes", c.untilState(id, mesos.TaskRunning).ContainerStatus.ContainerID.Value)
	if err := os.WriteFile(filepath.Join(sandbox, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.end(id)
	select {
	case text := <-followed:
		if text != "hello\ntwo\nthree\n" {
			t.Errorf("followed %q", text)
		}
	case <-time.After(time.Minute):
		t.Error("following does not end with the task")
	}
}
