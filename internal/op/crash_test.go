package op_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/store"
)

var platform = steps("first act -", "left wait - first", "right retry - first", "last act - left,right")

// finished checks an operation that went through whatever happened: each
// step's result was committed once and said once, and all that a step did to
// the world it did under one key.
func finished(t *testing.T, s *server, id int64) {
	t.Helper()
	_, steps := s.until(id, api.OperationDone)
	want := map[string]int{"first": 1, "left": 1, "right": 1, "last": 1}
	if diff := cmp.Diff(want, s.did(steps)); diff != "" {
		t.Errorf("results committed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, s.events("step.done")); diff != "" {
		t.Errorf("steps done (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"apply of c done": 1}, s.events("operation.done")); diff != "" {
		t.Error(diff)
	}
	keys := map[string]bool{}
	for _, st := range steps {
		keys[st.Key] = true
		if st.State != api.StepDone {
			t.Errorf("%s is %s", st.Title, st.State)
		}
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for key := range s.w.calls {
		if !keys[key] {
			t.Errorf("the world saw %s, which is no step's key", key)
		}
	}
}

// TestCrash kills the engine at every point before and after every commit; a
// new one on the same database finishes. So it does where one step acts at a time.
func TestCrash(t *testing.T) {
	w := newWorld(t)
	w.busy = true
	s := w.start(platform, 0)
	finished(t, s, s.submit("apply"))
	s.stop()
	points := len(s.points)
	if points < 4*4+2 {
		t.Fatalf("only %d crash points: %v", points, s.points)
	}
	for n := 1; n <= points; n++ {
		for _, room := range []int{0, 1} {
			t.Run(fmt.Sprintf("%d %s room %d", n, s.points[n-1], room), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.busy, w.room = true, room
				s := w.start(platform, n)
				id := s.submit("apply")
				<-s.done
				s.stop()
				s = w.start(platform, 0)
				defer s.stop()
				finished(t, s, id)
			})
		}
	}
}

// TestCrashAgainAndAgain kills every engine after a few points.
func TestCrashAgainAndAgain(t *testing.T) {
	for _, every := range []int{5, 7} {
		w := newWorld(t)
		w.busy = true
		s := w.start(platform, every)
		id := s.submit("apply")
		lives := 1
		for ; lives < 50; lives++ {
			<-s.done
			o, _ := s.get(id)
			s.stop()
			if o.State == api.OperationDone {
				break
			}
			dieAt := every
			if lives > 20 {
				dieAt = 0
			}
			s = w.start(platform, dieAt)
			if dieAt == 0 || lives > 2 {
				break
			}
		}
		if lives < 2 {
			t.Errorf("died %d times only", lives)
		}
		s.mu.Lock()
		s.dieAt = 0
		dead := s.dead
		s.mu.Unlock()
		if dead {
			s.stop()
			s = w.start(platform, 0)
		}
		finished(t, s, id)
		s.stop()
	}
}

// TestPlanOnce: a plan that was made is not made again.
func TestPlanOnce(t *testing.T) {
	w := newWorld(t)
	w.busy = true
	s := w.start(platform, 2) // plan:before, plan:after
	id := s.submit("apply")
	<-s.done
	o, steps := s.get(id)
	if !o.Planned || o.State != api.OperationRunning || len(steps) != 4 {
		t.Errorf("%+v %s", o, shown(steps))
	}
	s.stop()
	s = w.start(nil, 0) // a second call of the planner would panic
	defer s.stop()
	finished(t, s, id)
	if n := s.events("operation.started")["apply of c started with 4 steps"]; n != 1 {
		t.Errorf("started %d times", n)
	}
	_, _ = s.untilTrue("times", id, func(o store.Operation, _ []store.Step) bool { return o.Started != nil && o.Finished != nil })
}
