package master

import (
	"maps"
	"net"
	"strconv"

	"howdah.dev/howdah/internal/cell/mesos"
)

// object is JSON whose keys are Mesos's; its reads have no schema but habit.
type object = map[string]any

// amounts are resources as reads show them: numbers, and ranges as text.
func amounts(rs mesos.Resources) object {
	out := object{"cpus": 0.0, "gpus": 0.0, "mem": 0.0, "disk": 0.0}
	for _, r := range rs {
		switch {
		case r.Type == mesos.Scalar:
			out[r.Name] = rs.Scalar(r.Name)
		case r.Type == mesos.Ranges:
			out[r.Name] = mesos.FormatRanges(rs.Ranges(r.Name))
		case r.Set != nil:
			out[r.Name] = mesos.Attribute{Set: r.Set}.String()
		}
	}
	return out
}

func (m *Master) stateView(s *snapshot) any {
	info := m.Info()
	out := m.version()
	maps.Copy(out, object{
		"id": s.id, "pid": info.PID, "hostname": info.Hostname, "cluster": m.cfg.Cluster,
		"start_time": seconds(s.started), "elected_time": seconds(s.started),
		"leader": info.PID, "leader_info": object{"id": s.id, "pid": info.PID, "port": info.Port, "hostname": info.Hostname},
		"capabilities": []string{}, "flags": m.flags(),
		"activated_slaves": float64(len(s.workers) - s.inactive), "deactivated_slaves": float64(s.inactive), "unreachable_slaves": float64(s.unreachable),
		"slaves": workerObjects(s.workers), "recovered_slaves": workerObjects(s.recovered),
		"frameworks": frameworkObjects(s.frameworks), "completed_frameworks": frameworkObjects(s.removed),
		"orphan_tasks": []object{}, "unregistered_frameworks": []string{},
	})
	return out
}

func workerObjects(workers []workerView) []object {
	out := make([]object, len(workers))
	for i, w := range workers {
		out[i] = w.object()
	}
	return out
}

func (w workerView) pid() string { return "slave(1)@" + w.address }

func (w workerView) object() object {
	attributes := object{}
	for _, a := range w.info.Attributes {
		if attributes[a.Name] = a.String(); a.Scalar != nil {
			attributes[a.Name] = a.Scalar.Value
		}
	}
	reserved := object{}
	for _, r := range w.reserved {
		role := r.ReservedFor()
		reserved[role] = amounts(w.reserved.Where(func(o mesos.Resource) bool { return o.ReservedFor() == role }))
	}
	out := object{
		"id": w.id, "hostname": w.info.Hostname, "port": w.info.Port, "attributes": attributes,
		"pid": w.pid(), "url": "http://" + w.address, "active": w.active, "deactivated": false, "version": mesosVersion,
		"registered_time": seconds(w.registered), "resources": amounts(w.total), "used_resources": amounts(w.used),
		"offered_resources": amounts(w.offered), "reserved_resources": reserved,
		"unreserved_resources": amounts(w.total.Where(func(r mesos.Resource) bool { return r.ReservedFor() == mesos.DefaultRole })),
		"capabilities":         []string{},
	}
	if w.reregistered != w.registered {
		out["reregistered_time"] = seconds(w.reregistered)
	}
	if w.info.Domain != nil {
		out["domain"] = w.info.Domain
	}
	return out
}

func frameworkObjects(frameworks []frameworkView) []object {
	out := make([]object, len(frameworks))
	for i, f := range frameworks {
		out[i] = f.object()
		tasks, unreachable := []taskObject{}, []taskObject{}
		for _, t := range f.tasks {
			if t.state == mesos.TaskUnreachable {
				unreachable = append(unreachable, t.object())
			} else {
				tasks = append(tasks, t.object())
			}
		}
		completed := make([]taskObject, len(f.completed))
		for j, t := range f.completed {
			completed[j] = t.object()
		}
		out[i]["tasks"], out[i]["unreachable_tasks"], out[i]["completed_tasks"] = tasks, unreachable, completed
		out[i]["executors"], out[i]["completed_executors"] = []object{}, []object{}
	}
	return out
}

