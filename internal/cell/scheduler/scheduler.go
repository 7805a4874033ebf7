// Package scheduler owns what should run in a cell and brings it about: one
// goroutine takes in updates of users, events of the Mesos master, results of
// health checks and the passing of time, works out what follows, commits it in
// one transaction, and only then acts. Every act may be repeated, so a crash at
// any point is the ordinary path: the next start works out the same again. It
// knows no HTTP API of its own and no runtime of containers.
package scheduler

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/mesos/v1client"
	"howdah.dev/howdah/internal/sqlite"
)

const (
	// maxInbox bounds the messages that wait; those who send more wait themselves.
	maxInbox = 4096
	// maxBatch bounds how many messages share a commit.
	maxBatch = 1024
)

// Config is what a scheduler needs.
type Config struct {
	Path   string // the database; its directory must exist
	Master Master
	// Framework describes the scheduler to the master; its ID is filled in.
	Framework mesos.FrameworkInfo
	// Secret returns what is kept at a secret's source; nil: there are none.
	Secret func(ctx context.Context, source string) ([]byte, error)
	// Publish is given every event, in order; it must not block.
	Publish func(Event)
	// ProgressDeadline is after how long without progress a deployment is called
	// stalled; 0 means never.
	ProgressDeadline time.Duration
	MaxDeployments   int           // of one project at once; 100 if 0
	MaxPerOffer      int           // instances of one app launched per offer and round; 5 if 0
	Reconcile        time.Duration // between questions for the state of all tasks; 10 min if 0
	// Crash, where set, is asked before and after each commit, and when what follows
	// from it is on its way to the master; true ends the engine on the spot. Tests
	// set it.
	Crash func(point string) bool
	Log   *slog.Logger
}

// The points at which Config.Crash is asked.
const (
	CrashBefore = "before the commit"
	CrashAfter  = "after the commit"
	CrashActing = "acting"
)

// ErrEnded is returned when the engine does not run any more.
var ErrEnded = errors.New("the scheduler has ended; it will be started again")

var errCrash = errors.New("a test ended the scheduler")

// Master subscribes to a Mesos master.
type Master interface {
	Subscribe(ctx context.Context, s mesos.Subscribe) (*v1client.Stream, error)
}

func (c *Config) defaults() {
	if c.MaxDeployments == 0 {
		c.MaxDeployments = 100
	}
	if c.MaxPerOffer == 0 {
		c.MaxPerOffer = 5
	}
	if c.Reconcile == 0 {
		c.Reconcile = 10 * time.Minute
	}
	if c.Crash == nil {
		c.Crash = func(string) bool { return false }
	}
	if c.Publish == nil {
		c.Publish = func(Event) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Engine is a scheduler. Run it, then use it.
type Engine struct {
	cfg   Config
	db    *sqlite.DB
	inbox chan message
	calls *outbox // to the master

	mu    sync.RWMutex // guards what state points to
	state *state

	// The rest is the writer's alone.
	offers    *offers
	questions questions
	timers    map[string]time.Time
	serial    int64
	newest    app.Timestamp
	health    *watches
	ended     chan struct{}
}

// message is something to work through. done, if any, is told how it went once
// that is on disk.
type message struct {
	apply func(*tx) error
	done  chan<- error
}

// Open opens the scheduler's state.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	cfg.defaults()
	db, err := openStore(ctx, cfg.Path)
	if err != nil {
		return nil, err
	}
	s, err := load(ctx, db.Read)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	e := &Engine{cfg: cfg, db: db, inbox: make(chan message, maxInbox), calls: newOutbox(), state: s, offers: newOffers(), timers: map[string]time.Time{}, ended: make(chan struct{})}
	e.health = newWatches(e)
	for _, d := range s.deployments {
		e.serial = max(e.serial, d.Number)
		e.newest = later(e.newest, d.Version)
	}
	for _, a := range s.apps {
		e.newest = later(e.newest, a.Spec.Version)
	}
	return e, nil
}

func later(a, b app.Timestamp) app.Timestamp {
	if b.After(a.Time) {
		return b
	}
	return a
}

// Run works until ctx ends or the state cannot be written any more; then the
// process must end too, and start again from what is on disk.
func (e *Engine) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() {
		cancel()
		wg.Wait()
		close(e.ended)
		if err := e.db.Close(); err != nil {
			e.cfg.Log.Error("cannot close the database", "error", err)
		}
	}()
	e.health.resume(ctx)
	wg.Go(func() { e.connect(ctx) })
	wg.Go(func() { e.send(ctx) })
	wg.Go(func() { e.reconcile(ctx) })
	defer e.health.stop()
	return e.write(ctx)
}

