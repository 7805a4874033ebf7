package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/bench/report"
)

// write prints the table and puts it and the notes into a file.
func (b *bench) write(path string) error {
	var text strings.Builder
	fmt.Fprintf(&text, "bench/cell/run, %s, share of the load %g\n\n", b.begun.Format("2006-01-02 15:04"), b.share)
	rows := [][]string{{"FIGURE", "MEDIAN", "ROUNDS", "GOAL"}}
	for _, f := range b.figures {
		values := b.values[f.name]
		all := make([]string, len(values))
		for i, v := range values {
			all[i] = report.Number(v)
		}
		verdict := ""
		if b.share == 1 { // goals are for the whole load
			verdict = f.verdict(report.Median(values))
		}
		rows = append(rows, []string{f.name, report.Number(report.Median(values)), strings.Join(all, " "), verdict})
	}
	report.Table(&text, rows)
	fmt.Println()
	fmt.Print(text.String())
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text.String()+"\n"+b.notes.String()), 0o644)
}

// verdict sets a median against the goal.
func (f figure) verdict(v float64) string {
	word, met := "at least", v >= f.goal
	if f.most {
		word, met = "at most", v <= f.goal
	}
	switch {
	case f.goal == 0:
		return ""
	case met:
		return word + " " + report.Number(f.goal)
	default:
		return word + " " + report.Number(f.goal) + ": missed"
	}
}

// quantile is the value below which a part of all lies.
func quantile(values []float64, part float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return s[min(len(s)-1, int(part*float64(len(s))))]
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
