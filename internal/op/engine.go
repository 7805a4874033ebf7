// Package op executes operations durably. The step row is the journal: a step
// is committed as doing with an idempotency key before it acts, and its result,
// the domain rows it changes and its event are committed together. At start
// every step found doing runs again with the same key. The engine knows
// nothing of clusters; kinds of steps and the planner are given to it.
//
//	todo ──► doing ──► done
//	  ▲        │ ├───► waiting ──► (asked again) ──► done, failed
//	  └─retry──┘ └───► failed ──► (retry) todo, (skip) skipped
//
// An optional step that fails is skipped, with its error.
package op

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/store"
)

// Kind does one kind of step.
type Kind interface {
	// Do makes one attempt. It may be called again with the same step after a
	// crash, so it looks before it acts. It must return soon after ctx ends.
	Do(ctx context.Context, c Call) Result
}

// KindFunc is a function as a Kind.
type KindFunc func(ctx context.Context, c Call) Result

// Do calls the function.
func (f KindFunc) Do(ctx context.Context, c Call) Result { return f(ctx, c) }

// Call is one attempt at a step.
type Call struct {
	Step      store.Step
	Operation store.Operation
	// Waits tells the engine that the step waits for its turn before it acts, and
	// when that is over: a step that is dropped meanwhile has its context ended.
	Waits func(on bool)
}

// Result is what an attempt came to: done, failed, to be asked again when
// something changes, or to be tried again after a while. Commit, where given,
// runs in the transaction that records the result.
type Result struct {
	state  resultState
	what   string
	until  time.Time
	after  time.Duration
	err    error
	Commit func(*store.Tx) error
}

type resultState int

const (
	resultDone resultState = iota
	resultWait
	resultRetry
	resultFail
)

// Done ends a step well; commit may be nil.
func Done(commit func(*store.Tx) error) Result { return Result{state: resultDone, Commit: commit} }

// Wait asks to be called again when the cluster changes, until a deadline
// after which the step fails with what it waited for.
func Wait(what string, until time.Time) Result {
	return Result{state: resultWait, what: what, until: until}
}

// Retry asks to be called again after a pause; err says why.
func Retry(after time.Duration, err error) Result {
	return Result{state: resultRetry, after: after, err: err}
}

// Fail ends a step badly.
func Fail(err error) Result { return Result{state: resultFail, err: err} }

// StepSpec is a step a planner wants. After holds indexes of earlier specs.
type StepSpec struct {
	Kind, Node, Title, Phase string
	Args                     string
	After                    []int
	// Optional is a step the operation goes on without: where it fails it is
	// skipped, with its error. What comes after it finds out by itself.
	Optional bool
}

// Planner turns an operation into steps. It runs inside the transaction that
// stores them, so what it reserves is reserved with them.
type Planner func(tx *store.Tx, o store.Operation) ([]StepSpec, error)

// maxActing is how many steps may act when another begins: each takes memory, and more of
// them would only wait for the same disk. Steps that wait, also for their turn at a driver,
// do not count, so that nobody waits for room because one driver is slow; they go on when
// their wait is over, whoever acts then.
const maxActing = 512

// maxTries bounds how often a step is retried by itself.
const maxTries = 10

// Config is what an engine needs.
type Config struct {
	Store *store.Store
	Kinds map[string]Kind
	Plan  Planner
	Log   *slog.Logger
	// Crash, where set, is called named after their step's key where they have
	// one: before each look at all operations and each attempt at a step, before
	// and after each commit. It is for tests that end the
	// process there, or choose who goes first.
	Crash func(point string)
}

// Engine runs operations. Start it with Run.
type Engine struct {
	cfg Config

	mu      sync.Mutex
	running map[int64]*flight // by step
	graphs  map[int64]*graph  // by operation
	flights map[int64]int     // how many steps of an operation are in flight
	queue   []*flight         // those not begun: the last goes first
	acting  int               // how many have begun and do not wait
	room    int               // how many may act when another begins
	wg      sync.WaitGroup
	wake    chan struct{}
}

// flight is a step some goroutine works on, or will.
type flight struct {
	step, operation int64
	work            func()
	cancel          context.CancelCauseFunc
	waiting         bool // it does not act
	dropped         bool // it must not wait any more
}

