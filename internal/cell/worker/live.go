package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/shim/keeper"
	"howdah.dev/howdah/internal/cell/worker/container"
)

// live sees the task through from where it is to its end. When ctx ends, the task
// goes on alone.
func (t *task) live(ctx context.Context) {
	run, err := t.begin(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return
	case err != nil:
		t.notStarted(err)
		return
	}
	t.took(run)
	watching, cancel := context.WithCancel(ctx)
	t.watch(watching, run)
	exit, err := run.Wait(ctx)
	cancel()
	if ctx.Err() != nil {
		run.Release()
		return
	}
	if err != nil {
		t.log.Error("the task's end is not known for sure", "error", err)
		exit.Error = err.Error()
	}
	t.ended(exit)
}

// begin finds the task if it was started, and starts it if it was not.
func (t *task) begin(ctx context.Context) (container.Running, error) {
	if _, err := os.Stat(t.runDir()); err == nil && t.runtime != nil { // of an earlier life
		run, err := t.runtime.Find(ctx, t.runDir())
		if !errors.Is(err, keeper.ErrNever) {
			return run, err
		}
		old := t.runDir()
		if err := t.change(func(r *record) { r.Attempt++ }); err != nil {
			return nil, err
		}
		if err := removeAll(old); err != nil {
			return nil, fmt.Errorf("cannot make the task's folders: %w", err)
		}
	}
	killable, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	t.mu.Lock()
	t.stop = stop
	if t.rec.Kill != nil {
		stop(errKilled)
	}
	t.mu.Unlock()
	select {
	case t.w.prepare <- struct{}{}:
		defer func() { <-t.w.prepare }()
	case <-killable.Done():
		return nil, context.Cause(killable)
	}
	spec, err := t.prepare(killable)
	if killable.Err() != nil {
		return nil, context.Cause(killable)
	}
	if err != nil {
		return nil, err
	}
	return t.runtime.Start(ctx, spec) // a kill from here on reaches the task itself
}

// took makes known that the task was started, and passes on a kill that came
// meanwhile.
func (t *task) took(run container.Running) {
	t.mu.Lock()
	t.run, t.stop = run, nil
	kill, phase := t.rec.Kill, t.rec.Phase
	t.mu.Unlock()
	if _, ok := run.Started(); ok && phase == phaseLaunching {
		_ = t.report(status{state: mesos.TaskRunning, set: func(r *record) { r.Phase = phaseRunning }})
	}
	if kill != nil {
		t.killing(*kill)
		if err := run.Kill(kill.Grace); err != nil {
			t.log.Error("cannot kill the task", "error", err)
		}
	}
}

// ended is what changes in the record of a task that has ended.
func ended(exit *shim.Exit) func(*record) {
	return func(r *record) {
		r.Phase, r.Ended, r.Exit = phaseEnded, time.Now(), exit
	}
}

func (t *task) notStarted(err error) {
	t.mu.Lock()
	killed := t.rec.Kill
	t.mu.Unlock()
	s := status{state: mesos.TaskFailed, reason: mesos.ReasonContainerLaunchFailed, message: err.Error(), source: mesos.SourceSlave}
	if killed != nil || errors.Is(err, errKilled) {
		s = status{state: mesos.TaskKilled, reason: mesos.ReasonTaskKilledDuringStart, message: errKilled.Error(), source: mesos.SourceSlave}
	}
	t.finish(s, nil)
}

// ended says how a task ended that ran, or was to.
func (t *task) ended(exit shim.Exit) {
	t.mu.Lock()
	rec := t.rec
	t.mu.Unlock()
	t.finish(verdict(&rec, exit), &exit)
}

func (t *task) finish(s status, exit *shim.Exit) {
	s.set = func(r *record) {
		ended(exit)(r)
		r.Size = diskUse(maxFiles, t.sandbox()).bytes
	}
	_ = t.report(s)
	t.mu.Lock()
	t.run = nil
	t.mu.Unlock()
	t.clean()
	t.w.retain()
}

// verdict is the last state of a task by its exit.
func verdict(rec *record, exit shim.Exit) status {
	s := status{state: mesos.TaskFailed, reason: mesos.ReasonCommandExecutorFailed, message: inWords(exit)}
	switch {
	case rec.Kill != nil && rec.Kill.Reason != "":
		s.reason, s.message = rec.Kill.Reason, rec.Kill.Message
	case rec.Kill != nil:
		s.state, s.reason = mesos.TaskKilled, ""
	case exit.Error != "" && rec.Phase == phaseLaunching:
		s.reason = mesos.ReasonContainerLaunchFailed
	case exit.Error != "":
	case exit.OOMKilled && (exit.Signal != 0 || exit.ExitCode != 0):
		s.reason = mesos.ReasonContainerMemory
		s.message = fmt.Sprintf("memory limit of %s MB exceeded", trimFloat(memoryMB(&rec.Info)))
	case exit.Killed:
		s.message += ": it was ended from outside of the cell"
	case exit.Signal == 0 && exit.ExitCode == 0:
		s.state, s.reason = mesos.TaskFinished, ""
	}
	return s
}

// inWords are those of Mesos, which scripts look for.
func inWords(exit shim.Exit) string {
	switch {
	case exit.Error != "":
		return exit.Error
	case exit.Signal != 0:
		return fmt.Sprintf("Command terminated with signal %s", syscall.Signal(exit.Signal))
	default:
		return fmt.Sprintf("Command exited with status %d", exit.ExitCode)
	}
}

func trimFloat(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// clean removes what only a running task needs, and gives its image up.
func (t *task) clean() {
	if t.w.cfg.Images != nil {
		if err := t.w.cfg.Images.Release(t.id); err != nil {
			t.log.Warn("cannot give up the task's image", "error", err)
		}
	}
	if t.runtime != nil {
		if err := t.runtime.Clean(t.id); err != nil {
			t.log.Warn("cannot clean up after the task", "error", err)
		}
	}
	if err := removeAll(t.runDir()); err != nil {
		t.log.Warn("cannot remove the task's state", "error", err)
	}
}

// removeAll also removes folders that their owner closed against itself.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700) //nolint:gosec // a folder is entered to be removed
		}
		return nil //nolint:nilerr // removing says what is wrong
	})
	return os.RemoveAll(dir)
}
