package marathon_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// exchange is one question and its whole answer, with times and UUIDs scrubbed.
type exchange struct {
	method, path, body string
	code               int
	answer             string // "-" for any, "…" at an end for any rest
}

// same compares an answer with what is wanted.
func (x *exchange) same(got string) bool {
	if start, open := strings.CutSuffix(x.answer, "…"); open {
		return strings.HasPrefix(got, start)
	}
	return x.answer == "-" || got == x.answer
}

// exchanges asks one question after the other.
func (c *cell) exchanges(list []exchange) {
	for _, x := range list {
		code, body := c.call(x.method, x.path, x.body)
		body = scrub(body)
		if code != x.code || !x.same(body) {
			c.t.Errorf("%s %s %s\n%d %s\nwanted %d %s", x.method, x.path, x.body, code, body, x.code, x.answer)
		}
		if code >= 400 {
			conforms(c.t, "error.json", body)
		}
	}
}

const deployed = `{"version":"TIME","deploymentId":"UUID"}`

// TestApps goes through the verbs of /v2/apps with what each answers.
func TestApps(t *testing.T) {
	c := newCell(t, cellConfig{})
	const post, put, patch, del, get = http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodGet
	c.exchanges([]exchange{
		{post, "/v2/apps", `{"id": "/a", "cmd": "x", "instances": 0}`, 201, `{"id":"/a","backoffFactor":1.15,"backoffSeconds":1,"cmd":"x","cpus":1,"disk":0,"executor":"","instances":0,"labels":{},"maxLaunchDelaySeconds":300,"mem":128,"gpus":0,"networks":[{"mode":"host"}],"portDefinitions":[{"port":10000,"name":"default","protocol":"tcp"}],"requirePorts":false,"upgradeStrategy":{"maximumOverCapacity":1,"minimumHealthCapacity":1},"version":"TIME","versionInfo":{"lastScalingAt":"TIME","lastConfigChangeAt":"TIME"},"unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},"killSelection":"YOUNGEST_FIRST","role":"*","tasksStaged":0,"tasksRunning":0,"tasksHealthy":0,"tasksUnhealthy":0,"deployments":[{"id":"UUID"}]}`},
		{post, "/v2/apps/", `{"id": "a", "cmd": "x"}`, 409, `{"message":"An app with id [/a] already exists."}`},
		{post, "/v2/apps", `{"id": "/a/b", "cmd": "x"}`, 409, `{"message":"An app with id [/a] already exists; a group cannot have its name."}`},
		{post, "/v2/apps?dryRun=true", `{"id": "/b", "cmd": "x"}`, 200, `{"steps":[{"actions":[{"action":"StartApplication","app":"/b"}]},{"actions":[{"action":"ScaleApplication","app":"/b"}]}]}`},
		{post, "/v2/apps?dryRun=true", `{"id": "/a", "cmd": "x"}`, 409, `{"message":"An app with id [/a] already exists."}`},
		{get, "/v2/apps/b", "", 404, `{"message":"App '/b' does not exist"}`},
		{post, "/v2/apps", `{"cmd": "x"}`, 422, `{"message":"Invalid JSON","details":[{"path":"/id","errors":["error.path.missing"]}],"findings":[{"pointer":"/id","message":"it is missing","remedy":"Give the app's id."}]}`},
		{post, "/v2/apps", `{"id": 1, "cmd": "x"}`, 422, `{"message":"Invalid JSON","details":[{"path":"/id","errors":["error.expected.jsstring"]}],…`},
		{post, "/v2/apps", `{"id": "/c", "cmd": "x", "upgradeStrategy": {"minimumHealthCapacity": 2}}`, 422, `{"message":"Object is not valid","details":[{"path":"/upgradeStrategy/minimumHealthCapacity","errors":["is greater than 1"]}],"findings":[{"pointer":"/upgradeStrategy/minimumHealthCapacity","message":"is greater than 1","remedy":"Write a number from 0 to 1."}]}`},
		{post, "/v2/apps", `{"id": "/c", "cmd": "x", "args": ["y"]}`, 422, `{"message":"Object is not valid","details":[{"path":"/","errors":["AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."]}],…`},
		{post, "/v2/apps", `{`, 400, `{"message":"Invalid JSON","details":"line 1, column 2: unexpected end of input",…`},

		{put, "/v2/apps/a", `{"instances": 0}`, 200, deployed},
		{put, "/v2/apps/a", `{"cmd": "y"}`, 200, deployed},
		{get, "/v2/apps/a/versions", "", 200, `{"versions":["TIME","TIME"]}`},
		{put, "/v2/apps/a?dryRun=true", `{"cmd": "z"}`, 200, `{"steps":[{"actions":[{"action":"ScaleApplication","app":"/a"}]}]}`},
		{put, "/v2/apps/a?dryRun=true", `{"cmd": "z", "instances": 1}`, 200, `{"steps":[{"actions":[{"action":"RestartApplication","app":"/a"}]}]}`},
		{put, "/v2/apps/a?dryRun=true", `{"instances": 0}`, 200, `{"steps":[]}`},
		{put, "/v2/apps/new", `{"cmd": "y", "instances": 0}`, 201, deployed},
		{put, "/v2/apps/a?partialUpdate=false", `{"instances": 0}`, 422, `{"message":"Object is not valid",…`},
		{put, "/v2/apps/a?partialUpdate=False", `{"cmd": "w", "instances": 0, "mem": 64}`, 200, deployed},
		{patch, "/v2/apps/a", `{"id": "/ignored", "cpus": 0.5}`, 200, deployed},
		{patch, "/v2/apps/none", `{"cpus": 0.5}`, 404, `{"message":"App '/none' does not exist"}`},
		{patch, "/v2/apps/a", `{"cpus": "much"}`, 422, `{"message":"Invalid JSON","details":[{"path":"/cpus","errors":["error.expected.jsnumber"]}],…`},

		{put, "/v2/apps", `[{"id": "/a", "mem": 32}, {"id": "/g/x", "cmd": "x", "instances": 0}]`, 200, deployed},
		{put, "/v2/apps?dryRun=true", `[{"id": "/a", "instances": 2}, {"id": "/g/x", "cmd": "y"}]`, 200, `{"steps":[{"actions":[{"action":"ScaleApplication","app":"/a"},{"action":"ScaleApplication","app":"/g/x"}]}]}`},
		{patch, "/v2/apps", `[{"id": "/a", "mem": 64}, {"id": "/none", "mem": 32}]`, 404, `{"message":"App '/none' does not exist"}`},
		{patch, "/v2/apps", `[{"id": "/a", "mem": 64}, {"id": "/g/x", "mem": 48}]`, 200, deployed},
		{put, "/v2/apps", `[{"id": "/p", "cmd": "x"}, {"id": "/p/q", "cmd": "x"}]`, 422, `{"message":"Groups and Applications may not have the same identifier: /p is an app, and the group of /p/q."}`},
		{put, "/v2/apps", `{"id": "/a"}`, 422, `{"message":"Invalid JSON",…`},

		{post, "/v2/apps/a/restart?dryRun=true", "", 200, `{"steps":[{"actions":[{"action":"ScaleApplication","app":"/a"}]}]}`},
		{post, "/v2/apps/a/restart", "", 200, deployed},
		{get, "/v2/apps/a/versions/2014-03-01T23:42:20.938Z", "", 404, `{"message":"App '/a' does not exist in version TIME","findings":[{"pointer":"","message":"there was no such version, or it is not kept any more","remedy":"Choose one of GET /v2/apps/a/versions."}]}`},
		{get, "/v2/apps/a/versions/yesterday", "", 422, `{"message":"cannot read timestamp \"yesterday\": it must look like TIME"}`},
		{put, "/v2/apps/a", `{"version": "2014-03-01T23:42:20.938Z"}`, 404, `{"message":"App '/a' does not exist in version TIME","findings":[{"pointer":"/version",…`},

		{get, "/v2/apps/a/tasks", "", 200, `{"tasks":[]}`},
		{get, "/v2/apps/g/*", "", 200, `{"*":[{"id":"/g/x",…`},
		{get, "/v2/apps/g/*/tasks", "", 200, `{"tasks":[]}`},
		{del, "/v2/apps/a?dryRun=true", "", 200, `{"steps":[{"actions":[{"action":"StopApplication","app":"/a"}]}]}`},
		{del, "/v2/apps/a", "", 200, deployed},
		{del, "/v2/apps/a", "", 404, `{"message":"App '/a' does not exist"}`},
	})
	var at struct{ ID, Cmd string }
	for _, version := range c.versions("/new") {
		c.ok(get, "/v2/apps/new/versions/"+version, "", &at)
	}
	if at.ID != "/new" || at.Cmd != "y" {
		t.Errorf("the version is %+v", at)
	}
	_, list := c.call(get, "/v2/apps?embed=apps.tasks&embed=apps.readiness&embed=apps.lastTaskFailure&embed=apps.taskStats", "")
	var body struct{ Apps []json.RawMessage }
	if err := json.Unmarshal([]byte(list), &body); err != nil || len(body.Apps) != 2 {
		t.Fatalf("%v %s", err, list)
	}
	for _, one := range body.Apps {
		conforms(t, "app.json", string(one))
	}
}

