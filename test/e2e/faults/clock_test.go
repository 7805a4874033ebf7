package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

// clockBuilt builds howdah with a wall clock that can be set, see testdata/clock: its
// time package adds an offset to what the kernel says.
func clockBuilt(t *testing.T, to string) {
	t.Helper()
	harness.Binary(t) // what it carries is built with it
	root := harness.Root(t)
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	const reads = "\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), reads) != 1 {
		t.Fatalf("%s does not read the clock as the releases up to Go 1.26 do", source)
	}
	patched := strings.Replace(string(text), reads, reads+"\tsec += wallOff\n", 1) + "\n//go:linkname wallOff\nvar wallOff int64\n"
	mine := filepath.Join(filepath.Dir(to), "time.go")
	if err := os.WriteFile(mine, []byte(patched), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := filepath.Abs(filepath.Join("testdata", "clock", "main.go.txt"))
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{source: mine, filepath.Join(root, "cmd", "howdah", "main.go"): program}})
	if err == nil {
		err = os.WriteFile(to+".overlay", overlay, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-overlay", to+".overlay", "-o", to, "./cmd/howdah")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build it: %v\n%s", err, out)
	}
}

// TestClockJump sets the clock of server, agents and commands an hour forward, an hour
// back, and another hour back, each time while an operation is under way. It builds
// howdah anew with such a clock, which takes minutes: only the long form does it.
func TestClockJump(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("it builds the standard library and all of howdah anew; make soak does it")
	}
	h := harness.New(t)
	program := filepath.Join(h.Files(), "howdah")
	clockBuilt(t, program)
	h.Use(program)
	h.Up()
	h.Apply("zk", mortal(2000))
	expires := h.Cluster("zk").Expires
	if expires == nil || time.Until(*expires) > 3*time.Hour || time.Until(*expires) < 2*time.Hour {
		t.Fatalf("it expires at %v", expires)
	}
	c := h.ZooKeeper("zk")
	if _, err := c.Create("/kept", []byte("a node that must stay"), 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	for i, off := range []time.Duration{time.Hour, 0, -time.Hour} {
		id := h.Begin("zk", mortal(2001+i))
		clock(t, h, off)
		h.Done(time.Minute, id)
		looks := undisturbed(t, h)
		service, agent, server := recovers(t, h)
		if at := h.Cluster("zk").Expires; at == nil || !at.Equal(*expires) {
			t.Errorf("it expires at %v, it was to at %v", at, expires)
		}
		c := h.ZooKeeper("zk")
		if data, _, err := c.Get("/kept"); err != nil || string(data) != "a node that must stay" {
			t.Errorf("the node holds %q: %v", data, err)
		}
		c.Close()
		t.Logf("clock off by %s: the operation under way was done, %d looks in 25 s found the node connected and its service untouched; killed, the service was ready again after %.1f s, the agent after %.1f s, the server after %.1f s",
			off, looks, service.Seconds(), agent.Seconds(), server.Seconds())
	}
}

// mortal is a ZooKeeper with a time to live that outlasts every jump.
func mortal(tick int) string {
	return fmt.Sprintf("ttl: 3h\nconfiguration:\n  zookeeper:\n    zoo.cfg: {tickTime: %d}\n", tick) + strings.TrimPrefix(harness.OneZooKeeper, "\n")
}

// clock sets the clock of everything of the home, and returns when the server has it.
func clock(t *testing.T, h *harness.Home, off time.Duration) {
	t.Helper()
	next := h.Write("clock.next", strconv.Itoa(int(off.Seconds())))
	if err := os.Rename(next, filepath.Join(h.Files(), "clock")); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(h.Dir, "run", "api.sock"))
	}}
	defer transport.CloseIdleConnections()
	harness.Within(t, 10*time.Second, "the server's clock is set", func() (bool, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://howdah/v1/info", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			return false, err.Error()
		}
		defer resp.Body.Close()
		at, err := http.ParseTime(resp.Header.Get("Date"))
		return err == nil && (time.Until(at)-off).Abs() < time.Minute, resp.Header.Get("Date")
	})
}

// undisturbed looks for 25 s, longer than a silent agent is trusted, whether a cluster is
// as it was.
func undisturbed(t *testing.T, h *harness.Home) (looks int) {
	t.Helper()
	before := h.Cluster("zk").Nodes[0]
	for began := time.Now(); time.Since(began) < 25*time.Second; time.Sleep(time.Second) {
		c := h.Cluster("zk")
		n := c.Nodes[0]
		if c.State != "ready" || !n.Connected || n.AgentPID != before.AgentPID || n.Services[0].PID != before.Services[0].PID {
			t.Errorf("the cluster is %s: %s; its node is %+v, it was %+v", c.State, c.Message, n, before)
		}
		for _, cond := range n.Conditions {
			if cond.Bad() {
				t.Errorf("after the jump there is %+v", cond)
			}
		}
		looks++
	}
	return looks
}

// recovers kills the service, the agent and the server, and says how long each was away.
func recovers(t *testing.T, h *harness.Home) (service, agent, server time.Duration) {
	t.Helper()
	before := h.Cluster("zk").Nodes[0]
	until := func(what string, is func(api.NodeStatus) bool) time.Duration {
		t.Helper()
		began := time.Now()
		harness.Within(t, 30*time.Second, what, func() (bool, string) {
			n := h.Cluster("zk").Nodes[0]
			return is(n), fmt.Sprintf("%+v", n)
		})
		return time.Since(began)
	}
	h.Kill(before.Services[0].PID)
	service = until("the service runs again", func(n api.NodeStatus) bool {
		return n.Services[0].State == "ready" && n.Services[0].Incarnation == before.Services[0].Incarnation+1
	})
	h.Kill(before.AgentPID)
	agent = until("another agent is connected", func(n api.NodeStatus) bool { return n.Connected && n.AgentPID != before.AgentPID })
	h.KillServer()
	began := time.Now()
	h.Up()
	until("the agent is connected to another server", func(n api.NodeStatus) bool { return n.Connected && n.State == "ready" })
	return service, agent, time.Since(began)
}
