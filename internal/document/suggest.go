package document

import "strings"

// Suggest returns the known word nearest to a misspelt one, or "" if none is
// near. Case, hyphens and underscores do not count; of two equally near words
// the first known one wins.
func Suggest(word string, known []string) string {
	w := fold(word)
	if w == "" {
		return ""
	}
	limit := min(3, max(1, len(w)/3))
	best, bestDistance := "", limit+1
	for _, k := range known {
		f := fold(k)
		if f == "" || abs(len(f)-len(w)) >= bestDistance {
			continue
		}
		if d := distance(w, f); d < bestDistance && d < len(f) {
			best, bestDistance = k, d
		}
	}
	return best
}

func fold(s string) string {
	if len(s) > 100 {
		return ""
	}
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s))
}

func abs(n int) int { return max(n, -n) }

// distance counts insertions, deletions, substitutions and swaps of neighbours.
func distance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
