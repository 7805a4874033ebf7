package api

import "time"

// Condition is a named truth about an object, with a reason.
type Condition struct {
	Type    string     `json:"type" doc:"Name of the condition"`
	Status  bool       `json:"status" doc:"Whether it holds"`
	Reason  string     `json:"reason" doc:"One word for why"`
	Message string     `json:"message,omitempty" doc:"Why, in words"`
	Since   *time.Time `json:"since,omitempty" doc:"Since when it is so"`
}

// ClusterStatus is a cluster as it is.
type ClusterStatus struct {
	Name           string            `json:"name" doc:"Name of the cluster"`
	Project        string            `json:"project" doc:"Project that owns it"`
	Stack          string            `json:"stack" doc:"Its stack"`
	StackVersion   string            `json:"stackVersion,omitempty" doc:"Version the stack brings"`
	StackDigest    string            `json:"stackDigest" doc:"Digest of the stack it was made with"`
	Infrastructure string            `json:"infrastructure" doc:"Where its nodes are"`
	State          string            `json:"state" enum:"creating,ready,changing,waiting,degraded,failed,stopped,stopping,deleting,suspended" doc:"One word, derived from the conditions"`
	Message        string            `json:"message,omitempty" doc:"What it waits for or why it is not ready"`
	Suspended      bool              `json:"suspended,omitempty" doc:"Stopped only until the platform is up again"`
	Revision       int64             `json:"revision" doc:"Counts changes of the definition"`
	Links          map[string]string `json:"links,omitempty" doc:"Clusters it uses"`
	UsedBy         []string          `json:"usedBy,omitempty" doc:"Clusters that use it"`
	Exports        map[string]string `json:"exports,omitempty" doc:"What it offers to others"`
	Conditions     []Condition       `json:"conditions" doc:"What is known about it"`
	Nodes          []NodeStatus      `json:"nodes,omitempty" doc:"Its nodes"`
	Web            []WebAddress      `json:"web,omitempty" doc:"Pages of its programs"`
	Operation      int64             `json:"operation,omitempty" doc:"Operation under way"`
	Cause          *Cause            `json:"cause,omitempty" doc:"The one thing that keeps it from being ready; of one cluster asked for by name"`
	Created        time.Time         `json:"created" doc:"When it was defined first"`
	Expires        *time.Time        `json:"expires,omitempty" doc:"When its time to live ends"`
	Definition     *Cluster          `json:"definition,omitempty" doc:"The definition in force"`
}

// WebAddress is a page one of the programs serves.
type WebAddress struct {
	Title string `json:"title" doc:"What the page shows"`
	URL   string `json:"url" doc:"Its address"`
}

// NodeStatus is a node as it is.
type NodeStatus struct {
	Name        string          `json:"name" doc:"Name of the node"`
	Cluster     string          `json:"cluster" doc:"Its cluster"`
	Group       string          `json:"group" doc:"Its group"`
	Ordinal     int             `json:"ordinal" doc:"Its number in the group, never reused"`
	Roles       []string        `json:"roles" doc:"What it does"`
	Address     string          `json:"address" doc:"Its network address"`
	Host        string          `json:"host" doc:"Host that carries it"`
	MemoryMB    int             `json:"memoryMB" doc:"Memory set aside for it, in MiB"`
	CPUs        int             `json:"cpus" doc:"Cores it may use"`
	Intent      string          `json:"intent" enum:"new,run,drain,stop,gone" doc:"What it is wanted to be"`
	State       string          `json:"state" doc:"One word, derived"`
	Message     string          `json:"message,omitempty" doc:"What it waits for"`
	Connected   bool            `json:"connected" doc:"Whether its agent has a connection to the server"`
	LastReport  *time.Time      `json:"lastReport,omitempty" doc:"When the agent reported last"`
	Generation  int64           `json:"generation" doc:"Assignment it is wanted to have"`
	Observed    int64           `json:"observed" doc:"Assignment it has"`
	Java        string          `json:"java,omitempty" doc:"Java its services run on"`
	Conditions  []Condition     `json:"conditions,omitempty" doc:"What is known about it; absent while its agent is silent"`
	Services    []ServiceStatus `json:"services,omitempty" doc:"Its services"`
	Reason      string          `json:"reason,omitempty" doc:"Why it was placed where it is"`
	AgentPID    int             `json:"agentPID,omitempty" doc:"Process id of its agent"`
	Incarnation int64           `json:"incarnation,omitempty" doc:"Counts starts of the agent"`
	// An agent that is refused is not connected.
	AgentVersion string `json:"agentVersion,omitempty" doc:"Version of howdah its agent is"`
	AgentBuild   string `json:"agentBuild,omitempty" doc:"Digest of its agent's program"`
	AgentRefused string `json:"agentRefused,omitempty" doc:"Why its agent is not let in"`
	AgentReports bool   `json:"agentReports" doc:"Whether its agent, as it was started last, has reported"`
}

