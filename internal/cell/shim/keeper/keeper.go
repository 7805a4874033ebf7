// Package keeper owns shims as their worker sees them: it starts one, finds one
// again after the worker's own restart, asks it to end its task, learns how the task
// ended, and cleans up after a shim that was killed.
//
// It knows nothing of apps, images or statuses.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/node/proc"
)

// Spec says how to start a shim.
type Spec struct {
	Program string // the shim
	Dir     string // the task's state directory; it exists, mode 0700
	Node    string // name that the processes carry in their environment
	Config  shim.Config
}

// Shim is a shim that was started, now or earlier.
type Shim struct {
	dir     string
	node    string
	config  shim.Config
	process *proc.Process // nil when it has ended
}

// Labels are what the shim of a task and all it starts carry in their environment.
// node may be NODE/SERVICE: then the tasks are those of a service, and end with it.
func Labels(node, id string) proc.Labels {
	node, service, _ := strings.Cut(node, "/")
	return proc.Labels{Node: node, Service: path.Join(service, "task-"+id), Incarnation: 1}
}

// Start starts a shim and waits until its task runs. When the task could not be
// started, Wait gives an Exit with the reason; Start fails when there is no shim, and
// when ctx ends, with the shim left to Find.
func Start(ctx context.Context, spec Spec) (*Shim, error) {
	if err := shim.Reserve(spec.Dir); err != nil {
		return nil, err
	}
	if err := shim.Write(spec.Dir, shim.ConfigFile, spec.Config, false); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(spec.Dir, shim.LogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot start the shim: %w", err)
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("cannot start the shim: %w", err)
	}
	defer null.Close()
	ready, notify, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start the shim: %w", err)
	}
	defer ready.Close()
	attr := &syscall.ProcAttr{
		Dir:   "/",
		Env:   append(Labels(spec.Node, spec.Config.ID).Env(), "PATH="+os.Getenv("PATH")),
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd(), notify.Fd()},
		Sys:   attributes(spec.Config.Container),
	}
	pid, err := syscall.ForkExec(spec.Program, []string{"howdah-shim", "run", spec.Dir}, attr)
	notify.Close()
	if err != nil {
		return nil, fmt.Errorf("cannot start the shim: %w", err)
	}
	process, err := watch(pid)
	if err != nil {
		return nil, err
	}
	s := &Shim{dir: spec.Dir, node: spec.Node, config: spec.Config, process: process}
	if err := s.untilStarted(ctx, ready); err != nil {
		s.Release() // it goes on: Find takes it up
		return nil, err
	}
	return s, nil
}

// attributes puts the shim of a container into a mount namespace, so that its
// mounts end with it; for a worker that is not root, into a user namespace where it
// may make them.
func attributes(c *shim.Container) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if c == nil {
		return attr
	}
	attr.Cloneflags = syscall.CLONE_NEWNS
	if c.Rootless {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// watch takes charge of our new child.
func watch(pid int) (*proc.Process, error) {
	boot, err := proc.BootID()
	if err == nil {
		var ticks uint64
		if ticks, err = shim.StartTicks(pid); err == nil {
			// A child that has ended already is a zombie, which is not adopted; it is
			// collected and its files tell the rest.
			if p, ok := proc.Adopt(proc.Record{BootID: boot, PID: pid, StartTicks: ticks}); ok {
				return p, nil
			}
			_, err = syscall.Wait4(pid, nil, 0, nil)
			return nil, err
		}
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	_, _ = syscall.Wait4(pid, nil, 0, nil)
	return nil, fmt.Errorf("cannot start the shim: %w", err)
}

// untilStarted returns when the task runs or was not started: one byte, or the end
// of the pipe.
func (s *Shim) untilStarted(ctx context.Context, ready *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Now()) })
	defer stop()
	_, err := ready.Read(make([]byte, 1))
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("cannot start the task: %w", context.Cause(ctx))
	}
	return nil
}

// ErrNever says that a task's shim was never started.
var ErrNever = errors.New("the worker ended before it started the task")

// Find returns the shim of a state directory, which may have ended; one that is only just
// starting its task is waited for. It returns ErrNever when there was none, and makes
// sure that there will be none.
func Find(ctx context.Context, dir, node string) (*Shim, error) {
	s := &Shim{dir: dir, node: node}
	if err := shim.Read(dir, shim.ConfigFile, &s.config); errors.Is(err, os.ErrNotExist) {
		return nil, ErrNever
	} else if err != nil {
		return nil, err
	}
	for { // a shim that holds the lock writes its record at once
		free, err := lock(dir)
		if err != nil {
			return nil, err
		}
		if s.adopt() {
			if free != nil {
				free.Close()
			}
			return s, s.settled(ctx)
		}
		if free != nil {
			defer free.Close()
			return s.never()
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("cannot find the task's shim: %w", context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// settled waits until a living shim has started its task, or has failed to.
func (s *Shim) settled(ctx context.Context) error {
	for {
		if _, ok := s.Started(); ok {
			return nil
		}
		select {
		case <-s.process.Done():
			return nil
		case <-ctx.Done():
			s.Release()
			return fmt.Errorf("cannot find the task's shim: %w", context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// never keeps a shim that is only just starting from doing so. One that was there
// has ended, and Wait tells the rest.
func (s *Shim) never() (*Shim, error) {
	var self shim.Self
	if shim.Read(s.dir, shim.SelfFile, &self) == nil {
		return s, nil
	}
	err := shim.Write(s.dir, shim.ExitFile, shim.Exit{Error: ErrNever.Error(), EndedAt: time.Now()}, true)
	return nil, errors.Join(ErrNever, err)
}

func (s *Shim) adopt() bool {
	var self shim.Self
	if shim.Read(s.dir, shim.SelfFile, &self) != nil {
		return false
	}
	p, ok := proc.Adopt(proc.Record{BootID: self.BootID, PID: self.PID, StartTicks: self.StartTicks})
	s.process = p
	return ok
}

// lock takes the lock that a living shim holds; nil when there is one.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, shim.LockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot find the task's shim: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, nil
	}
	return f, nil
}
