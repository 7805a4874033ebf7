package pipeline

import (
	"context"
	"io"
	"time"
)

// FileSystem is the warehouse. Paths are absolute. An error about a missing
// path is fs.ErrNotExist (errors.Is).
type FileSystem interface {
	Reader
	Writer
}

// Reader reads the warehouse.
type Reader interface {
	// List returns the entries of a folder, for a file the file itself.
	List(ctx context.Context, path string) ([]Entry, error)
	// Open reads a file to its end; of one being written, to what is known.
	Open(ctx context.Context, path string) (io.ReadCloser, error)
}

// Writer changes the warehouse.
type Writer interface {
	// MakeFolder makes a folder and its parents; one that exists stays.
	MakeFolder(ctx context.Context, path string) error
	// Create makes a file and its folders, or replaces the file.
	Create(ctx context.Context, path string, r io.Reader) error
	// Rename moves a file in one step; nothing may be there.
	Rename(ctx context.Context, from, to string) error
	// Remove deletes a file, or a folder with all in it; missing is no error.
	Remove(ctx context.Context, path string) error
}

// Entry is one file or folder of a listing.
type Entry struct {
	Name   string // last part of the path
	Folder bool
	Bytes  int64
}

// Jobs runs MapReduce jobs on clusters.
type Jobs interface {
	// SubmitJob starts a job and returns its id.
	SubmitJob(ctx context.Context, r JobRequest) (id string, err error)
	// JobStatus says how a job is doing.
	JobStatus(ctx context.Context, cluster, id string) (JobStatus, error)
	// KillJob ends a job; one that has ended is no error.
	KillJob(ctx context.Context, cluster, id string) error
}

// JobRequest is a job to run.
type JobRequest struct {
	Cluster string
	Jar     string // local path; "" is the stack's own examples jar
	Main    string // class or program name; "" is what the jar's manifest says
	Args    []string
}

// JobState is where a job stands.
type JobState string

// States of a job. The last three are final.
const (
	JobWaiting   JobState = "waiting" // no container yet
	JobRunning   JobState = "running"
	JobSucceeded JobState = "succeeded"
	JobFailed    JobState = "failed"
	JobKilled    JobState = "killed"
)

// JobStatus is how a job is doing.
type JobStatus struct {
	State       JobState
	Map         float64 // per cent
	Reduce      float64 // per cent
	Diagnostics string  // why it waits or has failed
}

// Topologies runs Storm topologies on clusters.
type Topologies interface {
	// SubmitTopology starts a topology and returns its id.
	SubmitTopology(ctx context.Context, r TopologyRequest) (id string, err error)
	// TopologyStatus says how a topology is doing; TopologyAbsent is a state,
	// no error.
	TopologyStatus(ctx context.Context, cluster, name string) (TopologyStatus, error)
	// KillTopology ends a topology: its spouts at once, its workers after wait.
	KillTopology(ctx context.Context, cluster, name string, wait time.Duration) error
}

// TopologyRequest is a topology to run.
type TopologyRequest struct {
	Cluster    string
	Name       string // overrides the name in the Flux file
	Flux       string // local path
	Properties map[string]string
	Resources  []string // local paths; base names in the jar's resources
	Files      []string // local paths; base names in the jar's root
}

// TopologyState is where a topology stands.
type TopologyState string

// States of a topology. Storm lists a killed one until its workers are told.
const (
	TopologyAbsent   TopologyState = "absent"
	TopologyActive   TopologyState = "active"
	TopologyInactive TopologyState = "inactive"
	TopologyKilled   TopologyState = "killed"
)

// TopologyStatus is how a topology is doing.
type TopologyStatus struct {
	State   TopologyState
	Waiting string // why it is not fully placed, "" if it is
	Error   string // newest error of a component in this topology, "" if none
}
