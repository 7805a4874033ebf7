// Package mesos owns the messages of the Mesos v1 scheduler API as JSON, their
// RecordIO framing, and arithmetic on resources. Field names are those of the
// protobuf files of Apache Mesos 1.11. It knows neither master nor scheduler.
package mesos

import (
	"encoding/json"
	"slices"
)

// ID is an identifier, on the wire {"value": "..."}.
type ID struct {
	Value string `json:"value"`
}

// TaskState is a state of a task, by its protobuf name.
type TaskState string

// The states of a task.
const (
	TaskStaging     TaskState = "TASK_STAGING"
	TaskStarting    TaskState = "TASK_STARTING"
	TaskRunning     TaskState = "TASK_RUNNING"
	TaskKilling     TaskState = "TASK_KILLING"
	TaskFinished    TaskState = "TASK_FINISHED"
	TaskFailed      TaskState = "TASK_FAILED"
	TaskKilled      TaskState = "TASK_KILLED"
	TaskError       TaskState = "TASK_ERROR"
	TaskLost        TaskState = "TASK_LOST"
	TaskDropped     TaskState = "TASK_DROPPED"
	TaskUnreachable TaskState = "TASK_UNREACHABLE"
	TaskGone        TaskState = "TASK_GONE"
	TaskUnknown     TaskState = "TASK_UNKNOWN"
)

// Terminal tells whether a task in this state will never run again. An
// unreachable task is not: its worker may come back with it.
func (s TaskState) Terminal() bool {
	return slices.Contains([]TaskState{TaskFinished, TaskFailed, TaskKilled, TaskError, TaskLost, TaskDropped, TaskGone, TaskUnknown}, s)
}

// Who made a status update.
const (
	SourceMaster   = "SOURCE_MASTER"
	SourceSlave    = "SOURCE_SLAVE"
	SourceExecutor = "SOURCE_EXECUTOR"
)

// Reasons of status updates that the embedded cell uses.
const (
	ReasonCommandExecutorFailed = "REASON_COMMAND_EXECUTOR_FAILED"
	ReasonContainerLaunchFailed = "REASON_CONTAINER_LAUNCH_FAILED"
	ReasonContainerLimit        = "REASON_CONTAINER_LIMITATION"
	ReasonContainerMemory       = "REASON_CONTAINER_LIMITATION_MEMORY"
	ReasonContainerDisk         = "REASON_CONTAINER_LIMITATION_DISK"
	ReasonHealthCheck           = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED"
	ReasonCheck                 = "REASON_TASK_CHECK_STATUS_UPDATED"
	ReasonInvalidOffers         = "REASON_INVALID_OFFERS"
	ReasonTaskInvalid           = "REASON_TASK_INVALID"
	ReasonTaskUnauthorized      = "REASON_TASK_UNAUTHORIZED"
	ReasonReconciliation        = "REASON_RECONCILIATION"
	ReasonSlaveRemoved          = "REASON_SLAVE_REMOVED"
	ReasonSlaveDisconnected     = "REASON_SLAVE_DISCONNECTED"
	ReasonSlaveUnknown          = "REASON_SLAVE_UNKNOWN"
	ReasonSlaveReregistered     = "REASON_SLAVE_REREGISTERED"
	ReasonFrameworkRemoved      = "REASON_FRAMEWORK_REMOVED"
	ReasonTaskKilledDuringStart = "REASON_TASK_KILLED_DURING_LAUNCH"
)

// Capabilities of frameworks that the embedded master acts upon.
const (
	CapPartitionAware        = "PARTITION_AWARE"
	CapTaskKillingState      = "TASK_KILLING_STATE"
	CapMultiRole             = "MULTI_ROLE"
	CapReservationRefinement = "RESERVATION_REFINEMENT"
)

