package marathon_test

import (
	"net/http"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/cell/scheduler"
)

// TestProjects: a project sees and changes what is in its own group only.
func TestProjects(t *testing.T) {
	c := newCell(t, cellConfig{outcome: slow("slow")})
	c.run("/shop/web", `"instances": 1`)
	c.run("/bank/vault", `"instances": 1`)
	vault := c.taskIDs("/bank/vault")[0]
	c.ok(http.MethodPut, "/v2/apps/bank/vault", `{"cmd": "slow"}`, nil)
	var d []struct{ ID string }
	c.ok(http.MethodGet, "/v2/deployments", "", &d)
	const admin, viewer, operator = "shop:admin", "shop:viewer", "shop:operator"
	foreign := func(id string) string {
		return `{"message":"Not Authorized to perform this action! Your project shop holds /shop, not ` + id + `."}`
	}
	const role = `{"message":"Not Authorized to perform this action! The role operator is needed; yours is viewer."}`
	const cellWide = `{"message":"Not Authorized to perform this action! It concerns the whole cell, which is project default's."}`
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	for _, x := range []struct {
		token string
		exchange
	}{
		{viewer, exchange{get, "/v2/apps/bank/vault", "", 404, `{"message":"App '/bank/vault' does not exist"}`}},
		{viewer, exchange{get, "/v2/apps/bank/vault/tasks", "", 404, `{"message":"App '/bank/vault' does not exist"}`}},
		{viewer, exchange{get, "/v2/apps/bank/vault/versions", "", 404, `{"message":"App '/bank/vault' does not exist"}`}},
		{viewer, exchange{get, "/v2/apps/shop/../bank/vault", "", 404, `{"message":"App '/bank/vault' does not exist"}`}},
		{viewer, exchange{get, "/v2/apps/bank/*", "", 404, `{"message":"Group '/bank' does not exist"}`}},
		{viewer, exchange{get, "/v2/groups/bank", "", 404, `{"message":"Group '/bank' does not exist"}`}},
		{viewer, exchange{get, "/v2/deployments", "", 200, `[]`}},
		{viewer, exchange{post, "/v2/apps", `{"id": "/shop/x", "cmd": "x"}`, 403, role}},
		{viewer, exchange{del, "/v2/apps/shop/web", "", 403, role}},
		{viewer, exchange{del, "/v2/apps/shop/web?dryRun=true", "", 403, role}},
		{operator, exchange{post, "/v2/apps", `{"id": "/bank/x", "cmd": "x"}`, 403, foreign("/bank/x")}},
		{operator, exchange{post, "/v2/apps", `{"id": "/bank/vault", "cmd": "x"}`, 403, foreign("/bank/vault")}},
		{operator, exchange{post, "/v2/apps", `{"id": "/shop/../bank/x", "cmd": "x"}`, 403, foreign("/bank/x")}},
		{operator, exchange{post, "/v2/apps", `{"id": "/shopping", "cmd": "x"}`, 403, foreign("/shopping")}},
		{operator, exchange{put, "/v2/apps/bank/vault", `{"instances": 0}`, 403, foreign("/bank/vault")}},
		{operator, exchange{put, "/v2/apps/shop/../bank/vault", `{"instances": 0}`, 403, foreign("/bank/vault")}},
		{operator, exchange{patch, "/v2/apps/bank/vault", `{"instances": 0}`, 403, foreign("/bank/vault")}},
		{operator, exchange{put, "/v2/apps", `[{"id": "/shop/web", "mem": 48}, {"id": "/bank/vault", "mem": 48}]`, 403, foreign("/bank/vault")}},
		{operator, exchange{del, "/v2/apps/bank/vault", "", 403, foreign("/bank/vault")}},
		{operator, exchange{del, "/v2/apps/none", "", 403, foreign("/none")}},
		{operator, exchange{post, "/v2/apps/bank/vault/restart", "", 403, foreign("/bank/vault")}},
		{operator, exchange{del, "/v2/apps/bank/vault/tasks", "", 403, foreign("/bank/vault")}},
		{operator, exchange{del, "/v2/apps/bank/vault/tasks/" + vault, "", 403, foreign("/bank/vault")}},
		{operator, exchange{del, "/v2/apps/shop/web/tasks/" + vault, "", 404, `{"message":"Task '` + vault + `' does not exist"}`}},
		{operator, exchange{post, "/v2/tasks/delete", `{"ids": ["` + vault + `"]}`, 200, `{"tasks":[]}`}},
		{operator, exchange{put, "/v2/groups", `{"groups": []}`, 403, foreign("/")}},
		{operator, exchange{put, "/v2/groups/bank", `{"scaleBy": 0}`, 403, foreign("/bank")}},
		{operator, exchange{put, "/v2/groups/shop", `{"id": "/bank", "apps": []}`, 403, foreign("/bank")}},
		{operator, exchange{patch, "/v2/groups/bank", `{"enforceRole": true}`, 403, foreign("/bank")}},
		{operator, exchange{del, "/v2/groups/bank", "", 403, foreign("/bank")}},
		{operator, exchange{del, "/v2/groups", "", 403, `{"message":"Not Authorized to perform this action! The role admin is needed; yours is operator."}`}},
		{admin, exchange{del, "/v2/groups", "", 403, foreign("/")}},
		{operator, exchange{del, "/v2/deployments/" + d[0].ID, "", 403, foreign("/bank/vault")}},
		{operator, exchange{del, "/v2/deployments/" + d[0].ID + "?force=true", "", 403, foreign("/bank/vault")}},
		{operator, exchange{del, "/v2/leader", "", 403, `{"message":"Not Authorized to perform this action! The role admin is needed; yours is operator."}`}},
		{admin, exchange{del, "/v2/leader", "", 403, cellWide}},
		{admin, exchange{put, "/howdah/v1/workers/w1/drain", "", 403, cellWide}},
		{admin, exchange{del, "/howdah/v1/workers/w1/drain", "", 403, cellWide}},
		{operator, exchange{del, "/v2/queue/bank/vault/delay", "", 404, `{"message":"App '/bank/vault' not found in the launch queue"}`}},
	} {
		got := c.ask(x.method, x.path, x.body, as(x.token))
		if got.code != x.code || got.body != x.answer {
			t.Errorf("%s %s %s\n%d %s\nwanted %d %s", x.token, x.method, x.path, got.code, got.body, x.code, x.answer)
		}
	}
	c.until("no launch waits", func() bool { return c.ask(http.MethodGet, "/v2/queue", "").body == `{"queue":[]}` })
	// Lists hold what is theirs, cached or not.
	for _, path := range []string{"/v2/apps", "/v2/apps", "/v2/apps?embed=apps.tasks", "/v2/apps?label=x", "/v2/apps/*", "/v2/groups", "/v2/tasks", "/v2/apps/*/tasks", "/v2/queue", "/ui", "/howdah/v1/targets", "/howdah/v1/services"} {
		for _, who := range []string{"default:viewer", viewer} {
			got := c.ask(http.MethodGet, path, "", as(who))
			if strings.Contains(got.body, "vault") != (who != viewer && path != "/v2/queue" && !strings.Contains(path, "label")) {
				t.Errorf("%s sees %s: %d %s", who, path, got.code, got.body)
			}
		}
	}
	c.ok(http.MethodDelete, "/v2/deployments/"+d[0].ID, "", nil)
	c.until("all is back", func() bool { return c.settled("/bank/vault") })
	if got := c.taskIDs("/bank/vault"); len(got) != 1 || got[0] != vault {
		t.Errorf("%v", got)
	}
}

