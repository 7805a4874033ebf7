// Package agentapi holds the messages between the server and the agent of a
// node. They are plain documents: the server sends whole assignments, the
// agent answers with what it observes. The package imports only api.
package agentapi

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"howdah.dev/howdah/api"
)

// Intent is what a node is wanted to be. Only the operation engine writes it.
type Intent string

// Intents of a node.
const (
	IntentNew   Intent = "new"   // being made; it has no services yet
	IntentRun   Intent = "run"   // its services run
	IntentDrain Intent = "drain" // its services run and give up what they hold
	IntentStop  Intent = "stop"  // its services are stopped
	IntentGone  Intent = "gone"  // it is being removed
)

// Assignment is what one node should be running, whole. Rendered by the
// server from the cluster's revision and the cluster's members, never stored
// there; the agent keeps the newest on disk, so that a host comes back after a
// reboot without the server.
type Assignment struct {
	Node       Node      `json:"node"`
	Generation int64     `json:"generation"`
	Intent     Intent    `json:"intent"`
	Sets       []Set     `json:"sets,omitempty"`
	Archives   []Archive `json:"archives,omitempty"`
	Services   []Service `json:"services,omitempty"`
	Tasks      []Task    `json:"tasks,omitempty"`
}

// Node says who the receiver is.
type Node struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Cluster string `json:"cluster"`
	Address string `json:"address"`
}

// Set is an artifact set the services need.
type Set struct {
	Name     string `json:"name"`
	ID       string `json:"id"`
	Lock     string `json:"lock"`     // file name of the lock
	LockBlob string `json:"lockBlob"` // SHA-256 of the lock, fetched like any blob
	Root     string `json:"root"`     // where the set is unpacked
}

// Archive is a class-data archive worth building beside a set.
type Archive struct {
	Name      string   `json:"name"`
	Set       string   `json:"set"` // id of the set
	JavaHome  string   `json:"javaHome"`
	JavaKey   string   `json:"javaKey"`
	Classpath []string `json:"classpath"`
	Expand    []string `json:"expand,omitempty"` // directories whose jars, in the order Java expands dir/* in, are the class path
	ListBlob  string   `json:"listBlob"`         // SHA-256 of the class list
	Path      string   `json:"path"`
}

// Service is one supervised program.
type Service struct {
	Name    string            `json:"name"`
	Role    string            `json:"role"`
	Argv    []string          `json:"argv"`
	Env     map[string]string `json:"env,omitempty"`
	Dir     string            `json:"dir"`
	Dirs    []Dir             `json:"dirs,omitempty"`
	Files   []File            `json:"files,omitempty"`
	Secrets []Secret          `json:"secrets,omitempty"`
	Reload  []string          `json:"reload,omitempty"` // run when a file with OnChange reload changed
	Init    []InitTask        `json:"init,omitempty"`
	Gates   []Probe           `json:"gates,omitempty"`
	Ready   Probe             `json:"ready"`
	Health  *Probe            `json:"health,omitempty"`
	Drained *Probe            `json:"drained,omitempty"`
	// Conditions is the file in which the program keeps conditions of its own, a JSON
	// list of api.Condition; "" for none.
	Conditions string `json:"conditions,omitempty"`
	// Logs are patterns of the logs it keeps beside what it prints, relative to Dir.
	Logs  []string `json:"logs,omitempty"`
	Stop  Stop     `json:"stop"`
	Ports []Port   `json:"ports,omitempty"`
	// RestartKey is a digest of all that takes effect only by a restart: the
	// agent restarts a service whose running process has another.
	RestartKey string `json:"restartKey"`
}

// Dir is a directory of a service. Kept ones hold data: they outlive the
// service and are removed only with the node.
type Dir struct {
	Name string `json:"name"`
	Path string `json:"path"`
	Keep bool   `json:"keep,omitempty"`
}

// OnChange says what a changed file asks for.
type OnChange string

// What a changed file asks for.
const (
	ChangeNone    OnChange = "none"
	ChangeReload  OnChange = "reload"
	ChangeRestart OnChange = "restart"
	ChangeRolling OnChange = "rollingRestart"
)

