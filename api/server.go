package api

import "time"

// Info says what answers.
type Info struct {
	Version string `json:"version" doc:"Version of the server"`
	Build   string `json:"build" doc:"Digest of the server's program"`
	Home    string `json:"home" doc:"Directory that holds all state"`
	Posture string `json:"posture" enum:"single-user,shared" doc:"Security posture"`
	PID     int    `json:"pid" doc:"Process id of the server"`
	Subnet  string `json:"subnet" doc:"Loopback addresses of this home"`
	Address string `json:"address" doc:"Address of the API"`
	Memory  int    `json:"memoryMB" doc:"Memory for nodes on the local infrastructure, in MiB"`
	CPUs    int    `json:"cpus" doc:"Cores"`
	User    string `json:"user" doc:"User the server and its local services run as"`
}

// File is a definition file as a user wrote it.
type File struct {
	Name    string `json:"name" doc:"File name, for findings"`
	Content string `json:"content" doc:"Its text"`
	Project string `json:"project,omitempty" pattern:"^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$" maxLength:"63" doc:"Project of new clusters that name none; that of the caller where absent"`
	// Resume is how "howdah up" comes back, also with a newer binary, without
	// reconfiguring what runs or starting what somebody stopped.
	Resume bool `json:"resume,omitempty" doc:"Clusters that are there keep the stack they were made with, and stopped ones stay stopped"`
}

// Planned is what a plan request finds.
type Planned struct {
	Plans       []Plan      `json:"plans" doc:"One plan per cluster"`
	Diagnostics Diagnostics `json:"diagnostics,omitempty" doc:"Warnings"`
}

// Applied is what an apply request started.
type Applied struct {
	Operations  []Operation `json:"operations" doc:"Operations started; none when nothing is to change"`
	Plans       []Plan      `json:"plans" doc:"One plan per cluster"`
	Diagnostics Diagnostics `json:"diagnostics,omitempty" doc:"Warnings"`
}

// Problem is an error as RFC 9457 has it, with all findings.
type Problem struct {
	Type        string      `json:"type,omitempty" doc:"Kind of problem"`
	Title       string      `json:"title" doc:"The status in words"`
	Status      int         `json:"status" doc:"HTTP status"`
	Detail      string      `json:"detail,omitempty" doc:"What is wrong and what to do"`
	Diagnostics Diagnostics `json:"diagnostics,omitempty" doc:"All findings"`
}

// Error returns the detail, or the findings.
func (p *Problem) Error() string {
	switch {
	case p.Detail != "":
		return p.Detail
	case len(p.Diagnostics) > 0:
		return p.Diagnostics.Error()
	}
	return p.Title
}

// GetStatus returns the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is RFC 9457's media type.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// Kinds of problems, in Problem.Type.
const (
	ProblemInvalid     = "invalid"
	ProblemNotFound    = "not-found"
	ProblemGuard       = "guard"
	ProblemBusy        = "busy"
	ProblemUnsupported = "unsupported"
	ProblemFull        = "full" // the disk of the home has no room
)

// Stack describes a kind of cluster.
type Stack struct {
	Name      string            `json:"name" doc:"Name"`
	Summary   string            `json:"summary" doc:"One line"`
	Version   string            `json:"version" doc:"Version of its programs"`
	Digest    string            `json:"digest" doc:"Digest of its files"`
	Java      string            `json:"java" doc:"Java it runs on"`
	Links     map[string]string `json:"links,omitempty" doc:"Links and what they are for"`
	Exports   []string          `json:"exports,omitempty" doc:"What others may read"`
	Roles     []StackRole       `json:"roles" doc:"What a node can do"`
	Files     []string          `json:"files,omitempty" doc:"Files users can configure"`
	Workloads []string          `json:"workloads,omitempty" doc:"What users can run on it"`
	Tools     []string          `json:"tools,omitempty" doc:"Command line tools"`
}

// StackRole is a role of a stack.
type StackRole struct {
	Name     string   `json:"name" doc:"Name"`
	Summary  string   `json:"summary,omitempty" doc:"One line"`
	Services []string `json:"services" doc:"Its services"`
	MemoryMB int      `json:"memoryMB" doc:"Memory a node needs for it, in MiB"`
	Rules    []string `json:"rules,omitempty" doc:"What must hold"`
}

// ClientRequest asks for a command line client for a machine.
type ClientRequest struct {
	Home     string `json:"home" doc:"Directory the client's files go to"`
	Cache    string `json:"cache" doc:"Artifact cache of that machine"`
	JavaHome string `json:"javaHome" doc:"Java of that machine"`
	JavaBin  string `json:"javaBin" doc:"Its java program"`
	JavaKey  string `json:"javaKey" doc:"Key of that Java's class-data archives"`
	Major    int    `json:"major" doc:"Its feature version"`
}

// Blob is an uploaded file.
type Blob struct {
	SHA256 string `json:"sha256" doc:"Its digest, by which it is named"`
	Bytes  int64  `json:"bytes" doc:"Its size"`
}

// JavaRange is a range of Java feature versions, both ends included.
type JavaRange struct {
	Min int `json:"min" doc:"Oldest that works"`
	Max int `json:"max,omitempty" doc:"Newest that works; 0 when unknown"`
}

// Command is a client command.
type Command struct {
	Argv []string `json:"argv" doc:"Tool and arguments, for howdah run"`
}

// TokenRequest asks for a token.
type TokenRequest struct {
	Project string `json:"project" pattern:"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" maxLength:"63" doc:"Project it is for"`
	Role    string `json:"role" enum:"viewer,operator,admin" doc:"What it allows: read; also run, scale and stop; everything"`
	Name    string `json:"name,omitempty" maxLength:"100" doc:"What it is used for"`
	Seconds int64  `json:"seconds,omitempty" minimum:"0" doc:"How long it is good for, in seconds; 0 means for ever"`
}

// Token is a new token. Its text is shown once and kept nowhere.
type Token struct {
	ID      string    `json:"id" doc:"Its id"`
	Project string    `json:"project" doc:"Project it is for"`
	Role    string    `json:"role" doc:"What it allows"`
	Expires time.Time `json:"expires,omitzero" doc:"When it ends"`
	Token   string    `json:"token" doc:"The token itself: a secret"`
}