// versions lists those of an app, newest first.
func (c *cell) versions(id string) []string {
	c.t.Helper()
	var list struct{ Versions []string }
	c.ok(http.MethodGet, "/v2/apps"+id+"/versions", "", &list)
	return list.Versions
}

// TestPosted: the answer of POST says where the app is and what deploys it.
func TestPosted(t *testing.T) {
	c := newCell(t, cellConfig{})
	got := c.ask(http.MethodPost, "/v2/apps", `{"id": "/g/a", "cmd": "x", "instances": 2, "cpus": 0.1}`)
	conforms(t, "app.json", got.body)
	var a appAnswer
	if err := json.Unmarshal([]byte(got.body), &a); err != nil {
		t.Fatal(err)
	}
	if got.header.Get("Location") != "/v2/apps/g/a" || len(a.Deployments) != 1 || got.header.Get("Marathon-Deployment-Id") != a.Deployments[0].ID {
		t.Errorf("%v %v", got.header, a.Deployments)
	}
	c.until("it runs", func() bool { return c.settled("/g/a") })
	_, whole := c.call(http.MethodGet, "/v2/apps/g/a?embed=app.taskStats", "")
	var body struct{ App json.RawMessage }
	if err := json.Unmarshal([]byte(whole), &body); err != nil {
		t.Fatal(err)
	}
	conforms(t, "app.json", string(body.App))
	if !strings.Contains(whole, `"taskStats":{"startedAfterLastScaling":{"stats":{"counts":{"staged":0,"running":2,"healthy":0,"unhealthy":0}`) {
		t.Error(whole)
	}
	got = c.ask(http.MethodPut, "/v2/apps/new", `{"cmd": "x", "instances": 0}`)
	if got.code != 201 || got.header.Get("Location") != "/v2/apps/new" || !strings.Contains(got.body, got.header.Get("Marathon-Deployment-Id")) {
		t.Errorf("%d %v %s", got.code, got.header, got.body)
	}
}

