package marathon_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/sqlite"
)

// done asks for something that makes a deployment, waits until it is through
// and returns its version.
func (c *cell) done(method, path, body string) string {
	c.t.Helper()
	var made struct{ Version string }
	c.ok(method, path, body, &made)
	c.until("it is deployed", func() bool {
		_, list := c.call(http.MethodGet, "/v2/deployments", "")
		return list == "[]"
	})
	return made.Version
}

// inside lists the apps of a group with their commands, and its groups.
func (c *cell) inside(group string) []string {
	c.t.Helper()
	type shown struct {
		ID           string
		Apps         []struct{ ID, Cmd string }
		Groups       []json.RawMessage
		Dependencies []string
	}
	var out []string
	var walk func(raw []byte)
	walk = func(raw []byte) {
		var g shown
		if err := json.Unmarshal(raw, &g); err != nil {
			c.t.Fatal(err)
		}
		out = append(out, strings.Join(append([]string{g.ID}, g.Dependencies...), " needs "))
		for _, a := range g.Apps {
			out = append(out, a.ID+" runs "+a.Cmd)
		}
		for _, inner := range g.Groups {
			walk(inner)
		}
	}
	var whole json.RawMessage
	c.ok(http.MethodGet, "/v2/groups"+group, "", &whole)
	walk(whole)
	slices.Sort(out)
	return out
}

