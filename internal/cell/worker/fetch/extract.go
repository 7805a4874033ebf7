package fetch

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"howdah.dev/howdah/internal/untrusted"
)

const maxLink = 4096 // bytes of a symbolic link's target

// extract unpacks an archive beside itself, if its name says that it is one. The
// archive stays, as with Mesos.
func (f *fetching) extract(ctx context.Context, name string) error {
	archive, err := f.root.Open(name)
	if err != nil {
		return err
	}
	defer archive.Close()
	x := &extraction{fetching: f, ctx: ctx, dir: filepath.Dir(name)}
	low := strings.ToLower(name)
	has := func(suffixes ...string) bool {
		for _, s := range suffixes {
			if strings.HasSuffix(low, s) {
				return true
			}
		}
		return false
	}
	switch {
	case has(".tar"):
		err = x.tar(bufio.NewReader(archive))
	case has(".tar.gz", ".tgz"):
		err = x.gzip(archive, x.tar)
	case has(".tar.bz2", ".tbz2"):
		err = x.tar(bzip2.NewReader(bufio.NewReader(archive)))
	case has(".gz"):
		err = x.gzip(archive, func(r io.Reader) error { return x.file(name[:len(name)-len(".gz")], r, 0o644) })
	case has(".zip"):
		err = x.zip(archive)
	case has(".tar.xz", ".txz", ".xz"):
		err = errors.New("archives of xz are not supported: use gzip, bzip2 or zip")
	}
	if err != nil {
		return fmt.Errorf("cannot unpack %s: %w", name, err)
	}
	return nil
}

// extraction is one archive being unpacked.
type extraction struct {
	*fetching
	ctx context.Context //nolint:containedctx // lives as long as one call
	dir string
}

func (x *extraction) gzip(f io.Reader, next func(io.Reader) error) error {
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return err
	}
	defer z.Close()
	return next(z)
}

func (x *extraction) tar(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return err
		}
		target, err := x.target(h.Name)
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeReg:
			err = x.file(target, t, h.FileInfo().Mode())
		case tar.TypeDir:
			err = x.root.MkdirAll(target, 0o755)
		case tar.TypeSymlink:
			err = x.symlink(target, h.Linkname)
		case tar.TypeLink:
			err = x.link(target, h.Linkname)
		case tar.TypeXGlobalHeader:
		default:
			err = fmt.Errorf("%q is neither a file, a folder nor a link", h.Name)
		}
		if err != nil {
			return inside(h.Name, err)
		}
	}
}

func (x *extraction) zip(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return err
	}
	for _, e := range z.File {
		if err := x.member(e); err != nil {
			return inside(e.Name, err)
		}
	}
	return nil
}

func (x *extraction) member(e *zip.File) error {
	target, err := x.target(e.Name)
	if err != nil {
		return err
	}
	if e.Mode().IsDir() {
		return x.root.MkdirAll(target, 0o755)
	}
	r, err := e.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	switch {
	case e.Mode()&fs.ModeSymlink != 0:
		text, err := io.ReadAll(io.LimitReader(r, maxLink+1))
		if err != nil {
			return err
		}
		return x.symlink(target, string(text))
	case e.Mode().IsRegular():
		return x.file(target, r, e.Mode())
	}
	return fmt.Errorf("%q is neither a file, a folder nor a link", e.Name)
}

// target is where an entry goes, after its name and the number of entries were
// checked.
func (x *extraction) target(name string) (string, error) {
	if x.ctx.Err() != nil {
		return "", context.Cause(x.ctx)
	}
	if x.files++; x.files > x.MaxFiles {
		return "", fmt.Errorf("archives hold more than %d files", x.MaxFiles)
	}
	clean := filepath.Clean(name)
	if !filepath.IsLocal(clean) {
		return "", fmt.Errorf("%q would be written outside of the sandbox", name)
	}
	return filepath.Join(x.dir, clean), nil
}

func (x *extraction) file(target string, r io.Reader, mode fs.FileMode) error {
	if err := x.root.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return inside(target, err)
	}
	perm := fs.FileMode(0o644)
	if mode&0o111 != 0 {
		perm = 0o755
	}
	return x.write(target, untrusted.Reader(x.ctx, r), perm)
}

// symlink makes a link that stays inside: what follows it later, as root, may not be
// led away. Words show that only where it goes up first and nowhere else, from a folder
// that is where its name says: behind another link, also one that comes later, ".." is
// anywhere.
func (x *extraction) symlink(target, to string) error {
	dir := filepath.Dir(target)
	if to == "" || len(to) > maxLink || filepath.IsAbs(to) || !filepath.IsLocal(filepath.Join(dir, to)) {
		return fmt.Errorf("the symbolic link %q leads outside of the sandbox", target)
	}
	down := false
	for name := range strings.SplitSeq(to, "/") {
		if name == ".." && down {
			return fmt.Errorf("the symbolic link %q goes up again behind a name", target)
		}
		down = down || name != ".." && name != "." && name != ""
	}
	for ; dir != "."; dir = filepath.Dir(dir) {
		if info, err := x.root.Lstat(dir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return fmt.Errorf("the symbolic link %q is made behind another one", target)
		}
	}
	return x.replace(target, func() error { return x.root.Symlink(to, target) })
}

func (x *extraction) link(target, to string) error {
	old, err := x.target(to)
	if err != nil {
		return err
	}
	if info, err := x.root.Lstat(old); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("the link %q leads to no file of the archive", target)
	}
	if filepath.Clean(old) == filepath.Clean(target) {
		return nil
	}
	return x.replace(target, func() error { return x.root.Link(old, target) })
}

func (x *extraction) replace(target string, with func() error) error {
	if err := x.root.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return inside(target, err)
	}
	if err := x.root.RemoveAll(target); err != nil {
		return inside(target, err)
	}
	return with()
}
