package cluster_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// TestWebAPI: a path belongs to what the cluster's stack offers there.
func TestWebAPI(t *testing.T) {
	c := start(t)
	c.apply(store1)
	c.apply("name: plain\nstack: plain\nlinks: {peer: store}\n")
	for path, want := range map[string]stack.Bound{
		"toy/v1":     {Adapter: "echo", Address: "127.9.0.10:70"},
		"toy/v1/a/b": {Adapter: "echo", Address: "127.9.0.10:70"},
		"toy/v2/":    {Adapter: "echo", Address: "store"},
	} {
		own, got, err := c.m.WebAPI(context.Background(), "store", path)
		if err != nil || own != path[:len("toy/v1")] || !cmp.Equal(got, want) {
			t.Errorf("%s is %s at %+v, %v", path, own, got, err)
		}
	}
	for _, test := range []struct {
		cluster, path, text string
		is                  error
	}{
		{"store", "toy/v10", "not supported: cluster store offers web APIs at toy/v1, toy/v2 only", cluster.ErrUnsupported},
		{"plain", "toy/v1", "not supported: cluster plain offers no web API through the server", cluster.ErrUnsupported},
		{"nobody", "toy/v1", "cluster nobody: not found", store.ErrNotFound},
	} {
		if _, _, err := c.m.WebAPI(context.Background(), test.cluster, test.path); !errors.Is(err, test.is) || err.Error() != test.text {
			t.Errorf("%s of %s: %v, want %s", test.path, test.cluster, err, test.text)
		}
	}
}

// TestWebListeners: they are wanted at running nodes of running clusters.
func TestWebListeners(t *testing.T) {
	ctx := context.Background()
	c := start(t)
	wanted := func(when string, want ...cluster.WebListener) {
		t.Helper()
		got, err := c.m.WebListeners(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	wanted("before there is a cluster")
	c.apply(store1)
	c.apply("name: plain\nstack: plain\nlinks: {peer: store}\n")
	head := cluster.WebListener{
		Cluster: "store", Node: "store-head-1", Address: netip.MustParseAddrPort("127.9.0.10:8080"), Listening: stack.Listening{API: "toy/v1", Port: 8080, Path: "/api/v1"},
	}
	wanted("while it runs", head)
	end := func(o *api.Operation, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		c.until(o.ID, api.OperationDone)
	}
	end(c.m.Stop(ctx, "store", false))
	wanted("while it is stopped")
	const want = "not possible now: cluster store is stopped; start it: howdah start store"
	if _, _, err := c.m.WebAPI(ctx, "store", "toy/v1"); !errors.Is(err, cluster.ErrBusy) || err.Error() != want {
		t.Errorf("the web API of a stopped cluster: %v, want %s", err, want)
	}
	if _, err := c.m.Workloads(ctx, "store", "job"); !errors.Is(err, cluster.ErrBusy) || err.Error() != want {
		t.Errorf("the jobs of a stopped cluster: %v, want %s", err, want)
	}
	end(c.m.Start(ctx, "store"))
	wanted("when it runs again", head)
	if _, err := c.m.Workloads(ctx, "store", "job"); !errors.Is(err, cluster.ErrUnsupported) {
		t.Errorf("the jobs of one that runs: %v, want that there is no client to ask", err)
	}
	end(c.m.Stop(ctx, "store", true))
	wanted("while it is suspended")
	end(c.m.Delete(ctx, "plain", ""))
	end(c.m.Delete(ctx, "store", "store"))
	wanted("when it is deleted")
}
