package marathon_test

import (
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/mesos"
)

// ceiling is the most instances that may be active, as users are promised.
func ceiling(n int, minimum, over float64) int {
	most := max(n, int(math.Floor(float64(n)*(1+over)+1e-9)))
	if int(math.Ceil(float64(n)*minimum-1e-9)) == most {
		most = n + 1
	}
	return most
}

// watch samples what the workers really have until it is stopped, and says when
// more is alive than may be.
func (c *cell) watch(most int) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			alive := 0
			for _, state := range c.truth() {
				if !state.Terminal() {
					alive++
				}
			}
			if alive > most {
				c.t.Errorf("%d tasks are alive; at most %d may be", alive, most)
				return
			}
			select {
			case <-done:
				return
			case <-time.After(200 * time.Microsecond):
			}
		}
	}()
	return func() { close(done); <-ended }
}

// TestRolling replaces instances within the bounds of each strategy, as seen in
// the events and on the workers.
func TestRolling(t *testing.T) {
	for _, tc := range []struct {
		n             int
		minimum, over float64
	}{
		{4, 1, 1}, {4, 1, 0}, {4, 0.5, 0}, {5, 0.5, 0.2}, {3, 0, 0}, {1, 1, 0}, {6, 0.8, 0.1},
	} {
		t.Run(fmt.Sprint(tc), func(t *testing.T) {
			c := newCell(t, cellConfig{start: 2 * time.Millisecond})
			c.run("/a", fmt.Sprintf(`"instances": %d, "upgradeStrategy": {"minimumHealthCapacity": %v, "maximumOverCapacity": %v}`, tc.n, tc.minimum, tc.over))
			old := c.taskIDs("/a")
			s := c.listen("?event_type=instance_changed_event&event_type=deployment_success")
			stop := c.watch(ceiling(tc.n, tc.minimum, tc.over))
			id := c.deploy(http.MethodPut, "/v2/apps/a", `{"cmd": "sleep 2"}`)
			es := s.until(c, "the deployment is through", through(id))
			stop()
			running, active, least := map[string]bool{}, map[string]bool{}, tc.n
			for _, id := range old {
				instance, _, _ := strings.Cut(id, "._app")
				running[instance], active[instance] = true, true
			}
			for _, e := range es {
				id, _ := e.data["instanceId"].(string)
				switch e.data["condition"] {
				case "Provisioned":
					active[id] = true
				case "Running":
					running[id] = true
				case "Killed":
					delete(running, id)
					delete(active, id)
				}
				least = min(least, len(running))
				if most := ceiling(tc.n, tc.minimum, tc.over); len(active) > most {
					t.Errorf("%d instances are active; at most %d may be", len(active), most)
				}
			}
			if want := int(math.Ceil(float64(tc.n) * tc.minimum)); least < want {
				t.Errorf("only %d instances ran at a time; %d must", least, want)
			}
			now := c.taskIDs("/a")
			if len(now) != tc.n || slices.ContainsFunc(now, func(id string) bool { return slices.Contains(old, id) }) {
				t.Errorf("tasks are %v, they were %v", now, old)
			}
		})
	}
}

// TestFailingVersion: a version that fails backs off, its deployment stalls and
// says why; taken back, the old instances are untouched.
func TestFailingVersion(t *testing.T) {
	var failures atomic.Int32
	c := newCell(t, cellConfig{deadline: 300 * time.Millisecond, outcome: func(info mesos.TaskInfo) (mesos.TaskState, string) {
		if info.Command.Value == "bad" {
			failures.Add(1)
			return mesos.TaskFailed, "image nowhere/none:1 is not there"
		}
		return mesos.TaskRunning, ""
	}})
	c.run("/a", `"instances": 3`)
	old := c.taskIDs("/a")
	s := c.listen("?event_type=deployment_step_failure&event_type=deployment_failed&event_type=deployment_success")
	d := c.deploy(http.MethodPut, "/v2/apps/a", `{"cmd": "bad", "backoffSeconds": 3600, "maxLaunchDelaySeconds": 3600}`)
	var list []struct{ ID, Stalled string }
	c.until("the deployment stalls", func() bool {
		c.ok(http.MethodGet, "/v2/deployments", "", &list)
		return len(list) == 1 && list[0].Stalled != ""
	})
	want := regexp.MustCompile("^/a: no progress for [0-9]+ s: 0 of 3 instances of the new version running; 3 more wait for a worker; the last instance failed: image nowhere/none:1 is not there$")
	if !want.MatchString(list[0].Stalled) {
		t.Errorf("it stalls with %q, wanted %s", list[0].Stalled, want)
	}
	if got := c.app("/a").LastTaskFailure; got == nil || got.Message != "image nowhere/none:1 is not there" {
		t.Errorf("the last failure is %+v", got)
	}
	if n := failures.Load(); n > 3 {
		t.Errorf("it failed %d times though it backs off", n)
	}
	_, queue := c.call(http.MethodGet, "/v2/queue", "")
	if !strings.Contains(queue, `"delay":{"timeLeftSeconds":3600,"overdue":false}`) && !strings.Contains(queue, `"delay":{"timeLeftSeconds":3599,"overdue":false}`) {
		t.Error(queue)
	}
	back := c.deploy(http.MethodDelete, "/v2/deployments/"+d, "")
	c.until("all is back", func() bool { return c.settled("/a") })
	if diff := cmp.Diff(old, c.taskIDs("/a")); diff != "" {
		t.Error(diff)
	}
	var kinds []string
	for _, e := range s.until(c, "the end", has("deployment_success")) {
		kinds = append(kinds, e.kind)
		if e.kind == "deployment_success" && e.data["id"] != back {
			t.Errorf("%v is through, not %s", e.data["id"], back)
		}
	}
	if diff := cmp.Diff([]string{"deployment_step_failure", "deployment_failed", "deployment_success"}, kinds); diff != "" {
		t.Error(diff)
	}
	if got := c.cmd("/a"); got != "sleep 1000" {
		t.Errorf("cmd is %q", got)
	}
}

