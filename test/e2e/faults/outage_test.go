package faults

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"howdah.dev/howdah/test/e2e/harness"
)

// lasts is how long an outage is: the long one where there is time (make soak).
func lasts(long, short time.Duration) time.Duration {
	if os.Getenv("SOAK") != "" {
		return long
	}
	return short
}

// TestOutages is one story on one ZooKeeper whose server is away, everything loses its
// power, processes stand still, and the database is damaged.
func TestOutages(t *testing.T) {
	h := harness.New(t)
	h.Up()
	h.Apply("zk", harness.OneZooKeeper)
	h.Ready(10*time.Second, "zk")
	c := h.ZooKeeper("zk")
	if _, err := c.Create("/kept", []byte("a node that must stay"), 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	for _, part := range []struct {
		name string
		do   func(*testing.T, *harness.Home)
	}{
		{"server away", serverAway},
		{"processes that stand still", standStill},
		{"power loss", powerLoss},
		{"database damaged", databaseDamaged},
	} {
		t.Run(part.name, func(t *testing.T) {
			h := h.For(t)
			part.do(t, h)
			c := h.ZooKeeper("zk")
			defer c.Close()
			if data, _, err := c.Get("/kept"); err != nil || string(data) != "a node that must stay" {
				t.Errorf("the node holds %q: %v", data, err)
			}
		})
	}
}

// serverAway: without a server a service that ends is started again by its agent, once,
// and the server that comes back says so.
func serverAway(t *testing.T, h *harness.Home) {
	away := lasts(10*time.Minute, 20*time.Second)
	before := h.Service("zk", "zk-server-1", "zookeeper")
	h.KillServer()
	began := time.Now()
	h.Kill(before.PID)
	now := 0
	harness.Within(t, 30*time.Second, "the agent has started ZooKeeper again", func() (bool, string) {
		for _, p := range h.Processes() {
			if p.Labels.Service == "zookeeper" && p.Labels.Incarnation == before.Incarnation+1 {
				now = p.PID
			}
		}
		return now != 0, fmt.Sprint(h.Processes())
	})
	restarted := time.Since(began)
	for time.Since(began) < away {
		if !harness.Alive(now) {
			t.Fatalf("pid %d ended while no server ran", now)
		}
		time.Sleep(time.Second)
	}
	h.Up()
	h.Ready(30*time.Second, "zk")
	if s := h.Service("zk", "zk-server-1", "zookeeper"); s.PID != now || s.Incarnation != before.Incarnation+1 || s.LastExit != "killed by SIGKILL" {
		t.Errorf("the server that came back says %+v, the process is %d", s, now)
	}
	t.Logf("no server for %.0f s; a killed service ran again after %.1f s, 1 start, 0 more", time.Since(began).Seconds(), restarted.Seconds())
}

// standStill stops the server, then the agent, for a while, as a machine that swaps does.
func standStill(t *testing.T, h *harness.Home) {
	still := lasts(time.Minute, 15*time.Second)
	before := h.Cluster("zk").Nodes[0]
	for what, pid := range map[string]int{"server": h.ServerPID(), "agent": before.AgentPID} {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); time.Since(began) < still; time.Sleep(time.Second) {
			if n := len(h.Agents()); n != 1 {
				t.Errorf("while the %s stands still %d agents run, want 1", what, n)
			}
		}
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		h.Ready(time.Minute, "zk")
		harness.Within(t, time.Minute, "the node is as before", func() (bool, string) {
			n := h.Cluster("zk").Nodes[0]
			return n.Connected && n.AgentPID == before.AgentPID && n.Services[0].PID == before.Services[0].PID && n.Services[0].Incarnation == before.Services[0].Incarnation, fmt.Sprintf("%+v", n)
		})
		t.Logf("the %s stood still for %s: 1 agent all the while, 0 starts of agents or services", what, still)
	}
}

// powerLoss ends everything at once.
func powerLoss(t *testing.T, h *harness.Home) {
	before := h.Service("zk", "zk-server-1", "zookeeper")
	ended := len(h.Processes())
	h.KillAll()
	h.Up()
	h.Ready(30*time.Second, "zk")
	if s := h.Service("zk", "zk-server-1", "zookeeper"); s.Incarnation != before.Incarnation+1 || s.PID == before.PID {
		t.Errorf("the service is %+v, it was %+v", s, before)
	}
	harness.Contains(t, "applying again", h.Apply("zk", harness.OneZooKeeper), "zk (zookeeper, local) is as defined; nothing to do")
	t.Logf("%d processes ended at once; all came back, each started once", ended)
}

// databaseDamaged: a server does not start on it and changes nothing in it; with what was
// there before all goes on.
func databaseDamaged(t *testing.T, h *harness.Home) {
	service := h.Service("zk", "zk-server-1", "zookeeper")
	h.KillServer()
	files, err := filepath.Glob(filepath.Join(h.Dir, "howdah.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the home has the database files %v: %v", files, err)
	}
	good := map[string][]byte{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		good[f] = data
		if !strings.Contains(filepath.Base(f), ".before-") && f != filepath.Join(h.Dir, "howdah.db") {
			if err := os.Remove(f); err != nil { // the journal of a crash
				t.Fatal(err)
			}
		}
	}
	path := filepath.Join(h.Dir, "howdah.db")
	damaged := bytes.Repeat([]byte("not what was written here\n"), 4000)
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	r := h.Fails(1, "up")
	harness.Contains(t, "the refusal", r.Stderr, "database is damaged: "+path, "nothing was written to it; restore a backup")
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, damaged) {
		t.Errorf("the damaged database was changed: %v", err)
	}
	if !harness.Alive(service.PID) {
		t.Error("the service ended with the database")
	}
	for f, data := range good {
		if err := os.WriteFile(f, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.Up()
	h.Ready(30*time.Second, "zk")
	if s := h.Service("zk", "zk-server-1", "zookeeper"); s.PID != service.PID {
		t.Errorf("the service had pid %d, it has %d", service.PID, s.PID)
	}
	t.Log("1 damaged database refused, 0 bytes of it changed, 0 services restarted")
}
