package keeping

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

// upgraded is what "howdah upgrade -o json" prints.
type upgraded struct {
	Backup, Former string
	Kept, Changed  int
	Parts          []struct{ Part, Node, Old, New, Result string }
}

// result is what became of a part.
func (u upgraded) result(part string) string {
	for _, p := range u.Parts {
		if p.Part == part {
			return p.Result
		}
	}
	return "not named"
}

// TestUpgrade replaces server and agent by a howdah of another version while a
// service goes on: not at all in a dry run or from another place, not when the new
// server cannot start, then in two parts, then, back to the former, in one.
func TestUpgrade(t *testing.T) {
	h := harness.New(t)
	program := filepath.Join(h.Files(), "howdah")
	harness.Place(t, harness.Binary(t), program)
	next := harness.Made(t, "v9.9", filepath.Join(h.Files(), "next"))
	h.Use(program)
	h.Up()
	h.Apply("zk", harness.OneZooKeeper)
	before, server := h.Cluster("zk").Nodes[0], h.ServerPID()
	if before.AgentVersion == "v9.9" || before.AgentBuild == "" {
		t.Fatalf("the agent is %s (%s)", before.AgentVersion, before.AgentBuild)
	}
	same := func(when string, agent bool) {
		t.Helper()
		now := h.Cluster("zk").Nodes[0]
		if now.Services[0].PID != before.Services[0].PID || !harness.Alive(before.Services[0].PID) {
			t.Errorf("%s the service has pid %d, it was %d", when, now.Services[0].PID, before.Services[0].PID)
		}
		if (now.AgentPID == before.AgentPID) != agent {
			t.Errorf("%s the agent has pid %d, it was %d", when, now.AgentPID, before.AgentPID)
		}
	}

	h.Use(next)
	r := h.Fails(4, "upgrade")
	harness.Contains(t, "an upgrade from elsewhere", r.Stderr, "Put this howdah in its place and run it there: "+program+" upgrade")
	harness.Place(t, next, program)
	h.Use(program)
	dry := h.OK("upgrade", "--dry-run")
	harness.Contains(t, "the dry run", dry, "zk-server-1", "v9.9 (", "would be replaced", "nothing was changed")
	if now := h.ServerPID(); now != server {
		t.Error("a dry run replaced the server")
	}

	// A new server that cannot start, for a reason outside the database.
	images := filepath.Join(h.Dir, "images")
	if err := os.Rename(images, images+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(images, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r = h.Fails(1, "upgrade")
	former := filepath.Join(h.Dir, "run", "howdah.former")
	harness.Contains(t, "a failed upgrade", r.Stderr, "the server ended", "or go back to the former howdah", former+" up --home "+h.Dir, "copied to "+h.Dir+"/howdah.db.before-upgrade-")
	if err := os.Remove(images); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(images+".away", images); err != nil {
		t.Fatal(err)
	}
	h.Use(former)
	h.Up()
	if v := h.OK("version"); strings.Contains(v, "v9.9") {
		t.Errorf("the former howdah is %s", v)
	}
	same("after going back", true)

	// Cut short after the server: agents are not replaced by themselves, and the
	// rest is done by running it again.
	h.Use(program)
	harness.Contains(t, "up", h.Up(), "1 agent of another build; replace with: howdah upgrade")
	h.Ready(20*time.Second, "zk")
	same("after the server was replaced", true)
	u := harness.JSON[upgraded](h, "upgrade")
	if u.result("server") != "as it was" || u.result("agent") != "replaced" || u.Kept != 1 || u.Changed != 0 {
		t.Errorf("finishing an upgrade did %+v", u)
	}
	same("after the upgrade", false)
	h.Ready(20*time.Second, "zk")
	if n := h.Cluster("zk").Nodes[0]; n.AgentVersion != "v9.9" {
		t.Errorf("the agent is %s after the upgrade", n.AgentVersion)
	}
	pid := h.Cluster("zk").Nodes[0].AgentPID
	if u := harness.JSON[upgraded](h, "upgrade"); u.result("server") != "as it was" || u.result("agent") != "as it was" {
		t.Errorf("upgrading again did %+v", u)
	}
	if now := h.Cluster("zk").Nodes[0].AgentPID; now != pid {
		t.Error("upgrading again replaced the agent")
	}

	harness.Place(t, harness.Binary(t), program)
	text := h.OK("upgrade")
	harness.Contains(t, "the table", text, "PART", "server", "zk-server-1", "v9.9 (", "replaced", "1 service went on untouched")
	h.Ready(20*time.Second, "zk")
	same("after all of it at once", false)
	if n := h.Cluster("zk").Nodes[0]; n.AgentVersion == "v9.9" || n.AgentBuild != before.AgentBuild {
		t.Errorf("the agent is %s (%s) after going back", n.AgentVersion, n.AgentBuild)
	}
	if info := harness.JSON[[]api.Operation](h, "op", "list", "zk"); len(info) != 1 {
		t.Errorf("upgrades made operations: %+v", info)
	}
}
