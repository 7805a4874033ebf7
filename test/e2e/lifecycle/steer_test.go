package lifecycle

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

// TestSteering lets an apply fail where the node's directory is taken, gives it
// up, applies again, cancels that while it waits for a port somebody holds, and
// applies once more.
func TestSteering(t *testing.T) {
	h := harness.New(t)
	h.Up()
	file := h.Write("zk.yaml", ensemble(1, 2000))
	at := ""
	for _, a := range harness.JSON[api.Planned](h, "plan", "-f", file).Plans[0].Actions {
		if a.Kind == api.ActionAddNode {
			at = a.Address
		}
	}
	taken := filepath.Join(h.Dir, "nodes", "zk", "zk-server-1")
	theirs := filepath.Join(taken, "theirs")
	if err := os.MkdirAll(taken, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(theirs, []byte("somebody else's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	abandoned(t, h, file, taken, theirs)
	if err := os.RemoveAll(taken); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(at, "2181"))
	if err != nil {
		t.Fatalf("cannot take the port of node %q: %v", at, err)
	}
	defer l.Close()
	cancelled(t, h, file, at)
	l.Close()
	h.OK("apply", "--yes", "-f", file)
	h.Ready(10*time.Second, "zk")
	if n := h.Events("zk"); n["node.joined"] != 1 || n["operation.done"] != 1 || n["operation.cancelled"] != 1 || n["operation.abandoned"] != 1 {
		t.Errorf("1 node joined and 1 operation each done, cancelled and abandoned are wanted; there were %v", n)
	}
	harness.Contains(t, "applying again", h.OK("apply", "--yes", "-f", file), "zk (zookeeper, local) is as defined; nothing to do")
}

// abandoned lets an apply fail, tries it again, and gives it up.
func abandoned(t *testing.T, h *harness.Home, file, taken, theirs string) {
	t.Helper()
	conflict := "cannot use " + taken + ": it is there and was not made by this driver"
	r := h.Fails(1, "apply", "--yes", "-f", file)
	o := h.Operations("zk")[0]
	id := fmt.Sprint(o.ID)
	harness.Contains(t, "the failure", r.Stderr, "make zk-server-1 failed: "+conflict, "mend it and: howdah op retry "+id+"    or give up: howdah op abandon "+id)
	o = h.Operation(o.ID)
	states(t, o, map[string]api.StepState{"artifacts": api.StepDone, "create-node": api.StepFailed, "run-node": api.StepTodo, "smoke": api.StepTodo})
	if o.State != api.OperationFailed || o.Reason != "make zk-server-1: "+conflict {
		t.Errorf("the operation is %s: %s", o.State, o.Reason)
	}
	harness.Contains(t, "op list", h.OK("op", "list", "zk"), "failed", "make zk-server-1: "+conflict)

	first := stepOf(t, o, "create-node")
	r = h.Fails(4, "op", "retry", id, "--step", fmt.Sprint(stepOf(t, o, "smoke").ID))
	harness.Contains(t, "the refusal", r.Stderr, "operation "+id+" has no such failed step")
	harness.Contains(t, "op retry", h.OK("op", "retry", id), "operation "+id+" is running")
	harness.Within(t, 30*time.Second, "the operation has failed again", func() (bool, string) {
		o = h.Operation(o.ID)
		s := stepOf(t, o, "create-node")
		return o.State == api.OperationFailed && s.Started.After(*first.Started), fmt.Sprintf("%s: %s", o.State, o.Reason)
	})
	r = h.Fails(2, "op", "skip", id)
	harness.Contains(t, "the refusal", r.Stderr, "say which step: --step NUMBER (howdah op get "+id+" lists them)")

	harness.Contains(t, "op abandon", h.OK("op", "abandon", id), "operation "+id+" is abandoned")
	harness.Contains(t, "op get", h.OK("op", "get", id), "operation "+id+"  apply of zk is abandoned")
	for _, verb := range []string{"retry", "abandon", "cancel"} {
		harness.Contains(t, "the refusal", h.Fails(4, "op", verb, id).Stderr, "operation "+id+" is abandoned")
	}
	if text, err := os.ReadFile(theirs); err != nil || string(text) != "somebody else's\n" {
		t.Errorf("somebody else's file reads %q: %v", text, err)
	}
}

// cancelled cancels an apply while its service waits for a port that the test
// itself holds.
func cancelled(t *testing.T, h *harness.Home, file, at string) {
	t.Helper()
	a := harness.JSON[api.Applied](h, "apply", "--yes", "--no-wait", "-f", file)
	id := a.Operations[0].ID
	why := fmt.Sprintf("cannot start zookeeper: port %s:2181 (client) is taken by pid %d (lifecycle.test)", at, os.Getpid())
	harness.Within(t, time.Minute, "ZooKeeper's port is taken", func() (bool, string) {
		c := h.Cluster("zk")
		if len(c.Nodes) != 1 || len(c.Nodes[0].Services) != 1 {
			return false, c.State
		}
		s := c.Nodes[0].Services[0]
		return s.State == "failed" && strings.HasPrefix(s.Message, why+"; trying again in "), s.State + ": " + s.Message
	})
	harness.Contains(t, "explain", h.OK("explain", "zk", "-o", "wide"), "Cause: zookeeper on zk-server-1 is failed: "+why, "bring up zk-server-1 waits for zookeeper failed: "+why)
	harness.Contains(t, "op cancel", h.OK("op", "cancel", fmt.Sprint(id)), fmt.Sprintf("operation %d is ", id), "cancelled by request")
	var o api.Operation
	harness.Within(t, 10*time.Second, "the operation is cancelled", func() (bool, string) {
		o = h.Operation(id)
		return o.State == api.OperationCancelled, string(o.State)
	})
	// The machine that could not be made before is cleared away first.
	states(t, o, map[string]api.StepState{"clear-node": api.StepDone, "artifacts": api.StepDone, "create-node": api.StepDone, "run-node": api.StepSkipped, "smoke": api.StepSkipped})
	harness.Contains(t, "the refusal", h.Fails(4, "op", "cancel", fmt.Sprint(id)).Stderr, fmt.Sprintf("operation %d is cancelled", id))
	// What is and what keeps it is still told.
	if c := h.Cluster("zk"); c.State != "degraded" || c.Operation != 0 {
		t.Errorf("after the cancellation the cluster is %s: %s, with operation %d", c.State, c.Message, c.Operation)
	}
	harness.Contains(t, "explain", h.OK("explain", "zk"), "Cause: zookeeper on zk-server-1 is failed: "+why)
	harness.Contains(t, "plan", h.OK("plan", "-f", file), "zk (zookeeper, local)")
}

// skipped lets the warehouse's own test fail, because nobody can write in safe
// mode, skips it, and tries the next one again once writing is possible.
func skipped(t *testing.T, h *harness.Home) {
	h.OK("run", "warehouse", "--", "hdfs", "dfsadmin", "-safemode", "enter")
	smoke := func() api.Operation {
		t.Helper()
		r := h.Fails(1, "smoke", "warehouse")
		o := h.Operation(h.Operations("warehouse")[0].ID)
		harness.Contains(t, "the failure", r.Stderr, "test the cluster failed: write a file over WebHDFS", "safe mode", fmt.Sprintf("howdah op retry %d", o.ID))
		return o
	}
	o := smoke()
	id, failed := fmt.Sprint(o.ID), stepOf(t, o, "smoke")
	harness.Contains(t, "op skip", h.OK("op", "skip", id, "--step", fmt.Sprint(failed.ID)), "operation "+id+" is ")
	o = h.Done(10*time.Second, o.ID)
	states(t, o, map[string]api.StepState{"smoke": api.StepSkipped})
	harness.Contains(t, "op get", h.OK("op", "get", id), "operation "+id+"  smoke of warehouse is done", "skipped  test the cluster")

	o = smoke()
	h.OK("run", "warehouse", "--", "hdfs", "dfsadmin", "-safemode", "leave")
	h.OK("op", "retry", fmt.Sprint(o.ID), "--step", fmt.Sprint(stepOf(t, o, "smoke").ID))
	o = h.Done(30*time.Second, o.ID)
	states(t, o, map[string]api.StepState{"smoke": api.StepDone})
	h.Ready(10*time.Second, "warehouse")
}

// states compares where an operation's steps stand, by kind.
func states(t *testing.T, o api.Operation, want map[string]api.StepState) {
	t.Helper()
	if len(o.Steps) != len(want) {
		t.Errorf("operation %d has %d steps, want %d", o.ID, len(o.Steps), len(want))
	}
	for _, s := range o.Steps {
		if s.State != want[s.Kind] {
			t.Errorf("operation %d: %s is %s, want %s: %s%s", o.ID, s.Title, s.State, want[s.Kind], s.Waiting, s.Error)
		}
	}
}

// stepOf is the first step of a kind.
func stepOf(t *testing.T, o api.Operation, kind string) api.Step {
	t.Helper()
	for _, s := range o.Steps {
		if s.Kind == kind {
			return s
		}
	}
	t.Fatalf("operation %d has no step %s", o.ID, kind)
	return api.Step{}
}
