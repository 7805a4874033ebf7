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
	"math"
	"os"
	"path"
	"strings"

	"howdah.dev/howdah/internal/untrusted"
)

// Limits on what the archives of a set may unpack to together, on what the table of
// contents of a zip may have, and on a symbolic link.
const (
	maxUnpackedBytes = 16 << 30
	maxUnpackedFiles = 500_000 // folders too
	maxContents      = 128 << 20
	maxLink          = maxPathBytes
)

// allowance is what the archives of a set may still unpack to.
type allowance struct {
	bytes int64
	files int
}

// unpacker writes the content of one archive below into. All writing goes
// through an os.Root, so no name and no link leads outside; archives that try
// are refused, not repaired. Permissions are those of package artifact: nothing
// is written to again, and no bit but the executable one is taken over.
type unpacker struct {
	ctx    context.Context
	dir    *os.Root
	into   string
	prefix string
	size   int64 // of the archive
	left   *allowance
	room   int64 // bytes this archive may still unpack to, for its size

	made    map[string]bool // files and links, by this archive
	folders map[string]bool // that are there
	links   []string
}

func newUnpacker(ctx context.Context, dir *os.Root, into, prefix string, size int64, left *allowance) *unpacker {
	return &unpacker{
		ctx: ctx, dir: dir, into: into, prefix: prefix, size: size, left: left, room: untrusted.Allowed(size),
		made: map[string]bool{}, folders: map[string]bool{".": true},
	}
}

func (u *unpacker) unpack(f io.ReaderAt) error {
	magic := make([]byte, 4)
	if _, err := f.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var err error
	switch {
	case bytes.HasPrefix(magic, []byte("PK")):
		err = u.zip(f)
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		err = u.gzip(io.NewSectionReader(f, 0, u.size))
	default:
		err = u.tar(io.NewSectionReader(f, 0, u.size))
	}
	switch {
	case err != nil:
		return err
	case len(u.made) == 0 && u.prefix != "":
		return fmt.Errorf("it holds nothing below %s", u.prefix)
	}
	return u.checkLinks()
}

func (u *unpacker) zip(f io.ReaderAt) error {
	// The whole table is held in memory.
	contents := &limitedReaderAt{f, maxContents}
	z, err := zip.NewReader(contents, u.size)
	if err != nil {
		return fmt.Errorf("it is not a readable zip archive: %w", err)
	}
	contents.left = math.MaxInt64
	for _, e := range z.File {
		content := func() (io.ReadCloser, error) { return e.Open() }
		if err := u.entry(e.Name, e.Mode(), "", content); err != nil {
			return err
		}
	}
	return nil
}

// limitedReaderAt ends after so many bytes.
type limitedReaderAt struct {
	r    io.ReaderAt
	left int64
}

// ReadAt is io.ReaderAt's.
func (l *limitedReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, fmt.Errorf("its table of contents has more than %s", bytesText(maxContents))
	}
	return l.r.ReadAt(p, off)
}

func (u *unpacker) gzip(f io.Reader) error {
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 256<<10))
	if err != nil {
		return fmt.Errorf("it is not a readable gzip file: %w", err)
	}
	defer z.Close()
	// Of what is left out too: it has to be read.
	return u.tar(&limitedReader{z, u.room, u.tooLarge()})
}

// limitedReader ends with an error after so many bytes.
type limitedReader struct {
	r    io.Reader
	left int64
	err  error
}

// Read is io.Reader's.
func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, l.err
	}
	return n, err
}

// errTooLarge is returned for archives that unpack to too much.
var errTooLarge = errors.New("it unpacks to more than")

// tooLarge says what this archive may unpack to.
func (u *unpacker) tooLarge() error {
	return fmt.Errorf("%w %s, which is all that an archive of %s may", errTooLarge, bytesText(untrusted.Allowed(u.size)), bytesText(u.size))
}

