package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/cell/cgroup"
)

// What shim and runc see of a container. The state directory may be closed to the
// container's users, and runc knows no commas in paths; this place is open and plain.
const (
	Rootfs   = openDir + "/rootfs"
	NetnsAt  = openDir + "/net"  // the container's network namespace
	UsernsAt = openDir + "/user" // the container's user namespace
)

// openDir gets a file system of its own that only shim and runc see.
const openDir = "/dev/shm"

// Files in the state directory of a task.
const (
	ConfigFile  = "task.json"    // Config; 0600, it holds the task's environment
	BundleFile  = "config.json"  // of a container: what runc is to do, by the OCI's rules
	StartedFile = "started.json" // Started
	ExitFile    = "exit.json"    // Exit
	KillFile    = "kill.json"    // Kill
	ControlFile = "control.sock"
	LogFile     = "shim.log"
	SelfFile    = "shim.json" // Self
	LockFile    = "lock"      // locked while the shim lives
	pidFile     = "pid"
	runcLogFile = "runc.log"
)

// Config says what a shim does. Exactly one of Command, Container and Engine is set.
type Config struct {
	ID string `json:"id"` // of the container; unique on the host

	Command   *Command   `json:"command,omitempty"`
	Container *Container `json:"container,omitempty"`
	Engine    *Engine    `json:"engine,omitempty"`

	Sandbox string        `json:"sandbox"` // where stdout and stderr are written
	Logs    Logs          `json:"logs"`
	Cgroup  *cgroup.Group `json:"cgroup,omitempty"` // read and removed; a plain command is put into it
	// Place are the folders that groups of the worker's tasks are made in. The last
	// task of a worker that was stopped for good removes them.
	Place   []string `json:"place,omitempty"`
	Network *Network `json:"network,omitempty"`
	// KillTree sends TERM to all the task's processes, not only to the first.
	KillTree bool          `json:"killTree,omitempty"`
	Grace    time.Duration `json:"grace"` // between TERM and KILL
}

// Command is a program to run.
type Command struct {
	Argv       []string `json:"argv"` // Argv[0] without a slash is looked up in the PATH of Env
	Env        []string `json:"env,omitempty"`
	Dir        string   `json:"dir,omitempty"`
	User       *User    `json:"user,omitempty"` // nil: the shim's own
	NoNewPrivs bool     `json:"noNewPrivs,omitempty"`
	MaxFiles   uint64   `json:"maxFiles,omitempty"` // limit of open files; 0: the shim's own
}

// User is whom a command runs as.
type User struct {
	UID    int   `json:"uid"`
	GID    int   `json:"gid"`
	Groups []int `json:"groups,omitempty"`
}

// Container is an OCI bundle, which is the state directory itself, to run by runc.
type Container struct {
	Runc string `json:"runc"` // the program
	Root string `json:"root"` // where runc keeps its state
	// Layers are directories, lowest first, that become the root filesystem.
	Layers    []string `json:"layers"`
	UserXattr bool     `json:"userXattr,omitempty"` // what layers say is kept where users may write it
	// Volumes are paths of the host without symbolic links; the bundle names them by
	// VolumePath.
	Volumes []string `json:"volumes,omitempty"`
	// ReadOnly are the indexes of those that may not be written to.
	ReadOnly []int `json:"readOnly,omitempty"`
	// Mapping shifts the owners of files in layers to those of the user namespace.
	// Size 0: there is none of the container's own.
	Mapping Mapping `json:"mapping"`
	// Rootless: the shim is in a user namespace that its starter made, and limits
	// cannot be set.
	Rootless bool `json:"rootless,omitempty"`
	// Try puts everything together and starts nothing: to find out whether it can be.
	Try bool `json:"try,omitempty"`
}

// Engine is a container that a Docker engine of this host has made, to be started. Its
// first process is Gate with the command as its arguments.
type Engine struct {
	Socket string `json:"socket"`
	ID     string `json:"id"` // as the engine calls the container
	// Volumes are looked at again once they are mounted, before the command runs.
	Volumes []EngineVolume `json:"volumes,omitempty"`
}

