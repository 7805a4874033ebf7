package platform

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

// streamOf is the example's stream with another number of supervisors.
func streamOf(workers int) string {
	return fmt.Sprintf(`
name: stream
stack: storm
links: {hdfs: warehouse}
nodeGroups:
  - {name: coordination, roles: [zookeeper], instanceNum: 1, memCapacityMB: 256}
  - {name: master, roles: [storm_nimbus], instanceNum: 1, memCapacityMB: 512}
  - {name: worker, roles: [storm_supervisor], instanceNum: %d, memCapacityMB: 1024, cpuNum: 2}
`, workers)
}

// resizeStream takes the stream from 2 supervisors to 3 and back while a
// topology of 3 workers runs on them: it goes on acking.
func resizeStream(t *testing.T, h *harness.Home) {
	const leaving = "stream-worker-3"
	h.OK("topology", "submit", "stream", "--flux", filepath.Join("test", "e2e", "platform", "testdata", "numbers.yaml"))
	// 1 spout, 2 bolts and 3 ackers.
	acks(t, h, 3, 6)
	harness.Contains(t, "the logs of the topology's workers", h.OK("logs", "stream", "--service", "supervisor", "--tail", "20"), "/supervisor/workers/numbers-", "/worker.log  ")
	h.Apply("stream", streamOf(3))
	h.Ready(10*time.Second, "stream")
	acks(t, h, 3, 6)
	if out := h.OK("topology", "rebalance", "stream", "numbers"); out != "topology numbers is being rebalanced\n" {
		t.Errorf("topology rebalance prints %q", out)
	}
	harness.Within(t, time.Minute, "a worker of the topology runs on "+leaving, func() (bool, string) {
		pids := workersOn(h, leaving)
		return len(pids) > 0, fmt.Sprint(pids)
	})
	acks(t, h, 3, 6)
	moved := workersOn(h, leaving)

	h.Apply("stream", streamOf(2))
	h.Ready(10*time.Second, "stream")
	drained(t, h, leaving, moved)
	acks(t, h, 3, 6)

	h.OK("topology", "rebalance", "stream", "numbers", "--workers", "2", "--executors", "log=4")
	acks(t, h, 2, 8)
	spread(t, h, 2)
	askStorm(t, h)
	for _, verb := range []string{"rebalance", "kill", "get"} {
		r := h.Fails(3, "topology", verb, "stream", "nobody")
		harness.Contains(t, "the refusal", r.Stderr, "nobody")
	}
	kill(t, h)
}

// drained says that the workers of a node were moved before it was stopped.
func drained(t *testing.T, h *harness.Home, node string, pids []int) {
	t.Helper()
	var drain, stop api.Step
	for _, s := range h.Operation(h.Operations("stream")[0].ID).Steps {
		switch s.Kind {
		case "drain-node":
			drain = s
		case "stop-node":
			stop = s
		}
	}
	if drain.State != api.StepDone || stop.Started.Before(*drain.Finished) {
		t.Errorf("the node was not drained before it was stopped: %+v, %+v", drain, stop)
	}
	for _, pid := range pids {
		if harness.Alive(pid) {
			t.Errorf("the worker with pid %d on %s still runs", pid, node)
		}
	}
}

// acks waits until the topology has so many workers and executors and acks more
// and more. Its counts begin anew with its workers.
func acks(t *testing.T, h *harness.Home, workers, executors int64) {
	t.Helper()
	rises, last := 0, int64(0)
	harness.Within(t, time.Minute, fmt.Sprintf("the topology acks on %d workers with %d executors", workers, executors), func() (bool, string) {
		w := harness.JSON[api.Workload](h, "topology", "get", "stream", "numbers")
		now := w.Figures["acked"]
		if w.State != "active" || w.Figures["workers"] != workers || w.Figures["executors"] != executors {
			rises = 0
		} else if last > 0 && now > last {
			rises++
		}
		last = now
		return rises == 2, fmt.Sprintf("%+v", w)
	})
}

// spread says that so many worker processes of the topology run.
func spread(t *testing.T, h *harness.Home, want int) {
	t.Helper()
	harness.Within(t, time.Minute, fmt.Sprintf("%d workers of the topology run", want), func() (bool, string) {
		pids := workersOn(h, "")
		return len(pids) == want, fmt.Sprint(pids)
	})
}

// workersOn are the processes of the topology's workers on a node, or on all.
func workersOn(h *harness.Home, node string) (pids []int) {
	for _, p := range h.Processes() {
		line := harness.CommandLine(p.PID)
		if strings.Contains(line, " org.apache.storm.daemon.worker.Worker numbers-") && !strings.Contains(line, "org.apache.storm.LogWriter") &&
			(node == "" || strings.Contains(line, "/nodes/stream/"+node+"/")) {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// kill ends the topology and all of it.
func kill(t *testing.T, h *harness.Home) {
	t.Helper()
	if out := h.OK("topology", "kill", "stream", "numbers"); out != "topology numbers is killed\n" {
		t.Errorf("topology kill prints %q", out)
	}
	harness.Within(t, time.Minute, "the topology is gone", func() (bool, string) {
		r := h.Run("topology", "get", "stream", "numbers")
		return r.Code == 3, r.Stdout + r.Stderr
	})
	spread(t, h, 0)
	if out := h.OK("topology", "get", "stream"); strings.Contains(out, "numbers") {
		t.Errorf("the killed topology is still listed:\n%s", out)
	}
}