// write is the one writer.
func (e *Engine) write(ctx context.Context) error {
	timer := time.NewTimer(0) // the first batch is empty: it plans what was left
	defer timer.Stop()
	first := true
	for {
		var batch []message
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case m := <-e.inbox:
			batch = append(batch, m)
		}
		for len(batch) < maxBatch {
			select {
			case m := <-e.inbox:
				batch = append(batch, m)
				continue
			default:
			}
			break
		}
		wake, err := e.work(ctx, batch, first)
		// In the middle of a write; the next start works the same out again. Which of the
		// two it is depends on how far the write was.
		if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, sql.ErrTxDone)) {
			return nil
		}
		if err != nil {
			return err
		}
		first = false
		if wake.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(0, time.Until(wake)))
		}
	}
}

// work takes a batch through: works out what follows, commits it, acts.
func (e *Engine) work(ctx context.Context, batch []message, first bool) (wake time.Time, err error) {
	t := newTx(e.state, &e.cfg, time.Now())
	t.questions = &e.questions
	t.timers, t.offers, t.serial, t.newest = e.timers, e.offers, e.serial, e.newest
	t.lookup = func(id, version string) (*app.App, error) { return e.Version(ctx, id, version) }
	errs := make([]error, len(batch))
	for i, m := range batch {
		errs[i] = m.apply(t)
	}
	if first {
		for id := range e.state.apps {
			t.touch(id)
		}
	}
	t.elapse()
	t.settle()
	t.advance()
	t.settle()
	t.match(ctx)
	if err := e.keep(ctx, t); err != nil {
		for _, m := range batch {
			m.answer(err)
		}
		return wake, fmt.Errorf("cannot keep what happened: %w", err)
	}
	e.serial, e.newest = t.serial, t.newest
	e.mu.Lock()
	t.merge()
	e.mu.Unlock()
	e.act(ctx, t)
	if t.matters() && e.cfg.Crash(CrashActing) {
		return wake, errCrash
	}
	for i, m := range batch {
		m.answer(errs[i])
	}
	return t.next(), nil
}

// keep writes what a batch changed.
func (e *Engine) keep(ctx context.Context, t *tx) error {
	if t.matters() && e.cfg.Crash(CrashBefore) {
		return errCrash
	}
	if err := t.commit(ctx, e.db.Write); err != nil {
		return err
	}
	if t.matters() && e.cfg.Crash(CrashAfter) {
		return errCrash
	}
	return nil
}

// act does what a committed batch asks for.
func (e *Engine) act(ctx context.Context, t *tx) {
	for _, c := range t.calls {
		e.calls.put(c)
	}
	for id, i := range t.instances.changed {
		if i == nil {
			e.health.forget(id)
		} else if a := e.state.apps[i.App]; a != nil {
			e.health.watch(ctx, a.Spec, i)
		}
	}
	for _, ev := range t.events {
		e.cfg.Publish(ev)
	}
}

func (m message) answer(err error) {
	if m.done != nil {
		m.done <- err
	}
}

// do has the writer apply fn and waits until what it did is on disk.
func (e *Engine) do(ctx context.Context, fn func(*tx) error) error {
	done := make(chan error, 1)
	if err := e.post(ctx, message{apply: fn, done: done}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-e.ended:
		return ErrEnded
	}
}

// post puts a message into the inbox, waiting for room.
func (e *Engine) post(ctx context.Context, m message) error {
	select {
	case e.inbox <- m:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-e.ended:
		return ErrEnded
	}
}

// tell has the writer apply fn, without waiting.
func (e *Engine) tell(ctx context.Context, fn func(*tx)) {
	_ = e.post(ctx, message{apply: func(t *tx) error { fn(t); return nil }}) // it ends: nobody needs it
}

// elapse has every app planned whose time has come.
func (t *tx) elapse() {
	for id, when := range t.timers {
		if !when.After(t.now) {
			delete(t.timers, id)
			t.touch(id)
		}
	}
}

// next returns when the engine must work again though nothing happens.
func (t *tx) next() time.Time {
	wake := t.wake
	for _, when := range t.timers {
		wake = earliest(wake, when)
	}
	if !wake.IsZero() && wake.Before(t.now) {
		return t.now
	}
	return wake
}
