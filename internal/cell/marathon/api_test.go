package marathon_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/mesos"
)

// TestRoutes asks what has fixed answers.
func TestRoutes(t *testing.T) {
	c := newCell(t, cellConfig{})
	const get, head, post, put, patch, del = http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	for _, tc := range []struct {
		method, path string
		accept       string
		code         int
		body         string // "-" for any
	}{
		{get, "/ping", "", 200, "pong"},
		{get, "/ping/", "*/*", 200, "pong"},
		{head, "/ping", "", 200, ""},
		{get, "/ping", "text/plain", 200, "pong"},
		{get, "/ping", "text/html", 200, "pong"},
		{get, "/ping", "application/json", 200, `"pong"`},
		{get, "/ping", "image/png", 204, ""},
		{post, "/ping", "", 405, `{"message":"HTTP 405 Method Not Allowed"}`},
		{get, "/", "", 302, "-"},
		{get, "/ui/", "", 200, "-"},
		{get, "/v2/apps", "", 200, `{"apps":[]}`},
		{get, "/v2/apps/", "", 200, `{"apps":[]}`},
		{head, "/v2/apps", "", 200, ""},
		{get, "/v2/apps/?embed=apps.tasks", "", 200, `{"apps":[]}`},
		{get, "/v2/apps/no", "", 404, `{"message":"App '/no' does not exist"}`},
		{get, "/v2/apps//no/", "", 404, `{"message":"App '/no' does not exist"}`},
		{get, "/v2/apps/%2Fa%2Fno", "", 404, `{"message":"App '/a/no' does not exist"}`},
		{get, "/v2/apps/no/*", "", 404, `{"message":"Group '/no' does not exist"}`},
		{get, "/v2/apps/*", "", 200, `{"*":[]}`},
		{get, "/v2/apps/no/tasks", "", 404, `{"message":"App '/no' does not exist"}`},
		{get, "/v2/apps/no/*/tasks", "", 404, `{"message":"Group '/no' does not exist"}`},
		{get, "/v2/apps/no/versions", "", 404, `{"message":"App '/no' does not exist"}`},
		{get, "/v2/apps/no/versions/2014-03-01T23:42:20.938Z", "", 404, `{"message":"App '/no' does not exist"}`},
		{patch, "/v2/apps/no", "", 400, `{"message":"Invalid JSON","details":"No content to map due to end-of-input"}`},
		{del, "/v2/apps/no", "", 404, `{"message":"App '/no' does not exist"}`},
		{del, "/v2/apps/no/tasks", "", 404, `{"message":"App '/no' does not exist"}`},
		{del, "/v2/apps/no/tasks/x", "", 404, `{"message":"App '/no' does not exist"}`},
		{post, "/v2/apps/no/restart", "", 404, `{"message":"App '/no' does not exist"}`},
		{del, "/v2/apps", "", 405, `{"message":"HTTP 405 Method Not Allowed"}`},
		{get, "/v2/groups/no", "", 404, `{"message":"Group '/no' does not exist"}`},
		{get, "/v2/groups/no/apps", "", 404, `{"message":"Group '/no' does not exist"}`},
		{get, "/v2/groups/no/versions", "", 404, `{"message":"Group '/no' does not exist"}`},
		{get, "/v2/groups/versions", "", 200, `[]`},
		{get, "/v2/groups", "", 200, `{"id":"/","apps":[],"groups":[],"pods":[],"dependencies":[],"version":"1970-01-01T00:00:00.000Z"}`},
		{get, "/v2/groups/?embed=group.apps", "", 200, `{"id":"/","apps":[],"dependencies":[],"version":"1970-01-01T00:00:00.000Z"}`},
		{del, "/v2/groups/no", "", 404, `{"message":"Group '/no' does not exist"}`},
		{get, "/v2/tasks", "", 200, `{"tasks":[]}`},
		{get, "/v2/tasks/?status=running&status[]=staging", "", 200, `{"tasks":[]}`},
		{get, "/v2/tasks/delete", "", 405, `{"message":"HTTP 405 Method Not Allowed"}`},
		{get, "/v2/queue", "", 200, `{"queue":[]}`},
		{del, "/v2/queue/no/delay", "", 404, `{"message":"App '/no' not found in the launch queue"}`},
		{get, "/v2/deployments", "", 200, `[]`},
		{del, "/v2/deployments/no", "", 404, `{"message":"DeploymentPlan no does not exist"}`},
		{del, "/v2/deployments/no?force=true", "", 404, `{"message":"DeploymentPlan no does not exist"}`},
		{get, "/v2/leader", "", 200, `{"leader":"127.0.0.1:8080"}`},
		{del, "/v2/leader?dryRun=true", "", 200, `{"message":"Leadership would be abdicated"}`},
		{del, "/v2/leader", "", 200, `{"message":"Leadership abdicated"}`},
		{del, "/v2/leader?backup=file:///x", "", 422, `{"message":"backup and restore are not known here; copy the scheduler's directory while it is stopped."}`},
		{get, "/v2/plugins", "", 200, `{"plugins":[]}`},
		{head, "/v2/pods", "", 200, ""},
		{get, "/v2/pods", "", 200, `[]`},
		{get, "/v2/events", "", 405, `{"message":"Ask with: Accept: text/event-stream"}`},
		{get, "/v2/events", "*/*", 405, `{"message":"Ask with: Accept: text/event-stream"}`},
		{head, "/v2/events", "text/event-stream", 200, ""},
		{get, "/metrics", "", 200, "-"},
		{get, "/metrics/prometheus", "", 200, "-"},
		{get, "/config", "", 200, "-"},
		{get, "/logging", "", 200, `{"ROOT":"info"}`},
		{get, "/v2/nothing", "", 404, `{"message":"URI not found: /v2/nothing"}`},
		{get, "/v2/eventSubscriptions", "", 404, `{"message":"URI not found: /v2/eventSubscriptions"}`},
		{put, "/v2/groups", "", 400, `{"message":"Invalid JSON","details":"No content to map due to end-of-input"}`},
	} {
		t.Run(tc.method+" "+tc.path+" "+tc.accept, func(t *testing.T) {
			var headers []string
			if tc.accept != "" {
				headers = append(headers, "Accept: "+tc.accept)
			}
			got := c.ask(tc.method, tc.path, "", headers...)
			if got.code != tc.code || tc.body != "-" && got.body != tc.body {
				t.Errorf("%d %s\nwanted %d %s", got.code, got.body, tc.code, tc.body)
			}
			if got.code >= 400 && tc.method != head {
				conforms(t, "error.json", got.body)
			}
		})
	}
}