// TestDrainOfOthers: who looks at a worker sees tasks of his own project, and what
// keeps them there.
func TestDrainOfOthers(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.run("/shop/web", `"instances": 1`)
	c.run("/bank/vault", `"instances": 1`)
	var tasks struct {
		Tasks []struct{ SlaveID, Worker string }
	}
	c.ok(http.MethodGet, "/v2/apps/bank/vault/tasks", "", &tasks)
	c.ok(http.MethodPut, "/v2/apps/bank/vault", `{"constraints": [["hostname", "LIKE", "`+tasks.Tasks[0].Worker+`"]]}`, nil)
	c.until("it is bound to its worker", func() bool { return c.settled("/bank/vault") })
	path, vault := "/howdah/v1/workers/"+tasks.Tasks[0].SlaveID+"/drain", c.taskIDs("/bank/vault")[0]
	for _, who := range []string{"default:viewer", "bank:viewer", "shop:viewer"} {
		got := c.ask(http.MethodGet, path, "", as(who))
		if got.code != 200 || strings.Contains(got.body, vault) != (who != "shop:viewer") {
			t.Errorf("%s: %d %s", who, got.code, got.body)
		}
	}
	c.ok(http.MethodPut, path, "", nil)
	const wait = `"waiting":{"/bank/vault":"0 of 1 instances running; 1 more waits for a worker"}`
	c.until("it waits", func() bool { return strings.Contains(c.ask(http.MethodGet, path, "", as("bank:viewer")).body, wait) })
	if got := c.ask(http.MethodGet, path, "", as("shop:viewer")); strings.Contains(got.body, "vault") {
		t.Error(got.body)
	}
}

