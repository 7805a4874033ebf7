// Package report owns what programs of bench print alike: tables of figures and
// goals, notes, middle values, and what the kernel says of the machine and of a
// process's memory.
package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Figure is one line of a table: what was measured in each round.
type Figure struct {
	Name   string
	Goal   float64 // 0 for none
	Least  bool    // the goal is the least it may be; else the most
	Rounds []float64
}

// verdict sets the median against the goal.
func (f Figure) verdict() string {
	word, met := "at most", Median(f.Rounds) <= f.Goal
	if f.Least {
		word, met = "at least", Median(f.Rounds) >= f.Goal
	}
	switch {
	case f.Goal == 0:
		return ""
	case met:
		return word + " " + Number(f.Goal)
	default:
		return word + " " + Number(f.Goal) + ": missed"
	}
}

// Figures are the lines of a table, in the order in which they were first measured.
type Figures []Figure

// Add adds rounds of a figure to those of the same name.
func (fs *Figures) Add(f Figure) {
	i := slices.IndexFunc(*fs, func(o Figure) bool { return o.Name == f.Name })
	if i < 0 {
		*fs = append(*fs, f)
		return
	}
	(*fs)[i].Rounds = append((*fs)[i].Rounds, f.Rounds...)
}

// Table writes the figures, with their goals where those count.
func (fs Figures) Table(w io.Writer, goals bool) {
	rows := [][]string{{"FIGURE", "MEDIAN", "ROUNDS", "GOAL"}}
	for _, f := range fs {
		all := make([]string, len(f.Rounds))
		for i, v := range f.Rounds {
			all[i] = Number(v)
		}
		verdict := ""
		if goals {
			verdict = f.verdict()
		}
		rows = append(rows, []string{f.Name, Number(Median(f.Rounds)), strings.Join(all, " "), verdict})
	}
	Table(w, rows)
}

// Notes are lines that are printed as they come and kept for the results.
type Notes struct{ text strings.Builder }

// Note prints a line after the time of day, and keeps it.
func (n *Notes) Note(format string, args ...any) {
	line := time.Now().Format(time.TimeOnly) + "  " + fmt.Sprintf(format, args...)
	fmt.Println(line)
	n.text.WriteString(line + "\n")
}

// Save prints results and puts them and the notes into a file; into none where it has
// no name.
func (n *Notes) Save(path, results string) error {
	fmt.Print("\n" + results)
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(results+"\n"+n.text.String()), 0o644)
}

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

// Quantile is the value below which a part of all lies; 0 of nothing.
func Quantile(values []float64, part float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return s[min(len(s)-1, int(part*float64(len(s))))]
}

// Millis is a time in milliseconds.
func Millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Peak is the most memory a process had at a time, in bytes (RSS).
func Peak(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib * 1024, err
		}
	}
	return 0, errors.New("the kernel does not tell a process's peak of memory")
}

// Load is the load averages of the last 1, 5 and 15 minutes.
func Load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// Number writes a value with as many digits as say something.
func Number(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// Machine says what the figures were taken on.
func Machine() string {
	model := "unknown processor"
	text, _ := os.ReadFile("/proc/cpuinfo") // a line of the notes may be poorer
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d × %s, %s/%s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version())
}
