package cell

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/infra/local/sockets"
	"howdah.dev/howdah/test/e2e/harness"
)

// sandboxBytes is what the files of an app's first task take on the disk.
func (c *cell) sandboxBytes(id string) int64 {
	c.t.Helper()
	a, total := c.app(id), int64(0)
	if len(a.Tasks) == 0 || a.Tasks[0].State != "TASK_RUNNING" {
		return 0
	}
	for _, f := range c.files(a.Tasks[0]) {
		total += f.Size
	}
	return total
}

// file is a file of a sandbox as the worker shows it.
type file struct {
	Path string
	Size int64
}

// worker is the URL of the worker that a task is on.
func (c *cell) worker(t task) string {
	return "http://" + t.Host + ":5051"
}

// sandbox is the path of a task's sandbox, as workers have it.
func (c *cell) sandbox(t task) string {
	c.t.Helper()
	var info struct{ FrameworkID string }
	c.want(http.StatusOK, http.MethodGet, "/v2/info", "", &info)
	return "/frameworks/" + info.FrameworkID + "/executors/" + t.ID + "/runs/latest"
}

// browse asks the worker of a task for something of its sandbox.
func (c *cell) browse(t task, how, path string) (int, string) {
	c.t.Helper()
	return c.at(http.MethodGet, c.worker(t)+"/files/"+how+"?path="+url.QueryEscape(c.sandbox(t)+path), "")
}

func (c *cell) files(t task) []file {
	c.t.Helper()
	code, text := c.browse(t, "browse", "")
	var out []file
	if err := json.Unmarshal([]byte(text), &out); code != http.StatusOK || err != nil {
		c.t.Fatalf("browsing the sandbox of %s: %d %v\n%s", t.ID, code, err, text)
	}
	return out
}

// sandboxPaths: nothing but the sandbox is shown, whatever the path says and
// wherever its links lead.
func sandboxPaths(c *cell) {
	a := c.run("/links", `{"container": null, "networks": null, "args": null, "cmd": "echo here > mine; ln -s /etc/passwd out; ln -s / root; ln -s mine in; mkdir deep; echo made; exec sleep 1000"}`)
	x := a.Tasks[0]
	harness.Within(c.t, 10*time.Second, "the links are made", func() (bool, string) {
		got := c.OK("app", "logs", "/links")
		return got == "made\n", got
	})
	if code, text := c.browse(x, "download", "/mine"); code != http.StatusOK || text != "here\n" {
		c.t.Errorf("a file of the sandbox: %d %q", code, text)
	}
	for _, path := range []string{
		"/out", "/" + "root/etc/passwd", "/../../../../../etc/passwd", "/deep/../../x", "/..", "/root", "/./../stdout/../../..", "/deep/%2e%2e/%2e%2e", "/\x00",
	} {
		for _, how := range []string{"download", "read", "browse", "tail"} {
			code, text := c.browse(x, how, path)
			if code == http.StatusOK && how != "browse" || strings.Contains(text, "root:") || strings.Contains(text, "/etc") && code == http.StatusOK {
				c.t.Errorf("%s of %q: %d %.200q", how, path, code, text)
			}
		}
	}
	for _, path := range []string{"/etc/passwd", "/", "", "../../etc/passwd", c.Dir + "/settings.json", "/frameworks/../../../etc/passwd"} {
		if code, text := c.at(http.MethodGet, c.worker(x)+"/files/download?path="+url.QueryEscape(path), ""); code == http.StatusOK {
			c.t.Errorf("download of %q: %d %.200q", path, code, text)
		}
	}
	if code, _ := c.as("").at(http.MethodGet, c.worker(x)+"/files/download?path="+url.QueryEscape(c.sandbox(x)+"/mine"), ""); code != http.StatusUnauthorized {
		c.t.Errorf("a file without a token: %d", code)
	}
	c.delete("/v2/apps/links")
}

