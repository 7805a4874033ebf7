package master

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

func TestRefusedCalls(t *testing.T) {
	const id = "all-known"
	bubble(t, func(e *env) {
		info := named("f")
		info.ID = &mesos.ID{Value: id}
		e.register(info)
		gone := named("g")
		gone.ID = &mesos.ID{Value: "gone"}
		e.register(gone).stream.Close()
		for _, c := range []struct {
			name, method, body string
			headers            []string
			code               int
			want               string
		}{
			{name: "GET", method: http.MethodGet, code: 405, want: "Expecting 'POST', received 'GET'"},
			{name: "no type", headers: []string{"Content-Type", ""}, code: 400, want: "Expecting 'Content-Type' to be present"},
			{name: "text", headers: []string{"Content-Type", "text/plain"}, code: 415, want: "Expecting 'Content-Type' of application/json"},
			{name: "protobuf", headers: []string{"Content-Type", "application/x-protobuf"}, code: 415, want: "'Content-Type' application/x-protobuf is not supported; use application/json"},
			{name: "no JSON", body: "{", code: 400, want: "Failed to parse body into JSON: unexpected end of JSON input"},
			{name: "wrong JSON", body: `{"type":1}`, code: 400, want: "Failed to convert JSON into Call protobuf: json: cannot unmarshal number into Go struct field wireCall.Call.type of type string"},
			{name: "empty", body: `{}`, code: 400, want: "Failed to validate scheduler::Call: Expecting 'type' to be present"},
			{name: "too long", body: `"` + strings.Repeat("x", maxBody) + `"`, code: 413, want: "The body is longer than 4194304 bytes"},
			{name: "unknown type", body: `{"type":"DANCE","framework_id":{"value":"x"}}`, code: 400, want: "Call type 'DANCE' is not supported"},
			{name: "message", body: `{"type":"MESSAGE","framework_id":{"value":"x"}}`, code: 400, want: "MESSAGE is not supported: there are no custom executors"},
			{name: "no framework", body: `{"type":"REVIVE"}`, code: 400, want: "Failed to validate scheduler::Call: Expecting 'framework_id' to be present"},
			{name: "no accept", body: `{"type":"ACCEPT","framework_id":{"value":"x"}}`, code: 400, want: "Failed to validate scheduler::Call: Expecting 'accept' to be present"},
			{name: "no decline", body: `{"type":"DECLINE","framework_id":{"value":"x"},"decline":null}`, code: 400, want: "Failed to validate scheduler::Call: Expecting 'decline' to be present"},
			{name: "no kill", body: `{"type":"KILL","framework_id":{"value":"x"}}`, code: 400, want: "Failed to validate scheduler::Call: Expecting 'kill' to be present"},
			{name: "no reconcile", body: `{"type":"RECONCILE","framework_id":{"value":"x"}}`, code: 400, want: "Failed to validate scheduler::Call: Expecting 'reconcile' to be present"},
			{name: "no acknowledge", body: `{"type":"ACKNOWLEDGE","framework_id":{"value":"x"}}`, code: 400, want: "Failed to validate scheduler::Call: Expecting 'acknowledge' to be present"},
			{name: "bad uuid", body: `{"type":"ACKNOWLEDGE","framework_id":{"value":"x"},"acknowledge":{"uuid":"aGk="}}`, code: 400, want: "Failed to validate scheduler::Call: Not a valid UUID"},
			{
				name: "grace", body: `{"type":"KILL","framework_id":{"value":"x"},"kill":{"task_id":{"value":"a"},"kill_policy":{"grace_period":{"nanoseconds":-1}}}}`,
				code: 400, want: "Failed to validate scheduler::Call: 'kill.kill_policy.grace_period' must be non-negative",
			},
			{name: "no stream", body: `{"type":"REVIVE","framework_id":{"value":"x"}}`, code: 400, want: "All non-subscribe calls should include the 'Mesos-Stream-Id' header"},
			{name: "unknown framework", body: `{"type":"REVIVE","framework_id":{"value":"x"}}`, headers: []string{"Mesos-Stream-Id", "y"}, code: 400, want: "Framework cannot be found"},
			{
				name: "another's framework", body: `{"type":"REVIVE","framework_id":{"value":"all-known"}}`, headers: []string{"Mesos-Stream-Id", "y"},
				code: 400, want: "Authenticated principal 'tester' does not match principal 'sched' set in `FrameworkInfo`",
			},
			{
				name: "unsubscribed", body: `{"type":"REVIVE","framework_id":{"value":"gone"}}`, headers: []string{"Mesos-Stream-Id", "y", "Authorization", basic("sched")},
				code: 403, want: "Framework is not subscribed",
			},
			{
				name: "another stream", body: `{"type":"REVIVE","framework_id":{"value":"all-known"}}`, headers: []string{"Mesos-Stream-Id", "y", "Authorization", basic("sched")},
				code: 400, want: "The stream ID 'y' included in this request didn't match the stream ID currently associated with framework ID all-known",
			},
			{
				name: "reserve", body: `{"type":"ACCEPT","framework_id":{"value":"x"},"accept":{"offer_ids":[],"operations":[{"type":"RESERVE"}]}}`,
				code: 400, want: "Operation 'RESERVE' is not supported; LAUNCH is",
			},
			{
				name: "launch group", body: `{"type":"ACCEPT","framework_id":{"value":"x"},"accept":{"operations":[{"type":"LAUNCH_GROUP"}]}}`,
				code: 400, want: "Operation 'LAUNCH_GROUP' is not supported; LAUNCH is",
			},
			{
				name: "no launch", body: `{"type":"ACCEPT","framework_id":{"value":"x"},"accept":{"operations":[{"type":"LAUNCH"}]}}`,
				code: 400, want: "Failed to validate scheduler::Call: Expecting 'launch' to be present",
			},
			{
				name: "wrong task", body: `{"type":"ACCEPT","framework_id":{"value":"x"},"accept":{"operations":[{"type":"LAUNCH","launch":{"task_infos":[{"name":1}]}}]}}`,
				code: 400, want: "Failed to convert JSON into Call protobuf: json: cannot unmarshal number into Go struct field TaskInfo.name of type string",
			},
			{name: "no subscribe", body: `{"type":"SUBSCRIBE"}`, code: 400, want: "Failed to validate scheduler::Call: Expecting 'subscribe' to be present"},
			{
				name: "two ids", body: `{"type":"SUBSCRIBE","framework_id":{"value":"x"},"subscribe":{"framework_info":{"name":"n","user":"u"}}}`,
				code: 400, want: "Failed to validate scheduler::Call: 'framework_id' differs from 'subscribe.framework_info.id'",
			},
			{
				name: "subscribe with stream", body: `{"type":"SUBSCRIBE","subscribe":{"framework_info":{}}}`, headers: []string{"Mesos-Stream-Id", "y"},
				code: 400, want: "Subscribe calls should not include the 'Mesos-Stream-Id' header",
			},
			{
				name: "subscribe for protobuf", body: `{"type":"SUBSCRIBE","subscribe":{"framework_info":{}}}`, headers: []string{"Accept", "application/x-protobuf"},
				code: 406, want: "Expecting 'Accept' to allow application/json",
			},
			{
				name: "subscribe as another", body: `{"type":"SUBSCRIBE","subscribe":{"framework_info":{"principal":"root"}}}`,
				code: 400, want: "Authenticated principal 'tester' does not match principal 'root' set in `FrameworkInfo`",
			},
			{name: "nobody", headers: []string{"Authorization", ""}, code: 401, want: "This path wants the credentials of the cell"},
			{name: "stranger", headers: []string{"Authorization", basic("stranger")}, code: 403, want: "not allowed: stranger"},
		} {
			if c.method == "" {
				c.method = http.MethodPost
			}
			code, text := e.send(c.method, "/api/v1/scheduler", c.body, c.headers...)
			if code != c.code || text != c.want {
				t.Errorf("%s:\n got %d %s\nwant %d %s", c.name, code, text, c.code, c.want)
			}
		}
	})
}

