package api

// ActionKind names what a plan does to one object.
type ActionKind string

// The kinds of actions. ActionKeep is shown but does nothing.
const (
	ActionCreate      ActionKind = "create"
	ActionAddNode     ActionKind = "add-node"
	ActionRemoveNode  ActionKind = "remove-node"
	ActionReconfigure ActionKind = "reconfigure"
	ActionRestack     ActionKind = "change-stack"
	ActionStart       ActionKind = "start"
	ActionKeep        ActionKind = "keep"
)

// Plan is what an apply, start, stop or delete would do, with reasons. It is
// computed from the wanted and the known state and changes nothing.
type Plan struct {
	Cluster        string      `json:"cluster" doc:"Cluster the plan is for"`
	Stack          string      `json:"stack" doc:"Its stack"`
	Infrastructure string      `json:"infrastructure" doc:"Its infrastructure"`
	Actions        []Action    `json:"actions" doc:"What would be done, in order of kind"`
	NeedMemoryMB   int         `json:"needMemoryMB" doc:"Memory the plan takes from the infrastructure, in MiB; negative when it gives some back"`
	FreeMemoryMB   int         `json:"freeMemoryMB" doc:"Memory left in the infrastructure after it, in MiB"`
	Warnings       Diagnostics `json:"warnings,omitempty" doc:"Findings that do not stop the plan"`
}

// Action is one change to one object, and why.
type Action struct {
	Kind     ActionKind   `json:"kind" doc:"What is done"`
	Target   string       `json:"target" doc:"To which object: 'cluster batch', 'node batch-worker-3', 'link hdfs'"`
	Node     string       `json:"node,omitempty" doc:"Name of the node, where the object is one"`
	Group    string       `json:"group,omitempty" doc:"Group of that node"`
	Address  string       `json:"address,omitempty" doc:"Network address the node has or would get"`
	Reason   string       `json:"reason,omitempty" doc:"Why"`
	Effect   string       `json:"effect,omitempty" enum:"none,reload,restart,rollingRestart" doc:"What a reconfiguration does to running services"`
	Services []string     `json:"services,omitempty" doc:"Services concerned"`
	Changes  []FileChange `json:"changes,omitempty" doc:"What changes in the services' files"`
	Destroys bool         `json:"destroys,omitempty" doc:"Whether data is destroyed"`
}

// FileChange is one key of one file that gets another value.
type FileChange struct {
	Service string `json:"service" doc:"Service the file belongs to"`
	File    string `json:"file" doc:"File, or 'command' or 'environment'"`
	Key     string `json:"key,omitempty" doc:"Key in the file"`
	Old     string `json:"old,omitempty" doc:"Value before; absent when the key is new"`
	New     string `json:"new,omitempty" doc:"Value after; absent when the key goes"`
}

// Empty reports whether the plan would change nothing.
func (p *Plan) Empty() bool {
	for _, a := range p.Actions {
		if a.Kind != ActionKeep {
			return false
		}
	}
	return true
}

// Count returns how many actions are of the given kinds.
func (p *Plan) Count(kinds ...ActionKind) int {
	n := 0
	for _, a := range p.Actions {
		for _, k := range kinds {
			if a.Kind == k {
				n++
			}
		}
	}
	return n
}
