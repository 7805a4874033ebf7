package api

// Words for where a service, a node or a cluster stands. Which of them each of
// the three can have, says the enum of its field or docs/reference/conditions.md.
const (
	StateWaiting   = "waiting"
	StateFetching  = "fetching"
	StatePreparing = "preparing"
	StateGated     = "gated"
	StateStarting  = "starting"
	StateReady     = "ready"
	StateUnhealthy = "unhealthy"
	StateStopping  = "stopping"
	StateStopped   = "stopped"
	StateFailed    = "failed"
	StateBlocked   = "blocked"
	StateUnknown   = "unknown"   // its agent is silent
	StateJoining   = "joining"   // of a node whose agent has not come yet
	StateCreating  = "creating"  // the rest are of clusters, StateChanging also of nodes
	StateChanging  = "changing"  //
	StateDegraded  = "degraded"  //
	StateSuspended = "suspended" //
	StateDeleting  = "deleting"  //
)

// Conditions, in Condition.Type.
const (
	ConditionReady           = "Ready"
	ConditionOperating       = "Operating"
	ConditionDataMissing     = "DataMissing" // of services and clusters
	ConditionStackOutdated   = "StackOutdated"
	ConditionAgentsConnected = "AgentsConnected"
	ConditionWeakened        = "Weakened" // of services: programs say so themselves
	ConditionExpired         = "Expired"
	ConditionBelowWanted     = "BelowWanted"
)