// File is a file the agent writes before a start. Values are what the file
// says key by key, for comparing revisions; the agent ignores them.
type File struct {
	Path     string   `json:"path"`
	Content  string   `json:"content"`
	Mode     uint32   `json:"mode,omitempty"`
	OnChange OnChange `json:"onChange"`
	Values   []Value  `json:"-"`
	Name     string   `json:"-"` // path as the stack names it
}

// Secret is a file with a secret. The rendering says only which; the content is
// put in on the way to the agent, so that no plan, digest or event holds it.
type Secret struct {
	Path    string     `json:"path"`
	Kind    string     `json:"kind"` // shared, authority, restrictions, token
	Name    string     `json:"name,omitempty"`
	Role    string     `json:"role,omitempty"`
	Content SecretText `json:"content,omitempty"`
}

// SecretText is a text that is shown nowhere but in its own JSON.
type SecretText string

// String hides the text.
func (SecretText) String() string { return "[secret]" }

// GoString hides the text.
func (SecretText) GoString() string { return "[secret]" }

// LogValue hides the text.
func (SecretText) LogValue() slog.Value { return slog.StringValue("[secret]") }

// LogValue leaves out the content.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.Path) }

// LogValue leaves out what the assignment holds: secrets among it, which the JSON
// of a log would show.
func (a Assignment) LogValue() slog.Value {
	return slog.GroupValue(slog.String("node", a.Node.Name), slog.Int64("generation", a.Generation))
}

// Value is one key of a file.
type Value struct{ Key, Value string }

// InitTask runs once before the first start of a service.
type InitTask struct {
	Name     string            `json:"name"`
	Cluster  bool              `json:"cluster,omitempty"` // once per cluster, under a permit of the server; else once per node
	Argv     []string          `json:"argv"`
	Env      map[string]string `json:"env,omitempty"`
	Evidence string            `json:"evidence"` // file that exists exactly when the task has been done
	Wipe     string            `json:"wipe"`     // directory emptied before an interrupted task runs again
	Timeout  time.Duration     `json:"timeout"`
}

// Probe asks a program a question. Exactly one of HTTP, TCP and Adapter is set.
type Probe struct {
	Message string        `json:"message,omitempty"` // what is waited for, in words
	HTTP    string        `json:"http,omitempty"`
	TCP     string        `json:"tcp,omitempty"`
	Adapter string        `json:"adapter,omitempty"` // protocol client
	Check   string        `json:"check,omitempty"`   // question to the adapter
	Address string        `json:"address,omitempty"` // address for the adapter
	Expect  string        `json:"expect,omitempty"`  // expression over status and body that must hold
	Says    string        `json:"says,omitempty"`    // expression over the same: the program's own words where Expect does not hold
	Every   time.Duration `json:"every,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"`
	Max     time.Duration `json:"max,omitempty"`   // gates open by themselves after this; a start fails after this
	Fails   int           `json:"fails,omitempty"` // failures in a row before health is lost
}

// Unmet adds what is waited for to why it does not hold.
func (p Probe) Unmet(why error) error {
	if p.Message == "" {
		return why
	}
	return fmt.Errorf("%s: %w", p.Message, why)
}

// Stop says how a service ends.
type Stop struct {
	Signal string        `json:"signal"`
	Grace  time.Duration `json:"grace"`
	// KeepChildren leaves what the service started alone when it is only
	// restarted.
	KeepChildren bool `json:"keepChildren,omitempty"`
}

