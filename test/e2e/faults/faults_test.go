package faults

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

const warehouse = `
name: warehouse
stack: hdfs
nodeGroups:
  - {name: master, roles: [hadoop_namenode], instanceNum: 1}
  - {name: worker, roles: [hadoop_datanode], instanceNum: 2}
`

// TestFaults is one story on one warehouse; later parts stand on earlier ones.
func TestFaults(t *testing.T) {
	h := harness.New(t)
	h.Up()
	if !t.Run("server killed at each step of an apply", func(t *testing.T) { applyKilled(t, h.For(t)) }) {
		return
	}
	text := "a line that must stay\n"
	h.Put("warehouse", "/kept", text)
	version := versionOf(t, h, "warehouse")
	same := func(t *testing.T) {
		t.Helper()
		h := h.For(t)
		if got := h.HDFS("warehouse", "-cat", "/kept"); got != text {
			t.Errorf("the file holds %q, it held %q", got, text)
		}
		if got := versionOf(t, h, "warehouse"); got != version {
			t.Errorf("the NameNode's VERSION is\n%s\nit was\n%s", got, version)
		}
		if n := h.Events("warehouse")["once.permitted"]; n != 1 {
			t.Errorf("formatting was permitted %d times", n)
		}
	}
	t.Run("server killed", func(t *testing.T) { serverKilled(t, h.For(t)); same(t) })
	t.Run("agents killed", func(t *testing.T) { agentsKilled(t, h.For(t)); same(t) })
	t.Run("services killed", func(t *testing.T) { servicesKilled(t, h.For(t)); same(t) })
	t.Run("DataNode killed while a file is written", func(t *testing.T) { writing(t, h.For(t)); same(t) })
	t.Run("everything killed", func(t *testing.T) {
		h := h.For(t)
		h.KillAll()
		h.Up()
		h.Ready(10*time.Second, "warehouse")
		same(t)
	})
	t.Run("reboot", func(t *testing.T) { rebooted(t, h.For(t)); same(t) })
	if t.Run("killed in the middle of a change", func(t *testing.T) { changeKilled(t, h.For(t)); same(t) }) {
		t.Run("killed while a node drains", func(t *testing.T) { drainKilled(t, h.For(t)); same(t) })
	}
	t.Run("server killed at each step of a stop and a start", func(t *testing.T) { stopKilled(t, h.For(t)); same(t) })
	t.Run("agent killed while formatting", func(t *testing.T) { formatKilled(t, h.For(t)); same(t) })
	t.Run("data taken away", func(t *testing.T) { dataMissing(t, h.For(t)); same(t) })
	t.Run("server killed at each step of a delete", func(t *testing.T) { deleteKilled(t, h.For(t)) })
}

// killAt kills the server as soon as a step of each kind has begun, in order,
// and starts it again; then the operation must come to its end.
func killAt(t *testing.T, h *harness.Home, id int64, kinds ...string) {
	t.Helper()
	var waits []func() string
	for _, kind := range kinds {
		state := h.AtStep(2*time.Minute, id, kind)
		h.KillServer()
		t.Logf("server killed while %s was %s", kind, state)
		waits = append(waits, h.UpBeside())
	}
	h.Done(4*time.Minute, id)
	for _, wait := range waits {
		wait()
	}
}

func applyKilled(t *testing.T, h *harness.Home) {
	id := h.Begin("warehouse", warehouse)
	killAt(t, h, id, "artifacts", "create-node", "run-node", "smoke")
	h.Ready(10*time.Second, "warehouse")
	for _, n := range h.Cluster("warehouse").Nodes {
		for _, s := range n.Services {
			if s.Incarnation != 1 || s.Restarts != 0 {
				t.Errorf("%s on %s was started %d times", s.Name, n.Name, s.Incarnation)
			}
		}
	}
	// A server killed between recording a join and answering it is asked again:
	// each of the three nodes may have joined twice, never less than once.
	if n := h.Events("warehouse"); n["once.permitted"] != 1 || n["once.done"] != 1 || n["node.joined"] < 3 || n["node.joined"] > 6 || n["operation.done"] != 1 {
		t.Errorf("formatting permitted and done once each, 3 nodes joined and 1 operation done are wanted; there were %v", n)
	}
	if o := h.Operations("warehouse"); len(o) != 1 {
		t.Errorf("there are %d operations, want 1", len(o))
	}
	if entries, _ := os.ReadDir(filepath.Join(h.Dir, "nodes", "warehouse")); len(entries) != 3 {
		t.Errorf("there are %d node directories, want 3", len(entries))
	}
}

