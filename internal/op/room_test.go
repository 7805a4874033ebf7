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