// Port is an address a service will listen on.
type Port struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// Task is a piece of work run once on a node, outside the services: a smoke
// test, the submission of a job.
type Task struct {
	ID      string            `json:"id"`
	Title   string            `json:"title"`
	Dir     string            `json:"dir"`
	Files   []File            `json:"files,omitempty"`
	Secrets []Secret          `json:"secrets,omitempty"`
	Blobs   []TaskBlob        `json:"blobs,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	Steps   []TaskStep        `json:"steps"`
	Timeout time.Duration     `json:"timeout"`
	Cancel  bool              `json:"cancel,omitempty"`
}

// TaskBlob is an uploaded file a task works on.
type TaskBlob struct {
	Path string `json:"path"`
	Blob string `json:"blob"` // SHA-256
}

// TaskStep is one piece of a task: a command, one HTTP request, or waiting for
// a probe.
type TaskStep struct {
	Title   string    `json:"title"`
	Argv    []string  `json:"argv,omitempty"`
	Capture string    `json:"capture,omitempty"` // regular expression; its first match in the output is the task's value
	HTTP    *Request  `json:"http,omitempty"`
	Probe   *Probe    `json:"probe,omitempty"`
	Archive *Archived `json:"archive,omitempty"` // an agent of protocol 1 cannot do this one
}

// Archived is files that a task packs, as they are then, and sends to the server.
type Archived struct {
	Dir   string   `json:"dir"`
	Files []string `json:"files"` // patterns relative to Dir
}

// Request is one HTTP request of a task.
type Request struct {
	Method string `json:"method"`
	URL    string `json:"url"`
	Body   string `json:"body,omitempty"`
	Expect string `json:"expect,omitempty"` // expression over status and body
}

// JoinRequest asks for an identity.
type JoinRequest struct {
	Node  string `json:"node"`
	Token string `json:"token"`
	CSR   []byte `json:"csr"` // DER
	// Protocol is what the agent speaks; see Protocol.
	Protocol int `json:"protocol,omitempty"`
}

// JoinResponse brings the identity.
type JoinResponse struct {
	Certificate []byte `json:"certificate"` // DER
	CA          []byte `json:"ca"`          // PEM; all authorities that are trusted
}

// RenewRequest asks for another certificate in the place of the one it is sent
// with.
type RenewRequest struct {
	Node string `json:"node"`
	CSR  []byte `json:"csr"` // DER, of a new key
}

// RenewResponse brings it.
type RenewResponse struct {
	Certificate []byte `json:"certificate"` // DER
	CA          []byte `json:"ca"`          // PEM; all authorities that are trusted
}

// Trust says what an agent should know of the server's authorities.
type Trust struct {
	CA    string `json:"ca"`              // PEM; all that are trusted
	Renew bool   `json:"renew,omitempty"` // the certificate of this connection is to be renewed now
}

// WatchRequest opens the stream of assignments. Instance is new for each
// start of an agent process; the newest fences the older ones.
type WatchRequest struct {
	Node     string `json:"node"`
	Instance string `json:"instance"`
	Facts    Facts  `json:"facts"`
}

// WatchEvent is one message of that stream.
type WatchEvent struct {
	Incarnation int64       `json:"incarnation,omitempty"` // first message
	Protocol    int         `json:"protocol,omitempty"`    // first message: what the server speaks
	Fenced      bool        `json:"fenced,omitempty"`      // a newer agent runs this node
	Assignment  *Assignment `json:"assignment,omitempty"`
	Trust       *Trust      `json:"trust,omitempty"` // at the beginning, and when it changes
	// Session asks the agent to dial back; agents of earlier versions do not.
	Session *SessionRequest `json:"session,omitempty"`
}

// Facts is what a node is.
type Facts struct {
	Dir      string `json:"dir"`   // the node's directory
	Cache    string `json:"cache"` // the host's artifact cache
	MemoryMB int    `json:"memoryMB"`
	CPUs     int    `json:"cpus"`
	BootID   string `json:"bootID"`
	User     string `json:"user"` // the user its processes run as
	Javas    []Java `json:"javas,omitempty"`
	Version  string `json:"version"`            // of howdah
	Build    string `json:"build,omitempty"`    // of its program, as the server that started it calls it
	Protocol int    `json:"protocol,omitempty"` // it speaks; see Protocol
	Program  string `json:"program,omitempty"`  // path of howdah
	PID      int    `json:"pid"`
}

// Java is an installed JDK or JRE.
type Java struct {
	Home    string `json:"home"`
	Bin     string `json:"bin"`
	Major   int    `json:"major"`
	Version string `json:"version"`
	Vendor  string `json:"vendor,omitempty"`
	Key     string `json:"key"` // changes with the build
}

// Report is what an agent observes: always whole, so that a lost one does not
// matter. Sequence rises within an incarnation.
type Report struct {
	Node        string              `json:"node"`
	Incarnation int64               `json:"incarnation"`
	Sequence    int64               `json:"sequence"`
	Generation  int64               `json:"generation"`
	Services    []api.ServiceStatus `json:"services"`
	Done        []string            `json:"done,omitempty"` // cluster-wide one-time tasks whose evidence is here
	Tasks       []TaskStatus        `json:"tasks,omitempty"`
	Conditions  []api.Condition     `json:"conditions,omitempty"` // of the node itself
}

// TaskStatus is where a task stands.
type TaskStatus struct {
	ID      string    `json:"id"`
	State   TaskState `json:"state"`
	Step    string    `json:"step,omitempty"`
	Value   string    `json:"value,omitempty"`
	Message string    `json:"message,omitempty"`
	Output  string    `json:"output,omitempty"` // the end of what it printed
	Sent    []Sent    `json:"sent,omitempty"`   // archives the server has taken
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
}

// Sent is an archive of a task that the server has taken.
type Sent struct {
	Step   int    `json:"step"`
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"` // of the archive
	SHA256 string `json:"sha256"`
}

