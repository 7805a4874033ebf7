package op_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const clusterID = "cluster"

// world is what steps act upon. It outlives engines and databases.
type world struct {
	t  *testing.T
	db string
	// busy is a cluster in which something changes all the time.
	busy bool
	// room is how many steps may act at once, where not 0.
	room int

	mu    sync.Mutex
	calls map[string]int // by key
	gates map[string]bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, db: filepath.Join(t.TempDir(), "db"), calls: map[string]int{}, gates: map[string]bool{}}
}

func (w *world) open(gate string) {
	w.mu.Lock()
	w.gates[gate] = true
	w.mu.Unlock()
}

// call counts an act under its idempotency key.
func (w *world) call(c op.Call) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[c.Step.Key]++
	return w.calls[c.Step.Key]
}

// kinds are the scripted kinds of steps; Args name a gate where one is waited for.
func (w *world) kinds() map[string]op.Kind {
	count := func(c op.Call) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			was, err := tx.Meta("did " + c.Step.Key)
			if err != nil {
				return err
			}
			return tx.SetMeta("did "+c.Step.Key, was+"x")
		}
	}
	return map[string]op.Kind{
		"act": op.KindFunc(func(_ context.Context, c op.Call) op.Result {
			w.call(c)
			return op.Done(count(c))
		}),
		// Waits once, then is done.
		"wait": op.KindFunc(func(_ context.Context, c op.Call) op.Result {
			if w.call(c) == 1 {
				return op.Wait("something", time.Now().Add(time.Minute))
			}
			return op.Done(count(c))
		}),
		// Fails in passing once, then is done.
		"retry": op.KindFunc(func(_ context.Context, c op.Call) op.Result {
			if w.call(c) == 1 {
				return op.Retry(time.Millisecond, errors.New("busy"))
			}
			return op.Done(count(c))
		}),
		"busy": op.KindFunc(func(_ context.Context, c op.Call) op.Result {
			return op.Retry(time.Millisecond, fmt.Errorf("busy the %d. time", w.call(c)))
		}),
		// Fails until its gate is open.
		"gate": op.KindFunc(func(_ context.Context, c op.Call) op.Result {
			w.call(c)
			w.mu.Lock()
			defer w.mu.Unlock()
			if !w.gates[gateOf(c)] {
				return op.Fail(errors.New("gate " + gateOf(c) + " is closed"))
			}
			return op.Done(count(c))
		}),
		// Waits for its gate.
		"await": op.KindFunc(func(_ context.Context, c op.Call) op.Result {
			w.call(c)
			w.mu.Lock()
			defer w.mu.Unlock()
			if !w.gates[gateOf(c)] {
				return op.Wait("gate "+gateOf(c), time.Now().Add(time.Minute))
			}
			return op.Done(count(c))
		}),
		// Takes until its gate opens to say that it waits.
		"ask": op.KindFunc(func(ctx context.Context, c op.Call) op.Result {
			w.call(c)
			for ctx.Err() == nil {
				w.mu.Lock()
				open := w.gates[gateOf(c)]
				w.mu.Unlock()
				if open {
					break
				}
				time.Sleep(2 * time.Millisecond)
			}
			return op.Wait("a thing that never comes", time.Now().Add(time.Minute))
		}),
		// Says that it waits for its turn until its gate opens.
		"turn": op.KindFunc(func(ctx context.Context, c op.Call) op.Result {
			w.call(c)
			c.Waits(true)
			for ctx.Err() == nil {
				w.mu.Lock()
				open := w.gates[gateOf(c)]
				w.mu.Unlock()
				if open {
					c.Waits(false)
					return op.Done(count(c))
				}
				time.Sleep(2 * time.Millisecond)
			}
			return op.Fail(ctx.Err())
		}),
		"late": op.KindFunc(func(context.Context, op.Call) op.Result {
			return op.Wait("a thing that never comes", time.Now().Add(80*time.Millisecond))
		}),
		// Acts until its gate opens, whatever becomes of its operation.
		"slow": op.KindFunc(func(ctx context.Context, c op.Call) op.Result {
			w.call(c)
			for ctx.Err() == nil {
				w.mu.Lock()
				open := w.gates[gateOf(c)]
				w.mu.Unlock()
				if open {
					return op.Done(count(c))
				}
				time.Sleep(2 * time.Millisecond)
			}
			return op.Fail(ctx.Err())
		}),
	}
}

func gateOf(c op.Call) string { return strings.Trim(c.Step.Args, `"`) }

// server is one life of a server: a database and an engine.
type server struct {
	w      *world
	store  *store.Store
	engine *op.Engine
	cancel context.CancelFunc
	done   chan struct{}
	stir   sync.WaitGroup

	mu     sync.Mutex
	points []string
	dieAt  int // number of the crash point; 0 never
	dead   bool
}

// start begins a life; it dies at the n-th crash point.
func (w *world) start(plan op.Planner, dieAt int) *server {
	w.t.Helper()
	st, err := store.Open(context.Background(), store.Config{Path: w.db})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{w: w, store: st, cancel: cancel, done: make(chan struct{}), dieAt: dieAt}
	kinds := map[string]op.Kind{}
	for name, k := range w.kinds() {
		kinds[name] = op.KindFunc(func(ctx context.Context, c op.Call) op.Result {
			s.crash("") // the dead act no more
			return k.Do(ctx, c)
		})
	}
	s.engine = op.New(op.Config{Store: st, Kinds: kinds, Plan: plan, Crash: s.crash})
	if w.room > 0 {
		s.engine.SetRoom(w.room)
	}
	go func() {
		defer close(s.done)
		_ = s.engine.Run(ctx)
	}()
	if w.busy {
		s.stir.Go(func() { s.change(ctx) })
	}
	return s
}

