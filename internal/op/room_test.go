package op_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/store"
)

// room is how many steps may act at once here, and more is more than that.
const room, more = 20, 30

// many plans so many steps of a kind with a gate, and nothing else.
func many(n int, kind, gate string) op.Planner {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("%d %s %s", i, kind, gate)
	}
	return steps(lines...)
}

// begun counts the steps of the world that were called.
func (w *world) begun() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.calls)
}

// TestRoom: so many steps act at once and no more, the first of them first; the others
// follow. What an operation has not begun is dropped with it.
func TestRoom(t *testing.T) {
	for _, cancel := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.room = room
			s := w.start(many(more, "slow", "A"), 0)
			defer s.stop()
			id := s.submit("apply")
			time.Sleep(time.Second)
			if n := w.begun(); n != room {
				t.Fatalf("%d steps act at once, want %d", n, room)
			}
			_, sts := s.get(id)
			for i, st := range sts {
				if begun := st.State == api.StepDoing; begun != (i < room) {
					t.Fatalf("step %d is %s", i, st.State)
				}
			}
			if cancel {
				if err := s.engine.Cancel(context.Background(), id); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
			w.open("A")
			want, done := api.OperationDone, more
			if cancel {
				want, done = api.OperationCancelled, room
			}
			_, sts = s.until(id, want)
			if n := w.begun(); n != done {
				t.Errorf("%d steps acted, want %d", n, done)
			}
			did := s.did(sts)
			for i, st := range sts {
				if wanted := i < done; (st.State == api.StepDone) != wanted || (did[st.Title] == 1) != wanted || did[st.Title] > 1 {
					t.Errorf("step %d is %s and was recorded %d times", i, st.State, did[st.Title])
				}
			}
		})
	}
}

// TestWaitingTakesNoRoom: however many steps wait, others act.
func TestWaitingTakesNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.room = 2
		s := w.start(many(10, "await", "A"), 0)
		defer s.stop()
		id := s.submit("apply")
		s.untilTrue("all wait", id, func(_ store.Operation, sts []store.Step) bool {
			return len(sts) == 10 && !slices.ContainsFunc(sts, func(st store.Step) bool { return st.State != api.StepWaiting })
		})
		w.open("A")
		_, sts := s.until(id, api.OperationDone)
		for title, n := range s.did(sts) {
			if n != 1 {
				t.Errorf("step %s was recorded %d times", title, n)
			}
		}
	})
}

// TestUnderWayFirst: what a step was for is done before others of its kind begin.
func TestUnderWayFirst(t *testing.T) {
	w := newWorld(t)
	w.room = 1
	s := w.start(steps("a1 act -", "b1 act -", "c1 act -", "a2 act - a1", "b2 act - b1", "c2 act - c1"), 0)
	defer s.stop()
	s.until(s.submit("apply"), api.OperationDone)
	if diff := cmp.Diff([]string{"a1", "a2", "b1", "b2", "c1", "c2"}, s.said("step.done")); diff != "" {
		t.Error(diff)
	}
}

// TestUnderWayFirstAfterRestart: a server that begins goes on with what another left half
// done.
func TestUnderWayFirstAfterRestart(t *testing.T) {
	w := newWorld(t)
	w.room = 1
	lanes := steps("a1 act -", "b1 act -", "c1 act -", "a2 act - a1", "b2 act - b1", "c2 act - c1")
	s := w.start(lanes, 7) // looks, plans, begins a1, records it, begins a2
	s.submit("apply")
	<-s.done
	said := s.said("step.done")
	s.stop()
	if diff := cmp.Diff([]string{"a1"}, said); diff != "" {
		t.Fatal(diff)
	}
	s = w.start(lanes, 0)
	defer s.stop()
	s.until(1, api.OperationDone)
	if diff := cmp.Diff([]string{"a1", "a2", "b1", "b2", "c1", "c2"}, s.said("step.done")); diff != "" {
		t.Error(diff)
	}
}

// TestTurnTakesNoRoom: what waits for its turn at a driver lets others act, and can be
// dropped; the room is whole again after it.
func TestTurnTakesNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.room = 1
		of := map[string]op.Planner{"turns": many(5, "turn", "A"), "slow": many(3, "slow", "B")}
		s := w.start(func(tx *store.Tx, o store.Operation) ([]op.StepSpec, error) { return of[o.Kind](tx, o) }, 0)
		defer s.stop()
		turns := s.submitTo("one", "turns")
		time.Sleep(time.Second)
		if n := w.begun(); n != 5 {
			t.Fatalf("%d steps of 5 wait for their turn", n)
		}
		slow := s.submitTo("other", "slow")
		time.Sleep(time.Second)
		if n := w.begun(); n != 6 {
			t.Fatalf("%d steps act beside those that wait for their turn, want 1", n-5)
		}
		if err := s.engine.Cancel(context.Background(), turns); err != nil {
			t.Fatal(err)
		}
		s.until(turns, api.OperationCancelled)
		if n := w.begun(); n != 6 {
			t.Errorf("%d more began", n-6)
		}
		w.open("B")
		s.until(slow, api.OperationDone)
	})
}

// TestQueuedAreDropped: an operation none of whose steps has begun ends at once, however
// long others act.
func TestQueuedAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.room = 2
		s := w.start(many(2, "slow", "A"), 0)
		defer s.stop()
		first := s.submitTo("one", "apply")
		time.Sleep(time.Second)
		second := s.submitTo("other", "apply")
		time.Sleep(time.Second)
		if err := s.engine.Cancel(context.Background(), second); err != nil {
			t.Fatal(err)
		}
		s.until(second, api.OperationCancelled)
		if o, _ := s.get(first); o.State != api.OperationRunning || w.begun() != 2 {
			t.Errorf("the first is %s, %d steps began", o.State, w.begun())
		}
		w.open("A")
		s.until(first, api.OperationDone)
	})
}

// TestFewNotBehindMany: an operation of few steps goes on beside one of many.
func TestFewNotBehindMany(t *testing.T) {
	w := newWorld(t)
	w.room = 1
	of := map[string]op.Planner{"many": many(200, "act", "-"), "few": steps("few act -")}
	s := w.start(func(tx *store.Tx, o store.Operation) ([]op.StepSpec, error) { return of[o.Kind](tx, o) }, 0)
	defer s.stop()
	long := s.submitTo("one", "many")
	s.untilTrue("some are done", long, func(_ store.Operation, sts []store.Step) bool {
		return slices.ContainsFunc(sts, func(st store.Step) bool { return st.State == api.StepDone })
	})
	s.until(s.submitTo("other", "few"), api.OperationDone)
	s.until(long, api.OperationDone)
	said := s.said("step.done")
	if at := slices.Index(said, "few"); at < 0 || at > 150 {
		t.Errorf("the short operation was number %d of %d steps", at+1, len(said))
	}
}
