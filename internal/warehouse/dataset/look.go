package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"
)

// SuccessFile is the file that says a dataset is complete.
const SuccessFile = "_SUCCESS"

// Observed is what is in HDFS of a dataset.
type Observed struct {
	Exists     bool      `json:"exists" doc:"Whether the folder is there"`
	Made       bool      `json:"made" doc:"Whether Howdah made the folder"`
	Owner      string    `json:"owner,omitempty" doc:"HDFS user that owns the folder"`
	Files      int64     `json:"files" doc:"Files in it, all counted"`
	Bytes      int64     `json:"bytes" doc:"Bytes of those files"`
	Space      int64     `json:"space" doc:"Bytes with all copies"`
	Quota      int64     `json:"quota" doc:"Bytes with all copies that are allowed; -1 without limit"`
	Complete   bool      `json:"complete" doc:"Whether there is a file _SUCCESS"`
	CompleteAt time.Time `json:"completeAt,omitzero" doc:"When that was written"`
}

// Look returns what is in HDFS of a dataset. A missing folder is no error, and
// neither is a file in its place, which counts as missing.
func Look(ctx context.Context, files Files, d Dataset) (Observed, error) {
	o, err := look(ctx, files, d)
	if err != nil {
		return o.Observed, fmt.Errorf("cannot look at dataset %s: %w", d.Name, err)
	}
	return o.Observed, nil
}

// seen is what is at the path of a dataset.
type seen struct {
	Observed
	file bool // where a folder should be
}

func look(ctx context.Context, files Files, d Dataset) (seen, error) {
	o := seen{Observed: Observed{Quota: -1}}
	status, err := files.Status(ctx, d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil || !status.Dir {
		o.file = err == nil
		return o, err
	}
	sum, err := files.ContentSummary(ctx, d.Path)
	if err != nil {
		return o, err
	}
	rec, err := readRecord(ctx, files, d.Name)
	if err != nil {
		return o, err
	}
	o.Exists, o.Made, o.Owner = true, rec.proves(d, status), status.Owner
	o.Files, o.Bytes, o.Space, o.Quota = sum.Files, sum.Length, sum.Space, sum.SpaceQuota
	success, err := files.Status(ctx, path.Join(d.Path, SuccessFile))
	switch {
	case err == nil:
		o.Complete, o.CompleteAt = true, success.Modified.UTC()
	case !errors.Is(err, fs.ErrNotExist):
		return o, err
	}
	return o, nil
}
