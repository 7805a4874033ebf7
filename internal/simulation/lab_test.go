package simulation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster/simtest"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/sim"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// choice is what becomes of who waits at the gate.
type choice struct {
	next  int           // who goes on
	twice bool          // and what it sends arrives twice,
	hold  time.Duration // or is held up for a while
	crash bool          // or the server dies here,
	down  time.Duration // and is away so long
}

// lab is a world whose server goes on one step at a time. Everything that may
// matter for what is done parks at a gate first: an attempt at a step, a commit
// of the engine, a driver call and its answer, an agent's report, the answer to a user. When all
// else rests, choose says who goes on.
type lab struct {
	*simtest.World
	t       *testing.T
	cfg     simtest.Config
	began   time.Time
	choose  func(parked []string) choice
	life    context.Context //nolint:containedctx // of what users ask of this server
	end     context.CancelFunc
	lives   int
	doubles int               // calls that arrived twice
	beside  int               // attempts at steps while another cluster's operation ran
	heads   map[string]head   // the operation whose turn it is, by cluster, of this server
	broken  []string          // what must not be and was
	named   map[string]string // nodes by cluster and name

	mu      sync.Mutex
	parked  []*waiter
	asking  int    // users who wait for an answer
	said    string // the last answer to a user
	arrived chan struct{}
	dead    bool
	points  int
	lines   []string // the trace
	sum     hash.Hash
}

// waiter is who waits at the gate.
type waiter struct {
	label string
	until time.Time
	twice bool
	open  chan struct{}
}

// kept is how many lines of a trace are shown when something is wrong.
const kept = 60

// newLab makes a world in a directory that ends with the test. It must be
// called inside a bubble.
func newLab(t *testing.T, cfg simtest.Config) *lab {
	t.Helper()
	l := &lab{t: t, cfg: cfg, began: time.Now(), arrived: make(chan struct{}, 1), named: map[string]string{}, heads: map[string]head{}, sum: sha256.New()}
	l.choose = func([]string) choice { return choice{} }
	if l.cfg.Dir == "" {
		l.cfg.Dir = newDir(t)
	}
	l.cfg.Crash = func(point string) {
		if _, on := l.pass(point); !on {
			runtime.Goexit()
		}
	}
	l.cfg.Sim.Agents.Observe = func(node string, s *api.ServiceStatus) { l.pass("report:" + node + " " + s.Name) }
	l.cfg.Wrap = func(d infra.Driver) infra.Driver { return driver{d.(*sim.Cloud), l} }
	var err error
	if l.World, err = simtest.Open(l.cfg); err != nil {
		t.Fatal(err)
	}
	l.life, l.end = context.WithCancel(context.Background())
	l.lives = 1
	return l
}

// close ends everything; who still waits at the gate is dead.
func (l *lab) close() {
	l.kill()
	l.Cloud.Close()
}

var template = sync.OnceValues(func() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "howdah-simulation-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	st, err := store.Open(context.Background(), store.Config{Path: filepath.Join(dir, "db")})
	if err != nil {
		return nil, err
	}
	if err := st.Close(); err != nil {
		return nil, err
	}
	if _, err := tenant.OpenAuthority(filepath.Join(dir, "ca")); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		files[rel], err = os.ReadFile(name)
		return err
	})
	return files, err
})

// newDir makes a directory with an empty database and certificates. It is in
// memory where there is a file system for that: nothing here outlives the test.
func newDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if made, err := os.MkdirTemp("/dev/shm", "howdah-simulation-"); err == nil { //nolint:usetesting // there is no choice of the file system with the other
		dir = made
		t.Cleanup(func() { os.RemoveAll(made) })
	}
	files, err := template()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// note adds a line to the trace.
func (l *lab) note(format string, args ...any) {
	line := fmt.Sprintf("%10.3fs  %s", time.Since(l.began).Seconds(), fmt.Sprintf(format, args...))
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.sum, line)
	l.lines = append(l.lines, line)
}

// wrong notes that something is that must not be.
func (l *lab) wrong(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.broken = append(l.broken, text)
	l.note("WRONG: %s", text)
}

// digest is of the whole trace.
func (l *lab) digest() string { return hex.EncodeToString(l.sum.Sum(nil))[:16] }

// last returns the end of the trace.
func (l *lab) last() string { return strings.Join(l.lines[max(0, len(l.lines)-kept):], "\n") }

// pass waits at the gate; on is false when the server died meanwhile.
func (l *lab) pass(label string) (twice, on bool) {
	w := &waiter{label: label, open: make(chan struct{})}
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		return false, false
	}
	l.parked = append(l.parked, w)
	l.mu.Unlock()
	select {
	case l.arrived <- struct{}{}:
	default:
	}
	<-w.open
	l.mu.Lock()
	defer l.mu.Unlock()
	return w.twice, !l.dead
}

// run lets one go on at a time until it is over or a time has come; it says
// whether it is over.
func (l *lab) run(until time.Time, over func() bool) bool {
	for {
		synctest.Wait()
		next := until
		switch held, on := l.step(); {
		case on:
			continue
		case over():
			return true
		case !time.Now().Before(until):
			return false
		case !held.IsZero() && held.Before(until):
			next = held
		}
		t := time.NewTimer(min(time.Until(next), time.Second))
		select {
		case <-l.arrived:
		case <-t.C:
		}
		t.Stop()
	}
}