// ServiceStatus is a service as its agent last reported it.
type ServiceStatus struct {
	Name        string      `json:"name" doc:"Name of the service"`
	Node        string      `json:"node" doc:"Its node"`
	State       string      `json:"state" enum:"waiting,fetching,preparing,gated,starting,ready,unhealthy,stopping,stopped,failed,blocked,unknown" doc:"Where it stands"`
	Message     string      `json:"message,omitempty" doc:"What it waits for or what went wrong"`
	Since       time.Time   `json:"since" doc:"Since when it is in this state"`
	PID         int         `json:"pid,omitempty" doc:"Process id"`
	Incarnation int64       `json:"incarnation,omitempty" doc:"Counts starts of the service"`
	Restarts    int         `json:"restarts,omitempty" doc:"How often it ended unasked in the last ten minutes"`
	LastExit    string      `json:"lastExit,omitempty" doc:"How it ended last"`
	Drained     bool        `json:"drained,omitempty" doc:"Whether it may go without loss"`
	Conditions  []Condition `json:"conditions,omitempty" doc:"What is known about it"`
	Log         string      `json:"log,omitempty" doc:"File its output goes to, on its host"`
	LastState   string      `json:"lastState,omitempty" doc:"Where it stood before its agent fell silent; only when it is unknown"`
	Listens     []string    `json:"listens,omitempty" doc:"Addresses it listens on"`
	Needs       []string    `json:"needs,omitempty" doc:"Addresses of other services it waits for before a start, or asks"`
	Probes      []Probing   `json:"probes,omitempty" doc:"What its probes found lately"`
}

// Finding is one link in the chain that explains why something waits.
type Finding struct {
	Object  string    `json:"object" doc:"What it is about"`
	Kind    string    `json:"kind" enum:"is,cause,next,because,follows" doc:"Place in the chain; what follows is so because of the cause"`
	Message string    `json:"message" doc:"What is so"`
	Since   time.Time `json:"since,omitzero" doc:"Since when"`
}

// Workload is something a user runs on a cluster: a job, a topology.
type Workload struct {
	ID       string             `json:"id" doc:"Identifier: the program's own, or the submission's before there is one"`
	Kind     string             `json:"kind" doc:"job or topology"`
	Name     string             `json:"name" doc:"Name"`
	Cluster  string             `json:"cluster" doc:"Cluster it runs on"`
	State    string             `json:"state" doc:"As the program calls it, in lower case; submitting before it knows"`
	Final    bool               `json:"final" doc:"Whether it is over"`
	Failed   bool               `json:"failed" doc:"Whether it is over and did not succeed"`
	Message  string             `json:"message,omitempty" doc:"Why it failed"`
	URL      string             `json:"url,omitempty" doc:"Page that shows it"`
	Progress map[string]float64 `json:"progress,omitempty" doc:"Parts in percent, as map and reduce"`
	Figures  map[string]int64   `json:"figures,omitempty" doc:"Counts, as workers, executors, acked"`
	Started  *time.Time         `json:"started,omitempty" doc:"When it began"`
	Finished *time.Time         `json:"finished,omitempty" doc:"When it ended"`
}

// Submission asks to run something on a cluster. Files are uploaded before and
// named by their SHA-256.
type Submission struct {
	Name       string            `json:"name,omitempty" doc:"Name; needed for a topology"`
	Jar        string            `json:"jar,omitempty" doc:"Uploaded jar; the stack's own where absent"`
	Main       string            `json:"main,omitempty" doc:"Main class, or the program's name inside the jar"`
	Args       []string          `json:"args,omitempty" doc:"Arguments"`
	File       string            `json:"file,omitempty" doc:"Uploaded definition (Flux YAML)"`
	Properties map[string]string `json:"properties,omitempty" doc:"Values the definition refers to"`
	Resources  map[string]string `json:"resources,omitempty" doc:"Uploaded files that shell components find beside them, by name"`
	Files      map[string]string `json:"files,omitempty" doc:"Uploaded files that go into the root of the jar, by name"`
}

// Rebalance changes how a running workload is spread.
type Rebalance struct {
	WaitSeconds int            `json:"waitSeconds,omitempty" minimum:"0" doc:"Time to finish what is in flight"`
	Workers     int            `json:"workers,omitempty" minimum:"0" doc:"Number of workers; unchanged when 0"`
	Executors   map[string]int `json:"executors,omitempty" doc:"Number of executors by component"`
}

// ClientBundle is a cluster's command line client for one machine.
type ClientBundle struct {
	Env      map[string]string   `json:"env" doc:"Environment"`
	Files    map[string]string   `json:"files" doc:"Files by absolute path"`
	Commands map[string][]string `json:"commands" doc:"Tools by name; a tool with subcommands has one entry each, as 'tool sub'"`
	Sets     []ArtifactSet       `json:"sets" doc:"Artifact sets the tools need"`
}

// ArtifactSet is a set of files known by the digest of its lock.
type ArtifactSet struct {
	Name      string   `json:"name" doc:"Name of the lock"`
	ID        string   `json:"id" doc:"Digest of the lock"`
	Files     int      `json:"files" doc:"Number of files"`
	Bytes     int64    `json:"bytes" doc:"Bytes to fetch"`
	DoneFiles int      `json:"doneFiles" doc:"Files that are in the cache"`
	DoneBytes int64    `json:"doneBytes" doc:"Bytes that are in the cache"`
	Root      string   `json:"root,omitempty" doc:"Where it is unpacked on the server's host"`
	LockBlob  string   `json:"lockBlob" doc:"SHA-256 of the lock as a blob"`
	Stacks    []string `json:"stacks,omitempty" doc:"Stacks that use it"`
}