// FrameworkInfo says who a framework is.
type FrameworkInfo struct {
	ID              *ID          `json:"id,omitempty"`
	User            string       `json:"user"`
	Name            string       `json:"name"`
	FailoverTimeout float64      `json:"failover_timeout,omitempty"` // seconds
	Checkpoint      bool         `json:"checkpoint,omitempty"`
	Role            string       `json:"role,omitempty"`
	Roles           []string     `json:"roles,omitempty"`
	Hostname        string       `json:"hostname,omitempty"`
	Principal       string       `json:"principal,omitempty"`
	WebUIURL        string       `json:"webui_url,omitempty"`
	Capabilities    []Capability `json:"capabilities,omitempty"`
	Labels          *Labels      `json:"labels,omitempty"`
}

// Has tells whether the framework has a capability.
func (f FrameworkInfo) Has(capability string) bool {
	return slices.ContainsFunc(f.Capabilities, func(c Capability) bool { return c.Type == capability })
}

// Capability is one thing a framework can do.
type Capability struct {
	Type string `json:"type"`
}

// Labels are names with values, repeated names allowed.
type Labels struct {
	Labels []Label `json:"labels,omitempty"`
}

// Value returns the value of a label, "" where there is none; l may be nil.
func (l *Labels) Value(key string) string {
	if l == nil {
		return ""
	}
	for _, one := range l.Labels {
		if one.Key == key {
			return one.Value
		}
	}
	return ""
}

// Label is one name with its value.
type Label struct {
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
}

// Value types of resources and attributes.
const (
	Scalar = "SCALAR"
	Ranges = "RANGES"
	Set    = "SET"
	Text   = "TEXT"
)

// Resource is an amount of something a worker has.
type Resource struct {
	Name           string          `json:"name"`
	Type           string          `json:"type"`
	Scalar         *ScalarValue    `json:"scalar,omitempty"`
	Ranges         *RangesValue    `json:"ranges,omitempty"`
	Set            *SetValue       `json:"set,omitempty"`
	Role           string          `json:"role,omitempty"` // legacy form; "*" is unreserved
	Reservations   []Reservation   `json:"reservations,omitempty"`
	AllocationInfo *AllocationInfo `json:"allocation_info,omitempty"`
}

// Reservation reserves a resource for a role (RESERVATION_REFINEMENT's form).
type Reservation struct {
	Type string `json:"type,omitempty"` // STATIC or DYNAMIC
	Role string `json:"role,omitempty"`
}

// AllocationInfo names the role a resource is offered to.
type AllocationInfo struct {
	Role string `json:"role,omitempty"`
}

// ScalarValue is a number, exact to three decimals.
type ScalarValue struct {
	Value float64 `json:"value"`
}

// RangesValue is a set of whole numbers as ranges.
type RangesValue struct {
	Range []Range `json:"range"`
}

// Range holds its begin, its end and all between.
type Range struct {
	Begin uint64 `json:"begin"`
	End   uint64 `json:"end"`
}

// SetValue is a set of names.
type SetValue struct {
	Item []string `json:"item"`
}

// TextValue is a text.
type TextValue struct {
	Value string `json:"value"`
}

// Attribute says something about a worker.
type Attribute struct {
	Name   string       `json:"name"`
	Type   string       `json:"type"`
	Scalar *ScalarValue `json:"scalar,omitempty"`
	Ranges *RangesValue `json:"ranges,omitempty"`
	Set    *SetValue    `json:"set,omitempty"`
	Text   *TextValue   `json:"text,omitempty"`
}

// DomainInfo is where a worker stands.
type DomainInfo struct {
	FaultDomain *FaultDomain `json:"fault_domain,omitempty"`
}

// FaultDomain is a region and a zone in it.
type FaultDomain struct {
	Region struct {
		Name string `json:"name"`
	} `json:"region"`
	Zone struct {
		Name string `json:"name"`
	} `json:"zone"`
}

// AgentInfo describes a worker.
type AgentInfo struct {
	ID         *ID         `json:"id,omitempty"`
	Hostname   string      `json:"hostname"`
	Port       int         `json:"port,omitempty"`
	Resources  []Resource  `json:"resources,omitempty"`
	Attributes []Attribute `json:"attributes,omitempty"`
	Domain     *DomainInfo `json:"domain,omitempty"`
}

