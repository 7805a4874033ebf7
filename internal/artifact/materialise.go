package artifact

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Materialise lays the set out below SetRoot, once per host, and returns that
// directory. Every blob must be in the cache. Files are read-only, have one
// fixed time stamp, and are hard links to the blobs where the file system
// allows it. The set appears whole, by rename, or not at all.
func (c *Cache) Materialise(ctx context.Context, l *Lock) (root string, err error) {
	id := l.ID()
	root = SetRoot(c.cfg.Dir, id)
	if isDir(root) {
		return root, nil
	}
	unlock, err := c.lock(ctx, "set-"+id)
	if err != nil {
		return "", fmt.Errorf("cannot lay out set %s: %w", l.Name, err)
	}
	defer unlock()
	if isDir(root) {
		return root, nil
	}
	if missing := c.Missing(l); len(missing) > 0 {
		return "", fmt.Errorf("cannot lay out set %s: %d of its files are not in the cache, first %s; fetch them first", l.Name, len(missing), missing[0].Source)
	}
	if err := c.buildSet(ctx, l, id, root); err != nil {
		return "", fmt.Errorf("cannot lay out set %s: %w", l.Name, c.diskError(err, 0))
	}
	return root, nil
}

func isDir(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

// buildSet runs with the set's lock held.
func (c *Cache) buildSet(ctx context.Context, l *Lock, id, root string) error {
	c.removeLeftovers(id)
	if err := os.MkdirAll(c.path("sets"), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(c.path("sets"), ".tmp-"+id+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	dir, err := os.OpenRoot(tmp)
	if err != nil {
		return err
	}
	defer dir.Close()
	left := &allowance{maxUnpackedBytes, maxUnpackedFiles}
	for _, e := range l.Entries {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if e.Unpacked() {
			err = c.unpackEntry(ctx, dir, e, left)
		} else {
			err = c.placeFile(dir, tmp, e)
		}
		if err != nil {
			return err
		}
	}
	if err := syncTree(tmp); err != nil {
		return err
	}
	return os.Rename(tmp, root)
}

// removeLeftovers clears what a killed builder of this set left. Only the
// holder of the set's lock builds it, so whatever is there is dead.
func (c *Cache) removeLeftovers(id string) {
	old, _ := filepath.Glob(c.path("sets", ".tmp-"+id+"-*"))
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			c.cfg.Log.Warn("cannot remove an unfinished set", "path", dir, "err", err)
		}
	}
}

// placeFile links the blob into the set, or copies it where links do not work.
func (c *Cache) placeFile(dir *os.Root, tmp string, e Entry) error {
	if err := dir.MkdirAll(path.Dir(e.Path), 0o755); err != nil {
		return err
	}
	// An archive of this set may have made a symbolic link on the way.
	if info, err := dir.Lstat(e.Path); err == nil {
		return fmt.Errorf("line %d of the lock: %s is already there (%s): another line makes it too", e.Line, e.Path, info.Mode().Type())
	}
	if parent, err := dir.Lstat(path.Dir(e.Path)); err == nil && parent.IsDir() && noSymlinkAbove(dir, e.Path) {
		if os.Link(c.blobPath(e.SHA256), filepath.Join(tmp, filepath.FromSlash(e.Path))) == nil {
			return nil
		}
	}
	in, err := c.Open(e.SHA256)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = writeFile(dir, e.Path, in, 0o444)
	return err
}

// noSymlinkAbove reports that every folder of the path is a real one, so that
// a link made by its full name lands where os.Root would put it.
func noSymlinkAbove(dir *os.Root, name string) bool {
	for d := path.Dir(name); d != "."; d = path.Dir(d) {
		if info, err := dir.Lstat(d); err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return false
		}
	}
	return true
}

func (c *Cache) unpackEntry(ctx context.Context, dir *os.Root, e Entry, left *allowance) error {
	f, err := c.Open(e.SHA256)
	if err != nil {
		return err
	}
	defer f.Close()
	into := strings.TrimSuffix(e.Path, "/")
	if err := dir.MkdirAll(into, 0o755); err != nil {
		return err
	}
	if err := newUnpacker(ctx, dir, into, e.Source.Prefix, e.Size, left).unpack(f); err != nil {
		return fmt.Errorf("cannot unpack %s: %w", e.Source, err)
	}
	return nil
}

// syncTree brings the files of a new set to the disk before its name appears.
// One call for the file system costs less than one for each small file.
func syncTree(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
