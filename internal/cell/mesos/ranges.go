package mesos

import (
	"cmp"
	"math"
	"slices"
)

// joinRanges returns the ranges sorted, with those joined that meet. The result
// shares no memory with its argument.
func joinRanges(ranges []Range) []Range {
	if len(ranges) == 0 {
		return nil
	}
	sorted := slices.Clone(ranges)
	if joined(sorted) { // as most are
		return sorted
	}
	slices.SortFunc(sorted, func(a, b Range) int { return cmp.Compare(a.Begin, b.Begin) })
	out := sorted[:0]
	for _, g := range sorted {
		if n := len(out); n > 0 && (out[n-1].End == math.MaxUint64 || g.Begin <= out[n-1].End+1) {
			out[n-1].End = max(out[n-1].End, g.End)
			continue
		}
		out = append(out, g)
	}
	return out
}

// joined tells whether ranges are sorted and none meets the next.
func joined(ranges []Range) bool {
	for i := 1; i < len(ranges); i++ {
		if before := ranges[i-1].End; before == math.MaxUint64 || ranges[i].Begin <= before+1 {
			return false
		}
	}
	return true
}

// cutRanges returns what is in from and not in off. Both are sorted and joined.
func cutRanges(from, off []Range) []Range {
	var out []Range
	next := 0
	for _, g := range from {
		for next < len(off) && off[next].End < g.Begin {
			next++
		}
		rest := true
		for i := next; rest && i < len(off) && off[i].Begin <= g.End; i++ {
			if off[i].Begin > g.Begin {
				out = append(out, Range{g.Begin, off[i].Begin - 1})
			}
			if rest = off[i].End < g.End; rest {
				g.Begin = off[i].End + 1
			}
		}
		if rest {
			out = append(out, g)
		}
	}
	return out
}
