// Package store keeps the state of an installation in SQLite: one writer that
// groups commits, a pool of readers, migrations inside the binary. It owns the
// schema and the rows; it knows nothing of what they mean.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

// schema is the migrations as files of one directory.
func schema() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil { // the name is no path
		panic(err)
	}
	return sub
}

// ErrNotFound is returned when a row is not there.
var ErrNotFound = errors.New("not found")

// ErrNewer is returned for a database written by a newer Howdah.
var ErrNewer = sqlite.ErrNewer

// ErrFull is returned where the disk has no room for what was to be written. Nothing of
// it was.
var ErrFull = errors.New("the disk is full")

// maxGroup bounds how many updates share one commit.
const maxGroup = 256

// Store is an open database. Close it when done.
type Store struct {
	db    *sqlite.DB
	reads *sqlite.Statements
	write *sqlite.Statements
	log   *slog.Logger
	crash func(point string)
	queue chan *update
	done  chan struct{} // closed when the writer has ended
	views chan *view
	ended chan struct{}  // closed when nothing is read any more
	looks sync.WaitGroup // goroutines that run views

	commits atomic.Uint64
	facts   decoded[agentapi.Facts]
	javas   decoded[agentapi.Java]

	mu     sync.Mutex
	topics map[string]map[*Subscription]struct{}
	closed bool
}

// Config says where the database is.
type Config struct {
	Path    string // file; its directory must exist
	Version string // of howdah, kept in the database so that an older one can say what is needed; "" leaves what is there
	Log     *slog.Logger
	// Crash, where set, is called before and after each update, by who asks for it. It is
	// for tests that end the process there.
	Crash func(point string)
}

// Points at which Config.Crash is called.
const (
	CrashBefore = "update:before"
	CrashAfter  = "update:after"
)

// update is one waiting writer.
type update struct {
	ctx  context.Context
	fn   func(*Tx) error
	err  error
	done chan struct{}
}

// view is one reader, whose transaction runs on a goroutine of the store: what SQLite
// takes of a stack stays with a few of them and not with each of thousands that wait.
type view struct {
	ctx      context.Context
	fn       func(*Tx) error
	err      error
	panicked any
	done     chan struct{}
}

// Open opens or creates the database and brings its schema up to date; before
// a migration the file is copied beside itself.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	db, err := sqlite.Open(ctx, cfg.Path, schema())
	if errors.Is(err, ErrNewer) {
		return nil, newer(ctx, cfg.Path, err)
	}
	if err != nil {
		return nil, err
	}
	if cfg.Crash == nil {
		cfg.Crash = func(string) {}
	}
	s := &Store{
		db: db, reads: sqlite.NewStatements(db.Read), write: sqlite.NewStatements(db.Write), log: cfg.Log, crash: cfg.Crash,
		queue: make(chan *update, maxGroup), done: make(chan struct{}), views: make(chan *view), ended: make(chan struct{}),
		topics: map[string]map[*Subscription]struct{}{},
	}
	go s.writer()
	for range sqlite.Readers {
		s.looks.Go(s.reader)
	}
	if cfg.Version != "" {
		if err := s.sign(ctx, cfg.Version); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Close finishes the waiting updates and closes the database.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.queue)
	s.mu.Unlock()
	<-s.done
	close(s.ended)
	s.looks.Wait()
	return s.db.Close()
}

// errClosed answers who asks a closed store.
var errClosed = errors.New("the store is closed")

// Update runs fn in a transaction of its own and returns when it is durable.
// Updates that wait at the same time share one commit. fn may run only
// database calls; an error from it undoes just its own changes.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	s.crash(CrashBefore)
	defer s.crash(CrashAfter)
	u := &update{ctx: ctx, fn: fn, done: make(chan struct{})}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	select {
	case s.queue <- u:
		s.mu.Unlock()
	default:
		s.mu.Unlock()
		if err := s.enqueue(ctx, u); err != nil {
			return err
		}
	}
	<-u.done
	return u.err
}

// enqueue waits for room in the queue.
func (s *Store) enqueue(ctx context.Context, u *update) (err error) {
	defer func() {
		if recover() != nil { // closed while waiting
			err = errClosed
		}
	}()
	select {
	case s.queue <- u:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// View runs fn on a consistent snapshot.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	v := &view{ctx: ctx, fn: fn, done: make(chan struct{})}
	select {
	case s.views <- v:
	case <-s.ended:
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("cannot read: %w", context.Cause(ctx))
	}
	<-v.done
	if v.panicked != nil {
		panic(v.panicked)
	}
	return v.err
}

// reader runs views.
func (s *Store) reader() {
	for {
		select {
		case v := <-s.views:
			s.look(v)
		case <-s.ended:
			return
		}
	}
}

// errCut is what comes of a view whose function ends its goroutine, as a test's does that
// fails there. Its goroutine is gone.
var errCut = errors.New("the reading was cut short")

// look runs one view. A panic of its function is its caller's.
func (s *Store) look(v *view) {
	defer close(v.done)
	tx, err := s.db.Read.BeginTx(v.ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		v.err = fmt.Errorf("cannot read: %w", err)
		return
	}
	defer func() {
		if v.panicked = recover(); v.panicked != nil { // who recovers it there does not see where it was
			s.log.Error("a reading panicked", "panic", v.panicked, "stack", string(debug.Stack()))
		}
		if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
			s.log.Warn("cannot end reading", "error", err)
		}
		s.prepare(v.ctx, s.reads)
	}()
	v.err = errCut
	v.err = v.fn(&Tx{ctx: v.ctx, store: s, tx: s.reads.Bind(tx), now: time.Now()})
}

