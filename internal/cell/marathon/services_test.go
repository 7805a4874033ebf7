package marathon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/serviceapi"
)

// services asks for the table of services.
func (c *cell) services(after string, headers ...string) serviceapi.Table {
	c.t.Helper()
	a := c.ask(http.MethodGet, serviceapi.Path+"?after="+after, "", headers...)
	if a.code != http.StatusOK {
		c.t.Fatalf("%d %s", a.code, a.body)
	}
	var t serviceapi.Table
	if err := json.Unmarshal([]byte(a.body), &t); err != nil {
		c.t.Fatal(err)
	}
	return t
}

// tasksAt are the tasks behind a port, sorted.
func tasksAt(t serviceapi.Table, port int) []string {
	out := []string{}
	for _, s := range t.Services {
		if s.Port != port {
			continue
		}
		for _, b := range s.Backends {
			out = append(out, b.Task)
		}
	}
	slices.Sort(out)
	return out
}

// backends are the tasks behind a port, with where they are and whether they are served.
func (c *cell) backends(port int) []serviceapi.Backend {
	c.t.Helper()
	var out []serviceapi.Backend
	for _, s := range c.services("").Services {
		if s.Port == port {
			out = append(out, s.Backends...)
		}
	}
	slices.SortFunc(out, func(a, b serviceapi.Backend) int { return strings.Compare(a.Task, b.Task) })
	return out
}

// next asks for tables until one is as wanted.
func (c *cell) next(after string, is func(serviceapi.Table) bool) serviceapi.Table {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		t := c.services(after)
		if is(t) {
			return t
		}
		after = t.Revision
	}
	c.t.Fatal("waited in vain for another table of services")
	return serviceapi.Table{}
}

// TestServices shows who is behind a service port, with the labels that load
// balancers go by.
func TestServices(t *testing.T) {
	c := newCell(t, cellConfig{})
	empty := c.services("")
	if len(empty.Services) != 0 || empty.Revision == "" {
		t.Fatalf("there are services before there are apps: %+v", empty)
	}
	c.run("/shop/web", `"instances": 2, "labels": {"HAPROXY_GROUP": "external", "owner": "me"}, "portDefinitions": [
		{"port": 10007, "name": "http", "labels": {"VIP_0": "10.0.0.1:80", "other": "x"}}, {"port": 10008, "protocol": "udp,tcp"}]`)
	table := c.next(empty.Revision, func(t serviceapi.Table) bool { return len(tasksAt(t, 10007)) == 2 })
	if diff := cmp.Diff(c.taskIDs("/shop/web"), tasksAt(table, 10007)); diff != "" {
		t.Error(diff)
	}
	ports := map[string][]int{}
	for _, task := range c.app("/shop/web").Tasks {
		ports[task.ID] = task.Ports
	}
	for n := range table.Services {
		s := &table.Services[n]
		for _, b := range s.Backends {
			want := serviceapi.Backend{Host: "127.0.0.1", Port: ports[b.Task][s.Port-10007], Task: b.Task, Healthy: true}
			if diff := cmp.Diff(want, b); diff != "" {
				t.Error(diff)
			}
		}
		s.Backends = nil
	}
	want := []serviceapi.Service{
		{Port: 10007, App: "/shop/web", Protocol: "tcp", Name: "http", Labels: map[string]string{"HAPROXY_GROUP": "external", "VIP_0": "10.0.0.1:80"}},
		{Port: 10008, App: "/shop/web", Protocol: "udp", Labels: map[string]string{"HAPROXY_GROUP": "external"}},
		{Port: 10008, App: "/shop/web", Protocol: "tcp", Labels: map[string]string{"HAPROXY_GROUP": "external"}},
	}
	if diff := cmp.Diff(want, table.Services); diff != "" {
		t.Error(diff)
	}
	if other := c.services("", as("depot:viewer")); len(other.Services) != 0 {
		t.Errorf("another project sees %v", other.Services)
	}
	if own := c.services("", as("shop:viewer")); len(own.Services) != 3 {
		t.Errorf("the own project sees %v", own.Services)
	}
	c.stop()
	c.start()
	if again := c.services(""); again.Revision != table.Revision {
		t.Errorf("after a restart the same table has revision %s, was %s", again.Revision, table.Revision)
	}
}