// EngineVolume is a path of the host without symbolic links, and where the container
// has it.
type EngineVolume struct {
	Path   string `json:"path"`
	Target string `json:"target"`
}

// Mapping maps the ids 0 to Size-1 to those from Base on.
type Mapping struct {
	Base int `json:"base"`
	Size int `json:"size"`
}

// Logs bounds what a task writes to stdout and stderr, each.
type Logs struct {
	MaxBytes       int64 `json:"maxBytes"`       // size at which a file is put aside
	Keep           int   `json:"keep"`           // files put aside that are kept
	BytesPerSecond int64 `json:"bytesPerSecond"` // a task that writes faster has to wait
}

// Network is a network namespace of the task's own: loopback, and what is named here.
type Network struct {
	Forwards []Forward `json:"forwards,omitempty"`
	Gateways []Gateway `json:"gateways,omitempty"`
}

// Forward leads from an address of the host into the namespace.
type Forward struct {
	Protocol string `json:"protocol"` // tcp or udp
	Listen   string `json:"listen"`   // address and port of the host
	Port     int    `json:"port"`     // on loopback inside
}

// Gateway leads from loopback inside the namespace to the outside.
type Gateway struct {
	Port    int    `json:"port"`    // on loopback inside
	Network string `json:"network"` // tcp or unix
	Address string `json:"address"` // outside
}

// Self tells which process the shim is, also to a worker that did not start it.
type Self struct {
	BootID     string `json:"bootId"`
	PID        int    `json:"pid"`
	StartTicks uint64 `json:"startTicks"`
}

// Started says that the task runs.
type Started struct {
	PID        int       `json:"pid"`        // of the task's first process, on the host
	StartTicks uint64    `json:"startTicks"` // with PID, tells it from any other
	At         time.Time `json:"at"`
}

// Exit says how a task ended.
type Exit struct {
	// Error is set when the task was never started; then only it counts.
	Error     string        `json:"error,omitempty"`
	ExitCode  int           `json:"exitCode"`         // 0 when Signal is set
	Signal    int           `json:"signal,omitempty"` // that ended the task
	Killed    bool          `json:"killed,omitempty"` // it was asked to end
	OOMKilled bool          `json:"oomKilled,omitempty"`
	Refused   bool          `json:"refused,omitempty"` // processes, because of the limit on them
	CPU       time.Duration `json:"cpu"`               // user and system
	MaxMemory int64         `json:"maxMemory"`         // bytes
	Throttled time.Duration `json:"throttled"`
	StartedAt time.Time     `json:"startedAt"`
	EndedAt   time.Time     `json:"endedAt"`
}

// Kill asks for the end of a task. The file is written first, then the shim gets
// TERM; TERM without the file means the grace period of Config.
type Kill struct {
	Grace time.Duration `json:"grace"`
}

// ErrNone says that a file of the state directory is not there.
var ErrNone = os.ErrNotExist

// Read reads one of the files above into v. It returns ErrNone when there is none.
func Read(dir, name string, v any) error {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("cannot read task: %w", err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("cannot read task: %s: %w", name, err)
	}
	return nil
}

// Write writes one of the files above, whole or not at all. With sync it is on disk
// when Write returns.
func Write(dir, name string, v any, sync bool) error {
	text, err := json.Marshal(v)
	if err == nil {
		err = writeFile(filepath.Join(dir, name), text, sync)
	}
	if err != nil {
		return fmt.Errorf("cannot write task: %w", err)
	}
	return nil
}

// part is behind the name of a file that is being written.
const part = ".part"

// maxExit is more than an Exit takes, but for very long errors.
const maxExit = 4096

// Reserve keeps room for the exit of a task, which then can be written on a full disk.
func Reserve(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, ExitFile+part), os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		if err = unix.Fallocate(int(f.Fd()), 0, 0, maxExit); errors.Is(err, unix.EOPNOTSUPP) {
			_, err = f.Write(make([]byte, maxExit))
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("cannot keep room for the task's exit: %w", err)
	}
	return nil
}

func writeFile(path string, text []byte, sync bool) error {
	temp := path + part
	// Not O_TRUNC: that would give up the room which the file has.
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(text); err == nil {
		err = f.Truncate(int64(len(text)))
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil || !sync {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
