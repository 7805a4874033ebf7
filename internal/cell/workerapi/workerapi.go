// Package workerapi owns the messages between the embedded master and its
// workers. The worker dials: one POST to PathSubscribe is answered by a stream
// of Orders in RecordIO that lasts as long as both live; everything the worker
// has to say is a POST to PathCall. Workers own the truth about their tasks: a
// master that lost everything knows it again once its workers have registered.
package workerapi

import "howdah.dev/howdah/internal/cell/mesos"

// The paths of the master that workers call. Both want the cell's credentials
// and JSON.
const (
	PathSubscribe = "/worker/v1/subscribe"
	PathCall      = "/worker/v1/call"
)

// Register is the body of PathSubscribe.
type Register struct {
	// Info describes the worker. Its ID is what the master gave it before, kept on
	// disk; nil for a worker that never registered.
	Info mesos.AgentInfo `json:"info"`
	// Session is random for each connection. The newest fences older ones: a call
	// with an older session is refused with 409.
	Session string `json:"session"`
	// Tasks are all the worker has: living ones, and ended ones whose last status
	// was not acknowledged.
	Tasks []Task `json:"tasks,omitempty"`
	// Runtimes are what the worker can run containers with, best first: docker,
	// runc, plain.
	Runtimes []string `json:"runtimes,omitempty"`
	// Address is host:port of the worker's own API (its sandboxes), for tools and
	// offers; without it, it is the host name and port of Info.
	Address string `json:"address,omitempty"`
}

// Task is a task as its worker knows it.
type Task struct {
	FrameworkID mesos.ID         `json:"framework_id"`
	Info        mesos.TaskInfo   `json:"info"`
	Status      mesos.TaskStatus `json:"status"` // the newest
	// Pending are statuses that were not acknowledged, oldest first. The master
	// passes on the first and waits for its acknowledgement before the next.
	Pending []mesos.TaskStatus `json:"pending,omitempty"`
}

// Types of orders.
const (
	OrderRegistered  = "REGISTERED"
	OrderLaunch      = "LAUNCH"
	OrderKill        = "KILL"
	OrderAcknowledge = "ACKNOWLEDGE"
	OrderPing        = "PING"
	OrderShutdown    = "SHUTDOWN" // end all tasks of a framework that was removed
	OrderFenced      = "FENCED"   // a newer session of the same worker is connected; this one ends
)

// Order is what the master says to a worker. Orders may be repeated: a launch
// of a task the worker knows, a kill of one that ended and an acknowledgement
// of what is acknowledged change nothing.
type Order struct {
	Type        string       `json:"type"`
	Registered  *Registered  `json:"registered,omitempty"`
	Launch      *Launch      `json:"launch,omitempty"`
	Kill        *Kill        `json:"kill,omitempty"`
	Acknowledge *Acknowledge `json:"acknowledge,omitempty"`
	Shutdown    *Shutdown    `json:"shutdown,omitempty"`
}

// Registered is the first order of a stream.
type Registered struct {
	AgentID mesos.ID `json:"agent_id"` // the worker keeps it
	// PingSeconds is how often the master sends PING; a worker that hears nothing
	// for five times as long dials again.
	PingSeconds float64 `json:"ping_seconds"`
}

// Launch starts a task.
type Launch struct {
	FrameworkID mesos.ID       `json:"framework_id"`
	Task        mesos.TaskInfo `json:"task"`
}

// Kill ends a task: TERM, the grace period, KILL.
type Kill struct {
	FrameworkID mesos.ID          `json:"framework_id"`
	TaskID      mesos.ID          `json:"task_id"`
	KillPolicy  *mesos.KillPolicy `json:"kill_policy,omitempty"` // instead of the task's own
	// Announce asks for TASK_KILLING as soon as the task was told: its framework
	// knows that state (TASK_KILLING_STATE).
	Announce bool `json:"announce,omitempty"`
}

// Acknowledge says that the framework keeps a status; the worker may forget it.
type Acknowledge struct {
	FrameworkID mesos.ID `json:"framework_id"`
	TaskID      mesos.ID `json:"task_id"`
	UUID        []byte   `json:"uuid"`
}

// Shutdown ends all tasks of a framework.
type Shutdown struct {
	FrameworkID mesos.ID `json:"framework_id"`
}

// Types of calls.
const (
	CallUpdate = "UPDATE"
	CallPong   = "PONG"
	CallInfo   = "INFO" // attributes or resources of the worker changed
)

// Call is what a worker says to the master. It is answered by 202; by 409 when
// the session is not the newest; by 404 when the master does not know the
// worker, which then dials again.
type Call struct {
	AgentID mesos.ID         `json:"agent_id"`
	Session string           `json:"session"`
	Type    string           `json:"type"`
	Update  *Update          `json:"update,omitempty"`
	Info    *mesos.AgentInfo `json:"info,omitempty"`
}

// Update is a task's new status, with a UUID. The worker sends those of one task
// in order, the next after the acknowledgement, and repeats one that is not
// acknowledged after 10 s, then 20 s, to 10 min at most.
type Update struct {
	FrameworkID mesos.ID         `json:"framework_id"`
	Status      mesos.TaskStatus `json:"status"`
	// Latest is the task's newest state when Status is older: the master then knows
	// that a task has ended whose framework is away.
	Latest mesos.TaskState `json:"latest,omitempty"`
}
