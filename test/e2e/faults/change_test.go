package faults

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

// copies is a warehouse of n DataNodes that keeps four copies of what is
// written, on four whatever they have to do. So none of them can go.
func copies(workers int) string {
	return fmt.Sprintf(`
name: warehouse
stack: hdfs
configuration:
  hadoop:
    hdfs-site.xml: {dfs.replication: "4", dfs.namenode.redundancy.considerLoad: "false"}
nodeGroups:
  - {name: master, roles: [hadoop_namenode], instanceNum: 1}
  - {name: worker, roles: [hadoop_datanode], instanceNum: %d}
`, workers)
}

// rebooted looks after a reboot: nobody takes a number from before for a
// process of now.
func rebooted(t *testing.T, h *harness.Home) {
	before := services(h)
	stranger := h.Reboot()
	h.Up()
	h.Ready(10*time.Second, "warehouse")
	if !harness.Alive(stranger) {
		t.Error("a process that has nothing to do with howdah was ended")
	}
	for name, now := range services(h) {
		if was := before[name]; now.PID == stranger || now.PID == was.PID || now.Incarnation != was.Incarnation+1 || now.LastExit != "unknown" {
			t.Errorf("%s has pid %d, it had %d; it is incarnation %d, it was %d; its last exit is %q, want unknown", name, now.PID, was.PID, now.Incarnation, was.Incarnation, now.LastExit)
		}
	}
}

// changeKilled changes a value of every node and adds two; the server is killed
// while a node is being reconfigured, then everything is.
func changeKilled(t *testing.T, h *harness.Home) {
	before := h.PIDs("warehouse")
	id := h.Begin("warehouse", copies(4))
	kill := func(kind string, how func()) func() string {
		state := h.AtStep(2*time.Minute, id, kind)
		o := h.Operation(id)
		how()
		t.Logf("killed while %s was %s", kind, state)
		if o.State != api.OperationRunning {
			t.Errorf("the apply was %s when it was to be cut short", o.State)
		}
		return h.UpBeside()
	}
	waits := []func() string{kill("configure-node", h.KillServer), kill("run-node", h.KillAll)}
	h.Done(4*time.Minute, id)
	for _, wait := range waits {
		wait()
	}
	h.Ready(10*time.Second, "warehouse")
	c := h.Cluster("warehouse")
	if len(c.Nodes) != 5 { // a NameNode and 4 DataNodes
		t.Errorf("the cluster has %d nodes, want 5", len(c.Nodes))
	}
	for name, pid := range h.PIDs("warehouse") {
		if before[name] == pid {
			t.Errorf("%s still has pid %d: it does not know its new configuration", name, pid)
		}
	}
	for _, n := range c.Nodes {
		if n.Observed != n.Generation {
			t.Errorf("%s has assignment %d, it is wanted to have %d", n.Name, n.Observed, n.Generation)
		}
	}
	h.Put("warehouse", "/four", "a line on its way\n")
	harness.Within(t, time.Minute, "the new file has four copies", func() (bool, string) {
		out := h.OK("run", "warehouse", "--", "hdfs", "fsck", "/four")
		return regexp.MustCompile(`Average block replication:\s+4\.0\n`).MatchString(out), out
	})
	if plan := h.OK("plan", "-f", h.Write("warehouse.yaml", copies(4))); !strings.Contains(plan, "is as defined; nothing to do") {
		t.Errorf("after the change there is still something to do:\n%s", plan)
	}
}