// TestPortsOfOthers: nobody gets what is meant for another project by taking its
// service port.
func TestPortsOfOthers(t *testing.T) {
	c := newCell(t, cellConfig{})
	const shaped = `"cmd": "x", "cpus": 0.1, "networks": [{"mode": "container/bridge"}], "container": {"type": "MESOS", "portMappings": [{"containerPort": 80, "servicePort": 10005}]}`
	c.ok(http.MethodPost, "/v2/apps", `{"id": "/shop/web", "cmd": "x", "cpus": 0.1, "portDefinitions": [{"port": 10005}]}`, nil)
	refused := func(pointer string, got answer) {
		t.Helper()
		if got.code != 422 || !strings.Contains(got.body, "the service port 10005 is taken by an app of another project") || !strings.Contains(got.body, pointer) {
			t.Errorf("%d %s", got.code, got.body)
		}
	}
	refused("/portDefinitions/1/port", c.ask(http.MethodPost, "/v2/apps", `{"id": "/aaa/thief", "cmd": "x", "portDefinitions": [{"port": 0}, {"port": 10005}]}`, as("aaa:operator")))
	refused("/container/portMappings/0/servicePort", c.ask(http.MethodPost, "/v2/apps", `{"id": "/aaa/thief", `+shaped+`}`))
	// An app keeps what it has, its project may share it, and it is free when it is gone.
	c.ok(http.MethodPut, "/v2/apps/shop/web?force=true", `{"cmd": "y"}`, nil)
	c.ok(http.MethodPost, "/v2/apps", `{"id": "/shop/other", `+shaped+`}`, nil)
	c.ok(http.MethodDelete, "/v2/groups/shop?force=true", "", nil)
	c.until("the group is gone", func() bool { code, _ := c.call(http.MethodGet, "/v2/apps/shop/web", ""); return code == 404 })
	c.ok(http.MethodPost, "/v2/apps", `{"id": "/aaa/heir", `+shaped+`}`, nil)
}

// TestProjectsEvents: nobody hears of what is another project's.
func TestProjectsEvents(t *testing.T) {
	c := newCell(t, cellConfig{})
	s := c.listen("", as("shop:viewer"))
	all := c.listen("", as("default:viewer"))
	c.run("/bank/vault", `"instances": 1`)
	c.ok(http.MethodPut, "/v2/groups", `{"groups": [{"id": "shop", "apps": [{"id": "both", "cmd": "x", "cpus": 0.1}]}, {"id": "bank", "apps": []}]}`, nil)
	c.until("all is quiet", func() bool { return c.settled("/shop/both") })
	c.run("/shop/web", `"instances": 1`)
	c.hub.Publish(scheduler.Event{Type: "noise"})
	all.until(c, "the last", has("noise"))
	for _, e := range s.until(c, "of the app", has("deployment_success")) {
		if strings.Contains(e.text, "vault") || !strings.Contains(e.text, "/shop") && e.kind != "group_change_success" {
			t.Errorf("it hears %s", e.text)
		}
	}
}

// TestPolicy: what a project may not have is denied, all of it at once, with what
// to do.
func TestPolicy(t *testing.T) {
	c := newCell(t, cellConfig{})
	got := c.ask(http.MethodPost, "/v2/apps", `{"id": "/a", "container": {"type": "DOCKER", "docker": {"image": "i", "privileged": true},
		"volumes": [{"containerPath": "/x", "hostPath": "/etc", "mode": "RO"}]}}`)
	want := `{"message":"Object is not valid","details":[{"path":"/container/volumes(0)/hostPath","errors":["host volumes are not allowed for this project"]},{"path":"/container/docker/privileged","errors":["privileged containers are not allowed for this project"]}],"findings":[{"pointer":"/container/volumes/0/hostPath","message":"host volumes are not allowed for this project","remedy":"Use a dataset, or the sandbox, or ask the operator to allow it for the project."},{"pointer":"/container/docker/privileged","message":"privileged containers are not allowed for this project","remedy":"Remove privileged, or ask the operator to allow it for the project."}]}`
	if got.code != 422 || got.body != want {
		t.Errorf("%d %s", got.code, got.body)
	}
	conforms(t, "error.json", got.body)
}