// TaskState is where a task stands.
type TaskState string

// States of a task. The last two are final.
const (
	TaskTodo    TaskState = "todo"
	TaskRunning TaskState = "running"
	TaskDone    TaskState = "done"
	TaskFailed  TaskState = "failed"
)

// ReportResponse answers a report.
type ReportResponse struct {
	Fenced bool `json:"fenced,omitempty"`
}

// PermitRequest asks whether a cluster-wide one-time task may run here.
type PermitRequest struct {
	Node string `json:"node"`
	Task string `json:"task"`
}

// Permit answers it.
type Permit string

// Answers to a permit request.
const (
	PermitRun  Permit = "run"  // run it; this node holds the permit
	PermitWait Permit = "wait" // another node holds it
	PermitDone Permit = "done" // it has been done; if its evidence is missing here, data is missing
)

// PermitResponse carries the answer.
type PermitResponse struct {
	Permit Permit `json:"permit"`
	Holder string `json:"holder,omitempty"`
}

// Paths of the agent service on the server.
const (
	PathJoin   = "/howdah.agent.v1.Agent/Join"
	PathRenew  = "/howdah.agent.v1.Agent/Renew"
	PathWatch  = "/howdah.agent.v1.Agent/Watch"
	PathReport = "/howdah.agent.v1.Agent/Report"
	PathPermit = "/howdah.agent.v1.Agent/Permit"
	PathSend   = "/howdah.agent.v1.Agent/Send/" // PUT, followed by the task and the step; an archive
	PathBlob   = "/howdah.agent.v1.Agent/Blob/" // GET, followed by the SHA-256; ranges
)

// Codec carries the messages as JSON: they are documents, readable with any
// HTTP client, and fields a peer one version apart does not know do no harm.
type Codec struct{}

// Name is the name of the encoding in content types.
func (Codec) Name() string { return "json" }

// Marshal encodes a message.
func (Codec) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

// Unmarshal decodes a message.
func (Codec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// ServerName is the name in the server's certificate, whatever its address.
const ServerName = "howdah-server"

// HeaderSHA256 is the digest of an archive that is sent (PathSend), in hex.
const HeaderSHA256 = "Howdah-Sha256"

// JoinFile is what a driver puts beside a new node's agent (join.json, 0600).
type JoinFile struct {
	Node    string    `json:"node"`
	Server  string    `json:"server"` // host:port
	CA      string    `json:"ca"`     // PEM
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

// HostFile is what a driver tells an agent about the place it runs in
// (host.json).
type HostFile struct {
	Address  string            `json:"address"`
	Cache    string            `json:"cache"`
	MemoryMB int               `json:"memoryMB"`
	CPUs     int               `json:"cpus"`
	Env      map[string]string `json:"env,omitempty"` // for every process of the node
}
