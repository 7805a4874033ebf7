package pipeline

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Config says what to run and where.
type Config struct {
	Definition *Definition // from Load
	Files      FileSystem  // of the warehouse
	Warehouse  string      // its address, hdfs://host:port, for ${WAREHOUSE}
	Jobs       Jobs        // may be nil without job steps
	Topologies Topologies  // may be nil without topology steps
	Apps       Apps        // may be nil without app steps
	Images     Images      // may be nil without app steps
	// Events is told how the run goes, one event at a time; may be nil. It
	// holds the run up while it works.
	Events func(Event)
	// Poll is how often jobs, topologies and totals are looked at; 500 ms if zero.
	Poll time.Duration
}

// run is one run of a pipeline.
type run struct {
	Config
	id    string
	steps []*progress
	done  map[string]chan struct{} // by step, closed when it has ended
	fed   lineCounts
	mu    sync.Mutex // one event at a time
}

// lineCounts holds lines by package, by feed step.
type lineCounts struct {
	mu sync.Mutex
	m  map[string]map[string]int64
}

func (l *lineCounts) set(step string, lines map[string]int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = map[string]map[string]int64{}
	}
	l.m[step] = lines
}

func (l *lineCounts) get(step string) map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m[step]
}

var runID = regexp.MustCompile(`^\d{8}-\d{6}-[0-9a-f]{6}$`)

func newRunID(now time.Time) string {
	var b [2]byte
	_, _ = rand.Read(b[:]) // does not fail
	now = now.UTC()
	// Names of runs are in the order of their beginnings, within a second too.
	return fmt.Sprintf("%s%03x%03x", now.Format("20060102-150405-"), now.Nanosecond()/int(time.Millisecond), int(b[0])<<4|int(b[1])>>4)
}

// Run runs every step as soon as the steps before it are done. A failure skips
// what comes after it and lets the rest go on. The error joins those of the
// steps; the result is whole in any case. Cancelling ctx kills the job and the
// topology under way. When Run returns, nothing of it goes on, but for a
// topology that is to be kept.
func Run(ctx context.Context, cfg Config) (Result, error) {
	if err := cfg.complete(); err != nil {
		return Result{}, fmt.Errorf("cannot run pipeline: %w", err)
	}
	r := &run{Config: cfg, id: newRunID(time.Now()), done: map[string]chan struct{}{}}
	started := time.Now()
	for _, s := range r.Definition.Steps {
		r.done[s.Name] = make(chan struct{})
		r.steps = append(r.steps, r.newProgress(s))
	}
	errs := []error{r.begin(ctx, started)}
	if errs[0] == nil {
		kept, stop := context.WithCancel(ctx)
		var keeper sync.WaitGroup
		keeper.Go(func() { r.keepRecord(kept, started) })
		errs = r.all(ctx)
		stop()
		keeper.Wait()
	}
	err := errors.Join(errs...)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("pipeline %s was stopped: %w", r.Definition.Name, context.Cause(ctx))
	}
	result := r.result(started, err)
	result.Ended = time.Now().UTC()
	if result.State == StateRunning {
		result.State = StateDone
	}
	last, cancel := detached(ctx)
	defer cancel()
	return result, errors.Join(err, r.saveRecord(last, result))
}

func (cfg Config) complete() error {
	if cfg.Definition == nil || cfg.Files == nil {
		return errors.New("no definition or no files")
	}
	for _, s := range cfg.Definition.Steps {
		if s.Job != nil && cfg.Jobs == nil {
			return fmt.Errorf("step %s wants jobs", s.Name)
		}
		if s.App != nil && (cfg.Apps == nil || cfg.Images == nil) {
			return fmt.Errorf("step %s wants apps and images", s.Name)
		}
		if s.Topology != nil && cfg.Topologies == nil {
			return fmt.Errorf("step %s wants topologies", s.Name)
		}
	}
	return nil
}

// detached returns a context for what must be done although ctx may be over.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
}

