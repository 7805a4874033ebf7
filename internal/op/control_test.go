package op_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/store"
)

func life(t *testing.T, lines ...string) (*world, *server) {
	t.Helper()
	w := newWorld(t)
	s := w.start(steps(lines...), 0)
	t.Cleanup(s.stop)
	return w, s
}

func expect(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}

// TestFailureStopsItsLane: what does not come after it goes on.
func TestFailureStopsItsLane(t *testing.T) {
	ctx := context.Background()
	w, s := life(t, "a gate A", "b act - a", "c act -", "d act - c")
	id := s.submit("apply")
	o, sts := s.until(id, api.OperationFailed)
	if o.Reason != "a: gate A is closed" || shown(sts) != "a=failed b=todo c=done d=done" {
		t.Errorf("%q %s", o.Reason, shown(sts))
	}
	expect(t, s.engine.Retry(ctx, id, sts[2].ID), "not possible now: operation 1 has no such failed step")
	expect(t, s.engine.Skip(ctx, id, 0), "not possible now: say which step to skip")
	expect(t, s.engine.Retry(ctx, 99, 0), "operation 99: not found")

	// Mended, it goes on where it stopped.
	w.open("A")
	if err := s.engine.Retry(ctx, id, 0); err != nil {
		t.Fatal(err)
	}
	_, sts = s.until(id, api.OperationDone)
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 1, "c": 1, "d": 1}, s.did(sts)); diff != "" {
		t.Error(diff)
	}
	expect(t, s.engine.Retry(ctx, id, 0), "not possible now: operation 1 is done, not failed")
	expect(t, s.engine.Cancel(ctx, id), "not possible now: operation 1 is done")
	expect(t, s.engine.Abandon(ctx, id), "not possible now: operation 1 is done")
}

func TestSkip(t *testing.T) {
	_, s := life(t, "a gate A", "b act - a")
	id := s.submit("apply")
	_, sts := s.until(id, api.OperationFailed)
	if err := s.engine.Skip(context.Background(), id, sts[0].ID); err != nil {
		t.Fatal(err)
	}
	_, sts = s.until(id, api.OperationDone)
	if shown(sts) != "a=skipped b=done" {
		t.Error(shown(sts))
	}
}

func TestAbandon(t *testing.T) {
	_, s := life(t, "a act -", "b gate B a", "c act - b")
	id := s.submit("apply")
	s.until(id, api.OperationFailed)
	if err := s.engine.Abandon(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	o, sts := s.until(id, api.OperationAbandoned)
	if o.Finished == nil || shown(sts) != "a=done b=failed c=todo" {
		t.Errorf("%v %s", o.Finished, shown(sts))
	}
}

func TestRetriesAreBounded(t *testing.T) {
	w, s := life(t, "a busy -")
	id := s.submit("apply")
	o, sts := s.until(id, api.OperationFailed)
	if want := "a: gave up after 10 tries: busy the 10. time"; o.Reason != want {
		t.Errorf("%q, want %q", o.Reason, want)
	}
	if n := w.calls[sts[0].Key]; n != 10 {
		t.Errorf("tried %d times", n)
	}
	// A retry by a person has all its tries again.
	if err := s.engine.Retry(context.Background(), id, 0); err != nil {
		t.Fatal(err)
	}
	s.untilTrue("ten more tries", id, func(o store.Operation, _ []store.Step) bool {
		return o.State == api.OperationFailed && strings.Contains(o.Reason, "busy the 20. time")
	})
}

func TestWaitHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := life(t, "a late -")
		o, sts := s.until(s.submit("apply"), api.OperationFailed)
		if want := "a: waited 0s for: a thing that never comes"; o.Reason != want || sts[0].State != api.StepFailed {
			t.Errorf("%q, want %q", o.Reason, want)
		}
		if n := s.events("step.waiting")["a: waiting for a thing that never comes"]; n != 1 {
			t.Errorf("%d events say that it waits", n)
		}
	})
}

// TestDeadlineAfterRestart: a wait that a restart cut short has its time
// again, and an end.
func TestDeadlineAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.start(steps("a late -"), 0)
		id := s.submit("apply")
		s.waits(id, 1)
		s.stop()
		s = w.start(nil, 0)
		defer s.stop()
		o, _ := s.until(id, api.OperationFailed)
		if !strings.HasSuffix(o.Reason, "for: a thing that never comes") {
			t.Error(o.Reason)
		}
	})
}