func basic(user string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, "pw")
	return r.Header.Get("Authorization")
}

func TestRefusedFrameworks(t *testing.T) {
	bubble(t, func(e *env) {
		mine := named("mine")
		mine.ID = &mesos.ID{Value: "mine"}
		e.register(mine)
		for _, c := range []struct {
			change     func(*mesos.FrameworkInfo)
			suppressed []string
			want       string
		}{
			{func(f *mesos.FrameworkInfo) { f.Role = "a b" }, nil, "Role 'a b' contains invalid characters"},
			{func(f *mesos.FrameworkInfo) { f.Role = "a/../b" }, nil, "Role 'a/../b' has the invalid part '..'"},
			{func(f *mesos.FrameworkInfo) { f.Role = "-a" }, nil, "Role '-a' has the invalid part '-a'"},
			{func(f *mesos.FrameworkInfo) { f.Role = "/a" }, nil, "Role '/a' cannot start or end with a slash"},
			{func(f *mesos.FrameworkInfo) { f.Roles = []string{"a"} }, nil, "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"},
			{multi("", "a", "a"), nil, "'FrameworkInfo.roles' contains duplicate items: a"},
			{multi("", "a", ""), nil, "Empty role name is invalid"},
			{multi("b", "a"), nil, "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"},
			{multi("", make([]string, 101)...), nil, "'FrameworkInfo.roles' has more than 100 roles"},
			{multi("", "a"), []string{"b"}, "Suppressed role 'b' is not contained in the list of roles"},
			{func(f *mesos.FrameworkInfo) { f.ID = &mesos.ID{Value: "../x"} }, nil, "'FrameworkInfo.id' is invalid: '../x' contains invalid characters"},
			{func(f *mesos.FrameworkInfo) { f.FailoverTimeout = -1 }, nil, "'FrameworkInfo.failover_timeout' must not be negative"},
		} {
			info := named("f")
			c.change(&info)
			s := e.subscribe(mesos.Subscribe{FrameworkInfo: info, SuppressedRoles: c.suppressed})
			if got := s.next(mesos.EventError).Error.Message; got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			s.over()
		}
		stream, err := e.client("thief").Subscribe(e.t.Context(), mesos.Subscribe{FrameworkInfo: mine})
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		if event, err := stream.Next(); err != nil || event.Error == nil || event.Error.Message != "Changing framework's principal is not allowed" {
			t.Errorf("%+v %v", event, err)
		}
	})
}