// drainKilled takes a DataNode away. It cannot go while /four has to have four
// copies, so the drain lasts as long as the test wants; meanwhile the server is
// killed, and the agent that drains.
func drainKilled(t *testing.T, h *harness.Home) {
	const leaving = "warehouse-worker-4"
	id := h.Begin("warehouse", copies(3))
	node := func() api.NodeStatus {
		t.Helper()
		for _, n := range h.Cluster("warehouse").Nodes {
			if n.Name == leaving {
				return n
			}
		}
		t.Fatalf("%s is gone before it was drained: %+v", leaving, h.Operation(id))
		return api.NodeStatus{}
	}
	waits := func(when string) {
		t.Helper()
		harness.Within(t, time.Minute, leaving+" drains "+when, func() (bool, string) {
			n := node()
			return n.Connected && n.Observed == n.Generation && len(n.Services) == 1 && n.Services[0].State == "ready" && !n.Services[0].Drained &&
				strings.HasPrefix(n.Services[0].Message, "draining: NameNode has copied the blocks of "+leaving+" elsewhere"), fmt.Sprintf("%+v", n)
		})
		if s := step(t, h.Operation(id), "drain-node"); s.State != api.StepWaiting && s.State != api.StepDoing {
			t.Errorf("%s the drain is %s: %s", when, s.State, s.Error)
		}
	}
	h.AtStep(time.Minute, id, "drain-node")
	waits("at first")
	datanode := node().Services[0].PID
	h.KillServer()
	up := h.UpBeside()
	waits("after the server was killed")
	agent := node().AgentPID
	h.Kill(agent)
	harness.Within(t, 30*time.Second, "a new agent drains "+leaving, func() (bool, string) {
		n := node()
		return n.Connected && n.AgentPID != agent, fmt.Sprintf("%+v", n)
	})
	waits("after the agent was killed")
	harness.Contains(t, "explain", h.OK("explain", "warehouse", "-o", "wide"), "drain "+leaving+" waits for datanode ready: draining: NameNode has copied the blocks of "+leaving+" elsewhere")
	if pid := node().Services[0].PID; pid != datanode || !harness.Alive(pid) {
		t.Errorf("the DataNode that drains had pid %d, it has %d", datanode, pid)
	}
	h.HDFS("warehouse", "-setrep", "3", "/four")
	o := h.Done(3*time.Minute, id)
	up()
	if d, s := step(t, o, "drain-node"), step(t, o, "stop-node"); s.Started.Before(*d.Finished) {
		t.Errorf("the node was stopped at %s, before it was drained at %s", s.Started, d.Finished)
	}
	if harness.Alive(datanode) {
		t.Errorf("the DataNode that was removed still runs as pid %d", datanode)
	}
	h.Ready(10*time.Second, "warehouse")
	if got := h.HDFS("warehouse", "-cat", "/four"); got != "a line on its way\n" {
		t.Errorf("the file holds %q", got)
	}
}

// step is the first step of a kind.
func step(t *testing.T, o api.Operation, kind string) api.Step {
	t.Helper()
	for _, s := range o.Steps {
		if s.Kind == kind {
			return s
		}
	}
	t.Fatalf("operation %d has no step %s", o.ID, kind)
	return api.Step{}
}

// stopKilled stops and starts with the server killed at each step.
func stopKilled(t *testing.T, h *harness.Home) {
	before := services(h)
	o := harness.JSON[api.Operation](h, "stop", "warehouse", "--no-wait")
	killAt(t, h, o.ID, "stop-node", "power-off")
	if c := h.Cluster("warehouse"); c.State != "stopped" {
		t.Errorf("after the stop the cluster is %s: %s", c.State, c.Message)
	}
	for _, p := range h.Processes() {
		if p.Labels.Service != "server" {
			t.Errorf("%s still runs", p)
		}
	}
	o = harness.JSON[api.Operation](h, "start", "warehouse", "--no-wait")
	killAt(t, h, o.ID, "power-on", "run-node", "smoke")
	h.Ready(10*time.Second, "warehouse")
	for name, now := range services(h) {
		if was := before[name]; now.Incarnation != was.Incarnation+1 || now.Restarts > was.Restarts {
			t.Errorf("%s is incarnation %d, it was %d; it ended %d times by itself, before %d", name, now.Incarnation, was.Incarnation, now.Restarts, was.Restarts)
		}
	}
}

// services are the warehouse's, by node/service.
func services(h *harness.Home) map[string]api.ServiceStatus {
	out := map[string]api.ServiceStatus{}
	for _, s := range harness.JSON[[]api.ServiceStatus](h, "get", "services", "warehouse") {
		out[s.Node+"/"+s.Name] = s
	}
	return out
}
