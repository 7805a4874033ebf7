package dataset

import (
	"bytes"
	"context"
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
	maxRecord    = 64 << 10
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
	Delete(ctx context.Context, name string, recursive bool) error
	SetOwner(ctx context.Context, name, owner, group string) error
	SetQuota(ctx context.Context, name string, names, space int64) error
}

// record is what the warehouse remembers of a dataset. It proves that Howdah
// made the folder: the id is the inode's, which nobody can give to another
// folder. It is kept beside the data, so that it comes and goes with them.
type record struct {
	Format string    `json:"format"`
	Name   string    `json:"name"`
	Path   string    `json:"path"`
	Folder int64     `json:"folder"` // inode id
	Made   time.Time `json:"made"`
}

func recordPath(name string) string { return path.Join(recordDir, "datasets", name+".json") }

// proves reports whether the record says that Howdah made this very folder.
func (r record) proves(d Dataset, folder webhdfs.Status) bool {
	return r.Format == recordFormat && r.Path == d.Path && r.Folder != 0 && r.Folder == folder.ID && folder.Dir
}

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

func writeRecord(ctx context.Context, files Files, rec record) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	// A reader may see half of it; then nothing is proven, and nothing expires.
	if err := files.Create(ctx, recordPath(rec.Name), bytes.NewReader(append(data, '\n')), webhdfs.CreateOptions{Overwrite: true, Permission: 0o644}); err != nil {
		return fmt.Errorf("cannot remember dataset: %w", err)
	}
	return nil
}
