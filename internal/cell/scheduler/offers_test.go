package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
