package unpack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// Merging says how Merge makes its folder.
type Merging struct {
	// Links makes hard links to the shared layers instead of copies: for
	// containers whose root is read-only. Writing through one would change the
	// layer for everybody.
	Links bool
}

// Merge makes target a plain folder with the content of the image's layers, for
// where an overlay cannot be mounted. It appears whole, by rename.
func Merge(ctx context.Context, img *Image, target string, opts Merging) error {
	part := target + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.Mkdir(part, 0o755); err != nil {
		return fmt.Errorf("cannot merge the layers of an image: %w", err)
	}
	defer os.RemoveAll(part)
	to, err := os.OpenRoot(part)
	if err != nil {
		return err
	}
	defer to.Close()
	for _, layer := range img.Layers {
		m := &merger{ctx: ctx, to: to, links: opts.Links, into: part, layer: layer}
		if err := m.run(); err != nil {
			return fmt.Errorf("cannot merge the layers of an image: %w", err)
		}
	}
	return os.Rename(part, target)
}

// merger puts one layer over what is there.
type merger struct {
	ctx   context.Context
	from  *os.Root
	to    *os.Root
	links bool
	into  string // the path of to, for links between two roots
	layer string
	dirs  map[string]fs.FileInfo
}

func (m *merger) run() error {
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(m.layer), "layer.json"))
	if err != nil {
		return err
	}
	var info layerInfo
	if err := json.Unmarshal(raw, &info); err != nil {
		return fmt.Errorf("layer.json cannot be read: %w", err)
	}
	for _, name := range append(info.Removed, info.Replaced...) {
		if err := m.drop(name); err != nil {
			return err
		}
	}
	if m.from, err = os.OpenRoot(m.layer); err != nil {
		return err
	}
	defer m.from.Close()
	m.dirs = map[string]fs.FileInfo{}
	if err := fs.WalkDir(m.from.FS(), ".", m.entry); err != nil {
		return err
	}
	for _, dir := range sortedDown(m.dirs) {
		if err := m.finishFolder(dir, m.dirs[dir]); err != nil {
			return err
		}
	}
	return nil
}

// drop removes what lower layers have at a path; of the root, what is in it. A link
// on the way means that nothing is there: layers have folders where others lie in.
func (m *merger) drop(name string) error {
	if name == "." {
		all, err := fs.ReadDir(m.to.FS(), ".")
		for _, e := range all {
			err = errors.Join(err, m.to.RemoveAll(e.Name()))
		}
		return err
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if info, err := m.to.Lstat(dir); err != nil || !info.IsDir() {
			return nil //nolint:nilerr // nothing to remove
		}
	}
	return m.to.RemoveAll(name)
}

func (m *merger) entry(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if m.ctx.Err() != nil {
		return context.Cause(m.ctx)
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	have, herr := m.to.Lstat(name)
	if info.IsDir() {
		m.dirs[name] = info
		if herr == nil && have.IsDir() {
			return nil
		}
	}
	if herr == nil {
		if err := m.to.RemoveAll(name); err != nil {
			return err
		}
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return m.to.Mkdir(name, 0o700)
	case mode&fs.ModeSymlink != 0:
		link, err := m.from.Readlink(name)
		if err != nil {
			return err
		}
		if err := m.to.Symlink(link, name); err != nil {
			return err
		}
		return m.chown(name, info)
	case mode.IsRegular() && m.links:
		return os.Link(filepath.Join(m.layer, filepath.FromSlash(name)), filepath.Join(m.into, filepath.FromSlash(name)))
	case mode.IsRegular():
		return m.copy(name, info)
	}
	return nil // a removal, done already
}

func (m *merger) copy(name string, info fs.FileInfo) error {
	in, err := m.from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := m.to.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	// The kernel shares the blocks where the file system can.
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := m.chown(name, info); err != nil {
		return err
	}
	if err := out.Chmod(info.Mode() & (fs.ModePerm | fs.ModeSticky)); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return m.to.Chtimes(name, info.ModTime(), info.ModTime())
}

func (m *merger) chown(name string, info fs.FileInfo) error {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return m.to.Lchown(name, int(s.Uid), int(s.Gid))
}

func (m *merger) finishFolder(name string, info fs.FileInfo) error {
	if err := m.chown(name, info); err != nil {
		return err
	}
	if err := m.to.Chmod(name, info.Mode()&(fs.ModePerm|fs.ModeSticky)); err != nil {
		return err
	}
	return m.to.Chtimes(name, info.ModTime(), info.ModTime())
}
