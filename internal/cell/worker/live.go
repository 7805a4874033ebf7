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
	case errors.Is(err, errGone):
		t.ended(ctx, shim.Exit{Error: err.Error()})
		return
	case err != nil:
		t.notStarted(ctx, err)
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
	t.ended(ctx, exit)
}

// errGone says that a task ran of which nothing is known any more.
var errGone = errors.New("the task's state is gone: how it ended is not known")

// begin finds the task if it was started, and starts it if it was not. What ran once
// is never started again.
func (t *task) begin(ctx context.Context) (container.Running, error) {
	run, err := t.find(ctx)
	if !errors.Is(err, keeper.ErrNever) {
		return run, err
	}
	if rec, _ := t.snapshot(); rec.Phase != phaseLaunching {
		return nil, errGone
	}
	return t.start(ctx)
}

// find finds the task of an earlier life; keeper.ErrNever when it was not started, and
// then it will not be by what that life began.
func (t *task) find(ctx context.Context) (container.Running, error) {
	old := t.runDir()
	if _, err := os.Stat(old); errors.Is(err, os.ErrNotExist) {
		return nil, keeper.ErrNever
	} else if err != nil {
		return nil, fmt.Errorf("cannot find the task: %w", err)
	}
	if t.runtime == nil {
		// It may live, and only its runtime could tell: nothing of it may be touched.
		rec, _ := t.snapshot()
		message := fmt.Sprintf("the task was started by the runtime %s, which this worker is not to use any more: "+
			"configure it again, the worker knows nothing of the task until then", rec.Runtime)
		t.log.Error("the task is left alone", "reason", message)
		t.running("", message)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	run, err := t.runtime.Find(ctx, old)
	if !errors.Is(err, keeper.ErrNever) {
		return run, err
	}
	if err := t.change(func(r *record) { r.Attempt++ }); err != nil {
		return nil, err
	}
	if err := removeAll(old); err != nil {
		return nil, fmt.Errorf("cannot make the task's folders: %w", err)
	}
	return nil, keeper.ErrNever
}

// start prepares the task and starts it, unless it is killed before.
func (t *task) start(ctx context.Context) (container.Running, error) {
	killable, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	t.mu.Lock()
	t.stop = stop
	if t.rec.Kill != nil {
		stop(errKilled)
	}
	t.mu.Unlock()
	spec, err := t.prepare(killable)
	if killable.Err() != nil {
		return nil, context.Cause(killable)
	}
	if err != nil {
		return nil, err
	}
	select { // not before: others' servers decide how long a download takes
	case t.w.launches <- struct{}{}:
		defer func() { <-t.w.launches }()
	case <-killable.Done():
		return nil, context.Cause(killable)
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

func (t *task) notStarted(ctx context.Context, err error) {
	t.mu.Lock()
	killed := t.rec.Kill
	t.mu.Unlock()
	s := status{state: mesos.TaskFailed, reason: mesos.ReasonContainerLaunchFailed, message: err.Error(), source: mesos.SourceSlave}
	if killed != nil || errors.Is(err, errKilled) {
		s = status{state: mesos.TaskKilled, reason: mesos.ReasonTaskKilledDuringStart, message: errKilled.Error(), source: mesos.SourceSlave}
	}
	t.finish(ctx, s, nil)
}

// ended says how a task ended that ran, or was to.
func (t *task) ended(ctx context.Context, exit shim.Exit) {
	t.mu.Lock()
	rec := t.rec
	t.mu.Unlock()
	t.finish(ctx, verdict(&rec, exit), &exit)
}

// finish tells the end of the task. By its folder a later life would learn of the end
// once more, so that is kept until the record says it: the disk may be full.
func (t *task) finish(ctx context.Context, s status, exit *shim.Exit) {
	size := diskUse(maxFiles, t.sandbox()).bytes // takes long: not under the lock
	s.set = func(r *record) {
		ended(exit)(r)
		r.Size = size
	}
	err := t.report(s)
	t.mu.Lock()
	t.run = nil
	t.mu.Unlock()
	for err != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryAfter):
		}
		err = t.change(func(*record) {})
	}
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
	case exit.Refused:
		s.message += "; " + processLimit()
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
