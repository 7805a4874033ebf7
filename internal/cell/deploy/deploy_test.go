package deploy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/instance"
)

// The table's clock: versions are days, everything else seconds before now.
var (
	now  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	oldV = now.Add(-48 * time.Hour)
	newV = now.Add(-24 * time.Hour)
)

// parse reads instances from words such as "new:a:running:healthy:ready:kill@30":
// version, id, condition, then marks; @ gives the age in seconds.
func parse(t *testing.T, text string) []instance.Instance {
	t.Helper()
	var out []instance.Instance
	for word := range strings.FieldsSeq(text) {
		word, age, _ := strings.Cut(word, "@")
		seconds := 10
		if age != "" {
			if _, err := fmt.Sscan(age, &seconds); err != nil {
				t.Fatalf("%q: %v", word, err)
			}
		}
		p := strings.Split(word, ":")
		at := now.Add(-time.Duration(seconds) * time.Second)
		i := instance.Instance{ID: p[1], App: "/shop", Version: newV, StagedAt: at, Since: at}
		if p[0] == "old" {
			i.Version = oldV
		}
		i.Condition = map[string]instance.Condition{
			"provisioned": instance.Provisioned, "staging": instance.Staging, "starting": instance.Starting,
			"running": instance.Running, "killing": instance.Killing, "away": instance.Unreachable,
			"lost": instance.UnreachableInactive, "failed": instance.Failed, "finished": instance.Finished,
		}[p[2]]
		if i.Condition == "" {
			t.Fatalf("%q: no such condition", word)
		}
		if i.Condition == instance.Running {
			i.StartedAt = &at
		}
		for _, mark := range p[3:] {
			switch mark {
			case "healthy":
				i.Healthy = new(true)
			case "sick":
				i.Healthy = new(false)
			case "ready":
				i.Ready = true
			case "kill":
				i.KillAsked = &at
			default:
				t.Fatalf("%q: no such mark", word)
			}
		}
		out = append(out, i)
	}
	return out
}

func pointers(instances []instance.Instance) []*instance.Instance {
	out := make([]*instance.Instance, len(instances))
	for n := range instances {
		out[n] = &instances[n]
	}
	return out
}

// show writes a decision as the tables have it.
func show(d Decision, now time.Time) string {
	var b strings.Builder
	if d.Launch > 0 {
		fmt.Fprintf(&b, "launch %d\n", d.Launch)
	}
	for _, k := range d.Kill {
		fmt.Fprintf(&b, "kill %s: %s\n", k.ID, k.Why)
	}
	if d.Wait != "" {
		fmt.Fprintf(&b, "wait: %s\n", d.Waits(now))
	}
	if d.Stalled != "" {
		fmt.Fprintf(&b, "stalled: %s\n", d.Stalled)
	}
	if d.Done {
		b.WriteString("done\n")
	}
	return b.String()
}

