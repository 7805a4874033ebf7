package cell

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"howdah.dev/howdah/test/e2e/harness"
)

// TestApps runs apps on one cell, each subtest its own.
func TestApps(t *testing.T) {
	c := newCell(t)
	src := c.Write("layer/part.txt", "of a layer\n")
	c.pack("hello:1", "--layer", strings.TrimSuffix(src, "/part.txt")+":/src", "--env", "COLOUR=blue", "--env", "SHAPE=round")
	for _, s := range []struct {
		name string
		run  func(*cell)
	}{
		{"container", container},
		{"follow", follow},
		{"reasons", reasons},
		{"upgrade", upgrade},
		{"never healthy", neverHealthy},
		{"groups", groups},
		{"constraints", constraints},
		{"drain", drain},
		{"images that cannot be", badImages},
		{"import", importDump},
		{"projects", projects},
		{"denied", denied},
		{"walls", walls},
		{"sandbox paths", sandboxPaths},
		{"plain", plain},
	} {
		t.Run(s.name, func(t *testing.T) { s.run(c.with(t)) })
	}
}

// container: what was packed and asked for is what runs, reached by its host port.
func container(c *cell) {
	a := c.run("/box", `{"instances": 2, "env": {"COLOUR": "red"}, "args": ["env", "COLOUR", "env", "SHAPE", "cat", "/src/part.txt", "id", "write", "/mnt/mesos/sandbox/made", "listen", "8080", "wait"],
		"healthChecks": [{"protocol": "HTTP", "path": "/status/200", "portIndex": 0, "delaySeconds": 0, "intervalSeconds": 1, "gracePeriodSeconds": 20}],
		"constraints": [["hostname", "UNIQUE"]]}`)
	if a.Tasks[0].Worker == a.Tasks[1].Worker {
		c.t.Errorf("both instances are on %s, in spite of hostname UNIQUE", a.Tasks[0].Worker)
	}
	for _, x := range a.Tasks {
		got, err := c.get(x, "/env/COLOUR")
		if err != nil || got != "red" {
			c.t.Errorf("%s answers %q: %v", x.ID, got, err)
		}
		if got, err := c.get(x, "/env/MESOS_TASK_ID"); err != nil || got != x.ID {
			c.t.Errorf("%s is told it is %q: %v", x.ID, got, err)
		}
		if got, err := c.get(x, "/env/PORT0"); err != nil || got != fmt.Sprint(x.Ports[0]) {
			c.t.Errorf("PORT0 of %s is %q, its port %d: %v", x.ID, got, x.Ports[0], err)
		}
	}
	want := "red\nround\nof a layer\n0 0 1\nlistening\n"
	if got := c.OK("app", "logs", a.Tasks[0].ID); got != want {
		c.t.Errorf("the log is\n%swant\n%s", got, want)
	}
	if got := c.exec("/box", "cat", "/mnt/mesos/sandbox/made", "env", "SHAPE", "env", "COLOUR"); got != "written\nround\nred\n" {
		c.t.Errorf("exec prints %q", got)
	}
	if r := c.Fails(7, "app", "exec", "/box", "--", "/content", "exit", "7"); !strings.Contains(r.Stderr, "the command ended with status 7") {
		c.t.Errorf("exec says %q", r.Stderr)
	}
	harness.Contains(c.t, "describe", c.OK("app", "describe", "/box"), "/box  2 of 2 run", "RUNNING  well", a.Tasks[0].ID)
	harness.Contains(c.t, "get", c.OK("app", "get"), "/box", "2/2", "hello:1")
	c.OK("app", "scale", "/box", "1")
	if a := c.settled("/box"); len(a.Tasks) != 1 {
		c.t.Errorf("after scaling there are %d tasks", len(a.Tasks))
	}
	c.OK("app", "delete", "/box")
	c.Fails(3, "app", "describe", "/box")
}

