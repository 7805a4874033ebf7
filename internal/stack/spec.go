// Package stack owns kinds of clusters as data: it loads a stack directory,
// checks it, and renders what one node of a cluster should run. It knows no
// particular kind of cluster. It must not import the server, the agent or the
// operation engine.
package stack

import (
	"time"

	"howdah.dev/howdah/internal/agentapi"
)

// Spec is a stack.yaml as written. The doc tags are the reference of the
// format (docs/reference/stack.md is generated from them).
type Spec struct {
	Name       string               `json:"name" pattern:"^[a-z][a-z0-9-]*$" doc:"Name of the stack; equals the directory's"`
	Summary    string               `json:"summary" doc:"One line that says what it is"`
	Version    string               `json:"version" doc:"Version of the programs it brings"`
	Types      []string             `json:"types,omitempty" doc:"BDE cluster types that mean this stack"`
	Includes   []string             `json:"includes,omitempty" doc:"Stacks whose roles, services, artifacts and classpaths this one has too"`
	Java       JavaRange            `json:"java,omitzero" doc:"Java versions the programs run on; absent where they need none"`
	Artifacts  map[string]Artifact  `json:"artifacts,omitempty" doc:"Artifact sets by name"`
	Classpaths map[string]Classpath `json:"classpaths,omitempty" doc:"Class paths over the sets; ${cp.NAME} and, with a class list, ${cds.NAME}"`
	Links      map[string]LinkSpec  `json:"links,omitempty" doc:"Clusters this one can use"`
	Roles      map[string]Role      `json:"roles" doc:"What a node can do"`
	Rules      []Rule               `json:"rules,omitempty" doc:"What must hold for the cluster as a whole"`
	Files      map[string]File      `json:"files,omitempty" doc:"Files that several services use, by name"`
	Services   map[string]Service   `json:"services" doc:"The programs"`
	Exports    map[string]Template  `json:"exports,omitempty" doc:"What clusters that link to this one may read"`
	Client     *Client              `json:"client,omitempty" doc:"Command line tools for people and for tasks"`
	Workloads  map[string]Workload  `json:"workloads,omitempty" doc:"What users can run on it: job, topology"`
	Web        map[string]WebAPI    `json:"web,omitempty" doc:"Web APIs the server offers for a cluster, at /clusters/CLUSTER/PATH, by path"`
	Smoke      *Smoke               `json:"smoke,omitempty" doc:"How the cluster proves that it works"`
	Default    Default              `json:"default" doc:"The definition used where the user names no node groups"`
}

// JavaRange is a range of Java feature versions, both ends included.
type JavaRange struct {
	Min int `json:"min" doc:"Oldest Java that works"`
	Max int `json:"max,omitempty" doc:"Newest Java that works; 0 when unknown"`
}

// Artifact is a set of files, by its lock.
type Artifact struct {
	Lock string `json:"lock" doc:"Lock file, in the stack's directory or in shared/"`
}

// Classpath is a list of jars out of a set, in the lock's order.
type Classpath struct {
	Set     string   `json:"set" doc:"Artifact set"`
	Dirs    []string `json:"dirs,omitempty" doc:"Only jars under these directories, in this order; all where absent"`
	Classes string   `json:"classes,omitempty" doc:"Class list a class-data archive is built from"`
	// Expanded is for programs that name their class path with wildcards.
	Expanded bool `json:"expanded,omitempty" doc:"The program gives the directories as dir/*; the archive is built in the order Java expands them in"`
}

// LinkSpec is a cluster this one can use.
type LinkSpec struct {
	Summary  string              `json:"summary,omitempty" doc:"What it is used for"`
	Required bool                `json:"required,omitempty" doc:"Whether a cluster cannot be without"`
	Exports  []string            `json:"exports" doc:"What is read from it"`
	External map[string]Template `json:"external,omitempty" doc:"The exports where the user names an unmanaged one (externalHDFS) as ${value}"`
}

// Role is something a node does: services that run together.
type Role struct {
	Summary   string     `json:"summary,omitempty" doc:"One line"`
	Services  []string   `json:"services" doc:"Its services, in order of start"`
	MemoryMB  int        `json:"memoryMB" doc:"Memory a node needs for this role, in MiB; also the default"`
	CPUs      int        `json:"cpus,omitempty" doc:"Cores by default"`
	Count     []Rule     `json:"count,omitempty" doc:"Rules over n, the number of nodes with this role"`
	Needs     []string   `json:"needs,omitempty" doc:"Roles that must be in the cluster too"`
	Removable *Removable `json:"removable,omitempty" doc:"When a node with this role may be taken away"`
}

