package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/sqlite"
	"howdah.dev/howdah/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func fresh(t *testing.T) *store.Store { return open(t, filepath.Join(t.TempDir(), "db")) }

func update(t *testing.T, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.View(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// cluster puts a cluster with nodes n1, n2 into a store.
func cluster(t *testing.T, s *store.Store, id string) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error {
		if err := tx.PutCluster(store.Cluster{ID: id, Name: "name of " + id, Infrastructure: "local", Intent: agentapi.IntentRun, Created: tx.Now()}); err != nil {
			return err
		}
		for i := 1; i <= 2; i++ {
			if err := tx.PutNode(store.Node{
				ID: fmt.Sprintf("%s-n%d", id, i), Cluster: id, Name: fmt.Sprintf("n%d", i), Group: "g", Ordinal: i,
				Intent: agentapi.IntentNew, Infrastructure: "local", Address: fmt.Sprintf("%s.%d", id, i), Host: "h",
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestGroupCommit: updates that share a commit do not share their fate.
func TestGroupCommit(t *testing.T) {
	s := fresh(t)
	refused := errors.New("refused")
	hold, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // while this one runs, the others queue up into one group
		if err := s.Update(context.Background(), func(tx *store.Tx) error {
			close(held)
			<-hold
			return tx.SetMeta("first", "1")
		}); err != nil {
			t.Error(err)
		}
	})
	<-held
	const n = 40
	errs := make([]error, n)
	gone, cancel := context.WithCancel(context.Background())
	for i := range n {
		wg.Go(func() {
			ctx := context.Background()
			if i%4 == 3 {
				ctx = gone
			}
			errs[i] = s.Update(ctx, func(tx *store.Tx) error {
				if err := tx.SetMeta(fmt.Sprint("key ", i), "x"); err != nil {
					return err
				}
				switch i % 4 {
				case 1:
					return refused
				case 2: // fails inside the database; the transaction goes on
					return tx.PutNode(store.Node{ID: fmt.Sprint(i), Cluster: "no such cluster"})
				}
				return nil
			})
		})
	}
	time.Sleep(100 * time.Millisecond)
	cancel()
	close(hold)
	wg.Wait()
	view(t, s, func(tx *store.Tx) error {
		for i := range n {
			v, err := tx.Meta(fmt.Sprint("key ", i))
			if err != nil {
				return err
			}
			if kept := v != ""; kept != (errs[i] == nil) {
				t.Errorf("update %d returned %v, and its change is there: %v", i, errs[i], kept)
			}
			if i%4 == 0 && errs[i] != nil || i%4 == 1 && !errors.Is(errs[i], refused) || i%4 == 2 && errs[i] == nil || i%4 == 3 && !errors.Is(errs[i], context.Canceled) {
				t.Errorf("update %d: %v", i, errs[i])
			}
		}
		return nil
	})
}

// TestConcurrency: many writers and readers; every increment counts.
func TestConcurrency(t *testing.T) {
	s := fresh(t)
	var wg sync.WaitGroup
	const writers, rounds = 6, 10
	for range writers {
		wg.Go(func() {
			for range rounds {
				if err := s.Update(context.Background(), func(tx *store.Tx) error {
					v, err := tx.Meta("n")
					if err != nil {
						return err
					}
					return tx.SetMeta("n", v+"x")
				}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			last := 0
			for range rounds {
				if err := s.View(context.Background(), func(tx *store.Tx) error {
					v, err := tx.Meta("n")
					if len(v) < last {
						t.Errorf("went back from %d to %d", last, len(v))
					}
					last = len(v)
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	view(t, s, func(tx *store.Tx) error {
		v, err := tx.Meta("n")
		if len(v) != writers*rounds {
			t.Errorf("%d of %d increments", len(v), writers*rounds)
		}
		return err
	})
}

// TestCloseWhileBusy: an update is either durable or refused.
func TestCloseWhileBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s, err := store.Open(context.Background(), store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	kept := make([]bool, 100)
	for i := range kept {
		wg.Go(func() {
			kept[i] = s.Update(context.Background(), func(tx *store.Tx) error { return tx.SetMeta(fmt.Sprint(i), "x") }) == nil
		})
	}
	time.Sleep(5 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error("closing twice:", err)
	}
	wg.Wait()
	if err := s.Update(context.Background(), func(*store.Tx) error { return nil }); err == nil || err.Error() != "the store is closed" {
		t.Error(err)
	}
	if err := s.View(context.Background(), func(*store.Tx) error { t.Error("it is read"); return nil }); err == nil || err.Error() != "the store is closed" {
		t.Error(err)
	}
	again := open(t, path)
	view(t, again, func(tx *store.Tx) error {
		for i := range kept {
			if v, err := tx.Meta(fmt.Sprint(i)); err != nil || (v != "") != kept[i] {
				t.Errorf("update %d: said to be kept %v, is %q, %v", i, kept[i], v, err)
			}
		}
		return nil
	})
}

// TestNewerDatabase is refused, in words, and not touched.
func TestNewerDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s, err := store.Open(context.Background(), store.Config{Path: path, Version: "v9"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	execute(t, path, "INSERT INTO goose_db_version(version_id, is_applied) VALUES (9999, 1)")
	look, err := store.LookAt(context.Background(), path)
	if err != nil || look.Schema != 9999 || look.Newest >= 9999 || look.Writer != "v9" {
		t.Errorf("it looks like %+v, %v", look, err)
	}
	_, err = store.Open(context.Background(), store.Config{Path: path, Version: "v1"})
	want := fmt.Sprintf("database is newer than this howdah: %s has schema 9999, this binary knows %s; run the newer binary, or restore a backup. Howdah v9 wrote it last", path, newest(t))
	if !errors.Is(err, store.ErrNewer) || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// newest is the number of the newest migration.
func newest(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("migrations/*.sql") // in order of name
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	number, _, _ := strings.Cut(filepath.Base(files[len(files)-1]), "_")
	return strings.TrimLeft(number, "0")
}

func execute(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestObservedMovesForward: late and repeated reports change nothing.
func TestObservedMovesForward(t *testing.T) {
	s := fresh(t)
	cluster(t, s, "c")
	for _, tt := range []struct {
		incarnation, sequence int64
		kept                  bool
	}{{1, 1, true}, {1, 1, false}, {1, 3, true}, {1, 2, false}, {2, 1, true}, {1, 9, false}, {2, 1, false}, {2, 2, true}} {
		var kept bool
		update(t, s, func(tx *store.Tx) (err error) {
			kept, err = tx.PutObserved("c", agentapi.Report{Node: "c-n1", Incarnation: tt.incarnation, Sequence: tt.sequence, Generation: tt.incarnation*100 + tt.sequence})
			return err
		})
		if kept != tt.kept {
			t.Errorf("report %d.%d kept: %v, want %v", tt.incarnation, tt.sequence, kept, tt.kept)
		}
	}
	view(t, s, func(tx *store.Tx) error {
		os, err := tx.ObservedOf("c")
		if got := os["c-n1"].Report.Generation; got != 202 || len(os) != 1 {
			t.Errorf("%+v", os)
		}
		return err
	})
}

// TestOrdinals are never given twice, whatever becomes of their nodes; a
// refused update gives its number back.
func TestOrdinals(t *testing.T) {
	s := fresh(t)
	cluster(t, s, "c")
	cluster(t, s, "d")
	next := func(cluster, group string, fail error) (n int) {
		err := s.Update(context.Background(), func(tx *store.Tx) (err error) {
			if n, err = tx.NextOrdinal(cluster, group); err != nil {
				return err
			}
			return fail
		})
		if !errors.Is(err, fail) {
			t.Fatal(err)
		}
		return n
	}
	var got []int
	for range 3 {
		got = append(got, next("c", "g", nil))
	}
	got = append(got, next("c", "g", errors.New("refused")), next("c", "other", nil), next("d", "g", nil))
	update(t, s, func(tx *store.Tx) error { return tx.DeleteNode("c-n1", "c") })
	got = append(got, next("c", "g", nil))
	if diff := cmp.Diff([]int{1, 2, 3, 4, 1, 1, 4}, got); diff != "" {
		t.Error(diff)
	}
	view(t, s, func(tx *store.Tx) error {
		peek, err := tx.PeekOrdinals("c")
		if diff := cmp.Diff(map[string]int{"g": 5, "other": 2}, peek); diff != "" {
			t.Error(diff)
		}
		return err
	})
}

// TestTokens are of one node, used once, and age.
func TestTokens(t *testing.T) {
	s := fresh(t)
	cluster(t, s, "c")
	update(t, s, func(tx *store.Tx) error {
		return errors.Join(tx.PutToken("young", "c-n1", tx.Now().Add(time.Hour)), tx.PutToken("old", "c-n1", tx.Now().Add(-time.Second)))
	})
	for _, tt := range []struct {
		hash, node string
		ok         bool
	}{{"young", "c-n2", false}, {"old", "c-n1", false}, {"none", "c-n1", false}, {"young", "c-n1", true}, {"young", "c-n1", false}} {
		update(t, s, func(tx *store.Tx) error {
			ok, err := tx.TakeToken(tt.hash, tt.node)
			if ok != tt.ok {
				t.Errorf("token %s of %s: %v, want %v", tt.hash, tt.node, ok, tt.ok)
			}
			return err
		})
	}
}

// TestRows come back as they were written; what belongs to a cluster goes with
// it, its operations and events stay.
func TestRows(t *testing.T) {
	s := fresh(t)
	cluster(t, s, "c")
	node := store.Node{
		ID: "c-n1", Cluster: "c", Name: "n1", Group: "g", Ordinal: 1, Intent: agentapi.IntentRun, Revision: 2, Infrastructure: "local", Address: "c.1", Host: "h",
		MemoryMB: 5, CPUs: 6, Facts: &agentapi.Facts{Dir: "/d", Javas: []agentapi.Java{{Home: "/j", Major: 17}}}, Java: &agentapi.Java{Home: "/j"}, Generation: 7, Rendered: "r", Incarnation: 8, Instance: "i",
	}
	now := time.UnixMilli(1234567890123)
	var id, step int64
	update(t, s, func(tx *store.Tx) (err error) {
		if id, err = tx.InsertOperation(store.Operation{Cluster: "c", Name: "name of c", Kind: "apply", State: api.OperationQueued, Args: "{}"}); err != nil {
			return err
		}
		if step, err = tx.InsertStep(store.Step{Operation: id, Kind: "k", Title: "t", Phase: "nodes", State: api.StepTodo, Key: "key", Args: "{}"}); err != nil {
			return err
		}
		second, err := tx.InsertStep(store.Step{Operation: id, Kind: "k", Title: "t2", Phase: "nodes", State: api.StepTodo, Key: "key2", Args: "{}", After: []int64{step}})
		return errors.Join(err, tx.PutNode(node), tx.PutRevision("c", 2, map[string]int{"a": 1}), tx.PutStack("digest", "toy", map[string][]byte{"f": []byte("x")}),
			tx.PutOnce("c", store.Once{Task: "t", Node: "c-n1", State: store.OnceRunning}),
			tx.PutTask(store.Task{ID: "k1", Cluster: "c", Node: "c-n1", Kind: "smoke", Name: "x", State: agentapi.TaskTodo, Created: now}),
			tx.UpdateStep(store.Step{ID: second, Operation: id, State: api.StepWaiting, Waiting: "w", Until: &now, Tries: 3, Started: &now}),
			tx.Event(api.Event{Type: "x", Cluster: "name of c", Message: "m", Data: map[string]any{"n": 1.5}}))
	})
	view(t, s, func(tx *store.Tx) error {
		got, err := tx.Node("c-n1")
		if err != nil {
			return err
		}
		if diff := cmp.Diff(node, got); diff != "" {
			t.Error(diff)
		}
		steps, err := tx.Steps(id)
		if err != nil {
			return err
		}
		if st := steps[1]; st.State != api.StepWaiting || !st.Until.Equal(now) || st.Tries != 3 || len(st.After) != 1 || st.After[0] != step || st.Key != "key2" {
			t.Errorf("%+v", st)
		}
		name, bundle, err := tx.Stack("digest")
		if name != "toy" || string(bundle["f"]) != "x" {
			t.Errorf("%s %v", name, bundle)
		}
		if _, err := tx.Cluster("nobody"); !errors.Is(err, store.ErrNotFound) || err.Error() != "cluster nobody: not found" {
			t.Error(err)
		}
		return err
	})
	update(t, s, func(tx *store.Tx) error { return tx.DeleteCluster("c") })
	view(t, s, func(tx *store.Tx) error {
		nodes, err1 := tx.Nodes("")
		tasks, err2 := tx.Tasks("c", "")
		onces, err3 := tx.Onces("c")
		steps, err4 := tx.Steps(id)
		events, err5 := tx.Events(0, "name of c", 0, 10)
		if len(nodes)+len(tasks)+len(onces) != 0 || len(steps) != 2 || len(events) != 1 || events[0].Data["n"] != 1.5 {
			t.Errorf("%d nodes, %d tasks, %d one-time tasks, %d steps, %v", len(nodes), len(tasks), len(onces), len(steps), events)
		}
		return errors.Join(err1, err2, err3, err4, err5)
	})
}

// TestSubscribe: a commit that touched the topic signals once; a refused
// update does not.
func TestSubscribe(t *testing.T) {
	s := fresh(t)
	cluster(t, s, "c")
	mine, other := s.Subscribe(store.ClusterTopic("c")), s.Subscribe(store.ClusterTopic("d"))
	defer mine.Close()
	defer other.Close()
	signalled := func(sub *store.Subscription) bool {
		select {
		case <-sub.C:
			return true
		case <-time.After(150 * time.Millisecond):
			return false
		}
	}
	signalled(mine) // of the commit before it, perhaps
	refused := errors.New("refused")
	if err := s.Update(context.Background(), func(tx *store.Tx) error {
		tx.Touch(store.ClusterTopic("c"))
		return refused
	}); !errors.Is(err, refused) || signalled(mine) {
		t.Error("a refused update signals")
	}
	for range 3 {
		update(t, s, func(tx *store.Tx) error { return tx.DeleteNode("c-n1", "c") })
	}
	// Signals are given before the next commit begins: none is on its way after this.
	update(t, s, func(*store.Tx) error { return nil })
	if !signalled(mine) || signalled(mine) || signalled(other) {
		t.Error("one signal for mine, none for the other are wanted")
	}
}

// TestViewPanics: it is the panic of who looks, and others go on looking.
func TestViewPanics(t *testing.T) {
	s := fresh(t)
	for range 2 * sqlite.Readers {
		func() {
			defer func() {
				if got := recover(); got != "oops" {
					t.Errorf("who looks recovers %v", got)
				}
			}()
			_ = s.View(context.Background(), func(*store.Tx) error { panic("oops") })
		}()
	}
	view(t, s, func(*store.Tx) error { return nil })
}

// TestViewWaits: where as many look as may, the next waits no longer than its context.
func TestViewWaits(t *testing.T) {
	s := fresh(t)
	begun, enough := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for range sqlite.Readers {
		wg.Go(func() {
			view(t, s, func(*store.Tx) error { begun <- struct{}{}; <-enough; return nil })
		})
	}
	for range sqlite.Readers {
		<-begun
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("no patience"))
	if err := s.View(ctx, func(*store.Tx) error { t.Error("it looks"); return nil }); err == nil || err.Error() != "cannot read: no patience" {
		t.Error(err)
	}
	close(enough)
	wg.Wait()
}

// TestReadOnlyView: a view cannot write.
func TestReadOnlyView(t *testing.T) {
	s := fresh(t)
	if err := s.View(context.Background(), func(tx *store.Tx) error { return tx.SetMeta("k", "v") }); err == nil {
		t.Error("a view may write")
	}
	if _, err := store.Open(context.Background(), store.Config{Path: filepath.Join(t.TempDir(), "no", "such", "db")}); err == nil {
		t.Error("a database in no directory")
	}
	if _, err := os.Stat(filepath.Join(t.TempDir(), "no")); err == nil {
		t.Error("directories were made")
	}
}
