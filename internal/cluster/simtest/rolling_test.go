package simtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster/simtest"
	"howdah.dev/howdah/internal/infra/sim"
)

// spare defines a cluster that gets along with two of its four workers, whose
// configuration has a value.
func spare(value string) string {
	return "name: c\nstack: toy\nconfiguration: {toy: {b: {k: " + value + "}}}\nnodeGroups: [{name: head, roles: [head], instanceNum: 1}, {name: worker, roles: [worker], instanceNum: 4, minInstances: 2}]\n"
}

// changing is the toy stack in which a change of the workers' configuration asks for
// something.
func changing(effect string) string {
	return strings.Replace(simtest.Toy, "b.conf: {format: properties, user: toy/b}", "b.conf: {format: properties, user: toy/b, onChange: "+effect+"}", 1)
}

// dead makes a world in which the second worker has died, and applies a change of the
// workers' configuration.
func dead(t *testing.T, effect string) (w *simtest.T, o api.Operation) {
	t.Helper()
	w = simtest.New(t, simtest.Config{Stacks: changing(effect), Sim: sim.Config{Agents: sim.Agents{Start: map[string]time.Duration{"": 5 * time.Second}}}})
	w.Apply(spare("old"))
	w.Cloud.Die("c-worker-2")
	until(t, "c-worker-2 is silent", func() bool { return !nodeOf(t, w, "c-worker-2").Connected })
	ops, err := w.World.Apply(t.Context(), spare("new"))
	if err != nil {
		t.Fatal(err)
	}
	o, err = w.Wait(t.Context(), ops[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return w, o
}

// restarted tells which workers' services have been started again.
func restarted(t *testing.T, w *simtest.T) (names []string) {
	t.Helper()
	for _, n := range w.Get("c").Nodes {
		if len(n.Services) > 0 && n.Services[0].Incarnation > 1 {
			names = append(names, n.Name)
		}
	}
	return names
}

// reconfigured are the steps that reconfigure nodes, in their order.
func reconfigured(o api.Operation) (steps []api.Step) {
	for _, s := range o.Steps {
		if s.Kind == "configure-node" {
			steps = append(steps, s)
		}
	}
	return steps
}

// TestRollingEndsAtTheDead: a rolling restart ends with the first node that does not
// come back, also where its group gets along without it; those after it stay as they
// were, until somebody skips the node or it is there again.
func TestRollingEndsAtTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o := dead(t, "rollingRestart")
		if want := "reconfigure c-worker-2: waited "; o.State != api.OperationFailed || !strings.HasPrefix(o.Reason, want) {
			t.Fatalf("%s: %s, want failed: %s", o.State, o.Reason, want)
		}
		var states []string
		for _, s := range reconfigured(o) {
			states = append(states, string(s.State))
		}
		if want := []string{"done", "failed", "todo", "todo"}; !slices.Equal(states, want) {
			t.Errorf("the steps are %v, want %v", states, want)
		}
		if got, want := restarted(t, w), []string{"c-worker-1"}; !slices.Equal(got, want) {
			t.Errorf("started again were %v, want %v", got, want)
		}
		if err := w.Manager.Engine().Skip(t.Context(), o.ID, reconfigured(o)[1].ID); err != nil {
			t.Fatal(err)
		}
		if err := w.Done(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if got, want := restarted(t, w), []string{"c-worker-1", "c-worker-3", "c-worker-4"}; !slices.Equal(got, want) {
			t.Errorf("without c-worker-2, started again were %v, want %v", got, want)
		}
		oneAfterAnother(t, w, o.ID)
		back(t, w)
	})
}

// TestRestartGoesOnWithoutTheDead: where a change asks for no order, the operation goes
// on without a node its group gets along without.
func TestRestartGoesOnWithoutTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o := dead(t, "restart")
		if want := "without: reconfigure c-worker-2: waited "; o.State != api.OperationDone || !strings.HasPrefix(o.Reason, want) {
			t.Fatalf("%s: %s, want done: %s", o.State, o.Reason, want)
		}
		if got, want := restarted(t, w), []string{"c-worker-1", "c-worker-3", "c-worker-4"}; !slices.Equal(got, want) {
			t.Errorf("started again were %v, want %v", got, want)
		}
		back(t, w)
	})
}