// TestNothingNew: who asks for what is there gets a deployment that is through at
// once, and nothing is replaced.
func TestNothingNew(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.run("/g/a", `"instances": 3`)
	ids, version := c.taskIDs("/g/a"), c.app("/g/a").Version
	whole := `{"id": "/g/a", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32, "instances": 3}`
	for _, x := range []exchange{
		{http.MethodPut, "/v2/apps/g/a", `{"instances": 3}`, 200, deployed},
		{http.MethodPut, "/v2/apps/g/a?partialUpdate=false", whole, 200, deployed},
		{http.MethodPut, "/v2/apps", "[" + whole + "]", 200, deployed},
		{http.MethodPut, "/v2/groups/g", `{"apps": [` + whole + `]}`, 200, deployed},
		{http.MethodPut, "/v2/groups/g", `{"scaleBy": 1}`, 200, deployed},
		{http.MethodPut, "/v2/apps/g/a", `{"version": "` + version + `"}`, 200, deployed},
	} {
		c.exchanges([]exchange{x})
		if _, body := c.call(http.MethodGet, "/v2/deployments", ""); body != "[]" {
			t.Errorf("%s %s: %s is under way", x.path, x.body, body)
		}
		if diff := cmp.Diff(ids, c.taskIDs("/g/a")); diff != "" {
			t.Errorf("%s %s replaced tasks: %s", x.path, x.body, diff)
		}
	}
	if now := c.app("/g/a").Version; now != version {
		t.Errorf("the version is %s, it was %s", now, version)
	}
	if n := len(c.versions("/g/a")); n != 1 {
		t.Errorf("there are %d versions", n)
	}
}

