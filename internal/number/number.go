// Package number writes numbers the way people read them. It knows nothing of
// what they count.
package number

import (
	"fmt"
	"strings"
	"time"
)

// Thousands writes a whole number with separators: 12,288.
func Thousands[T ~int | ~int64](n T) string {
	s := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Count writes how many there are of what a word names: 1 node, 2 nodes.
func Count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// Span writes a time span with the two largest of its units, down to the second:
// 12 s, 3 min 5 s, 2 h 30 min. One that is less than nothing is 0 s.
func Span(d time.Duration) string {
	d = max(0, d)
	switch h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60; {
	case h > 0 && m > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case h > 0:
		return fmt.Sprintf("%d h", h)
	case m > 0 && s > 0:
		return fmt.Sprintf("%d min %d s", m, s)
	case m > 0:
		return fmt.Sprintf("%d min", m)
	default:
		return fmt.Sprintf("%d s", s)
	}
}
