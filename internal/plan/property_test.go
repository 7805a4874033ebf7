package plan_test

import (
	"testing"

	"pgregory.net/rapid"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/stack"
)

// TestAppliedPlanIsEmpty: whatever is asked, one after another and cut short
// anywhere, doing what a plan says leaves nothing to do.
func TestAppliedPlanIsEmpty(t *testing.T) {
	stacks := []*stack.Stack{load(t), load(t, "[headd,", "[headd2,"), load(t, "onChange: none", "onChange: reload")}
	rapid.Check(t, func(t *rapid.T) {
		m := &model{}
		for range rapid.IntRange(1, 5).Draw(t, "applies") {
			c, links := drawCluster(t)
			s := stacks[rapid.IntRange(0, len(stacks)-1).Draw(t, "stack")]
			r, ds := m.plan(c, s, links)
			if ds.HasErrors() {
				continue // refused: nothing changes
			}
			rev := m.begin(r, s)
			if rapid.Bool().Draw(t, "cut short") {
				m.finish(r, rev, s, func(string) bool { return rapid.Bool().Draw(t, "left") })
				if r, ds = m.plan(c, s, links); ds.HasErrors() {
					t.Fatalf("what was accepted is refused when it is to go on: %v", ds)
				}
				rev = m.begin(r, s)
			}
			m.finish(r, rev, s, none)
			again, ds := m.plan(c, s, links)
			if ds.HasErrors() || !again.Plan.Empty() || again.Changed || again.Plan.NeedMemoryMB != 0 {
				t.Fatalf("still to do: %v %v changed=%v", shown(again.Plan), ds, again.Changed)
			}
			check(t, m, c)
		}
	})
}

// check compares the model with what was asked for.
func check(t *rapid.T, m *model, c api.Cluster) {
	counts, used, seen := map[string]int{}, 0, map[string]bool{}
	for _, n := range m.have.Nodes {
		counts[n.Member.Group]++
		used += n.Member.MemoryMB
		if seen[n.Member.Address] || seen[n.Member.Name] {
			t.Fatalf("%s or %s is used twice", n.Member.Address, n.Member.Name)
		}
		seen[n.Member.Address], seen[n.Member.Name] = true, true
	}
	if used > hostMB {
		t.Fatalf("%d MiB of %d are used", used, hostMB)
	}
	for _, g := range c.NodeGroups {
		if counts[g.Name] != g.InstanceNum {
			t.Fatalf("%s has %d nodes, %d asked", g.Name, counts[g.Name], g.InstanceNum)
		}
	}
}

func drawCluster(t *rapid.T) (api.Cluster, map[string]map[string]string) {
	c := cluster(group("head", "head", 1))
	for _, name := range []string{"worker", "more"} {
		if n := rapid.IntRange(0, 6).Draw(t, name); n > 0 {
			g := group(name, "worker", n)
			g.MemCapacityMB = 50 * rapid.IntRange(1, 6).Draw(t, name+" memory")
			c.NodeGroups = append(c.NodeGroups, g)
		}
	}
	if file := rapid.SampledFrom([]string{"", "none", "reload", "restart", "rolling"}).Draw(t, "file"); file != "" {
		c = configured(c, file, "k", rapid.StringMatching("[a-b]?").Draw(t, "value"))
	}
	var links map[string]map[string]string
	if to := rapid.SampledFrom([]string{"", "store", "other"}).Draw(t, "link"); to != "" {
		c.Links = map[string]string{"peer": to}
		links = map[string]map[string]string{"peer": {"cluster": to, "addr": to + ":70"}}
	}
	return c, links
}
