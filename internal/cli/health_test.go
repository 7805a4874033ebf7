package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
)

// TestChain: the cause and what to do come first, then what stands beside it;
// what follows is counted, or listed where all is asked for.
func TestChain(t *testing.T) {
	fs := []api.Finding{
		{Kind: "is", Message: "b is degraded"},
		{Kind: "cause", Message: "head on a-1\x1b is failed"},
		{Kind: "next", Message: "read its output"},
		{Kind: "because", Message: "make b-9 is under way"},
		{Kind: "follows", Message: "job on b-1 is gated"},
		{Kind: "follows", Message: "job on b-2 is gated"},
	}
	const head = "Cause: head on a-1  is failed\nNext:  read its output\nb is degraded\n  because  make b-9 is under way\n"
	for all, want := range map[bool]string{
		false: head + "  and 2 more because of it; -o wide shows all\n",
		true:  head + "  follows  job on b-1 is gated\n  follows  job on b-2 is gated\n",
	} {
		var out strings.Builder
		printChain(&out, fs, all)
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("all %v: %s", all, diff)
		}
	}
}

// TestDescribeHealth: the cause on top, what is wrong with nodes, and what
// their probes found.
func TestDescribeHealth(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 1, 13, 0, time.Local)
	c := api.ClusterStatus{
		Name: "b", State: "degraded", Message: "b-1: job failed",
		Cause:      &api.Cause{Message: "head on a-1 is failed", Next: "read its output", Since: time.Now().Add(-72 * time.Second), Follows: 19},
		Conditions: []api.Condition{{Type: api.ConditionMemoryPressure, Status: true, Reason: api.ReasonUnknown, Message: "b-1: no answer"}},
		Nodes: []api.NodeStatus{{
			Name: "b-1", State: "ready",
			Conditions: []api.Condition{
				{Type: api.ConditionDiskPressure, Status: true, Reason: "LittleRoom", Message: "1.0 GiB free"},
				{Type: api.ConditionMemoryPressure, Status: true, Reason: api.ReasonUnknown, Message: "no answer"},
				{Type: api.ConditionClockSkew, Reason: "InTime"},
				{Type: api.ConditionNameResolution, Status: true, Reason: "Resolved"},
			},
			Services: []api.ServiceStatus{{Name: "job", State: "ready", Probes: []api.Probing{
				{Kind: "ready", EverySeconds: 0.2, Since: at, Asked: 2, Failed: 1, P50Millis: 1, P95Millis: 2, Results: []api.ProbeResult{
					{Message: "refuses", First: at, Last: at, Count: 1, Millis: 2}, {OK: true, First: at, Last: at, Count: 1, Millis: 1},
				}},
				{Kind: "health", EverySeconds: 5, Since: at, Asked: 233, Failed: 2, P50Millis: 1.21, P95Millis: 4, Results: []api.ProbeResult{
					{OK: true, First: at, Last: at.Add(time.Minute), Count: 200, Millis: 1}, {Message: "10.0.0.1:1 refuses", First: at.Add(time.Minute), Last: at.Add(65 * time.Second), Count: 2, Millis: 0.5},
				}},
			}}},
		}},
	}
	const health = "    health of job: every 5 s, 233 asked and 2 failed since 12:01:13, p50 1.2 ms, p95 4.0 ms"
	for wide, want := range map[bool][]string{
		false: {
			"Cause: head on a-1 is failed (since 1m12s)\nNext:  read its output\n       and 19 more because of it\nb is degraded: b-1: job failed\n",
			"MemoryPressure  unknown  Unknown  b-1: no answer\n",
			"  DiskPressure true: 1.0 GiB free\n  MemoryPressure unknown: no answer\n",
			health + "; failed last at 12:02:18, 2 times in a row: 10.0.0.1:1 refuses\n",
		},
		true: {
			"    ready of job: every 0.2 s, 2 asked and 1 failed since 12:01:13, p50 1.0 ms, p95 2.0 ms\n      12:01:13 to 12:01:13  1 time, the last in 2.0 ms: refuses\n",
			health + "\n      12:01:13 to 12:02:13  200 times, the last in 1.0 ms: held\n      12:02:13 to 12:02:18  2 times, the last in 0.5 ms: 10.0.0.1:1 refuses\n",
		},
	} {
		var out strings.Builder
		printCluster(&out, c, wide)
		for _, piece := range want {
			if !strings.Contains(out.String(), piece) {
				t.Errorf("wide %v lacks\n%s\nin\n%s", wide, piece, out.String())
			}
		}
		if text := out.String(); strings.Contains(text, "ClockSkew") || strings.Contains(text, "NameResolution") || !wide && strings.Contains(text, "ready of job") {
			t.Errorf("wide %v tells what is well:\n%s", wide, text)
		}
	}
}

// TestWarnings: a ready cluster with something wrong around it is said to be
// both.
func TestWarnings(t *testing.T) {
	var out strings.Builder
	printClusters(&out, []api.ClusterStatus{{
		Name: "b", Stack: "s", State: "ready",
		Conditions: []api.Condition{
			{Type: api.ConditionReady, Status: true},
			{Type: api.ConditionAgentsConnected, Status: true},
			{Type: api.ConditionDiskPressure, Status: true, Reason: "LittleRoom", Message: "b-1: 1.0 GiB free"},
			{Type: api.ConditionNameResolution, Reason: "NotResolved", Message: "b-1: x does not resolve"},
			{Type: api.ConditionMemoryPressure, Reason: api.ReasonUnknown, Message: "b-1: no answer"},
		},
	}}, false)
	want := "\nb is ready, but DiskPressure: b-1: 1.0 GiB free\n\nb is ready, but NameResolution: b-1: x does not resolve\n\nb is ready; MemoryPressure is not known: b-1: no answer\n"
	if got := out.String(); !strings.HasSuffix(got, want) {
		t.Errorf("%q, want it to end with %q", got, want)
	}
}
