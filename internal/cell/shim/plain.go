package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"howdah.dev/howdah/internal/cell/cgroup"
)

// streams are the files of a process that is started.
type streams struct{ in, out, err *os.File }

// spawn starts a command through the trampoline: in a session of its own, in the
// group, and gone when the shim is.
func (f *family) spawn(c Command, group *cgroup.Group, files streams, tty bool) (*child, error) {
	text, err := json.Marshal(order{Command: c, Cgroup: group, Parent: os.Getpid(), Tty: tty})
	if err != nil {
		return nil, fmt.Errorf("cannot start the task: %w", err)
	}
	troubleR, troubleW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start the task: %w", err)
	}
	defer troubleR.Close()
	orderR, orderW, err := os.Pipe()
	if err != nil {
		troubleW.Close()
		return nil, fmt.Errorf("cannot start the task: %w", err)
	}
	attr := &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{files.in.Fd(), files.out.Fd(), files.err.Fd(), troubleW.Fd(), orderR.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	started, err := f.start([]string{"/proc/self/exe", "trampoline"}, attr)
	troubleW.Close()
	orderR.Close()
	if err != nil {
		orderW.Close()
		return nil, err
	}
	_, werr := orderW.Write(text)
	orderW.Close()
	// Ends when the command has been executed: the pipe is closed by that.
	trouble, rerr := io.ReadAll(io.LimitReader(troubleR, 4096))
	if len(trouble) > 0 {
		<-started.done
		return nil, errors.New(string(trouble))
	}
	if err := errors.Join(werr, rerr); err != nil {
		f.signal(started, syscall.SIGKILL)
		<-started.done
		return nil, fmt.Errorf("cannot start the task: %w", err)
	}
	return started, nil
}