// TestServicesWait answers as soon as the table changes: for an instance that is
// to end, before it has.
func TestServicesWait(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.run("/web", `"instances": 2, "portDefinitions": [{"port": 10007}]`)
	before := c.services("")
	type answer struct {
		table serviceapi.Table
		at    time.Time
	}
	got := make(chan answer, 1)
	go func() {
		a, err := c.try(http.MethodGet, serviceapi.Path+"?after="+before.Revision, "")
		var table serviceapi.Table
		if err == nil {
			err = json.Unmarshal([]byte(a.body), &table)
		}
		if err != nil {
			t.Error(err)
		}
		got <- answer{table, time.Now()}
	}()
	select {
	case a := <-got:
		t.Fatalf("answered though nothing had changed: %+v", a.table)
	case <-time.After(100 * time.Millisecond):
	}
	victim := c.taskIDs("/web")[0]
	asked := time.Now()
	c.ok(http.MethodDelete, fmt.Sprintf("/v2/apps/web/tasks/%s", victim), "", nil)
	a := <-got
	if slices.Contains(tasksAt(a.table, 10007), victim) {
		t.Errorf("the task that is to end is still there: %v", a.table)
	}
	if took := a.at.Sub(asked); took > serviceapi.MaxWait/2 { // 20 ms where nothing else runs
		t.Errorf("it took %s until the table was another", took)
	}
}

// TestServicesHealth counts an instance in only when its check has said so.
func TestServicesHealth(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.ok(http.MethodPost, "/v2/apps", `{"id": "/web", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32, "portDefinitions": [{"port": 10007}],
		"healthChecks": [{"protocol": "TCP", "portIndex": 0, "gracePeriodSeconds": 300, "intervalSeconds": 60}]}`, nil)
	c.until("the task runs", func() bool { return c.app("/web").TasksRunning == 1 })
	table := c.services("")
	if len(tasksAt(table, 10007)) != 1 || table.Services[0].Backends[0].Healthy {
		t.Errorf("nobody has asked how the instance is, and it is shown as %+v", table.Services)
	}
}

// TestServicesOfOldVersions: an instance is served by the ports and the checks of its
// own version, whatever is wanted by now.
func TestServicesOfOldVersions(t *testing.T) {
	c := newCell(t, cellConfig{outcome: slow("never")})
	c.run("/web", `"instances": 2, "portDefinitions": [{"port": 10000, "name": "http"}]`)
	was := c.backends(10000)
	if len(was) != 2 || strings.Contains(fmt.Sprint(was), "false") {
		t.Fatal(was)
	}
	c.ok(http.MethodPut, "/v2/apps/web", `{"cmd": "never", "portDefinitions": [{"port": 10001, "name": "admin"}, {"port": 10000, "name": "http"}],
		"healthChecks": [{"protocol": "TCP", "portIndex": 1}], "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0.5}}`, nil)
	c.until("an instance of the new version starts", func() bool { return c.app("/web").TasksStaged == 1 })
	if diff := cmp.Diff(was, c.backends(10000)); diff != "" {
		t.Error(diff)
	}
	if got := c.backends(10001); len(got) > 0 {
		t.Errorf("the new port leads to %v", got)
	}
}

// TestServicesReadyByOwnVersion: an instance serves once it is ready as its own
// version has it, also one that starts while another version is wanted.
func TestServicesReadyByOwnVersion(t *testing.T) {
	gate, open := context.WithCancel(t.Context())
	c := newCell(t, cellConfig{outcome: func(mesos.TaskInfo) (mesos.TaskState, string) { <-gate.Done(); return mesos.TaskRunning, "" }})
	t.Cleanup(open)
	c.ok(http.MethodPost, "/v2/apps", `{"id": "/a", "cmd": "one", "cpus": 0.1, "mem": 32, "portDefinitions": [{"port": 10007, "name": "web"}]}`, nil)
	c.until("it was launched", func() bool { return c.app("/a").TasksStaged == 1 })
	var d struct{ DeploymentID string }
	c.ok(http.MethodPut, "/v2/apps/a?force=true", `{"cmd": "two", "readinessChecks": [{"name": "r", "portName": "web"}]}`, &d)
	open()
	c.until("the first runs", func() bool { return c.app("/a").TasksRunning >= 1 })
	c.ok(http.MethodDelete, "/v2/deployments/"+d.DeploymentID, "", nil)
	c.until("the first version is back", func() bool { return c.settled("/a") })
	for _, s := range c.services("").Services {
		if len(s.Backends) != 1 || !s.Backends[0].Healthy {
			t.Errorf("of one instance that runs these serve: %+v", s.Backends)
		}
	}
}