// object is a framework without its tasks.
func (f frameworkView) object() object {
	capabilities := make([]string, len(f.info.Capabilities))
	for i, c := range f.info.Capabilities {
		capabilities[i] = c.Type
	}
	offers := make([]object, len(f.offers))
	for i, id := range f.offers {
		offers[i] = object{"id": id}
	}
	used := f.used()
	out := object{
		"id": f.id, "name": f.info.Name, "user": f.info.User, "principal": f.info.Principal, "hostname": f.info.Hostname,
		"webui_url": f.info.WebUIURL, "failover_timeout": f.info.FailoverTimeout, "checkpoint": f.info.Checkpoint,
		"active": f.connected, "connected": f.connected, "recovered": f.recovered, "capabilities": capabilities,
		"registered_time": seconds(f.registered), "reregistered_time": seconds(f.reregistered), "unregistered_time": seconds(f.unregistered),
		"used_resources": amounts(used), "offered_resources": amounts(f.offered), "resources": amounts(mesos.Sum(used, f.offered)),
		"offers": offers,
	}
	if f.info.Has(mesos.CapMultiRole) {
		out["roles"] = f.roles
	} else if len(f.roles) > 0 {
		out["role"] = f.roles[0]
	}
	return out
}

// taskObject is a task as reads show it. It is a struct because there are
// thousands.
type taskObject struct {
	ID          string               `json:"id"`
	Name        string               `json:"name"`
	FrameworkID string               `json:"framework_id"`
	ExecutorID  string               `json:"executor_id"`
	SlaveID     string               `json:"slave_id"`
	State       mesos.TaskState      `json:"state"`
	Resources   object               `json:"resources"`
	Role        string               `json:"role"`
	User        string               `json:"user"`
	Statuses    []statusObject       `json:"statuses"`
	Labels      []mesos.Label        `json:"labels,omitempty"`
	Discovery   *mesos.DiscoveryInfo `json:"discovery,omitempty"`
	Container   *mesos.ContainerInfo `json:"container,omitempty"`
	HealthCheck *mesos.HealthCheck   `json:"health_check,omitempty"`
}

type statusObject struct {
	State           mesos.TaskState        `json:"state"`
	Timestamp       float64                `json:"timestamp"`
	Labels          []mesos.Label          `json:"labels,omitempty"`
	ContainerStatus *mesos.ContainerStatus `json:"container_status,omitempty"`
	Healthy         *bool                  `json:"healthy,omitempty"`
}

func labels(l *mesos.Labels) []mesos.Label {
	if l == nil {
		return nil
	}
	return l.Labels
}

func (t taskView) object() taskObject {
	out := taskObject{
		ID: t.TaskID.Value, Name: t.Name, FrameworkID: t.framework, SlaveID: t.worker, State: t.state,
		Resources: amounts(t.use), Role: t.role, User: t.user, Labels: labels(t.Labels), Discovery: t.Discovery,
		Container: t.Container, HealthCheck: t.HealthCheck, Statuses: make([]statusObject, len(t.statuses)),
	}
	for i, s := range t.statuses {
		out.Statuses[i] = statusObject{s.State, s.Timestamp, labels(s.Labels), s.ContainerStatus, s.Healthy}
	}
	return out
}

func (m *Master) flags() object {
	return object{
		"hostname": m.cfg.Hostname, "ip": m.cfg.Address.Addr().String(), "port": strconv.Itoa(int(m.cfg.Address.Port())),
		"cluster": m.cfg.Cluster, "allocation_interval": m.cfg.Cycle.String(), "agent_ping_timeout": m.cfg.Ping.String(),
		"agent_reregister_timeout": m.cfg.Reregister.String(), "authenticate_http_frameworks": "true",
		"authenticate_http_readonly": "true", "authenticate_http_readwrite": "true",
		"advertise": net.JoinHostPort(m.cfg.Hostname, strconv.Itoa(int(m.cfg.Address.Port()))),
	}
}

func (m *Master) version() object {
	return object{
		"version": mesosVersion, "git_sha": "", "git_tag": "", "build_date": "", "build_time": 0.0, "build_user": "howdah",
		"implementation": "howdah",
	}
}
