// Package report owns what programs of bench print alike: tables, middle values
// and the machine's load. It measures nothing.
package report

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Table writes rows with their columns aligned.
func Table(w io.Writer, rows [][]string) {
	wide := map[int]int{}
	for _, r := range rows {
		for i, c := range r {
			wide[i] = max(wide[i], len([]rune(c)))
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for i, c := range r {
			line.WriteString(c + strings.Repeat(" ", wide[i]-len([]rune(c))+2))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// Median is the middle value; the mean of the middle two where there are two; 0
// of nothing.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Load is the load averages of the last 1, 5 and 15 minutes.
func Load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
