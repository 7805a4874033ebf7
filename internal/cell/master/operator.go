package master

import (
	"encoding/json"
	"net/http"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

// operator is POST /api/v1: reads of the v1 operator API.
func (m *Master) operator(w http.ResponseWriter, r *http.Request) error {
	var call struct {
		Type string `json:"type"`
	}
	if err := decode(w, r, maxBody, "Call", &call); err != nil {
		return err
	}
	if call.Type == "" {
		return refuse(http.StatusBadRequest, "Failed to validate master::Call: Expecting 'type' to be present")
	}
	if !acceptsJSON(r.Header.Values("Accept")) {
		return refuse(http.StatusNotAcceptable, "Expecting 'Accept' to allow application/json")
	}
	answer, err := m.operatorAnswer(r, call.Type)
	if err != nil {
		return err
	}
	answer["type"] = call.Type
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(body)
	return err
}

func (m *Master) operatorAnswer(r *http.Request, kind string) (object, error) {
	switch kind {
	case "GET_HEALTH":
		return object{"get_health": object{"healthy": true}}, nil
	case "GET_VERSION":
		return object{"get_version": object{"version_info": object{"version": mesosVersion, "build_user": "howdah"}}}, nil
	case "GET_METRICS":
		all, err := m.measure(r.Context())
		if err != nil {
			return nil, err
		}
		metrics := []object{}
		for _, name := range sortedKeys(all) {
			metrics = append(metrics, object{"name": name, "value": all[name]})
		}
		return object{"get_metrics": object{"metrics": metrics}}, nil
	case "GET_MASTER", "GET_AGENTS", "GET_FRAMEWORKS", "GET_TASKS", "GET_STATE":
	default:
		return nil, refuse(http.StatusNotImplemented, "Call type '%.64s' is not supported", kind)
	}
	s, err := m.look(r.Context())
	if err != nil {
		return nil, err
	}
	switch kind {
	case "GET_MASTER":
		start := float64(s.started.UnixNano()) / 1e9
		return object{"get_master": object{"master_info": m.Info(), "start_time": start, "elected_time": start}}, nil
	case "GET_AGENTS":
		return object{"get_agents": v1Agents(s)}, nil
	case "GET_FRAMEWORKS":
		return object{"get_frameworks": v1Frameworks(s)}, nil
	case "GET_TASKS":
		return object{"get_tasks": v1Tasks(s)}, nil
	}
	return object{"get_state": object{
		"get_tasks": v1Tasks(s), "get_frameworks": v1Frameworks(s), "get_agents": v1Agents(s),
		"get_executors": object{},
	}}, nil
}

func nanoseconds(t time.Time) object {
	if t.IsZero() {
		return object{"nanoseconds": 0}
	}
	return object{"nanoseconds": t.UnixNano()}
}

func v1Agents(s *snapshot) object {
	agents, recovered := []object{}, []mesos.AgentInfo{}
	for _, w := range s.workers {
		agents = append(agents, object{
			"agent_info": w.info, "active": w.active, "deactivated": false, "version": mesosVersion, "pid": w.pid(),
			"registered_time": nanoseconds(w.registered), "reregistered_time": nanoseconds(w.reregistered),
			"total_resources": w.total.Refined(), "allocated_resources": w.used.Refined(), "offered_resources": w.offered.Refined(),
		})
	}
	for _, w := range s.recovered {
		info := w.info
		info.ID = &mesos.ID{Value: w.id}
		recovered = append(recovered, info)
	}
	return object{"agents": agents, "recovered_agents": recovered}
}

func v1Frameworks(s *snapshot) object {
	each := func(views []frameworkView) []object {
		out := []object{}
		for _, f := range views {
			out = append(out, object{
				"framework_info": f.info, "active": f.connected, "connected": f.connected, "recovered": f.recovered,
				"registered_time": nanoseconds(f.registered), "reregistered_time": nanoseconds(f.reregistered),
				"unregistered_time":   nanoseconds(f.unregistered),
				"allocated_resources": f.used().Refined(), "offered_resources": f.offered.Refined(),
			})
		}
		return out
	}
	return object{"frameworks": each(s.frameworks), "completed_frameworks": each(s.removed)}
}

// v1Task is a task as the operator API shows it.
type v1Task struct {
	Name        string               `json:"name"`
	TaskID      mesos.ID             `json:"task_id"`
	FrameworkID mesos.ID             `json:"framework_id"`
	AgentID     mesos.ID             `json:"agent_id"`
	State       mesos.TaskState      `json:"state"`
	Resources   []mesos.Resource     `json:"resources"`
	Statuses    []mesos.TaskStatus   `json:"statuses"`
	Labels      *mesos.Labels        `json:"labels,omitempty"`
	Discovery   *mesos.DiscoveryInfo `json:"discovery,omitempty"`
	Container   *mesos.ContainerInfo `json:"container,omitempty"`
	HealthCheck *mesos.HealthCheck   `json:"health_check,omitempty"`
}

func v1Tasks(s *snapshot) object {
	tasks, unreachable, completed := []v1Task{}, []v1Task{}, []v1Task{}
	show := func(t taskView) v1Task {
		return v1Task{
			Name: t.Name, TaskID: t.TaskID, FrameworkID: mesos.ID{Value: t.framework}, AgentID: mesos.ID{Value: t.worker},
			State: t.state, Resources: t.use.Refined(), Statuses: t.statuses, Labels: t.Labels, Discovery: t.Discovery,
			Container: t.Container, HealthCheck: t.HealthCheck,
		}
	}
	for _, f := range s.frameworks {
		for _, t := range f.tasks {
			if t.state == mesos.TaskUnreachable {
				unreachable = append(unreachable, show(t))
			} else {
				tasks = append(tasks, show(t))
			}
		}
		for _, t := range f.completed {
			completed = append(completed, show(t))
		}
	}
	return object{"tasks": tasks, "unreachable_tasks": unreachable, "completed_tasks": completed, "orphan_tasks": []v1Task{}, "pending_tasks": []v1Task{}}
}