// Address is where somebody listens.
type Address struct {
	Hostname string `json:"hostname,omitempty"`
	IP       string `json:"ip,omitempty"`
	Port     int    `json:"port"`
}

// URL is an address as Mesos writes it.
type URL struct {
	Scheme  string  `json:"scheme"`
	Address Address `json:"address"`
	Path    string  `json:"path,omitempty"`
}

// MasterInfo describes a master; it is also what ZooKeeper holds.
type MasterInfo struct {
	ID       string   `json:"id"`
	IP       uint32   `json:"ip"` // network byte order, as libprocess writes it
	Port     int      `json:"port"`
	PID      string   `json:"pid,omitempty"` // master@ip:port
	Hostname string   `json:"hostname,omitempty"`
	Version  string   `json:"version,omitempty"`
	Address  *Address `json:"address,omitempty"`
}

// Offer is resources of one worker, offered to one framework.
type Offer struct {
	ID             ID              `json:"id"`
	FrameworkID    ID              `json:"framework_id"`
	AgentID        ID              `json:"agent_id"`
	Hostname       string          `json:"hostname"`
	URL            *URL            `json:"url,omitempty"`
	Domain         *DomainInfo     `json:"domain,omitempty"`
	Resources      []Resource      `json:"resources"`
	Attributes     []Attribute     `json:"attributes,omitempty"`
	ExecutorIDs    []ID            `json:"executor_ids,omitempty"`
	AllocationInfo *AllocationInfo `json:"allocation_info,omitempty"`
}

// TaskInfo says what to run.
type TaskInfo struct {
	Name        string           `json:"name"`
	TaskID      ID               `json:"task_id"`
	AgentID     ID               `json:"agent_id"`
	Resources   []Resource       `json:"resources"`
	Limits      map[string]Limit `json:"limits,omitempty"`
	Command     *CommandInfo     `json:"command,omitempty"`
	Container   *ContainerInfo   `json:"container,omitempty"`
	HealthCheck *HealthCheck     `json:"health_check,omitempty"`
	Check       *CheckInfo       `json:"check,omitempty"`
	KillPolicy  *KillPolicy      `json:"kill_policy,omitempty"`
	Data        []byte           `json:"data,omitempty"`
	Labels      *Labels          `json:"labels,omitempty"`
	Discovery   *DiscoveryInfo   `json:"discovery,omitempty"`
	Executor    json.RawMessage  `json:"executor,omitempty"` // refused: no custom executors
}

// Limit is an upper bound of a resource; Infinity on the wire means none.
type Limit struct {
	Value float64 `json:"value"`
}

// CommandInfo is a command: a shell line, or a program with arguments, argv[0] first.
type CommandInfo struct {
	Shell       *bool        `json:"shell,omitempty"` // absent means true
	Value       string       `json:"value,omitempty"`
	Arguments   []string     `json:"arguments,omitempty"`
	User        string       `json:"user,omitempty"`
	Environment *Environment `json:"environment,omitempty"`
	URIs        []URI        `json:"uris,omitempty"`
}

// Environment is a list of variables.
type Environment struct {
	Variables []Variable `json:"variables,omitempty"`
}

// Variable is one variable of an environment.
type Variable struct {
	Name   string  `json:"name"`
	Type   string  `json:"type,omitempty"` // VALUE or SECRET
	Value  string  `json:"value,omitempty"`
	Secret *Secret `json:"secret,omitempty"`
}

// Secret is a value that is never shown. Type is VALUE.
type Secret struct {
	Type  string       `json:"type"`
	Value *SecretValue `json:"value,omitempty"`
}

// SecretValue is the data of a secret, base64 on the wire.
type SecretValue struct {
	Data []byte `json:"data"`
}

// URI is something to fetch into the sandbox before the start.
type URI struct {
	Value      string `json:"value"`
	Executable bool   `json:"executable,omitempty"`
	Extract    *bool  `json:"extract,omitempty"` // absent means true
	Cache      bool   `json:"cache,omitempty"`
	OutputFile string `json:"output_file,omitempty"`
}

// Types of containers.
const (
	ContainerDocker = "DOCKER"
	ContainerMesos  = "MESOS"
)