// crash ends the calling goroutine, and with it the engine, at the chosen point.
func (s *server) crash(point string) {
	s.mu.Lock()
	if point != "" && point != "look" && !s.dead { // how often it looks is a matter of luck
		s.points = append(s.points, point)
		s.dead = len(s.points) == s.dieAt
	}
	dead := s.dead
	s.mu.Unlock()
	if dead {
		s.cancel()
		runtime.Goexit()
	}
}

// change rouses whatever waits, until the life ends.
func (s *server) change(ctx context.Context) {
	for ctx.Err() == nil {
		_ = s.store.Update(ctx, func(tx *store.Tx) error {
			tx.Touch(store.ClusterTopic(clusterID))
			return nil
		})
		time.Sleep(20 * time.Millisecond)
	}
}

// stop ends the life and closes the database.
func (s *server) stop() {
	s.w.t.Helper()
	s.cancel()
	<-s.done
	s.stir.Wait()
	if err := s.store.Close(); err != nil {
		s.w.t.Fatal(err)
	}
}

func (s *server) submit(kind string) int64 {
	s.w.t.Helper()
	return s.submitTo(clusterID, kind)
}

func (s *server) submitTo(cluster, kind string) int64 {
	s.w.t.Helper()
	var id int64
	err := s.store.Update(context.Background(), func(tx *store.Tx) (err error) {
		id, err = op.Submit(tx, store.Operation{Cluster: cluster, Name: "c", Kind: kind})
		return err
	})
	if err != nil {
		s.w.t.Fatal(err)
	}
	return id
}

func (s *server) get(id int64) (o store.Operation, steps []store.Step) {
	s.w.t.Helper()
	err := s.store.View(context.Background(), func(tx *store.Tx) (err error) {
		if o, err = tx.Operation(id); err != nil {
			return err
		}
		steps, err = tx.Steps(id)
		return err
	})
	if err != nil {
		s.w.t.Fatal(err)
	}
	return o, steps
}

// until waits for an operation's state.
func (s *server) until(id int64, want api.OperationState) (store.Operation, []store.Step) {
	s.w.t.Helper()
	return s.untilTrue(fmt.Sprintf("operation %d is %s", id, want), id, func(o store.Operation, _ []store.Step) bool { return o.State == want })
}

// waits waits until the first of an operation's n steps waits.
func (s *server) waits(id int64, n int) []store.Step {
	s.w.t.Helper()
	_, steps := s.untilTrue("the first step waits", id, func(_ store.Operation, steps []store.Step) bool {
		return len(steps) == n && steps[0].State == api.StepWaiting
	})
	return steps
}

func (s *server) untilTrue(what string, id int64, ok func(store.Operation, []store.Step) bool) (store.Operation, []store.Step) {
	s.w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		o, steps := s.get(id)
		if ok(o, steps) {
			return o, steps
		}
		if time.Now().After(deadline) {
			s.w.t.Fatalf("never: %s; it is %s (%s): %s", what, o.State, o.Reason, shown(steps))
		}
	}
}

// shown lists steps as title=state.
func shown(steps []store.Step) string {
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = s.Title + "=" + string(s.State)
	}
	return strings.Join(out, " ")
}

// steps makes a planner of lines "title kind gate after,after"; "-" is no gate, and
// a kind with "?" makes an optional step.
func steps(lines ...string) op.Planner {
	return func(*store.Tx, store.Operation) ([]op.StepSpec, error) {
		at := map[string]int{}
		var out []op.StepSpec
		for i, l := range lines {
			f := strings.Fields(l)
			kind, optional := strings.CutSuffix(f[1], "?")
			spec := op.StepSpec{Title: f[0], Kind: kind, Phase: "nodes", Args: `"` + f[2] + `"`, Optional: optional}
			if len(f) > 3 {
				for a := range strings.SplitSeq(f[3], ",") {
					spec.After = append(spec.After, at[a])
				}
			}
			at[f[0]] = i
			out = append(out, spec)
		}
		return out, nil
	}
}

// did tells how often the result of each step was committed.
func (s *server) did(steps []store.Step) map[string]int {
	s.w.t.Helper()
	out := map[string]int{}
	err := s.store.View(context.Background(), func(tx *store.Tx) error {
		for _, st := range steps {
			v, err := tx.Meta("did " + st.Key)
			if err != nil {
				return err
			}
			out[st.Title] = len(v)
		}
		return nil
	})
	if err != nil {
		s.w.t.Fatal(err)
	}
	return out
}

// events counts the events of a type by message.
func (s *server) events(kind string) map[string]int {
	s.w.t.Helper()
	out := map[string]int{}
	for _, message := range s.said(kind) {
		out[message]++
	}
	return out
}

// said lists the messages of the events of a type, oldest first.
func (s *server) said(kind string) (messages []string) {
	s.w.t.Helper()
	err := s.store.View(context.Background(), func(tx *store.Tx) error {
		es, err := tx.Events(0, "", 0, 10000)
		for _, e := range es {
			if e.Type == kind {
				messages = append(messages, e.Message)
			}
		}
		return err
	})
	if err != nil {
		s.w.t.Fatal(err)
	}
	return messages
}
