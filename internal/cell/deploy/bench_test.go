package deploy

import (
	"fmt"
	"testing"

	"howdah.dev/howdah/internal/cell/instance"
)

// BenchmarkNext looks at 500 old and 500 new instances in the middle of a
// replacement, as the scheduler does after each batch of statuses.
func BenchmarkNext(b *testing.B) {
	var have []*instance.Instance
	for n := range 1000 {
		i := &instance.Instance{ID: fmt.Sprintf("shop.instance-%d", n*7919%1000), Version: newV, Condition: instance.Running, StagedAt: now, Since: now, StartedAt: &now}
		if n%2 == 0 {
			i.Version = oldV
		} else if n%3 == 0 {
			i.Condition = instance.Staging
		}
		have = append(have, i)
	}
	target := Target{Wanted: 500, Version: newV, Strategy: Strategy{MinimumHealth: 1, MaximumOver: 1}}
	for b.Loop() {
		if d := Next(target, have, now); len(d.Kill) != 333 {
			b.Fatalf("%d kills, %s", len(d.Kill), d.Wait)
		}
	}
}