func (u *unpacker) tar(r io.Reader) error {
	t := tar.NewReader(r)
	for last := ""; ; {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errTooLarge): // what lies between is not wanted
			return fmt.Errorf("behind the entry %.100q: %w", last, err)
		case err != nil && !errors.Is(err, tar.ErrInsecurePath):
			return fmt.Errorf("it is neither a readable zip nor a readable tar archive: %w", err)
		}
		last = h.Name
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		mode := h.FileInfo().Mode()
		if h.Typeflag == tar.TypeLink {
			return fmt.Errorf("the entry %.100q is a hard link, which is not supported", h.Name)
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
	if u.left.files--; u.left.files < 0 {
		return u.tooMany(name)
	}
	clean, err := untrusted.EntryPath(name, "set")
	if err == nil && strings.Contains(name, `\`) { // another system's way to say ../
		err = fmt.Errorf("the entry %q would be written outside the set", name)
	}
	if err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(clean+"/", u.prefix)
	rest = strings.TrimSuffix(rest, "/")
	if !ok || rest == "" || clean == "." {
		return nil
	}
	target := path.Join(u.into, rest)
	if mode.IsDir() {
		return u.folder(target, name)
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
		return u.file(target, name, r, mode)
	}
	return fmt.Errorf("the entry %q is neither a file, a folder nor a symbolic link", name)
}

func (u *unpacker) tooMany(name string) error {
	return fmt.Errorf("the entry %q is one too many: archives of a set may hold %d files and folders together", name, maxUnpackedFiles)
}

// folder makes a folder of an entry, and those above it. A link to a folder is one:
// os.Root follows none that leads out.
func (u *unpacker) folder(dir, name string) error {
	if u.folders[dir] {
		return nil
	}
	if err := u.folder(path.Dir(dir), name); err != nil {
		return err
	}
	err := u.dir.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		info, serr := u.dir.Stat(dir)
		switch {
		case errors.Is(serr, fs.ErrNotExist):
			return fmt.Errorf("the entry %q lies below the link %q, which leads nowhere", name, dir)
		case serr != nil:
			return fmt.Errorf("the entry %q would be written outside the set", name)
		case !info.IsDir():
			return fmt.Errorf("the entry %q needs a folder %q, and that is a file", name, dir)
		}
	} else {
		if err != nil {
			return fmt.Errorf("cannot make the folder of entry %q: %w", name, err)
		}
		if u.left.files--; u.left.files < 0 {
			return u.tooMany(name)
		}
	}
	u.folders[dir] = true
	return nil
}

// prepare makes room for a file. A name that comes twice in one archive means
// the later one, as tar has it; a name that another line of the lock made is
// a contradiction.
func (u *unpacker) prepare(target, name string) error {
	if err := u.folder(path.Dir(target), name); err != nil {
		return err
	}
	if info, err := u.dir.Lstat(target); err == nil {
		switch {
		case info.IsDir():
			return fmt.Errorf("the entry %q is no folder, and %s is one already", name, target)
		case !u.made[target]:
			return fmt.Errorf("%s is already there: another line of the lock makes it too", target)
		}
		if err := u.dir.Remove(target); err != nil {
			return err
		}
		clear(u.folders) // it may have been a link to one
		u.folders["."] = true
	}
	u.made[target] = true
	return nil
}

func (u *unpacker) file(target, name string, r io.Reader, mode fs.FileMode) error {
	perm := fs.FileMode(0o444)
	if mode&0o111 != 0 {
		perm = 0o555
	}
	limit := min(u.left.bytes, u.room)
	n, err := writeFile(u.dir, target, io.LimitReader(untrusted.Reader(u.ctx, r), limit+1), perm)
	u.left.bytes -= n
	u.room -= n
	switch {
	case u.room < 0, errors.Is(err, errTooLarge):
		return fmt.Errorf("the entry %q is too large: %w", name, u.tooLarge())
	case u.left.bytes < 0:
		return fmt.Errorf("the entry %q is too large: archives of a set may unpack to %s together", name, bytesText(maxUnpackedBytes))
	}
	return err
}

func (u *unpacker) symlink(target, name, link string, r io.Reader) error {
	if link == "" {
		data, err := io.ReadAll(io.LimitReader(r, maxLink+1))
		if err != nil {
			return err
		}
		link = string(data)
	}
	if link == "" || path.IsAbs(link) || len(link) > maxLink || strings.ContainsRune(link, 0) {
		return fmt.Errorf("the symbolic link %q points outside the set, to %.100q", name, link)
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
			return fmt.Errorf("the symbolic link %q points outside the set", l)
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
