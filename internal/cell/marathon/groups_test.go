package marathon_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGroups goes through the verbs of /v2/groups with what each answers.
func TestGroups(t *testing.T) {
	c := newCell(t, cellConfig{})
	const post, put, patch, del, get = http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodGet
	const none = `"instances": 0, "cmd": "x"`
	c.exchanges([]exchange{
		{post, "/v2/groups", `{"id": "/g", "apps": [{"id": "a", ` + none + `}], "groups": [{"id": "in", "apps": [{"id": "b", ` + none + `, "dependencies": ["../a"]}]}]}`, 201, deployed},
		{post, "/v2/groups", `{"id": "/g"}`, 409, `{"message":"Group /g is already created. Use PUT to change this group."}`},
		{post, "/v2/groups", `{"apps": []}`, 409, `{"message":"Group / is already created. Use PUT to change this group."}`},
		{post, "/v2/groups/g/a", `{}`, 409, `{"message":"An app with id [/g/a] already exists."}`},
		{post, "/v2/apps", `{"id": "/g", ` + none + `}`, 409, `{"message":"A group with id [/g] already exists."}`},
		{post, "/v2/groups/g", `{"id": "more", "apps": [{"id": "x", ` + none + `}]}`, 201, deployed},
		{get, "/v2/groups/g/more?embed=group.groups", "", 200, `{"id":"/g/more","groups":[],"dependencies":[],"version":"TIME"}`},
		{get, "/v2/groups/g/apps", "", 200, `{"apps":[{"id":"/g/a",…`},
		{put, "/v2/groups/g?dryRun=true", `{"apps": []}`, 200, `{"steps":[{"actions":[{"action":"StopApplication","app":"/g/a"}]}]}`},
		{put, "/v2/groups/g?dryRun=true", `{"groups": [{"id": "in"}]}`, 200, `{"steps":[{"actions":[{"action":"StopApplication","app":"/g/more/x"}]}]}`},
		{put, "/v2/groups/g?dryRun=true", `{"apps": [{"id": "a", "cmd": "y"}, {"id": "c", ` + none + `}]}`, 200, `{"steps":[{"actions":[{"action":"StartApplication","app":"/g/c"}]},{"actions":[{"action":"RestartApplication","app":"/g/a"},{"action":"ScaleApplication","app":"/g/c"}]}]}`},
		{put, "/v2/groups/g", `{"groups": [{"id": "in"}]}`, 200, deployed},
		{get, "/v2/groups/g/more", "", 404, `{"message":"Group '/g/more' does not exist"}`},
		{put, "/v2/groups/fresh", `{"apps": [{"id": "a", ` + none + `}]}`, 201, deployed},
		{put, "/v2/groups/empty", `{}`, 201, deployed},
		{get, "/v2/groups/empty", "", 200, `{"id":"/empty","apps":[],"groups":[],"pods":[],"dependencies":[],"version":"TIME","enforceRole":false}`},
		{put, "/v2/groups/g", `{"apps": [{"id": "a", ` + none + `, "dependencies": ["in/b"]}]}`, 422, `{"message":"Object is not valid","details":[{"path":"/","errors":["Dependency graph has cyclic dependencies."]}],"findings":[{"pointer":"","message":"dependencies go in a circle: /g/a needs /g/in/b needs /g/a","remedy":"Remove one of these dependencies."}]}`},
		{put, "/v2/groups/g", `{"apps": [{"id": "/elsewhere/a", ` + none + `}]}`, 422, `{"message":"Object is not valid","details":[{"path":"/apps(0)/id","errors":["Identifier is not child of '/g'"]}],…`},
		{put, "/v2/groups/none", `{"scaleBy": 2}`, 422, `{"message":"Object is not valid","details":[{"path":"/","errors":["Group '/none' does not exist"]}],…`},
		{put, "/v2/groups/g", `{"scaleBy": 2, "apps": []}`, 422, `{"message":"Object is not valid","details":[{"path":"/scaleBy","errors":["not allowed in conjunction with other properties."]}],…`},
		{put, "/v2/groups/g", `{"pods": [{"id": "p"}]}`, 422, `-`},
		{patch, "/v2/groups/g", `{"enforceRole": true}`, 200, deployed},
		{get, "/v2/groups/g?embed=group.pods", "", 200, `{"id":"/g","pods":[],"dependencies":[],"version":"TIME","enforceRole":true}`},
		{patch, "/v2/groups/g/in", `{"enforceRole": true}`, 422, `{"message":"Object is not valid","details":[{"path":"/enforceRole","errors":["enforceRole can only be set for top-level groups, and /g/in is not top-level"]}],…`},
		{patch, "/v2/groups/none", `{"enforceRole": true}`, 404, `{"message":"Group '/none' does not exist"}`},
		{del, "/v2/groups/g?dryRun=true", "", 200, `{"steps":[{"actions":[{"action":"StopApplication","app":"/g/a"},{"action":"StopApplication","app":"/g/in/b"}]}]}`},
		{del, "/v2/groups/g", "", 200, deployed},
		{del, "/v2/groups?dryRun=true", "", 200, `{"steps":[{"actions":[{"action":"StopApplication","app":"/fresh/a"}]}]}`},
		{del, "/v2/groups", "", 200, deployed},
		{get, "/v2/groups?embed=group.groups&embed=group.apps", "", 200, `{"id":"/","apps":[],"groups":[],"dependencies":[],"version":"TIME"}`},
	})
	got := c.ask(http.MethodPost, "/v2/groups", `{"id": "/h"}`)
	if got.header.Get("Location") != "/v2/groups/h" || got.header.Get("Marathon-Deployment-Id") == "" {
		t.Error(got.header)
	}
}

