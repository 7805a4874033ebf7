package deploy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"howdah.dev/howdah/internal/cell/instance"
)

// world is workers, tasks and checks as they may behave, and the scheduler that
// follows the planner and remembers nothing but targets and instances.
type world struct {
	rt        *rapid.T
	clock     time.Time
	version   int
	target    Target
	instances []instance.Instance
	made      int
	// returned are instances that came back after they had been written off.
	returned map[string]bool
	// bound is the highest ceiling since everything was last as it should be.
	bound int
}

var births = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *world) retarget() {
	t := &w.target
	before := t.Wanted
	if rapid.Bool().Draw(w.rt, "new version") {
		w.version++
		t.Version = births.Add(time.Duration(w.version) * time.Hour)
		t.HealthChecks = rapid.Bool().Draw(w.rt, "health checks")
		t.Readiness = rapid.Bool().Draw(w.rt, "readiness checks")
		t.Resident = rapid.IntRange(0, 4).Draw(w.rt, "resident") == 0
		part := rapid.SampledFrom([]float64{0, 0.1, 0.25, 0.5, 0.66, 0.9, 1})
		t.Strategy = Strategy{part.Draw(w.rt, "minimum health"), part.Draw(w.rt, "maximum over")}
		if t.Resident {
			t.Strategy.MaximumOver = 0
		}
	}
	t.KillSelection = rapid.SampledFrom([]string{YoungestFirst, OldestFirst}).Draw(w.rt, "kill selection")
	t.Wanted = rapid.IntRange(0, 9).Draw(w.rt, "wanted")
	t.Base = max(t.Base, before, t.Wanted)
	t.Balance = nil
	if rapid.Bool().Draw(w.rt, "balance") {
		t.Balance = func(c []*instance.Instance, n int) []string { // by the id's last digit
			var ids []string
			for _, i := range c {
				if strings.HasSuffix(i.ID, "3") && len(ids) < n {
					ids = append(ids, i.ID)
				}
			}
			return ids
		}
	}
	w.bound = max(w.bound, t.Ceiling())
}

// sentence has somebody ask for ends, or drain a worker.
func (w *world) sentence() {
	marks := &w.target.Sentenced
	if rapid.Bool().Draw(w.rt, "drain") {
		marks = &w.target.Leaving
	}
	*marks = map[string]bool{}
	for _, i := range w.instances {
		if !i.Terminal() && rapid.IntRange(0, 3).Draw(w.rt, "chosen") == 0 {
			(*marks)[i.ID] = true
		}
	}
}

// tick is one look of the planner; only some of what it asks for finds a worker.
func (w *world) tick(place func(n int) int) Decision {
	d := Next(w.target, pointers(w.instances), w.clock)
	w.checkDecision(d)
	kills := map[string]bool{}
	for _, k := range d.Kill {
		kills[k.ID] = true
	}
	for n := range w.instances {
		if i := &w.instances[n]; kills[i.ID] {
			i.KillAsked = &w.clock
		}
	}
	for range place(d.Launch) {
		w.made++
		w.instances = append(w.instances, instance.Instance{
			ID: fmt.Sprintf("i%d", w.made), Version: w.target.Version, Condition: instance.Provisioned,
			StagedAt: w.clock, Since: w.clock,
		})
	}
	w.checkBound()
	if d.Done {
		w.target.Base, w.bound = w.target.Wanted, w.target.Ceiling()
		w.target.Sentenced = nil
	}
	return d
}

// checkDecision holds what a single answer promises.
func (w *world) checkDecision(d Decision) {
	strict := w.target
	strict.Base = 0
	active, healthy, sound := 0, map[string]bool{}, survey(w.target, pointers(w.instances))
	byID := map[string]*instance.Instance{}
	for n := range w.instances {
		i := &w.instances[n]
		byID[i.ID] = i
		if i.Active() {
			active++
		}
		if i.Active() && i.KillAsked == nil && !w.target.Sentenced[i.ID] && sound.healthy(i) {
			healthy[i.ID] = true
		}
	}
	if d.Launch > 0 && active+d.Launch > strict.Ceiling() {
		w.rt.Fatalf("%d active and %d to launch exceed %d", active, d.Launch, strict.Ceiling())
	}
	before, seen := len(healthy), map[string]bool{}
	for _, k := range d.Kill {
		i := byID[k.ID]
		if i == nil || i.Terminal() || i.KillAsked != nil || seen[k.ID] || k.Why == "" {
			w.rt.Fatalf("kill %+v of %+v", k, i)
		}
		seen[k.ID] = true
		delete(healthy, k.ID)
	}
	if floor := w.target.floor(); len(healthy) < min(before, floor) {
		w.rt.Fatalf("kills leave %d of %d healthy, %d must stay", len(healthy), before, floor)
	}
	if d.Done != (d.Wait == "") {
		w.rt.Fatalf("done is %v, and it waits for %q", d.Done, d.Wait)
	}
	if strings.HasSuffix(d.Wait, "nothing") {
		w.rt.Fatalf("it waits for nothing: %q", d.Wait)
	}
}