// projects: tokens open what is their project's, as far as their role goes.
func projects(c *cell) {
	c.pack("shop/hello:1")
	c.pack("tools/hello:1")
	viewer, shop := c.as(token(c.Home, "default", "viewer")), c.as(token(c.Home, "shop", "operator"))
	a := c.run("/secretive", `{}`)
	for _, x := range []struct {
		who          *cell
		method, path string
		body         string
		want         int
	}{
		{c.as(""), http.MethodGet, "/v2/apps", "", 401},
		{c.as("nonsense"), http.MethodGet, "/v2/apps", "", 401},
		{c.as(""), http.MethodGet, "/ping", "", 200},
		{viewer, http.MethodGet, "/v2/apps/secretive", "", 200},
		{viewer, http.MethodDelete, "/v2/apps/secretive", "", 403},
		{viewer, http.MethodPut, "/v2/apps/other", spec("/other", `{}`), 403},
		{viewer, http.MethodDelete, "/v2/apps/secretive/tasks/" + a.Tasks[0].ID, "", 403},
		{shop, http.MethodGet, "/v2/apps/secretive", "", 404}, // not even that it is there
		{shop, http.MethodPut, "/v2/apps/secretive", `{"instances": 0}`, 403},
		{shop, http.MethodPut, "/v2/apps/mine", spec("/mine", `{}`), 403},
		{shop, http.MethodPut, "/v2/groups", `{"apps": []}`, 403},
		{shop, http.MethodPut, "/v2/apps/shop/taken", spec("/shop/taken", `{}`), 422}, // default's image
	} {
		if code, text := x.who.call(x.method, x.path, x.body); code != x.want {
			c.t.Errorf("%s %s: %d, want %d\n%.300s", x.method, x.path, code, x.want, text)
		}
	}
	_, text := shop.call(http.MethodPut, "/v2/apps/shop/taken", spec("/shop/taken", `{}`))
	harness.Contains(c.t, "the refusal", text, "/container/docker/image", "the image hello:1 is one of project default", "Push it to a repository of shop or tools")
	image := func(name string) string {
		return `{"container": {"type": "MESOS", "docker": {"image": "` + name + `"}, "portMappings": [{"containerPort": 8080, "hostPort": 0}]}}`
	}
	shop.run("/shop/own", image("shop/hello:1"))
	shop.run("/shop/tool", image("tools/hello:1"))
	var list struct{ Apps []app }
	shop.want(http.StatusOK, http.MethodGet, "/v2/apps", "", &list)
	var seen []string
	for _, x := range list.Apps {
		seen = append(seen, x.ID)
	}
	slices.Sort(seen)
	if fmt.Sprint(seen) != "[/shop/own /shop/tool]" {
		c.t.Errorf("the project's token sees %v", seen)
	}
	if code, _ := shop.browse(a.Tasks[0], "browse", ""); code != http.StatusForbidden {
		c.t.Errorf("the sandbox of another project: %d", code)
	}
	if code, text := shop.browse(shop.app("/shop/own").Tasks[0], "browse", ""); code != http.StatusOK {
		c.t.Errorf("the own sandbox: %d %s", code, text)
	}
	c.delete("/v2/groups/shop")
	c.delete("/v2/apps/secretive")
}

// denied: what reaches out of a container is refused with pointer and remedy, all of
// it at once, and nothing is made.
func denied(c *cell) {
	shop := c.as(token(c.Home, "shop", "admin"))
	body := `{"id": "/shop/evil", "instances": 1, "user": "root", "args": ["wait"], "networks": [{"mode": "host"}],
		"fetch": [{"uri": "file:///etc/shadow"}, {"uri": "http://127.0.0.1:7070/x"}, {"uri": "http://169.254.169.254/latest"}, {"uri": "http://[::1]/x"}, {"uri": "http://2130706433/"}],
		"labels": {"HOWDAH_DATASET_ALL": "/data"},
		"container": {"type": "DOCKER", "docker": {"image": "hello:1", "privileged": true, "parameters": [{"key": "volume", "value": "/:/host"}]},
			"volumes": [{"hostPath": "/", "containerPath": "/host", "mode": "RW"}]}}`
	code, text := shop.call(http.MethodPost, "/v2/apps", body)
	if code != http.StatusUnprocessableEntity {
		c.t.Errorf("the answer is %d\n%s", code, text)
	}
	harness.Contains(c.t, "the refusal", text, `"/user"`, `"/networks"`, `"/fetch/0/uri"`, `"/fetch/1/uri"`, `"/fetch/2/uri"`, `"/fetch/3/uri"`, `"/fetch/4/uri"`,
		`"/container/volumes/0/hostPath"`, `"/container/docker/privileged"`, `"/container/docker/parameters/0"`, `"/container/docker/image"`, `"/labels/HOWDAH_DATASET_ALL"`, "ask the operator")
	if shop.app("/shop/evil").ID != "" {
		c.t.Error("the app was made all the same")
	}
}