// TestBack goes back to versions of an app and of a group.
func TestBack(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.run("/g/a", `"instances": 2`)
	first := c.app("/g/a")
	c.ok(http.MethodPut, "/v2/apps/g/a", `{"cmd": "sleep 2", "instances": 3}`, nil)
	c.until("the second version runs", func() bool { return c.settled("/g/a") && c.app("/g/a").TasksRunning == 3 })
	second := c.app("/g/a").Version
	c.ok(http.MethodPut, "/v2/apps/g/a", `{"version": "`+first.Version+`"}`, nil)
	c.until("the first version runs", func() bool { return c.settled("/g/a") && c.app("/g/a").TasksRunning == 2 })
	if got := c.cmd("/g/a"); got != "sleep 1000" {
		t.Errorf("cmd is %q", got)
	}
	var versions []string
	c.ok(http.MethodGet, "/v2/groups/g/versions", "", &versions)
	if len(versions) != 3 || versions[2] != first.Version || versions[1] != second {
		t.Errorf("versions are %v", versions)
	}
	_, then := c.call(http.MethodGet, "/v2/groups/g/versions/"+second, "")
	conforms(t, "group.json", then)
	if !strings.Contains(then, `"cmd":"sleep 2"`) {
		t.Error(then)
	}
	c.ok(http.MethodPut, "/v2/groups/g", `{"version": "`+second+`", "scaleBy": 7}`, nil)
	c.until("the group is back", func() bool { return c.settled("/g/a") && c.app("/g/a").TasksRunning == 3 })
	if got := c.cmd("/g/a"); got != "sleep 2" {
		t.Errorf("cmd is %q", got)
	}
	c.exchanges([]exchange{
		{http.MethodPut, "/v2/groups/g", `{"version": "2014-03-01T23:42:20.938Z"}`, 404, `{"message":"Group '/g' does not exist in version TIME","findings":[{"pointer":"/version","message":"there was no such version, or it is not kept any more","remedy":"Choose one of GET /v2/groups/g/versions."}]}`},
		{http.MethodGet, "/v2/groups/g/versions/2014-03-01T23:42:20.938Z", "", 404, `{"message":"Group '/g' does not exist in version TIME",…`},
		{http.MethodGet, "/v2/groups/versions", "", 200, `["TIME","TIME","TIME","TIME"]`},
	})
}

func (c *cell) cmd(id string) string {
	c.t.Helper()
	var body struct{ App struct{ Cmd string } }
	c.ok(http.MethodGet, "/v2/apps"+id, "", &body)
	return body.App.Cmd
}