// TestWaitIsRoused: a change of the cluster asks a waiting step at once.
func TestWaitIsRoused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := life(t, "a await A", "b act - a")
		id := s.submit("apply")
		sts := s.waits(id, 2)
		if sts[0].Waiting != "gate A" || sts[0].Until == nil {
			t.Errorf("%+v", sts[0])
		}
		w.open("A")
		began := time.Now()
		if err := s.store.Update(context.Background(), func(tx *store.Tx) error {
			tx.Touch(store.ClusterTopic(clusterID))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		s.until(id, api.OperationDone)
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// TestSupersede: a newer operation ends what waits, lets finish what acts,
// drops what has not begun, and only then begins.
func TestSupersede(t *testing.T) {
	w, s := life(t, "a await A", "b slow B", "c act - a,b")
	first := s.submit("apply")
	s.untilTrue("both work", first, func(_ store.Operation, sts []store.Step) bool {
		return len(sts) == 3 && sts[0].State == api.StepWaiting && sts[1].State == api.StepDoing
	})
	second := s.submit("apply")
	time.Sleep(50 * time.Millisecond)
	if o, sts := s.get(second); len(sts) > 0 || o.State != api.OperationQueued {
		t.Errorf("the second is %s while the first still acts: %s", o.State, shown(sts))
	}
	w.open("B")
	o, sts := s.until(first, api.OperationSuperseded)
	if o.Reason != "superseded by operation 2" || shown(sts) != "a=skipped b=done c=skipped" || o.Finished == nil {
		t.Errorf("%q %s", o.Reason, shown(sts))
	}
	w.open("A")
	s.until(second, api.OperationDone)
	if n := w.calls[sts[1].Key]; n != 1 {
		t.Errorf("b acted %d times", n)
	}
}

// TestSupersedeQueuedAndFailed: what does not run ends at once.
func TestSupersedeQueuedAndFailed(t *testing.T) {
	w, s := life(t, "a gate A")
	first := s.submit("apply")
	s.until(first, api.OperationFailed)
	w.open("A")
	second := s.submit("stop")
	if o, _ := s.get(first); o.State != api.OperationSuperseded || o.Reason != "superseded by operation 2" {
		t.Errorf("%s %s", o.State, o.Reason)
	}
	s.until(second, api.OperationDone)
}

func TestCancel(t *testing.T) {
	_, s := life(t, "a await A", "b act - a")
	id := s.submit("apply")
	s.waits(id, 2)
	if err := s.engine.Cancel(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	o, sts := s.until(id, api.OperationCancelled)
	if o.Reason != "cancelled by request" || shown(sts) != "a=skipped b=skipped" {
		t.Errorf("%q %s", o.Reason, shown(sts))
	}
	if n := s.events("operation.cancelled")["apply of c: cancelled by request"]; n != 1 {
		t.Errorf("%v", s.events("operation.cancelled"))
	}
}

// TestCancelSurvivesRestart: what is to stop stops, whoever runs it.
func TestCancelSurvivesRestart(t *testing.T) {
	w := newWorld(t)
	s := w.start(steps("a await A"), 0)
	id := s.submit("apply")
	s.waits(id, 1)
	s.cancel()
	<-s.done
	if err := s.engine.Cancel(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s = w.start(nil, 0)
	defer s.stop()
	s.until(id, api.OperationCancelled)
}

func TestUnknownKind(t *testing.T) {
	_, s := life(t, "a dance -")
	o, _ := s.until(s.submit("apply"), api.OperationFailed)
	if want := "a: this howdah knows no step of kind dance"; o.Reason != want {
		t.Errorf("%q, want %q", o.Reason, want)
	}
}

// TestPlannerFails: nothing the planner wrote stays, and a retry plans anew.
func TestPlannerFails(t *testing.T) {
	w := newWorld(t)
	fail := true
	s := w.start(func(tx *store.Tx, o store.Operation) ([]op.StepSpec, error) {
		if err := tx.SetMeta("planned", "yes"); err != nil {
			return nil, err
		}
		if fail {
			return nil, errors.New("no room")
		}
		return steps("a act -")(tx, o)
	}, 0)
	defer s.stop()
	id := s.submit("apply")
	o, _ := s.until(id, api.OperationFailed)
	if o.Reason != "cannot plan: no room" || o.Planned {
		t.Errorf("%q planned %v", o.Reason, o.Planned)
	}
	if err := s.store.View(context.Background(), func(tx *store.Tx) error {
		if v, err := tx.Meta("planned"); err != nil || v != "" {
			t.Errorf("what the planner wrote is there: %q %v", v, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	fail = false
	if err := s.engine.Retry(context.Background(), id, 0); err != nil {
		t.Fatal(err)
	}
	s.until(id, api.OperationDone)
}

// TestEmptyPlan: an operation without steps is done.
func TestEmptyPlan(t *testing.T) {
	_, s := life(t)
	s.until(s.submit("apply"), api.OperationDone)
}

// TestCancelWhileAsked: a step that is just being asked when its operation is
// cancelled does not go on waiting.
func TestCancelWhileAsked(t *testing.T) {
	w, s := life(t, "a ask A")
	id := s.submit("apply")
	s.untilTrue("a is asked", id, func(store.Operation, []store.Step) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.calls) > 0
	})
	if err := s.engine.Cancel(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the engine looks while it is asked
	w.open("A")
	s.until(id, api.OperationCancelled)
}
