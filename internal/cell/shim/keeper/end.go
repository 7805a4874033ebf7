package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/node/proc"
)

// sweepTime bounds the cleaning up after a shim that was killed.
const sweepTime = 20 * time.Second

// Client speaks to the shim.
func (s *Shim) Client() shim.Client { return shim.Client{Dir: s.dir} }

// Config returns what the shim was started with.
func (s *Shim) Config() shim.Config { return s.config }

// Started returns the task's first process; false while there is none.
func (s *Shim) Started() (shim.Started, bool) {
	var started shim.Started
	err := shim.Read(s.dir, shim.StartedFile, &started)
	return started, err == nil
}

// PID of the shim, 0 when it has ended.
func (s *Shim) PID() int {
	if s.process == nil {
		return 0
	}
	return s.process.Record().PID
}

// Kill asks for the end of the task: TERM, grace, KILL. It returns at once. Asking
// again can only shorten the time. Where grace cannot be written the task is asked all
// the same, and has the time of its configuration: it may be what fills the disk.
func (s *Shim) Kill(grace time.Duration) error {
	if s.process == nil {
		return nil
	}
	err := shim.Write(s.dir, shim.KillFile, shim.Kill{Grace: grace}, false)
	if e := s.process.Signal(syscall.SIGTERM); !errors.Is(e, os.ErrProcessDone) {
		err = errors.Join(err, e)
	}
	return err
}

// Wait waits for the end of the shim and tells how its task ended. When the shim was
// killed, nothing of the task is left when Wait returns, but for what a command without
// a control group started and stripped of its environment.
func (s *Shim) Wait(ctx context.Context) (shim.Exit, error) {
	if s.process != nil {
		select {
		case <-s.process.Done():
		case <-ctx.Done():
			return shim.Exit{}, context.Cause(ctx)
		}
	}
	var exit shim.Exit
	err := shim.Read(s.dir, shim.ExitFile, &exit)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return exit, err
	}
	if err := s.sweep(ctx); err != nil {
		return shim.Exit{}, err
	}
	exit = shim.Exit{Error: s.lost(), EndedAt: time.Now()}
	if started, ok := s.Started(); ok {
		exit.StartedAt = started.At
	}
	return exit, shim.Write(s.dir, shim.ExitFile, exit, true)
}

// Release lets the shim go on unwatched.
func (s *Shim) Release() {
	if s.process != nil {
		s.process.Release()
	}
}

func (s *Shim) lost() string {
	var self shim.Self
	boot, _ := proc.BootID()
	if shim.Read(s.dir, shim.SelfFile, &self) == nil && self.BootID != boot {
		return "the machine was started anew"
	}
	lost := "its shim was killed; the task was ended with it"
	if s.config.Command != nil && s.config.Cgroup == nil {
		lost += ", but for processes without its environment: there are no control groups to find them by"
	}
	return lost
}

// sweep ends what a killed shim left: all that is in its group, a container with its
// first process, and what has the labels in its environment. Of a command without a
// group the labels are all there is.
func (s *Shim) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	var errs []error
	if g := s.config.Cgroup; g != nil {
		errs = append(errs, g.Kill(sweepTime))
	}
	var self shim.Self
	if started, ok := s.Started(); ok && shim.Read(s.dir, shim.SelfFile, &self) == nil {
		if p, ok := proc.Adopt(proc.Record{BootID: self.BootID, PID: started.PID, StartTicks: started.StartTicks}); ok {
			_, err := p.Stop(ctx, 0)
			errs = append(errs, err)
		}
	}
	_, err := proc.Sweep(ctx, Labels(s.node, s.config.ID), 0)
	errs = append(errs, err)
	if c := s.config.Container; c != nil && !c.Rootless {
		// Fails where the container is gone already.
		_ = exec.CommandContext(ctx, c.Runc, "--root", c.Root, "delete", "--force", s.config.ID).Run()
	}
	if e := s.config.Engine; e != nil {
		errs = append(errs, e.Remove())
	}
	if g := s.config.Cgroup; g != nil {
		errs = append(errs, g.Remove())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot end what a killed shim left: %w", err)
	}
	return nil
}
