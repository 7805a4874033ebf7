// Package app owns the words of Marathon's API for apps and groups, as of Marathon
// 1.8 to 1.11: reading them from JSON however old the dialect, their canonical
// form, their rules, and what follows from them alone (environment, service ports,
// order of deployment, differences). Values in, values out: it knows no HTTP, no
// store, no scheduler and no clock.
package app

// App is one app in canonical form, the form of Marathon 1.5 and later. Its JSON is
// what Marathon answers, without tasks, counts and deployments. An App that went
// through Normalise has every default written out; [json.Unmarshal] reads only
// canonical JSON and checks nothing, so it is for what was stored by Howdah itself.
// Readers of users' JSON are ReadApp, ReadUpdate and their likes.
type App struct {
	ID                         string               `json:"id"` // absolute path, "/a/b"
	AcceptedResourceRoles      []string             `json:"acceptedResourceRoles,omitempty"`
	Args                       []string             `json:"args,omitempty"`
	BackoffFactor              float64              `json:"backoffFactor"`
	BackoffSeconds             int                  `json:"backoffSeconds"`
	Cmd                        string               `json:"cmd,omitempty"`
	Constraints                []Constraint         `json:"constraints,omitempty"`
	Container                  *Container           `json:"container,omitempty"`
	CPUs                       float64              `json:"cpus"`
	Dependencies               []string             `json:"dependencies,omitempty"` // absolute paths of apps or groups
	Disk                       float64              `json:"disk"`                   // MB
	Env                        map[string]EnvValue  `json:"env,omitempty"`
	Executor                   string               `json:"executor"` // "" or "//cmd"; others are refused
	Fetch                      []Fetch              `json:"fetch,omitempty"`
	HealthChecks               []HealthCheck        `json:"healthChecks,omitempty"`
	Check                      *Check               `json:"check,omitempty"`
	Instances                  int                  `json:"instances"`
	Labels                     map[string]string    `json:"labels"`
	MaxLaunchDelaySeconds      int                  `json:"maxLaunchDelaySeconds"`
	Mem                        float64              `json:"mem"` // MB
	GPUs                       int                  `json:"gpus"`
	Networks                   []Network            `json:"networks"`
	PortDefinitions            []PortDefinition     `json:"portDefinitions,omitzero"` // host mode only; nil otherwise
	ReadinessChecks            []ReadinessCheck     `json:"readinessChecks,omitempty"`
	RequirePorts               bool                 `json:"requirePorts"`
	Secrets                    map[string]SecretDef `json:"secrets,omitempty"`
	TaskKillGracePeriodSeconds *int                 `json:"taskKillGracePeriodSeconds,omitempty"`
	UpgradeStrategy            UpgradeStrategy      `json:"upgradeStrategy"`
	User                       string               `json:"user,omitempty"`
	Version                    Timestamp            `json:"version,omitzero"`
	VersionInfo                *VersionInfo         `json:"versionInfo,omitempty"`
	UnreachableStrategy        UnreachableStrategy  `json:"unreachableStrategy"`
	KillSelection              string               `json:"killSelection"`
	Role                       string               `json:"role,omitempty"`
	ResourceLimits             *ResourceLimits      `json:"resourceLimits,omitempty"`
}

// VersionInfo says when an app last changed. A new configuration sets both.
type VersionInfo struct {
	LastScalingAt      Timestamp `json:"lastScalingAt"`
	LastConfigChangeAt Timestamp `json:"lastConfigChangeAt"`
}

// Operators of constraints.
const (
	Unique  = "UNIQUE"
	Cluster = "CLUSTER"
	GroupBy = "GROUP_BY"
	Like    = "LIKE"
	Unlike  = "UNLIKE"
	MaxPer  = "MAX_PER"
	Is      = "IS"
)

// Constraint is field, operator and, with some operators, a value.
type Constraint []string

// Field is the worker's attribute, or hostname.
func (c Constraint) Field() string { return c.at(0) }

// Operator is one of the seven operators.
func (c Constraint) Operator() string { return c.at(1) }

