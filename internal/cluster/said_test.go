package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
)

// TestOfServices: services that say the same are named together; what does not
// hold is not shown.
func TestOfServices(t *testing.T) {
	weak := api.Condition{Type: api.ConditionWeakened, Status: true, Reason: "Host", Message: "no limits"}
	node := func(name string, cs ...api.Condition) api.NodeStatus {
		return api.NodeStatus{Name: name, Services: []api.ServiceStatus{{Name: "worker", Conditions: cs}}}
	}
	got := ofServices([]api.NodeStatus{
		node("w1", weak, api.Condition{Type: "Runtimes", Status: true, Reason: "Found", Message: "runc"}),
		node("w2", api.Condition{Type: "Runtimes", Message: "runc"}),
		node("w3", weak),
	})
	want := []api.Condition{
		{Type: api.ConditionWeakened, Status: true, Reason: "Host", Message: "worker on w1, w3: no limits"},
		{Type: "Runtimes", Status: true, Reason: "Found", Message: "worker on w1: runc"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
