package lifecycle

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

func warehouse(workers int) string {
	return fmt.Sprintf(`
name: warehouse
stack: hdfs
nodeGroups:
  - {name: master, roles: [hadoop_namenode], instanceNum: 1}
  - {name: worker, roles: [hadoop_datanode], instanceNum: %d}
`, workers)
}

func batch(name string, workers int) string {
	return fmt.Sprintf(`
name: %s
stack: yarn
links: {hdfs: warehouse}
nodeGroups:
  - {name: master, roles: [hadoop_resourcemanager, hadoop_jobhistory], instanceNum: 1, memCapacityMB: 1280}
  - {name: worker, roles: [hadoop_nodemanager], instanceNum: %d, memCapacityMB: 1536, cpuNum: 2}
`, name, workers)
}

// TestResize is one story: a warehouse 3→4→3 with data, a batch cluster 2→3→2
// while a job runs, a second batch cluster beside it, and the deletion guard.
func TestResize(t *testing.T) {
	h := harness.New(t)
	h.Up()
	h.Apply("warehouse", warehouse(3))
	text, want := sample()
	h.Put("warehouse", "/in/text", text)
	// Before a DataNode is removed: the NameNode sends writers to it until it counts as
	// dead, and so the failure would be another.
	t.Run("a test that fails", func(t *testing.T) { skipped(t, h.For(t)) })
	if !t.Run("warehouse 3 to 4 to 3", func(t *testing.T) { resizeWarehouse(t, h.For(t), text) }) {
		return
	}
	if !t.Run("batch 2 to 3 to 2 while a job runs", func(t *testing.T) { resizeBatch(t, h.For(t)) }) {
		return
	}
	t.Run("a job of one's own", func(t *testing.T) { ownJob(t, h.For(t)) })
	t.Run("two batch clusters at once", func(t *testing.T) { twoBatches(t, h.For(t), want) })
	t.Run("deletion guard", func(t *testing.T) { guard(t, h.For(t)) })
}

// sample is text of some blocks' size, and its words counted.
func sample() (text string, count map[string]int) {
	rng := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // the same text each time
	count = map[string]int{}
	var b strings.Builder
	for range 200_000 {
		w := fmt.Sprintf("word%d", rng.IntN(1000))
		count[w]++
		b.WriteString(w)
		b.WriteByte(" \n"[rng.IntN(2)])
	}
	return b.String(), count
}

func resizeWarehouse(t *testing.T, h *harness.Home, text string) {
	same := func(when string) {
		t.Helper()
		if got := h.HDFS("warehouse", "-cat", "/in/text"); sha256.Sum256([]byte(got)) != sha256.Sum256([]byte(text)) {
			t.Errorf("%s the file has other content: %d bytes, want %d", when, len(got), len(text))
		}
		fsck := h.OK("run", "warehouse", "--", "hdfs", "fsck", "/", "-files", "-blocks", "-locations")
		harness.Contains(t, "fsck "+when, fsck, "The filesystem under path '/' is HEALTHY", "Missing blocks:\t\t0", "Corrupt blocks:\t\t0")
		if !regexp.MustCompile(`Under-replicated blocks:\s+0 `).MatchString(fsck) {
			t.Errorf("%s blocks lack copies:\n%s", when, fsck)
		}
	}
	masters := h.PIDs("warehouse")
	plan := h.OK("plan", "-f", h.Write("warehouse.yaml", warehouse(4)))
	harness.Contains(t, "the plan", plan, "1 node to add, 0 nodes to reconfigure, nothing to remove", "+  node warehouse-worker-4")
	h.Apply("warehouse", warehouse(4))
	h.Ready(10*time.Second, "warehouse")
	for name, pid := range h.PIDs("warehouse") {
		if was := masters[name]; was != 0 && was != pid {
			t.Errorf("adding a node restarted %s", name)
		}
	}
	same("with 4 nodes")

	// The file gets as many copies as there may be, so that the node that goes
	// holds one: its blocks must be copied elsewhere before.
	h.HDFS("warehouse", "-setrep", "-w", "3", "/in/text")
	h.Apply("warehouse", warehouse(3))
	h.Ready(10*time.Second, "warehouse")
	same("with 3 nodes again")
	c := h.Cluster("warehouse")
	if len(c.Nodes) != 4 { // a NameNode and 3 DataNodes
		t.Errorf("the cluster has %d nodes, want 4", len(c.Nodes))
	}
	o := h.Operation(h.Operations("warehouse")[0].ID)
	var drained, stopped *api.Step
	for i := range o.Steps {
		switch o.Steps[i].Kind {
		case "drain-node":
			drained = &o.Steps[i]
		case "stop-node":
			stopped = &o.Steps[i]
		}
	}
	if drained == nil || stopped == nil || stopped.Started.Before(*drained.Finished) {
		t.Errorf("the node was stopped before it was drained: %+v, %+v", drained, stopped)
	}
	r := h.Fails(2, "apply", "--yes", "-f", h.Write("warehouse.yaml", warehouse(2)))
	harness.Contains(t, "the refusal", r.Stderr, "files keep up to 3 copies, and 3 DataNodes hold them: removing", "nothing was changed")
	// What was removed is not used again.
	h.Apply("warehouse", warehouse(4))
	if n := h.Cluster("warehouse").Nodes; n[len(n)-1].Name != "warehouse-worker-5" {
		t.Errorf("the new node is %s, want warehouse-worker-5", n[len(n)-1].Name)
	}
	h.Apply("warehouse", warehouse(3))
	same("with 3 nodes in the end")
}

