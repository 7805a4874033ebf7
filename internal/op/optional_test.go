package op_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
)

// TestOptional: an operation goes on without its optional steps and says so. Those
// fail as others do: at once, by their deadline, after all tries.
func TestOptional(t *testing.T) {
	_, s := life(t, "a gate? A", "b gate? B a", "c late? -", "d busy? -", "e act - b,c,d")
	o, sts := s.until(s.submit("apply"), api.OperationDone)
	if want := "a=skipped b=skipped c=skipped d=skipped e=done"; shown(sts) != want {
		t.Errorf("%s, want %s", shown(sts), want)
	}
	reason := "without: a: gate A is closed; c: waited 0s for: a thing that never comes; d: gave up after 10 tries: busy the 10. time"
	if o.Reason != reason {
		t.Errorf("%q, want %q", o.Reason, reason)
	}
	want := map[string]int{
		"a: gate A is closed; going on without it":                          1,
		"b: gate B is closed; going on without it":                          1,
		"c: waited 0s for: a thing that never comes; going on without it":   1,
		"d: gave up after 10 tries: busy the 10. time; going on without it": 1,
	}
	if diff := cmp.Diff(want, s.events("step.skipped")); diff != "" {
		t.Error(diff)
	}
	if n := s.events("operation.done")["apply of c done "+reason]; n != 1 {
		t.Errorf("%v", s.events("operation.done"))
	}
}

// TestOptionalIsRetried: a retry of what failed tries again what the operation went
// on without.
func TestOptionalIsRetried(t *testing.T) {
	w, s := life(t, "a gate? A", "b gate B a", "c gate? C", "d act - b")
	id := s.submit("apply")
	o, sts := s.until(id, api.OperationFailed)
	if o.Reason != "b: gate B is closed" || shown(sts) != "a=skipped b=failed c=skipped d=todo" {
		t.Errorf("%q %s", o.Reason, shown(sts))
	}
	w.open("A")
	w.open("B")
	if err := s.engine.Retry(context.Background(), id, 0); err != nil {
		t.Fatal(err)
	}
	o, sts = s.until(id, api.OperationDone)
	if o.Reason != "without: c: gate C is closed" || shown(sts) != "a=done b=done c=skipped d=done" {
		t.Errorf("%q %s", o.Reason, shown(sts))
	}
}
