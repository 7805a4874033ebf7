package master

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/mesos"
)

// dig follows keys and indexes through JSON.
func dig(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			list, _ := v.([]any)
			if p >= len(list) {
				return nil
			}
			v = list[p]
		}
	}
	return v
}

func TestReads(t *testing.T) {
	bubble(t, func(e *env) {
		info := named("f")
		info.Role = "web"
		s := e.register(info)
		total, err := mesos.ParseResources("cpus:4;mem:1024;cpus(web):2;ports(web):[80,443]")
		if err != nil {
			t.Fatal(err)
		}
		attributes, err := mesos.ParseAttributes("rack:r1;size:3")
		if err != nil {
			t.Fatal(err)
		}
		w := e.workerWith(mesos.AgentInfo{Hostname: "127.1.2.3", Port: 5051, Resources: total, Attributes: attributes})
		offer := s.offer()
		task := todo(t, "one", "cpus:1;mem:64;ports(web):[443]", offer)
		task.Labels = &mesos.Labels{Labels: []mesos.Label{{Key: "k", Value: "v"}}}
		task.Discovery = &mesos.DiscoveryInfo{Visibility: "FRAMEWORK", Name: "one", Ports: &mesos.DiscoveryPorts{Ports: []mesos.DiscoveryPort{{Number: 443}}}}
		task.Command.User = "web-user"
		s.launch(offer, task)
		s.ack(s.status())
		worker, pid := w.info.ID.Value, "slave(1)@127.1.2.3:5051"
		for _, c := range []struct {
			path string
			want any
			dig  []any
		}{
			{"/state", "master@127.0.0.1:5050", []any{"leader"}},
			{"/master/state.json", "master@127.0.0.1:5050", []any{"leader_info", "pid"}},
			{"/state.json", 1.0, []any{"activated_slaves"}},
			{"/master/state", pid, []any{"slaves", 0, "pid"}},
			{"/state", "http://127.1.2.3:5051", []any{"slaves", 0, "url"}},
			{"/state", map[string]any{"rack": "r1", "size": 3.0}, []any{"slaves", 0, "attributes"}},
			{"/state", map[string]any{"cpus": 6.0, "mem": 1024.0, "disk": 0.0, "gpus": 0.0, "ports": "[80-80, 443-443]"}, []any{"slaves", 0, "resources"}},
			{"/state", map[string]any{"cpus": 1.0, "mem": 64.0, "disk": 0.0, "gpus": 0.0, "ports": "[443-443]"}, []any{"slaves", 0, "used_resources"}},
			{"/state", 2.0, []any{"slaves", 0, "reserved_resources", "web", "cpus"}},
			{"/state", 4.0, []any{"slaves", 0, "unreserved_resources", "cpus"}},
			{"/state", "web", []any{"frameworks", 0, "role"}},
			{"/state", "sched", []any{"frameworks", 0, "principal"}},
			{"/state", map[string]any{
				"id": "one", "name": "one", "framework_id": s.id, "executor_id": "", "slave_id": worker, "state": "TASK_RUNNING", "role": "web", "user": "web-user",
				"resources": map[string]any{"cpus": 1.0, "mem": 64.0, "disk": 0.0, "gpus": 0.0, "ports": "[443-443]"},
				"labels":    []any{map[string]any{"key": "k", "value": "v"}},
				"discovery": map[string]any{"visibility": "FRAMEWORK", "name": "one", "ports": map[string]any{"ports": []any{map[string]any{"number": 443.0}}}},
				"statuses":  []any{map[string]any{"state": "TASK_STAGING", "timestamp": 946684800.0}, map[string]any{"state": "TASK_RUNNING", "timestamp": 946684800.0}},
			}, []any{"frameworks", 0, "tasks", 0}},
			{"/state-summary", 1.0, []any{"frameworks", 0, "TASK_RUNNING"}},
			{"/state-summary", []any{worker}, []any{"frameworks", 0, "slave_ids"}},
			{"/state-summary", []any{s.id}, []any{"slaves", 0, "framework_ids"}},
			{"/state-summary", 1.0, []any{"slaves", 0, "TASK_RUNNING"}},
			{"/slaves", worker, []any{"slaves", 0, "id"}},
			{"/master/slaves.json", nil, []any{"slaves", 1}},
			{"/frameworks", s.id, []any{"frameworks", 0, "id"}},
			{"/tasks", "one", []any{"tasks", 0, "id"}},
			{"/tasks?task_id=two", nil, []any{"tasks", 0}},
			{"/tasks?framework_id=two", nil, []any{"tasks", 0}},
			{"/tasks?limit=0", nil, []any{"tasks", 0}},
			{"/tasks?offset=1", nil, []any{"tasks", 0}},
			{"/roles", "web", []any{"roles", 1, "name"}},
			{"/roles", 1.0, []any{"roles", 1, "allocated", "cpus"}},
			{"/version", "1.11.0", []any{"version"}},
			{"/flags", "5050", []any{"flags", "port"}},
			{"/metrics/snapshot", 1.0, []any{"master/tasks_running"}},
		} {
			var v any
			e.get(c.path, &v)
			if diff := cmp.Diff(c.want, dig(v, c.dig...)); diff != "" {
				t.Errorf("%s %v: %s", c.path, c.dig, diff)
			}
		}
		for _, c := range []struct {
			call string
			want any
			dig  []any
		}{
			{"GET_HEALTH", true, []any{"get_health", "healthy"}},
			{"GET_VERSION", "1.11.0", []any{"get_version", "version_info", "version"}},
			{"GET_MASTER", "master.test", []any{"get_master", "master_info", "hostname"}},
			{"GET_AGENTS", worker, []any{"get_agents", "agents", 0, "agent_info", "id", "value"}},
			{"GET_AGENTS", "STATIC", []any{"get_agents", "agents", 0, "total_resources", 2, "reservations", 0, "type"}},
			{"GET_FRAMEWORKS", s.id, []any{"get_frameworks", "frameworks", 0, "framework_info", "id", "value"}},
			{"GET_TASKS", "one", []any{"get_tasks", "tasks", 0, "task_id", "value"}},
			{"GET_STATE", "TASK_RUNNING", []any{"get_state", "get_tasks", "tasks", 0, "state"}},
			{"GET_STATE", worker, []any{"get_state", "get_agents", "agents", 0, "agent_info", "id", "value"}},
			{"GET_METRICS", "master/cpus_percent", []any{"get_metrics", "metrics", 0, "name"}},
			{"GET_METRICS", "GET_METRICS", []any{"type"}},
		} {
			code, text := e.send(http.MethodPost, "/api/v1", `{"type":"`+c.call+`"}`)
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil || code != http.StatusOK {
				t.Fatalf("%s: %d %s", c.call, code, text)
			}
			if diff := cmp.Diff(c.want, dig(v, c.dig...)); diff != "" {
				t.Errorf("%s %v: %s", c.call, c.dig, diff)
			}
		}
	})
}

