package logline

import (
	"iter"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type entry struct{ at, source, place int }

// TestMerge: whatever the sources, all comes, in the order of time, with each source's
// own order kept and equal times in the order of the sources.
func TestMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []entry
		var seqs []iter.Seq[entry]
		for s := range rapid.IntRange(0, 5).Draw(t, "sources") {
			times := rapid.SliceOfN(rapid.IntRange(0, 9), 0, 20).Draw(t, "times")
			slices.Sort(times)
			var own []entry
			for place, at := range times {
				own = append(own, entry{at, s, place})
			}
			all = append(all, own...)
			seqs = append(seqs, slices.Values(own))
		}
		got := slices.Collect(Merge(func(a, b entry) bool { return a.at < b.at }, seqs...))
		slices.SortStableFunc(all, func(a, b entry) int { return a.at - b.at })
		if !slices.Equal(got, all) {
			t.Fatalf("got %v\nwant %v", got, all)
		}
	})
}

// TestMergeLeft: a reader who leaves ends the sources.
func TestMergeLeft(t *testing.T) {
	ended := 0
	endless := func(yield func(int) bool) {
		defer func() { ended++ }()
		for i := 0; yield(i); i++ {
		}
	}
	for v := range Merge(func(a, b int) bool { return a < b }, endless, endless) {
		if v == 3 {
			break
		}
	}
	if ended != 2 {
		t.Errorf("%d sources ended, want 2", ended)
	}
}
