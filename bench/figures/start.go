package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/bench/report"
)

// settling is the pause between two measurements.
const settling = 2 * time.Second

// goalStart is the share of the baseline's time that Howdah may take.
const goalStart = 0.55

// took is one measurement: how long, the processor seconds of the daemons, and
// those of everything on the machine but them and Howdah.
type took struct{ seconds, cpu, others float64 }

// disturbed is the share of the machine that others took, in percent.
func (t took) disturbed() float64 {
	return max(0, 100*t.others/(t.seconds*float64(runtime.NumCPU())))
}

// start measures the eight daemons in three columns, by turns: a plain parallel
// start, Howdah with gates, Howdah with gates and archives. The first round
// warms the caches and is discarded.
func (b *bench) start(ctx context.Context) error {
	dir := filepath.Join(filepath.Dir(b.dir), "launchers")
	if err := b.launchers(dir); err != nil {
		return err
	}
	if _, err := b.howdah(ctx, "stop", "stream"); err != nil {
		return err
	}
	if err := b.stop(ctx); err != nil {
		return err
	}
	names := []string{"plain parallel start", "Howdah, gates", "Howdah, gates and archives"}
	do := []func(context.Context) (took, error){
		func(ctx context.Context) (took, error) { return baseline(ctx, dir) },
		b.withoutArchive,
		b.timeStart,
	}
	rounds := make([][]took, len(do))
	defer func() { b.startRows(names, rounds) }() // also of a run that is cut short
	first := 0
	if b.rounds == 1 {
		first = 1 // a try; nothing is discarded
	}
	for r := first; r <= b.rounds; r++ {
		for i := range do {
			if err := sleep(ctx, settling); err != nil {
				return err
			}
			before := report.Load()
			t, err := do[i](ctx)
			if err != nil {
				return fmt.Errorf("round %d, %s: %w", r, names[i], err)
			}
			note := ""
			if r == 0 {
				note = "  (discarded)"
			} else {
				rounds[i] = append(rounds[i], t)
			}
			b.Note("round %d  %-27s %5.1f s  %5.1f CPU seconds  others took %2.0f %% of the machine  load before %s%s", r, names[i], t.seconds, t.cpu, t.disturbed(), before, note)
		}
	}
	return b.startStopped(ctx)
}

func (b *bench) startRows(names []string, rounds [][]took) {
	var base float64
	for i, name := range names {
		if len(rounds[i]) == 0 {
			continue
		}
		var seconds, cpu, others []float64
		for _, t := range rounds[i] {
			seconds, cpu, others = append(seconds, t.seconds), append(cpu, t.cpu), append(others, t.disturbed())
		}
		verdict := "1"
		if i == 0 {
			base = report.Median(seconds)
		} else {
			verdict = fmt.Sprintf("%.2f of the plain start", report.Median(seconds)/base)
		}
		if i == len(names)-1 {
			verdict += fmt.Sprintf(", goal %.2f", goalStart)
		}
		b.row("8 daemons, "+name+", s", seconds, verdict)
		b.row("  CPU seconds of the daemons", cpu, "")
		b.row("  share of the machine others took, %", others, "")
	}
}

// baseline runs baseline.sh, which stops what it started also when it is told
// to end.
func baseline(ctx context.Context, dir string) (took, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*readyPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bench/baseline.sh", dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return took{}, fmt.Errorf("baseline.sh: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	var t took
	_, err = fmt.Sscan(string(out), &t.seconds, &t.cpu, &t.others)
	t.others -= t.cpu
	return t, err
}

// withoutArchive is timeStart with the JDK's own archive, as the plain start has it.
func (b *bench) withoutArchive(ctx context.Context) (t took, err error) {
	as, err := b.assignments()
	if err != nil {
		return t, err
	}
	away := map[string]bool{}
	for _, a := range as {
		for _, ar := range a.Archives {
			if a.Node.Cluster != "warehouse" || away[ar.Path] {
				continue
			}
			away[ar.Path] = true
			if err := putAway(ar.Path, ar.JavaHome); err != nil {
				return t, err
			}
			defer func() { err = errors.Join(err, putBack(ar.Path)) }()
		}
	}
	if len(away) == 0 {
		return t, errors.New("no archive was found to do without")
	}
	return b.timeStart(ctx)
}

// timeStart starts both clusters at once and returns when their last service was
// ready, by its agent's word, and stops them again.
func (b *bench) timeStart(ctx context.Context) (took, error) {
	info, err := b.client.Info(ctx)
	if err != nil {
		return took{}, err
	}
	busyWas, serverWas := busySeconds(), cpuSeconds(info.PID)
	begun := time.Now()
	errs := make(chan error, len(columns))
	for _, c := range columns {
		go func() {
			_, err := b.howdah(ctx, "start", c, "--no-wait")
			errs <- err
		}()
	}
	for range columns {
		if err := <-errs; err != nil {
			return took{}, err
		}
	}
	svcs, err := b.untilReady(ctx, begun)
	if err != nil {
		return took{}, err
	}
	last := begun
	t := took{}
	for _, s := range svcs {
		if s.Since.After(last) {
			last = s.Since
		}
		t.cpu += cpuSeconds(s.PID)
	}
	t.seconds = last.Sub(begun).Seconds()
	// By now a little later than the last service; near enough to tell a busy
	// machine from a quiet one.
	t.others = busySeconds() - busyWas - t.cpu - (cpuSeconds(info.PID) - serverWas) - b.agentSeconds(ctx)
	if err := archived(svcs[0].PID); err != nil {
		return took{}, err
	}
	// The clusters' own tests, which are not measured here, are cut short.
	return t, b.stop(ctx)
}

// agentSeconds is the processor time of the agents of both clusters, which were
// started with them.
func (b *bench) agentSeconds(ctx context.Context) float64 {
	cs, err := b.client.Clusters(ctx)
	if err != nil {
		return 0
	}
	total := 0.0
	for _, c := range cs {
		for _, n := range c.Nodes {
			if slices.Contains(columns, c.Name) {
				total += cpuSeconds(n.AgentPID)
			}
		}
	}
	return total
}

// untilReady waits for every daemon to be ready since a moment.
func (b *bench) untilReady(ctx context.Context, begun time.Time) ([]api.ServiceStatus, error) {
	deadline := begun.Add(readyPatience)
	for {
		svcs, ready, err := b.services(ctx, columns...)
		if err != nil {
			return nil, err
		}
		for _, s := range svcs {
			ready = ready && s.State == "ready" && s.Since.After(begun) && s.PID != 0
		}
		if ready && len(svcs) == daemons {
			return svcs, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("not all services are ready after %s", readyPatience)
		}
		if err := sleep(ctx, 250*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// archived proves by the memory map that a service uses some archive.
func archived(pid int) error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return err
	}
	if !strings.Contains(string(maps), ".jsa") {
		return fmt.Errorf("process %d uses no class-data archive", pid)
	}
	return nil
}

// stop stops both clusters, the one that needs the other first.
func (b *bench) stop(ctx context.Context) error {
	for _, c := range []string{"batch", "warehouse"} {
		if _, err := b.howdah(ctx, "stop", c); err != nil {
			return err
		}
	}
	return nil
}
