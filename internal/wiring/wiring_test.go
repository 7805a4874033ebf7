package wiring

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/adapter/storm"
	"howdah.dev/howdah/internal/adapter/yarn"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// TestTyped: errors of programs get the kinds users are told of.
func TestTyped(t *testing.T) {
	other := errors.New("other")
	for _, tt := range []struct{ err, want error }{
		{fmt.Errorf("x: %w", storm.ErrNotFound), store.ErrNotFound},
		{yarn.ErrNotFound, store.ErrNotFound},
		{storm.ErrInvalid, cluster.ErrInvalid},
		{storm.ErrUnreachable, cluster.ErrBusy},
		{storm.ErrNotLeader, cluster.ErrBusy},
		{yarn.ErrUnreachable, cluster.ErrBusy},
		{other, other},
		{nil, nil},
	} {
		if got := typed(tt.err); !errors.Is(got, tt.want) || !errors.Is(got, tt.err) {
			t.Errorf("%v becomes %v, want %v", tt.err, got, tt.want)
		}
	}
}

// TestJob: an application of YARN as users see it.
func TestJob(t *testing.T) {
	began, ended := time.Unix(100, 0), time.Unix(160, 0)
	at := stack.Bound{Address: "http://127.5.0.14:8088"}
	for _, tt := range []struct {
		name string
		job  yarn.Job
		want api.Workload
	}{
		{
			"running",
			yarn.Job{
				ID: "application_1_1", Name: "count", State: "RUNNING", Outcome: "UNDEFINED", TrackingURL: "http://localhost:8088/proxy/application_1_1/",
				Diagnostics: "AM is launched", Started: began, Containers: 3, MemoryMB: 1536,
				MapReduce: &yarn.MapReduce{Maps: yarn.Phase{Percent: 50}, Reduces: yarn.Phase{Percent: 10}},
			},
			api.Workload{
				ID: "application_1_1", Name: "count", State: "running", URL: "http://127.5.0.14:8088/proxy/application_1_1/", Started: &began,
				Figures: map[string]int64{"containers": 3, "memoryMB": 1536}, Progress: map[string]float64{"map": 50, "reduce": 10},
			},
		},
		{
			"succeeded",
			yarn.Job{ID: "a", State: "FINISHED", Outcome: "SUCCEEDED", Diagnostics: "noise", Started: began, Finished: ended, TrackingURL: "http://127.5.0.14:19888/j"},
			api.Workload{
				ID: "a", State: "succeeded", Final: true, URL: "http://127.5.0.14:19888/j", Started: &began, Finished: &ended,
				Figures: map[string]int64{"containers": 0, "memoryMB": 0},
			},
		},
		{
			"failed",
			yarn.Job{ID: "a", State: "FINISHED", Outcome: "FAILED", Diagnostics: " no input \n"},
			api.Workload{ID: "a", State: "failed", Final: true, Failed: true, Message: "no input", Figures: map[string]int64{"containers": 0, "memoryMB": 0}},
		},
		{
			"killed",
			yarn.Job{ID: "a", State: "KILLED", Outcome: "KILLED"},
			api.Workload{ID: "a", State: "killed", Final: true, Failed: true, Figures: map[string]int64{"containers": 0, "memoryMB": 0}},
		},
	} {
		if diff := cmp.Diff(tt.want, job(tt.job, at)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestLastError: of a topology's components the newest error is told.
func TestLastError(t *testing.T) {
	old, now := time.Unix(100, 0).UTC(), time.Unix(200, 0).UTC()
	topology := storm.Topology{Components: []storm.Component{
		{}, {LastError: &storm.ComponentError{Message: "earlier", At: old}}, {LastError: &storm.ComponentError{Message: "later\n\tat a.b", At: now}},
	}}
	if got := lastError(topology); got != "later (1970-01-01T00:03:20Z)" {
		t.Error(got)
	}
	if got := lastError(storm.Topology{}); got != "" {
		t.Error(got)
	}
}

// TestTable: the clients that stacks name are there, and what they cannot
// answer is an error.
func TestTable(t *testing.T) {
	if _, ok := Probes()["storm"]; !ok {
		t.Error("no probe speaks to storm")
	}
	for _, name := range []string{"yarn", "storm"} {
		if _, ok := Workloads("nobody")[name]; !ok {
			t.Errorf("no client speaks to %s", name)
		}
	}
	if _, err := stormCheck(t.Context(), "127.0.0.1:1", "weather"); err == nil || err.Error() != `cannot answer "weather"` {
		t.Error(err)
	}
	if _, err := stormCheck(t.Context(), "127.0.0.1:1", "leader"); !errors.Is(err, storm.ErrUnreachable) {
		t.Errorf("a nimbus that is not there: %v", err)
	}
}
