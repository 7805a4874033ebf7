package mesos

// Types of calls of a scheduler.
const (
	CallSubscribe   = "SUBSCRIBE"
	CallTeardown    = "TEARDOWN"
	CallAccept      = "ACCEPT"
	CallDecline     = "DECLINE"
	CallRevive      = "REVIVE"
	CallSuppress    = "SUPPRESS"
	CallKill        = "KILL"
	CallShutdown    = "SHUTDOWN"
	CallAcknowledge = "ACKNOWLEDGE"
	CallReconcile   = "RECONCILE"
	CallMessage     = "MESSAGE"
	CallRequest     = "REQUEST"
)

// Call is what a scheduler says to the master.
type Call struct {
	FrameworkID *ID          `json:"framework_id,omitempty"`
	Type        string       `json:"type"`
	Subscribe   *Subscribe   `json:"subscribe,omitempty"`
	Accept      *Accept      `json:"accept,omitempty"`
	Decline     *Decline     `json:"decline,omitempty"`
	Revive      *Roles       `json:"revive,omitempty"`
	Suppress    *Roles       `json:"suppress,omitempty"`
	Kill        *Kill        `json:"kill,omitempty"`
	Acknowledge *Acknowledge `json:"acknowledge,omitempty"`
	Reconcile   *Reconcile   `json:"reconcile,omitempty"`
}

// Subscribe opens the stream of events.
type Subscribe struct {
	FrameworkInfo   FrameworkInfo `json:"framework_info"`
	SuppressedRoles []string      `json:"suppressed_roles,omitempty"`
}

// Filters say for how long not to offer again what was declined.
type Filters struct {
	RefuseSeconds *float64 `json:"refuse_seconds,omitempty"` // absent means 5; at most 365 days
}

// Accept uses offers, all of one worker.
type Accept struct {
	OfferIDs   []ID        `json:"offer_ids"`
	Operations []Operation `json:"operations,omitempty"`
	Filters    *Filters    `json:"filters,omitempty"`
}

// OperationLaunch is the one operation the embedded master carries out.
const OperationLaunch = "LAUNCH"

// Operation is one use of offers.
type Operation struct {
	Type   string  `json:"type"`
	Launch *Launch `json:"launch,omitempty"`
}

// Launch starts tasks.
type Launch struct {
	TaskInfos []TaskInfo `json:"task_infos"`
}

// Decline gives offers back.
type Decline struct {
	OfferIDs []ID     `json:"offer_ids"`
	Filters  *Filters `json:"filters,omitempty"`
}

// Roles limits a call to roles; none means all of the framework.
type Roles struct {
	Roles []string `json:"roles,omitempty"`
}

// Kill ends a task.
type Kill struct {
	TaskID     ID          `json:"task_id"`
	AgentID    *ID         `json:"agent_id,omitempty"`
	KillPolicy *KillPolicy `json:"kill_policy,omitempty"`
}

// Acknowledge says that a status with a UUID is kept for good.
type Acknowledge struct {
	AgentID ID     `json:"agent_id"`
	TaskID  ID     `json:"task_id"`
	UUID    []byte `json:"uuid"`
}

// Reconcile asks for the states of tasks, of all known ones if empty.
type Reconcile struct {
	Tasks []ReconcileTask `json:"tasks,omitempty"`
}

// ReconcileTask is a task asked for.
type ReconcileTask struct {
	TaskID  ID  `json:"task_id"`
	AgentID *ID `json:"agent_id,omitempty"`
}

// Types of events of the master.
const (
	EventSubscribed = "SUBSCRIBED"
	EventOffers     = "OFFERS"
	EventRescind    = "RESCIND"
	EventUpdate     = "UPDATE"
	EventMessage    = "MESSAGE"
	EventFailure    = "FAILURE"
	EventError      = "ERROR"
	EventHeartbeat  = "HEARTBEAT"
)

// Event is what the master says to a scheduler.
type Event struct {
	Type       string      `json:"type"`
	Subscribed *Subscribed `json:"subscribed,omitempty"`
	Offers     *Offers     `json:"offers,omitempty"`
	Rescind    *Rescind    `json:"rescind,omitempty"`
	Update     *Update     `json:"update,omitempty"`
	Failure    *Failure    `json:"failure,omitempty"`
	Error      *Error      `json:"error,omitempty"`
}

// Subscribed is the first event of a stream.
type Subscribed struct {
	FrameworkID              ID          `json:"framework_id"`
	HeartbeatIntervalSeconds float64     `json:"heartbeat_interval_seconds,omitempty"`
	MasterInfo               *MasterInfo `json:"master_info,omitempty"`
}

// Offers are new offers.
type Offers struct {
	Offers []Offer `json:"offers"`
}

// Rescind takes an offer back.
type Rescind struct {
	OfferID ID `json:"offer_id"`
}

// Update is a task's new status.
type Update struct {
	Status TaskStatus `json:"status"`
}

// Failure says that a worker is gone.
type Failure struct {
	AgentID *ID `json:"agent_id,omitempty"`
}

// Error ends a subscription.
type Error struct {
	Message string `json:"message"`
}