func multi(role string, roles ...string) func(*mesos.FrameworkInfo) {
	return func(f *mesos.FrameworkInfo) {
		f.Role, f.Roles = role, roles
		f.Capabilities = append(f.Capabilities, mesos.Capability{Type: mesos.CapMultiRole})
	}
}

func TestRefusedTasks(t *testing.T) {
	bubble(t, func(e *env) {
		e.stop()
		e.cfg.Policy = func(f mesos.FrameworkInfo, task mesos.TaskInfo) error {
			if task.Container != nil && task.Container.Docker.Privileged {
				return fmt.Errorf("%s: privileged containers are not allowed in this project", f.Name)
			}
			return nil
		}
		e.start()
		s := e.register(named("f"))
		e.worker("w1", small)
		offer := s.offer()
		s.launch(offer, todo(t, "there", "cpus:0.1", offer))
		offer = s.offer() // before its worker has even heard of the task
		s.ack(s.status())
		for _, c := range []struct {
			change       func(*mesos.TaskInfo)
			reason, want string
		}{
			{func(i *mesos.TaskInfo) { i.TaskID.Value = "a/b" }, "", "Task has an invalid ID: 'a/b' contains invalid characters"},
			{func(i *mesos.TaskInfo) { i.TaskID.Value = "" }, "", "Task has an invalid ID: ID must not be empty"},
			{func(i *mesos.TaskInfo) { i.TaskID.Value = strings.Repeat("x", 256) }, "", "Task has an invalid ID: ID must not be greater than 255 characters"},
			{func(i *mesos.TaskInfo) { i.TaskID.Value = ".." }, "", "Task has an invalid ID: '..' is disallowed"},
			{func(i *mesos.TaskInfo) { i.TaskID.Value = "there" }, "", "Task has duplicate ID: there"},
			{func(i *mesos.TaskInfo) { i.AgentID.Value = "x" }, "", "Task uses invalid agent x while agent AGENT is expected"},
			{func(i *mesos.TaskInfo) { i.Executor = json.RawMessage(`{"executor_id":{"value":"e"}}`) }, "", "Task has an ExecutorInfo; custom executors are not supported: give a CommandInfo"},
			{func(i *mesos.TaskInfo) { i.Command = nil }, "", "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"},
			{func(i *mesos.TaskInfo) { i.Resources = nil }, "", "Task uses no resources"},
			{func(i *mesos.TaskInfo) { i.Resources = []mesos.Resource{mesos.NewScalar("cpus", 0)} }, "", "Task uses no resources"},
			{func(i *mesos.TaskInfo) { i.Resources = []mesos.Resource{mesos.NewScalar("cpus", -1)} }, "", "Task uses invalid resources: resource 'cpus' must be a number from 0 to 1000000000000"},
			{func(i *mesos.TaskInfo) { i.Resources = []mesos.Resource{mesos.NewScalar("cpus", 5)} }, "", "Task uses more resources cpus:5 than available cpus:3.9; mem:1024; disk:1000; ports:[31000-31009]"},
			{func(i *mesos.TaskInfo) {
				i.Resources = []mesos.Resource{mesos.NewRanges("ports", mesos.Range{Begin: 80, End: 80})}
			}, "", "Task uses more resources ports:[80-80] than available cpus:3.9; mem:1024; disk:1000; ports:[31000-31009]"},
			{func(i *mesos.TaskInfo) { i.Resources = []mesos.Resource{mesos.NewScalar("gpus", 1)} }, "", "Task uses invalid resources: 'gpus' is not supported"},
			{func(i *mesos.TaskInfo) { i.Resources = mesos.Resources(i.Resources).Allocate("web") }, "", "Task uses invalid resources: 'cpus' is allocated to role 'web' while the offer is for role '*'"},
			{func(i *mesos.TaskInfo) { i.Limits = map[string]mesos.Limit{"disk": {Value: 1}} }, "", "Task has a limit of 'disk'; only cpus and mem can be limited"},
			{func(i *mesos.TaskInfo) { i.Limits = map[string]mesos.Limit{"cpus": {Value: 0.5}} }, "", "Task has a limit of 'cpus' below what it asks for"},
			{func(i *mesos.TaskInfo) {
				i.KillPolicy = &mesos.KillPolicy{GracePeriod: &mesos.Duration{Nanoseconds: -1}}
			}, "", "Task's 'kill_policy.grace_period' must be non-negative"},
			{func(i *mesos.TaskInfo) { i.Container = &mesos.ContainerInfo{Type: "JAIL"} }, "", "Task has a container of the unsupported type 'JAIL'"},
			{func(i *mesos.TaskInfo) { i.Container = &mesos.ContainerInfo{Type: "DOCKER"} }, "", "Task has a container of type DOCKER without DockerInfo"},
			{
				func(i *mesos.TaskInfo) {
					i.Container = &mesos.ContainerInfo{Type: "MESOS", Mesos: &mesos.MesosInfo{Image: &mesos.Image{Type: "APPC"}}}
				}, "", "Task has an image of the unsupported type 'APPC'",
			},
			{
				func(i *mesos.TaskInfo) {
					i.Container = &mesos.ContainerInfo{Type: "MESOS", Volumes: []mesos.Volume{{ContainerPath: "/d", Source: &mesos.VolumeSource{Type: "DOCKER_VOLUME"}}}}
				}, "", "Task has a volume at '/d' of the unsupported source type 'DOCKER_VOLUME'",
			},
			{func(i *mesos.TaskInfo) { i.HealthCheck = &mesos.HealthCheck{Type: "PRAY"} }, "", "Task has a health check of the unsupported type 'PRAY'"},
			{func(i *mesos.TaskInfo) { i.Check = &mesos.CheckInfo{Type: "PRAY"} }, "", "Task has a check of the unsupported type 'PRAY'"},
			{
				func(i *mesos.TaskInfo) {
					i.Container = &mesos.ContainerInfo{Type: "DOCKER", Docker: &mesos.DockerInfo{Image: "i", Privileged: true}}
				}, mesos.ReasonTaskUnauthorized, "f: privileged containers are not allowed in this project",
			},
		} {
			task := todo(t, "bad", "cpus:1", offer)
			c.change(&task)
			s.launch(offer, task)
			if c.reason == "" {
				c.reason = mesos.ReasonTaskInvalid
			}
			got := s.status()
			want := strings.ReplaceAll(c.want, "AGENT", offer.AgentID.Value)
			wantState(t, got, task.TaskID.Value, mesos.TaskError, c.reason, want)
			offer = s.offer()
		}
		task := todo(t, "free", "cpus:1", offer)
		task.Limits = map[string]mesos.Limit{"cpus": {Value: math.Inf(1)}}
		s.launch(offer, task)
		wantState(t, s.status(), "free", mesos.TaskRunning, "", "")
	})
}

