package unpack

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// whiteout notes that a layer removes something of the layers below (OCI image
// specification 1.1, layer.md, "whiteouts").
func (t *tree) whiteout(dir, base string) error {
	name := strings.TrimPrefix(base, ".wh.")
	switch {
	case base == ".wh..wh..opq":
		t.replaced[dir] = true
		return nil
	case strings.HasPrefix(base, ".wh..wh."):
		return nil // records of AUFS
	case name == "" || name == "." || name == "..":
		return refuse("the entry %q removes nothing that can be named", path.Join(dir, base))
	}
	name = path.Join(dir, name)
	t.removed[name] = true
	if info, err := t.root.Lstat(name); err == nil && info.IsDir() {
		t.replaced[name] = true // gone and made anew
	}
	return nil
}

// finishWhiteouts writes removals the way overlay wants them. Where the file system
// or this user's rights do not allow it, layer.json alone says it, and Merge reads
// that. Kernels from 5.8 let everyone make the device 0:0.
func (t *tree) finishWhiteouts(info *layerInfo) error {
	for _, name := range slices.Sorted(maps.Keys(t.removed)) {
		if _, err := t.root.Lstat(name); err == nil {
			continue // this layer has it again
		}
		info.Removed = append(info.Removed, name)
		if err := t.inFolder(path.Dir(name), func(d *os.File) error {
			return unix.Mknodat(int(d.Fd()), path.Base(name), unix.S_IFCHR, 0)
		}); err != nil {
			if !notAllowed(err) {
				return fmt.Errorf("cannot note that %q is removed: %w", name, err)
			}
			info.Overlay = false
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(t.replaced)) {
		if i, err := t.root.Lstat(dir); err != nil || !i.IsDir() {
			continue
		}
		info.Replaced = append(info.Replaced, dir)
		space, err := t.opaque(dir)
		if err != nil {
			return err
		}
		info.Overlay = info.Overlay && space != ""
		if space != "" {
			info.Xattr = space
		}
	}
	return nil
}

// opaque marks a folder that hides what is below; it returns the namespace of the
// attribute, empty where none could be set.
func (t *tree) opaque(dir string) (string, error) {
	for _, space := range []string{"trusted", "user"} {
		err := t.inFolder(dir, func(d *os.File) error {
			return unix.Fsetxattr(int(d.Fd()), space+".overlay.opaque", []byte("y"), 0)
		})
		if err == nil {
			return space, nil
		}
		if !notAllowed(err) {
			return "", fmt.Errorf("cannot note that %q hides what is below: %w", dir, err)
		}
	}
	return "", nil
}

// inFolder opens a folder of the tree for calls that os.Root lacks.
func (t *tree) inFolder(dir string, do func(d *os.File) error) error {
	d, err := t.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return do(d)
}

func notAllowed(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)
}