// checkBound holds the promise over time: only instances that returned from
// workers given up lift the number above the bound.
func (w *world) checkBound() {
	active := 0
	for n := range w.instances {
		if i := &w.instances[n]; i.Active() && !w.returned[i.ID] {
			active++
		}
	}
	if active > w.bound {
		w.rt.Fatalf("%d active, bound %d, target %+v", active, w.bound, w.target)
	}
}

// live moves one instance as the world likes; reliable worlds move forward only.
func (w *world) live(i *instance.Instance, what string) {
	was := i.Condition
	switch what {
	case "forward":
		w.forward(i)
	case "fail":
		i.Condition = instance.Failed
	case "finish":
		i.Condition = instance.Finished
	case "sick":
		i.Healthy = new(false)
	case "well":
		i.Healthy = new(true)
	case "away":
		i.Condition = instance.Unreachable
	case "lost":
		if was == instance.Unreachable {
			i.Condition = instance.UnreachableInactive
		}
	case "gone":
		if was == instance.Unreachable || was == instance.UnreachableInactive {
			i.Condition = instance.Gone
		}
	}
	if i.Condition != was {
		i.Since = w.clock
	}
}

func (w *world) forward(i *instance.Instance) {
	switch i.Condition {
	case instance.Unreachable:
		i.Condition = instance.Running
	case instance.UnreachableInactive:
		i.Condition = instance.Running
		w.returned[i.ID] = true
	case instance.Killing:
		i.Condition = instance.Killed
	default:
		switch {
		case i.KillAsked != nil && i.Condition == instance.Running:
			i.Condition = instance.Killing
		case i.KillAsked != nil:
			i.Condition = instance.Killed
		case i.Condition == instance.Provisioned:
			i.Condition = instance.Staging
		case i.Condition == instance.Staging:
			i.Condition = instance.Starting
		case i.Condition == instance.Starting:
			i.Condition, i.StartedAt = instance.Running, &w.clock
		case i.Healthy == nil || !*i.Healthy && !i.Version.Before(w.target.Version):
			i.Healthy = new(true) // old versions may stay sick for ever
		default:
			i.Ready = true
		}
	}
}

func (w *world) step() {
	w.clock = w.clock.Add(time.Duration(rapid.IntRange(0, 90).Draw(w.rt, "seconds")) * time.Second)
	switch rapid.IntRange(0, 11).Draw(w.rt, "step") {
	case 0:
		w.retarget()
	case 1:
		w.sentence()
	case 2, 3, 4:
		w.tick(func(n int) int { return rapid.IntRange(0, n).Draw(w.rt, "placed") })
	default:
		var alive []*instance.Instance
		for n := range w.instances {
			if !w.instances[n].Terminal() {
				alive = append(alive, &w.instances[n])
			}
		}
		if len(alive) == 0 {
			return
		}
		i := alive[rapid.IntRange(0, len(alive)-1).Draw(w.rt, "which")]
		w.live(i, rapid.SampledFrom([]string{
			"forward", "forward", "forward", "forward", "well", "sick", "fail", "finish", "away", "lost", "gone",
		}).Draw(w.rt, "fate"))
	}
}

// settle is a world without failures. It must reach the target within a number
// of rounds that grows with the number of instances only.
func (w *world) settle() {
	for range 40 + 12*(len(w.instances)+w.target.Wanted) {
		w.clock = w.clock.Add(time.Second)
		d := w.tick(func(n int) int { return n })
		if d.Done {
			w.checkDone()
			return
		}
		for n := range w.instances {
			if i := &w.instances[n]; !i.Terminal() {
				w.live(i, "forward")
			}
		}
	}
	w.rt.Fatalf("not done: %s\n%+v\n%+v", Next(w.target, pointers(w.instances), w.clock).Wait, w.target, w.instances)
}

func (w *world) checkDone() {
	n := 0
	for k := range w.instances {
		i := &w.instances[k]
		if !i.Active() {
			continue
		}
		n++
		if i.Version.Before(w.target.Version) || w.target.Leaving[i.ID] || i.Condition != instance.Running {
			w.rt.Fatalf("done with %+v", i)
		}
	}
	if n != w.target.Wanted {
		w.rt.Fatalf("done with %d of %d", n, w.target.Wanted)
	}
}

// TestAnyWorld holds the bound, the health and the end of every deployment
// through failures in any order. The planner has no memory, so each tick is
// also one after a crash.
func TestAnyWorld(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{rt: rt, clock: births.AddDate(0, 1, 0), returned: map[string]bool{}}
		w.retarget()
		for range rapid.IntRange(0, 150).Draw(rt, "length") {
			w.step()
		}
		w.settle()
	})
}
