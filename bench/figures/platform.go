package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"howdah.dev/howdah/bench/report"
	"howdah.dev/howdah/internal/pipeline"
)

const (
	platformRounds = 3
	pipelineRounds = 2
	goalPlatform   = 30.0  // seconds
	goalPipeline   = 120.0 // seconds
)

// platform measures coming back after "howdah down" until every service is
// ready and every cluster has passed its test.
func (b *bench) platform(ctx context.Context) error {
	var up, services, down []float64
	defer func() { // also of a run that is cut short
		if len(services) == 0 {
			return
		}
		b.row("whole platform warm, ready and smoke-tested, s", up, against(report.Median(up), goalPlatform))
		b.row("  its last service ready, s", services, "")
		b.row("howdah down, s", down, "")
	}()
	for r := range min(platformRounds, b.rounds) {
		begun := time.Now()
		if _, err := b.howdah(ctx, "down"); err != nil {
			return err
		}
		down = append(down, time.Since(begun).Seconds())
		if err := sleep(ctx, settling); err != nil {
			return err
		}
		before := report.Load()
		begun = time.Now()
		if _, err := b.howdah(ctx, "up", example); err != nil {
			return err
		}
		up = append(up, time.Since(begun).Seconds())
		svcs, _, err := b.services(ctx)
		if err != nil {
			return err
		}
		last := begun
		for _, s := range svcs {
			if s.Since.After(last) {
				last = s.Since
			}
		}
		services = append(services, last.Sub(begun).Seconds())
		b.Note("round %d  up %.1f s, the last of %d services ready at %.1f s; down %.1f s  load before %s", r+1, up[r], len(svcs), services[r], down[r], before)
		if err := b.phases(ctx, begun); err != nil {
			return err
		}
	}
	return nil
}

// phases notes when each service was ready and when each cluster's test ended.
func (b *bench) phases(ctx context.Context, begun time.Time) error {
	cs, err := b.client.Clusters(ctx)
	if err != nil {
		return err
	}
	at := func(t *time.Time) string {
		if t == nil || t.Before(begun) {
			return "-"
		}
		return fmt.Sprintf("%.1f", t.Sub(begun).Seconds())
	}
	for _, c := range cs {
		var line []string
		for _, n := range c.Nodes {
			for _, s := range n.Services {
				line = append(line, s.Name+" "+at(&s.Since))
			}
		}
		ops, err := b.client.Operations(ctx, c.Name, 1)
		if err != nil || len(ops) == 0 {
			return err
		}
		o, err := b.client.Operation(ctx, ops[0].ID)
		if err != nil {
			return err
		}
		for _, s := range o.Steps {
			if s.Phase == "smoke" {
				line = append(line, "test "+at(s.Started)+" to "+at(s.Finished))
			}
		}
		b.Note("         %-9s %s", c.Name, strings.Join(line, ", "))
	}
	return nil
}

// pipeline measures a run of the example's pipeline on the warm platform.
func (b *bench) pipeline(ctx context.Context) error {
	var seconds []float64
	defer func() {
		if len(seconds) > 0 {
			b.row("pipeline with its verified result, s", seconds, against(report.Median(seconds), goalPipeline))
		}
	}()
	for r := range min(pipelineRounds, b.rounds) {
		// Without its record it knows of no run before.
		if _, err := b.howdah(ctx, "run", "warehouse", "--", "hdfs", "dfs", "-rm", "-f", "-skipTrash", pipeline.RecordPath("go-src")); err != nil {
			return err
		}
		before := report.Load()
		begun := time.Now()
		out, err := b.howdah(ctx, "up", example, "--pipeline")
		if err != nil {
			return err
		}
		if !strings.Contains(out, "verified: ") {
			return fmt.Errorf("the pipeline did not run again:\n%s", tail(out))
		}
		seconds = append(seconds, time.Since(begun).Seconds())
		b.Note("round %d  %.1f s  load before %s", r+1, seconds[r], before)
		if _, steps, ok := strings.Cut(out, "\nSTEP "); ok {
			steps, _, _ = strings.Cut(steps, "\n\n")
			b.Note("         steps\nSTEP %s", steps)
		}
	}
	return nil
}

// against says how a figure stands to its goal.
func against(got, goal float64) string {
	if got < goal {
		return fmt.Sprintf("goal %.0f: met", goal)
	}
	return fmt.Sprintf("goal %.0f: missed by %.1f", goal, got-goal)
}
