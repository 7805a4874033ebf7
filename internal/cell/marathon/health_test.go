package marathon_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// patient is a server that is as well as it is told.
func patient(t *testing.T) (port int, status *atomic.Int32) {
	status = &atomic.Int32{}
	status.Store(http.StatusOK)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(int(status.Load()))
		_, _ = fmt.Fprint(w, "I am "+r.URL.Path)
	}))
	t.Cleanup(s.Close)
	_, err := fmt.Sscanf(s.URL, "http://127.0.0.1:%d", &port)
	if err != nil {
		t.Fatal(err)
	}
	return port, status
}

// TestHealth asks instances over HTTP, and ends those that fail too often.
func TestHealth(t *testing.T) {
	c := newCell(t, cellConfig{})
	port, status := patient(t)
	s := c.listen("?event_type=failed_health_check_event&event_type=unhealthy_instance_kill_event")
	c.run("/a", fmt.Sprintf(`"instances": 2, "backoffSeconds": 0, "healthChecks": [{"protocol": "HTTP", "port": %d, "path": "/well", "gracePeriodSeconds": 0,
		"intervalSeconds": 1, "timeoutSeconds": 1, "delaySeconds": 0, "maxConsecutiveFailures": 2}, {"protocol": "TCP", "port": %d, "intervalSeconds": 1, "delaySeconds": 0, "maxConsecutiveFailures": 0}]`, port, port))
	if a := c.app("/a"); a.Healthy != 2 || a.Unhealthy != 0 {
		t.Errorf("%d are healthy, %d are not", a.Healthy, a.Unhealthy)
	}
	ids := c.taskIDs("/a")
	_, body := c.call(http.MethodGet, "/v2/apps/a", "")
	got := scrub(body)
	one := `{"instanceId":"a.instance-UUID","alive":true,"consecutiveFailures":0,"firstSuccess":"TIME","lastSuccess":"TIME","lastFailure":null,"lastFailureCause":null}`
	if !strings.Contains(got, `"healthCheckResults":[`+one+`,`+one+`]`) {
		t.Error(got)
	}
	status.Store(http.StatusServiceUnavailable)
	c.until("both are ended", func() bool {
		return !slices.ContainsFunc(c.taskIDs("/a"), func(id string) bool { return slices.Contains(ids, id) })
	})
	status.Store(http.StatusOK)
	c.until("others are well", func() bool { return c.settled("/a") && c.app("/a").Healthy == 2 })
	if got := c.app("/a").LastTaskFailure; got == nil || !strings.HasPrefix(got.Message, "health check failed: ") || !strings.Contains(got.Message, "503") {
		t.Errorf("the last failure is %+v", got)
	}
	for _, e := range s.until(c, "of the end", has("unhealthy_instance_kill_event")) {
		want := map[string]string{
			"failed_health_check_event":     "eventType timestamp appId taskId healthCheck",
			"unhealthy_instance_kill_event": "eventType timestamp appId taskId instanceId version reason host slaveId",
		}[e.kind]
		if e.keys() != want {
			t.Errorf("%s: %s", e.kind, e.keys())
		}
	}
}

// TestGrace: what an instance answers in its grace period counts for nothing, but
// who waits for it learns what it is and for how long.
func TestGrace(t *testing.T) {
	c := newCell(t, cellConfig{})
	port, status := patient(t)
	status.Store(http.StatusInternalServerError)
	c.deploy(http.MethodPut, "/v2/apps/a", fmt.Sprintf(`{"cmd": "x", "cpus": 0.1, "healthChecks": [{"port": %d, "gracePeriodSeconds": 300, "intervalSeconds": 1, "delaySeconds": 0}]}`, port))
	wait := func() string {
		var list []struct{ Waiting map[string]string }
		c.ok(http.MethodGet, "/v2/deployments", "", &list)
		return list[0].Waiting["/a"]
	}
	c.until("it is said why", func() bool { return strings.HasSuffix(wait(), ": the answer is 500 Internal Server Error") })
	was := wait()
	if !strings.Contains(was, "waits for its health check for ") {
		t.Error(was)
	}
	c.until("time goes on", func() bool { return wait() != was })
	if a := c.app("/a"); a.Unhealthy != 0 {
		t.Errorf("%d are unhealthy in their grace period", a.Unhealthy)
	}
	status.Store(http.StatusOK)
	c.until("it is well", func() bool { return c.settled("/a") && c.app("/a").Healthy == 1 })
}