func serverKilled(t *testing.T, h *harness.Home) {
	before := h.PIDs("warehouse")
	h.KillServer()
	h.Fails(1, "get", "clusters")
	// With the server dead, agents still look after services.
	victim := before["warehouse-worker-2/datanode"]
	h.Kill(victim)
	harness.Within(t, 30*time.Second, "the agent has started the DataNode again without a server", func() (bool, string) {
		for _, p := range h.Processes() {
			if p.Labels.Service == "datanode" && p.Labels.Incarnation == 2 && p.PID != victim {
				return true, ""
			}
		}
		return false, fmt.Sprint(h.Processes())
	})
	h.Up()
	h.Ready(time.Minute, "warehouse")
	after := h.PIDs("warehouse")
	for name, pid := range before {
		if pid != victim && after[name] != pid {
			t.Errorf("%s had pid %d, it has %d", name, pid, after[name])
		}
	}
}

func agentsKilled(t *testing.T, h *harness.Home) {
	before := h.PIDs("warehouse")
	for _, n := range h.Cluster("warehouse").Nodes {
		h.Kill(n.AgentPID)
		harness.Within(t, 30*time.Second, "a new agent runs "+n.Name, func() (bool, string) {
			for _, now := range h.Cluster("warehouse").Nodes {
				if now.Name == n.Name {
					return now.Connected && now.AgentPID != n.AgentPID && now.Incarnation == n.Incarnation+1 && now.State == "ready",
						fmt.Sprintf("pid %d, was %d, incarnation %d, was %d, %s %s", now.AgentPID, n.AgentPID, now.Incarnation, n.Incarnation, now.State, now.Message)
				}
			}
			return false, "the node is gone"
		})
	}
	if after := h.PIDs("warehouse"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("services had the pids %v, they have %v", before, after)
	}
}

func servicesKilled(t *testing.T, h *harness.Home) {
	ports := map[string]string{"namenode": "8020", "datanode": "9866"}
	for _, n := range h.Cluster("warehouse").Nodes {
		for _, s := range n.Services {
			h.Kill(s.PID)
			harness.Within(t, 2*time.Minute, s.Name+" on "+n.Name+" runs again", func() (bool, string) {
				now := h.Service("warehouse", n.Name, s.Name)
				return now.State == "ready" && now.PID != s.PID && now.Incarnation == s.Incarnation+1,
					fmt.Sprintf("%s %s, pid %d, incarnation %d, was %d", now.State, now.Message, now.PID, now.Incarnation, s.Incarnation)
			})
			// The NameNode goes on counting the old DataNode for a while; ready
			// is the new one only when it serves.
			conn, err := net.Dial("tcp", net.JoinHostPort(n.Address, ports[s.Name]))
			if err != nil {
				t.Errorf("%s on %s is ready, but does not listen: %v", s.Name, n.Name, err)
			} else {
				conn.Close()
			}
			if now := h.Service("warehouse", n.Name, s.Name); now.Restarts == 0 || now.LastExit == "" {
				t.Errorf("%s on %s does not tell of its end: %+v", s.Name, n.Name, now)
			}
		}
	}
	h.Ready(time.Minute, "warehouse")
}

// writing kills a DataNode of the two after a third of a file was written.
func writing(t *testing.T, h *harness.Home) {
	data := make([]byte, 24<<20)
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same bytes each time
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	cmd := h.Command("run", "warehouse", "--", "hdfs", "dfs", "-put", "-", "/written")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	third := len(data) / 3
	if _, err := in.Write(data[:third]); err != nil {
		t.Fatalf("cannot write: %v\n%s", err, out.String())
	}
	harness.Within(t, time.Minute, "the file is being written", func() (bool, string) {
		ls := h.HDFS("warehouse", "-ls", "/")
		return strings.Contains(ls, "/written._COPYING_"), ls
	})
	victim := h.Service("warehouse", "warehouse-worker-1", "datanode")
	h.Kill(victim.PID)
	if _, err := in.Write(data[third:]); err != nil {
		t.Fatalf("cannot write: %v\n%s", err, out.String())
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the file could not be written: %v\n%s", err, out.String())
	}
	if got := h.HDFS("warehouse", "-cat", "/written"); sha256.Sum256([]byte(got)) != sha256.Sum256(data) {
		t.Errorf("the file has other content than was written: %d bytes, want %d", len(got), len(data))
	}
	h.Ready(time.Minute, "warehouse")
	// The second copy comes when the NameNode gives its first try up, after 5 minutes.
	fsck := h.OK("run", "warehouse", "--", "hdfs", "fsck", "/written")
	harness.Contains(t, "fsck", fsck, "The filesystem under path '/written' is HEALTHY", "Missing blocks:\t\t0", "Corrupt blocks:\t\t0")
}