// step lets one go on; false when nobody can, and when the next is not held any more.
func (l *lab) step() (held time.Time, on bool) {
	now := time.Now()
	l.mu.Lock()
	var free []*waiter
	for _, w := range l.parked {
		switch {
		case !w.until.After(now):
			free = append(free, w)
		case held.IsZero() || w.until.Before(held):
			held = w.until
		}
	}
	l.mu.Unlock()
	if len(free) == 0 {
		return held, false
	}
	slices.SortStableFunc(free, func(a, b *waiter) int { return strings.Compare(a.label, b.label) })
	labels := make([]string, len(free))
	for i, w := range free {
		labels[i] = w.label
	}
	c := l.choose(labels)
	w := free[c.next]
	switch {
	case c.crash:
		l.note("the server dies at %s, %s, for %s", w.label, labels, c.down)
		l.crash(c.down)
		return held, true
	case c.hold > 0 && w.until.IsZero():
		l.note("%s is held up for %s", w.label, c.hold)
		w.until = now.Add(c.hold)
		return held, true
	}
	l.note("%s", w.label)
	if w.twice = c.twice && strings.HasPrefix(w.label, "call:"); w.twice {
		l.note("it arrives twice")
		l.doubles++
	}
	if key, begun := strings.CutPrefix(w.label, "do:"); begun {
		l.checkTurn(key)
	}
	l.mu.Lock()
	l.points++
	l.parked = slices.DeleteFunc(l.parked, func(o *waiter) bool { return o == w })
	l.mu.Unlock()
	close(w.open)
	return held, true
}

// crash ends the server as a power failure does: what it had committed by now is
// all there is. A while later there is another.
func (l *lab) crash(down time.Duration) {
	disk := map[string][]byte{}
	for _, name := range []string{"db", "db-wal"} {
		data, err := os.ReadFile(filepath.Join(l.cfg.Dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.t.Fatal(err)
		}
		if err == nil {
			disk[name] = data
		}
	}
	l.kill()
	for _, name := range []string{"db", "db-wal", "db-shm"} {
		file := filepath.Join(l.cfg.Dir, name)
		var err error
		if data, was := disk[name]; was {
			err = os.WriteFile(file, data, 0o600)
		} else if err = os.Remove(file); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		if err != nil {
			l.t.Fatal(err)
		}
	}
	time.Sleep(down)
	synctest.Wait()
	l.mu.Lock()
	l.dead = false
	l.mu.Unlock()
	l.life, l.end = context.WithCancel(context.Background())
	if err := l.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.lives++
	clear(l.heads)
	l.note("another server is here")
}

// kill ends the server and everything that waits at the gate.
func (l *lab) kill() {
	l.mu.Lock()
	l.dead = true
	left := l.parked
	l.parked = nil
	l.mu.Unlock()
	l.end()
	stopped := make(chan error, 1)
	go func() { stopped <- l.Stop() }()
	synctest.Wait() // the contexts of the dead have ended: they cannot go on
	for _, w := range left {
		close(w.open)
	}
	if err := <-stopped; err != nil {
		l.t.Fatal(err)
	}
	synctest.Wait()
}

// asked is where a context holds what a user asked for.
type asked struct{}

// ask asks the server something as a user does, beside everything else. The
// answer comes when it is chosen.
func (l *lab) ask(what string, do func(context.Context) (string, error)) (answered func() bool) {
	l.note("%s", what)
	ctx, life := context.WithValue(l.life, asked{}, what), l.lives
	over := false
	l.mu.Lock()
	l.asking++
	l.mu.Unlock()
	go func() {
		defer func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.asking--
		}()
		answer, err := do(ctx)
		if _, on := l.pass("answer:" + what); !on {
			return
		}
		if err != nil {
			answer = "refused: " + err.Error()
		}
		l.note("%s: %s", what, answer)
		l.mu.Lock()
		over, l.said = true, answer
		l.mu.Unlock()
	}()
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return over || life != l.lives
	}
}

// answered reports whether nobody waits for an answer.
func (l *lab) answered() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asking == 0
}

// driver is the infrastructure as the server reaches it: calls and answers wait
// at the gate, and what was sent may arrive twice.
type driver struct {
	*sim.Cloud
	lab *lab
}

var errDead = errors.New("the server is dead")

func (d driver) call(what, node string, do func() error) error {
	label := what + " " + node
	twice, on := d.lab.pass("call:" + label)
	if !on {
		return errDead
	}
	err := do()
	if twice {
		err = do()
	}
	said := "well"
	if err != nil {
		said = string(infra.KindOf(err))
	}
	if _, on := d.lab.pass("answer:" + label + ": " + said); !on {
		return errDead
	}
	return err
}

func (d driver) Inventory(ctx context.Context) (inv infra.Inventory, err error) {
	who, _ := ctx.Value(asked{}).(string)
	err = d.call("inventory", who, func() (err error) {
		inv, err = d.Cloud.Inventory(ctx)
		return err
	})
	return inv, err
}

func (d driver) Create(ctx context.Context, r infra.CreateRequest) error {
	return d.call("create", r.Name, func() error { return d.Cloud.Create(ctx, r) })
}

func (d driver) Delete(ctx context.Context, r infra.Ref) error {
	return d.call("delete", r.Name, func() error { return d.Cloud.Delete(ctx, r) })
}

func (d driver) Power(ctx context.Context, r infra.Ref, on bool) error {
	return d.call(fmt.Sprintf("power %v", on), r.Name, func() error { return d.Cloud.Power(ctx, r, on) })
}

func (d driver) Describe(ctx context.Context, r infra.Ref) (desc infra.Description, err error) {
	err = d.call("describe", r.Name, func() (err error) {
		desc, err = d.Cloud.Describe(ctx, r)
		return err
	})
	return desc, err
}