func TestInvalidOffers(t *testing.T) {
	bubble(t, func(e *env) {
		s := e.register(named("f"))
		e.worker("w1", small)
		one := s.offer()
		e.worker("w2", small)
		two := s.offer()
		both := func(ids ...mesos.ID) mesos.TaskStatus {
			s.call(mesos.Call{Type: mesos.CallAccept, Accept: &mesos.Accept{
				OfferIDs: ids, Operations: []mesos.Operation{{Type: mesos.OperationLaunch, Launch: &mesos.Launch{TaskInfos: []mesos.TaskInfo{todo(t, "one", "cpus:1", one)}}}},
			}})
			return s.status()
		}
		const begin = "Task launched with invalid offers: "
		wantState(t, both(one.ID, two.ID), "one", mesos.TaskDropped, mesos.ReasonInvalidOffers,
			begin+"Aggregated offers must belong to one single agent. Offer "+two.ID.Value+" uses agent "+two.AgentID.Value+" and agent "+one.AgentID.Value)
		again := s.skip(mesos.EventOffers).Offers.Offers
		if len(again) != 2 {
			t.Fatalf("%d offers after both were used in vain", len(again))
		}
		wantState(t, both(one.ID), "one", mesos.TaskDropped, mesos.ReasonInvalidOffers, begin+"Offer "+one.ID.Value+" is no longer valid")
		wantState(t, both(), "one", mesos.TaskDropped, mesos.ReasonInvalidOffers, begin+"No offers specified")
		wantState(t, both(again[0].ID, again[0].ID), "one", mesos.TaskDropped, mesos.ReasonInvalidOffers, begin+"Duplicate offer "+again[0].ID.Value+" in offer list")
	})
}

