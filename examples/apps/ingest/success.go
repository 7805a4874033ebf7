package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// manifest is what _SUCCESS holds, in the format of Howdah's own ingest step
// (howdah.dataset/1), and who wrote what.
type manifest struct {
	Format   string         `json:"format"`
	Pipeline string         `json:"pipeline"`
	Run      string         `json:"run"`
	Written  time.Time      `json:"written"`
	Files    int            `json:"files"`
	Bytes    int64          `json:"bytes"`
	Digest   string         `json:"digest"`
	PartMB   int            `json:"partMB"`
	Parts    []manifestPart `json:"parts"`
}

type manifestPart struct {
	Name  string `json:"name"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
	// Task held the claim when the dataset was complete. Where a claim was taken
	// over, the part may be the former holder's.
	Task string `json:"task,omitempty"`
}

// succeed writes _SUCCESS. All who see every part try; the first rename counts.
func (w *worker) succeed(ctx context.Context, parts []part) (bool, error) {
	if done, err := w.complete(ctx, parts); done || err != nil {
		return done, err
	}
	m := manifest{
		Format: "howdah.dataset/1", Pipeline: w.cfg.pipeline, Run: w.cfg.run, Written: time.Now().UTC(),
		Files: len(w.tree.files), Bytes: w.tree.bytes, Digest: w.tree.digest, PartMB: int(w.cfg.partMB),
	}
	for _, p := range parts {
		mp := manifestPart{Name: p.name, Files: len(p.files), Bytes: p.size()}
		if held, err := w.readClaim(ctx, w.claimPath(p)); err == nil {
			mp.Task = taskID(held.Task)
		}
		m.Parts = append(m.Parts, mp)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return false, err
	}
	tmp := w.tmpPath(successFile)
	err = w.store.try(ctx, func() error { return w.store.createText(ctx, tmp, true, append(text, '\n')) })
	if errors.Is(err, errMissing) {
		return w.complete(ctx, parts) // another was done, and removed _tmp under our hands
	}
	if err != nil {
		return false, err
	}
	if _, err := w.rename(ctx, tmp, w.at(successFile)); err != nil {
		return false, err
	}
	return w.complete(ctx, parts)
}

// taskID takes off what made the process unlike any other.
func taskID(task string) string {
	if i := strings.LastIndexByte(task, '.'); i >= 0 {
		return task[:i]
	}
	return ""
}
