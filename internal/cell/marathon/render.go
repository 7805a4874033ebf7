package marathon

import (
	"slices"
	"strings"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/scheduler"
)

// embeds are the parts of an answer that a client asks for.
type embeds struct {
	tasks, counts, deployments, readiness, lastFailure, stats bool
}

// readEmbeds reads the embed parameters that begin with a prefix such as "apps.".
func readEmbeds(values []string, prefix string) embeds {
	var e embeds
	for _, v := range values {
		name, ok := strings.CutPrefix(v, prefix)
		if !ok {
			continue
		}
		switch name {
		case "tasks":
			e.tasks, e.deployments = true, true
		case "counts", "count":
			e.counts = true
		case "deployments":
			e.deployments = true
		case "readiness":
			e.readiness = true
		case "lastTaskFailure":
			e.lastFailure = true
		case "failures":
			e.tasks, e.deployments, e.lastFailure = true, true, true
		case "taskStats":
			e.stats = true
		}
	}
	return e
}

// lasting tells whether an answer stays right until something changes: ages do not.
func (e embeds) lasting() bool { return !e.stats }

// key names a set of embeds.
func (e embeds) key() string {
	var b strings.Builder
	for i, on := range []bool{e.tasks, e.counts, e.deployments, e.readiness, e.lastFailure, e.stats} {
		if on {
			b.WriteByte("tcdrfs"[i])
		}
	}
	return b.String()
}

type idRef struct {
	ID string `json:"id"`
}

// counts are how many instances of an app are what.
type counts struct {
	Staged    int `json:"tasksStaged"`
	Running   int `json:"tasksRunning"`
	Healthy   int `json:"tasksHealthy"`
	Unhealthy int `json:"tasksUnhealthy"`
}

// appView is an app as the API shows it.
type appView struct {
	*app.App
	*counts
	Deployments []idRef                 `json:"deployments,omitzero"`
	Readiness   []scheduler.ReadyResult `json:"readinessCheckResults,omitzero"`
	LastFailure *scheduler.Failure      `json:"lastTaskFailure,omitempty"`
	Tasks       []taskView              `json:"tasks,omitzero"`
	Stats       *statsView              `json:"taskStats,omitempty"`
}

// taskView is a task as the API shows it.
type taskView struct {
	ID           string             `json:"id"`
	AppID        string             `json:"appId"`
	Host         string             `json:"host"`             // where its ports are reached
	Worker       string             `json:"worker,omitempty"` // name of the worker; Howdah's own
	IPAddresses  []mesos.IPAddress  `json:"ipAddresses"`
	Ports        []int              `json:"ports"`
	ServicePorts []int              `json:"servicePorts,omitzero"`
	AgentID      string             `json:"slaveId"`
	State        mesos.TaskState    `json:"state"`
	StagedAt     app.Timestamp      `json:"stagedAt"`
	StartedAt    *app.Timestamp     `json:"startedAt,omitempty"`
	Version      app.Timestamp      `json:"version"`
	LocalVolumes []struct{}         `json:"localVolumes"`
	Results      []scheduler.Result `json:"healthCheckResults,omitempty"`
	Region       string             `json:"region,omitempty"`
	Zone         string             `json:"zone,omitempty"`
	Role         string             `json:"role,omitempty"`
	Notice       string             `json:"notice,omitempty"` // a limit it runs into; Howdah's own
}

// showApp makes an app's view.
func showApp(v scheduler.View, a *scheduler.App, e embeds) appView {
	out := appView{App: a.Spec}
	instances := v.Instances(a.Spec.ID)
	if e.counts {
		out.counts = count(a.Spec, instances)
	}
	if e.deployments {
		out.Deployments = []idRef{}
		for _, d := range v.DeploymentsOf(a.Spec.ID) {
			out.Deployments = append(out.Deployments, idRef{d.ID})
		}
	}
	if e.lastFailure {
		out.LastFailure = a.LastFailure
	}
	if e.readiness {
		out.Readiness = []scheduler.ReadyResult{}
		for _, i := range instances {
			if c := v.Checks(i.ID); c != nil {
				out.Readiness = append(out.Readiness, c.Ready...)
			}
		}
	}
	if e.tasks {
		out.Tasks = []taskView{}
		for _, i := range instances {
			out.Tasks = append(out.Tasks, showTask(v, i))
		}
	}
	if e.stats {
		out.Stats = stats(a.Spec, instances)
	}
	return out
}

func count(spec *app.App, instances []*instance.Instance) *counts {
	var c counts
	for _, i := range instances {
		switch i.Condition {
		case instance.Provisioned, instance.Staging, instance.Starting:
			c.Staged++
		case instance.Running, instance.Killing:
			c.Running++
		default: // away, or ended
		}
		if i.Healthy != nil && len(spec.HealthChecks) > 0 {
			if *i.Healthy {
				c.Healthy++
			} else {
				c.Unhealthy++
			}
		}
	}
	return &c
}

// showTask makes a task's view.
func showTask(v scheduler.View, i *instance.Instance) taskView {
	t := taskView{
		ID: i.TaskID(), AppID: i.App, Host: i.Reach(), Worker: i.Host, IPAddresses: []mesos.IPAddress{}, Ports: slices.Clone(i.Ports), AgentID: i.AgentID,
		State: i.State, StagedAt: app.At(i.StagedAt), Version: app.Timestamp{Time: i.Version}, LocalVolumes: []struct{}{},
		Region: i.Region, Zone: i.Zone, Role: i.Role, Notice: i.Notice,
	}
	if t.Ports == nil {
		t.Ports = []int{}
	}
	for _, a := range i.Addresses {
		t.IPAddresses = append(t.IPAddresses, mesos.IPAddress{IPAddress: a, Protocol: "IPv4"})
	}
	if i.StartedAt != nil {
		at := app.At(*i.StartedAt)
		t.StartedAt = &at
	}
	if c := v.Checks(i.ID); c != nil {
		for _, r := range c.Results {
			if r.FirstSuccess != nil || r.LastFailure != nil {
				t.Results = append(t.Results, r)
			}
		}
	}
	return t
}

// servicePorts returns the service ports of an app, in the order of its ports.
func servicePorts(spec *app.App) []int {
	ports := []int{}
	for _, p := range spec.PortDefinitions {
		ports = append(ports, p.Port)
	}
	if spec.Container != nil {
		for _, p := range spec.Container.PortMappings {
			ports = append(ports, p.ServicePort)
		}
	}
	return ports
}
