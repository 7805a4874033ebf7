package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Record identifies one process for ever: its number together with its start time
// is unique within a boot. Written as JSON, it survives us.
type Record struct {
	BootID     string `json:"bootID"`
	PID        int    `json:"pid"`
	StartTicks uint64 `json:"startTicks"` // clock ticks (1/100 s) since boot
	Labels
}

// String reads like "pid 4711 (node-1/datanode#3)".
func (r Record) String() string { return fmt.Sprintf("pid %d (%s)", r.PID, r.Labels) }

// Process is a process that we started or adopted. It holds one pidfd until the
// process has exited or Release is called. Safe for concurrent use.
type Process struct {
	rec    Record
	pidfd  *os.File
	freed  atomic.Bool   // Release was called
	done   chan struct{} // closed once exit or failed is final
	exit   Exit
	failed error
}

// ErrReleased is returned by the methods of a process that was released.
var ErrReleased = errors.New("process was released")

// watch takes over fd, a pidfd of rec.
func watch(fd int, rec Record) (*Process, error) {
	// Non-blocking puts it on the runtime's poller: no thread waits per process.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot watch pid %d: %w", rec.PID, err)
	}
	p := &Process{rec: rec, pidfd: os.NewFile(uintptr(fd), "pidfd"), done: make(chan struct{})}
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		p.pidfd.Close()
		return nil, fmt.Errorf("cannot watch pid %d: %w", rec.PID, err)
	}
	go p.run(conn)
	return p, nil
}

func (p *Process) run(conn syscall.RawConn) {
	defer close(p.done)
	err := conn.Read(func(fd uintptr) bool {
		if !readable(int(fd)) {
			return false
		}
		p.exit = collect(int(fd), p.rec)
		return true
	})
	p.pidfd.Close()
	switch {
	case err != nil && p.freed.Load():
		p.failed = ErrReleased
	case err != nil:
		p.failed = err
	}
}

// readable reports whether the process behind the pidfd has exited.
func readable(fd int) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n > 0
	}
}

// Record returns what Adopt needs after our own restart.
func (p *Process) Record() Record { return p.rec }

// Done is closed once the process has exited or was released.
func (p *Process) Done() <-chan struct{} { return p.done }

// Release lets the process go on unwatched and frees what we hold for it. When it
// is our child, nobody collects it until we end.
func (p *Process) Release() {
	p.freed.Store(true)
	p.pidfd.Close()
	<-p.done
}

// Wait waits for the exit. Any number of callers may wait, also afterwards.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-p.done:
	default:
		select {
		case <-p.done:
		case <-ctx.Done():
			return Exit{}, fmt.Errorf("cannot wait for pid %d: %w", p.rec.PID, context.Cause(ctx))
		}
	}
	if p.failed != nil {
		return Exit{}, fmt.Errorf("cannot wait for pid %d: %w", p.rec.PID, p.failed)
	}
	return p.exit, nil
}

// Signal sends sig to exactly this process. The error wraps os.ErrProcessDone when
// it has exited.
func (p *Process) Signal(sig syscall.Signal) error {
	cause := os.ErrProcessDone
	if conn, err := p.pidfd.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { cause = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	}
	switch {
	case cause == nil:
		return nil
	case errors.Is(cause, unix.ESRCH):
		cause = os.ErrProcessDone
	case errors.Is(cause, os.ErrProcessDone):
		if p.finished() && errors.Is(p.failed, ErrReleased) {
			cause = ErrReleased
		}
	}
	return fmt.Errorf("cannot send %s to pid %d: %w", unix.SignalName(sig), p.rec.PID, cause)
}

func (p *Process) finished() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Stop asks the process to end (SIGTERM, and SIGCONT in case it is stopped), kills
// it after grace, and waits for its exit. Its children are left to Sweep. When ctx
// ends first, nothing more is sent.
func (p *Process) Stop(ctx context.Context, grace time.Duration) (Exit, error) {
	return p.StopBy(ctx, syscall.SIGTERM, grace)
}

// StopBy is Stop for a process that ends on another signal than SIGTERM, and
// for which SIGTERM would mean something else.
func (p *Process) StopBy(ctx context.Context, sig syscall.Signal, grace time.Duration) (Exit, error) {
	if err := p.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return Exit{}, err
	}
	_ = p.Signal(syscall.SIGCONT)

	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-ctx.Done():
	case <-timer.C:
		if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return Exit{}, err
		}
	}
	return p.Wait(ctx)
}
