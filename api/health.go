package api

import "time"

// Conditions of nodes, in Condition.Type; clusters have those of their nodes.
const (
	ConditionDiskPressure   = "DiskPressure"
	ConditionMemoryPressure = "MemoryPressure"
	ConditionClockSkew      = "ClockSkew"
	ConditionNameResolution = "NameResolution" // good when it holds
	ConditionAgentFailing   = "AgentFailing"
)

// Reasons, in Condition.Reason, that mean the same everywhere.
const (
	ReasonUnknown = "Unknown" // it could not be found out
	ReasonFull    = "Full"    // of DiskPressure: nothing can be started any more
)

// Bad reports whether a condition of a node says that something is wrong. One
// that could not be found out is not bad, and not fine either; see Unknown.
func (c Condition) Bad() bool {
	return !c.Unknown() && c.Status == (c.Type != ConditionNameResolution)
}

// Unknown reports whether a condition could not be found out; its status is then
// the last that was.
func (c Condition) Unknown() bool { return c.Reason == ReasonUnknown }

// Probing is what one probe of a service found lately. The agent keeps it; it
// begins anew with the agent.
type Probing struct {
	Kind         string        `json:"kind" enum:"ready,health" doc:"Which of the service's probes"`
	EverySeconds float64       `json:"everySeconds" doc:"Pause between two questions"`
	Since        time.Time     `json:"since" doc:"Since when it is counted: since the agent started at the earliest"`
	Asked        int64         `json:"asked" doc:"Questions since then"`
	Failed       int64         `json:"failed" doc:"Those that did not hold, or had no answer in time"`
	P50Millis    float64       `json:"p50Millis" doc:"Half of the newest 60 answers took no longer, in milliseconds"`
	P95Millis    float64       `json:"p95Millis" doc:"Of the newest 60 answers 95 % took no longer, in milliseconds"`
	Results      []ProbeResult `json:"results" doc:"Changes of the result, the newest last; at most 8"`
}

// ProbeResult is a row of questions with the same result.
type ProbeResult struct {
	OK      bool      `json:"ok" doc:"Whether the probe held"`
	Message string    `json:"message,omitempty" doc:"What was found instead"`
	First   time.Time `json:"first" doc:"When this was found first"`
	Last    time.Time `json:"last" doc:"When this was found last"`
	Count   int64     `json:"count" doc:"How many questions in a row"`
	Millis  float64   `json:"millis" doc:"How long the last of them took, in milliseconds"`
}

// Cause is the one thing that keeps a cluster from being ready, as far as is
// known.
type Cause struct {
	Cluster string    `json:"cluster" doc:"Cluster it belongs to: another than the one asked about where a link leads there"`
	Object  string    `json:"object" doc:"What it is about: a host, a node, node/service, or an operation"`
	Message string    `json:"message" doc:"What is so"`
	Next    string    `json:"next" doc:"What would help"`
	Since   time.Time `json:"since,omitzero" doc:"Since when"`
	Follows int       `json:"follows" doc:"How many other things of the cluster are so because of it"`
}
