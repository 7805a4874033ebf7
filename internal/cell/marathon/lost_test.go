package marathon_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/mesos"

	"howdah.dev/howdah/internal/cell/master"
)

// quick are a master's clocks by which a worker is lost soon, and not when the machine is busy for a moment.
func quick() master.Timings {
	return master.Timings{Cycle: 20 * time.Millisecond, Ping: 200 * time.Millisecond, Unreachable: 3 * time.Second}
}

// on returns an app's tasks by the host they are on.
func (c *cell) on(id string) map[string][]string {
	out := map[string][]string{}
	for _, task := range c.app(id).Tasks {
		out[task.Host] = append(out[task.Host], task.ID)
	}
	return out
}

// states returns how many tasks the API shows in each state.
func (c *cell) states(id string) map[string]int {
	out := map[string]int{}
	for _, task := range c.app(id).Tasks {
		out[task.State]++
	}
	return out
}

// TestLostWorker: what was on it is replaced, kept or waited for, as the app says.
func TestLostWorker(t *testing.T) {
	const spread = `"constraints": [["hostname", "GROUP_BY"]]`
	for _, tc := range []struct {
		strategy  string
		away      map[string]int // states while the worker is away
		returns   bool           // the lost task is among those at the end
		resources string
	}{
		{`{"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}`, map[string]int{"TASK_RUNNING": 2}, false, ""},
		{`{"inactiveAfterSeconds": 0, "expungeAfterSeconds": 3600}`, map[string]int{"TASK_RUNNING": 2, "TASK_UNREACHABLE": 1}, false, ""},
		{`{"inactiveAfterSeconds": 1, "expungeAfterSeconds": 2}`, map[string]int{"TASK_RUNNING": 2}, false, ""},
		{`"disabled"`, map[string]int{"TASK_RUNNING": 1, "TASK_UNREACHABLE": 1}, true, ""},
		// Nobody has room for another: the lost one is welcome.
		{`{"inactiveAfterSeconds": 0, "expungeAfterSeconds": 3600}`, map[string]int{"TASK_RUNNING": 1, "TASK_UNREACHABLE": 1}, true, "cpus:0.1;mem:100;ports:[31000-31010]"},
	} {
		t.Run(tc.strategy+tc.resources, func(t *testing.T) {
			t.Parallel()
			c := newCell(t, cellConfig{timings: quick(), resources: tc.resources})
			c.run("/a", fmt.Sprintf(`"instances": 2, "unreachableStrategy": %s, %s`, tc.strategy, spread))
			lost := c.on("/a")["worker-1"]
			if len(lost) != 1 {
				t.Fatalf("tasks are on %v", c.on("/a"))
			}
			c.plugs[0]()
			c.until("the worker is away", func() bool {
				return cmp.Equal(tc.away, c.states("/a")) && (tc.away["TASK_UNREACHABLE"] == 1 || !slices.Contains(c.taskIDs("/a"), lost[0]))
			})
			c.plug(0)
			c.until("the worker is back", func() bool {
				truth := c.truth()
				return c.settled("/a") && len(truth) == 2 && len(c.taskIDs("/a")) == 2
			})
			truth := c.truth()
			if _, alive := truth[lost[0]]; alive != tc.returns {
				t.Errorf("alive are %v; %s was lost", truth, lost[0])
			}
			for _, id := range c.taskIDs("/a") {
				if truth[id] != mesos.TaskRunning {
					t.Errorf("the API shows %s, the workers run %v", id, truth)
				}
			}
		})
	}
}

// TestLostWhileKilled: an update does not wait for what a lost worker was told to end.
func TestLostWhileKilled(t *testing.T) {
	c := newCell(t, cellConfig{timings: quick()})
	c.run("/a", `"instances": 2, "constraints": [["hostname", "GROUP_BY"]], "unreachableStrategy": "disabled"`)
	c.plugs[0]()
	c.ok(http.MethodPut, "/v2/apps/a", `{"instances": 0}`, nil)
	c.until("nothing is left of it", func() bool { return c.settled("/a") && len(c.taskIDs("/a")) == 0 })
	c.plug(0)
	c.until("what came back is ended", func() bool { return len(c.truth()) == 0 })
}