// TestHeaders: every answer says who leads, and that it must not be kept.
func TestHeaders(t *testing.T) {
	c := newCell(t, cellConfig{})
	for _, path := range []string{"/ping", "/v2/apps", "/v2/apps/no", "/nothing"} {
		got := c.ask(http.MethodGet, path, "").header
		want := map[string]string{
			"X-Marathon-Leader": "http://127.0.0.1:8080", "X-Frame-Options": "DENY", "X-Xss-Protection": "1; mode=block",
			"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache", "Expires": "0", "X-Content-Type-Options": "nosniff",
			"Access-Control-Allow-Origin": "",
		}
		for name, value := range want {
			if got.Get(name) != value {
				t.Errorf("%s: %s is %q, wanted %q", path, name, got.Get(name), value)
			}
		}
	}
	if got := c.ask(http.MethodGet, "/", "").header.Get("Location"); got != "/ui/" {
		t.Errorf("/ leads to %q", got)
	}
	if got := c.ask(http.MethodPut, "/v2/tasks", "").header.Get("Allow"); got != "GET" {
		t.Errorf("/v2/tasks allows %q", got)
	}
	if got := c.ask(http.MethodDelete, "/v2/apps", "").header.Get("Allow"); got != "GET, PATCH, POST, PUT" {
		t.Errorf("/v2/apps allows %q", got)
	}
}