// New makes an engine.
func New(cfg Config) *Engine {
	if cfg.Crash == nil {
		cfg.Crash = func(string) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{
		cfg: cfg, running: map[int64]*flight{}, graphs: map[int64]*graph{}, flights: map[int64]int{},
		wake: make(chan struct{}, 1), room: maxActing,
	}
}

// errDropped ends the goroutine of a step that is no longer wanted.
var errDropped = errors.New("step dropped")

// Run executes operations until ctx ends, and returns when the steps in
// flight have returned.
func (e *Engine) Run(ctx context.Context) error {
	sub := e.cfg.Store.Subscribe(store.TopicOperations)
	defer sub.Close()
	defer e.wg.Wait()
	defer e.forget()
	for {
		var again <-chan time.Time
		e.cfg.Crash("look")
		seen(sub.C)
		seen(e.wake)
		if err := e.pass(ctx); err != nil && ctx.Err() == nil {
			e.cfg.Log.Error("cannot advance operations", "error", err)
			again = time.After(2 * time.Second)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-sub.C:
		case <-e.wake:
		case <-again:
		}
	}
}

// forget drops the steps that have not begun: the next life finds them in the journal.
func (e *Engine) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = nil
}

// pass looks at every open operation once.
func (e *Engine) pass(ctx context.Context) error {
	var open []store.Operation
	err := e.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		open, err = tx.OpenOperations()
		return err
	})
	if err != nil {
		return err
	}
	var errs []error
	busy := map[string]bool{}
	for _, o := range open {
		if o.State == api.OperationFailed || busy[o.Cluster] {
			continue
		}
		busy[o.Cluster] = true
		errs = append(errs, e.advance(ctx, o))
	}
	return errors.Join(errs...)
}

// advance brings one operation forward: plans it, starts what is ready, or
// ends it. It reads all steps that are left: it is for the beginning and the end of
// an operation and for changes from outside. In between every step that ends
// starts what comes after it, see ended.
func (e *Engine) advance(ctx context.Context, o store.Operation) error {
	switch {
	case !o.Planned:
		return e.plan(ctx, o)
	case stopping(o):
		return e.drop(ctx, o)
	case e.advances(o.ID):
		return nil
	}
	var steps []store.Step
	err := e.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if o, err = tx.Operation(o.ID); err != nil {
			return err
		}
		steps, err = tx.StepsLeft(o.ID)
		return err
	})
	if err != nil {
		return err
	}
	if stopping(o) {
		return e.drop(ctx, o)
	}
	next := survey(steps)
	e.mu.Lock()
	e.graphs[o.ID] = newGraph(o, steps, e.graphs[o.ID])
	slices.SortStableFunc(next.ready, func(a, b store.Step) int { return cmp.Compare(rank(a), rank(b)) })
	e.launch(ctx, o, next.ready)
	idle := e.flights[o.ID] == 0
	e.mu.Unlock()
	if next.open || !idle {
		return nil
	}
	return e.finish(ctx, o, next)
}

// plan asks the planner and stores the steps, in one transaction.
func (e *Engine) plan(ctx context.Context, o store.Operation) error {
	e.cfg.Crash("plan:before")
	err := e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		o, err := tx.Operation(o.ID)
		if err != nil || o.Planned || o.State != api.OperationQueued {
			return err
		}
		specs, err := e.cfg.Plan(tx, o)
		if err != nil {
			return err
		}
		ids := make([]int64, len(specs))
		for i, s := range specs {
			row := store.Step{
				Operation: o.ID, Kind: s.Kind, Node: s.Node, Title: s.Title, Phase: s.Phase, State: api.StepTodo,
				Key: fmt.Sprintf("op%d-%d-%s", o.ID, i, s.Kind), Args: s.Args, Optional: s.Optional,
			}
			if row.Args == "" {
				row.Args = "{}"
			}
			for _, a := range s.After {
				row.After = append(row.After, ids[a])
			}
			if ids[i], err = tx.InsertStep(row); err != nil {
				return err
			}
		}
		now := tx.Now()
		o.Planned, o.State, o.Started = true, api.OperationRunning, &now
		if err := tx.UpdateOperation(o); err != nil {
			return err
		}
		return tx.Event(api.Event{Type: "operation.started", Cluster: o.Name, Operation: o.ID, Message: fmt.Sprintf("%s of %s started with %d steps", o.Kind, o.Name, len(specs))})
	})
	e.cfg.Crash("plan:after")
	if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrFull) { // it is planned when there is room again
		return err
	}
	return e.endFailed(ctx, o, fmt.Errorf("cannot plan: %w", err))
}