// deploy makes a call that deploys, and returns the deployment's id.
func (c *cell) deploy(method, path, body string) string {
	c.t.Helper()
	var d struct{ DeploymentID string }
	c.ok(method, path, body, &d)
	return d.DeploymentID
}

// slow makes the instances of one command start never.
func slow(command string) func(mesos.TaskInfo) (mesos.TaskState, string) {
	return func(info mesos.TaskInfo) (mesos.TaskState, string) {
		if info.Command.Value == command {
			return mesos.TaskStarting, ""
		}
		return mesos.TaskRunning, ""
	}
}

// TestCancel: cancelled with force, nothing more is replaced and nothing taken back;
// nothing is left over either.
func TestCancel(t *testing.T) {
	c := newCell(t, cellConfig{outcome: slow("slow")})
	c.run("/a", `"instances": 4, "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}`)
	old := c.taskIDs("/a")
	d := c.deploy(http.MethodPut, "/v2/apps/a", `{"cmd": "slow"}`)
	c.until("half is replaced", func() bool {
		starting := 0 // as the worker says: before that it would still say it after it was told to run them
		for _, task := range c.app("/a").Tasks {
			if task.State == "TASK_STARTING" {
				starting++
			}
		}
		return c.app("/a").TasksRunning == 2 && starting == 2
	})
	half := c.taskIDs("/a")
	got := c.ask(http.MethodDelete, "/v2/deployments/"+d+"?force=true", "")
	if got.code != 202 || got.body != "" {
		t.Errorf("%d %s", got.code, got.body)
	}
	for _, id := range half { // what starts now is as good as what was there
		if !slices.Contains(old, id) {
			c.end(id, mesos.TaskRunning, "")
		}
	}
	c.until("all run", func() bool { return c.settled("/a") })
	if diff := cmp.Diff(half, c.taskIDs("/a")); diff != "" {
		t.Error(diff)
	}
	if got := c.cmd("/a"); got != "slow" {
		t.Errorf("cmd is %q: it was taken back", got)
	}
	// The same once more is meant now: the rest is replaced.
	c.ok(http.MethodPut, "/v2/apps/a", `{"cmd": "slow"}`, nil)
	c.until("the rest is replaced", func() bool {
		n := 0
		for _, task := range c.app("/a").Tasks {
			if task.State == "TASK_STARTING" {
				n++
				c.end(task.ID, mesos.TaskRunning, "")
			}
		}
		return n == 0 && c.settled("/a", old...)
	})
}

