package marathon_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/mesos"
)

// TestPlaces puts instances where their constraints allow. Workers 1 and 3 are in
// rack r1, 2 and 4 in rack r2.
func TestPlaces(t *testing.T) {
	for _, tc := range []struct {
		constraint string
		n          int
		want       string // instances by host, "|" between what is right
	}{
		{`["hostname", "UNIQUE"]`, 4, "1 1 1 1"},
		{`["@hostname", "MAX_PER", "2"]`, 8, "2 2 2 2"},
		{`["rack", "GROUP_BY"]`, 4, "1 1 1 1"},
		{`["rack", "GROUP_BY", "2"]`, 2, "1 1 0 0|1 0 0 1|0 1 1 0|0 0 1 1"},
		{`["hostname", "CLUSTER", "worker-3"]`, 3, "0 0 3 0"},
		{`["rack", "CLUSTER"]`, 4, "2 0 2 0|0 2 0 2"},
		{`["hostname", "LIKE", "worker-[23]"]`, 4, "0 2 2 0"},
		{`["rack", "UNLIKE", "r1"]`, 2, "0 1 0 1"},
		{`["rack", "IS", "r2"]`, 2, "0 1 0 1"},
	} {
		t.Run(tc.constraint, func(t *testing.T) {
			t.Parallel()
			c := newCell(t, cellConfig{workers: 4})
			c.run("/a", fmt.Sprintf(`"instances": %d, "constraints": [%s]`, tc.n, tc.constraint))
			on := map[string]int{}
			for _, task := range c.app("/a").Tasks {
				on[task.Host]++
			}
			got := fmt.Sprint(on["worker-1"], on["worker-2"], on["worker-3"], on["worker-4"])
			if !slices.Contains(strings.Split(tc.want, "|"), got) {
				t.Errorf("instances are %s on the workers, wanted %s", got, tc.want)
			}
		})
	}
}

// TestUniqueReplaced: an app with one instance a host is replaced on full hosts too.
func TestUniqueReplaced(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.run("/a", `"instances": 2, "constraints": [["hostname", "UNIQUE"]]`)
	old := c.taskIDs("/a")
	c.ok(http.MethodPut, "/v2/apps/a", `{"cmd": "sleep 2"}`, nil)
	c.until("both are replaced", func() bool {
		return c.settled("/a", old...)
	})
}

type queueItem struct {
	Count int
	Role  string
	Delay struct {
		TimeLeftSeconds int
		Overdue         bool
	}
	Reasons   []string
	Processed struct {
		Processed int `json:"processedOffersCount"`
		Unused    int `json:"unusedOffersCount"`
		Last      []struct {
			Reason              string
			Declined, Processed int
		} `json:"rejectSummaryLastOffers"`
		Attempt []struct {
			Reason              string
			Declined, Processed int
		} `json:"rejectSummaryLaunchAttempt"`
		UnusedAt string `json:"lastUnusedOfferAt"`
	} `json:"processedOffersSummary"`
	Offers []struct{ Reason []string } `json:"lastUnusedOffers"`
	App    struct{ ID string }
}

func (c *cell) queue(query string) []queueItem {
	c.t.Helper()
	var body struct{ Queue []queueItem }
	c.ok(http.MethodGet, "/v2/queue"+query, "", &body)
	return body.Queue
}

// TestImpossible: what cannot be placed is taken, waits, and says of every worker
// why it does not take it.
func TestImpossible(t *testing.T) {
	for _, tc := range []struct {
		members string
		reasons []string
		reject  string
	}{
		{`"cpus": 100`, []string{"worker-1 (127.0.0.1): needs 100 cpus; 8 are free", "worker-2 (127.0.0.1): needs 100 cpus; 8 are free"}, "InsufficientCpus"},
		{`"mem": 20000`, []string{"worker-1 (127.0.0.1): needs 20000 MB of memory; 16384 are free", "worker-2 (127.0.0.1): needs 20000 MB of memory; 16384 are free"}, "InsufficientMemory"},
		{`"constraints": [["rack", "LIKE", "r[3-9]"]]`, []string{"worker-1 (127.0.0.1): rack LIKE r[3-9]: has r1", "worker-2 (127.0.0.1): rack LIKE r[3-9]: has r2"}, "UnfulfilledConstraint"},
		{`"portDefinitions": [{"port": 80}], "requirePorts": true`, []string{"worker-1 (127.0.0.1): needs port 80; it is not free", "worker-2 (127.0.0.1): needs port 80; it is not free"}, "InsufficientPorts"},
	} {
		t.Run(tc.members, func(t *testing.T) {
			t.Parallel()
			c := newCell(t, cellConfig{})
			c.ok(http.MethodPost, "/v2/apps", `{"id": "/a", "cmd": "x", "instances": 2, `+tc.members+`}`, nil)
			var q queueItem
			c.until("both workers have refused", func() bool {
				for _, q = range c.queue("?embed=lastUnusedOffers") {
				}
				return len(q.Reasons) == 2
			})
			if diff := cmp.Diff(tc.reasons, q.Reasons); diff != "" {
				t.Error(diff)
			}
			if q.Count != 2 || q.Role != "*" || !q.Delay.Overdue || q.App.ID != "/a" || q.Processed.Unused < 2 || q.Processed.Processed < 2 || q.Processed.UnusedAt == "" {
				t.Errorf("%+v", q)
			}
			if len(q.Offers) != 2 || q.Offers[0].Reason[0] != tc.reject {
				t.Errorf("offers %+v", q.Offers)
			}
			for n, r := range q.Processed.Last {
				if declined := map[bool]int{true: 2}[r.Reason == tc.reject]; r.Declined != declined || q.Processed.Attempt[n].Declined < declined {
					t.Errorf("%+v", r)
				}
			}
			if len(q.Processed.Last) != 10 {
				t.Errorf("%d lines", len(q.Processed.Last))
			}
			// Scaled to nothing, it waits no more.
			c.ok(http.MethodPut, "/v2/apps/a?force=true", `{"instances": 0}`, nil)
			c.until("nothing waits", func() bool { return c.settled("/a") && len(c.queue("")) == 0 })
		})
	}
}