// Commits counts the commits of this Store. A View that begins later sees at least what
// they brought: what was read then is as new as what could be read now, where the count
// is the same.
func (s *Store) Commits() uint64 { return s.commits.Load() }

// prepare has what a transaction missed ready for the next. Without it the next is only
// slower.
func (s *Store) prepare(ctx context.Context, stmts *sqlite.Statements) {
	if err := stmts.Prepare(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("cannot prepare queries", "error", err)
	}
}

// writer runs updates, as many as are waiting in one commit.
func (s *Store) writer() {
	defer close(s.done)
	for u := range s.queue {
		group := []*update{u}
	fill:
		for len(group) < maxGroup {
			select {
			case next, ok := <-s.queue:
				if !ok {
					break fill
				}
				group = append(group, next)
			default:
				break fill
			}
		}
		s.commit(group)
	}
}

func (s *Store) commit(group []*update) {
	touched, err := s.run(group)
	if err == nil {
		s.commits.Add(1)
	}
	for _, u := range group {
		if err != nil && (u.err == nil || errors.Is(err, ErrFull)) {
			u.err = err
		}
		close(u.done)
	}
	if err == nil {
		s.notify(touched)
	}
	s.prepare(context.Background(), s.write)
}

// run executes a group in one transaction, each update under a savepoint.
func (s *Store) run(group []*update) (map[string]struct{}, error) {
	ctx := context.Background()
	tx, err := s.db.Write.BeginTx(ctx, nil)
	if err != nil {
		return nil, writeError("write", err)
	}
	defer tx.Rollback()
	bound := s.write.Bind(tx)
	touched := map[string]struct{}{}
	for _, u := range group {
		if err := context.Cause(u.ctx); err != nil {
			u.err = err
			continue
		}
		if _, err := tx.ExecContext(ctx, "SAVEPOINT one"); err != nil {
			return nil, writeError("write", err)
		}
		t := &Tx{ctx: ctx, store: s, tx: bound, now: time.Now(), touched: map[string]struct{}{}}
		end := "RELEASE one"
		u.err = u.fn(t)
		if sqlite.IsFull(u.err) { // SQLite may have given up the whole transaction
			return nil, writeError("write", u.err)
		}
		if u.err != nil {
			end = "ROLLBACK TO one; RELEASE one"
		} else {
			for k := range t.touched {
				touched[k] = struct{}{}
			}
		}
		if _, err := tx.ExecContext(ctx, end); err != nil {
			return nil, writeError("write", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return nil, writeError("commit", err)
	}
	return touched, nil
}

// writeError tells a full disk from other reasons.
func writeError(verb string, err error) error {
	if sqlite.IsFull(err) {
		return fmt.Errorf("cannot %s: %w: %w", verb, ErrFull, err)
	}
	return fmt.Errorf("cannot %s: %w", verb, err)
}

// Subscription tells its owner that something changed. C holds at most one
// signal; the owner reads the state, not the signal.
type Subscription struct {
	C      <-chan struct{}
	c      chan struct{}
	store  *Store
	topics []string
}

// Subscribe signals after each commit that touched one of the topics.
func (s *Store) Subscribe(topics ...string) *Subscription {
	c := make(chan struct{}, 1)
	sub := &Subscription{C: c, c: c, store: s, topics: topics}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range topics {
		if s.topics[t] == nil {
			s.topics[t] = map[*Subscription]struct{}{}
		}
		s.topics[t][sub] = struct{}{}
	}
	return sub
}

// Close ends the subscription.
func (sub *Subscription) Close() {
	sub.store.mu.Lock()
	defer sub.store.mu.Unlock()
	for _, t := range sub.topics {
		delete(sub.store.topics[t], sub)
		if len(sub.store.topics[t]) == 0 {
			delete(sub.store.topics, t)
		}
	}
}

func (s *Store) notify(touched map[string]struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range touched {
		for sub := range s.topics[t] {
			select {
			case sub.c <- struct{}{}:
			default:
			}
		}
	}
}