// Value is the third word, and whether there is one.
func (c Constraint) Value() (string, bool) { return c.at(2), len(c) > 2 }

func (c Constraint) at(i int) string {
	if i < len(c) {
		return c[i]
	}
	return ""
}

// Types of containers.
const (
	TypeDocker = "DOCKER"
	TypeMesos  = "MESOS"
)

// Container says in what the app's instances run.
type Container struct {
	Type         string        `json:"type"`
	Docker       *Docker       `json:"docker,omitempty"`
	Volumes      []Volume      `json:"volumes"`
	PortMappings []PortMapping `json:"portMappings,omitzero"` // nil in host mode
}

// Docker is an image and how it is used; with containers of both types.
type Docker struct {
	Image          string      `json:"image"`
	ForcePullImage bool        `json:"forcePullImage"`
	Privileged     bool        `json:"privileged"`
	Parameters     []Parameter `json:"parameters"`
	PullConfig     *PullConfig `json:"pullConfig,omitempty"` // type MESOS only
}

// Parameter is an option of "docker run".
type Parameter struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// PullConfig names the secret that holds a Docker config.json.
type PullConfig struct {
	Secret string `json:"secret"`
}

// Volume is a path of the host or a secret, seen at a path of the container. Exactly
// one of HostPath and Secret is set.
type Volume struct {
	ContainerPath string `json:"containerPath"`
	HostPath      string `json:"hostPath,omitempty"`
	Mode          string `json:"mode,omitempty"` // RW or RO; of a host path
	Secret        string `json:"secret,omitempty"`
}

// PortMapping maps a port of the container to one of the host.
type PortMapping struct {
	ContainerPort int               `json:"containerPort"` // 0: the same as the host's
	HostPort      *int              `json:"hostPort,omitempty"`
	Labels        map[string]string `json:"labels"`
	Name          string            `json:"name,omitempty"`
	Protocol      string            `json:"protocol"` // tcp, udp or "udp,tcp"
	ServicePort   int               `json:"servicePort"`
	NetworkNames  []string          `json:"networkNames,omitempty"`
}

// Modes of networks.
const (
	ModeHost      = "host"
	ModeContainer = "container"
	ModeBridge    = "container/bridge"
)

// Network is a network the instances join.
type Network struct {
	Name   string            `json:"name,omitempty"`
	Mode   string            `json:"mode"`
	Labels map[string]string `json:"labels,omitempty"`
}

// PortDefinition is a port of the host, in host mode. Port is the service port, and
// with requirePorts the host's port too.
type PortDefinition struct {
	Port     int               `json:"port"`
	Labels   map[string]string `json:"labels,omitempty"`
	Name     string            `json:"name,omitempty"`
	Protocol string            `json:"protocol"`
}

// EnvValue is the value of a variable, or the name of the secret that holds it.
type EnvValue struct {
	Value  string
	Secret string // name in App.Secrets; then Value is empty
}

// SecretDef says where a secret's value is kept.
type SecretDef struct {
	Source string `json:"source"`
}

// Fetch is something to put into the sandbox before the start.
type Fetch struct {
	URI        string `json:"uri"`
	Extract    bool   `json:"extract"`
	Executable bool   `json:"executable"`
	Cache      bool   `json:"cache"`
	DestPath   string `json:"destPath,omitempty"`
}

// Protocols of health checks. The scheduler runs the first three; the worker runs
// the others.
const (
	HealthHTTP       = "HTTP"
	HealthHTTPS      = "HTTPS"
	HealthTCP        = "TCP"
	HealthCommand    = "COMMAND"
	HealthMesosHTTP  = "MESOS_HTTP"
	HealthMesosHTTPS = "MESOS_HTTPS"
	HealthMesosTCP   = "MESOS_TCP"
)

