package artifact

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Limits on what an archive may unpack to.
const (
	maxUnpackedBytes = 16 << 30
	maxUnpackedFiles = 500_000
)

// unpacker writes the content of one archive below into. All writing goes
// through an os.Root, so no name and no link leads outside; archives that try
// are refused, not repaired.
type unpacker struct {
	ctx    context.Context
	dir    *os.Root
	into   string
	prefix string

	made  map[string]bool // by this archive
	links []string
	bytes int64
}

func (u *unpacker) unpack(f *os.File, size int64) error {
	magic := make([]byte, 4)
	if _, err := f.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var err error
	switch {
	case bytes.HasPrefix(magic, []byte("PK")):
		err = u.zip(f, size)
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		err = u.gzip(f)
	default:
		err = u.tar(f)
	}
	switch {
	case err != nil:
		return err
	case len(u.made) == 0 && u.prefix != "":
		return fmt.Errorf("it holds nothing below %s", u.prefix)
	}
	return u.checkLinks()
}

func (u *unpacker) zip(f *os.File, size int64) error {
	z, err := zip.NewReader(f, size)
	if err != nil {
		return fmt.Errorf("it is not a readable zip archive: %w", err)
	}
	for _, e := range z.File {
		content := func() (io.ReadCloser, error) { return e.Open() }
		if err := u.entry(e.Name, e.Mode(), "", content); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) gzip(f *os.File) error {
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 256<<10))
	if err != nil {
		return fmt.Errorf("it is not a readable gzip file: %w", err)
	}
	defer z.Close()
	return u.tar(z)
}

func (u *unpacker) tar(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, tar.ErrInsecurePath):
			return fmt.Errorf("it is neither a readable zip nor a readable tar archive: %w", err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		mode := h.FileInfo().Mode()
		if h.Typeflag == tar.TypeLink {
			return fmt.Errorf("entry %q is a hard link, which is not supported", h.Name)
		}
		content := func() (io.ReadCloser, error) { return io.NopCloser(t), nil }
		if err := u.entry(h.Name, mode, h.Linkname, content); err != nil {
			return err
		}
	}
}

// entry writes one member of the archive, whatever its kind. A zip keeps the
// target of a symbolic link in the content, a tar in link.
func (u *unpacker) entry(name string, mode fs.FileMode, link string, content func() (io.ReadCloser, error)) error {
	if u.ctx.Err() != nil {
		return context.Cause(u.ctx)
	}
	clean := strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	if clean == "" || clean == "." {
		return nil
	}
	if checkPath(clean) != nil {
		return fmt.Errorf("entry %q would be written outside the set", name)
	}
	rest, ok := strings.CutPrefix(clean+"/", u.prefix)
	rest = strings.TrimSuffix(rest, "/")
	if !ok || rest == "" {
		return nil
	}
	target := path.Join(u.into, rest)
	if len(u.made) >= maxUnpackedFiles {
		return fmt.Errorf("it holds more than %d files", maxUnpackedFiles)
	}
	if mode.IsDir() {
		return u.dir.MkdirAll(target, 0o755)
	}
	if err := u.prepare(target, name); err != nil {
		return err
	}
	r, err := content()
	if err != nil {
		return err
	}
	defer r.Close()
	switch {
	case mode&fs.ModeSymlink != 0:
		return u.symlink(target, name, link, r)
	case mode.IsRegular():
		return u.file(target, r, mode)
	}
	return fmt.Errorf("entry %q is neither a file, a folder nor a symbolic link", name)
}

// prepare makes room for a file. A name that comes twice in one archive means
// the later one, as tar has it; a name that another line of the lock made is
// a contradiction.
func (u *unpacker) prepare(target, name string) error {
	if err := u.dir.MkdirAll(path.Dir(target), 0o755); err != nil {
		// os.Root has no exported error for this.
		if strings.Contains(err.Error(), "path escapes") {
			return fmt.Errorf("entry %q would be written outside the set", name)
		}
		return fmt.Errorf("cannot make the folder of entry %q: %w", name, err)
	}
	if _, err := u.dir.Lstat(target); err == nil {
		if !u.made[target] {
			return fmt.Errorf("%s is already there: another line of the lock makes it too", target)
		}
		if err := u.dir.Remove(target); err != nil {
			return err
		}
	}
	u.made[target] = true
	return nil
}

func (u *unpacker) file(target string, r io.Reader, mode fs.FileMode) error {
	perm := fs.FileMode(0o444)
	if mode&0o111 != 0 {
		perm = 0o555
	}
	limit := maxUnpackedBytes - u.bytes
	n, err := writeFile(u.dir, target, io.LimitReader(contextReader{u.ctx, r}, limit+1), perm)
	if err == nil && n > limit {
		err = fmt.Errorf("it unpacks to more than %s", bytesText(maxUnpackedBytes))
	}
	u.bytes += n
	return err
}

func (u *unpacker) symlink(target, name, link string, r io.Reader) error {
	if link == "" {
		data, err := io.ReadAll(io.LimitReader(r, maxPathBytes+1))
		if err != nil {
			return err
		}
		link = string(data)
	}
	if link == "" || path.IsAbs(link) || len(link) > maxPathBytes {
		return fmt.Errorf("symbolic link %q points outside the set, to %q", name, link)
	}
	u.links = append(u.links, target)
	return u.dir.Symlink(link, target)
}

// checkLinks refuses links that lead out, by whatever detour: os.Root follows
// them and stops at its own border.
func (u *unpacker) checkLinks() error {
	for _, l := range u.links {
		_, err := u.dir.Stat(l)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("symbolic link %q points outside the set", l)
		}
	}
	return nil
}

// writeFile makes a read-only file with the fixed time stamp; it must not exist.
func writeFile(dir *os.Root, name string, r io.Reader, perm fs.FileMode) (int64, error) {
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, r)
	if err == nil {
		err = f.Chmod(perm) // past the umask
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = dir.Chtimes(name, fixedTime, fixedTime)
	}
	return n, err
}
