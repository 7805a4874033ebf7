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

// Apps runs apps on cells.
type Apps interface {
	// RunApp makes or changes an app; it does not wait for its instances.
	RunApp(ctx context.Context, r AppRequest) error
	// ScaleApp tells an app how many instances to have, and does not wait; an app
	// that is not there is no error.
	ScaleApp(ctx context.Context, cell, app string, instances int) error
	// AppStatus says how an app is doing; zero if it is not there.
	AppStatus(ctx context.Context, cell, app string) (AppStatus, error)
}

// AppRequest is an app to run: Image, or else Program.
type AppRequest struct {
	Cell      string
	App       string // id
	Image     string // as Images.PushImage returned it
	Program   string // local path, run as a plain command
	Instances int
	CPUs      float64
	MemMB     int
	Env       map[string]string
	Dataset   string // path of the warehouse that it reads and writes
}

// AppStatus is how an app is doing.
type AppStatus struct {
	Instances  int    // asked for
	Running    int    // instances that run
	Tasks      int    // instances that are there, in whatever state
	Waiting    string // why instances are not placed, "" if they are
	Failure    string // last failure of an instance, "" if there was none
	FailedTask string // the instance that failed
}

// Images makes images, and says who can run them.
type Images interface {
	// PushImage makes an image and puts it into the platform's registry, unless it
	// is there. It returns the name of exactly this image.
	PushImage(ctx context.Context, r ImageRequest) (image string, err error)
	// Cell says what a cell can run.
	Cell(ctx context.Context, cell string) (Cell, error)
}

// ImageRequest is an image to make.
type ImageRequest struct {
	Name  string // PROJECT/NAME or PROJECT/NAME:TAG
	Build Build
}

// Cell is what a cell can run.
type Cell struct {
	Containers bool
	Why        string // where it runs none
	Local      bool   // its workers see the files of this machine
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