// TestRollingAfterFailure: once the node is there again, the operation is tried again
// and goes on to the others; or the former configuration is applied, and only those
// that had the new one are started again.
func TestRollingAfterFailure(t *testing.T) {
	all := []string{"c-worker-1", "c-worker-2", "c-worker-3", "c-worker-4"}
	t.Run("tried again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, o := dead(t, "rollingRestart")
			switchOn(t, w)
			if err := w.Manager.Engine().Retry(t.Context(), o.ID, 0); err != nil {
				t.Fatal(err)
			}
			if err := w.Done(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if got := restarted(t, w); !slices.Equal(got, all) {
				t.Errorf("started again were %v, want all", got)
			}
		})
	})
	t.Run("taken back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, _ := dead(t, "rollingRestart")
			switchOn(t, w)
			ops, err := w.World.Apply(t.Context(), spare("old"))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Done(t.Context(), ops...); err != nil {
				t.Fatal(err)
			}
			oneAfterAnother(t, w, ops[0].ID)
			o, err := w.Manager.Operation(t.Context(), ops[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			var titles []string
			for _, s := range reconfigured(o) {
				titles = append(titles, s.Title)
			}
			if want := []string{"reconfigure c-worker-1", "reconfigure c-worker-2"}; !slices.Equal(titles, want) {
				t.Errorf("%v, want %v", titles, want)
			}
			if got, want := restarted(t, w), all[:2]; !slices.Equal(got, want) {
				t.Errorf("started again were %v, want %v", got, want)
			}
		})
	})
}

// oneAfterAnother: no node was reconfigured before the one ahead of it was ready.
func oneAfterAnother(t *testing.T, w *simtest.T, id int64) {
	t.Helper()
	o, err := w.Manager.Operation(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var last *api.Step
	for _, s := range reconfigured(o) {
		if s.State != api.StepDone {
			continue
		}
		if last != nil && s.Started.Before(*last.Finished) {
			t.Errorf("%s began at %s, before the end of %s at %s", s.Title, s.Started, last.Title, last.Finished)
		}
		last = &s
	}
}

// back: the dead node comes back with what is wanted now, by itself.
func back(t *testing.T, w *simtest.T) {
	t.Helper()
	switchOn(t, w)
	until(t, "all is as wanted", func() bool { return w.Get("c").State == api.StateReady })
	if got := restarted(t, w); !slices.Contains(got, "c-worker-2") {
		t.Errorf("started again were %v", got)
	}
	_, plans, ds, err := w.Manager.Apply(t.Context(), api.File{Name: "c.yaml", Content: spare("new")})
	if err != nil || len(ds) > 0 || !plans[0].Empty() {
		t.Errorf("applied again: %s %v %v", fmt.Sprint(plans), ds, err)
	}
}

// TestRollingBesideTheMissing: a node that was never there does not stop a rolling
// restart of the others, also where these are the fewest the group gets along with:
// the number is asked for at the end, not while one of them is started again.
func TestRollingBesideTheMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := simtest.New(t, simtest.Config{Stacks: changing("rollingRestart"), Sim: sim.Config{Faults: []sim.Fault{
			{Call: sim.CallCreate, Node: "c-worker-3", Do: sim.NeverBoots}, {Call: sim.CallCreate, Node: "c-worker-4", Do: sim.NeverBoots},
		}}})
		w.Apply(spare("old"))
		ops, err := w.World.Apply(t.Context(), spare("new"))
		if err != nil {
			t.Fatal(err)
		}
		o, err := w.Wait(t.Context(), ops[0].ID)
		if err != nil || o.State != api.OperationDone || !strings.HasPrefix(o.Reason, "without: ") {
			t.Fatalf("%s: %s %v", o.State, o.Reason, err)
		}
		if got, want := restarted(t, w), []string{"c-worker-1", "c-worker-2"}; !slices.Equal(got, want) {
			t.Errorf("started again were %v, want %v", got, want)
		}
		oneAfterAnother(t, w, o.ID)
	})
}

// switchOn switches the dead node on, and waits until it is heard.
func switchOn(t *testing.T, w *simtest.T) {
	t.Helper()
	for _, n := range w.Cloud.Nodes() {
		if n.Name == "c-worker-2" {
			if err := w.Cloud.Power(t.Context(), n.Ref, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	until(t, "c-worker-2 is there again", func() bool { return nodeOf(t, w, "c-worker-2").Connected })
}