// follow: what a task writes is seen while it runs, also what it wrote before.
func follow(c *cell) {
	c.put("/clock", `{"args": ["echo", "one", "sleep", "1500", "echo", "two", "listen", "8080", "wait"]}`)
	c.settled("/clock")
	printed := c.follow("/clock")
	harness.Within(c.t, 10*time.Second, "both lines are printed", func() (bool, string) {
		return printed() == "one\ntwo\nlistening", printed()
	})
	c.delete("/v2/apps/clock")
}

var memoryLimit = regexp.MustCompile(`(?i)memory limit`)

// reasons: those that take too much, or never get healthy, are ended or held, each
// with its reason, and who runs beside them does not notice.
func reasons(c *cell) {
	calm := c.run("/calm", `{"instances": 2, "constraints": [["hostname", "UNIQUE"]]}`)
	c.listen(calm.Tasks...)
	settle := c.keepAsking(calm.Tasks, 50)
	c.put("/hog", `{"args": ["hog"], "mem": 48}`)
	c.put("/bomb", `{"args": ["forkbomb"]}`)
	c.put("/chatter", `{"args": ["listen", "8080", "log"]}`)
	c.put("/crash", `{"args": ["exit", "3"]}`)
	c.put("/filler", `{"args": ["fill", "/mnt/mesos/sandbox/all"], "disk": 32}`)
	c.put("/ill", `{"healthChecks": [{"protocol": "HTTP", "path": "/status/500", "portIndex": 0, "delaySeconds": 0, "intervalSeconds": 1, "gracePeriodSeconds": 1, "maxConsecutiveFailures": 2}]}`)
	for id, reason := range map[string]string{
		"/hog": "emory limit", "/crash": "Command exited with status 3",
		"/filler": "disk limit of 32 MB exceeded", "/ill": "health check failed: the answer is 500",
	} {
		c.failure(id, reason)
		harness.Contains(c.t, "describe", c.OK("app", "describe", id), "  last failure ", reason)
	}
	harness.Contains(c.t, "describe", c.OK("app", "describe", "/ill"), "    stalled: /ill: ")
	// Each process of the bomb takes memory, so it ends by that, or at the most processes.
	harness.Within(c.t, 40*time.Second, "the fork bomb is bounded", func() (bool, string) {
		text := c.Run("app", "logs", "/bomb").Stdout
		if n := 0; strings.Contains(text, "processes ") {
			_, err := fmt.Sscanf(text, "processes %d", &n)
			return err == nil && n <= 1024, text
		}
		now := c.Run("app", "describe", "/bomb").Stdout
		return memoryLimit.MatchString(now), now
	})
	// The endless log is rotated: the sandbox stays small while gigabytes pass.
	size := int64(0)
	for range 20 { // looks, as it is now large, now small
		size = max(size, c.sandboxBytes("/chatter"))
		time.Sleep(50 * time.Millisecond)
	}
	if size == 0 || size > 64<<20 {
		c.t.Errorf("the sandbox of the endless log holds %d bytes", size)
	}
	settle()
	if now := c.app("/calm"); now.running() != 2 || !sameTasks(now, calm) {
		c.t.Errorf("the neighbours are %+v, they were %+v", now.Tasks, calm.Tasks)
	}
	c.delete("/v2/apps/hog", "/v2/apps/bomb", "/v2/apps/chatter", "/v2/apps/crash", "/v2/apps/filler", "/v2/apps/ill", "/v2/apps/calm")
}

// keepAsking asks each of the tasks, so many times at least, until it is told to end.
// No request may fail.
func (c *cell) keepAsking(tasks []task, least int) (end func()) {
	ctx, stop := context.WithCancel(c.t.Context())
	var askers sync.WaitGroup
	for _, x := range tasks {
		askers.Go(func() {
			n := 0
			for ; n < least || ctx.Err() == nil; n++ {
				got, err := c.get(x, "/env/PORT0")
				if c.t.Context().Err() != nil { // the test has failed elsewhere
					return
				}
				if err != nil || got != fmt.Sprint(x.Ports[0]) {
					c.t.Errorf("request %d to the neighbour on %s: %q, %v", n, x.Worker, got, err)
				}
				time.Sleep(10 * time.Millisecond)
			}
			c.t.Logf("%d requests to the neighbour on %s", n, x.Worker)
		})
	}
	end = func() {
		stop()
		askers.Wait()
	}
	c.t.Cleanup(end)
	return end
}

