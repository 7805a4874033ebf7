package cluster_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/store"
)

const (
	store1 = "name: store\nstack: toy\n"
	user1  = "name: user\nstack: toy\nlinks: {peer: store}\n"
)

// TestLife: apply, apply again, grow, shrink, stop, start, delete.
func TestLife(t *testing.T) {
	ctx := context.Background()
	c := start(t)
	plans := c.apply(store1)
	if plans[0].Count(api.ActionAddNode) != 3 {
		t.Errorf("%+v", plans[0])
	}
	st := c.ready("store")
	if st.State != "ready" || st.Message != "" || st.Exports["addr"] != "127.9.0.10:70" || len(st.Nodes) != 3 {
		t.Errorf("%s %q %v %d nodes", st.State, st.Message, st.Exports, len(st.Nodes))
	}
	if got := c.called(); len(got) != 3 {
		t.Errorf("%v", got)
	}
	ops, again, ds, err := c.m.Apply(ctx, api.File{Name: "c.yaml", Content: store1})
	if err != nil || len(ds) > 0 || len(ops) > 0 || !again[0].Empty() || len(c.called()) > 0 {
		t.Errorf("applied again: %v %v %v %v", ops, again, ds, err)
	}

	groups := func(n string) string {
		return store1 + "nodeGroups: [{name: head, roles: [head], instanceNum: 1}, {name: worker, roles: [worker], instanceNum: " + n + "}]\n"
	}
	c.apply(groups("3"))
	if got := c.called(); !slices.Equal(got, []string{"create store-worker-3"}) {
		t.Errorf("grown by %v", got)
	}
	c.apply(groups("1"))
	if got := c.called(); !slices.Equal(got, []string{"delete store-worker-2", "delete store-worker-3"}) {
		t.Errorf("shrunk by %v", got)
	}
	c.apply(groups("2"))
	if got := c.called(); !slices.Equal(got, []string{"create store-worker-4"}) {
		t.Errorf("a number is given twice: %v", got)
	}

	o, err := c.m.Stop(ctx, "store", false)
	if err != nil {
		t.Fatal(err)
	}
	c.until(o.ID, api.OperationDone)
	if st := c.get("store"); st.State != "stopped" {
		t.Errorf("%s: %s", st.State, st.Message)
	}
	_, _, ds, _ = c.m.Apply(ctx, api.File{Name: "c.yaml", Content: store1})
	if len(ds) != 1 || ds[0].String() != "c.yaml:1:7  error  store: cluster store is stopped" || ds[0].Detail != "Start it first: howdah start store" {
		t.Errorf("%v", ds)
	}
	if o, err = c.m.Start(ctx, "store"); err != nil {
		t.Fatal(err)
	}
	c.until(o.ID, api.OperationDone)
	c.ready("store")

	if o, err = c.m.Delete(ctx, "store", "store"); err != nil {
		t.Fatal(err)
	}
	c.until(o.ID, api.OperationDone)
	if _, err := c.m.Get(ctx, "store"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

// TestGuard: what holds data, or is used, is not deleted by the way.
func TestGuard(t *testing.T) {
	ctx := context.Background()
	c := start(t)
	c.apply(store1 + "---\n" + user1)
	c.apply("name: plain\nstack: plain\nlinks: {peer: store}\n")
	for _, tt := range []struct{ name, destroy, want string }{
		{"store", "", "cluster store is not deleted: it holds data; used by plain, user; to destroy it all the same: howdah delete store --yes --destroy-data store"},
		{"store", "user", "cluster store is not deleted: it holds data; used by plain, user; to destroy it all the same: howdah delete store --yes --destroy-data store"},
		{"user", "", "cluster user is not deleted: it holds data; to destroy it all the same: howdah delete user --yes --destroy-data user"},
		{"nobody", "nobody", "cluster nobody: not found"},
	} {
		_, err := c.m.Delete(ctx, tt.name, tt.destroy)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%v\nwant %s", err, tt.want)
		}
	}
	if ops, err := c.m.Operations(ctx, "", 100); err != nil || len(ops) != 3 {
		t.Errorf("a refusal began something: %v %v", ops, err)
	}
	o, err := c.m.Delete(ctx, "plain", "")
	if err != nil {
		t.Fatal(err)
	}
	c.until(o.ID, api.OperationDone)
	if got := c.get("store").UsedBy; !slices.Equal(got, []string{"user"}) {
		t.Errorf("used by %v", got)
	}
}

// TestGuardOfQueued: an apply that waits to be planned counts as a user.
func TestGuardOfQueued(t *testing.T) {
	ctx := context.Background()
	c := idle(t)
	ops, _, ds, err := c.m.Apply(ctx, api.File{Name: "c.yaml", Content: store1 + "---\n" + user1})
	if err != nil || ds.HasErrors() || len(ops) != 2 {
		t.Fatal(ops, ds, err)
	}
	want := "cluster store is not deleted: used by user; to destroy it all the same: howdah delete store --yes --destroy-data store"
	if _, err := c.m.Delete(ctx, "store", ""); err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	if got := c.get("store").UsedBy; !slices.Equal(got, []string{"user"}) {
		t.Errorf("used by %v", got)
	}
	if _, err := c.m.Delete(ctx, "store", "store"); err != nil {
		t.Error(err)
	}
}

// TestPermit: one node of a cluster, once.
func TestPermit(t *testing.T) {
	ctx := context.Background()
	c := start(t)
	c.apply(store1)
	head, worker := c.agent("store-head-1"), c.agent("store-worker-1")
	ask := func(a *agent, task string, want agentapi.PermitResponse) {
		t.Helper()
		got, err := c.m.Permit(ctx, agentapi.PermitRequest{Node: a.node, Task: task})
		if err != nil || got != want {
			t.Errorf("%s asks for %s: %+v %v, want %+v", a.name, task, got, err, want)
		}
	}
	run, wait, done := agentapi.PermitResponse{Permit: agentapi.PermitRun}, agentapi.PermitResponse{Permit: agentapi.PermitWait, Holder: "store-head-1"}, agentapi.PermitResponse{Permit: agentapi.PermitDone}
	ask(head, "headd/format", run)
	ask(head, "headd/format", run) // it was cut short
	ask(worker, "headd/format", wait)
	ask(worker, "headd/other", run)
	if _, err := c.m.Report(ctx, agentapi.Report{Node: head.node, Incarnation: 1, Sequence: 1000, Generation: 1, Done: []string{"headd/format"}}); err != nil {
		t.Fatal(err)
	}
	ask(head, "headd/format", done)
	ask(worker, "headd/format", done)
	if _, err := c.m.Permit(ctx, agentapi.PermitRequest{Node: "nobody", Task: "t"}); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

// TestJoin: a token works once.
func TestJoin(t *testing.T) {
	c := start(t)
	c.apply(store1)
	a := c.agent("store-head-1")
	_, err := c.m.Join(context.Background(), agentapi.JoinRequest{Node: a.node, Token: a.token})
	if !errors.Is(err, cluster.ErrDenied) || err.Error() != "not allowed: the join token is used, too old, or of another node" {
		t.Error(err)
	}
}

// TestFence: the newest agent of a node ends the older one's stream, and its
// reports count no more.
func TestFence(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := start(t)
	c.apply(store1)
	a := c.agent("store-head-1")
	events := make(chan *agentapi.WatchEvent, 100)
	watch := func(instance string) <-chan error {
		done := make(chan error, 1)
		go func() {
			done <- c.m.Watch(ctx, &agentapi.WatchRequest{Node: a.node, Instance: instance, Facts: facts()}, func(ev *agentapi.WatchEvent) error {
				events <- ev
				return nil
			})
		}()
		return done
	}
	second := watch("second")
	if ev := <-events; ev.Incarnation != 2 {
		t.Errorf("%+v", ev)
	}
	<-events // its assignment
	third := watch("third")
	if err := <-second; err != nil {
		t.Error(err)
	}
	var fenced, incarnation bool
	for len(events) > 0 || !fenced || !incarnation {
		ev := <-events
		fenced, incarnation = fenced || ev.Fenced, incarnation || ev.Incarnation == 3
	}
	if r, err := c.m.Report(ctx, agentapi.Report{Node: a.node, Incarnation: 2, Sequence: 1 << 40}); err != nil || !r.Fenced {
		t.Errorf("%+v %v", r, err)
	}
	if r, err := c.m.Report(ctx, agentapi.Report{Node: a.node, Incarnation: 3, Sequence: 1}); err != nil || r.Fenced {
		t.Errorf("%+v %v", r, err)
	}
	cancel()
	<-third
}

// TestExplain: the operation, what waits, the root cause, the next action.
func TestExplain(t *testing.T) {
	ctx := context.Background()
	c := start(t)
	c.observe = func(node string, s *api.ServiceStatus) {
		switch {
		case s.Name == "headd" && s.State == "ready":
			s.State, s.Message, s.Log, s.Restarts, s.Node = "failed", "exit 1: no luck", "/nodes/headd.out", 3, node
			s.Listens = []string{"127.9.0.10:70"}
		case s.Name == "workd" && s.State == "ready":
			s.State, s.Message, s.Node = "gated", "waits for headd", node
			s.Needs = []string{"127.9.0.10:70"}
		}
	}
	ops, _, ds, err := c.m.Apply(ctx, api.File{Name: "c.yaml", Content: store1})
	if err != nil || ds.HasErrors() {
		t.Fatal(err, ds)
	}
	want := []string{
		"is: store is creating",
		"cause: headd on store-head-1 is failed: exit 1: no luck",
		"next: read its output: /nodes/headd.out",
		"follows: bring up store-head-1 waits for headd failed: exit 1: no luck",
		"follows: bring up store-worker-1 waits for workd gated: waits for headd",
		"follows: bring up store-worker-2 waits for workd gated: waits for headd",
		"follows: workd on store-worker-1 is gated: waits for headd",
		"follows: workd on store-worker-2 is gated: waits for headd",
	}
	var got []string
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		fs, err := c.m.Explain(ctx, "store")
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, f := range fs {
			msg, _, _ := strings.Cut(f.Message, ", at most ")
			got = append(got, f.Kind+": "+msg)
		}
		if slices.Equal(got, want) || time.Now().After(deadline) {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := c.m.Engine().Cancel(ctx, ops[0].ID); err != nil {
		t.Fatal(err)
	}
	c.until(ops[0].ID, api.OperationCancelled)
	if st := c.get("store"); st.State != "degraded" || st.Message != "store-head-1: headd failed: exit 1: no luck" {
		t.Errorf("%s: %s", st.State, st.Message)
	}
}

// TestDriverErrors: what may pass is tried again, what will not is said.
func TestDriverErrors(t *testing.T) {
	ctx := context.Background()
	c := start(t)
	c.refuse = infra.Errorf(infra.KindCapacity, "the disk is full")
	ops, _, ds, err := c.m.Apply(ctx, api.File{Name: "c.yaml", Content: store1})
	if err != nil || ds.HasErrors() {
		t.Fatal(err, ds)
	}
	o := c.until(ops[0].ID, api.OperationFailed)
	if o.Reason != "make store-head-1: the disk is full" {
		t.Errorf("%q", o.Reason)
	}
	fs, err := c.m.Explain(ctx, "store")
	if err != nil {
		t.Fatal(err)
	}
	if len(fs) < 3 || fs[1].Kind != "cause" || fs[1].Message != "operation 1 (apply) failed: make store-head-1: the disk is full" ||
		fs[2].Kind != "next" || fs[2].Message != "mend it and: howdah op retry 1    or give up: howdah op abandon 1" {
		t.Errorf("%+v", fs)
	}
	c.mu.Lock()
	c.refuse = nil
	c.mu.Unlock()
	if err := c.m.Engine().Retry(ctx, o.ID, 0); err != nil {
		t.Fatal(err)
	}
	c.until(o.ID, api.OperationDone)
}

// TestPlanChangesNothing and counts all clusters of a file together.
func TestPlanChangesNothing(t *testing.T) {
	ctx := context.Background()
	c := start(t)
	plans, ds, err := c.m.Plan(ctx, api.File{Name: "c.yaml", Content: store1 + "---\n" + user1})
	if err != nil || len(ds) > 0 || len(plans) != 2 || plans[1].FreeMemoryMB != 400 {
		t.Errorf("%+v %v %v", plans, ds, err)
	}
	if cs, err := c.m.List(ctx); err != nil || len(cs) != 0 {
		t.Errorf("%v %v", cs, err)
	}
	big := "name: big\nstack: plain\nnodeGroups: [{name: t, roles: [thing], instanceNum: 8}]\n"
	_, ds, err = c.m.Plan(ctx, api.File{Name: "c.yaml", Content: store1 + "---\n" + big})
	if err != nil || !ds.HasErrors() || ds[0].Summary != "1 of 8 new nodes have no room: all need 800 MiB, host has 700 MiB free; left over: big-t-8" {
		t.Errorf("%v %v", ds, err)
	}
}