// TestConflicts: what is under way is in the way, unless by force.
func TestConflicts(t *testing.T) {
	c := newCell(t, cellConfig{outcome: slow("slow"), most: 2})
	c.run("/g/a", `"instances": 1`)
	first := c.deploy(http.MethodPut, "/v2/apps/g/a", `{"cmd": "slow"}`)
	locked := `{"message":"App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.","deployments":[{"id":"` + first + `"}]}`
	for _, x := range []exchange{
		{http.MethodPut, "/v2/apps/g/a", `{"mem": 48}`, 409, locked},
		{http.MethodPatch, "/v2/apps/g/a", `{"mem": 48}`, 409, locked},
		{http.MethodPut, "/v2/apps", `[{"id": "/g/a", "mem": 48}]`, 409, locked},
		{http.MethodPost, "/v2/apps/g/a/restart", "", 409, locked},
		{http.MethodDelete, "/v2/apps/g/a?force=false", "", 409, locked},
		{http.MethodPut, "/v2/groups/g", `{"scaleBy": 2}`, 409, locked},
		{http.MethodDelete, "/v2/groups/g", "", 409, locked},
		{http.MethodDelete, "/v2/apps/g/a/tasks?scale=true", "", 409, locked},
		{http.MethodPut, "/v2/apps/g/a?dryRun=true", `{"mem": 48}`, 200, `{"steps":[{"actions":[{"action":"RestartApplication","app":"/g/a"}]}]}`},
	} {
		if code, body := c.call(x.method, x.path, x.body); code != x.code || body != x.answer {
			t.Errorf("%s %s: %d %s", x.method, x.path, code, body)
		}
	}
	c.ok(http.MethodPost, "/v2/apps", `{"id": "/b", "cmd": "slow", "cpus": 0.1}`, nil)
	if code, body := c.call(http.MethodPost, "/v2/apps", `{"id": "/c", "cmd": "x"}`); code != 403 ||
		body != `{"message":"Too many deployments run. At most 2 of a project may run at once. Wait for one to end, or cancel one with DELETE /v2/deployments/<DEPLOYMENT_ID>."}` {
		t.Errorf("%d %s", code, body)
	}
	for n, want := range []int{201, 201, 403} { // each project has as many of its own
		id := fmt.Sprintf("/shop/%d", n)
		if got := c.ask(http.MethodPost, "/v2/apps", `{"id": "`+id+`", "cmd": "slow"}`, as("shop:operator")); got.code != want {
			t.Errorf("another project's %s: %d %s", id, got.code, got.body)
		}
	}
	c.ok(http.MethodPut, "/v2/apps/g/a?force=true", `{"cmd": "sleep 3"}`, nil)
	c.until("the forced one is through", func() bool { return c.settled("/g/a") && c.cmd("/g/a") == "sleep 3" })
	if code, body := c.call(http.MethodDelete, "/v2/deployments/"+first, ""); code != 404 || body != `{"message":"DeploymentPlan `+first+` does not exist"}` {
		t.Errorf("%d %s", code, body)
	}
	c.ok(http.MethodDelete, "/v2/groups/shop?force=true", "", nil)
	c.ok(http.MethodDelete, "/v2/apps/b", "", nil) // takes its deployment's place
	c.until("all is quiet", func() bool { _, body := c.call(http.MethodGet, "/v2/deployments", ""); return body == "[]" })
}

// TestRestart replaces every instance of the same configuration; taken back in the
// middle, what was not replaced stays.
func TestRestart(t *testing.T) {
	var held atomic.Bool
	c := newCell(t, cellConfig{outcome: func(mesos.TaskInfo) (mesos.TaskState, string) {
		if held.Load() {
			return mesos.TaskStarting, ""
		}
		return mesos.TaskRunning, ""
	}})
	c.run("/a", `"instances": 2, "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0}`)
	old := c.taskIDs("/a")
	c.ok(http.MethodPost, "/v2/apps/a/restart", "", nil)
	c.until("both are replaced", func() bool {
		return c.settled("/a", old...)
	})
	old = c.taskIDs("/a")
	held.Store(true)
	d := c.deploy(http.MethodPost, "/v2/apps/a/restart", "")
	c.until("a new one is on its way", func() bool { return c.app("/a").TasksStaged == 1 })
	_, dry := c.call(http.MethodDelete, "/v2/deployments/"+d+"?dryRun=true", "")
	if dry != `{"steps":[{"actions":[{"action":"RestartApplication","app":"/a"}]}]}` {
		t.Error(dry)
	}
	c.deploy(http.MethodDelete, "/v2/deployments/"+d, "")
	c.until("the new one is gone", func() bool { return c.settled("/a") })
	if diff := cmp.Diff(old, c.taskIDs("/a")); diff != "" {
		t.Error(diff)
	}
}

// TestRollbackOfRemoval brings back apps that are gone already.
func TestRollbackOfRemoval(t *testing.T) {
	c := newCell(t, cellConfig{outcome: slow("slow")})
	c.run("/g/a", `"instances": 2`)
	c.run("/g/b", `"instances": 1`)
	// a goes; b gets a version that never starts, so the deployment stays.
	d := c.deploy(http.MethodPut, "/v2/groups/g", `{"apps": [{"id": "b", "cmd": "slow", "cpus": 0.1, "mem": 32}]}`)
	c.until("a is gone", func() bool { return len(c.truth()) == 2 })
	c.deploy(http.MethodDelete, "/v2/deployments/"+d, "")
	c.until("both are back", func() bool {
		code, _ := c.call(http.MethodGet, "/v2/apps/g/a", "")
		return code == 200 && c.settled("/g/a") && c.settled("/g/b") && c.cmd("/g/b") == "sleep 1000"
	})
	if n := c.app("/g/a").TasksRunning; n != 2 {
		t.Errorf("%d instances of a run", n)
	}
}