func sameTasks(a, b app) bool { return slices.Equal(ids(a), ids(b)) }

func ids(a app) []string {
	var out []string
	for _, t := range a.Tasks {
		out = append(out, t.ID)
	}
	slices.Sort(out)
	return out
}

// upgrade: a rolling upgrade under requests that find living tasks by the API, and
// none of which fails.
func upgrade(c *cell) {
	const check = `"healthChecks": [{"protocol": "HTTP", "path": "/status/200", "portIndex": 0, "delaySeconds": 0, "intervalSeconds": 1, "gracePeriodSeconds": 20}]`
	version := func(v string) string {
		return `{"instances": 4, "env": {"V": "` + v + `"}, "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.25}, ` + check + `}`
	}
	c.run("/web", version("1"))
	ctx, stop := context.WithCancel(c.t.Context())
	defer stop()
	// A task that is to end is left alone for a quarter of a second: who asks later, as on
	// a busy machine, may find it gone.
	const known = 200 * time.Millisecond
	var asked, failed, most, least atomic.Int64
	least.Store(99)
	done := make(chan string, 1)
	go func() {
		why := ""
		for ctx.Err() == nil {
			looked := time.Now()
			a := c.app("/web")
			var well []task
			for _, x := range a.Tasks {
				if x.well() && len(x.HealthCheckResults) > 0 {
					well = append(well, x)
				}
			}
			most.Store(max(most.Load(), int64(len(a.Tasks))))
			least.Store(min(least.Load(), int64(len(well))))
			asked.Add(1)
			if len(well) == 0 {
				failed.Add(1)
				why += "no task is well; "
				continue
			}
			x := well[rand.IntN(len(well))]
			got, err := c.get(x, "/env/V")
			if took := time.Since(looked); err != nil && !os.IsTimeout(err) && took > known {
				c.t.Logf("not counted: found %s ago, %s does not answer: %v", took, x.ID, err)
				asked.Add(-1)
				continue
			}
			if err != nil || got != "1" && got != "2" {
				failed.Add(1)
				why += fmt.Sprintf("%s: %q %v; ", x.ID, got, err)
			}
		}
		done <- why
	}()
	c.put("/web", version("2"))
	c.settled("/web")
	a := c.app("/web")
	stop()
	why := <-done
	if failed.Load() > 0 || asked.Load() < 10 {
		c.t.Errorf("%d of %d requests failed: %s", failed.Load(), asked.Load(), why)
	}
	if most.Load() > 5 || least.Load() < 2 {
		c.t.Errorf("there were up to %d tasks and down to %d well ones; 5 and 2 are the bounds", most.Load(), least.Load())
	}
	for _, x := range a.Tasks {
		if got, err := c.get(x, "/env/V"); err != nil || got != "2" {
			c.t.Errorf("after the upgrade %s answers %q: %v", x.ID, got, err)
		}
	}
	c.t.Logf("%d requests during the upgrade", asked.Load())
	c.delete("/v2/apps/web")
}

// neverHealthy: a version that never gets healthy stalls with its reason, leaves
// the old one at work, and is taken back by rollback or by the deployment's end.
func neverHealthy(c *cell) {
	app := func(status string) string {
		return `{"instances": 2, "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1}, "healthChecks": [{"protocol": "HTTP", "path": "/status/` + status +
			`", "portIndex": 0, "delaySeconds": 0, "intervalSeconds": 1, "gracePeriodSeconds": 1, "maxConsecutiveFailures": 2}]}`
	}
	before := c.run("/ill", app("200"))
	for _, way := range []string{"rollback", "deployment"} {
		c.put("/ill", app("500"))
		var now []struct{ ID, Stalled string }
		harness.Within(c.t, 30*time.Second, "the deployment is stalled", func() (bool, string) {
			c.want(http.StatusOK, http.MethodGet, "/v2/deployments", "", &now)
			return len(now) == 1 && now[0].Stalled != "", fmt.Sprint(now)
		})
		harness.Contains(c.t, "the reason", now[0].Stalled, "/ill: ", "health")
		harness.Contains(c.t, "describe", c.OK("app", "describe", "/ill"), "stalled: ", "health")
		switch way {
		case "rollback":
			c.OK("app", "rollback", "/ill", before.Version, "--force")
		default:
			c.want(http.StatusOK, http.MethodDelete, "/v2/deployments/"+now[0].ID, "", nil)
		}
		if after := c.settled("/ill"); !sameTasks(before, after) {
			c.t.Errorf("after %s there are %v, before %v", way, ids(after), ids(before))
		}
	}
	c.delete("/v2/apps/ill")
}