// ContainerInfo says in what a task runs.
type ContainerInfo struct {
	Type         string        `json:"type"`
	Hostname     string        `json:"hostname,omitempty"`
	Volumes      []Volume      `json:"volumes,omitempty"`
	Docker       *DockerInfo   `json:"docker,omitempty"`
	Mesos        *MesosInfo    `json:"mesos,omitempty"`
	NetworkInfos []NetworkInfo `json:"network_infos,omitempty"`
}

// Volume makes a path of the host, the sandbox or a secret seen in a container.
type Volume struct {
	Mode          string        `json:"mode,omitempty"` // RW or RO
	ContainerPath string        `json:"container_path"`
	HostPath      string        `json:"host_path,omitempty"`
	Source        *VolumeSource `json:"source,omitempty"`
}

// VolumeSource is a volume's source that is no path.
type VolumeSource struct {
	Type   string  `json:"type"` // SECRET
	Secret *Secret `json:"secret,omitempty"`
}

// Networks of DockerInfo.
const (
	NetworkHost   = "HOST"
	NetworkBridge = "BRIDGE"
	NetworkNone   = "NONE"
	NetworkUser   = "USER"
)

// DockerInfo is a container of type DOCKER.
type DockerInfo struct {
	Image          string        `json:"image"`
	Network        string        `json:"network,omitempty"` // absent means HOST
	PortMappings   []PortMapping `json:"port_mappings,omitempty"`
	Privileged     bool          `json:"privileged,omitempty"`
	Parameters     []Parameter   `json:"parameters,omitempty"`
	ForcePullImage bool          `json:"force_pull_image,omitempty"`
}

// PortMapping maps a port of the host to one of the container.
type PortMapping struct {
	HostPort      int    `json:"host_port"`
	ContainerPort int    `json:"container_port"`
	Protocol      string `json:"protocol,omitempty"` // tcp or udp
}

// Parameter is an option of "docker run".
type Parameter struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// MesosInfo is a container of type MESOS.
type MesosInfo struct { //nolint:revive // the name in Mesos's own files
	Image *Image `json:"image,omitempty"`
}

// Image is an image of a MESOS container. Type is DOCKER.
type Image struct {
	Type   string       `json:"type"`
	Docker *DockerImage `json:"docker,omitempty"`
	Cached *bool        `json:"cached,omitempty"` // absent means true; false is "force pull"
}

// DockerImage is the name of an image and the configuration to pull it with.
type DockerImage struct {
	Name   string  `json:"name"`
	Config *Secret `json:"config,omitempty"` // a docker config.json
}

// NetworkInfo is a network a container joins.
type NetworkInfo struct {
	Name         string        `json:"name,omitempty"`
	IPAddresses  []IPAddress   `json:"ip_addresses,omitempty"`
	PortMappings []PortMapping `json:"port_mappings,omitempty"`
	Labels       *Labels       `json:"labels,omitempty"`
}

// IPAddress is an address of a container.
type IPAddress struct {
	Protocol  string `json:"protocol,omitempty"` // IPv4 or IPv6
	IPAddress string `json:"ip_address,omitempty"`
}

// HealthCheck is a check the worker runs; failures in a row kill the task.
type HealthCheck struct {
	Type                string       `json:"type"` // COMMAND, HTTP or TCP
	DelaySeconds        float64      `json:"delay_seconds,omitempty"`
	IntervalSeconds     float64      `json:"interval_seconds,omitempty"`
	TimeoutSeconds      float64      `json:"timeout_seconds,omitempty"`
	GracePeriodSeconds  float64      `json:"grace_period_seconds,omitempty"`
	ConsecutiveFailures int          `json:"consecutive_failures,omitempty"`
	Command             *CommandInfo `json:"command,omitempty"`
	HTTP                *HTTPCheck   `json:"http,omitempty"`
	TCP                 *TCPCheck    `json:"tcp,omitempty"`
}

