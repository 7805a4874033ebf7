package simtest

import (
	"context"
	"testing"

	"howdah.dev/howdah/api"
)

// T is a world of one test.
type T struct {
	*World
	t testing.TB
}

// New makes a world that ends with the test, in a directory of the test's.
func New(t testing.TB, cfg Config) *T {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	w, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return &T{World: w, t: t}
}

// Apply applies a definition and waits until that is done.
func (w *T) Apply(definition string) {
	w.t.Helper()
	ops, err := w.World.Apply(context.Background(), definition)
	if err == nil {
		err = w.Done(context.Background(), ops...)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// Delete deletes a cluster with its data and waits until that is done.
func (w *T) Delete(cluster string) {
	w.t.Helper()
	o, err := w.Manager.Delete(context.Background(), cluster, cluster)
	if err == nil {
		err = w.Done(context.Background(), *o)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// Get returns how a cluster is.
func (w *T) Get(cluster string) api.ClusterStatus {
	w.t.Helper()
	st, err := w.Manager.Get(context.Background(), cluster)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}
