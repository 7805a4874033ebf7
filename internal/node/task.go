package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/node/proc"
)

// task runs one piece of work once.
type task struct {
	agent *Agent
	spec  agentapi.Task
	sets  []agentapi.Set

	mu     sync.Mutex
	cancel context.CancelFunc
	state  taskRecord
}

// taskRecord is what must outlive the agent.
type taskRecord struct {
	Status agentapi.TaskStatus `json:"status"`
	Next   int                 `json:"next"` // step to do
}

// tailLength is how much of a task's output travels in reports.
const tailLength = 6000

// task takes up a task of the assignment; called with the agent's lock held.
func (a *Agent) task(ctx context.Context, spec agentapi.Task, as *agentapi.Assignment) {
	t := a.tasks[spec.ID]
	if t == nil {
		t = &task{agent: a, spec: spec, sets: as.Sets, state: taskRecord{Status: agentapi.TaskStatus{ID: spec.ID, State: agentapi.TaskTodo}}}
		a.tasks[spec.ID] = t
		if err := readJSON(t.recordPath(), &t.state); err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.log.Error("cannot read task record", "task", spec.ID, "error", err)
		}
		tctx, cancel := context.WithCancel(ctx)
		t.cancel = cancel
		a.wg.Go(func() {
			defer cancel()
			t.run(ctx, tctx)
		})
	}
	if spec.Cancel {
		t.cancel()
	}
}

// forgetTasks drops tasks the server no longer asks about; called with the
// agent's lock held.
func (a *Agent) forgetTasks(wanted []agentapi.Task) {
	keep := map[string]bool{}
	for _, t := range wanted {
		keep[t.ID] = true
	}
	for id, t := range a.tasks {
		if st := t.observe(); !keep[id] && (st.State == agentapi.TaskDone || st.State == agentapi.TaskFailed) {
			delete(a.tasks, id)
			_ = os.Remove(t.recordPath())
			if st.State == agentapi.TaskDone { // of a failed one people want to see more
				_ = os.RemoveAll(t.spec.Dir)
			}
		}
	}
}

func (t *task) recordPath() string {
	return t.agent.path(dirAgent, "tasks", t.spec.ID+".json")
}

func (t *task) observe() agentapi.TaskStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state.Status
}

// update changes the record, keeps it and has it reported.
func (t *task) update(fn func(*taskRecord)) error {
	t.mu.Lock()
	fn(&t.state)
	st := t.state
	t.mu.Unlock()
	t.agent.changed()
	return writeJSON(t.recordPath(), st)
}

// run does the steps that are left. agent ends when the agent does: then the
// task stays as it is and the next agent goes on. ctx also ends on a cancel.
func (t *task) run(agent, ctx context.Context) {
	if s := t.observe().State; s == agentapi.TaskDone || s == agentapi.TaskFailed {
		return
	}
	err := t.steps(ctx)
	if agent.Err() != nil {
		return
	}
	if ctx.Err() != nil {
		err = errors.New("cancelled")
	}
	saveErr := t.update(func(r *taskRecord) {
		r.Status.Ended, r.Status.Output = time.Now(), tail(t.output(), tailLength)
		r.Status.State = agentapi.TaskDone
		if err != nil {
			r.Status.State, r.Status.Message = agentapi.TaskFailed, err.Error()
		}
	})
	if saveErr != nil {
		t.agent.log.Error("cannot keep task record", "task", t.spec.ID, "error", saveErr)
	}
}

func (t *task) output() string { return filepath.Join(t.spec.Dir, "task.out") }

func (t *task) steps(ctx context.Context) error {
	if err := t.prepare(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.spec.Timeout, fmt.Errorf("not finished after %s", t.spec.Timeout))
	defer cancel()
	for i := t.state.Next; i < len(t.spec.Steps); i++ {
		st := t.spec.Steps[i]
		if err := t.update(func(r *taskRecord) { r.Next, r.Status.Step = i, st.Title }); err != nil {
			return err
		}
		if err := t.step(ctx, i, st); err != nil {
			return fmt.Errorf("%s: %w", st.Title, err)
		}
	}
	return nil
}

// prepare brings artifacts, files and uploads to the task's directory.
func (t *task) prepare(ctx context.Context) error {
	if err := t.update(func(r *taskRecord) {
		r.Status.State = agentapi.TaskRunning
		if r.Status.Started.IsZero() {
			r.Status.Started = time.Now()
		}
	}); err != nil {
		return err
	}
	if err := t.agent.ensureSets(ctx, t.sets); err != nil {
		return err
	}
	if err := os.MkdirAll(t.spec.Dir, 0o700); err != nil {
		return fmt.Errorf("cannot make task directory: %w", err)
	}
	if err := errors.Join(writeFiles(t.spec.Files), writeSecrets(t.spec.Secrets)); err != nil {
		return err
	}
	for _, b := range t.spec.Blobs {
		if err := t.fetch(ctx, b); err != nil {
			return fmt.Errorf("cannot get %s: %w", filepath.Base(b.Path), err)
		}
	}
	return nil
}

