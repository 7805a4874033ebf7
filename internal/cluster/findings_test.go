package cluster_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
)

// TestEveryFindingAtOnce: what a machine has to do with comes beside what the
// file alone shows.
func TestEveryFindingAtOnce(t *testing.T) {
	ctx := context.Background()
	c := start(t)
	c.apply(store1)
	c.called()
	const text = `clusters:
  - name: store
    stack: toy
    colour: blue
    nodeGroups:
      - {name: head, roles: [head], instanceNum: 0}
      - {name: worker, roles: [worker], instanceNum: 2}
  - name: big
    stack: plain
    links: {peer: stroe}
    nodeGroups: [{name: thing, roles: [thing], instanceNum: 9}]
  - name: broken
    stack: plain
    nodeGroups: [{name: thing, roles: [thing], instanceNum: "9", memCapacityMB: 9000}]
`
	want := []string{
		"c.yaml:4:5  error  clusters[0].colour: unknown field",
		"c.yaml:6:7  error  store-head-1: cannot be removed: the head stays",
		`c.yaml:10:19  error  clusters[1].links.peer: there is no cluster stroe`,
		"c.yaml:11:17  error  clusters[1].nodeGroups: 2 of 9 new nodes have no room: all need 900 MiB, host has 700 MiB free; left over: big-thing-8, big-thing-9",
		`c.yaml:14:61  error  clusters[2].nodeGroups[0].instanceNum: is a string; a number is wanted`,
	}
	f := api.File{Name: "c.yaml", Content: text}
	_, ds, err := c.m.Plan(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, findings(ds)); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	ops, _, ds, err := c.m.Apply(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, findings(ds)); diff != "" || len(ops) > 0 || len(c.called()) > 0 {
		t.Errorf("apply began %v (-want +got):\n%s", ops, diff)
	}
}

func findings(ds api.Diagnostics) []string {
	var out []string
	for _, d := range ds {
		out = append(out, strings.TrimSpace(d.String()))
	}
	return out
}