// TestWhose: an app is of the project that made it, whoever scales it; the default
// project handles it as its own project may, and alone can give it away.
func TestWhose(t *testing.T) {
	c := newCell(t, cellConfig{})
	label := func(id string) string {
		t.Helper()
		var body struct {
			App struct{ Labels map[string]string }
		}
		c.ok(http.MethodGet, "/v2/apps"+id, "", &body)
		return body.App.Labels["dev.howdah.project"]
	}
	as := func(who, method, path, body string, code int) {
		t.Helper()
		if got := c.ask(method, path+"?force=true", body, as(who)); got.code != code {
			t.Errorf("%s %s %s: %d %s", who, method, path, got.code, got.body)
		}
	}
	const owner, shop, put = "default:admin", "shop:operator", http.MethodPut
	const boxed = `"cpus": 0.1, "mem": 32, "instances": 0, "networks": [{"mode": "container/bridge"}], "container": {"type": "DOCKER", "docker": {"image": "i"}, "volumes": [{"containerPath": "/x", "hostPath": "/srv/shop/a", "mode": "RO"}]}`
	as(shop, http.MethodPost, "/v2/apps", `{"id": "/shop/own", `+boxed+`, "labels": {"dev.howdah.project": "bank", "a": "b"}}`, 201)
	as(owner, http.MethodPost, "/v2/apps", `{"id": "/shop/theirs", "cmd": "x", "cpus": 0.1, "instances": 0}`, 201)
	as(owner, http.MethodPost, "/v2/apps", `{"id": "/shop/given", "cmd": "x", "cpus": 0.1, "instances": 0, "labels": {"dev.howdah.project": "shop"}}`, 201)
	// The volume is the project's to use, and so the owner may go on with it, but not begin.
	as(owner, put, "/v2/apps/shop/own", `{"instances": 1}`, 200)
	as(owner, put, "/v2/apps/shop/own", `{"instances": 0, "mem": 48}`, 200)
	as(owner, http.MethodPost, "/v2/apps", `{"id": "/shop/other", `+boxed+`}`, 422)
	as(shop, put, "/v2/apps/shop/theirs", `{"instances": 1}`, 200)
	for id, want := range map[string]string{"/shop/own": "shop", "/shop/theirs": "", "/shop/given": "shop"} {
		if got := label(id); got != want {
			t.Errorf("%s is of %q", id, got)
		}
	}
	as(shop, put, "/v2/apps/shop/theirs", `{"cmd": "y"}`, 200)
	as(owner, put, "/v2/apps/shop/own", `{"labels": {"dev.howdah.project": "default"}}`, 422) // the volume is not the default project's
	as(owner, put, "/v2/apps/shop/given", `{"labels": {"dev.howdah.project": "default"}}`, 200)
	for id, want := range map[string]string{"/shop/theirs": "shop", "/shop/given": "default"} {
		if got := label(id); got != want {
			t.Errorf("%s is of %q", id, got)
		}
	}
}

// TestForceOfOthers: nobody's force ends the deployment of another project's app.
func TestForceOfOthers(t *testing.T) {
	c := newCell(t, cellConfig{outcome: slow("slow")})
	c.run("/shop/web", `"instances": 1`)
	c.run("/bank/vault", `"instances": 1`)
	d := c.deploy(http.MethodPut, "/v2/apps", `[{"id": "/shop/web", "cmd": "slow"}, {"id": "/bank/vault", "cmd": "slow"}]`)
	for _, x := range []struct {
		who  string
		code int
	}{{"shop:admin", 403}, {"default:operator", 200}} {
		got := c.ask(http.MethodPut, "/v2/apps/shop/web?force=true", `{"cmd": "sleep 1000"}`, as(x.who))
		if got.code != x.code || got.code == 403 && !strings.Contains(got.body, "also one of other projects' apps") {
			t.Errorf("%s: %d %s", x.who, got.code, got.body)
		}
		if _, list := c.call(http.MethodGet, "/v2/deployments", ""); strings.Contains(list, d) != (x.code == 403) {
			t.Errorf("%s: then the deployments are %s", x.who, list)
		}
	}
}
