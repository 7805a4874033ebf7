package cluster_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/infra"
)

const few1 = "name: few\nstack: toy\nnodeGroups: [{name: head, roles: [head], instanceNum: 1}, {name: worker, roles: [worker], instanceNum: 3, minInstances: 2}]\n"

// hasty is a cloud whose missing nodes are tried again soon. An agent has so long to
// join.
func hasty(t *testing.T, join time.Duration) *cloud {
	t.Helper()
	c := idle(t)
	c.config.Join, c.config.Repair = join, 50*time.Millisecond
	c.m = cluster.New(c.config)
	return c
}

// change changes the cloud.
func (c *cloud) change(what func()) {
	c.mu.Lock()
	what()
	c.mu.Unlock()
}

// becomes waits until a cluster's status is as wanted.
func (c *cloud) becomes(name, what string, ok func(api.ClusterStatus) bool) api.ClusterStatus {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		st := c.get(name)
		if ok(st) {
			return st
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("never: %s; %s is %s: %s; operations %+v", what, name, st.State, st.Message, c.operations(name))
		}
	}
}

func (c *cloud) operations(name string) []api.Operation {
	c.t.Helper()
	ops, err := c.m.Operations(context.Background(), name, 100)
	if err != nil {
		c.t.Fatal(err)
	}
	return ops
}

// degraded waits until a cluster gets along with fewer nodes and says so.
func (c *cloud) degraded(name, want string) {
	c.t.Helper()
	st := c.becomes(name, "degraded", func(st api.ClusterStatus) bool { return st.State == api.StateDegraded })
	cond := condition(st, api.ConditionBelowWanted)
	if cond == nil || !cond.Status || !strings.HasPrefix(cond.Message, want) || st.Message != cond.Message {
		c.t.Errorf("%q %+v\nwant %s", st.Message, cond, want)
	}
}

// TestNoRoomForOne: the cluster gets along without the node there is no room for,
// and gets it when there is room.
func TestNoRoomForOne(t *testing.T) {
	c := hasty(t, time.Minute)
	c.memory = 350
	c.run()
	ops := c.submit(few1)
	o := c.until(ops[0].ID, api.OperationDone)
	want := "without: find room for few-worker-3: no host has 100 MiB free: host has 50 MiB free"
	if o.Reason != want {
		t.Errorf("%q, want %q", o.Reason, want)
	}
	c.degraded("few", "2 of 3 worker are ready: few-worker-3: no host has 100 MiB free: host has 50 MiB free; tried again by itself")
	if ops, plans, _, err := c.m.Apply(context.Background(), api.File{Name: "c.yaml", Content: few1}); err != nil || len(ops) > 0 || !plans[0].Empty() {
		t.Errorf("applied again: %v %+v %v", ops, plans, err)
	}
	if got := c.called(); !slices.Equal(got, []string{"create few-head-1", "create few-worker-1", "create few-worker-2"}) {
		t.Errorf("%v", got)
	}
	if n := len(c.asked("repair")); n > 0 {
		t.Errorf("%d repairs without room", n)
	}
	c.change(func() { c.memory = 450 })
	st := c.becomes("few", "whole", func(st api.ClusterStatus) bool { return st.State == api.StateReady && len(st.Nodes) == 4 })
	if cond := condition(st, api.ConditionBelowWanted); cond != nil {
		t.Errorf("%+v", cond)
	}
	reps := c.asked("repair")
	if len(reps) != 1 || reps[0].By != "howdah" || reps[0].Cause != "1 node is missing" {
		t.Errorf("%+v", reps)
	}
	if got := c.called(); !slices.Equal(got, []string{"create few-worker-3"}) {
		t.Errorf("%v", got)
	}
}

// TestNeverBoots: a machine whose agent never comes is made anew, ever more seldom,
// until it comes; over restarts of the server too.
func TestNeverBoots(t *testing.T) {
	c := hasty(t, 5*time.Second)
	c.dead = map[string]bool{"few-worker-2": true}
	stop := c.run()
	ops := c.submit(few1)
	o := c.until(ops[0].ID, api.OperationDone)
	if want := "without: make few-worker-2: waited "; !strings.HasPrefix(o.Reason, want) || !strings.HasSuffix(o.Reason, "for: the agent of few-worker-2 to join") {
		t.Errorf("%q, want %q", o.Reason, want)
	}
	c.becomes("few", "two repairs", func(api.ClusterStatus) bool { return len(c.asked("repair")) >= 2 })
	stop() // in the middle of the second
	c.change(func() { c.dead = nil })
	c.restart()
	c.becomes("few", "whole", func(st api.ClusterStatus) bool { return st.State == api.StateReady })
	if got := c.called(); !slices.Contains(got, "delete few-worker-2") {
		t.Errorf("the machine was not made anew: %v", got)
	}
	if st := c.get("few"); len(st.Nodes) != 4 {
		t.Errorf("%d nodes", len(st.Nodes))
	}
}

