// Command sim measures what clusters of many nodes cost: the real server side (store,
// planner, operation engine, handler of agents, API) over an infrastructure in memory,
// whose agents say at once that all is well. bench/sim/run calls it. It owns no test.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"howdah.dev/howdah/bench/report"
)

// limit bounds the whole run.
const limit = time.Hour

// figure is one of one round; the goal is the most it may be, 0 for none.
func figure(name string, goal, value float64) report.Figure {
	return report.Figure{Name: name, Goal: goal, Rounds: []float64{value}}
}

// part is a measurement that has a process of its own, so that what it takes is its
// own too.
type part struct {
	name string
	do   func(ctx context.Context, dir string) ([]report.Figure, error)
}

func parts() []part {
	made := func(nodes int, call time.Duration) func(context.Context, string) ([]report.Figure, error) {
		return func(ctx context.Context, dir string) ([]report.Figure, error) { return create(ctx, dir, nodes, call) }
	}
	return []part{
		{"100", made(100, 0)},
		{"1000", made(1000, 0)},
		{"3000", made(3000, 0)},
		{"10000", made(10000, 0)},
		{"slow", made(1000, 2*time.Second)},
		{"clients", clients},
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/sim:", err)
		os.Exit(1)
	}
}

func run() error {
	child := flag.String("as", "", "for the program's own use")
	rounds := flag.Int("rounds", 3, "rounds of each part")
	out := flag.String("out", "", "file for the results")
	drawn := flag.String("plot", "", "file for a drawing of what each node costs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %s", limit))
	defer cancel()
	if *child != "" {
		return one(ctx, *child)
	}
	asked := flag.Args()
	var figures report.Figures
	var notes report.Notes
	notes.Note("machine: %s", report.Machine())
	for _, p := range parts() {
		if len(asked) > 0 && !slices.Contains(asked, p.name) {
			continue
		}
		for r := range *rounds {
			load := report.Load()
			got, err := apart(ctx, p.name)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			notes.Note("%s, round %d; load before %s", p.name, r+1, load)
			for _, f := range got {
				figures.Add(f)
			}
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "bench/sim/run, %s\n\n", time.Now().Format("2006-01-02 15:04"))
	figures.Table(&text, true)
	if *drawn != "" {
		if err := plot(*drawn, figures); err != nil {
			return err
		}
	}
	return notes.Save(*out, text.String())
}

// apart has a process of its own make the measurement.
func apart(ctx context.Context, name string) ([]report.Figure, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-as", name)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var got []report.Figure
	return got, json.Unmarshal(text, &got)
}

// one makes a measurement in this process.
func one(ctx context.Context, name string) error {
	i := slices.IndexFunc(parts(), func(p part) bool { return p.name == name })
	if i < 0 {
		return fmt.Errorf("there is no part %s", name)
	}
	dir, err := os.MkdirTemp("", "howdah-b-") // short: the path of a unix socket
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	got, err := parts()[i].do(ctx, dir)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(got)
}
