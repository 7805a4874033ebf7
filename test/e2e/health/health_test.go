package health

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

const node = "zk-server-1"

// TestHealth is one story on one ZooKeeper.
func TestHealth(t *testing.T) {
	h := harness.New(t)
	h.Up()
	h.Apply("zk", harness.OneZooKeeper)
	h.Ready(10*time.Second, "zk")
	t.Run("well", func(t *testing.T) { well(t, h.For(t)) })
	t.Run("a service that ends again and again", func(t *testing.T) { ends(t, h.For(t)) })
	t.Run("an agent that is stopped", func(t *testing.T) { silent(t, h.For(t)) })
	t.Run("a server that was away", func(t *testing.T) { away(t, h.For(t)) })
}

func service(h *harness.Home) api.ServiceStatus { return h.Service("zk", node, "zookeeper") }

// well: probes are told, and all that surrounds the node was looked at.
func well(t *testing.T, h *harness.Home) {
	harness.Within(t, 30*time.Second, "the health probe has been asked, and clocks compared", func() (bool, string) {
		n := h.Cluster("zk").Nodes[0]
		known := map[string]bool{}
		for _, c := range n.Conditions {
			known[c.Type] = !c.Unknown() && c.Since != nil
			if c.Bad() && c.Type == api.ConditionClockSkew {
				t.Errorf("on one host clocks differ: %s", c.Message)
			}
		}
		probes := n.Services[0].Probes
		ok := len(probes) == 2 && probes[1].Kind == "health" && probes[1].Asked > 1 && probes[1].Failed == 0 && probes[1].P95Millis > 0 && probes[1].EverySeconds > 0
		for _, kind := range []string{api.ConditionDiskPressure, api.ConditionMemoryPressure, api.ConditionNameResolution, api.ConditionClockSkew} {
			ok = ok && known[kind]
		}
		return ok, fmt.Sprintf("%+v %+v", n.Conditions, probes)
	})
	harness.Contains(t, "describe", h.OK("describe", "zk"), "health of zookeeper: every ", " failed since ", " ms, p95 ")
	harness.Contains(t, "describe -o wide", h.OK("describe", "zk", "-o", "wide"), "ready of zookeeper: every ", "health of zookeeper: every ", "2 times, the last in ", " ms: held")
	if s := service(h); len(s.Listens) == 0 {
		t.Errorf("it does not say where it listens: %+v", s)
	}
}

// ends: each end makes the next start wait longer; why, and how long, is told.
func ends(t *testing.T, h *harness.Home) {
	const want = "restarting in 4 s after 3 ends in 10 minutes: killed by SIGKILL"
	killed := map[int]bool{}
	harness.Within(t, time.Minute, "it waits 4 s for its next start", func() (bool, string) {
		s := service(h)
		if s.State == "failed" && strings.HasPrefix(s.Message, want) {
			return true, ""
		}
		if s.PID != 0 && !killed[s.PID] && s.State != "failed" && len(killed) < 3 {
			h.Kill(s.PID)
			killed[s.PID] = true
		}
		return false, s.State + ": " + s.Message
	})
	for _, command := range []string{"explain", "describe"} {
		out := h.OK(command, "zk")
		if first, _, _ := strings.Cut(out, "\n"); !strings.HasPrefix(first, "Cause: zookeeper on zk-server-1 is ") {
			t.Errorf("%s begins with %q", command, first)
		}
		harness.Contains(t, command, out, "Next:  read its output: "+h.Dir)
	}
	h.Ready(30*time.Second, "zk")
	if s := service(h); s.Restarts != 3 || s.LastExit != "killed by SIGKILL" {
		t.Errorf("%+v", s)
	}
}

// silent: what a stopped agent's services do is not known; they go on all the
// same, and when the agent goes on it is known again.
func silent(t *testing.T, h *harness.Home) {
	before, agent := service(h), h.Cluster("zk").Nodes[0].AgentPID
	signal(t, agent, syscall.SIGSTOP)
	defer func() { _ = syscall.Kill(agent, syscall.SIGCONT) }()
	harness.Within(t, 30*time.Second, "the node is unknown", func() (bool, string) {
		n := h.Cluster("zk").Nodes[0]
		return n.State == "unknown" && strings.HasPrefix(n.Message, "its agent is silent since "), n.State + ": " + n.Message
	})
	c := h.Cluster("zk")
	if s := c.Nodes[0].Services[0]; s.State != "unknown" || s.LastState != "ready" || s.PID != before.PID || !harness.Alive(s.PID) {
		t.Errorf("%+v", s)
	}
	if c.State != "degraded" || c.Cause == nil || c.Cause.Object != node || c.Cause.Follows != 1 {
		t.Errorf("%s %+v", c.State, c.Cause)
	}
	harness.Contains(t, "explain", h.OK("explain", "zk"), "Cause: zk-server-1: its agent is silent since ", "and 1 more because of it; -o wide shows all")
	harness.Within(t, 20*time.Second, "that is an event", func() (bool, string) {
		es := h.Events("zk")
		return es["node.silent"] == 1, fmt.Sprint(es)
	})
	signal(t, agent, syscall.SIGCONT)
	h.Ready(30*time.Second, "zk")
	harness.Within(t, 20*time.Second, "that is an event", func() (bool, string) {
		es := h.Events("zk")
		return es["node.back"] == 1 && es["node.silent"] == 1, fmt.Sprint(es)
	})
	if s := service(h); s.PID != before.PID || s.Incarnation != before.Incarnation {
		t.Errorf("the service had pid %d, it has %d", before.PID, s.PID)
	}
}

// away: a server that was stopped calls no agent silent for what it did not hear.
func away(t *testing.T, h *harness.Home) {
	server := h.ServerPID()
	signal(t, server, syscall.SIGSTOP)
	time.Sleep(22 * time.Second) // longer than an agent may be silent
	signal(t, server, syscall.SIGCONT)
	for range 20 {
		if c := h.Cluster("zk"); c.State != "ready" {
			t.Fatalf("the cluster is %s: %s", c.State, c.Message)
		}
	}
	if es := h.Events("zk"); es["node.silent"] != 1 { // of the agent that was stopped before
		t.Errorf("%v", es)
	}
	if cs := h.Cluster("zk").Conditions; slices.ContainsFunc(cs, func(c api.Condition) bool { return c.Type == api.ConditionAgentFailing }) {
		t.Errorf("%+v", cs)
	}
}

func signal(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if pid <= 1 {
		t.Fatalf("asked to signal pid %d", pid)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}
