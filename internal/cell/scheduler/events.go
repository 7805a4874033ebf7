package scheduler

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/deploy"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
)

// Event is something that happened, in Marathon's words. Its JSON is made only
// where somebody listens.
type Event struct {
	Type string
	At   time.Time
	Body any // a struct, or nil
}

// MarshalJSON writes the body's members, eventType and timestamp.
func (e Event) MarshalJSON() ([]byte, error) {
	head, err := json.Marshal(struct {
		EventType string        `json:"eventType"`
		Timestamp app.Timestamp `json:"timestamp"`
	}{e.Type, app.At(e.At)})
	if err != nil || e.Body == nil {
		return head, err
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err = enc.Encode(e.Body)
	body := bytes.TrimSuffix(text.Bytes(), []byte("\n"))
	if err != nil {
		return nil, fmt.Errorf("cannot encode event %s: %w", e.Type, err)
	}
	if len(body) <= len("{}") {
		return head, nil
	}
	return append(append(head[:len(head)-1], ','), body[1:]...), nil
}

type appEvent struct {
	AppID string `json:"appId"`
}

type registeredEvent struct {
	FrameworkID string `json:"frameworkId,omitempty"`
	Master      string `json:"master"`
}

type unknownEvent struct {
	InstanceID string             `json:"instanceId"`
	RunSpecID  string             `json:"runSpecId"`
	Condition  instance.Condition `json:"condition"`
}

type statusEvent struct {
	SlaveID     string            `json:"slaveId"`
	TaskID      string            `json:"taskId"`
	TaskStatus  mesos.TaskState   `json:"taskStatus"`
	Message     string            `json:"message"`
	AppID       string            `json:"appId"`
	Host        string            `json:"host"`
	IPAddresses []mesos.IPAddress `json:"ipAddresses"`
	Ports       []int             `json:"ports"`
	Version     app.Timestamp     `json:"version"`
}

type conditionEvent struct {
	InstanceID     string             `json:"instanceId"`
	Condition      instance.Condition `json:"condition"`
	RunSpecID      string             `json:"runSpecId"`
	AgentID        string             `json:"agentId"`
	Host           string             `json:"host"`
	RunSpecVersion app.Timestamp      `json:"runSpecVersion"`
}

// checkEvent says that a version of an app is checked.
type checkEvent struct {
	AppID       string          `json:"appId"`
	Version     app.Timestamp   `json:"version"`
	HealthCheck app.HealthCheck `json:"healthCheck"`
}

type failedCheckEvent struct {
	AppID       string          `json:"appId"`
	TaskID      string          `json:"taskId"`
	HealthCheck app.HealthCheck `json:"healthCheck"`
}

type unhealthyKillEvent struct {
	AppID      string        `json:"appId"`
	TaskID     string        `json:"taskId"`
	InstanceID string        `json:"instanceId"`
	Version    app.Timestamp `json:"version"`
	Reason     string        `json:"reason"`
	Host       string        `json:"host"`
	SlaveID    string        `json:"slaveId"`
}

type healthEvent struct {
	AppID      string        `json:"appId"`
	InstanceID string        `json:"instanceId"`
	Version    app.Timestamp `json:"version"`
	Alive      bool          `json:"alive"`
}

type instanceHealthEvent struct {
	InstanceID     string        `json:"instanceId"`
	RunSpecID      string        `json:"runSpecId"`
	Healthy        bool          `json:"healthy"`
	RunSpecVersion app.Timestamp `json:"runSpecVersion"`
}

type plan struct {
	ID      string        `json:"id"`
	Version app.Timestamp `json:"version"`
	Steps   []deploy.Step `json:"steps"`
	about   []string
}

type deploymentEvent struct {
	ID          string       `json:"id,omitempty"`
	Plan        plan         `json:"plan"`
	CurrentStep *deploy.Step `json:"currentStep,omitempty"`
	Reason      string       `json:"reason,omitempty"`
}

type groupEvent struct {
	GroupID string        `json:"groupId"`
	Version app.Timestamp `json:"version"`
	Reason  string        `json:"reason,omitempty"`
	about   []string
}

// About returns the ids of the apps and groups an event is about; none when it is
// about the scheduler itself.
func (e Event) About() []string {
	if b, ok := e.Body.(interface{ About() []string }); ok {
		return b.About()
	}
	return nil
}

// State returns the state of the task that an event is an update of, "" for others.
func (e Event) State() mesos.TaskState {
	s, _ := e.Body.(statusEvent)
	return s.TaskStatus
}

func (e appEvent) About() []string            { return []string{e.AppID} }
func (e unknownEvent) About() []string        { return []string{e.RunSpecID} }
func (e statusEvent) About() []string         { return []string{e.AppID} }
func (e conditionEvent) About() []string      { return []string{e.RunSpecID} }
func (e checkEvent) About() []string          { return []string{e.AppID} }
func (e failedCheckEvent) About() []string    { return []string{e.AppID} }
func (e unhealthyKillEvent) About() []string  { return []string{e.AppID} }
func (e healthEvent) About() []string         { return []string{e.AppID} }
func (e instanceHealthEvent) About() []string { return []string{e.RunSpecID} }
func (e deploymentEvent) About() []string     { return e.Plan.about }
func (e groupEvent) About() []string          { return e.about }

func (t *tx) emit(kind string, body any) {
	t.events = append(t.events, Event{Type: kind, At: t.now, Body: body})
}

func (t *tx) emitStatus(i *instance.Instance, s *mesos.TaskStatus) {
	addresses := []mesos.IPAddress{}
	for _, a := range i.Addresses {
		addresses = append(addresses, mesos.IPAddress{IPAddress: a, Protocol: "IPv4"})
	}
	ports := i.Ports
	if ports == nil {
		ports = []int{}
	}
	t.emit("status_update_event", statusEvent{
		SlaveID: i.AgentID, TaskID: i.TaskID(), TaskStatus: s.State, Message: s.Message, AppID: i.App, Host: i.Reach(),
		IPAddresses: addresses, Ports: ports, Version: app.Timestamp{Time: i.Version},
	})
	t.emitCondition(i)
}

func (t *tx) emitCondition(i *instance.Instance) {
	t.emit("instance_changed_event", conditionEvent{
		InstanceID: i.ID, Condition: i.Condition, RunSpecID: i.App, AgentID: i.AgentID, Host: i.Reach(), RunSpecVersion: app.Timestamp{Time: i.Version},
	})
}

func (d *Deployment) plan() plan { return plan{d.ID, d.Version, d.Steps, d.ids()} }

// ids are those of all that the deployment is about.
func (d *Deployment) ids() []string { return slices.AppendSeq(d.Apps(), maps.Keys(d.Groups)) }

func (d *Deployment) shownStep(n int) *deploy.Step {
	if n < 0 || n >= len(d.Steps) {
		return nil
	}
	return &d.Steps[n]
}

func (t *tx) emitDeploymentInfo(d *Deployment) {
	t.emit("group_change_success", groupEvent{GroupID: "/", Version: d.Version, about: d.ids()})
	t.emit("deployment_info", deploymentEvent{Plan: d.plan(), CurrentStep: d.shownStep(d.Step())})
}

func (t *tx) emitStep(d *Deployment) {
	t.emit("deployment_step_success", deploymentEvent{Plan: d.plan(), CurrentStep: d.shownStep(d.stepOf(d.Reached - 1))})
}

func (t *tx) emitStalled(d *Deployment) {
	t.emit("deployment_step_failure", deploymentEvent{Plan: d.plan(), CurrentStep: d.shownStep(d.Step()), Reason: d.Stalled})
}

func (t *tx) emitDeploymentEnd(d *Deployment, why string) {
	kind := "deployment_success"
	if why != "" {
		kind = "deployment_failed"
	}
	t.emit(kind, deploymentEvent{ID: d.ID, Plan: d.plan(), Reason: why})
}

func hostPort(a *mesos.Address) string {
	host := a.Hostname
	if host == "" {
		host = a.IP
	}
	return net.JoinHostPort(host, strconv.Itoa(a.Port))
}
