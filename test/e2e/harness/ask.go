package harness

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
)

// maxAnswer bounds what Ask reads, in bytes.
const maxAnswer = 16 << 20

// API asks the home's server as its owner.
func (h *Home) API() *client.Client {
	return client.New(client.Config{Socket: filepath.Join(h.Dir, "run", "api.sock")})
}

// Address is where the home's server listens, http://host:port.
func (h *Home) Address() string {
	h.t.Helper()
	return JSON[api.Security](h, "security").Address
}

// Token makes a token of a project and returns its text.
func (h *Home) Token(project, role string) string {
	h.t.Helper()
	return strings.TrimSpace(h.OK("token", "create", "--project", project, "--role", role, "--for", "10m"))
}

// Ask sends a request, with a token where there is one, and returns status and
// body; where nothing answers, 0 and why.
func Ask(t testing.TB, method, url, token, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// OneZooKeeper defines the cluster zk, of one node.
const OneZooKeeper = `
name: zk
stack: zookeeper
nodeGroups:
  - {name: server, roles: [zookeeper], instanceNum: 1}
`

// quiet drops what the client library says.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// DialZooKeeper opens a session with servers, host:port,…; the caller closes it.
func DialZooKeeper(hosts string) (*zk.Conn, error) {
	c, _, err := zk.Connect(strings.Split(hosts, ","), 10*time.Second, zk.WithLogger(quiet{}))
	return c, err
}

// ZooKeeper opens a session with a cluster; the caller closes it.
func (h *Home) ZooKeeper(cluster string) *zk.Conn {
	h.t.Helper()
	c, err := DialZooKeeper(h.Cluster(cluster).Exports["hosts"])
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}