func TestReadsThatAreRefused(t *testing.T) {
	bubble(t, func(e *env) {
		nobody := []string{"Authorization", ""}
		for _, c := range []struct {
			method, path, body string
			headers            []string
			code               int
			want               string
		}{
			{method: http.MethodGet, path: "/health", headers: nobody, code: 200},
			{method: http.MethodGet, path: "/state", headers: nobody, code: 401, want: "This path wants the credentials of the cell"},
			{method: http.MethodGet, path: "/version", headers: nobody, code: 401, want: "This path wants the credentials of the cell"},
			{method: http.MethodGet, path: "/nothing", headers: nobody, code: 401, want: "This path wants the credentials of the cell"},
			{method: http.MethodGet, path: "/nothing", code: 404, want: "There is nothing at this path"},
			{method: http.MethodPost, path: "/state", code: 405, want: "Expecting one of { 'GET' }, but received 'POST'"},
			{method: http.MethodGet, path: "/tasks?limit=x", code: 400, want: "'limit' must be a whole number, 0 or more"},
			{method: http.MethodGet, path: "/tasks?offset=-1", code: 400, want: "'offset' must be a whole number, 0 or more"},
			{method: http.MethodPost, path: "/api/v1", body: `{}`, code: 400, want: "Failed to validate master::Call: Expecting 'type' to be present"},
			{method: http.MethodPost, path: "/api/v1", body: `{"type":"RESERVE_RESOURCES"}`, code: 501, want: "Call type 'RESERVE_RESOURCES' is not supported"},
			{method: http.MethodPost, path: "/api/v1", body: `{"type":"GET_STATE"}`, headers: []string{"Accept", "application/x-protobuf"}, code: 406, want: "Expecting 'Accept' to allow application/json"},
			{method: http.MethodGet, path: "/api/v1", code: 405, want: "Expecting 'POST', received 'GET'"},
			{method: http.MethodGet, path: "/redirect", code: 307},
		} {
			code, text := e.send(c.method, c.path, c.body, c.headers...)
			if code != c.code || text != c.want {
				t.Errorf("%s %s: got %d %s, want %d %s", c.method, c.path, code, text, c.code, c.want)
			}
		}
	})
}

func TestStateIsMadeOnce(t *testing.T) {
	bubble(t, func(e *env) {
		e.worker("w1", small)
		built := 0
		read := e.m.cached("test", func(s *snapshot) any { built++; return len(s.workers) })
		ask := func(want string) {
			t.Helper()
			w := httptest.NewRecorder()
			read(w, httptest.NewRequest(http.MethodGet, "/test", nil))
			if w.Body.String() != want {
				t.Errorf("got %s, want %s", w.Body.String(), want)
			}
		}
		ask("1")
		ask("1")
		if built != 1 {
			t.Errorf("made %d times", built)
		}
		e.worker("w2", small)
		ask("2")
		if built != 2 {
			t.Errorf("made %d times", built)
		}
	})
}
