// Package container owns the contract between a worker and its runtimes: what a
// task is once images, users, limits and volumes are known, and what can be done with
// one that runs. It also holds what runtimes with a shim have in common.
//
// It knows nothing of frameworks, statuses, or where images come from.
package container

import (
	"context"
	"errors"
	"net"
	"time"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/shim"
)

// Spec says what to run.
type Spec struct {
	ID      string // of the container; unique on the host, lower case
	Dir     string // state of the runtime; exists, mode 0700
	Sandbox string // the task's folder; exists

	Argv     []string // empty: the image's own command
	Shell    bool     // Argv is one shell line; then TERM goes to all it started
	Program  bool     // Argv begins with a program: the image's entry point is not used
	Env      []string // beside that of the image
	User     string   // name or id, perhaps with a group behind a colon; empty: the image's, the worker's
	Hostname string
	Image    *Image // nil: no container
	Volumes  []Volume

	Limits  cgroup.Limits
	Ulimits []Ulimit // of a container
	Network Network
	Grace   time.Duration // between TERM and KILL
}

// Ulimit is a limit of each process, by the kernel's name in lower case: nofile.
type Ulimit struct {
	Name       string
	Soft, Hard uint64
}

// Volume is a folder of the host, or a file with a secret, seen by the task.
type Volume struct {
	ContainerPath string
	HostPath      string // resolved: no symbolic link in it, and allowed
	Data          []byte // of a secret, when HostPath is empty
	ReadOnly      bool
}

// Network says what a task can reach and who can reach it.
type Network struct {
	// Host shares the network of the worker; the rest then has no meaning.
	Host     bool
	Forwards []shim.Forward
	Gateways []shim.Gateway
}

// Running is a task that was started. It goes on when its worker ends.
type Running interface {
	// Started tells the task's first process; false when it was never started.
	Started() (shim.Started, bool)
	// Wait waits for the end. Nothing of the task is left when it returns, but for what
	// Probe says.
	Wait(ctx context.Context) (shim.Exit, error)
	// Kill asks for the end and returns at once: TERM, the grace period, KILL. Asking
	// again can only shorten the time.
	Kill(grace time.Duration) error
	// Dial connects to a TCP port of the task, in its network.
	Dial(ctx context.Context, port int) (net.Conn, error)
	// Exec starts a command in the task.
	Exec(ctx context.Context, r shim.ExecRequest) (Session, error)
	// Run runs a command in the task and returns the first bytes of its output.
	Run(ctx context.Context, r shim.ExecRequest, limit int) (code int, output []byte, err error)
	Stats() cgroup.Stats
	// Release lets the task go on unwatched.
	Release()
}

// Session is a command that runs in a task: frames of package shim.
type Session interface {
	Next() (kind byte, data []byte, err error)
	Send(kind byte, data []byte) error
	Close() error
}

// ErrAbsent is what Probe says of a runtime that nobody named and that is not there:
// nothing is wrong.
var ErrAbsent = errors.New("not there")

// Runtime runs tasks in one way.
type Runtime interface {
	// Name is docker, runc or plain.
	Name() string
	// Containers tells whether it runs images; one that does not runs commands.
	Containers() bool
	// Probe tells why it cannot be used here, and what is weaker than it should be,
	// a sentence each.
	Probe(ctx context.Context) (weaker []string, err error)
	// Start starts a task. When Running.Started says no, Wait tells the reason.
	Start(ctx context.Context, spec Spec) (Running, error)
	// Find returns a task that was started from the state directory;
	// keeper.ErrNever when there is none, and then there will be none.
	Find(ctx context.Context, dir string) (Running, error)
	// Clean removes what is left of a container that has ended or was never started,
	// outside of its folders.
	Clean(id string) error
	// Written returns the folders beside the sandbox that a task writes to.
	Written(dir string) []string
}