// fetch brings an uploaded file.
func (t *task) fetch(ctx context.Context, b agentapi.TaskBlob) error {
	if _, err := os.Stat(b.Path); err == nil {
		return nil
	}
	src, err := t.agent.openBlob(ctx, b.Blob)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := os.MkdirAll(filepath.Dir(b.Path), 0o700); err != nil {
		return err
	}
	tmp := b.Path + ".part"
	dst, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		return errors.Join(err, dst.Close())
	}
	if err := dst.Close(); err != nil {
		return err
	}
	return os.Rename(tmp, b.Path)
}

func (t *task) step(ctx context.Context, i int, st agentapi.TaskStep) error {
	switch {
	case st.HTTP != nil:
		return t.retry(ctx, func() error { return t.agent.prober.Do(ctx, *st.HTTP) })
	case st.Probe != nil:
		return t.until(ctx, *st.Probe)
	case st.Archive != nil:
		return t.archive(ctx, i, *st.Archive)
	default:
		return t.command(ctx, i, st)
	}
}

// retry repeats a request a few times: the program may just be busy.
func (t *task) retry(ctx context.Context, do func() error) error {
	var err error
	for range 5 {
		if err = do(); err == nil || !sleep(ctx, time.Second) {
			return err
		}
	}
	return err
}

// until waits for a probe to hold.
func (t *task) until(ctx context.Context, p agentapi.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, pace(p.Max, time.Minute))
	defer cancel()
	for {
		err := t.agent.prober.Ask(ctx, p)
		if err == nil {
			return nil
		}
		if !sleep(ctx, pace(p.Every, 300*time.Millisecond)) {
			return p.Unmet(err)
		}
	}
}

// command runs a command to its end, taking up one an earlier agent began.
func (t *task) command(ctx context.Context, i int, st agentapi.TaskStep) error {
	labels := proc.Labels{Node: t.agent.nodeID(), Service: fmt.Sprintf("task-%s-%d", t.spec.ID, i), Incarnation: 1}
	exitFile := filepath.Join(t.spec.Dir, fmt.Sprintf("%d.exit", i))
	begun := exitFile + ".begun"
	p, running := adoptTask(labels)
	if !running {
		if was, _ := exists(begun); was {
			return t.outcome(labels, exitFile, st)
		}
		if err := os.WriteFile(begun, nil, 0o600); err != nil {
			return err
		}
		var err error
		if p, err = proc.StartTask(proc.Task{ExitFile: exitFile, Spec: proc.Spec{
			Argv: st.Argv, Dir: t.spec.Dir, Env: t.agent.env(t.spec.Env), Output: t.output(), Labels: labels,
		}}); err != nil {
			return fmt.Errorf("cannot start %s: %w", st.Argv[0], err)
		}
	}
	for {
		waitCtx, cancel := context.WithTimeout(ctx, time.Second)
		_, err := p.Wait(waitCtx)
		cancel()
		if err == nil {
			return t.outcome(labels, exitFile, st)
		}
		if ctx.Err() != nil {
			stopCtx, stop := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
			defer stop()
			if t.agent.life.Err() != nil { // only a cancel or a time-out ends the command as well
				p.Release()
				return ctx.Err()
			}
			_, _ = p.Stop(stopCtx, 5*time.Second)
			_, _ = proc.Sweep(stopCtx, labels, time.Second)
			return context.Cause(ctx)
		}
		if v, ok := t.capture(st); ok && v != t.observe().Value {
			if err := t.update(func(r *taskRecord) { r.Status.Value = v }); err != nil {
				return err
			}
		}
	}
}

// outcome reads how a command ended.
func (t *task) outcome(labels proc.Labels, exitFile string, st agentapi.TaskStep) error {
	state, err := proc.TaskState(proc.Record{Labels: labels}, exitFile)
	if err != nil {
		return fmt.Errorf("cannot learn how it ended: %w", err)
	}
	if v, ok := t.capture(st); ok {
		if err := t.update(func(r *taskRecord) { r.Status.Value = v }); err != nil {
			return err
		}
	} else if st.Capture != "" && state.Exit.Success() {
		return fmt.Errorf("it printed nothing that looks like %s", st.Capture)
	}
	if state.Phase != proc.TaskExited {
		return errors.New("it was interrupted: the process is gone and left no exit status")
	}
	if !state.Exit.Success() {
		return fmt.Errorf("%s: %s", state.Exit, lastLine(tail(t.output(), 4000)))
	}
	return nil
}

// capture looks for the value in what was printed so far.
func (t *task) capture(st agentapi.TaskStep) (string, bool) {
	if st.Capture == "" {
		return "", false
	}
	re, err := regexp.Compile(st.Capture)
	if err != nil {
		return "", false
	}
	m := re.FindStringSubmatch(tail(t.output(), 1<<20))
	if m == nil {
		return "", false
	}
	return m[len(m)-1], true
}