func (r *run) newProgress(s Step) *progress {
	p := &progress{result: StepResult{Name: s.Name, Kind: s.Kind(), State: StateWaiting}}
	p.emit = func(s StepResult) {
		if r.Events == nil {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.Events(Event{
			Time: time.Now().UTC(), Pipeline: r.Definition.Name, Step: s.Name, Kind: s.Kind,
			State: s.State, Message: s.Message, Figures: s.Figures,
		})
	}
	return p
}

// all runs the steps and returns their errors in the order of the file.
func (r *run) all(ctx context.Context) []error {
	errs := make([]error, len(r.steps))
	var wg sync.WaitGroup
	for i, s := range r.Definition.Steps {
		wg.Go(func() {
			defer close(r.done[s.Name])
			if err := r.one(ctx, s, r.steps[i]); err != nil {
				errs[i] = fmt.Errorf("step %s: %w", s.Name, err)
			}
		})
	}
	wg.Wait()
	return errs
}

// one waits for the steps before, runs a step and notes how it ended.
func (r *run) one(ctx context.Context, s Step, p *progress) error {
	if len(s.After) > 0 {
		p.say("waits for " + strings.Join(s.After, ", "))
	}
	if failed := r.await(s); failed != "" {
		p.set(func(r *StepResult) { r.State, r.Message = StateSkipped, "step "+failed+" is not done" })
		return nil
	}
	if ctx.Err() != nil {
		p.set(func(r *StepResult) { r.State, r.Message = StateCancelled, "" })
		return context.Cause(ctx)
	}
	p.set(func(r *StepResult) { r.State, r.Message, r.Started = StateRunning, "", time.Now().UTC() })
	err := r.act(ctx, s, p)
	p.set(func(r *StepResult) {
		r.Ended = time.Now().UTC()
		switch {
		case err == nil:
			r.State = StateDone
		case ctx.Err() != nil:
			r.State, r.Message = StateCancelled, err.Error()
		default:
			r.State, r.Message = StateFailed, err.Error()
		}
	})
	return err
}

// await returns the first step before s that ended otherwise than done. Every
// step ends soon after the context does, so only the steps are waited for.
func (r *run) await(s Step) string {
	for _, name := range s.After {
		<-r.done[name]
	}
	for i, other := range r.Definition.Steps {
		for _, name := range s.After {
			if name == other.Name && r.steps[i].snapshot().State != StateDone {
				return name
			}
		}
	}
	return ""
}

func (r *run) act(ctx context.Context, s Step, p *progress) error {
	switch s.Kind() {
	case KindApp:
		return r.app(ctx, s, p)
	case KindIngest:
		return r.ingest(ctx, s, p)
	case KindFeed:
		return r.feed(ctx, s, p)
	case KindJob:
		return r.job(ctx, s, p)
	case KindTopology:
		return r.topology(ctx, s, p)
	case KindVerify:
	}
	return r.verify(ctx, s, p)
}

func (r *run) result(started time.Time, err error) Result {
	res := Result{Pipeline: r.Definition.Name, Run: r.id, State: StateRunning, Started: started.UTC()}
	for _, p := range r.steps {
		s := p.snapshot()
		if s.State == StateCancelled {
			res.State = StateCancelled
		}
		res.Steps = append(res.Steps, s)
	}
	if err != nil && res.State != StateCancelled {
		res.State = StateFailed
	}
	res.Lineage = r.Definition.lineage(res.Steps)
	return res
}

// clearRuns removes the folders of earlier runs below a path and leaves the rest.
func (r *run) clearRuns(ctx context.Context, dir string) error {
	entries, err := list(ctx, r.Files, dir)
	if err != nil {
		return fmt.Errorf("cannot look for earlier runs: %w", err)
	}
	for _, e := range entries {
		if !e.Folder || !runID.MatchString(e.Name) {
			continue
		}
		if err := r.Files.Remove(ctx, path.Join(dir, e.Name)); err != nil {
			return fmt.Errorf("cannot remove what an earlier run left: %w", err)
		}
	}
	return nil
}

// sleep waits for the next look at something.
func (r *run) sleep(ctx context.Context) error {
	d := r.Poll
	if d <= 0 {
		d = 500 * time.Millisecond
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
