package dataset

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"time"

	"howdah.dev/howdah/internal/adapter/webhdfs"
)

const (
	recordFormat = "howdah.dataset-record/1"
	recordSuffix = ".json"
	maxRecord    = 1 << 20
)

// Files is HDFS as this package uses it; *webhdfs.Client is one. Errors about a
// missing path are fs.ErrNotExist.
type Files interface {
	Status(ctx context.Context, name string) (webhdfs.Status, error)
	List(ctx context.Context, name string) iter.Seq2[webhdfs.Status, error]
	ContentSummary(ctx context.Context, name string) (webhdfs.Summary, error)
	Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)
	Create(ctx context.Context, name string, r io.Reader, o webhdfs.CreateOptions) error
	Mkdirs(ctx context.Context, name string, perm fs.FileMode) error
	Rename(ctx context.Context, from, to string) error
	Replace(ctx context.Context, from, to string) error
	Delete(ctx context.Context, name string, recursive bool) error
	SetOwner(ctx context.Context, name, owner, group string) error
	SetQuota(ctx context.Context, name string, names, space int64) error
}

// record is what the warehouse remembers of a dataset: its declaration, and
// whether Howdah made the folder. The folder's id is the inode's, which nobody can
// give to another folder. It is kept beside the data, so that it comes and goes
// with them.
type record struct {
	Format  string    `json:"format"`
	Dataset Dataset   `json:"dataset"`
	Folder  int64     `json:"folder,omitempty"` // inode id; absent if the folder was there before
	Made    time.Time `json:"made,omitzero"`
}

var recordsDir = path.Join(RecordDir, "datasets")

func recordPath(name string) string { return path.Join(recordsDir, name+recordSuffix) }

// proves reports whether the record says that Howdah made this very folder.
func (r record) proves(d Dataset, folder webhdfs.Status) bool {
	return r.Format == recordFormat && r.Dataset.Path == d.Path && r.Folder != 0 && r.Folder == folder.ID && folder.Dir
}

// declares reports whether the record holds a declaration, under its own name.
func (r record) declares(name string) bool { return r.Format == recordFormat && r.Dataset.Name == name }

// readRecord returns an empty record if there is none that can be read.
func readRecord(ctx context.Context, files Files, name string) (record, error) {
	var rec record
	body, err := files.Open(ctx, recordPath(name), 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return rec, nil
	}
	if err != nil {
		return rec, err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxRecord))
	if err == nil && json.Unmarshal(data, &rec) != nil {
		rec = record{}
	}
	return rec, err
}

// writeRecord puts the record in the place of an older one, in one step.
func writeRecord(ctx context.Context, files Files, rec record) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	name := rec.Dataset.Name
	tmp := path.Join(recordsDir, "_record-"+name+"-"+rand.Text())
	err = files.Create(ctx, tmp, bytes.NewReader(append(data, '\n')), webhdfs.CreateOptions{Permission: 0o644})
	if err == nil {
		err = files.Replace(ctx, tmp, recordPath(name))
	}
	if err != nil {
		return fmt.Errorf("cannot remember dataset: %w", errors.Join(err, ignoreMissing(files.Delete(ctx, tmp, false))))
	}
	return nil
}