// TestRoom: what waits begins as soon as there is room.
func TestRoom(t *testing.T) {
	c := newCell(t, cellConfig{workers: 1})
	c.run("/big", `"instances": 1, "constraints": [["hostname", "UNIQUE"]], "disk": 60000`)
	c.ok(http.MethodPost, "/v2/apps", `{"id": "/next", "cmd": "x", "cpus": 0.1, "disk": 60000}`, nil)
	c.until("it waits", func() bool { q := c.queue(""); return len(q) == 1 && len(q[0].Reasons) == 1 })
	c.ok(http.MethodDelete, "/v2/apps/big", "", nil)
	c.until("it runs", func() bool { return c.settled("/next") })
}

// TestBackoff: what fails begins again after its delay, which can be called off.
func TestBackoff(t *testing.T) {
	var good atomic.Bool
	c := newCell(t, cellConfig{outcome: func(mesos.TaskInfo) (mesos.TaskState, string) {
		if good.Load() {
			return mesos.TaskRunning, ""
		}
		return mesos.TaskFailed, "it broke"
	}})
	c.ok(http.MethodPost, "/v2/apps", `{"id": "/a", "cmd": "x", "cpus": 0.1, "backoffSeconds": 1000, "maxLaunchDelaySeconds": 2000}`, nil)
	c.until("it is delayed", func() bool {
		q := c.queue("")
		return len(q) == 1 && q[0].Delay.TimeLeftSeconds > 990 && !q[0].Delay.Overdue
	})
	// The next failure doubles nothing but multiplies by the factor.
	if code, body := c.call(http.MethodDelete, "/v2/queue/a/delay?dryRun=true", ""); code != 204 || body != "" {
		t.Errorf("%d %s", code, body)
	}
	good.Store(true)
	if got := c.app("/a").TasksRunning; got != 0 {
		t.Errorf("%d run", got)
	}
	if code, body := c.call(http.MethodDelete, "/v2/queue/a/delay", ""); code != 204 || body != "" {
		t.Errorf("%d %s", code, body)
	}
	c.until("it runs", func() bool { return c.settled("/a") })
	if got := c.app("/a").LastTaskFailure; got == nil || got.Message != "it broke" {
		t.Errorf("%+v", got)
	}
	// A delay that is over by itself.
	c.ok(http.MethodPut, "/v2/apps/a", `{"backoffSeconds": 1}`, nil)
	c.until("the new version runs", func() bool { return c.settled("/a") })
	c.end(c.taskIDs("/a")[0], mesos.TaskFailed, "once more")
	c.until("it is delayed", func() bool { return len(c.queue("")) == 1 })
	c.until("it runs again", func() bool { return c.settled("/a") && len(c.taskIDs("/a")) == 1 })
}

