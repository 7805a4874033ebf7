package cluster_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/store"
)

// dial is a clock whose hands the test moves.
type dial struct {
	mu     sync.Mutex
	wall   time.Time
	steady time.Duration
}

func newDial() *dial { return &dial{wall: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (d *dial) clock() cluster.Clock {
	return cluster.Clock{
		Wall:   func() time.Time { d.mu.Lock(); defer d.mu.Unlock(); return d.wall },
		Steady: func() time.Duration { d.mu.Lock(); defer d.mu.Unlock(); return d.steady },
	}
}

// pass lets time go by.
func (d *dial) pass(by time.Duration) {
	d.mu.Lock()
	d.wall, d.steady = d.wall.Add(by), d.steady+by
	d.mu.Unlock()
}

// set sets the wall's clock forth or back.
func (d *dial) set(by time.Duration) {
	d.mu.Lock()
	d.wall = d.wall.Add(by)
	d.mu.Unlock()
}

// expiring is a cloud whose clock the test moves and whose engine rests.
func expiring(t *testing.T) (*cloud, *dial) {
	t.Helper()
	d := newDial()
	return idleWith(t, d.clock()), d
}

// look has the manager look at what is due, and returns what it told of expiry
// since the last look.
func (c *cloud) look() []string {
	c.t.Helper()
	if err := c.m.Expire(context.Background()); err != nil {
		c.t.Fatal(err)
	}
	var out []string
	err := c.store.View(context.Background(), func(tx *store.Tx) error {
		es, err := tx.Events(c.seen, "", 0, 1000)
		for _, e := range es {
			c.seen = e.ID
			if strings.HasPrefix(e.Type, "cluster.expir") {
				out = append(out, e.Type+" "+e.Message)
			}
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// asked lists the operations of a kind.
func (c *cloud) asked(kind string) []api.Operation {
	c.t.Helper()
	all, err := c.m.Operations(context.Background(), "", 100)
	if err != nil {
		c.t.Fatal(err)
	}
	var out []api.Operation
	for _, o := range all {
		if o.Kind == kind {
			out = append(out, o)
		}
	}
	return out
}

// submit applies a definition and waits for nothing.
func (c *cloud) submit(text string) []api.Operation {
	c.t.Helper()
	ops, _, ds, err := c.m.Apply(context.Background(), api.File{Name: "c.yaml", Content: text})
	if err != nil || ds.HasErrors() {
		c.t.Fatal(err, ds)
	}
	return ops
}

const plain2h = "name: plain\nstack: plain\nttl: 2h\n"

// TestTimeToLive: warned three times, once each, also over restarts, then deleted
// as any cluster is.
func TestTimeToLive(t *testing.T) {
	c, d := expiring(t)
	c.submit(plain2h)
	if at := c.get("plain").Expires; at == nil || !at.Equal(d.wall.Add(2*time.Hour)) {
		t.Fatalf("expires %v", at)
	}
	expect := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, c.look()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	expect()
	d.pass(59 * time.Minute)
	expect()
	d.pass(time.Minute)
	expect("cluster.expiring the time to live of plain ends in 1 h, at 2030-01-01 02:00:00 UTC; it is deleted then unless it is applied with another ttl")
	expect()
	c.again(d.clock())
	expect()
	d.pass(50 * time.Minute)
	expect("cluster.expiring the time to live of plain ends in 10 min, at 2030-01-01 02:00:00 UTC; it is deleted then unless it is applied with another ttl")
	d.pass(9*time.Minute + time.Second)
	expect("cluster.expiring the time to live of plain ends in 59 s, at 2030-01-01 02:00:00 UTC; it is deleted then unless it is applied with another ttl")
	d.pass(59 * time.Second)
	expect() // the last minute is a whole one
	if len(c.asked("delete")) > 0 {
		t.Error("deleted within a minute of the last warning")
	}
	d.pass(time.Second)
	expect()
	expect()
	dels := c.asked("delete")
	if len(dels) != 1 || dels[0].Cause != "its time to live ended" || dels[0].By != "howdah" {
		t.Fatalf("%+v", dels)
	}
	c.run()
	c.until(dels[0].ID, api.OperationDone)
	if _, err := c.m.Get(context.Background(), "plain"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

// TestTimeToLiveBegins anew when it changes, and only then.
func TestTimeToLiveBegins(t *testing.T) {
	c, d := expiring(t)
	began := d.wall
	c.submit(plain2h)
	expires := func(want time.Duration) {
		t.Helper()
		at := c.get("plain").Expires
		if want == 0 && at != nil || want != 0 && (at == nil || at.Sub(began) != want) {
			t.Errorf("expires %v, want %s after the beginning", at, want)
		}
	}
	d.pass(90 * time.Minute)
	if told := c.look(); len(told) != 1 {
		t.Errorf("%v", told)
	}
	c.submit(plain2h)
	c.submit(strings.Replace(plain2h, "2h", "120m", 1))
	expires(2 * time.Hour)
	c.submit(strings.Replace(plain2h, "2h", "3h", 1))
	expires(90*time.Minute + 3*time.Hour)
	d.pass(2 * time.Hour)
	if told := c.look(); len(told) != 1 || !strings.Contains(told[0], "ends in 1 h") {
		t.Errorf("warned for the new time: %v", told)
	}
	c.submit("name: plain\nstack: plain\n")
	expires(0)
	d.pass(9000 * time.Hour)
	if told := c.look(); len(told) > 0 || len(c.asked("delete")) > 0 {
		t.Errorf("%v %v", told, c.asked("delete"))
	}
	c.submit(strings.Replace(plain2h, "2h", "5m", 1)) // two warnings do not fit
	d.pass(3 * time.Minute)
	if told := c.look(); len(told) > 0 {
		t.Errorf("%v", told)
	}
	d.pass(time.Minute)
	if told := c.look(); len(told) != 1 || !strings.Contains(told[0], "ends in 1 min") {
		t.Errorf("%v", told)
	}
}

// TestTimeToLiveIsHeld: what holds data, or is used, is not deleted; that is told
// once and shown, and an apply lifts it.
func TestTimeToLiveIsHeld(t *testing.T) {
	c, d := expiring(t)
	c.run()
	c.apply(store1 + "ttl: 30s\n")
	c.apply("name: used\nstack: plain\nttl: 30s\nlinks: {peer: store}\n")
	c.seen = 0
	d.pass(time.Minute)
	held := "its time to live of 30 s ended at 2030-01-01 00:00:30 UTC; it is not deleted by itself: it holds data; used by used; to destroy it: howdah delete store --yes --destroy-data store; to keep it, apply it with another ttl or none"
	if diff := cmp.Diff([]string{"cluster.expired " + held}, c.look()); diff != "" {
		t.Error(diff)
	}
	if dels := c.asked("delete"); len(dels) != 1 || dels[0].Cluster != "used" {
		t.Errorf("%+v", dels)
	}
	if told := c.look(); len(told) > 0 {
		t.Errorf("told again: %v", told)
	}
	for _, o := range c.asked("delete") {
		c.until(o.ID, api.OperationDone)
	}
	if told := c.look(); len(told) > 0 || len(c.asked("delete")) != 1 {
		t.Errorf("%v %v", told, c.asked("delete"))
	}
	cond := condition(c.get("store"), api.ConditionExpired)
	if cond == nil || cond.Reason != "Held" || cond.Message != strings.Replace(held, "; used by used", "", 1) {
		t.Errorf("%+v", cond)
	}
	c.apply(store1 + "ttl: 24h\n")
	if cond := condition(c.get("store"), api.ConditionExpired); cond != nil {
		t.Errorf("%+v", cond)
	}
}

// TestTimeToLiveWhenNothingHoldsAnyMore: the end comes when the last user went.
func TestTimeToLiveWhenNothingHoldsAnyMore(t *testing.T) {
	ctx := context.Background()
	c, d := expiring(t)
	c.run()
	c.apply("name: plain\nstack: exporter\nttl: 30s\n")
	c.apply("name: user\nstack: plain\nlinks: {peer: plain}\n")
	d.pass(time.Minute)
	if told := c.look(); len(told) != 1 || !strings.Contains(told[0], "it is not deleted by itself: used by user;") {
		t.Errorf("%v", told)
	}
	o, err := c.m.Delete(ctx, "user", "")
	if err != nil {
		t.Fatal(err)
	}
	c.until(o.ID, api.OperationDone)
	c.look()
	if dels := c.asked("delete"); len(dels) != 2 || dels[0].Cluster != "plain" {
		t.Errorf("%+v", dels)
	}
}

// TestClockIsSet: a jump over the end gives all warnings in their order and leaves
// a minute; a jump back neither warns nor deletes again.
func TestClockIsSet(t *testing.T) {
	c, d := expiring(t)
	c.submit(plain2h)
	d.set(5 * time.Hour)
	told := c.look()
	if len(told) != 3 || told[0] != "cluster.expiring the time to live of plain ended 3 h ago; it is deleted in 1 min unless it is applied with another ttl" {
		t.Errorf("%q", told)
	}
	d.set(5 * time.Hour)
	d.pass(59 * time.Second)
	if told := c.look(); len(told) > 0 || len(c.asked("delete")) > 0 {
		t.Errorf("no minute is left: %v %v", told, c.asked("delete"))
	}
	d.set(-10 * time.Hour)
	d.pass(10 * time.Second)
	if told := c.look(); len(told) > 0 || len(c.asked("delete")) > 0 {
		t.Errorf("deleted before its time: %v %v", told, c.asked("delete"))
	}
	if cond := condition(c.get("plain"), api.ConditionExpired); cond != nil {
		t.Errorf("%+v", cond)
	}
	d.set(10 * time.Hour)
	c.look()
	d.set(-10 * time.Hour)
	c.look()
	d.set(10 * time.Hour)
	c.look()
	if told := c.look(); len(told) > 0 || len(c.asked("delete")) != 1 {
		t.Errorf("%v %v", told, c.asked("delete"))
	}
}

// TestServerWasAway: what ended meanwhile is told of first, and has a minute.
func TestServerWasAway(t *testing.T) {
	c, d := expiring(t)
	c.submit(plain2h)
	d.pass(100 * time.Hour)
	c.again(func() cluster.Clock { // another server's steady clock begins anew
		k, began := d.clock(), d.steady
		steady := k.Steady
		k.Steady = func() time.Duration { return steady() - began }
		return k
	}())
	if told := c.look(); len(told) != 3 || len(c.asked("delete")) > 0 {
		t.Errorf("%v %v", told, c.asked("delete"))
	}
	d.pass(time.Minute)
	if c.look(); len(c.asked("delete")) != 1 {
		t.Errorf("%v", c.asked("delete"))
	}
}

// TestExpiryTakenBack: who takes the deletion back keeps the cluster.
func TestExpiryTakenBack(t *testing.T) {
	ctx := context.Background()
	c, d := expiring(t)
	c.run()
	c.apply("name: plain\nstack: plain\nttl: 30s\n")
	c.says(func(_ string, s *api.ServiceStatus) { s.State = "stopping" })
	d.pass(time.Minute)
	c.look()
	o := c.asked("delete")[0]
	c.waits(o.ID)
	if err := c.m.Engine().Cancel(ctx, o.ID); err != nil {
		t.Fatal(err)
	}
	c.until(o.ID, api.OperationCancelled)
	c.says(nil)
	if st := c.get("plain"); st.Message != "its deletion was given up: it is to be gone on with or taken back" || st.State == api.StateReady {
		t.Errorf("it is %s: %s", st.State, st.Message)
	}
	back, err := c.m.Start(ctx, "plain")
	if err != nil {
		t.Fatal(err)
	}
	c.until(back.ID, api.OperationDone)
	d.pass(time.Hour)
	c.look()
	if dels := c.asked("delete"); len(dels) != 1 {
		t.Errorf("deleted again: %+v", dels)
	}
	if cond := condition(c.get("plain"), api.ConditionExpired); cond == nil || cond.Reason != "TakenBack" {
		t.Errorf("%+v", cond)
	}
}

// says changes what agents say of services; nil lets them say how it is.
func (c *cloud) says(what func(node string, s *api.ServiceStatus)) {
	c.mu.Lock()
	c.observe = what
	c.mu.Unlock()
}

func condition(st api.ClusterStatus, kind string) *api.Condition {
	for i := range st.Conditions {
		if st.Conditions[i].Type == kind {
			return &st.Conditions[i]
		}
	}
	return nil
}
