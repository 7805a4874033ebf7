package cluster_test

import (
	"context"
	"fmt"
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

// events returns what happened to nodes so far, in order.
func (c *cloud) events() []string {
	c.t.Helper()
	var out []string
	err := c.store.View(context.Background(), func(tx *store.Tx) error {
		es, err := tx.Events(0, "", 0, 10000)
		for _, e := range es {
			if strings.HasPrefix(e.Type, "node.") && e.Type != "node.joined" || strings.HasPrefix(e.Type, "condition.") {
				out = append(out, e.Type+" "+e.Node+": "+minutes(e.Message))
			}
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// minutes cuts the seconds off how long an agent has been silent, as a busy machine
// takes some of them to look.
func minutes(message string) string {
	text, has, _ := strings.Cut(message, "its agent has been silent for ")
	if d, err := time.ParseDuration(has); err == nil {
		return text + "its agent has been silent for " + d.Truncate(time.Minute).String()
	}
	return message
}

// await looks after the nodes until the events are as wanted.
func (c *cloud) await(want ...string) {
	c.t.Helper()
	var got []string
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if err := c.m.Look(context.Background()); err != nil {
			c.t.Fatal(err)
		}
		if got = c.events(); slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("(-want +got):\n%s", cmp.Diff(want, got))
		}
	}
}

func (c *cloud) node(cluster, name string) api.NodeStatus {
	c.t.Helper()
	for _, n := range c.get(cluster).Nodes {
		if n.Name == name {
			return n
		}
	}
	c.t.Fatalf("no node %s", name)
	return api.NodeStatus{}
}

// back lets the agent of a node report again, until the function returned is called.
func (c *cloud) back(name, instance string) (stop func()) {
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = c.agent(name).watch(ctx, instance) }()
	return func() { cancel(); <-done }
}

// TestSilentNode: it is unknown with what was known last, the one cause, and
// mended within its budget; its cluster's other nodes are left alone.
func TestSilentNode(t *testing.T) {
	c := start(t)
	c.apply(store1)
	c.ready("store")
	c.called()
	a := c.agent("store-head-1")
	a.end()
	before := c.node("store", "store-head-1")
	c.m.Quiet(a.node, 10*time.Second) // a busy machine is slow to look
	if n := c.node("store", "store-head-1"); n.State != "ready" {
		t.Errorf("after 10 s it is %s: %s", n.State, n.Message)
	}
	c.m.Quiet(a.node, time.Minute)
	n := c.node("store", "store-head-1")
	at := n.LastReport.Format(time.TimeOnly)
	if n.State != "unknown" || n.Message != "its agent is silent since "+at {
		t.Errorf("the node is %s: %s", n.State, n.Message)
	}
	if s := n.Services[0]; s.State != "unknown" || s.LastState != "ready" || s.Message != "was ready; its agent is silent since "+at || !s.Since.Equal(*n.LastReport) || s.PID != before.Services[0].PID {
		t.Errorf("%+v", s)
	}
	st := c.get("store")
	if st.State != "degraded" || st.Message != "store-head-1: its agent is silent since "+at {
		t.Errorf("the cluster is %s: %s", st.State, st.Message)
	}
	if cond := condition(st, api.ConditionAgentsConnected); cond == nil || cond.Status || cond.Message != "store-head-1" {
		t.Errorf("%+v", cond)
	}
	if st.Cause == nil || st.Cause.Object != "store-head-1" || st.Cause.Message != "store-head-1: its agent is silent since "+at || st.Cause.Follows != 1 {
		t.Errorf("%+v", st.Cause)
	}
	const fell = "node.silent store-head-1: the agent of store-head-1 is silent for 20s; what its services do is not known"
	c.await(fell)
	if calls := c.called(); len(calls) > 0 {
		t.Errorf("after a minute the driver was asked for %v", calls)
	}

	c.m.Quiet(a.node, 5*time.Minute)
	const mending = "node.mending store-head-1: store-head-1 is being brought back: its agent has been silent for 5m0s"
	const mended = "node.mended store-head-1: store-head-1: it was switched off and on"
	c.await(fell, mending, mended)
	if diff := cmp.Diff([]string{"power store-head-1 false", "power store-head-1 true"}, c.called()); diff != "" {
		t.Error(diff)
	}
	// Once in half an hour, and not its neighbour while it has time to come back.
	other := c.agent("store-worker-1")
	c.m.Quiet(other.node, time.Hour)
	c.m.Quiet(a.node, time.Hour)
	const otherFell = "node.silent store-worker-1: the agent of store-worker-1 is silent for 20s; what its services do is not known"
	c.await(fell, mending, mended, otherFell)
	if calls := c.called(); len(calls) > 0 {
		t.Errorf("the driver was asked for %v", calls)
	}

	// The next server finishes what was cut short.
	if err := c.m.CutShort(context.Background(), clusterOf(c, "store"), a.node); err != nil {
		t.Fatal(err)
	}
	const again = "node.mending store-head-1: store-head-1 is being brought back: its agent has been silent for 1h0m0s"
	c.await(fell, mending, mended, otherFell, again, mended)
	c.called()

	defer c.back("store-head-1", "2")()
	defer c.back("store-worker-1", "2")()
	c.ready("store")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if err := c.m.Look(context.Background()); err != nil {
			t.Fatal(err)
		}
		if es := c.events(); len(es) == 8 && slices.Contains(es, "node.back store-head-1: the agent of store-head-1 reports again") && slices.Contains(es, "node.back store-worker-1: the agent of store-worker-1 reports again") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("they do not come back: %v", c.events())
		}
	}
	ws, err := c.m.Watches(context.Background())
	if w := ws[a.node]; err != nil || w.Silent != nil || w.Mending || w.Mended == nil {
		t.Errorf("%+v %v", w, err)
	}
}