// TestFilters narrows lists.
func TestFilters(t *testing.T) {
	c := newCell(t, cellConfig{})
	for _, body := range []string{
		`{"id": "/shop/web", "cmd": "Serve", "instances": 0, "labels": {"tier": "front", "a": ""}}`,
		`{"id": "/shop/db", "cmd": "store", "instances": 0, "labels": {"tier": "back"}}`,
		`{"id": "/other", "args": ["serve"], "container": {"docker": {"image": "i"}, "type": "DOCKER"}, "instances": 0}`,
	} {
		c.ok(http.MethodPost, "/v2/apps", body, nil)
	}
	for query, want := range map[string]string{
		"":                         "/other /shop/db /shop/web",
		"id=SHOP":                  "/shop/db /shop/web",
		"id=web":                   "/shop/web",
		"cmd=serve":                "/shop/web",
		"label=tier":               "/shop/db /shop/web",
		"label=tier==back":         "/shop/db",
		"label=tier!=back":         "/shop/web",
		"label=tier+in+(front,x)":  "/shop/web",
		"label=tier+notin+(front)": "/shop/db",
		"label=tier,a":             "/shop/web",
		"id=shop&cmd=store":        "/shop/db",
	} {
		var body struct{ Apps []appAnswer }
		c.ok(http.MethodGet, "/v2/apps?"+query, "", &body)
		var ids []string
		for _, a := range body.Apps {
			ids = append(ids, a.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s: %s, wanted %s", query, got, want)
		}
	}
	code, body := c.call(http.MethodGet, "/v2/apps?label="+`(`, "")
	if code != 422 || !strings.Contains(body, "Can not parse label selector (") {
		t.Errorf("%d %s", code, body)
	}
}

// TestCached: who has the newest list gets no body; every visible change is seen.
func TestCached(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.run("/a", `"instances": 2`)
	const path = "/v2/apps?embed=apps.tasks"
	first := c.ask(http.MethodGet, path, "")
	again := c.ask(http.MethodGet, path, "", "If-None-Match: "+first.header.Get("ETag"))
	if again.code != 304 || again.body != "" || first.header.Get("ETag") == "" {
		t.Errorf("%d %s", again.code, again.body)
	}
	if other := c.ask(http.MethodGet, "/v2/apps", "", "If-None-Match: "+first.header.Get("ETag")); other.code != 200 {
		t.Errorf("another list: %d", other.code)
	}
	old := c.taskIDs("/a")[0]
	c.end(old, "TASK_FAILED", "it broke")
	c.until("the list shows the change", func() bool {
		now := c.ask(http.MethodGet, path, "", "If-None-Match: "+first.header.Get("ETag"))
		return now.code == 200 && !strings.Contains(now.body, old)
	})
	c.ok(http.MethodDelete, "/v2/apps/a", "", nil)
	c.until("the list is empty", func() bool { return c.ask(http.MethodGet, path, "").body == `{"apps":[]}` })
}

// TestServicePorts: no app is without its own, and it keeps them.
func TestServicePorts(t *testing.T) {
	c := newCell(t, cellConfig{})
	ports := func(id string) string {
		var body struct {
			App struct {
				PortDefinitions []struct{ Port int }
				Container       struct{ PortMappings []struct{ ServicePort int } }
			}
		}
		c.ok(http.MethodGet, "/v2/apps"+id, "", &body)
		var all []int
		for _, p := range body.App.PortDefinitions {
			all = append(all, p.Port)
		}
		for _, p := range body.App.Container.PortMappings {
			all = append(all, p.ServicePort)
		}
		text, _ := json.Marshal(all)
		return string(text)
	}
	want := func(id, want string) {
		t.Helper()
		if got := ports(id); got != want {
			t.Errorf("%s has service ports %s, wanted %s", id, got, want)
		}
	}
	c.ok(http.MethodPost, "/v2/apps", `{"id": "/a", "cmd": "x", "instances": 0}`, nil)
	want("/a", "[10000]")
	c.ok(http.MethodPut, "/v2/groups/g", `{"apps": [{"id": "b", "cmd": "x", "instances": 0, "portDefinitions": [{"port": 0}, {"port": 10001}]},
		{"id": "c", "instances": 0, "container": {"type": "MESOS", "docker": {"image": "i"}, "portMappings": [{"containerPort": 80}]}, "networks": [{"mode": "container/bridge"}]}]}`, nil)
	want("/g/b", "[10002,10001]")
	want("/g/c", "[10003]")
	c.ok(http.MethodPut, "/v2/apps/a?partialUpdate=false", `{"cmd": "y", "instances": 0, "portDefinitions": [{"port": 0}, {"port": 0}]}`, nil)
	want("/a", "[10000,10004]")
	first := c.versions("/a")[1]
	c.ok(http.MethodPut, "/v2/apps/a", `{"version": "`+first+`"}`, nil)
	want("/a", "[10000]")
	c.ok(http.MethodPost, "/v2/apps", `{"id": "/d", "cmd": "x", "instances": 0, "ports": [0]}`, nil)
	want("/d", "[10004]")
}