// Rule is a truth that must hold, and what to say when it does not.
type Rule struct {
	Require Expr     `json:"require" doc:"Expression that must be true"`
	Message Template `json:"message" doc:"What is wrong and what to do"`
}

// Removable says when a node may be taken away from its role.
type Removable struct {
	When    Expr     `json:"when" doc:"Expression over n, the nodes before; true when one may go"`
	Message Template `json:"message" doc:"Why not, otherwise"`
}

// Service is one program.
type Service struct {
	Summary    string              `json:"summary,omitempty" doc:"One line"`
	HeapMB     *Template           `json:"heapMB,omitempty" doc:"Java heap in MiB, as a number; ${heapMB} elsewhere"`
	Dirs       map[string]DirSpec  `json:"dirs,omitempty" doc:"Directories beside conf, logs and tmp; ${dir.NAME}"`
	Ports      map[string]int      `json:"ports,omitempty" doc:"Ports it listens on at the node's address; ${port.NAME}"`
	Env        map[string]Template `json:"env,omitempty" doc:"Environment"`
	Command    []Template          `json:"command" doc:"Program and arguments; an expression that is a list is spliced"`
	Files      map[string]File     `json:"files,omitempty" doc:"Files written before a start, relative to the service's directory"`
	Secrets    map[string]Secret   `json:"secrets,omitempty" doc:"Files with secrets, relative to the service's directory, for their owner only; no plan and no event shows them"`
	Reload     []Template          `json:"reload,omitempty" doc:"Command that makes the running program read its files again"`
	Init       []Init              `json:"init,omitempty" doc:"One-time tasks before the first start"`
	Gates      []Probe             `json:"gates,omitempty" doc:"What is waited for before a start"`
	Ready      Probe               `json:"ready" doc:"When it counts as ready"`
	Health     *Probe              `json:"health,omitempty" doc:"What must go on holding"`
	Drained    *Probe              `json:"drained,omitempty" doc:"When a draining node's service has given up what it holds"`
	Conditions string              `json:"conditions,omitempty" doc:"File in which the program keeps conditions of its own, relative to the service's directory: a JSON list of objects with type, status, reason and message"`
	Logs       []string            `json:"logs,omitempty" doc:"Logs it keeps beside what it prints: patterns relative to the service's directory, as workers/*/worker.log; rotated ones end in .1, the newest, and so on. howdah logs shows them with the service's"`
	Stop       StopSpec            `json:"stop,omitempty" doc:"How it is stopped"`
	Backup     *Backup             `json:"backup,omitempty" doc:"How its data gets into a backup while it runs"`
	Web        []Web               `json:"web,omitempty" doc:"Pages worth showing"`
	Open       bool                `json:"open,omitempty" doc:"Insists on listening on every address of its host; where nodes share one, this needs the identity object"`
}

// Secret is a file whose content the server makes.
type Secret struct {
	Kind string `json:"kind" enum:"shared,authority,restrictions,token" doc:"shared: 64 hexadecimal digits, the same everywhere in the cluster for one name; authority: the certificate with which tokens are checked; restrictions: which signed tokens give no access, as JSON, written again when it changes; token: a token of this node with a role"`
	Name string `json:"name,omitempty" doc:"Which of the cluster's shared secrets"`
	Role string `json:"role,omitempty" enum:"viewer,operator,admin" doc:"What the token may do"`
}

// DirSpec is a directory of a service.
type DirSpec struct {
	Keep bool `json:"keep,omitempty" doc:"Holds data: removed only with the node, and guarded"`
}

// Web is a page a service serves.
type Web struct {
	Title string   `json:"title" doc:"What it shows"`
	URL   Template `json:"url" doc:"Its address"`
}

// File is a file in a program's own format.
type File struct {
	Use      string              `json:"use,omitempty" doc:"Name of a shared file (files) this one starts from"`
	Format   string              `json:"format,omitempty" enum:"xml,properties,yaml,env,lines" doc:"Format: Hadoop XML, Java properties, YAML, KEY=value, or plain lines"`
	User     string              `json:"user,omitempty" doc:"User configuration that goes before the values, as service/file"`
	Locked   []string            `json:"locked,omitempty" doc:"Keys a user cannot set"`
	Values   map[string]Template `json:"values,omitempty" doc:"Keys and values; an expression that is nil leaves the key out"`
	Lines    []Template          `json:"lines,omitempty" doc:"Lines of a lines file"`
	ForEach  []ForEach           `json:"forEach,omitempty" doc:"Keys or lines made from a list"`
	OnChange string              `json:"onChange,omitempty" enum:"none,reload,restart,rollingRestart" doc:"What a change asks for; restart by default"`
}

