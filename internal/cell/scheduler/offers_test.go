package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
)

// TestUnusedOffersAreDeclinedTogether: a call for each of hundreds of workers
// would hold up what comes after it.
func TestUnusedOffersAreDeclinedTogether(t *testing.T) {
	for _, c := range []struct {
		short  bool
		refuse float64
	}{{false, refuseIdle}, {true, refuseShort}} {
		cfg := &Config{}
		cfg.defaults()
		tx := newTx(newState(), cfg, time.Unix(1, 0))
		tx.offers = newOffers()
		for n := range 3 {
			tx.offers.add([]mesos.Offer{{ID: mesos.ID{Value: fmt.Sprint("o", n)}, AgentID: mesos.ID{Value: fmt.Sprint("w", n)}}})
		}
		tx.offers.of[source{agent: "w1"}].tasks = []mesos.TaskInfo{{Name: "t"}}
		tx.answerOffers(c.short)
		soon := 0.0
		want := []*mesos.Call{
			{Type: mesos.CallAccept, Accept: &mesos.Accept{
				OfferIDs: []mesos.ID{{Value: "o1"}}, Filters: &mesos.Filters{RefuseSeconds: &soon},
				Operations: []mesos.Operation{{Type: mesos.OperationLaunch, Launch: &mesos.Launch{TaskInfos: []mesos.TaskInfo{{Name: "t"}}}}},
			}},
			{Type: mesos.CallDecline, Decline: &mesos.Decline{
				OfferIDs: []mesos.ID{{Value: "o0"}, {Value: "o2"}}, Filters: &mesos.Filters{RefuseSeconds: &c.refuse},
			}},
		}
		if diff := cmp.Diff(want, tx.calls); diff != "" {
			t.Error(diff)
		}
		if len(tx.offers.of) > 0 || tx.offers.refused == c.short {
			t.Errorf("left: %v, refused for long: %t", tx.offers.of, tx.offers.refused)
		}
	}
}

// TestFreedRoomRevives: offers that were refused are asked for again when an instance
// has ended and something still waits.
func TestFreedRoomRevives(t *testing.T) {
	revives := func(freed, refused bool) bool {
		s := wanting(app.App{Instances: 1})
		s.framework = "F"
		s.waiting["/a"] = &Waiting{Since: began}
		x := batchAt(s, time.Second)
		x.offers.refused = refused
		if freed {
			x.removeInstance(&instance.Instance{ID: "b.instance-1", App: "/b"})
		}
		x.settle()
		x.plan("/a")
		x.match(t.Context())
		return slices.ContainsFunc(x.calls, func(c *mesos.Call) bool { return c.Type == mesos.CallRevive })
	}
	if revives(false, false) {
		t.Error("nothing has changed, and offers are asked for")
	}
	if !revives(true, false) {
		t.Error("there is room, and nobody asks for it")
	}
	if !revives(false, true) {
		t.Error("offers that were refused for long are wanted now, and nobody asks for them")
	}
}

// TestLanes: calls about one worker go in one lane, or a KILL could overtake the
// ACCEPT of its task; so do those about all offers.
func TestLanes(t *testing.T) {
	used := map[int]bool{}
	for n := range 100 {
		worker := mesos.ID{Value: fmt.Sprint("worker-", n)}
		accept := &mesos.Call{Accept: &mesos.Accept{Operations: []mesos.Operation{{Launch: &mesos.Launch{TaskInfos: []mesos.TaskInfo{{AgentID: worker}}}}}}}
		lane := laneOf(accept)
		used[lane] = true
		for _, c := range []*mesos.Call{accept, {Kill: &mesos.Kill{AgentID: &worker}}, {Acknowledge: &mesos.Acknowledge{AgentID: worker}}} {
			if got := laneOf(c); got != lane || got == 0 {
				t.Errorf("%s: lane %d, its launches go through %d", worker.Value, got, lane)
			}
		}
	}
	if len(used) != senders-1 {
		t.Errorf("a hundred workers share %d lanes", len(used))
	}
	for _, c := range []*mesos.Call{{Decline: &mesos.Decline{}}, {Revive: &mesos.Roles{}}, {Suppress: &mesos.Roles{}}, {Reconcile: &mesos.Reconcile{}}} {
		if got := laneOf(c); got != 0 {
			t.Errorf("%+v: lane %d", c, got)
		}
	}
}

// TestLaunchesFitCalls: what is launched with one call is bounded, and a task that
// no call could hold is the app's failure.
func TestLaunchesFitCalls(t *testing.T) {
	for _, c := range []struct {
		size, want int // bytes of a task, instances
		launched   int
		failure    string
	}{
		{1 << 20, 4, 2, ""}, // a little more than the text alone
		{100, 4, 4, ""},
		{4 << 20, 4, 0, "bytes, at most 3145728 may be"},
	} {
		x := batchAt(wanting(app.App{Instances: c.want, Cmd: strings.Repeat("x", c.size), Role: "*", Networks: []app.Network{{Mode: app.ModeHost}}}), time.Second)
		x.cfg.MaxPerOffer = 10
		x.offers.add([]mesos.Offer{{ID: mesos.ID{Value: "o"}, AgentID: mesos.ID{Value: "w"}, Hostname: "w"}})
		x.plan("/a")
		x.match(t.Context())
		launched := 0
		for _, call := range x.calls {
			if call.Accept != nil {
				launched += len(call.Accept.Operations[0].Launch.TaskInfos)
			}
		}
		failure := ""
		if f := x.apps.get("/a").LastFailure; f != nil {
			failure = f.Message
		}
		if launched != c.launched || (failure == "") != (c.failure == "") || !strings.Contains(failure, c.failure) || len(x.of("/a")) != launched {
			t.Errorf("of tasks of %d bytes %d were launched, %d are known: %s", c.size, launched, len(x.of("/a")), failure)
		}
	}
}
