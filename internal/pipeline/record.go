package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"
)

const (
	// recordDir is the folder of the warehouse that run records are kept in.
	recordDir    = "/data/.howdah/pipelines"
	recordFormat = "howdah.pipeline/1"
	// recordEvery is how often the record of a run that goes on is written.
	recordEvery = 5 * time.Second
	// maxRuns is how many ended runs of a pipeline are remembered.
	maxRuns   = 20
	maxRecord = 16 << 20
)

// Record is what the warehouse remembers of the last run of a pipeline.
type Record struct {
	Format     string    `json:"format" doc:"howdah.pipeline/1"`
	Definition string    `json:"definition" doc:"SHA-256 of the definition, local paths and defaults filled in"`
	Updated    time.Time `json:"updated,omitzero" doc:"When this was written; a run that goes on writes it anew every few seconds"`
	VerifiedAt time.Time `json:"verifiedAt,omitzero" doc:"When every step was done, a verify step among them; absent otherwise"`
	Result     Result    `json:"result" doc:"What the run did"`
}

// Silent returns for how long a run that is said to go on has written nothing; 0
// while it is known to be alive, or has ended. Clocks of two machines may differ.
func (r Record) Silent(now time.Time) time.Duration {
	if quiet := now.Sub(r.Updated); r.Result.State == StateRunning && quiet > 6*recordEvery {
		return quiet
	}
	return 0
}

// Verified reports whether the results of the run equalled an independent count.
func (r Record) Verified() bool { return !r.VerifiedAt.IsZero() }

// RecordPath returns where the record of a pipeline is kept.
func RecordPath(name string) string { return path.Join(recordDir, name+".json") }

// LastRun returns the record of the last run of a pipeline, also of one that
// failed or was killed; fs.ErrNotExist without any.
func LastRun(ctx context.Context, files Reader, name string) (Record, error) {
	data, err := readSmall(ctx, files, RecordPath(name), maxRecord)
	if err != nil {
		return Record{}, fmt.Errorf("cannot read run record: %w", err)
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("cannot read run record %s: %w", RecordPath(name), err)
	}
	if r.Format != recordFormat {
		return Record{}, fmt.Errorf("cannot read run record %s: its format is %s: %w", RecordPath(name), quote(r.Format), fs.ErrNotExist)
	}
	return r, nil
}

// Changes says in a sentence each what is no longer as it was in the recorded
// run: the definition, or local files. It reads them all.
func (r Record) Changes(ctx context.Context, d *Definition) ([]string, error) {
	var changes []string
	if digest, err := d.digest(); err != nil {
		return nil, err
	} else if digest != r.Definition {
		changes = append(changes, "the definition of "+d.Name+" changed")
	}
	for _, s := range d.Steps {
		inputs, err := s.inputs(ctx)
		if err != nil {
			return nil, err
		}
		recorded := r.Result.Step(s.Name).Inputs
		for _, in := range inputs {
			if slices.Contains(recorded, in) {
				continue
			}
			if from, _ := s.source(); from == in.Path {
				changes = append(changes, "the files below "+in.Path+" changed (step "+s.Name+")")
			} else {
				changes = append(changes, in.Path+" changed (step "+s.Name+")")
			}
		}
	}
	return changes, nil
}

// inputs returns the local files of a step as they are now.
func (s Step) inputs(ctx context.Context) ([]Input, error) {
	var inputs []Input
	if from, match := s.source(); from != "" {
		t, err := scan(ctx, from, match)
		if err != nil {
			return nil, err
		}
		inputs = []Input{{Step: s.Name, Path: t.root, Digest: t.digest}}
	}
	files, err := fileInputs(s.Name, s.programs()...)
	return append(inputs, files...), err
}

// source returns the local files that a step carries into the warehouse.
func (s Step) source() (from, match string) {
	switch {
	case s.App != nil:
		return s.App.Build.Layers[0].From, s.App.Build.Layers[0].Match
	case s.Ingest != nil:
		return s.Ingest.From, s.Ingest.Match
	case s.Feed != nil:
		return s.Feed.From, s.Feed.Match
	}
	return "", ""
}

// programs returns the local files that a step runs.
func (s Step) programs() []string {
	switch {
	case s.App != nil:
		return []string{s.App.Build.Binary}
	case s.Job != nil && s.Job.Jar != "":
		return []string{s.Job.Jar}
	case s.Topology != nil:
		return s.Topology.local()
	}
	return nil
}

// local returns the local files of a topology.
func (t *Topology) local() []string { return slices.Concat([]string{t.Flux}, t.Resources, t.Files) }

func fileInputs(step string, names ...string) ([]Input, error) {
	var inputs []Input
	for _, name := range names {
		digest, err := fileDigest(name)
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, Input{Step: step, Path: name, Digest: digest})
	}
	return inputs, nil
}

// digest is that of the definition as it is run.
func (d *Definition) digest() (string, error) {
	data, err := json.Marshal(d)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, _ = h.Write(data)
	return digestText(h), nil
}

// saveRecord replaces the record. Run does it when it starts, so that a run that
// was killed does not leave an older verification behind, now and then, and at
// its end; then the run is remembered for itself too.
func (r *run) saveRecord(ctx context.Context, result Result) error {
	digest, err := r.Definition.digest()
	if err != nil {
		return err
	}
	rec := Record{Format: recordFormat, Definition: digest, Updated: time.Now().UTC(), Result: result}
	verifies := slices.ContainsFunc(result.Steps, func(s StepResult) bool { return s.Kind == KindVerify })
	if result.State == StateDone && verifies {
		rec.VerifiedAt = result.Ended
	}
	data, err := json.MarshalIndent(rec, "", "  ")
	data = append(data, '\n')
	if err == nil {
		err = replaceFile(ctx, r.Files, RecordPath(r.Definition.Name), data)
	}
	if err == nil && result.State != StateRunning {
		err = r.remember(ctx, r.id, data)
	}
	if err != nil {
		return fmt.Errorf("cannot save run record: %w", err)
	}
	return nil
}

// keepRecord writes the record now and then until ctx ends, so that others see
// how the run goes. It may fail: the next one, or the last, makes up for it.
func (r *run) keepRecord(ctx context.Context, started time.Time) {
	tick := time.NewTicker(recordEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = r.saveRecord(ctx, r.result(started, nil))
		}
	}
}
