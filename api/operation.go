package api

import "time"

// OperationState is where an operation stands.
type OperationState string

// States of an operation. The last four are final; a failed one may be
// retried.
const (
	OperationQueued     OperationState = "queued"
	OperationRunning    OperationState = "running"
	OperationFailed     OperationState = "failed"
	OperationDone       OperationState = "done"
	OperationCancelled  OperationState = "cancelled"
	OperationSuperseded OperationState = "superseded"
	OperationAbandoned  OperationState = "abandoned"
)

// Final reports whether nothing happens to an operation in this state any more.
func (s OperationState) Final() bool {
	switch s {
	case OperationDone, OperationCancelled, OperationSuperseded, OperationAbandoned:
		return true
	case OperationQueued, OperationRunning, OperationFailed:
		return false
	}
	return false
}

// StepState is where a step stands.
type StepState string

// States of a step (DESIGN, operation engine).
const (
	StepTodo    StepState = "todo"
	StepDoing   StepState = "doing"
	StepWaiting StepState = "waiting"
	StepDone    StepState = "done"
	StepFailed  StepState = "failed"
	StepSkipped StepState = "skipped"
)

// Operation is the durable execution of a plan on one cluster.
type Operation struct {
	ID       int64          `json:"id" doc:"Number of the operation, rising"`
	Cluster  string         `json:"cluster" doc:"Cluster it changes"`
	Kind     string         `json:"kind" enum:"apply,start,stop,delete,smoke,repair" doc:"What was asked for"`
	State    OperationState `json:"state" enum:"queued,running,failed,done,cancelled,superseded,abandoned" doc:"Where it stands"`
	Reason   string         `json:"reason,omitempty" doc:"Why it is where it is"`
	By       string         `json:"by,omitempty" doc:"Who asked for it: the name of a token, owner, or howdah itself"`
	Cause    string         `json:"cause,omitempty" doc:"Why howdah itself asked for it"`
	Created  time.Time      `json:"created" doc:"When it was asked for"`
	Started  *time.Time     `json:"started,omitempty" doc:"When its first step began"`
	Finished *time.Time     `json:"finished,omitempty" doc:"When it reached a final state"`
	Steps    []Step         `json:"steps,omitempty" doc:"Its steps"`
}

// Step is one journaled piece of an operation.
type Step struct {
	ID       int64      `json:"id" doc:"Number of the step, unique in the installation"`
	Kind     string     `json:"kind" doc:"Kind of step"`
	Node     string     `json:"node,omitempty" doc:"Node it is about"`
	Title    string     `json:"title" doc:"What it does, in words"`
	Phase    string     `json:"phase" enum:"artifacts,nodes,services,smoke,drain,remove" doc:"Part of the operation its time counts for"`
	State    StepState  `json:"state" enum:"todo,doing,waiting,done,failed,skipped" doc:"Where it stands"`
	Waiting  string     `json:"waiting,omitempty" doc:"What it waits for"`
	Until    *time.Time `json:"until,omitempty" doc:"When it gives up waiting"`
	Error    string     `json:"error,omitempty" doc:"Why it failed, or what the last try said"`
	Tries    int        `json:"tries" doc:"How often it was begun"`
	Optional bool       `json:"optional,omitempty" doc:"Whether the operation goes on without it; it is skipped where it fails"`
	After    []int64    `json:"after,omitempty" doc:"Steps that must be done first"`
	Started  *time.Time `json:"started,omitempty" doc:"When it was begun first"`
	Finished *time.Time `json:"finished,omitempty" doc:"When it ended"`
}

// EventLost is the type of the event that tells a reader which resumes of events it
// cannot have any more.
const EventLost = "history.lost"

// Event is one line of an installation's history.
type Event struct {
	ID        int64          `json:"id" doc:"Number of the event, rising without gaps visible to one reader"`
	Time      time.Time      `json:"time" doc:"When it happened"`
	Type      string         `json:"type" doc:"Kind of event, as operation.done or service.ready"`
	Cluster   string         `json:"cluster,omitempty" doc:"Cluster concerned"`
	Node      string         `json:"node,omitempty" doc:"Node concerned"`
	Service   string         `json:"service,omitempty" doc:"Service concerned"`
	Operation int64          `json:"operation,omitempty" doc:"Operation concerned"`
	Message   string         `json:"message" doc:"What happened, in words"`
	Data      map[string]any `json:"data,omitempty" doc:"Figures"`
}
