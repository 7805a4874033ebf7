package cluster_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// TestPrune: a manager keeps its database from growing without end.
func TestPrune(t *testing.T) {
	st, err := store.Open(context.Background(), store.Config{Path: filepath.Join(t.TempDir(), "db")})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	const have, keep = 10_700, 10_000
	if err := st.Update(t.Context(), func(tx *store.Tx) error {
		for range have {
			if err := tx.Event(api.Event{Type: "x", Message: "m"}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := cluster.New(cluster.Config{Store: st, Stacks: &stack.Catalog{}})
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var oldest []api.Event
		if err := st.View(ctx, func(tx *store.Tx) error {
			var err error
			oldest, err = tx.Events(0, "", 0, 1)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if oldest[0].ID == have-keep+1 {
			return
		}
		if oldest[0].ID > have-keep+1 || time.Now().After(deadline) {
			t.Fatalf("the oldest event is %d, want %d", oldest[0].ID, have-keep+1)
		}
	}
}
