package pack

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// fixedTime is the time of every file and image: content alone makes the digest.
func fixedTime() time.Time { return time.Unix(0, 0).UTC() }

// budget bounds all layers of one image together.
type budget struct {
	bytes   int64
	entries int
}

// layerWriter writes one layer.
type layerWriter struct {
	ctx  context.Context
	tar  *tar.Writer
	cfg  Config
	left *budget
}

func writeLayer(ctx context.Context, w io.Writer, cfg Config, src source, left *budget) error {
	l := &layerWriter{ctx, tar.NewWriter(w), cfg, left}
	err := l.parents(src.target)
	switch {
	case err != nil:
	case src.file != "":
		err = l.program(src.file, src.target)
	default:
		err = l.folder(src)
	}
	if err != nil {
		return err
	}
	return l.tar.Close()
}

// parents writes the folders above the target.
func (l *layerWriter) parents(target string) error {
	for i, c := range target {
		if c != '/' || i == 0 {
			continue
		}
		if err := l.header(target[:i], &tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			return err
		}
	}
	return nil
}

func (l *layerWriter) program(file, target string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return l.content(f, target, info.Size(), 0o755)
}

// folder writes a tree. It walks beneath an os.Root: a link in it is copied, and
// never followed.
func (l *layerWriter) folder(src source) error {
	target := src.target
	root, err := os.OpenRoot(src.dir)
	if err != nil {
		return fmt.Errorf("cannot read the folder: %w", err)
	}
	defer root.Close()
	// WalkDir goes in the order of names.
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if l.ctx.Err() != nil {
			return context.Cause(l.ctx)
		}
		if name == "." && target == "/" || !src.takes(d) {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return l.entry(root, name, path.Join(target, name), info)
	})
}

// takes tells whether an entry belongs into the layer: with a pattern, folders and
// the regular files that match it.
func (s source) takes(d fs.DirEntry) bool {
	if s.match == "" || d.IsDir() {
		return true
	}
	ok, err := path.Match(s.match, d.Name())
	return ok && err == nil && d.Type().IsRegular()
}

func (l *layerWriter) entry(root *os.Root, name, to string, info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case strings.HasPrefix(path.Base(to), ".wh."):
		return fmt.Errorf("%s cannot be packed: names that begin with .wh. remove files of lower layers", name)
	case mode.IsDir():
		return l.header(to, &tar.Header{Typeflag: tar.TypeDir, Mode: 0o755})
	case mode&fs.ModeSymlink != 0:
		link, err := root.Readlink(name)
		if err != nil {
			return err
		}
		return l.header(to, &tar.Header{Typeflag: tar.TypeSymlink, Linkname: link, Mode: 0o777})
	case mode.IsRegular():
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		perm := int64(0o644)
		if mode&0o111 != 0 {
			perm = 0o755
		}
		return l.content(f, to, info.Size(), perm)
	}
	return fmt.Errorf("%s is neither a file, a folder nor a symbolic link: remove it from the folder", name)
}

func (l *layerWriter) content(r io.Reader, to string, size, perm int64) error {
	if l.left.bytes -= size; l.left.bytes < 0 {
		return fmt.Errorf("it has more than %d bytes", l.cfg.MaxBytes)
	}
	if err := l.header(to, &tar.Header{Typeflag: tar.TypeReg, Size: size, Mode: perm}); err != nil {
		return err
	}
	if n, err := io.Copy(l.tar, io.LimitReader(r, size)); err != nil {
		return err
	} else if n != size {
		return fmt.Errorf("%s changed while it was packed: try again", to)
	}
	return nil
}

// header writes what all entries share.
func (l *layerWriter) header(to string, h *tar.Header) error {
	if l.left.entries--; l.left.entries < 0 {
		return fmt.Errorf("it has more than %d files", l.cfg.MaxEntries)
	}
	h.Name = strings.TrimPrefix(to, "/")
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	h.ModTime, h.Uid, h.Gid = fixedTime(), l.cfg.UID, l.cfg.GID
	return l.tar.WriteHeader(h)
}