// ForEach makes keys or lines from a list.
type ForEach struct {
	In    Expr      `json:"in" doc:"Expression that is a list; its members are ${it}"`
	When  *Expr     `json:"when,omitempty" doc:"Only if true"`
	Key   *Template `json:"key,omitempty" doc:"Key; absent in a lines file"`
	Value Template  `json:"value" doc:"Value or line"`
}

// Init is a one-time task.
type Init struct {
	Name     string     `json:"name" doc:"Name, unique in the service"`
	Scope    string     `json:"scope" enum:"cluster,node" doc:"Once in the cluster's life, or once on each node"`
	Command  []Template `json:"command" doc:"Program and arguments"`
	Evidence Template   `json:"evidence" doc:"File that is there exactly when the task has been done"`
	Wipe     Template   `json:"wipe" doc:"Directory that is emptied before an interrupted task runs again"`
	Timeout  Duration   `json:"timeout,omitempty" doc:"Longest time; 2m by default"`
}

// Probe asks a program a question: one of http, tcp and adapter.
type Probe struct {
	When    *Expr     `json:"when,omitempty" doc:"Only if true when rendered"`
	Message Template  `json:"message,omitempty" doc:"What is waited for, in words"`
	HTTP    *Template `json:"http,omitempty" doc:"Address to GET"`
	TCP     *Template `json:"tcp,omitempty" doc:"Address to connect to"`
	Adapter string    `json:"adapter,omitempty" doc:"Protocol client to ask"`
	Check   Template  `json:"check,omitempty" doc:"Question to the protocol client"`
	Address *Template `json:"address,omitempty" doc:"Address for the protocol client"`
	Expect  string    `json:"expect,omitempty" doc:"Expression over status, body, text and started that must hold; ${} in it is filled when rendered. An HTTP status below 400 where absent"`
	Says    string    `json:"says,omitempty" doc:"Expression over the same that is the program's own words where expect does not hold; they are shown"`
	Every   Duration  `json:"every,omitempty" doc:"Time between two tries; 200ms by default, 5s for health, whose tries begin at beats of the agent"`
	Timeout Duration  `json:"timeout,omitempty" doc:"Longest time for one try; 2s by default"`
	Max     Duration  `json:"max,omitempty" doc:"Longest time in all: a gate opens then, a start has failed then; 60s for gates, 3m for ready"`
	Fails   int       `json:"fails,omitempty" doc:"Failures in a row before health is lost; 3 by default"`

	expect *Template
}

// StopSpec says how a service is stopped.
type StopSpec struct {
	Signal string   `json:"signal,omitempty" enum:"TERM,INT,QUIT" doc:"Signal; TERM by default"`
	Grace  Duration `json:"grace,omitempty" doc:"Time before SIGKILL; 20s by default"`
	// KeepChildren is for programs that take up again what an earlier life of
	// theirs started.
	KeepChildren bool `json:"keepChildren,omitempty" doc:"What it started outlives a restart of it; ended only when the service is stopped for good"`
}

// Backup says how a running service's data is copied so that the copy is whole.
type Backup struct {
	Dir   string       `json:"dir" doc:"Directory of the service that is copied; one of dirs"`
	Steps []BackupStep `json:"steps" doc:"What is done, in order"`
	Point Template     `json:"point" doc:"What the copy stands for, in words; ${value} is what a step captured"`
}

// BackupStep is one of command and files.
type BackupStep struct {
	Title   string     `json:"title" doc:"What is done"`
	Command []Template `json:"command,omitempty" doc:"Command that must end with 0, with the service's environment"`
	Capture string     `json:"capture,omitempty" doc:"Regular expression; its first match in what the command prints is ${value}"`
	Files   []string   `json:"files,omitempty" doc:"Files to copy as they are then: patterns relative to the directory, as current/edits_*; one without a wildcard must be there"`
}

// Client is the command line side of a stack.
type Client struct {
	Env      map[string]Template `json:"env,omitempty" doc:"Environment of the tools"`
	Files    map[string]File     `json:"files,omitempty" doc:"Their files, relative to the client's directory"`
	Commands map[string]Command  `json:"commands" doc:"The tools by name"`
}

