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

// Expire moves the files of a dataset that were not written for its retention
// into HDFS's trash, from where a user may take them back until HDFS empties it
// (fs.trash.interval of the NameNode; 0 keeps them). Folders stay. It returns
// what it moved.
//
// It moves nothing without declared retention, and nothing in a folder that
// Howdah did not make. trashOf is the HDFS user whose trash is used: the one it
// runs as, which must be the superuser.
func Expire(ctx context.Context, files Files, d Dataset, now time.Time, trashOf string) (moved []string, err error) {
	if d.RetentionDays <= 0 {
		return nil, nil
	}
	status, err := files.Status(ctx, d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot expire files of dataset %s: %w", d.Name, err)
	}
	rec, err := readRecord(ctx, files, d.Name)
	if err != nil {
		return nil, fmt.Errorf("cannot expire files of dataset %s: %w", d.Name, err)
	}
	if !rec.proves(d, status) {
		return nil, fmt.Errorf("cannot expire files of dataset %s: Howdah did not make %s", d.Name, d.Path)
	}
	x := &expiry{files: files, before: now.AddDate(0, 0, -d.RetentionDays)}
	if err := x.walk(ctx, d.Path, 0); err != nil {
		return nil, fmt.Errorf("cannot expire files of dataset %s: %w", d.Name, err)
	}
	trash := path.Join("/user", trashOf, ".Trash/Current")
	for _, name := range x.old {
		if err := toTrash(ctx, files, trash, name, now); err != nil {
			return moved, fmt.Errorf("cannot expire files of dataset %s: %w", d.Name, err)
		}
		moved = append(moved, name)
	}
	return moved, nil
}

// expiry collects files that are too old.
type expiry struct {
	files  Files
	before time.Time
	old    []string
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
		case x.walked > maxWalked, len(x.old) == maxExpired:
			return nil
		case s.Dir:
			folders = append(folders, s.Path)
		case x.tooOld(s):
			x.old = append(x.old, s.Path)
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
