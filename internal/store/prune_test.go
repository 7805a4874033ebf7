package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/store"
)

// prune prunes until nothing is left to remove; it returns how often it had to.
func prune(t *testing.T, s *store.Store, k store.Keep) int {
	t.Helper()
	for n := 1; ; n++ {
		more := false
		update(t, s, func(tx *store.Tx) error {
			var err error
			more, err = tx.Prune(k)
			return err
		})
		if !more {
			return n
		}
		if n > 100 {
			t.Fatal("pruning has no end")
		}
	}
}

// TestPruneEvents: the newest stay, whatever their age; a transaction removes
// a bounded number.
func TestPruneEvents(t *testing.T) {
	s := fresh(t)
	update(t, s, func(tx *store.Tx) error {
		for range 1300 {
			if err := tx.Event(api.Event{Type: "x", Message: "m"}); err != nil {
				return err
			}
		}
		return nil
	})
	keep := store.Keep{Events: 100, Operations: 1, Revisions: 1}
	if n := prune(t, s, keep); n != 3 {
		t.Errorf("1,200 events are removed in %d transactions", n)
	}
	view(t, s, func(tx *store.Tx) error {
		es, err := tx.Events(0, "", 0, 1000)
		if err != nil || len(es) != 100 || es[0].ID != 1201 {
			t.Errorf("%d events are left, first %d: %v", len(es), es[0].ID, err)
		}
		return nil
	})
	prune(t, s, keep)
	view(t, s, func(tx *store.Tx) error {
		if last, err := tx.LastEvent(); last != 1300 || err != nil {
			t.Errorf("the newest event is %d: %v", last, err)
		}
		return nil
	})
}

// TestPruneOperations: of each cluster the newest ended ones stay, of clusters
// that are gone as many together, and all that are open; steps go along.
func TestPruneOperations(t *testing.T) {
	s := fresh(t)
	cluster(t, s, "a")
	cluster(t, s, "b")
	var ids []int64
	states := []api.OperationState{api.OperationDone, api.OperationCancelled, api.OperationSuperseded, api.OperationAbandoned, api.OperationFailed, api.OperationQueued, api.OperationRunning}
	update(t, s, func(tx *store.Tx) error {
		for _, of := range []string{"a", "b", "gone1", "gone2"} {
			for _, st := range states {
				id, err := tx.InsertOperation(store.Operation{Cluster: of, Name: of, Kind: "apply", State: st, Args: "{}"})
				if err != nil {
					return err
				}
				first, err := tx.InsertStep(store.Step{Operation: id, State: api.StepDone})
				if err != nil {
					return err
				}
				if _, err := tx.InsertStep(store.Step{Operation: id, State: api.StepDone, After: []int64{first}}); err != nil {
					return err
				}
				ids = append(ids, id)
			}
		}
		return nil
	})
	prune(t, s, store.Keep{Events: 1, Operations: 2, Revisions: 1})
	var want, got []int64
	for i, id := range ids {
		of, state := i/len(states), i%len(states)
		if state >= 2 && of != 2 || state >= 4 { // the two newest ended ones of a, b, and of gone1 and gone2 together
			want = append(want, id)
		}
	}
	view(t, s, func(tx *store.Tx) error {
		os, err := tx.Operations("", 100)
		if err != nil {
			return err
		}
		for _, o := range os {
			got = append(got, o.ID)
		}
		for _, id := range ids {
			steps, err := tx.Steps(id)
			if err != nil || len(steps) > 0 != slices.Contains(got, id) {
				t.Errorf("operation %d has %d steps: %v", id, len(steps), err)
			}
		}
		return nil
	})
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
}

// TestPruneRevisions: what a node is rendered with, what was tested and the
// newest stay; so do the stacks of all of them, and of open operations.
func TestPruneRevisions(t *testing.T) {
	s := fresh(t)
	cluster(t, s, "a")
	update(t, s, func(tx *store.Tx) error {
		for i := range int64(10) {
			digest := fmt.Sprintf("d%d", i+1)
			doc := map[string]string{"stackDigest": digest}
			if err := errors.Join(tx.PutRevision("a", i+1, doc), tx.PutStack(digest, "s", nil)); err != nil {
				return err
			}
		}
		for _, o := range []store.Operation{{State: api.OperationFailed, Args: `{"stackDigest":"asked"}`}, {State: api.OperationDone, Args: `{"stackDigest":"past"}`}, {State: api.OperationQueued, Args: ""}} {
			o.Cluster = "a"
			if _, err := tx.InsertOperation(o); err != nil {
				return err
			}
		}
		if err := errors.Join(tx.PutStack("asked", "s", nil), tx.PutStack("past", "s", nil)); err != nil {
			return err
		}
		n, err := tx.Node("a-n1")
		if err != nil {
			return err
		}
		n.Revision = 3
		m := n
		m.ID, m.Name, m.Ordinal, m.Address, m.Revision = "a-n3", "n3", 3, "10.9.9.9", 4
		return errors.Join(tx.PutNode(n), tx.PutNode(m),
			tx.PutCluster(store.Cluster{ID: "a", Name: "name of a", Infrastructure: "local", Intent: agentapi.IntentRun, Created: tx.Now(), Revision: 10, Smoked: 6}))
	})
	prune(t, s, store.Keep{Events: 1, Operations: 9, Revisions: 2})
	want := map[int64]bool{3: true, 4: true, 6: true, 9: true, 10: true}
	view(t, s, func(tx *store.Tx) error {
		for i := int64(1); i <= 10; i++ {
			var doc map[string]string
			err := tx.Revision("a", i, &doc)
			_, _, stackErr := tx.Stack(fmt.Sprintf("d%d", i))
			if want[i] != (err == nil) || want[i] != (stackErr == nil) || err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("revision %d: %v; its stack: %v", i, err, stackErr)
			}
		}
		if _, _, err := tx.Stack("asked"); err != nil {
			t.Errorf("the stack of an open operation: %v", err)
		}
		if _, _, err := tx.Stack("past"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the stack of an operation that has ended: %v", err)
		}
		return nil
	})
}

// TestPruneTokens: only what can be used stays.
func TestPruneTokens(t *testing.T) {
	s := fresh(t)
	cluster(t, s, "a")
	update(t, s, func(tx *store.Tx) error {
		return errors.Join(tx.PutToken("old", "a-n1", tx.Now().Add(-time.Second)), tx.PutToken("new", "a-n1", tx.Now().Add(time.Hour)))
	})
	prune(t, s, store.Keep{Events: 1, Operations: 1, Revisions: 1})
	update(t, s, func(tx *store.Tx) error {
		if ok, err := tx.TakeToken("new", "a-n1"); !ok || err != nil {
			t.Errorf("a token that is good is gone: %v", err)
		}
		return nil
	})
}
