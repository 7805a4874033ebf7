package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"howdah.dev/howdah/internal/cell/worker/container"
)

// EndTasks ends all tasks of a worker that does not run: those of a cell that is
// stopped or deleted. Each gets its grace period, at most the one given. The worker,
// should it run again, reports how they ended.
func EndTasks(ctx context.Context, dir string, runtimes []container.Runtime, grace time.Duration) error {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil // there never was a worker
	}
	if err != nil {
		return fmt.Errorf("cannot end the tasks of a worker: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("cannot end the tasks of a worker: it still runs in %s", dir)
	}
	w := &Worker{cfg: Config{Dir: dir, Runtimes: runtimes}, log: slog.New(slog.DiscardHandler)}
	entries, err := os.ReadDir(w.tasksDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot end the tasks of a worker: %w", err)
	}
	var all sync.WaitGroup
	errs := make([]error, len(entries))
	for i, e := range entries {
		all.Go(func() { errs[i] = w.endTask(ctx, e.Name(), grace) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (w *Worker) endTask(ctx context.Context, name string, most time.Duration) error {
	t, err := w.loadTask(name)
	if err != nil || t == nil || t.runtime == nil || t.rec.Phase == phaseEnded {
		return err
	}
	run, err := t.runtime.Find(ctx, t.runDir())
	if err != nil { // it was never started, and will not be
		return nil //nolint:nilerr // there is nothing to end
	}
	if err := run.Kill(min(most, grace(t.info.KillPolicy))); err != nil {
		return err
	}
	_, err = run.Wait(ctx)
	return err
}