// TestGroupShape: nested groups with every part conform to the schema.
func TestGroupShape(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.ok(http.MethodPut, "/v2/groups", `{"groups": [{"id": "shop", "dependencies": ["/store"], "apps": [{"id": "web", "cmd": "x", "cpus": 0.1}],
		"groups": [{"id": "in", "apps": [{"id": "a", "cmd": "x", "instances": 0}]}]}, {"id": "store", "apps": [{"id": "db", "cmd": "x", "cpus": 0.1}]}]}`, nil)
	c.until("all run", func() bool { return c.settled("/shop/web") && c.settled("/store/db") })
	_, body := c.call(http.MethodGet, "/v2/groups?embed=group.groups&embed=group.apps&embed=group.pods&embed=group.apps.tasks&embed=group.apps.counts&embed=group.apps.deployments", "")
	conforms(t, "group.json", body)
	for _, part := range []string{`"tasks":[{"id":"store_db.instance-`, `"tasksRunning":1`, `"deployments":[]`, `"dependencies":["/store"]`, `"id":"/shop/in"`} {
		if !strings.Contains(body, part) {
			t.Errorf("no %s in %s", part, body)
		}
	}
	c.ok(http.MethodPut, "/v2/groups/shop", `{"scaleBy": 2.5}`, nil)
	c.until("3 run", func() bool { return c.settled("/shop/web") && c.app("/shop/web").TasksRunning == 3 })
	if n := c.app("/shop/in/a").Instances; n != 0 {
		t.Errorf("0 × 2.5 is %d", n)
	}
}

// TestLayers: apps begin when those they depend on run, and not before.
func TestLayers(t *testing.T) {
	c := newCell(t, cellConfig{})
	seen := c.listen("?event_type=status_update_event&event_type=deployment_step_success")
	c.ok(http.MethodPut, "/v2/groups/s", `{"apps": [
		{"id": "top", "cmd": "x", "cpus": 0.1, "instances": 2, "dependencies": ["mid"]},
		{"id": "mid", "cmd": "x", "cpus": 0.1, "instances": 2, "dependencies": ["/s/base"]},
		{"id": "base", "cmd": "x", "cpus": 0.1, "instances": 2}]}`, nil)
	c.until("all run", func() bool { return c.settled("/s/top") && c.app("/s/top").TasksRunning == 2 })
	running := map[string]int{}
	for _, e := range seen.until(c, "all run", func(es []event) bool {
		return len(slices.DeleteFunc(slices.Clone(es), func(e event) bool { return e.kind != "status_update_event" })) == 6
	}) {
		if e.kind != "status_update_event" {
			continue
		}
		if needs := map[string]string{"/s/top": "/s/mid", "/s/mid": "/s/base"}[e.app()]; needs != "" && running[needs] < 2 {
			t.Errorf("%s runs when only %d of %s do", e.app(), running[needs], needs)
		}
		running[e.app()]++
	}
	if diff := cmp.Diff(map[string]int{"/s/top": 2, "/s/mid": 2, "/s/base": 2}, running); diff != "" {
		t.Error(diff)
	}
}

// TestHeldLayer: while the first layer is not through, the second stays as it was,
// and its deployment says what it waits for.
func TestHeldLayer(t *testing.T) {
	c := newCell(t, cellConfig{})
	group := func(cmd, cpus string) string {
		return `{"apps": [{"id": "base", "cmd": "` + cmd + `", "cpus": ` + cpus + `, "mem": 32}, {"id": "top", "cmd": "` + cmd + `", "cpus": 0.1, "mem": 32, "instances": 2, "dependencies": ["base"]}]}`
	}
	c.ok(http.MethodPut, "/v2/groups/s", group("one", "0.1"), nil)
	c.until("all run", func() bool { return c.settled("/s/top") && c.settled("/s/base") })
	before := c.taskIDs("/s/top")
	c.ok(http.MethodPut, "/v2/groups/s", group("two", "1000"), nil)
	var list []struct {
		ID          string
		CurrentStep int
		TotalSteps  int
		Waiting     map[string]string
		Current     []struct{ Action, App string } `json:"currentActions"`
		Affected    []string                       `json:"affectedApps"`
	}
	c.until("the first layer waits", func() bool {
		c.ok(http.MethodGet, "/v2/deployments", "", &list)
		return len(list) == 1 && strings.Contains(list[0].Waiting["/s/base"], "waits for a worker")
	})
	d := list[0]
	if d.CurrentStep != 1 || d.TotalSteps != 2 || d.Waiting["/s/top"] != "waits for apps it depends on" || len(d.Current) != 1 || d.Current[0].App != "/s/base" ||
		d.Current[0].Action != "RestartApplication" || !slices.Equal(d.Affected, []string{"/s/base", "/s/top"}) {
		t.Errorf("%+v", d)
	}
	// One of the held app ends: another of its old version takes its place.
	c.end(before[0], "TASK_FAILED", "it broke")
	c.until("it is replaced", func() bool {
		ids := c.taskIDs("/s/top")
		return len(ids) == 2 && !slices.Contains(ids, before[0]) && c.app("/s/top").TasksRunning == 2
	})
	for _, w := range c.workers {
		for id := range w.Tasks() {
			if info := w.Task(id); info != nil && info.Command.Value != "one" {
				t.Errorf("%s runs %s", id, info.Command.Value)
			}
		}
	}
	c.ok(http.MethodDelete, "/v2/deployments/"+d.ID, "", nil)
	c.until("all is back", func() bool { return c.settled("/s/top") && c.settled("/s/base") && c.cmd("/s/top") == "one" })
	if !slices.Contains(c.taskIDs("/s/top"), before[1]) {
		t.Errorf("%s was replaced", before[1])
	}
}
