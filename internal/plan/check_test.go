package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/plan"
)

// TestCheck: what refuses a cluster is said beside the errors of its
// definition, and nothing because of groups that could not be read.
func TestCheck(t *testing.T) {
	big := cluster(group("head", "head", 1), group("worker", "worker", 2))
	big.NodeGroups[1].MemCapacityMB = 1500
	for _, tt := range []struct {
		name   string
		from   bool // whether a cluster of one head and two workers is there
		to     api.Cluster
		unsure []string
		want   []string
	}{
		{name: "fits", to: cluster(group("head", "head", 1))},
		{name: "no room", to: cluster(group("worker", "worker", 21)), want: []string{
			"nodeGroups: 1 of 21 new nodes have no room: all need 2,100 MiB, host has 2,000 MiB free; left over: c-worker-21",
		}},
		{name: "no room for a group that is not read", to: cluster(group("worker", "worker", 21)), unsure: []string{"worker"}},
		{name: "removal", from: true, to: cluster(group("head", "head", 0), group("worker", "worker", 2)), want: []string{"c-head-1: cannot be removed: the head stays"}},
		{name: "removal from a group that is not read", from: true, to: cluster(group("head", "head", 0), group("worker", "worker", 2)), unsure: []string{"head"}},
		{name: "roles", from: true, to: cluster(group("head", "head", 1), group("worker", "head", 2)), want: []string{
			"worker: the roles of node group worker cannot change from worker to head",
		}},
		{name: "growth", from: true, to: big, want: []string{"nodeGroups: the plan needs 2800 MiB more memory; 1700 MiB are free"}},
		{name: "growth of a group that is not read", from: true, to: big, unsure: []string{"worker"}},
	} {
		s, m := load(t), &model{}
		if tt.from {
			m.apply(t, cluster(group("head", "head", 1), group("worker", "worker", 2)), s, nil)
		}
		ds := plan.Check(plan.Want{ClusterID: "id", Cluster: tt.to, Stack: s}, m.have, m.space(), tt.unsure)
		var got []string
		for _, d := range ds {
			got = append(got, d.Address+": "+d.Summary)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
