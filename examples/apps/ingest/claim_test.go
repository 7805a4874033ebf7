package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"howdah.dev/howdah/internal/warehouse/webhdfstest"
)

const claimed = dataset + "/_claims/part-00000"

var somePart = part{name: "part-00000"}

func claimText(task string, in time.Duration) string {
	return fmt.Sprintf(`{"task":%q,"expires":%q}`, task, time.Now().Add(in).UTC().Format(time.RFC3339Nano))
}

// TestClaim: who gets a part, by what is there already.
func TestClaim(t *testing.T) {
	w := newWorld(t, sourceTree(t, 1), nil)
	tests := map[string]struct {
		there string
		age   time.Duration
		want  bool
	}{
		"nothing":             {"", 0, true},
		"held":                {claimText("other", time.Minute), time.Hour, false},
		"expired":             {claimText("other", -time.Millisecond), 0, true},
		"torn a moment ago":   {`{"task":"oth`, 0, false},
		"torn long ago":       {`{"task":"oth`, time.Hour, true},
		"begun a moment ago":  {"\x00", 0, false},
		"begun long ago":      {"\x00", time.Hour, true},
		"of nobody, long ago": {`{"expires":"2999-01-01T00:00:00Z"}`, time.Hour, true},
	}
	for name, test := range tests {
		w.store.Remove(dataset)
		w.store.Mkdir(dataset)
		if test.there != "" {
			w.store.Put(claimed, strings.Trim(test.there, "\x00"))
			w.store.Age(claimed, test.age)
		}
		wk := w.worker("me")
		wk.cfg.lease = time.Minute
		got, err := wk.claim(t.Context(), somePart)
		if err != nil || got != test.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		text, _ := w.store.Get(claimed)
		if mine := strings.Contains(text, wk.cfg.task); mine != test.want {
			t.Errorf("%s: the claim is %s", name, text)
		}
		if got { // also when the answer was lost
			if again, err := wk.claim(t.Context(), somePart); err != nil || !again {
				t.Errorf("%s, again: %v, %v", name, again, err)
			}
		}
	}
}

// TestClaimRaces: another instance takes over between our look at an expired
// claim and our rename of it.
func TestClaimRaces(t *testing.T) {
	for name, third := range map[string]bool{"the claim is given back": false, "a third came": true} {
		w := newWorld(t, sourceTree(t, 1), nil)
		wk := w.worker("me")
		w.store.Put(claimed, claimText("dead", -time.Second))
		var renames atomic.Int32
		w.store.Intercept(func(_ http.ResponseWriter, r *http.Request, _ string) bool {
			if r.URL.Query().Get("op") == "RENAME" {
				switch renames.Add(1) {
				case 1: // the expired claim is about to be moved away
					w.store.Put(claimed, claimText("second", time.Minute))
				case 2: // it is about to be given back
					if third {
						w.store.Put(claimed, claimText("third", time.Minute))
					}
				}
			}
			return false
		})
		if got, err := wk.claim(t.Context(), somePart); err != nil || got {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		text, _ := w.store.Get(claimed)
		if want := map[bool]string{false: "second", true: "third"}[third]; !strings.Contains(text, want) {
			t.Errorf("%s: the claim is %s", name, text)
		}
		if left := strings.Join(w.store.Paths(dataset+"/_tmp"), " "); left != "" {
			t.Errorf("%s: left in _tmp: %s", name, left)
		}
	}
}

// TestClaimBeingWritten: HDFS says in words of its own that another is writing.
func TestClaimBeingWritten(t *testing.T) {
	w := newWorld(t, sourceTree(t, 1), nil)
	w.store.Intercept(func(rw http.ResponseWriter, r *http.Request, node string) bool {
		if node != "data" || r.URL.Query().Get("op") != "CREATE" {
			return false
		}
		w.store.Put(claimed, "")
		webhdfstest.Refuse(rw, 403, "AlreadyBeingCreatedException", "this file lease is currently owned by another")
		return true
	})
	wk := w.worker("me")
	wk.cfg.lease = time.Minute
	if got, err := wk.claim(t.Context(), somePart); err != nil || got {
		t.Errorf("%v, %v", got, err)
	}
}

// TestClaimRush: of many that see one claim expire, those that won hold it.
func TestClaimRush(t *testing.T) {
	w := newWorld(t, sourceTree(t, 1), nil)
	for range 20 {
		w.store.Put(claimed, claimText("dead", -time.Second))
		var workers [6]*worker
		for i := range workers {
			workers[i] = w.worker(fmt.Sprint("w", i))
			workers[i].cfg.lease = time.Minute // only the first claim expires
		}
		var wait sync.WaitGroup
		var won atomic.Int32
		for _, wk := range workers {
			wait.Go(func() {
				got, err := wk.claim(t.Context(), somePart)
				if err != nil {
					t.Error(err)
				}
				if got {
					won.Add(1)
				}
			})
		}
		wait.Wait()
		text, there := w.store.Get(claimed)
		if won.Load() == 0 || !there || strings.Contains(text, "dead") {
			t.Errorf("%d won, the claim is %q", won.Load(), text)
		}
	}
}

// TestKeep: a claim is renewed while it is ours, and left alone when it is not.
func TestKeep(t *testing.T) {
	w := newWorld(t, sourceTree(t, 1), nil)
	wk := w.worker("me")
	wk.cfg.lease = 150 * time.Millisecond
	if ok, err := wk.claim(t.Context(), somePart); !ok || err != nil {
		t.Fatal(err)
	}
	first, _ := w.store.Get(claimed)
	ended := make(chan struct{})
	go func() { wk.keep(t.Context(), somePart); close(ended) }()
	w.waitFor("the claim is renewed", func() bool {
		now, _ := w.store.Get(claimed)
		return now != "" && now != first
	}, func() any { return first })
	// A renewal may be on its way, so the claim is stolen until that is seen.
	w.waitFor("the loss is seen", func() bool {
		w.store.Put(claimed, claimText("thief", time.Minute))
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}, func() any { return "" })
	if text, _ := w.store.Get(claimed); !strings.Contains(text, "thief") {
		t.Errorf("the claim is %s", text)
	}
	wk.release(somePart)
	if _, there := w.store.Get(claimed); !there {
		t.Error("a claim of another was released")
	}
}

// TestTemporaryNames: no name in _tmp is used twice, by no process.
func TestTemporaryNames(t *testing.T) {
	w := newWorld(t, sourceTree(t, 1), nil)
	seen := map[string]bool{}
	for range 3 {
		wk := w.worker("same")
		for range 3 {
			name := wk.tmpPath("part-00000")
			if seen[name] || !strings.HasPrefix(name, dataset+"/_tmp/part-00000.same.") {
				t.Errorf("name %s", name)
			}
			seen[name] = true
		}
	}
}