// TestGroupBack: a group goes back to a version with the apps and groups that were
// removed since, and without those made since.
func TestGroupBack(t *testing.T) {
	c := newCell(t, cellConfig{})
	const one = `{"dependencies": ["/base"], "apps": [{"id": "a", "cmd": "one", "cpus": 0.1, "mem": 32}, {"id": "b", "cmd": "one", "cpus": 0.1, "mem": 32, "instances": 2}],
		"groups": [{"id": "in", "apps": [{"id": "c", "cmd": "one", "cpus": 0.1, "mem": 32}]}]}`
	first := c.done(http.MethodPut, "/v2/groups/g", one)
	before := c.inside("/g")
	kept := c.taskIDs("/g/a")
	removed := c.done(http.MethodPut, "/v2/groups/g", `{"dependencies": [], "groups": [], "apps": [{"id": "a", "cmd": "one", "cpus": 0.1, "mem": 32}, {"id": "d", "cmd": "two", "cpus": 0.1, "mem": 32}]}`)
	after := c.inside("/g")
	if want := []string{"/g", "/g/a runs one", "/g/d runs two"}; !slices.Equal(after, want) {
		t.Fatalf("it holds %q", after)
	}
	elsewhere := c.done(http.MethodPut, "/v2/groups/other", `{"apps": [{"id": "x", "cmd": "x", "instances": 0}]}`)
	c.exchanges([]exchange{
		{http.MethodGet, "/v2/groups/g/versions", "", 200, `["TIME","TIME"]`},
		{http.MethodPut, "/v2/groups/g?dryRun=true", `{"version": "` + first + `"}`, 200, `{"steps":[{"actions":[{"action":"StopApplication","app":"/g/d"}]},{"actions":[{"action":"StartApplication","app":"/g/b"},{"action":"StartApplication","app":"/g/in/c"}]},{"actions":[{"action":"ScaleApplication","app":"/g/b"},{"action":"ScaleApplication","app":"/g/in/c"}]}]}`},
	})
	_, shown := c.call(http.MethodGet, "/v2/groups/g/versions/"+first, "")
	conforms(t, "group.json", shown)
	if !strings.Contains(shown, `"id":"/g/in/c"`) || strings.Contains(shown, "/g/d") || !strings.Contains(shown, `"dependencies":["/base"]`) {
		t.Error(shown)
	}
	c.done(http.MethodPut, "/v2/groups/g", `{"version": "`+first+`"}`)
	if diff := cmp.Diff(before, c.inside("/g")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(kept, c.taskIDs("/g/a")); diff != "" {
		t.Errorf("an app that is as it was runs anew: %s", diff)
	}
	// A version of something else is one of this group too, as it was then.
	c.done(http.MethodPut, "/v2/groups/g", `{"version": "`+elsewhere+`"}`)
	if diff := cmp.Diff(after, c.inside("/g")); diff != "" {
		t.Error(diff)
	}
	gone := c.done(http.MethodDelete, "/v2/groups/g", "")
	c.exchanges([]exchange{
		{http.MethodGet, "/v2/groups/g/versions", "", 404, `{"message":"Group '/g' does not exist"}`},
		{http.MethodPut, "/v2/groups/g", `{"version": "` + gone + `"}`, 404, `{"message":"Group '/g' does not exist in version TIME",…`},
	})
	c.done(http.MethodPost, "/v2/apps", `{"id": "/g", "cmd": "x", "instances": 0}`)
	c.exchanges([]exchange{{http.MethodPut, "/v2/groups/g", `{"version": "` + first + `"}`, 409, `{"message":"An app with id [/g] already exists; a group cannot have its name."}`}})
	c.done(http.MethodDelete, "/v2/apps/g", "")
	c.stop()
	c.start()
	c.done(http.MethodPut, "/v2/groups", `{"version": "`+removed+`"}`)
	if diff := cmp.Diff(after, c.inside("/g")); diff != "" {
		t.Error(diff)
	}
	if code, _ := c.call(http.MethodGet, "/v2/groups/other", ""); code != 404 {
		t.Errorf("what is younger than the root's version is still there: %d", code)
	}
}

// TestGroupBackProject: a project sees and restores what is its own.
func TestGroupBackProject(t *testing.T) {
	c := newCell(t, cellConfig{})
	all := c.done(http.MethodPut, "/v2/groups", `{"groups": [{"id": "shop", "apps": [{"id": "a", "cmd": "x", "instances": 0}]}, {"id": "bank", "apps": [{"id": "a", "cmd": "x", "instances": 0}]}]}`)
	c.done(http.MethodDelete, "/v2/groups/bank", "")
	shop := as("shop:operator")
	if got := c.ask(http.MethodGet, "/v2/groups/versions", "", shop); scrub(got.body) != `["TIME"]` {
		t.Errorf("%d %s", got.code, got.body)
	}
	if got := c.ask(http.MethodGet, "/v2/groups/versions/"+all, "", shop); got.code != 200 || strings.Contains(got.body, "bank") || !strings.Contains(got.body, "/shop/a") {
		t.Errorf("%d %s", got.code, got.body)
	}
	if got := c.ask(http.MethodGet, "/v2/groups/bank/versions/"+all, "", shop); got.code != 404 {
		t.Errorf("%d %s", got.code, got.body)
	}
	if got := c.ask(http.MethodPut, "/v2/groups/bank", `{"version": "`+all+`"}`, shop); got.code != 403 {
		t.Errorf("%d %s", got.code, got.body)
	}
}

// TestNoWayBack: a deployment whose beginning is not kept any more says so, and
// what to do instead.
func TestNoWayBack(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.run("/a", `"instances": 1`)
	var made struct{ DeploymentID string }
	c.ok(http.MethodPut, "/v2/apps/a", `{"cpus": 1000}`, &made)
	db, err := sqlite.Open(context.Background(), filepath.Join(c.dir, "scheduler.db"), os.DirFS("../scheduler/migrations"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Write.Exec("DELETE FROM history WHERE version < (SELECT max(version) FROM history)"); err != nil {
		t.Fatal(err)
	}
	c.exchanges([]exchange{
		{http.MethodDelete, "/v2/deployments/" + made.DeploymentID, "", 422, `{"message":"The deployment cannot be taken back: version TIME of /a is not kept any more","findings":[{"pointer":"","message":"version TIME of /a is not kept any more","remedy":"Cancel it as it stands with DELETE /v2/deployments/UUID?force=true, then change /a to what it is to be."}]}`},
		{http.MethodDelete, "/v2/deployments/" + made.DeploymentID + "?force=true", "", 202, ``},
	})
}

// TestAppBackAfterRemoval: a removed app comes back in a version it had, unless its
// id is in use; ports that others were given since stay theirs.
func TestAppBackAfterRemoval(t *testing.T) {
	c := newCell(t, cellConfig{})
	port := func(id string) (p int) {
		t.Helper()
		var body struct {
			App struct{ PortDefinitions []struct{ Port int } }
		}
		c.ok(http.MethodGet, "/v2/apps"+id, "", &body)
		return body.App.PortDefinitions[0].Port
	}
	c.done(http.MethodPost, "/v2/apps", `{"id": "/g/a", "cmd": "one", "instances": 0}`)
	version, had := c.app("/g/a").Version, port("/g/a")
	c.done(http.MethodDelete, "/v2/apps/g/a", "")
	back := `{"version": "` + version + `"}`
	c.done(http.MethodPost, "/v2/groups", `{"id": "/g/a", "apps": [{"id": "b", "cmd": "x", "instances": 0}]}`)
	if taken := port("/g/a/b"); taken != had {
		t.Fatalf("the port %d is not given out again, but %d", had, taken)
	}
	c.exchanges([]exchange{
		{http.MethodPut, "/v2/apps/g/a", back, 409, `{"message":"A group with id [/g/a] already exists."}`},
		{http.MethodPut, "/v2/apps", `[{"id": "/g/a", "version": "` + version + `"}]`, 409, `{"message":"A group with id [/g/a] already exists."}`},
	})
	c.done(http.MethodDelete, "/v2/groups/g/a", "")
	c.done(http.MethodPost, "/v2/apps", `{"id": "/other", "cmd": "x", "instances": 0}`)
	c.exchanges([]exchange{{http.MethodPut, "/v2/apps/g/a", back, 201, deployed}})
	if theirs, mine := port("/other"), port("/g/a"); theirs != had || mine == had || c.cmd("/g/a") != "one" {
		t.Errorf("the ports are %d and %d", theirs, mine)
	}
	// Where the other one goes in the same change, the port is free again.
	c.done(http.MethodDelete, "/v2/apps/g/a", "")
	c.done(http.MethodPut, "/v2/groups", `{"version": "`+version+`"}`)
	if now := port("/g/a"); now != had {
		t.Errorf("the port is %d", now)
	}
}
