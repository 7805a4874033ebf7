package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// runsDir is the folder with the records of a pipeline's ended runs. The name of
// a pipeline has no dot.
func runsDir(name string) string { return path.Join(recordDir, name+".runs") }

// remember writes the record of an ended run beside those of others, and forgets
// the oldest.
func (r *run) remember(ctx context.Context, id string, data []byte) error {
	dir := runsDir(r.Definition.Name)
	if err := replaceFile(ctx, r.Files, path.Join(dir, id+".json"), data); err != nil {
		return err
	}
	names, err := runNames(ctx, r.Files, dir)
	if err != nil {
		return err
	}
	for _, name := range names[min(len(names), maxRuns):] {
		if err := r.Files.Remove(ctx, path.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// begin replaces the record: what was verified is about to be. A run that was
// killed left its record as if it went on; it is remembered as cancelled.
func (r *run) begin(ctx context.Context, started time.Time) error {
	if last, err := LastRun(ctx, r.Files, r.Definition.Name); err == nil && last.Result.State == StateRunning && runID.MatchString(last.Result.Run) {
		last.Result.State, last.Result.Ended = StateCancelled, last.Updated
		data, err := json.MarshalIndent(last, "", "  ")
		if err == nil {
			err = r.remember(ctx, last.Result.Run, append(data, '\n'))
		}
		if err != nil {
			return fmt.Errorf("cannot save run record: %w", err)
		}
	}
	return r.saveRecord(ctx, r.result(started, nil))
}

// runNames lists records of runs, newest first.
func runNames(ctx context.Context, files Reader, dir string) ([]string, error) {
	entries, err := list(ctx, files, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name, ".json"); ok && runID.MatchString(id) {
			names = append(names, e.Name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(b, a) })
	return names, nil
}

// Runs returns what is remembered of the runs of a pipeline, newest first, one
// that goes on or was killed among them.
func Runs(ctx context.Context, files Reader, name string) ([]Record, error) {
	var out []Record
	last, err := LastRun(ctx, files, name)
	if err == nil {
		out = append(out, last)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names, err := runNames(ctx, files, runsDir(name))
	if err != nil {
		return nil, fmt.Errorf("cannot list runs: %w", err)
	}
	for _, file := range names[:min(len(names), maxRuns)] {
		data, err := readSmall(ctx, files, path.Join(runsDir(name), file), maxRecord)
		if errors.Is(err, fs.ErrNotExist) {
			continue // forgotten meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read run record: %w", err)
		}
		var r Record
		if json.Unmarshal(data, &r) != nil || r.Format != recordFormat || r.Result.Run == last.Result.Run {
			continue
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b Record) int { return strings.Compare(b.Result.Run, a.Result.Run) })
	return out, nil
}
