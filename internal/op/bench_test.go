package op_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/store"
)

// BenchmarkEngine runs one operation of b.N lanes of two steps on a database on disk.
// Each step has two transitions, todo to doing and doing to done, each committed.
func BenchmarkEngine(b *testing.B) {
	st, err := store.Open(context.Background(), store.Config{Path: filepath.Join(b.TempDir(), "db")})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	plan := func(*store.Tx, store.Operation) ([]op.StepSpec, error) {
		var out []op.StepSpec
		for i := range b.N {
			title := fmt.Sprint("lane ", i)
			out = append(out, op.StepSpec{Kind: "act", Title: title, Phase: "nodes", Node: title},
				op.StepSpec{Kind: "act", Title: title, Phase: "nodes", Node: title, After: []int{2 * i}})
		}
		return out, nil
	}
	act := op.KindFunc(func(context.Context, op.Call) op.Result { return op.Done(nil) })
	e := op.New(op.Config{Store: st, Kinds: map[string]op.Kind{"act": act}, Plan: plan})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = e.Run(ctx) }()
	defer func() { cancel(); <-done }()
	var id int64
	err = st.Update(ctx, func(tx *store.Tx) (err error) {
		id, err = op.Submit(tx, store.Operation{Cluster: clusterID, Name: "c", Kind: "apply"})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	var o store.Operation
	for o.State != api.OperationDone {
		err := st.View(ctx, func(tx *store.Tx) (err error) { o, err = tx.Operation(id); return err })
		if err != nil {
			b.Fatal(err)
		}
		if o.State == api.OperationFailed {
			b.Fatal(o.Reason)
		}
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(4*b.N)/o.Finished.Sub(*o.Started).Seconds(), "transitions/s")
}