// groups: an app waits for those it depends on.
func groups(c *cell) {
	body := `{"id": "/shopping", "groups": [
		{"id": "front", "dependencies": ["/shopping/db"], "apps": [` + spec("web", `{}`) + `]},
		{"id": "db", "apps": [` + spec("store", `{"args": ["sleep", "1500", "listen", "8080", "wait"],
			"healthChecks": [{"protocol": "HTTP", "path": "/status/200", "portIndex": 0, "delaySeconds": 0, "intervalSeconds": 1, "gracePeriodSeconds": 20}]}`) + `]}]}`
	c.want(http.StatusCreated, http.MethodPost, "/v2/groups", body, nil)
	store, early := app{}, 0
	harness.Within(c.t, 30*time.Second, "the group runs", func() (bool, string) {
		web := c.app("/shopping/front/web")
		store = c.app("/shopping/db/store")
		if len(web.Tasks) > 0 && (store.running() == 0 || len(store.Tasks) == 0 || len(store.Tasks[0].HealthCheckResults) == 0) {
			early++
		}
		return web.running() == 1 && store.running() == 1, fmt.Sprintf("%+v %+v", web, store)
	})
	if early > 0 {
		c.t.Errorf("%d times the app was there before what it depends on was well", early)
	}
	c.delete("/v2/groups/shopping")
}

// constraints of all kinds, on workers a (red) and b (blue).
func constraints(c *cell) {
	for i, x := range []struct {
		constraint string
		instances  int
		want       string // workers of the instances that run
		reason     string // of those that wait
	}{
		{`["rack", "CLUSTER", "blue"]`, 2, "cell-b-1 cell-b-1", ""},
		{`["rack", "LIKE", "r.d"]`, 2, "cell-a-1 cell-a-1", ""},
		{`["rack", "UNLIKE", "red"]`, 1, "cell-b-1", ""},
		{`["rack", "IS", "red"]`, 1, "cell-a-1", ""},
		{`["rack", "UNIQUE"]`, 2, "cell-a-1 cell-b-1", ""},
		{`["hostname", "GROUP_BY"]`, 4, "cell-a-1 cell-a-1 cell-b-1 cell-b-1", ""},
		{`["hostname", "MAX_PER", "1"]`, 3, "cell-a-1 cell-b-1", "hostname MAX_PER 1"},
		{`["hostname", "LIKE", "elsewhere"]`, 1, "", "hostname LIKE elsewhere"},
	} {
		id := fmt.Sprintf("/where-%d", i)
		c.put(id, fmt.Sprintf(`{"instances": %d, "constraints": [%s]}`, x.instances, x.constraint))
		harness.Within(c.t, 20*time.Second, x.constraint+" places on "+x.want, func() (bool, string) {
			a := c.app(id)
			var hosts []string
			for _, t := range a.Tasks {
				if t.well() {
					hosts = append(hosts, t.Worker)
				}
			}
			slices.Sort(hosts)
			return strings.Join(hosts, " ") == x.want, strings.Join(hosts, " ")
		})
		if x.reason != "" {
			harness.Within(c.t, 10*time.Second, "the reason is told", func() (bool, string) {
				text := c.OK("app", "describe", id)
				return strings.Contains(text, "to launch since") && strings.Contains(text, x.reason), text
			})
		}
		c.delete("/v2/apps" + id)
	}
}