// formatKilled kills the agent of a second warehouse while it formats.
func formatKilled(t *testing.T, h *harness.Home) {
	id := h.Begin("other", `
name: other
stack: hdfs
nodeGroups:
  - {name: master, roles: [hadoop_namenode], instanceNum: 1}
  - {name: worker, roles: [hadoop_datanode], instanceNum: 1}
`)
	var node string
	harness.Within(t, time.Minute, "the NameNode is being formatted", func() (bool, string) {
		for _, p := range h.Processes() {
			if p.Labels.Service == "namenode-format" {
				node = p.Labels.Node
				return true, ""
			}
		}
		return false, ""
	})
	for _, p := range h.Processes() {
		if p.Labels.Node == node && p.Labels.Service == "agent" {
			h.Kill(p.PID)
		}
	}
	h.Done(2*time.Minute, id)
	h.Ready(10*time.Second, "other")
	if n := h.Events("other"); n["once.permitted"] != 1 || n["once.done"] != 1 {
		t.Errorf("formatting was permitted %d times and done %d times", n["once.permitted"], n["once.done"])
	}
	h.Put("other", "/file", "content\n")
	if got := h.HDFS("other", "-cat", "/file"); got != "content\n" {
		t.Errorf("the file holds %q", got)
	}
	h.OK("delete", "other", "--yes", "--destroy-data", "other")
}

// dataMissing takes the NameNode's directory away and gives it back.
func dataMissing(t *testing.T, h *harness.Home) {
	current := filepath.Dir(versionFile(t, h, "warehouse"))
	away := filepath.Join(h.Files(), "away")
	if err := os.Rename(current, away); err != nil {
		t.Fatal(err)
	}
	h.Kill(h.Service("warehouse", "warehouse-master-1", "namenode").PID)
	want := "DataMissing: format has been done for this cluster, but " + filepath.Join(current, "VERSION") + " is not there; restore the directory, or delete the cluster"
	harness.Within(t, time.Minute, "the NameNode is blocked", func() (bool, string) {
		s := h.Service("warehouse", "warehouse-master-1", "namenode")
		return s.State == "blocked" && s.Message == want, s.State + ": " + s.Message
	})
	harness.Contains(t, "explain", h.OK("explain", "warehouse"), "Cause: namenode on warehouse-master-1 is blocked: "+want)
	harness.Contains(t, "describe", h.OK("describe", "warehouse"), "DataMissing", "EvidenceAbsent", want)
	c := h.Cluster("warehouse")
	if c.State != "degraded" {
		t.Errorf("the cluster is %s, want degraded", c.State)
	}
	found := false
	for _, cond := range c.Conditions {
		found = found || cond.Type == "DataMissing" && cond.Status
	}
	if !found {
		t.Errorf("the cluster has no condition DataMissing: %+v", c.Conditions)
	}
	// Neither a new agent nor a new server formats.
	h.Kill(c.Nodes[0].AgentPID)
	h.KillServer()
	wait := h.UpBeside()
	harness.Within(t, time.Minute, "the NameNode is still blocked", func() (bool, string) {
		c := h.Cluster("warehouse")
		s := c.Nodes[0].Services
		return c.Nodes[0].Connected && len(s) == 1 && s[0].State == "blocked" && s[0].Message == want, fmt.Sprintf("%+v", c.Nodes[0])
	})
	if _, err := os.Stat(current); err == nil {
		t.Error("the directory was made anew")
	}
	if err := os.Rename(away, current); err != nil {
		t.Fatal(err)
	}
	h.Ready(2*time.Minute, "warehouse")
	wait()
	for _, cond := range h.Cluster("warehouse").Conditions {
		if cond.Type == "DataMissing" && cond.Status {
			t.Errorf("with the directory back the condition is still there: %+v", cond)
		}
	}
}

func deleteKilled(t *testing.T, h *harness.Home) {
	o := harness.JSON[api.Operation](h, "delete", "warehouse", "--yes", "--destroy-data", "warehouse", "--no-wait")
	killAt(t, h, o.ID, "stop-node", "delete-node", "forget")
	h.Fails(3, "describe", "warehouse")
	if _, err := os.Stat(filepath.Join(h.Dir, "nodes", "warehouse")); err == nil {
		t.Error("the nodes' directories are still there")
	}
	for _, p := range h.Processes() {
		if p.Labels.Service != "server" {
			t.Errorf("%s still runs", p)
		}
	}
}

func versionFile(t *testing.T, h *harness.Home, cluster string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(h.Dir, "nodes", cluster, cluster+"-master-1", "namenode", "data", "current", "VERSION"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the NameNode has the version files %v, want one", files)
	}
	return files[0]
}

func versionOf(t *testing.T, h *harness.Home, cluster string) string {
	t.Helper()
	f, err := os.Open(versionFile(t, h, cluster))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil || !strings.Contains(string(data), "clusterID=") {
		t.Fatalf("the NameNode's VERSION is %q: %v", data, err)
	}
	return string(data)
}
