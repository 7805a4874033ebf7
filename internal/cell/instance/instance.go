// Package instance owns what the scheduler knows of one instance of an app: from
// the intent to launch it until the worker said that it ended. Values only; who
// changes them is the scheduler.
package instance

import (
	"strconv"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

// Condition is what an instance is, in Marathon's words.
type Condition string

// The conditions of an instance.
const (
	// Provisioned: the launch is committed, the worker has not answered yet.
	Provisioned Condition = "Provisioned"
	Staging     Condition = "Staging"
	Starting    Condition = "Starting"
	Running     Condition = "Running"
	Killing     Condition = "Killing"
	// Unreachable: its worker is away; the instance still counts as active.
	Unreachable Condition = "Unreachable"
	// UnreachableInactive: away for so long that another takes its place.
	UnreachableInactive Condition = "UnreachableInactive"
	Finished            Condition = "Finished"
	Failed              Condition = "Failed"
	Killed              Condition = "Killed"
	Error               Condition = "Error"
	Gone                Condition = "Gone"
	Dropped             Condition = "Dropped"
	Unknown             Condition = "Unknown"
)

// Instance is one instance of an app.
type Instance struct {
	ID          string    `json:"id"`   // Marathon's instance id; the task id is ID + "._app." + Incarnation
	App         string    `json:"app"`  // absolute path id
	Role        string    `json:"role"` // the role its resources are from
	Incarnation int       `json:"incarnation"`
	Version     time.Time `json:"version"` // version of the app's configuration it was launched with

	Condition Condition       `json:"condition"`
	State     mesos.TaskState `json:"state,omitempty"` // newest of Mesos
	Since     time.Time       `json:"since"`           // when Condition became what it is
	Message   string          `json:"message,omitempty"`
	Reason    string          `json:"reason,omitempty"`

	AgentID    string            `json:"agentId"`
	Host       string            `json:"host"`              // name of the worker's machine
	Address    string            `json:"address,omitempty"` // of the worker, where its ports are reached; "" if Host is all that is known
	Region     string            `json:"region,omitempty"`
	Zone       string            `json:"zone,omitempty"`
	Attributes []mesos.Attribute `json:"attributes,omitempty"` // of the worker, for constraints

	Ports []int `json:"ports,omitempty"` // host ports, in the order of the app's port list
	// ServicePorts are those of its version, in the same order.
	ServicePorts []int    `json:"servicePorts,omitempty"`
	Addresses    []string `json:"addresses,omitempty"` // of its own container network

	StagedAt  time.Time  `json:"stagedAt"`
	StartedAt *time.Time `json:"startedAt,omitempty"`
	// Notice is what its worker said of a limit that it runs into, "" for nothing.
	Notice string `json:"notice,omitempty"`
	// Checked tells whether its version has health checks.
	Checked bool `json:"checked,omitempty"`
	// Healthy is nil while no health check has said anything.
	Healthy *bool `json:"healthy,omitempty"`
	// Ready is true once every readiness check of its version has passed; from the
	// beginning if there is none. Only what runs and is ready serves.
	Ready bool `json:"ready,omitempty"`
	// KillAsked is when the scheduler decided that this instance must end.
	KillAsked *time.Time `json:"killAsked,omitempty"`
	KillWhy   string     `json:"killWhy,omitempty"`
}

// TaskID returns the id of the instance's task in Marathon's format.
func (i *Instance) TaskID() string {
	return i.ID + "._app." + strconv.Itoa(i.Incarnation)
}

// Reach is where the instance's ports are asked from outside.
func (i *Instance) Reach() string {
	if i.Address != "" {
		return i.Address
	}
	return i.Host
}

// Terminal tells whether the instance has ended for good.
func (i *Instance) Terminal() bool {
	switch i.Condition {
	case Finished, Failed, Killed, Error, Gone, Dropped, Unknown:
		return true
	default:
		return false
	}
}

// Active tells whether the instance counts against the app's number: it has not
// ended, and it is not written off with its worker.
func (i *Instance) Active() bool { return !i.Terminal() && i.Condition != UnreachableInactive }
