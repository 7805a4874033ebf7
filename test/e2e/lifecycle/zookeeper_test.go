package lifecycle

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

// ensemble is a ZooKeeper cluster of n members with its own tick time.
func ensemble(n, tick int) string {
	return fmt.Sprintf(`
name: zk
stack: zookeeper
configuration:
  zookeeper:
    zoo.cfg: {tickTime: %d}
nodeGroups:
  - {name: server, roles: [zookeeper], instanceNum: %d}
`, tick, n)
}

// TestConfiguration applies, applies again, changes a value of three members
// one after another, stops, starts and deletes.
func TestConfiguration(t *testing.T) {
	h := harness.New(t)
	h.Up()
	h.Apply("zk", ensemble(3, 2000))
	h.Ready(10*time.Second, "zk")

	before := h.PIDs("zk")
	harness.Contains(t, "applying again", h.Apply("zk", ensemble(3, 2000)), "zk (zookeeper, local) is as defined; nothing to do")
	if now := h.PIDs("zk"); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("applying again restarted services: %v, they were %v", now, before)
	}
	if n := len(h.Operations("zk")); n != 1 {
		t.Errorf("applying again made an operation: there are %d", n)
	}

	file := h.Write("zk.yaml", ensemble(3, 1500))
	plan := h.OK("plan", "-f", file)
	harness.Contains(t, "the plan", plan, "0 nodes to add, 3 nodes to reconfigure, nothing to remove",
		"~  node zk-server-1  reconfigure, rolling restart  conf/zoo.cfg: tickTime 2000 → 1500")
	if now := h.PIDs("zk"); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Error("a plan restarted services")
	}
	ticks(t, h, "2000")
	h.OK("apply", "--yes", "-f", file)
	h.Ready(10*time.Second, "zk")
	ticks(t, h, "1500")
	oneAfterAnother(t, h.Operation(h.Operations("zk")[0].ID))
	for name, pid := range h.PIDs("zk") {
		if pid == before[name] {
			t.Errorf("%s still has pid %d: it does not know its new configuration", name, pid)
		}
	}

	// A quorum cannot be broken.
	r := h.Fails(2, "apply", "--yes", "-f", h.Write("zk.yaml", ensemble(2, 1500)))
	harness.Contains(t, "the refusal", r.Stderr, "ZooKeeper needs 1 or at least 3 nodes; 2 asked", "nothing was changed")

	h.OK("stop", "zk")
	if c := h.Cluster("zk"); c.State != "stopped" {
		t.Errorf("after a stop the cluster is %s", c.State)
	}
	h.Fails(2, "apply", "--yes", "-f", file)
	h.OK("start", "zk")
	h.Ready(10*time.Second, "zk")
	h.OK("delete", "zk", "--yes", "--destroy-data", "zk")
	h.Fails(3, "describe", "zk")
	for _, p := range h.Processes() {
		if p.Labels.Service != "server" {
			t.Errorf("%s still runs", p)
		}
	}
	if _, err := os.Stat(filepath.Join(h.Dir, "nodes", "zk")); err == nil {
		t.Error("the nodes' directories are still there")
	}
}

// ticks looks into the file the program reads.
func ticks(t *testing.T, h *harness.Home, want string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(h.Dir, "nodes", "zk", "*", "zookeeper", "conf", "zoo.cfg"))
	if err != nil || len(files) != 3 {
		t.Fatalf("the members have the files %v, want 3", files)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil || !strings.Contains("\n"+string(text), "\ntickTime="+want+"\n") {
			t.Errorf("%s lacks tickTime=%s: %v\n%s", f, want, err, text)
		}
	}
}

// oneAfterAnother says that no two nodes were reconfigured at the same time.
func oneAfterAnother(t *testing.T, o api.Operation) {
	t.Helper()
	var last *api.Step
	n := 0
	for i := range o.Steps {
		s := &o.Steps[i]
		if s.Kind != "configure-node" {
			continue
		}
		n++
		if last != nil && s.Started.Before(*last.Finished) {
			t.Errorf("%q began at %s, before %q ended at %s", s.Title, s.Started, last.Title, last.Finished)
		}
		last = s
	}
	if n != 3 {
		t.Errorf("%d nodes were reconfigured, want 3", n)
	}
}