// TestInfo: clients switch features on by what stands here.
func TestInfo(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.until("the scheduler is subscribed", func() bool {
		_, body := c.call(http.MethodGet, "/v2/info", "")
		return !strings.Contains(body, `"frameworkId":null`)
	})
	var info struct {
		Name, Version, Leader, FrameworkID string
		Elected                            bool
		Marathon                           map[string]any `json:"marathon_config"`
		ZooKeeper                          map[string]any `json:"zookeeper_config"`
		HTTP                               map[string]any `json:"http_config"`
	}
	c.ok(http.MethodGet, "/v2/info", "", &info)
	if info.Name != "marathon" || info.Version != "1.11.0" || info.Leader != "127.0.0.1:8080" || !info.Elected || info.FrameworkID == "" {
		t.Errorf("info is %+v", info)
	}
	if info.Marathon["mesos_leader_ui_url"] != c.master.URL || info.Marathon["master"] != "127.0.0.1:5050" || info.Marathon["local_port_min"] != 10000.0 {
		t.Errorf("marathon_config is %v", info.Marathon)
	}
	if diff := cmp.Diff(map[string]any{"http_port": 8080.0, "https_port": nil}, info.HTTP); diff != "" {
		t.Error(diff)
	}
	if len(info.Marathon) < 40 || len(info.ZooKeeper) < 5 {
		t.Errorf("%d and %d keys only", len(info.Marathon), len(info.ZooKeeper))
	}
}

// TestMetrics shows the figures in both forms.
func TestMetrics(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.run("/a", `"instances": 3`)
	var body struct {
		Gauges map[string]struct{ Value float64 }
	}
	c.ok(http.MethodGet, "/metrics", "", &body)
	for name, want := range map[string]float64{"marathon.apps.active.gauge": 1, "marathon.instances.running.gauge": 3, "marathon.deployments.active.gauge": 0} {
		if got := body.Gauges[name].Value; got != want {
			t.Errorf("%s is %v, wanted %v", name, got, want)
		}
	}
	scrape := c.ask(http.MethodGet, "/metrics", "", "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1")
	_, text := c.call(http.MethodGet, "/metrics/prometheus", "")
	for _, part := range []string{
		"# TYPE marathon_instances_running_gauge gauge\nmarathon_instances_running_gauge 3\n",
		"# TYPE marathon_deployments_counter counter\nmarathon_deployments_counter 1\n",
		"\nmarathon_deployments_succeeded_counter 1\n", "\nmarathon_mesos_task_updates_task_running_counter 3\n",
		"# TYPE howdah_app_instances_running gauge\nhowdah_app_instances_running{app=\"/a\"} 3\n", "\nhowdah_app_launch_delay_seconds{app=\"/a\"} 0\n",
	} {
		if !strings.Contains(text, part) || !strings.Contains(scrape.body, part) {
			t.Errorf("no %q in\n%s\nor\n%s", part, text, scrape.body)
		}
	}
	line := regexp.MustCompile(`^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+({app="[^"]+"})? [0-9.e+]+)$`)
	for l := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		if !line.MatchString(l) {
			t.Errorf("%q is no line of the exposition format", l)
		}
	}
	s, _ := c.listen(""), c.listen("", as("shop:viewer"))
	streams := func(who ...string) string {
		return regexp.MustCompile(`event_streams_active_gauge \d+`).FindString(c.ask(http.MethodGet, "/metrics/prometheus", "", who...).body)
	}
	c.until("two streams are counted", func() bool { return streams() == "event_streams_active_gauge 2" })
	if own := streams(as("shop:viewer")); own != "event_streams_active_gauge 1" {
		t.Error(own)
	}
	s.close()
	c.until("one stream is counted", func() bool { return streams() == "event_streams_active_gauge 1" })
	if theirs := c.ask(http.MethodGet, "/metrics/prometheus", "", as("shop:viewer")); !strings.Contains(theirs.body, "marathon_instances_running_gauge 0\n") || strings.Contains(theirs.body, "/a") || strings.Contains(theirs.body, "counter") {
		t.Errorf("another project sees %s", theirs.body)
	}
}