// Command is a tool; with subcommands, the first argument chooses.
type Command struct {
	Summary     string                `json:"summary,omitempty" doc:"One line"`
	Command     []Template            `json:"command,omitempty" doc:"Program and first arguments; the user's follow"`
	Subcommands map[string][]Template `json:"subcommands,omitempty" doc:"Program and first arguments by the user's first argument"`
}

// Workload is something users run on a cluster.
type Workload struct {
	Summary string              `json:"summary,omitempty" doc:"One line"`
	Adapter string              `json:"adapter" doc:"Protocol client that knows it"`
	Address Template            `json:"address" doc:"Address for the protocol client"`
	Extra   map[string]Template `json:"extra,omitempty" doc:"Further settings for the protocol client"`
	On      string              `json:"on" doc:"Role whose first node submits it"`
	Submit  []Template          `json:"submit" doc:"Command that submits: ${jar}, ${main}, ${name} and ${args} are the user's"`
	ID      string              `json:"id,omitempty" doc:"Regular expression that finds the id in what the command prints; the name given is the id where absent"`
	Logs    []Template          `json:"logs,omitempty" doc:"Client command that prints the logs of ${id}"`
	Jar     *Jar                `json:"jar,omitempty" doc:"How a jar is put together where the user gives none"`
}

// WebAPI is a web API that a protocol client serves for a cluster.
type WebAPI struct {
	Summary string     `json:"summary,omitempty" doc:"One line"`
	Adapter string     `json:"adapter" doc:"Protocol client that serves it"`
	Address Template   `json:"address" doc:"Address for the protocol client"`
	Listen  *WebListen `json:"listen,omitempty" doc:"Where the server serves it for reading besides, on nodes whose addresses are its own host's"`
}

// WebListen is a port at the address of a role's nodes.
type WebListen struct {
	Role string `json:"role" doc:"Role at whose nodes' addresses the server listens while the cluster runs"`
	Port int    `json:"port" minimum:"1024" maximum:"65535" doc:"Port; none of the role's services may have it"`
	Path string `json:"path" pattern:"^(/[a-z0-9][a-z0-9.-]*)+$" doc:"Path the API begins at"`
}

// Jar is a jar put together by the server out of an artifact and the user's files.
type Jar struct {
	Base string `json:"base" doc:"Jar in an artifact set, as SET/PATH"`
}

// Smoke is the cluster's own test.
type Smoke struct {
	On      string              `json:"on" doc:"Role whose first node runs it"`
	Max     Duration            `json:"max,omitempty" doc:"Longest time; 3m by default"`
	Files   map[string]Template `json:"files,omitempty" doc:"Small files it needs, by path in the task's directory"`
	Secrets map[string]Secret   `json:"secrets,omitempty" doc:"Files with secrets it needs, by path in the task's directory"`
	Jars    map[string]string   `json:"jars,omitempty" doc:"Jars put together for it: path in the task's directory to SET/PATH of the base"`
	Steps   []SmokeStep         `json:"steps" doc:"What is done, in order"`
}

// SmokeStep is one of command, http and probe.
type SmokeStep struct {
	Title   string     `json:"title" doc:"What is tried"`
	Command []Template `json:"command,omitempty" doc:"Command that must end with 0"`
	HTTP    *SmokeHTTP `json:"http,omitempty" doc:"Request that must succeed"`
	Probe   *Probe     `json:"probe,omitempty" doc:"What must become true"`
}

// SmokeHTTP is a request.
type SmokeHTTP struct {
	Method string   `json:"method" enum:"GET,PUT,POST,DELETE" doc:"Method"`
	URL    Template `json:"url" doc:"Address; redirects are followed with the body"`
	Body   Template `json:"body,omitempty" doc:"Body"`
	Expect string   `json:"expect,omitempty" doc:"Expression over status, body and text that must hold"`

	expect *Template
}

// Default is what a cluster is where the user names no node groups.
type Default struct {
	NodeGroups []DefaultGroup `json:"nodeGroups" doc:"The groups"`
}

// DefaultGroup is a group of the default definition.
type DefaultGroup struct {
	Name        string   `json:"name" doc:"Name"`
	Roles       []string `json:"roles" doc:"Roles"`
	InstanceNum int      `json:"instanceNum" doc:"Number of nodes"`
}

// Duration is a time span written as 200ms, 5s, 2m.
type Duration = time.Duration

// or returns d, or def where d is zero.
func or[T comparable](d, def T) T {
	var zero T
	if d == zero {
		return def
	}
	return d
}

// onChange returns the effect of a changed file.
func (f File) onChange() agentapi.OnChange {
	return agentapi.OnChange(or(f.OnChange, string(agentapi.ChangeRestart)))
}
