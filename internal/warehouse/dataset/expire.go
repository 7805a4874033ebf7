package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"time"

	"howdah.dev/howdah/internal/adapter/webhdfs"
)

// Limits of one Expire; what is left is done by the next.
const (
	maxExpired = 10_000
	maxWalked  = 1_000_000
	maxDepth   = 64
)

// Expired says what of a dataset was moved, or would be.
type Expired struct {
	Files []string `json:"files" doc:"Files older than the retention"`
	Bytes int64    `json:"bytes" doc:"Bytes of those files"`
	More  bool     `json:"more,omitempty" doc:"Whether there is more to do: one run has a limit"`
}

// ErrNotMade says that nothing expires in a folder that was there before it was declared.
var ErrNotMade = errors.New("Howdah did not make its folder")

// Old returns the files of a dataset that were not written for its retention, and
// changes nothing. There are none without declared retention. In a folder that
// Howdah did not make the error is ErrNotMade.
func Old(ctx context.Context, files Files, d Dataset, now time.Time) (Expired, error) {
	x, err := old(ctx, files, d, now)
	if err != nil {
		return Expired{}, fmt.Errorf("cannot expire files of dataset %s: %w", d.Name, err)
	}
	return x, nil
}

func old(ctx context.Context, files Files, d Dataset, now time.Time) (Expired, error) {
	if d.RetentionDays <= 0 {
		return Expired{}, nil
	}
	status, err := files.Status(ctx, d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return Expired{}, nil
	}
	if err != nil {
		return Expired{}, err
	}
	rec, err := readRecord(ctx, files, d.Name)
	if err != nil {
		return Expired{}, err
	}
	if !rec.proves(d, status) {
		return Expired{}, ErrNotMade
	}
	x := &expiry{files: files, before: now.AddDate(0, 0, -d.RetentionDays)}
	err = x.walk(ctx, d.Path, 0)
	return x.found, err
}

// Expire moves the files that Old finds into HDFS's trash, from where a user may
// take them back until HDFS empties it (fs.trash.interval of the NameNode; 0
// keeps them). Folders stay. It returns what it moved.
//
// trashOf is the HDFS user whose trash is used: the one it runs as, which must be
// the superuser.
func Expire(ctx context.Context, files Files, d Dataset, now time.Time, trashOf string) (Expired, error) {
	found, err := Old(ctx, files, d, now)
	if err != nil {
		return Expired{}, err
	}
	for i, name := range found.Files {
		if err := toTrash(ctx, files, Trash(trashOf), name, now); err != nil {
			return Expired{Files: found.Files[:i], More: true}, fmt.Errorf("cannot expire files of dataset %s: %w", d.Name, err)
		}
	}
	return found, nil
}

// Trash returns the folder that files of any path are moved to.
func Trash(user string) string { return path.Join("/user", user, ".Trash/Current") }

// expiry collects files that are too old.
type expiry struct {
	files  Files
	before time.Time
	found  Expired
	walked int
}

func (x *expiry) walk(ctx context.Context, folder string, depth int) error {
	if depth == maxDepth {
		return fmt.Errorf("%s is too deep", folder)
	}
	var folders []string
	for s, err := range x.files.List(ctx, folder) {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed by its users
		}
		if err != nil {
			return err
		}
		x.walked++
		switch {
		case x.walked > maxWalked, len(x.found.Files) == maxExpired:
			x.found.More = true
			return nil
		case s.Dir:
			folders = append(folders, s.Path)
		case x.tooOld(s):
			x.found.Files = append(x.found.Files, s.Path)
			x.found.Bytes += s.Length
		}
	}
	for _, name := range folders {
		if err := x.walk(ctx, name, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (x *expiry) tooOld(s webhdfs.Status) bool {
	return !s.Modified.IsZero() && s.Modified.UnixMilli() > 0 && s.Modified.Before(x.before)
}

// toTrash moves a file to where Hadoop's own shell would.
func toTrash(ctx context.Context, files Files, trash, name string, now time.Time) error {
	to := path.Join(trash, name)
	if err := files.Mkdirs(ctx, path.Dir(to), 0o700); err != nil {
		return err
	}
	err := files.Rename(ctx, name, to)
	if errors.Is(err, fs.ErrExist) {
		err = files.Rename(ctx, name, to+"."+strconv.FormatInt(now.UnixMilli(), 10))
	}
	return ignoreMissing(err)
}