func clusterOf(c *cloud, name string) (id string) {
	c.t.Helper()
	err := c.store.View(context.Background(), func(tx *store.Tx) error {
		got, err := tx.Cluster(name)
		id = got.ID
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return id
}

// TestNotMendedMeanwhile: while an operation works on the cluster nothing is
// mended, and a node that is stopped is none of it.
func TestNotMendedMeanwhile(t *testing.T) {
	c := start(t)
	c.apply(store1)
	c.ready("store")
	a := c.agent("store-worker-2")
	a.end()
	// The operation waits for the agent that is away.
	o, err := c.m.Stop(context.Background(), "store", false)
	if err != nil {
		t.Fatal(err)
	}
	c.called()
	c.m.Quiet(a.node, time.Hour)
	for range 3 {
		if err := c.m.Look(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for _, call := range c.called() {
		if strings.Contains(call, "store-worker-2") {
			t.Errorf("the driver was asked for %s while operation %d ran", call, o.ID)
		}
	}
	if es := c.events(); slices.ContainsFunc(es, func(e string) bool { return strings.HasPrefix(e, "node.mending") }) {
		t.Errorf("%v", es)
	}
	defer c.back("store-worker-2", "2")()
	c.until(o.ID, api.OperationDone)
	c.m.Quiet(a.node, time.Hour)
	if n := c.node("store", "store-worker-2"); n.State != "stopped" {
		t.Errorf("a stopped node without an agent is %s: %s", n.State, n.Message)
	}
	if err := c.m.Look(context.Background()); err != nil {
		t.Fatal(err)
	}
	ws, err := c.m.Watches(context.Background())
	if err != nil || ws[a.node].Silent != nil {
		t.Errorf("%+v %v", ws, err)
	}
}

// ward is a cloud with its own way to bring nodes back.
type ward struct {
	*cloud
	err error
}

func (w *ward) Mend(_ context.Context, ref infra.Ref) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, "mend "+ref.Name)
	return w.err
}

// TestMender: a driver's own way comes before the power switch; one that
// declines is not asked again. What keeps an agent from running is said.
func TestMender(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"its own way": {want: "node.mended store-head-1: store-head-1: its agent was started anew"},
		"it fails":    {err: infra.Errorf(infra.KindTemporary, "no answer"), want: "node.unmended store-head-1: cannot bring store-head-1 back: no answer; tried again after 30m0s"},
		"it declines": {err: infra.Errorf(infra.KindUnsupported, "ask a person"), want: "node.unmended store-head-1: nodes of infrastructure local are not brought back by themselves: ask a person"},
	} {
		t.Run(name, func(t *testing.T) {
			cl := idle(t)
			cl.config.Drivers = map[string]infra.Driver{"local": &ward{cl, c.err}}
			cl.again(cluster.Clock{})
			cl.run()
			cl.apply(store1)
			cl.ready("store")
			cl.called()
			cl.mu.Lock()
			cl.trouble = "its agent ends: no luck"
			cl.mu.Unlock()
			a := cl.agent("store-head-1")
			a.end()
			cl.m.Quiet(a.node, time.Hour)
			want := []string{
				"node.silent store-head-1: the agent of store-head-1 is silent for 20s; what its services do is not known",
				"condition.began store-head-1: AgentFailing on store-head-1: its agent ends: no luck",
				"node.mending store-head-1: store-head-1 is being brought back: its agent has been silent for 1h0m0s",
				c.want,
			}
			cl.await(want...)
			if diff := cmp.Diff([]string{"mend store-head-1"}, cl.called()); diff != "" {
				t.Error(diff)
			}
			st := cl.get("store")
			if cond := condition(st, api.ConditionAgentFailing); cond == nil || !cond.Status || cond.Message != "store-head-1: its agent ends: no luck" {
				t.Errorf("%+v", cond)
			}
			if !strings.HasSuffix(st.Nodes[0].Message, ": its agent ends: no luck") {
				t.Errorf("%q", st.Nodes[0].Message)
			}
			if c.err != nil && infra.KindOf(c.err) == infra.KindUnsupported {
				b := cl.agent("store-worker-1")
				cl.m.Quiet(b.node, 2*time.Hour)
				if err := cl.m.Look(t.Context()); err != nil || len(cl.called()) > 0 {
					t.Errorf("a driver that declined was asked again: %v", err)
				}
			}
		})
	}
}

// TestStrangeNode: where a driver does not know a node as its own any more, that is what
// keeps its agent away; what it cannot tell for a while is not.
func TestStrangeNode(t *testing.T) {
	c := start(t)
	c.apply(store1)
	c.ready("store")
	a := c.agent("store-head-1")
	a.end()
	c.m.Quiet(a.node, time.Minute)
	for _, answer := range []struct {
		err  error
		want string
	}{
		{infra.Errorf(infra.KindTemporary, "no answer"), ""},
		{infra.Errorf(infra.KindConflict, "cannot read node.json"), "cannot read node.json"},
		{nil, ""},
	} {
		c.mu.Lock()
		c.strange = answer.err
		c.mu.Unlock()
		if err := c.m.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		cond := condition(c.get("store"), api.ConditionAgentFailing)
		if got := cond != nil && cond.Status && cond.Message == "store-head-1: "+answer.want; got != (answer.want != "") {
			t.Errorf("%v: %+v", answer.err, cond)
		}
	}
}

// TestServerIsNew: a server that starts gives all agents time before it calls
// them silent.
func TestServerIsNew(t *testing.T) {
	c := start(t)
	c.apply(store1)
	c.ready("store")
	for _, name := range []string{"store-head-1", "store-worker-1", "store-worker-2"} {
		c.agent(name).end() // or it reports to the new one
	}
	c.again(cluster.Clock{})
	for _, n := range c.get("store").Nodes {
		if n.State != "connecting" {
			t.Errorf("%s is %s: %s", n.Name, n.State, n.Message)
		}
	}
	if err := c.m.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if es := c.events(); len(es) > 0 {
		t.Errorf("%v", es)
	}
}

// TestNodeConditions: what agents say of their nodes is shown with the cluster,
// which stays ready; each begins and ends with an event; heartbeats cost no write.
func TestNodeConditions(t *testing.T) {
	c := start(t)
	c.apply(store1)
	c.ready("store")
	a := c.agent("store-head-1")
	seen := c.node("store", "store-head-1")
	sequence := int64(1000)
	report := func(probes int64, conditions ...api.Condition) {
		t.Helper()
		sequence++
		r := agentapi.Report{
			Node: a.node, Incarnation: seen.Incarnation, Sequence: sequence, Generation: seen.Generation, Conditions: conditions,
			Services: []api.ServiceStatus{{Name: "headd", State: "ready", Since: seen.Services[0].Since, Probes: []api.Probing{{Kind: "health", Asked: probes}}}},
		}
		if _, err := c.m.Report(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	low := api.Condition{Type: api.ConditionDiskPressure, Status: true, Reason: "LittleRoom", Message: "1.0 GiB free", Since: &now}
	fine := api.Condition{Type: api.ConditionDiskPressure, Reason: "Enough"}
	deaf := api.Condition{Type: api.ConditionNameResolution, Reason: "NotResolved", Message: "x does not resolve"}
	heard := api.Condition{Type: api.ConditionNameResolution, Status: true, Reason: "Resolved"}
	blind := api.Condition{Type: api.ConditionDiskPressure, Status: true, Reason: api.ReasonUnknown, Message: "no answer"}

	report(1, low, heard)
	st := c.get("store")
	if cond := condition(st, api.ConditionDiskPressure); st.State != "ready" || cond == nil || !cond.Status || cond.Message != "store-head-1: 1.0 GiB free" {
		t.Errorf("%s %+v", st.State, cond)
	}
	if n := c.node("store", "store-head-1"); len(n.Conditions) != 2 || n.Conditions[0].Since == nil {
		t.Errorf("%+v", n.Conditions)
	}
	fs, err := c.m.Explain(t.Context(), "store")
	if err != nil || len(fs) != 2 || fs[0].Message != "store is ready" || fs[1].Message != "DiskPressure: store-head-1: 1.0 GiB free" {
		t.Errorf("%+v %v", fs, err)
	}
	report(2, blind, deaf)
	if cond := condition(c.get("store"), api.ConditionDiskPressure); cond == nil || cond.Bad() || cond.Reason != "Unknown" {
		t.Errorf("%+v", cond)
	}
	report(3, low, deaf)
	report(4, fine, heard)
	if cond := condition(c.get("store"), api.ConditionDiskPressure); cond != nil {
		t.Errorf("%+v", cond)
	}
	want := []string{
		"condition.began store-head-1: DiskPressure on store-head-1: 1.0 GiB free",
		"condition.began store-head-1: NameResolution on store-head-1: x does not resolve",
		"condition.ended store-head-1: DiskPressure on store-head-1 is over: it was: 1.0 GiB free",
		"condition.ended store-head-1: NameResolution on store-head-1 is over: it was: x does not resolve",
	}
	if diff := cmp.Diff(want, c.events()); diff != "" {
		t.Error(diff)
	}

	kept := func() (doc string) {
		err := c.store.View(t.Context(), func(tx *store.Tx) error {
			o, err := tx.Observed(a.node)
			doc = fmt.Sprint(o.Report.Sequence, o.Report.Services[0].Probes)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	was := kept()
	report(5, fine, heard)
	if now := kept(); now != was || !strings.HasSuffix(now, "[]") {
		t.Errorf("a heartbeat wrote %s, it was %s", now, was)
	}
	var p []api.Probing // of heartbeats a status may be a second behind
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && (len(p) != 1 || p[0].Asked != 5); time.Sleep(5 * time.Millisecond) {
		p = c.node("store", "store-head-1").Services[0].Probes
	}
	if len(p) != 1 || p[0].Asked != 5 {
		t.Errorf("%+v", p)
	}
}