// drain: a worker's instances are replaced elsewhere first, then ended.
func drain(c *cell) {
	before := c.run("/moving", `{"instances": 2, "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1}}`)
	leaving, other := before.Tasks[0].Worker, "cell-b-1"
	if leaving == other {
		other = "cell-a-1"
	}
	harness.Contains(c.t, "drain", c.OK("drain", leaving), leaving+" is being drained, 0 tasks left on it")
	after := c.settled("/moving")
	for _, x := range after.Tasks {
		if x.Worker != other {
			c.t.Errorf("%s is on %s", x.ID, x.Worker)
		}
	}
	for _, x := range before.Tasks {
		if x.Worker == other && !slices.Contains(ids(after), x.ID) {
			c.t.Errorf("%s on the other worker was replaced too", x.ID)
		}
	}
	r := c.Fails(3, "drain", "cell-z-1")
	harness.Contains(c.t, "the refusal", r.Stderr, "cell has no worker cell-z-1; its workers are ")
	c.OK("drain", leaving, "--off")
	// The other one is left no room for all of them.
	c.put("/moving", `{"instances": 4, "constraints": [["hostname", "MAX_PER", "2"]], "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}}`)
	if now := c.settled("/moving"); !slices.ContainsFunc(now.Tasks, func(t task) bool { return t.Worker == leaving }) {
		c.t.Errorf("nothing came back to %s: %+v", leaving, now.Tasks)
	}
	c.delete("/v2/apps/moving")
}

// badImages: each fails with one sentence that says what to do.
func badImages(c *cell) {
	digest := strings.Repeat("1", 64)
	other := c.Files() + "/rootfs"
	err := os.MkdirAll(other, 0o755)
	if err == nil {
		err = os.WriteFile(other+"/tool", []byte("#!/tool\n"), 0o755) //nolint:gosec // it is to be executed
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.OK("image", "pack", other, "foreign:1", "--entrypoint", "/tool", "--platform", "linux/s390x")
	for _, x := range []struct{ id, image, want string }{
		{"/missing", "nothing:1", "nothing:1"},
		{"/foreign", "foreign:1", "it is for linux/s390x, and this machine is linux/"},
		{"/digest", "hello@sha256:" + digest, digest},
	} {
		c.put(x.id, `{"container": {"type": "MESOS", "docker": {"image": "`+x.image+`"}, "portMappings": []}}`)
		a := c.failure(x.id, x.want)
		if strings.Contains(strings.TrimSpace(a.LastTaskFailure.Message), "\n") || !strings.HasPrefix(a.LastTaskFailure.Message, "cannot pull ") {
			c.t.Errorf("%s: %q is no sentence on pulling", x.id, a.LastTaskFailure.Message)
		}
		harness.Contains(c.t, "describe", c.OK("app", "describe", x.id), a.LastTaskFailure.Message)
		if x.id == "/missing" {
			r := c.Fails(1, "app", "restart", x.id, "--force")
			harness.Contains(c.t, "restart", r.Stderr, "makes no progress: "+x.id+": ", "; the last instance failed: "+a.LastTaskFailure.Message)
		}
		c.delete("/v2/apps" + x.id)
	}
}

// plain: a command without an image, with what it fetched nothing of.
func plain(c *cell) {
	a := c.run("/plain", `{"container": null, "networks": null, "args": null, "cmd": "echo \"$GREETING from $MESOS_TASK_ID\"; exec sleep 1000", "env": {"GREETING": "hello"}}`)
	harness.Within(c.t, 10*time.Second, "it has spoken", func() (bool, string) {
		got := c.OK("app", "logs", "/plain")
		return got == "hello from "+a.Tasks[0].ID+"\n", got
	})
	c.OK("app", "kill", a.Tasks[0].ID)
	harness.Within(c.t, 20*time.Second, "another takes its place", func() (bool, string) {
		now := c.app("/plain")
		return now.running() == 1 && now.Tasks[0].ID != a.Tasks[0].ID, fmt.Sprintf("%+v", now)
	})
	c.OK("app", "delete", "/plain")
}