// TestPage: the page shows people how apps are, what they wait for and of what they
// failed.
func TestPage(t *testing.T) {
	c := newCell(t, cellConfig{})
	if _, page := c.call(http.MethodGet, "/ui/", ""); !strings.Contains(page, "There are none yet.") {
		t.Error(page)
	}
	c.run("/a", `"instances": 3`)
	c.end(c.taskIDs("/a")[0], mesos.TaskFailed, "it <broke>") // and begins again after a second
	d := c.deploy(http.MethodPut, "/v2/apps/big", `{"cmd": "x", "cpus": 100}`)
	var page string
	c.until("the page says why", func() bool {
		_, page = c.call(http.MethodGet, "/ui", "")
		return strings.Contains(page, "<small>worker-1 (127.0.0.1): needs 100 cpus; 7.") && strings.Contains(page, "<small>the next launch waits 1 s more</small>")
	})
	c.until("the failed one is replaced", func() bool {
		_, page = c.call(http.MethodGet, "/ui", "")
		return strings.Contains(page, "<code>/a</code><td>3<td>3<td>")
	})
	for _, part := range []string{"TASK_FAILED it &lt;broke&gt;", "<code>" + d + "</code><td><code>/big</code> <td>2 of 2", `<a href="/v2/queue">`} {
		if !strings.Contains(page, part) {
			t.Errorf("no %s in\n%s", part, page)
		}
	}
	if got := c.ask(http.MethodGet, "/ui", "", as("shop:viewer")); strings.Contains(got.body, "/big") || !strings.Contains(got.body, "There are none yet.") {
		t.Errorf("another project sees %s", got.body)
	}
}

// TestLimits: what is too large or too deep is refused clearly.
func TestLimits(t *testing.T) {
	c := newCell(t, cellConfig{})
	for _, tc := range []struct {
		name, body string
		code       int
		text       string
	}{
		{"too large", `{"id": "/a", "cmd": "` + strings.Repeat("x", 17<<20) + `"}`, 413, "The body is larger than 16 MiB."},
		{"10 MiB of one text", `{"id": "/a", "cmd": "` + strings.Repeat("x", 10<<20) + `"}`, 422, ""},
		{"10 MiB of labels", `{"id": "/a", "cmd": "x", "labels": {` + strings.Repeat(`"l": "v", `, 1<<20) + `"m": "v"}}`, 422, ""},
		{"very deep", strings.Repeat(`[`, 100_000), 400, "Invalid JSON"},
		{"very deep object", strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000), 400, "Invalid JSON"},
		{"not UTF-8", "{\"id\": \"/\xff\"}", 400, "Invalid JSON"},
		{"no JSON", "id=/a", 400, "Invalid JSON"},
		{"two values", `{"id": "/a", "cmd": "x"} {}`, 400, "Invalid JSON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, path := range []string{"/v2/apps", "/v2/groups"} {
				if tc.code == 422 && path == "/v2/groups" {
					continue
				}
				got := c.ask(http.MethodPost, path, tc.body)
				if got.code != tc.code {
					t.Fatalf("%s: %d %.500s", path, got.code, got.body)
				}
				conforms(t, "error.json", got.body)
				var e struct{ Message string }
				if err := json.Unmarshal([]byte(got.body), &e); err != nil || tc.text != "" && e.Message != tc.text {
					t.Errorf("%s: %.500s", path, got.body)
				}
				if len(got.body) > 4<<10 {
					t.Errorf("the answer has %d bytes", len(got.body))
				}
			}
		})
	}
	got := c.ask(http.MethodPost, "/v2/tasks/delete", `{"ids": [`+strings.Repeat(`"a.instance-x._app.1",`, 10_001)+`"b.instance-x"]}`)
	if got.code != 400 || got.body != `{"message":"At most 10,000 task ids may be given at once."}` {
		t.Errorf("%d %s", got.code, got.body)
	}
}

// TestJavaBooleans: Python's client says False.
func TestJavaBooleans(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.run("/a", `"instances": 1`)
	id := c.taskIDs("/a")[0]
	got := c.ask(http.MethodDelete, "/v2/apps/a/tasks/"+id+"?scale=False&wipe=False", "")
	if got.code != 200 || !strings.Contains(got.body, `{"task":{"id":"`+id) {
		t.Errorf("%d %s", got.code, got.body)
	}
	if got := c.ask(http.MethodDelete, "/v2/apps/a/tasks?scale=True&wipe=TRUE", ""); got.code != 400 || got.body != `{"message":"You cannot use scale and wipe at the same time."}` {
		t.Errorf("%d %s", got.code, got.body)
	}
	c.until("another task runs", func() bool { return c.settled("/a", id) })
	if now := c.app("/a"); now.Instances != 1 {
		t.Errorf("%d instances are wanted", now.Instances)
	}
}