// walls: from inside a container nothing of the host answers, and nothing of it is
// to be seen.
func walls(c *cell) {
	// Its own port is one that nobody else has: what answers there is the app itself.
	a := c.run("/inside", `{"args": ["listen", "15999", "wait"], "container": {"type": "MESOS", "docker": {"image": "hello:1"}, "portMappings": [{"containerPort": 15999, "hostPort": 0}]}}`)
	all, err := sockets.Listeners()
	if err != nil {
		c.t.Fatal(err)
	}
	var addresses []string
	for _, l := range all {
		at := l.Addr
		if at.Addr().IsUnspecified() {
			at = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port())
		}
		if strings.HasPrefix(l.Proto, "tcp") && at.Port() != 15999 {
			addresses = append(addresses, at.String())
		}
	}
	slices.Sort(addresses)
	if addresses = slices.Compact(addresses); len(addresses) < 5 {
		c.t.Fatalf("only %d listeners were found on this host", len(addresses))
	}
	for some := range slices.Chunk(addresses, 500) {
		if got, want := c.exec("/inside", "dial", strings.Join(some, ",")), fmt.Sprintf("dialled %d\n", len(some)); got != want {
			c.t.Errorf("from inside:\n%s", got)
		}
	}
	if got := lines(c.exec("/inside", "scan", "16000")); fmt.Sprint(got) != "[open 15999 scanned]" {
		c.t.Errorf("a scan of its own loopback finds %v", got)
	}
	// The processes are its own, the root is the image's.
	for _, e := range lines(c.exec("/inside", "ls", "/proc")) {
		if len(e) > 2 && e[0] >= '0' && e[0] <= '9' {
			c.t.Errorf("process %s is seen", e)
		}
	}
	root := lines(c.exec("/inside", "ls", "/"))
	if !slices.Contains(root, "content") || slices.Contains(root, "work") || slices.Contains(root, "home") {
		c.t.Errorf("the root holds %v", root)
	}
	for _, path := range []string{c.Dir + "/settings.json", "/proc/1/root" + c.Dir + "/settings.json", "/proc/sysrq-trigger", "/proc/kcore", "/sys/firmware/efi"} {
		if out := c.exec("/inside", "cat", path); out != "" && !strings.HasPrefix(out, "error: ") {
			c.t.Errorf("%s can be read: %.100q", path, out)
		}
	}
	harness.Contains(c.t, "mounting", c.exec("/inside", "mount"), "error: ")
	harness.Contains(c.t, "writing", c.exec("/inside", "write", "/proc/sys/kernel/core_pattern"), "error: ")
	c.secretsInside(a)
	c.delete("/v2/apps/inside")
}

// secretsInside looks for the cell's secret in the environment of a task.
func (c *cell) secretsInside(a app) {
	c.t.Helper()
	var keys []string
	_ = filepath.WalkDir(c.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() == "cell.key" {
			if text, err := os.ReadFile(path); err == nil {
				keys = append(keys, strings.TrimSpace(string(text)))
			}
		}
		return nil
	})
	if len(keys) == 0 {
		c.t.Fatal("the cell's secret is not found, so the test looks for nothing")
	}
	env := c.exec(a.ID, "cat", "/proc/1/environ")
	for _, key := range keys {
		if strings.Contains(env, key) {
			c.t.Error("the cell's secret is in the environment of a task")
		}
	}
}

// importDump: what an old Marathon holds is reported app by app, and made only if
// nothing is refused.
func importDump(c *cell) {
	good := `{"id": "/sleeper", "cmd": "sleep 1000", "cpus": 0.05, "mem": 32, "instances": 1, "ports": [0], "labels": {"HAPROXY_GROUP": "external"}}`
	bad := `{"id": "/broken", "cmd": "x", "args": ["y"], "cpus": -1}`
	dump := func(apps ...string) string {
		return `{"id": "/", "groups": [{"id": "/old", "apps": [` + strings.ReplaceAll(strings.Join(apps, ","), `"id": "/`, `"id": "/old/`) + `]}]}`
	}
	r := c.Fails(2, "app", "import", "-f", c.Write("bad.json", dump(good, bad)))
	harness.Contains(c.t, "the report", r.Stdout+r.Stderr, "/old/broken", "refused", "nothing was imported: mend what is refused in the dump, or remove it, and import again")
	if c.app("/old/sleeper").ID != "" {
		c.t.Error("an app was made in spite of a refusal")
	}
	file := c.Write("good.json", dump(good))
	c.OK("app", "import", "-f", file, "--dry-run")
	if c.app("/old/sleeper").ID != "" {
		c.t.Error("an app was made by a dry run")
	}
	out := c.OK("app", "import", "-f", file)
	harness.Contains(c.t, "the report", out, "/old/sleeper", "the label HAPROXY_GROUP is shown, and nothing balances load by it", "Reach the app by its service port")
	c.settled("/old/sleeper")
	c.t.Log(r.Stdout + out)
	c.delete("/v2/groups/old")
}