func TestDecodeTask(t *testing.T) {
	for _, c := range []struct{ text, problem, err string }{
		{text: `{"name":"n","executor":null,"container":null}`},
		{text: `{"name":"n","labels":null,"resources":[{"name":"cpus","disk":null,"revocable":null}],"max_completion_time":null}`},
		{text: `{"name":"n","resources":[{"name":"disk","disk":{"persistence":{"id":"p"}}}]}`, problem: "Task uses the field 'disk', which is not supported"},
		{text: `{"name":"n","container":{"type":"MESOS","linux_info":{}}}`, problem: "Task uses the field 'linux_info', which is not supported"},
		{text: `{"name":"n","container":3}`, err: "json: cannot unmarshal number into Go struct field TaskInfo.container of type mesos.ContainerInfo"},
	} {
		l, err := decodeTask([]byte(c.text))
		text := ""
		if err != nil {
			text = err.Error()
		}
		if l.problem != c.problem || text != c.err || l.info.Name != "n" {
			t.Errorf("%s: %q %q", c.text, l.problem, text)
		}
	}
}

func TestRefusedWorkers(t *testing.T) {
	bubble(t, func(e *env) {
		a := e.worker("w1", small)
		task := `{"framework_id":{"value":"f"},"info":{"task_id":{"value":"t"}},"status":{}}`
		for _, c := range []struct {
			path, body string
			code       int
			want       string
		}{
			{workerapi.PathSubscribe, `{}`, 400, "Failed to register the worker: the session must have 1 to 255 characters"},
			{workerapi.PathSubscribe, `{"session":"s"}`, 400, "Failed to register the worker: the worker's hostname must have 1 to 255 characters"},
			{workerapi.PathSubscribe, `{"session":"s","info":{"hostname":"h","port":-1}}`, 400, "Failed to register the worker: the worker's port -1 is no port"},
			{workerapi.PathSubscribe, `{"session":"s","info":{"hostname":"h","id":{"value":"a/b"}}}`, 400, "Failed to register the worker: the worker's id is invalid: 'a/b' contains invalid characters"},
			{
				workerapi.PathSubscribe, `{"session":"s","info":{"hostname":"h","resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":-1}}]}}`, 400,
				"Failed to register the worker: the worker has invalid resources: resource 'cpus' must be a number from 0 to 1000000000000",
			},
			{workerapi.PathSubscribe, `{"session":"s","info":{"hostname":"h"},"tasks":[` + task + `,` + task + `]}`, 400, "Failed to register the worker: the worker names task 't' twice"},
			{workerapi.PathSubscribe, `{"session":"s","info":{"hostname":"h"},"tasks":[{"framework_id":{"value":"f"}}]}`, 400, "Failed to register the worker: a task of the worker is invalid: ID must not be empty"},
			{workerapi.PathCall, `{"type":"PONG"}`, 404, "The worker is not registered; register it again"},
			{workerapi.PathCall, `{"type":"DANCE"}`, 400, "Call type 'DANCE' is not supported"},
			{workerapi.PathCall, `{"type":"UPDATE"}`, 400, "Expecting 'update' to be present"},
			{workerapi.PathCall, `{"type":"UPDATE","update":{}}`, 400, "Failed to take the update: ID must not be empty"},
			{workerapi.PathCall, `{"type":"INFO"}`, 400, "Expecting 'info' to be present"},
			{workerapi.PathCall, `{"type":"INFO","info":{}}`, 400, "Failed to take the worker's info: the worker's hostname must have 1 to 255 characters"},
			{workerapi.PathCall, `{"type":"PONG","agent_id":{"value":"` + a.info.ID.Value + `"},"session":"x"}`, 409, "A newer session of the worker is connected"},
		} {
			code, text := e.send(http.MethodPost, c.path, c.body)
			if code != c.code || text != c.want {
				t.Errorf("%s %s:\n got %d %s\nwant %d %s", c.path, c.body, code, text, c.code, c.want)
			}
		}
	})
}

func TestBadConfig(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"cannot make a master: Config.Dir is empty":     func(c *Config) { c.Dir = "" },
		"cannot make a master: Config.Authorize is nil": func(c *Config) { c.Authorize = nil },
		"cannot make a master: Config.Address is empty": func(c *Config) { c.Address = netip.AddrPort{} },
	} {
		cfg := config(t.TempDir())
		change(&cfg)
		if _, err := New(cfg); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
