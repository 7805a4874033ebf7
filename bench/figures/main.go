// Command figures measures a running platform: how long daemons take to start beside a
// plain parallel start of the same daemons, how long the whole platform and its
// pipeline take, and what Howdah costs while nothing happens. bench/run calls it.
//
// It works in a home of its own, which it keeps for the next time, and suspends
// it at the end. It owns no test; what it imports of Howdah are the documents
// and the Go SDK.
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
var parts = []string{"start", "platform", "pipeline", "idle"} //nolint:gochecknoglobals // a constant list

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	howdah := flag.String("howdah", "bin/howdah", "program to measure")
	home := flag.String("home", "", "its home, made where absent and kept")
	rounds := flag.Int("rounds", 5, "rounds of the three columns, one more is discarded; 1 is a try of everything")
	out := flag.String("out", "", "file for the results")
	flag.Parse()
	asked := flag.Args()
	if len(asked) == 0 {
		asked = parts
	}
	if *rounds < 1 {
		return fmt.Errorf("%d rounds give no figure", *rounds)
	}
	for _, p := range asked {
		if !slices.Contains(parts, p) {
			return fmt.Errorf("there is no part %q; one of %s", p, strings.Join(parts, ", "))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := newBench(*howdah, *home, *rounds)
	if err != nil {
		return err
	}
	err = b.measure(ctx, asked)
	// What was measured until then is worth keeping.
	if werr := b.write(*out); err == nil {
		err = werr
	}
	return err
}

// bench is one run.
type bench struct {
	*home
	rounds int
	now    time.Time
	table  [][]string // figure, median, all rounds, ratio or goal
	report.Notes
}

func newBench(howdah, dir string, rounds int) (*bench, error) {
	h, err := newHome(howdah, dir)
	if err != nil {
		return nil, err
	}
	return &bench{home: h, rounds: rounds, now: time.Now()}, nil
}

// measure runs the parts; whatever happens, the home is suspended afterwards.
func (b *bench) measure(ctx context.Context, asked []string) (err error) {
	b.Note("load before: %s", report.Load())
	defer func() {
		if _, e := b.howdah(context.WithoutCancel(ctx), "down"); err == nil {
			err = e
		}
	}()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	for _, p := range parts {
		if !slices.Contains(asked, p) {
			continue
		}
		begun := time.Now()
		switch p {
		case "start":
			err = b.start(ctx)
		case "platform":
			err = b.platform(ctx)
		case "pipeline":
			err = b.pipeline(ctx)
		case "idle":
			err = b.idle(ctx)
		}
		b.Note("%s took %.0f s", p, time.Since(begun).Seconds())
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// row adds a line to the table.
func (b *bench) row(figure string, values []float64, verdict string) {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = fmt.Sprintf("%.1f", v)
	}
	b.table = append(b.table, []string{figure, fmt.Sprintf("%.1f", report.Median(values)), strings.Join(all, " "), verdict})
}

// write prints the table and puts it, the machine and the rounds into a file.
func (b *bench) write(path string) error {
	var text strings.Builder
	fmt.Fprintf(&text, "bench/run, %s\n\n%s\n", b.now.Format("2006-01-02 15:04"), b.machine())
	report.Table(&text, append([][]string{{"FIGURE", "MEDIAN", "ROUNDS", "AGAINST"}}, b.table...))
	return b.Save(path, text.String())
}