func resizeBatch(t *testing.T, h *harness.Home) {
	h.Apply("batch", batch("batch", 2))
	w := harness.JSON[api.Workload](h, "job", "submit", "batch", "wordcount", "-Dmapreduce.job.reduces=2", "-Dmapreduce.input.fileinputformat.split.maxsize=200000", "/in", "/out/resized")
	h.Apply("batch", batch("batch", 3))
	h.Apply("batch", batch("batch", 2))
	harness.Within(t, 4*time.Minute, "the job has ended", func() (bool, string) {
		w = harness.JSON[api.Workload](h, "job", "get", "batch", w.ID)
		return w.Final, fmt.Sprintf("%s %v", w.State, w.Progress)
	})
	if w.Failed {
		t.Errorf("the job %s: %s", w.State, w.Message)
	}
	_, want := sample()
	counts(t, h, "/out/resized", want)
	h.Ready(10*time.Second, "batch")
	if n := h.Cluster("batch").Nodes; len(n) != 3 {
		t.Errorf("the cluster has %d nodes, want 3", len(n))
	}
}

func twoBatches(t *testing.T, h *harness.Home, want map[string]int) {
	h.Apply("batch", batch("batch", 1))
	h.Apply("second", batch("second", 1))
	ids := map[string]string{}
	for _, name := range []string{"batch", "second"} {
		ids[name] = harness.JSON[api.Workload](h, "job", "submit", name, "wordcount", "/in", "/out/"+name).ID
	}
	for name, id := range ids {
		var w api.Workload
		harness.Within(t, 4*time.Minute, "the job on "+name+" has ended", func() (bool, string) {
			w = harness.JSON[api.Workload](h, "job", "get", name, id)
			return w.Final, fmt.Sprintf("%s %v", w.State, w.Progress)
		})
		if w.Failed {
			t.Errorf("the job on %s %s: %s", name, w.State, w.Message)
		}
		counts(t, h, "/out/"+name, want)
	}
}

// counts compares the result of a word count.
func counts(t *testing.T, h *harness.Home, dir string, want map[string]int) {
	t.Helper()
	got := map[string]int{}
	for line := range strings.Lines(h.HDFS("warehouse", "-cat", dir+"/part-*")) {
		var word string
		var n int
		if _, err := fmt.Sscanf(line, "%s\t%d", &word, &n); err != nil {
			t.Fatalf("%s has the line %q", dir, line)
		}
		got[word] += n
	}
	if len(got) != len(want) {
		t.Errorf("%s has %d words, want %d", dir, len(got), len(want))
	}
	for w, n := range want {
		if got[w] != n {
			t.Errorf("%s counts %s %d times, want %d", dir, w, got[w], n)
			return
		}
	}
}

func guard(t *testing.T, h *harness.Home) {
	r := h.Fails(4, "delete", "warehouse", "--yes")
	harness.Contains(t, "the refusal", r.Stderr, "cluster warehouse is not deleted: it holds data; used by batch, second; to destroy it all the same: howdah delete warehouse --yes --destroy-data warehouse")
	r = h.Fails(4, "delete", "warehouse", "--yes", "--destroy-data", "batch")
	harness.Contains(t, "the refusal", r.Stderr, "cluster warehouse is not deleted")
	h.Ready(10*time.Second, "warehouse", "batch", "second")
	h.OK("delete", "second", "--yes")
	h.OK("delete", "batch", "--yes")
	r = h.Fails(4, "delete", "warehouse", "--yes")
	if strings.Contains(r.Stderr, "used by") {
		t.Errorf("nobody uses it any more:\n%s", r.Stderr)
	}
	h.OK("delete", "warehouse", "--yes", "--destroy-data", "warehouse")
	if cs := harness.JSON[[]api.ClusterStatus](h, "get", "clusters"); len(cs) != 0 {
		t.Errorf("there are still %d clusters", len(cs))
	}
}