// TestNeverHealthy: while new instances are not healthy the old ones stay.
func TestNeverHealthy(t *testing.T) {
	c := newCell(t, cellConfig{})
	port, status := patient(t)
	c.run("/a", `"instances": 2`)
	old := c.taskIDs("/a")
	status.Store(http.StatusInternalServerError)
	d := c.deploy(http.MethodPut, "/v2/apps/a", fmt.Sprintf(`{"healthChecks": [{"port": %d, "gracePeriodSeconds": 0, "intervalSeconds": 1, "delaySeconds": 0, "maxConsecutiveFailures": 0}]}`, port))
	c.until("the new ones are unhealthy", func() bool { return c.app("/a").Unhealthy == 2 })
	truth := c.truth()
	for _, id := range old {
		if truth[id] != "TASK_RUNNING" {
			t.Errorf("%s is %s", id, truth[id])
		}
	}
	var list []struct{ Waiting map[string]string }
	c.ok(http.MethodGet, "/v2/deployments", "", &list)
	if w := list[0].Waiting["/a"]; !strings.HasPrefix(w, "0 of 2 instances of the new version healthy; a.instance-") || !strings.Contains(w, " is unhealthy for ") {
		t.Error(w)
	}
	c.deploy(http.MethodDelete, "/v2/deployments/"+d, "")
	c.until("all is back", func() bool { return c.settled("/a") })
	if diff := cmp.Diff(old, c.taskIDs("/a")); diff != "" {
		t.Error(diff)
	}
}

// TestWorkersCheck: what a worker's own check says counts too.
func TestWorkersCheck(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.ok(http.MethodPost, "/v2/apps", `{"id": "/a", "cmd": "x", "cpus": 0.1, "healthChecks": [{"protocol": "COMMAND", "command": {"value": "true"}}]}`, nil)
	c.until("it runs", func() bool { a := c.app("/a"); return a.TasksRunning == 1 && len(a.Deployments) == 1 })
	id := c.taskIDs("/a")[0]
	say := func(well bool) {
		for _, w := range c.workers {
			w.Health(c.live, id, well)
		}
	}
	say(true)
	c.until("it is healthy", func() bool { return c.settled("/a") && c.app("/a").Healthy == 1 })
	say(false)
	c.until("it is not healthy", func() bool { return c.app("/a").Unhealthy == 1 })
	say(true)
	c.until("it is healthy again", func() bool { return c.app("/a").Healthy == 1 })
}

// TestChecksOfOwnVersion: after a restart, too, an instance is asked what its own
// version says and not what is wanted by now.
func TestChecksOfOwnVersion(t *testing.T) {
	var one, two atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/one" {
			one.Add(1)
		} else {
			two.Add(1)
		}
	}))
	defer s.Close()
	check := func(path string) string {
		return fmt.Sprintf(`"healthChecks": [{"port": %s, "path": %q, "intervalSeconds": 1, "delaySeconds": 0}]`, s.URL[strings.LastIndexByte(s.URL, ':')+1:], path)
	}
	c := newCell(t, cellConfig{outcome: slow("slow")})
	c.run("/a", `"instances": 1, `+check("/one"))
	c.ok(http.MethodPut, "/v2/apps/a", `{"cmd": "slow", `+check("/two")+`}`, nil)
	c.stop()
	before := one.Load()
	c.start()
	c.until("it is asked again", func() bool { return one.Load() > before+1 })
	if n := two.Load(); n > 0 {
		t.Errorf("what does not run yet, or another, was asked %d times", n)
	}
}

// TestReadiness: a new instance counts when it says that it is ready.
func TestReadiness(t *testing.T) {
	port, status := patient(t)
	status.Store(http.StatusServiceUnavailable)
	c := newCell(t, cellConfig{resources: fmt.Sprintf("cpus:8;mem:16384;disk:100000;ports:[%d-%d]", port, port)})
	c.ok(http.MethodPost, "/v2/apps", fmt.Sprintf(`{"id": "/a", "cmd": "x", "cpus": 0.1, "portDefinitions": [{"port": %d, "name": "http-api"}], "requirePorts": true,
		"readinessChecks": [{"name": "ready", "path": "/ready", "intervalSeconds": 2, "timeoutSeconds": 1, "preserveLastResponse": true}]}`, port), nil)
	want := `"currentActions":[{"action":"ScaleApplication","app":"/a","readinessCheckResults":[{"name":"ready","taskId":"a.instance-UUID._app.1","ready":false,"lastResponse":{"status":503,"contentType":"text/plain","body":"I am /ready"}}]}],"currentStep":2,"totalSteps":2`
	c.until("it is asked", func() bool {
		_, body := c.call(http.MethodGet, "/v2/deployments", "")
		return strings.Contains(scrub(body), want)
	})
	if a := c.app("/a"); a.TasksRunning != 1 || len(a.Deployments) != 1 {
		t.Errorf("%+v", a)
	}
	if b := c.backends(port); len(b) != 1 || b[0].Healthy {
		t.Errorf("it is not ready, and served by %+v", b)
	}
	status.Store(http.StatusOK)
	c.until("it is ready", func() bool { return c.settled("/a") })
	if b := c.backends(port); len(b) != 1 || !b[0].Healthy {
		t.Errorf("it is ready, and served by %+v", b)
	}
	_, body := c.call(http.MethodGet, "/v2/apps?embed=apps.readiness", "")
	if !strings.Contains(body, `"ready":true,"lastResponse":{"status":200,`) {
		t.Error(body)
	}
}