func TestNext(t *testing.T) {
	full := Strategy{MinimumHealth: 1, MaximumOver: 1}
	tight := Strategy{MinimumHealth: 1}
	half := Strategy{MinimumHealth: 0.5}
	for _, c := range []struct {
		name   string
		target Target
		have   string
		want   string
	}{
		{"from nothing", Target{Wanted: 3, Strategy: full}, "", `
launch 3
wait: 0 of 3 instances running; 3 more wait for a worker
`},
		{"to nothing", Target{Strategy: full}, "new:a:running new:b:staging new:c:lost new:d:failed", `
kill c: it is not wanted any more
kill b: no instance is wanted any more
kill a: no instance is wanted any more
wait: 3 instances have to end
`},
		{"to nothing, with the lost ones first in line", Target{}, "new:a:killing:kill new:b:away:kill", `
wait: 2 instances have to end, 1 of them on a worker that is away
`},
		{"to nothing, all away", Target{}, "new:b:away:kill", `
wait: 1 instance has to end on a worker that is away
`},
		{"nothing wanted, nothing there", Target{}, "new:a:failed new:b:finished", "done\n"},
		{"as it should be", Target{Wanted: 2, Strategy: full}, "new:a:running new:b:running new:c:failed", "done\n"},
		{"scale up", Target{Wanted: 5, Strategy: full}, "new:a:running new:b:running new:c:starting", `
launch 2
wait: 2 of 5 instances running; 2 more wait for a worker
`},
		{"scale down, the order of conditions", Target{Wanted: 1}, "new:a:running new:b:starting new:c:staging new:d:provisioned@5 new:e:away", `
kill e: 1 is wanted, it is one too many
kill d: 1 is wanted, it is one too many
kill c: 1 is wanted, it is one too many
kill b: 1 is wanted, it is one too many
wait: 1 of 1 instances running; 4 instances have to end
`},
		{"scale down, youngest first", Target{Wanted: 2}, "new:a:running@30 new:b:running@10 new:c:running@20", `
kill b: 2 are wanted, it is one too many
wait: 2 of 2 instances running; 1 instance has to end
`},
		{"scale down, oldest first", Target{Wanted: 2, KillSelection: OldestFirst}, "new:a:running@30 new:b:running@10 new:c:running@20", `
kill a: 2 are wanted, it is one too many
wait: 2 of 2 instances running; 1 instance has to end
`},
		{"scale down keeps the healthy ones", Target{Wanted: 2, Strategy: full, HealthChecks: true}, "new:a:running:sick@30 new:b:running:healthy@10 new:c:running:healthy@20", `
kill a: 2 are wanted, it is one too many
wait: 2 of 2 instances healthy; 1 instance has to end
`},
		{"scale down goes on while one is ending", Target{Wanted: 1}, "new:a:running@30 new:b:killing:kill@10 new:c:running@20", `
kill c: 1 is wanted, it is one too many
wait: 1 of 1 instances running; 2 instances have to end
`},
		{"sentenced first, then scale down", Target{Wanted: 1, Sentenced: map[string]bool{"a": true}}, "new:a:running@30 new:b:running@10 new:c:running@20", `
kill a: its end was asked for
kill b: 1 is wanted, it is one too many
wait: 1 of 1 instances running; 2 instances have to end
`},
		{"sentenced, and another in its place when it has ended", Target{Wanted: 1, Strategy: full, Sentenced: map[string]bool{"a": true}}, "new:a:running", `
kill a: its end was asked for
wait: 0 of 1 instances running; 1 more starts when others have ended: 1 instance has to end
`},
		{"a lost one is replaced", Target{Wanted: 2, Strategy: full}, "new:a:running new:b:lost", `
launch 1
wait: 1 of 2 instances running; 1 more waits for a worker
`},
		{"an unreachable one is not replaced yet", Target{Wanted: 2, Strategy: full}, "new:a:running new:b:away@75", `
wait: 1 of 2 instances running; b is on a worker that is away for 1 min 15 s
`},
		{"the lost one returns", Target{Wanted: 2, Strategy: full}, "new:a:running@20 new:b:running@90 new:c:running@5", `
kill c: 2 are wanted, it is one too many
wait: 2 of 2 instances running; 1 instance has to end
`},

		{"replace, twice the number", Target{Wanted: 2, Strategy: full}, "old:a:running old:b:running", `
launch 2
wait: 0 of 2 instances of the new version running; 2 more wait for a worker
`},
		{"replace, one new is healthy", Target{Wanted: 2, Strategy: full, HealthChecks: true}, "old:a:running:healthy@90 old:b:running:healthy@80 new:c:running:healthy new:d:running@12", `
kill b: it is of an older version
wait: 1 of 2 instances of the new version healthy; d waits for its health check for 12 s
`},
		{"replace, healthy is not ready", Target{Wanted: 1, Strategy: full, HealthChecks: true, Readiness: true}, "old:a:running:healthy new:c:running:healthy@3700", `
wait: 0 of 1 instances of the new version ready; c waits for its readiness check for 1 h 1 min
`},
		{"replace, healthy and ready", Target{Wanted: 1, Strategy: full, HealthChecks: true, Readiness: true}, "old:a:running:healthy new:c:running:healthy:ready", `
kill a: it is of an older version
wait: 1 of 1 instances of the new version ready; 1 instance has to end
`},
		{"replace, unhealthy old ones first", Target{Wanted: 3, Strategy: full, HealthChecks: true}, "old:a:running:healthy@10 old:b:running:sick@90 old:c:running@50 new:d:running:healthy new:e:running:healthy new:f:running:sick@120", `
kill b: it is of an older version
kill c: it is of an older version
wait: 2 of 3 instances of the new version healthy; f is unhealthy for 2 min
`},
		{"replace, no room above: one more all the same", Target{Wanted: 2, Strategy: tight}, "old:a:running old:b:running", `
launch 1
wait: 0 of 2 instances of the new version running; 1 more waits for a worker
`},
		{"replace, no room above: then one goes", Target{Wanted: 2, Strategy: tight}, "old:a:running@9 old:b:running@8 new:c:running", `
kill b: it is of an older version
wait: 1 of 2 instances of the new version running; 1 more starts when others have ended: 1 instance has to end
`},
		{"replace, resident: one goes before", Target{Wanted: 2, Strategy: tight, Resident: true}, "old:a:running@9 old:b:running@8", `
kill b: it is of an older version
wait: 0 of 2 instances of the new version running; 2 more start when others have ended: 1 instance has to end
`},
		{"replace, half may be missing", Target{Wanted: 4, Strategy: half}, "old:a:running@9 old:b:running@8 old:c:running@7 old:d:running@6", `
kill d: it is of an older version
kill c: it is of an older version
wait: 0 of 4 instances of the new version running; 4 more start when others have ended: 2 instances have to end
`},
		{"replace, half may be missing, two are gone", Target{Wanted: 4, Strategy: half}, "old:a:running@9 old:b:running@8", `
launch 2
wait: 0 of 4 instances of the new version running; 2 more wait for a worker
`},
		{"replace at once", Target{Wanted: 2, Strategy: Strategy{}}, "old:a:running@9 old:b:running@8", `
kill b: it is of an older version
kill a: it is of an older version
wait: 0 of 2 instances of the new version running; 2 more start when others have ended: 2 instances have to end
`},
		{"replace a sick app that fills its room", Target{Wanted: 2, Strategy: half, HealthChecks: true}, "old:a:running:sick@9 old:b:running:sick@8", `
kill b: it is of an older version
wait: 0 of 2 instances of the new version healthy; 2 more start when others have ended: 1 instance has to end
`},
		{"a sick old one stays until there is a healthy new one", Target{Wanted: 1, Strategy: full, HealthChecks: true}, "old:a:running:sick new:b:starting@4", `
wait: 0 of 1 instances of the new version healthy; b is starting for 4 s
`},
		{"replace and scale down", Target{Wanted: 1, Base: 4, Strategy: full}, "old:a:running@9 old:b:running@8 old:c:running@7 old:d:running@6", `
kill d: it is of an older version
kill c: it is of an older version
kill b: it is of an older version
wait: 0 of 1 instances of the new version running; 1 more starts when others have ended: 3 instances have to end
`},
		{"an old one is away for ever", Target{Wanted: 1, Strategy: full}, "old:a:away:kill new:b:running", `
wait: 1 of 1 instances of the new version running; 1 instance has to end on a worker that is away
`},
		{"drain", Target{Wanted: 2, Strategy: full, Leaving: map[string]bool{"a": true}}, "new:a:running new:b:running", `
launch 1
wait: 1 of 2 instances running; 1 more waits for a worker
`},
		{"drain, the other is up", Target{Wanted: 2, Strategy: full, Leaving: map[string]bool{"a": true}}, "new:a:running new:b:running new:c:running", `
kill a: it leaves its worker
wait: 2 of 2 instances running; 1 instance has to end
`},
		{
			"the deadline passes",
			Target{Wanted: 1, HealthChecks: true, Deadline: Deadline{Started: now.Add(-time.Hour), LastProgress: now.Add(-10 * time.Minute), Limit: 10 * time.Minute}},
			"new:a:running:sick@60",
			`
wait: 0 of 1 instances healthy; a is unhealthy for 1 min
stalled: no progress for 10 min: 0 of 1 instances healthy; a is unhealthy for 1 min
`,
		},
		{
			"before the deadline",
			Target{Wanted: 1, HealthChecks: true, Deadline: Deadline{Started: now.Add(-time.Hour), LastProgress: now.Add(-9 * time.Minute), Limit: 10 * time.Minute}},
			"new:a:running:sick@60",
			`
wait: 0 of 1 instances healthy; a is unhealthy for 1 min
`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.target.Version = newV
			got := show(Next(c.target, pointers(parse(t, c.have)), now), now)
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestBalanceGoesFirstUnlessHealthForbids(t *testing.T) {
	target := Target{
		Wanted: 2, Version: newV, HealthChecks: true,
		Balance: func(candidates []*instance.Instance, n int) []string {
			if len(candidates) != 4 || n != 2 {
				t.Errorf("asked for %d of %d", n, len(candidates))
			}
			return []string{"c", "nobody", "c", "a"}
		},
	}
	have := parse(t, "new:a:running:healthy@9 new:b:running:sick@8 new:c:running:healthy@7 new:d:running:healthy@6")
	for _, c := range []struct {
		health float64
		want   []string
	}{
		{0, []string{"c", "a"}},
		{1, []string{"c", "b"}}, // two must stay healthy, so only one healthy one may go
	} {
		target.Strategy.MinimumHealth = c.health
		var got []string
		for _, k := range Next(target, pointers(have), now).Kill {
			got = append(got, k.ID)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("minimumHealthCapacity %v (-want +got)\n%s", c.health, diff)
		}
	}
}

func TestCeiling(t *testing.T) {
	for _, c := range []struct {
		target Target
		want   int
	}{
		{Target{Wanted: 4, Strategy: Strategy{1, 1}}, 8},
		{Target{Wanted: 4, Strategy: Strategy{1, 0.3}}, 5},
		{Target{Wanted: 4, Strategy: Strategy{1, 0}}, 5},
		{Target{Wanted: 4, Strategy: Strategy{1, 0.1}}, 5},
		{Target{Wanted: 4, Strategy: Strategy{0.8, 0}}, 5}, // 3.2 healthy are 4
		{Target{Wanted: 4, Strategy: Strategy{0.5, 0}}, 4},
		{Target{Wanted: 4, Strategy: Strategy{1, 0}, Resident: true}, 4},
		{Target{Wanted: 0, Strategy: Strategy{1, 1}}, 0},
		{Target{Wanted: 1, Base: 10, Strategy: Strategy{1, 0.5}}, 15},
		{Target{Wanted: 30, Strategy: Strategy{0, 0.1}}, 33},
	} {
		if got := c.target.Ceiling(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.target, got, c.want)
		}
	}
}

// TestProgressOfScaleDown: each instance that has ended is progress, from the first.
func TestProgressOfScaleDown(t *testing.T) {
	target, last := Target{Wanted: 1, Base: 9, Version: newV, Strategy: Strategy{1, 0}}, -1
	for n := 9; n > 0; n-- {
		have := ""
		for i := range n {
			have += fmt.Sprintf("new:i%d:running ", i)
		}
		got := Next(target, pointers(parse(t, have)), now).Progress
		if got <= last {
			t.Errorf("with %d left: %d after %d", n, got, last)
		}
		last = got
	}
}

func TestProgressRises(t *testing.T) {
	target := Target{Wanted: 2, Version: newV, Strategy: Strategy{1, 1}}
	last := -1
	for _, have := range []string{
		"old:a:running old:b:running old:x:running",
		"old:a:running old:b:running",
		"old:a:running old:b:running new:c:running new:d:staging",
		"old:b:running new:c:running new:d:staging",
		"old:b:running new:c:running new:d:running",
		"new:c:running new:d:running",
	} {
		got := Next(target, pointers(parse(t, have)), now).Progress
		if got <= last {
			t.Errorf("%s: %d after %d", have, got, last)
		}
		last = got
	}
}