// TestKilling ends tasks in each of the ways there are.
func TestKilling(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.run("/g/a", `"instances": 4`)
	ids := c.taskIDs("/g/a")
	type tasks struct {
		Tasks []struct{ ID, AppID, Host, State string }
	}
	var shown tasks
	killed := func(method, path, body string, want ...string) {
		t.Helper()
		shown = tasks{}
		c.ok(method, path, body, &shown)
		var got []string
		for _, task := range shown.Tasks {
			got = append(got, task.ID)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s: %s", method, path, diff)
		}
	}
	killed(http.MethodDelete, "/v2/apps/g/a/tasks?dryRun=true", "", ids...)
	killed(http.MethodPost, "/v2/tasks/delete?dryRun=true", `{"ids": ["`+ids[0]+`"]}`, ids[0])
	if diff := cmp.Diff(ids, c.taskIDs("/g/a")); diff != "" {
		t.Fatal(diff)
	}
	var host string
	for _, task := range c.app("/g/a").Tasks {
		host = task.Host
	}
	killed(http.MethodPost, "/v2/tasks/delete", `{"ids": ["`+ids[0]+`", "no.instance-0._app.1", "`+ids[0]+`"]}`, ids[0])
	c.until("it is replaced", func() bool { return c.settled("/g/a", ids[0]) })

	var there []string
	for _, task := range c.app("/g/a").Tasks {
		if task.Host == host {
			there = append(there, task.ID)
		}
	}
	slices.Sort(there)
	killed(http.MethodDelete, "/v2/apps/g/a/tasks?host="+host+"&wipe=true", "", there...)
	c.until("they are replaced", func() bool {
		return c.settled("/g/a", there...)
	})

	ids = c.taskIDs("/g/a")
	c.exchanges([]exchange{
		{http.MethodDelete, "/v2/apps/g/a/tasks/" + ids[0] + "?scale=true&dryRun=true", "", 200, `{"steps":[{"actions":[{"action":"ScaleApplication","app":"/g/a"}]}]}`},
		{http.MethodDelete, "/v2/apps/g/a/tasks/" + ids[0] + "?scale=true", "", 200, deployed},
		{http.MethodDelete, "/v2/apps/g/a/tasks/no.instance-0._app.1", "", 404, `{"message":"Task 'no.instance-0._app.1' does not exist"}`},
		{http.MethodPost, "/v2/tasks/delete", `{"ids": ["what"]}`, 400, `{"message":"Invalid task id 'what'"}`},
		{http.MethodPost, "/v2/tasks/delete", `{"ids": 7}`, 422, `{"message":"Invalid JSON","details":[{"path":"/ids","errors":["error.expected.jsarray"]}],"findings":[{"pointer":"/ids","message":"it must be a list of task ids","remedy":"Write {\"ids\": [\"<TASK_ID>\"]}."}]}`},
		{http.MethodPost, "/v2/tasks/delete", `{`, 400, `{"message":"Invalid JSON",…`},
		{http.MethodPost, "/v2/tasks/delete?scale=true&wipe=true", `{"ids": []}`, 400, `{"message":"You cannot use scale and wipe at the same time."}`},
		{http.MethodPost, "/v2/tasks/delete", `{"ids": []}`, 200, `{"tasks":[]}`},
	})
	c.until("one is gone for good", func() bool { return c.settled("/g/a") && c.app("/g/a").Instances == 3 })
	if diff := cmp.Diff(ids[1:], c.taskIDs("/g/a")); diff != "" {
		t.Error(diff)
	}
	c.ok(http.MethodPost, "/v2/tasks/delete?scale=True", `{"ids": ["`+ids[1]+`", "`+ids[2]+`"]}`, nil)
	c.until("two more are gone", func() bool { return c.settled("/g/a") && c.app("/g/a").Instances == 1 })
	if diff := cmp.Diff(ids[3:], c.taskIDs("/g/a")); diff != "" {
		t.Error(diff)
	}
}

// TestTasks lists them with service ports, by state.
func TestTasks(t *testing.T) {
	c := newCell(t, cellConfig{outcome: slow("slow")})
	c.run("/g/a", `"instances": 1`)
	c.ok(http.MethodPost, "/v2/apps", `{"id": "/g/b", "cmd": "slow", "cpus": 0.1}`, nil)
	c.until("b begins", func() bool { return len(c.truth()) == 2 })
	for path, want := range map[string]int{
		"/v2/tasks": 2, "/v2/tasks?status=running": 1, "/v2/tasks?status[]=staging&status=running": 2, "/v2/tasks?status=odd": 2,
		"/v2/apps/g/a/tasks": 1, "/v2/apps/g/*/tasks": 2, "/v2/apps/*/tasks": 2,
	} {
		var body struct{ Tasks []json.RawMessage }
		if c.ok(http.MethodGet, path, "", &body); len(body.Tasks) != want {
			t.Errorf("%s: %d tasks, wanted %d", path, len(body.Tasks), want)
		}
	}
	_, body := c.call(http.MethodGet, "/v2/apps/g/a/tasks", "")
	want := `{"tasks":[{"id":"g_a.instance-UUID._app.1","appId":"/g/a","host":"127.0.0.1","worker":"worker-N","ipAddresses":[],"ports":[PORT],"slaveId":"UUID","state":"TASK_RUNNING","stagedAt":"TIME","startedAt":"TIME","version":"TIME","localVolumes":[],"role":"*"}]}`
	got := scrub(body)
	for _, n := range []string{"1", "2"} {
		got = strings.ReplaceAll(got, `"worker-`+n+`"`, `"worker-N"`)
	}
	got = portPattern.ReplaceAllString(got, `"ports":[PORT]`)
	if got != want {
		t.Errorf("%s\nwanted\n%s", got, want)
	}
	if _, body = c.call(http.MethodGet, "/v2/tasks?status=running", ""); !strings.Contains(body, `"servicePorts":[10000]`) {
		t.Error(body)
	}
}