// HTTPCheck asks a port of the container for a page.
type HTTPCheck struct {
	Protocol string `json:"protocol,omitempty"` // IPv4 or IPv6
	Scheme   string `json:"scheme,omitempty"`
	Port     int    `json:"port"`
	Path     string `json:"path,omitempty"`
	Statuses []int  `json:"statuses,omitempty"`
}

// TCPCheck connects to a port of the container.
type TCPCheck struct {
	Protocol string `json:"protocol,omitempty"`
	Port     int    `json:"port"`
}

// CheckInfo is a check whose result is only reported.
type CheckInfo struct {
	Type    string `json:"type"` // COMMAND, HTTP or TCP
	Command *struct {
		Command CommandInfo `json:"command"`
	} `json:"command,omitempty"`
	HTTP            *HTTPCheck `json:"http,omitempty"`
	TCP             *TCPCheck  `json:"tcp,omitempty"`
	DelaySeconds    float64    `json:"delay_seconds,omitempty"`
	IntervalSeconds float64    `json:"interval_seconds,omitempty"`
	TimeoutSeconds  float64    `json:"timeout_seconds,omitempty"`
}

// KillPolicy says how long a task may take to end.
type KillPolicy struct {
	GracePeriod *Duration `json:"grace_period,omitempty"`
}

// Duration is a time span, on the wire {"nanoseconds": n}.
type Duration struct {
	Nanoseconds int64 `json:"nanoseconds"`
}

// DiscoveryInfo says how others find a task.
type DiscoveryInfo struct {
	Visibility  string          `json:"visibility"`
	Name        string          `json:"name,omitempty"`
	Environment string          `json:"environment,omitempty"`
	Location    string          `json:"location,omitempty"`
	Version     string          `json:"version,omitempty"`
	Ports       *DiscoveryPorts `json:"ports,omitempty"`
	Labels      *Labels         `json:"labels,omitempty"`
}

// DiscoveryPorts is a list of ports.
type DiscoveryPorts struct {
	Ports []DiscoveryPort `json:"ports,omitempty"`
}

// DiscoveryPort is one port of a task.
type DiscoveryPort struct {
	Number   int     `json:"number"`
	Name     string  `json:"name,omitempty"`
	Protocol string  `json:"protocol,omitempty"`
	Labels   *Labels `json:"labels,omitempty"`
}

// TaskStatus is what is known of a task. Those with UUID are acknowledged.
type TaskStatus struct {
	TaskID          ID               `json:"task_id"`
	State           TaskState        `json:"state"`
	Message         string           `json:"message,omitempty"`
	Source          string           `json:"source,omitempty"`
	Reason          string           `json:"reason,omitempty"`
	AgentID         *ID              `json:"agent_id,omitempty"`
	ExecutorID      *ID              `json:"executor_id,omitempty"`
	Timestamp       float64          `json:"timestamp,omitempty"` // seconds since 1970
	UUID            []byte           `json:"uuid,omitempty"`
	Healthy         *bool            `json:"healthy,omitempty"`
	CheckStatus     *CheckStatus     `json:"check_status,omitempty"`
	Labels          *Labels          `json:"labels,omitempty"`
	ContainerStatus *ContainerStatus `json:"container_status,omitempty"`
	UnreachableTime *TimeInfo        `json:"unreachable_time,omitempty"`
}

// TimeInfo is a moment, nanoseconds since 1970.
type TimeInfo struct {
	Nanoseconds int64 `json:"nanoseconds"`
}

// CheckStatus is the newest result of a check.
type CheckStatus struct {
	Type    string `json:"type"`
	Command *struct {
		ExitCode *int `json:"exit_code,omitempty"`
	} `json:"command,omitempty"`
	HTTP *struct {
		StatusCode *int `json:"status_code,omitempty"`
	} `json:"http,omitempty"`
	TCP *struct {
		Succeeded *bool `json:"succeeded,omitempty"`
	} `json:"tcp,omitempty"`
}

// ContainerStatus is what is known of a task's container.
type ContainerStatus struct {
	ContainerID  *ID           `json:"container_id,omitempty"`
	NetworkInfos []NetworkInfo `json:"network_infos,omitempty"`
	ExecutorPID  int           `json:"executor_pid,omitempty"`
}
