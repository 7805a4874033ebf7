package shim

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is a process that the shim waits for: one it started, or one that runc
// left to it, or an engine's, which the engine waits for.
type child struct {
	pid    int
	pidfd  int           // of an engine's, else 0
	done   chan struct{} // closed once it has ended
	status syscall.WaitStatus
	usage  syscall.Rusage
}

// family starts processes and collects all that end: the shim is the reaper of
// everything below it.
type family struct {
	forks chan func()

	mu      sync.Mutex
	members map[int]*child
	// strangers are those that ended before anyone asked for them; kept until the
	// task has started.
	strangers map[int]*child
}

const maxStrangers = 1024

func newFamily() *family {
	f := &family{forks: make(chan func()), members: map[int]*child{}, strangers: map[int]*child{}}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	go f.reap(ended)
	go f.forkAll()
	return f
}

// forkAll starts all processes on one thread that lives as long as the shim: their
// parent-death signal is about that thread.
func (f *family) forkAll() {
	runtime.LockOSThread()
	for fork := range f.forks {
		fork()
	}
}

func (f *family) start(argv []string, attr *syscall.ProcAttr) (*child, error) {
	type result struct {
		c   *child
		err error
	}
	answer := make(chan result, 1)
	f.forks <- func() {
		f.mu.Lock() // so that reap finds it among the members
		defer f.mu.Unlock()
		pid, err := syscall.ForkExec(argv[0], argv, attr)
		if err != nil {
			answer <- result{err: fmt.Errorf("cannot start %s: %w", argv[0], err)}
			return
		}
		c := &child{pid: pid, done: make(chan struct{})}
		f.members[pid] = c
		answer <- result{c: c}
	}
	r := <-answer
	return r.c, r.err
}

// adopt returns a process that somebody else started and left to us.
func (f *family) adopt(pid int) *child {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.strangers[pid]
	if c == nil {
		c = &child{pid: pid, done: make(chan struct{})}
		f.members[pid] = c
	}
	f.strangers = nil
	return c
}

// forget drops the strangers: the task has started.
func (f *family) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.strangers = nil
}

func (f *family) reap(ended <-chan os.Signal) {
	tick := time.NewTicker(time.Second) // a signal may be lost between two waits
	defer tick.Stop()
	for {
		select {
		case <-ended:
		case <-tick.C:
		}
		for f.collect() {
		}
	}
}

func (f *family) collect() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var status syscall.WaitStatus
	var usage syscall.Rusage
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, &usage)
	if errors.Is(err, syscall.EINTR) {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	c := f.members[pid]
	if c == nil {
		c = &child{pid: pid, done: make(chan struct{})}
		if f.strangers != nil && len(f.strangers) < maxStrangers {
			f.strangers[pid] = c
		}
	}
	delete(f.members, pid)
	c.status, c.usage = status, usage
	close(c.done)
	return true
}

// signal reaches a child that was not collected yet, so its number is still its own.
func (f *family) signal(c *child, sig syscall.Signal) {
	if c.pidfd > 0 {
		_ = unix.PidfdSendSignal(c.pidfd, sig, nil, 0)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.members[c.pid] == c {
		_ = syscall.Kill(c.pid, sig)
	}
}

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// code is the exit status as shells give it.
func (c *child) code() int {
	if c.status.Signaled() {
		return 128 + int(c.status.Signal())
	}
	return c.status.ExitStatus()
}
