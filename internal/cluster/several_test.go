package cluster_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"testing"

	"howdah.dev/howdah/api"
)

// TestTenAtOnce: ten clients make ten clusters at the same time; each gets nodes and
// addresses of its own.
func TestTenAtOnce(t *testing.T) {
	c := idle(t)
	c.memory = 5000
	c.run()
	var wg sync.WaitGroup
	ids := make([]int64, 10)
	for i := range ids {
		wg.Go(func() {
			ops, _, ds, err := c.m.Apply(context.Background(), api.File{Name: "c.yaml", Content: things(fmt.Sprintf("c%d", i), 3)})
			if err != nil || len(ds) > 0 || len(ops) != 1 {
				t.Error(ops, ds, err)
				return
			}
			ids[i] = ops[0].ID
		})
	}
	wg.Wait()
	addresses := map[string]string{}
	for i, id := range ids {
		if id == 0 {
			continue
		}
		c.until(id, api.OperationDone)
		for _, n := range c.ready(fmt.Sprintf("c%d", i)).Nodes {
			if other := addresses[n.Address]; other != "" {
				t.Errorf("%s and %s have %s", n.Name, other, n.Address)
			}
			addresses[n.Address] = n.Name
		}
	}
	if len(addresses) != 30 {
		t.Errorf("%d nodes", len(addresses))
	}
}

// TestBusy: what is refused says what with, since when, by whom, and what for; other
// clusters go on meanwhile.
func TestBusy(t *testing.T) {
	c := start(t)
	c.apply(named("a", ""))
	c.says(func(_ string, s *api.ServiceStatus) { s.State = "starting" })
	ops, refused := c.try(as("shop"), named("slow", ""))
	if refused != "" {
		t.Fatal(refused)
	}
	c.becomes("slow", "its service starts", func(api.ClusterStatus) bool {
		return slices.ContainsFunc(c.steps(ops[0].ID), func(s api.Step) bool { return s.State == api.StepWaiting && s.Waiting == "thingd is starting" })
	})
	_, err := c.m.Smoke(context.Background(), "slow")
	want := regexp.MustCompile(`^not possible now: slow is busy with operation 2 \(apply, running\), started \d+ s ago by someone of shop, waiting for thingd is starting$`)
	if err == nil || !want.MatchString(err.Error()) {
		t.Errorf("%v", err)
	}
	o, err := c.m.Smoke(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	c.until(o.ID, api.OperationDone)
}

// TestNewestApply: a definition that is in force already counts all the same where an
// older apply of another has not begun.
func TestNewestApply(t *testing.T) {
	c := idle(t)
	stop := c.run()
	c.apply(sized(1))
	stop()
	grown, refused := c.try(as("default"), sized(2))
	if refused != "" || len(grown) != 1 {
		t.Fatalf("%v %s", grown, refused)
	}
	back, refused := c.try(as("default"), sized(1))
	if refused != "" || len(back) != 1 {
		t.Fatalf("the newer apply makes %d operations %s", len(back), refused)
	}
	c.run()
	c.until(grown[0].ID, api.OperationSuperseded)
	c.until(back[0].ID, api.OperationDone)
	if n := len(c.get("a").Nodes); n != 1 {
		t.Errorf("there are %d nodes", n)
	}
}

func sized(n int) string {
	return fmt.Sprintf("name: a\nstack: plain\nnodeGroups: [{name: thing, roles: [thing], instanceNum: %d}]\n", n)
}
