// Package number writes numbers the way people read them. It knows nothing of
// what they count.
package number

import (
	"fmt"
	"strings"
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