// TestNeverBootsWanted: of a group that wants all its nodes, a machine whose agent never
// comes fails the apply; the next apply takes it away and makes it anew, even where the
// agent comes at the last moment.
func TestNeverBootsWanted(t *testing.T) {
	c := hasty(t, 5*time.Second)
	c.dead = map[string]bool{"a-thing-2": true}
	c.run()
	o := c.until(c.submit(sized(2))[0].ID, api.OperationFailed)
	if want := "make a-thing-2: waited "; !strings.HasPrefix(o.Reason, want) || !strings.HasSuffix(o.Reason, "for: the agent of a-thing-2 to join") {
		t.Errorf("%q, want %q", o.Reason, want)
	}
	c.called()
	c.change(func() { c.dead, c.late = nil, true })
	c.until(c.submit(sized(2))[0].ID, api.OperationDone)
	if got := c.called(); !slices.Equal(got, []string{"create a-thing-2", "delete a-thing-2"}) {
		t.Errorf("%v", got)
	}
}

// TestCannotBeMade: the driver refuses one node; a newer apply supersedes what is
// tried for it.
func TestCannotBeMade(t *testing.T) {
	c := hasty(t, time.Minute)
	c.refuses = map[string]error{"few-worker-1": infra.Errorf(infra.KindQuota, "the cloud gives no more")}
	c.run()
	o := c.until(c.submit(few1)[0].ID, api.OperationDone)
	if want := "without: make few-worker-1: the cloud gives no more"; o.Reason != want {
		t.Errorf("%q, want %q", o.Reason, want)
	}
	c.degraded("few", "2 of 3 worker are ready: few-worker-1: the cloud gives no more")
	c.change(func() { c.refuses, c.dead = nil, map[string]bool{"few-worker-1": true} })
	c.becomes("few", "a repair that waits", func(api.ClusterStatus) bool {
		reps := c.asked("repair")
		return len(reps) > 0 && !reps[0].State.Final() && slices.ContainsFunc(c.steps(reps[0].ID), func(s api.Step) bool { return s.Waiting == "the agent of few-worker-1 to join" })
	})
	rep := c.asked("repair")[0]
	c.change(func() { c.dead, c.corpses = nil, map[string]bool{} })
	c.apply(few1 + "ttl: 100h\n")
	if o := c.until(rep.ID, api.OperationSuperseded); !strings.HasPrefix(o.Reason, "superseded by operation ") {
		t.Errorf("%q", o.Reason)
	}
	c.ready("few")
}

func (c *cloud) steps(id int64) []api.Step {
	c.t.Helper()
	o, err := c.m.Operation(context.Background(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return o.Steps
}

// TestTooFew: below the fewest it gets along with, an operation fails as ever, and
// a retry tries all of it again.
func TestTooFew(t *testing.T) {
	ctx := context.Background()
	c := hasty(t, time.Minute)
	no := infra.Errorf(infra.KindCapacity, "the cloud is full")
	c.refuses = map[string]error{"few-worker-2": no, "few-worker-3": no}
	c.run()
	id := c.submit(few1)[0].ID
	o := c.until(id, api.OperationFailed)
	if want := "2 of worker to be ready, the fewest it gets along with; 1 of 3 are"; !strings.HasPrefix(o.Reason, "see that enough nodes are there: waited") || !strings.HasSuffix(o.Reason, want) {
		t.Errorf("%q, want %q", o.Reason, want)
	}
	if st := c.get("few"); st.State != api.StateFailed {
		t.Errorf("%s", st.State)
	}
	if n := len(c.asked("repair")); n > 0 {
		t.Errorf("%d repairs of what failed", n)
	}
	c.change(func() { c.refuses = map[string]error{"few-worker-3": no} })
	if err := c.m.Engine().Retry(ctx, id, 0); err != nil {
		t.Fatal(err)
	}
	if o := c.until(id, api.OperationDone); o.Reason != "without: make few-worker-3: the cloud is full" {
		t.Errorf("%q", o.Reason)
	}
}

// TestAllAreNeeded without the field, and of groups that do not have it.
func TestAllAreNeeded(t *testing.T) {
	c := hasty(t, time.Minute)
	c.refuses = map[string]error{"few-head-1": infra.Errorf(infra.KindCapacity, "the cloud is full")}
	c.run()
	o := c.until(c.submit(few1)[0].ID, api.OperationFailed)
	if o.Reason != "make few-head-1: the cloud is full" {
		t.Errorf("%q", o.Reason)
	}
	_, _, ds, err := c.m.Apply(context.Background(), api.File{Name: "c.yaml", Content: "name: big\nstack: toy\nnodeGroups: [{name: head, roles: [head], instanceNum: 1}, {name: worker, roles: [worker], instanceNum: 30}]\n"})
	if err != nil || !ds.HasErrors() || !strings.Contains(ds.Error(), "of 31 new nodes have no room") {
		t.Errorf("%v %v", ds, err)
	}
}
