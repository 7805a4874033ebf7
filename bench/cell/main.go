// Command cell measures a cell: how fast its master and scheduler start, replace
// and find thousands of tasks again, and what its API costs. bench/cell/run calls
// it.
//
// Master, scheduler and 200 simulated workers are processes of their own, on
// loopback, with the files and the SQLite of a real cell; only a task's start is
// 50 ms of waiting. The part launch has one real worker instead. The program calls
// itself for them. It owns no test.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"howdah.dev/howdah/bench/report"
)

// parts are what can be asked for, in the order in which they run.
var parts = []string{"tasks", "apps0", "apps1", "list", "events", "launch"} //nolint:gochecknoglobals // a constant list

// limit bounds the whole run; each wait has a bound of its own.
const limit = 2 * time.Hour

func main() {
	err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/cell:", err)
		os.Exit(1)
	}
}

func run() error {
	child := flag.String("as", "", "for the program's own use")
	config := flag.String("config", "", "for the program's own use")
	dir := flag.String("dir", ".cache/bench/cell", "directory for the cells; emptied")
	rounds := flag.Int("rounds", 3, "rounds of each part")
	share := flag.Float64("share", 1, "part of the load: 0.1 tries everything with a tenth of it")
	profile := flag.String("profile", "", "directory for CPU and heap profiles of the cell's processes")
	out := flag.String("out", "", "file for the results")
	content := flag.String("content", "", "the program in the images of the part launch; bench/cell/run builds it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *child != "" {
		return serveAs(ctx, *child, *config, *profile)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %s", limit))
	defer cancel()
	asked := flag.Args()
	if len(asked) == 0 {
		asked = parts
	}
	for _, p := range asked {
		if !slices.Contains(parts, p) {
			return fmt.Errorf("there is no part %q; one of %s", p, strings.Join(parts, ", "))
		}
	}
	if *rounds < 1 || *share <= 0 || *share > 1 {
		return fmt.Errorf("%d rounds of a share of %g give no figure", *rounds, *share)
	}
	b := &bench{dir: *dir, profile: *profile, content: *content, share: *share, begun: time.Now()}
	if slices.Contains(asked, "launch") { // not after a quarter of an hour
		if err := b.canLaunch(); err != nil {
			return err
		}
	}
	err := b.measure(ctx, asked, *rounds)
	// What was measured until then is worth keeping.
	if werr := b.write(*out); err == nil {
		err = werr
	}
	return err
}

// bench is one run.
type bench struct {
	dir, profile string
	content      string // path
	share        float64
	begun        time.Time
	part         string // the one in work
	round        int
	started      int // processes that are profiled

	figures report.Figures
	report.Notes
}

// of scales a number of things.
func (b *bench) of(n int) int { return max(1, int(float64(n)*b.share)) }

func (b *bench) measure(ctx context.Context, asked []string, rounds int) error {
	b.Note("machine: %s", report.Machine())
	for _, p := range parts {
		if !slices.Contains(asked, p) {
			continue
		}
		do := map[string]func(context.Context) error{"tasks": b.tasks, "apps0": b.apps0, "apps1": b.apps1, "list": b.list, "events": b.events, "launch": b.launch}[p]
		for b.part, b.round = p, 1; b.round <= rounds; b.round++ {
			begun, load := time.Now(), report.Load()
			err := do(ctx)
			b.Note("%s, round %d: %.0f s; load before %s", p, b.round, time.Since(begun).Seconds(), load)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", p, b.round, err)
			}
		}
	}
	return nil
}

// atMost keeps a value of a figure that must not be above a goal; 0 is no goal.
func (b *bench) atMost(goal float64, name string, value float64) {
	b.keep(report.Figure{Name: name, Goal: goal}, value)
}

// atLeast keeps a value of a figure that must not be below a goal.
func (b *bench) atLeast(goal float64, name string, value float64) {
	b.keep(report.Figure{Name: name, Goal: goal, Least: true}, value)
}

func (b *bench) keep(f report.Figure, value float64) {
	f.Rounds = []float64{value}
	b.figures.Add(f)
	fmt.Printf("%s  %s: %s\n", time.Now().Format(time.TimeOnly), f.Name, report.Number(value))
}

// write prints the table and puts it and the notes into a file. Goals are for the
// whole load.
func (b *bench) write(path string) error {
	var text strings.Builder
	fmt.Fprintf(&text, "bench/cell/run, %s, share of the load %g\n\n", b.begun.Format("2006-01-02 15:04"), b.share)
	b.figures.Table(&text, b.share == 1)
	return b.Save(path, text.String())
}