// endFailed records that an operation could not even be planned.
func (e *Engine) endFailed(ctx context.Context, o store.Operation, cause error) error {
	e.cfg.Crash("unplanned:before")
	defer e.cfg.Crash("unplanned:after")
	return e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		o, err := tx.Operation(o.ID)
		if err != nil {
			return err
		}
		o.State, o.Reason = api.OperationFailed, cause.Error()
		if err := tx.UpdateOperation(o); err != nil {
			return err
		}
		return tx.Event(api.Event{Type: "operation.failed", Cluster: o.Name, Operation: o.ID, Message: o.Reason})
	})
}

// finish records the end of an operation none of whose steps can go on.
func (e *Engine) finish(ctx context.Context, o store.Operation, sv surveyed) error {
	e.mu.Lock()
	delete(e.graphs, o.ID)
	e.mu.Unlock()
	e.cfg.Crash("finish:before")
	defer e.cfg.Crash("finish:after")
	return e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		o, err := tx.Operation(o.ID)
		if err != nil || o.State != api.OperationRunning || stopping(o) {
			return err
		}
		ev := api.Event{Cluster: o.Name, Operation: o.ID}
		if sv.failed != nil {
			o.State, o.Reason = api.OperationFailed, sv.failed.Title+": "+sv.failed.Error
			ev.Type, ev.Message = "operation.failed", fmt.Sprintf("%s of %s failed: %s", o.Kind, o.Name, o.Reason)
		} else {
			now := tx.Now()
			o.State, o.Finished, o.Reason = api.OperationDone, &now, sv.without
			ev.Type, ev.Message = "operation.done", fmt.Sprintf("%s of %s done", o.Kind, o.Name)
			if sv.without != "" {
				ev.Message += " " + sv.without
			}
		}
		if err := tx.UpdateOperation(o); err != nil {
			return err
		}
		return tx.Event(ev)
	})
}

// advances reports whether an operation goes on by itself: a step of it is in flight
// and will start what comes after it.
func (e *Engine) advances(operation int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.graphs[operation]
	return g != nil && !g.stale && e.flights[operation] > 0
}

// surveyed is what those steps of an operation allow that are not done.
type surveyed struct {
	ready   []store.Step // may run, or were running
	open    bool         // something is under way or may still become ready
	failed  *store.Step  // the first failure
	without string       // what optional steps did not come to, in words
}

// survey finds the steps that may run: their predecessors are done or
// skipped. A failure stops only what comes after it.
func survey(steps []store.Step) surveyed {
	state := make(map[int64]api.StepState, len(steps))
	for _, s := range steps {
		state[s.ID] = s.State
	}
	out := surveyed{without: without(steps)}
	for i, s := range steps {
		switch s.State {
		case api.StepDoing, api.StepWaiting:
			out.ready = append(out.ready, s)
			out.open = true
		case api.StepTodo:
			if free(s, state) {
				out.ready = append(out.ready, s)
				out.open = true
			}
		case api.StepFailed:
			if out.failed == nil {
				out.failed = &steps[i]
			}
		case api.StepDone, api.StepSkipped:
		}
	}
	return out
}

// rank orders steps that may run: those under way, those that go on with what others did,
// those that begin something.
func rank(s store.Step) int {
	switch {
	case s.State != api.StepTodo:
		return 0
	case len(s.After) > 0:
		return 1
	}
	return 2
}

// gaveUp reports whether an optional step failed.
func gaveUp(s store.Step) bool { return s.Optional && s.State == api.StepSkipped && s.Error != "" }

// without says which optional steps failed: the first of each lane, because those
// after it fail for its sake.
func without(steps []store.Step) string {
	up := map[int64]bool{}
	var said []string
	for _, s := range steps {
		if !gaveUp(s) {
			continue
		}
		up[s.ID] = true
		if !slices.ContainsFunc(s.After, func(a int64) bool { return up[a] }) {
			said = append(said, s.Title+": "+s.Error)
		}
	}
	switch {
	case len(said) == 0:
		return ""
	case len(said) > maxSaid:
		said = append(said[:maxSaid], fmt.Sprintf("%d more", len(said)-maxSaid))
	}
	return "without: " + strings.Join(said, "; ")
}

// maxSaid bounds how many failures of optional steps a reason names.
const maxSaid = 3

// free reports whether everything a step comes after is done, which has no state here,
// or skipped.
func free(s store.Step, state map[int64]api.StepState) bool {
	for _, a := range s.After {
		if st, left := state[a]; left && st != api.StepSkipped {
			return false
		}
	}
	return true
}