// HealthCheck asks an instance whether it is well.
type HealthCheck struct {
	Command                *Command `json:"command,omitempty"`
	GracePeriodSeconds     int      `json:"gracePeriodSeconds"`
	IgnoreHTTP1xx          *bool    `json:"ignoreHttp1xx,omitempty"` // HTTP and HTTPS only
	IntervalSeconds        int      `json:"intervalSeconds"`
	MaxConsecutiveFailures int      `json:"maxConsecutiveFailures"` // 0: never killed for it
	Path                   string   `json:"path,omitempty"`
	Port                   *int     `json:"port,omitempty"`
	PortIndex              *int     `json:"portIndex,omitempty"`
	Protocol               string   `json:"protocol"`
	IPProtocol             string   `json:"ipProtocol"` // IPv4 or IPv6
	TimeoutSeconds         int      `json:"timeoutSeconds"`
	DelaySeconds           int      `json:"delaySeconds"`
}

// Command is a shell line.
type Command struct {
	Value string `json:"value"`
}

// Check is a check whose result is only reported. Exactly one of HTTP, TCP and Exec
// is set.
type Check struct {
	HTTP            *CheckHTTP `json:"http,omitempty"`
	TCP             *CheckTCP  `json:"tcp,omitempty"`
	Exec            *CheckExec `json:"exec,omitempty"`
	IntervalSeconds int        `json:"intervalSeconds"`
	TimeoutSeconds  int        `json:"timeoutSeconds"`
	DelaySeconds    int        `json:"delaySeconds"`
}

// CheckHTTP asks for a page.
type CheckHTTP struct {
	PortIndex *int   `json:"portIndex,omitempty"`
	Port      *int   `json:"port,omitempty"`
	Path      string `json:"path,omitempty"`
	Scheme    string `json:"scheme"` // HTTP or HTTPS
}

// CheckTCP connects.
type CheckTCP struct {
	PortIndex *int `json:"portIndex,omitempty"`
	Port      *int `json:"port,omitempty"`
}

// CheckExec runs a command.
type CheckExec struct {
	Command CheckCommand `json:"command"`
}

// CheckCommand is a shell line, or a program with arguments.
type CheckCommand struct {
	Shell string   `json:"shell,omitempty"`
	Argv  []string `json:"argv,omitempty"`
}

// ReadinessCheck decides whether a new instance counts during an upgrade.
type ReadinessCheck struct {
	Name                    string `json:"name"`
	Protocol                string `json:"protocol"` // HTTP or HTTPS
	Path                    string `json:"path"`
	PortName                string `json:"portName"`
	IntervalSeconds         int    `json:"intervalSeconds"`
	TimeoutSeconds          int    `json:"timeoutSeconds"`
	HTTPStatusCodesForReady []int  `json:"httpStatusCodesForReady"`
	PreserveLastResponse    bool   `json:"preserveLastResponse"`
}

// UpgradeStrategy bounds how many instances there are during an upgrade, as parts of
// Instances between 0 and 1.
type UpgradeStrategy struct {
	MaximumOverCapacity   float64 `json:"maximumOverCapacity"`
	MinimumHealthCapacity float64 `json:"minimumHealthCapacity"`
}

// Values of App.KillSelection: whom a scale-down ends first.
const (
	YoungestFirst = "YOUNGEST_FIRST"
	OldestFirst   = "OLDEST_FIRST"
)

// UnreachableStrategy says when an instance on a lost worker is replaced, and when it
// is forgotten. Disabled means never; in JSON it is the word "disabled".
type UnreachableStrategy struct {
	Disabled             bool
	InactiveAfterSeconds int64
	ExpungeAfterSeconds  int64
}

// ResourceLimits are upper bounds above the requests; nil means the request itself.
type ResourceLimits struct {
	CPUs *ResourceLimit `json:"cpus,omitempty"`
	Mem  *ResourceLimit `json:"mem,omitempty"` // MB
}

// ResourceLimit is a bound or none; in JSON a number or the word "unlimited".
type ResourceLimit struct {
	Unlimited bool
	Value     float64
}

// Group is a group with all that it holds. IDs are absolute.
type Group struct {
	ID           string    `json:"id"`
	Apps         []*App    `json:"apps"`
	Groups       []*Group  `json:"groups"`
	Dependencies []string  `json:"dependencies"`
	Version      Timestamp `json:"version,omitzero"`
	EnforceRole  *bool     `json:"enforceRole,omitempty"` // of top-level groups
}
