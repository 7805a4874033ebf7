package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/untrusted"
)

// treeLimits bound a layer, or all of an image.
type treeLimits struct {
	bytes   int64
	entries int
}

// tree writes the entries of a layer beneath an os.Root, which no path and no link
// leaves. What it refuses: absolute paths and .. in names, entries below links that
// lead out, devices, sockets and named pipes, more bytes, entries or depth than
// allowed. What it leaves out: set-uid and set-gid permissions and extended
// attributes, since containers gain no privileges and an overlay believes in some.
// Targets of symbolic links are kept as they are: they mean something only inside
// a container.
type tree struct {
	ctx   context.Context
	root  *os.Root
	left  treeLimits
	limit treeLimits
	owner bool // give files away
	shift int

	known    map[string]bool   // folders that are there
	dirs     map[string]dirEnd // what folders get when nothing is written to them any more
	removed  map[string]bool   // names of lower layers that are gone
	replaced map[string]bool   // folders that hide those of lower layers
}

type dirEnd struct {
	mode fs.FileMode
	time time.Time
}

func newTree(ctx context.Context, root *os.Root, limit treeLimits, shift int) *tree {
	return &tree{
		ctx: ctx, root: root, left: limit, limit: limit, owner: os.Geteuid() == 0, shift: shift,
		known: map[string]bool{".": true}, removed: map[string]bool{}, replaced: map[string]bool{},
		dirs: map[string]dirEnd{".": {0o755, time.Unix(0, 0)}},
	}
}

// entry writes one entry, whatever its kind.
func (t *tree) entry(h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := entryPath(h.Name)
	if err != nil {
		return err
	}
	if err := t.count(); err != nil {
		return err
	}
	if name == "." {
		return t.folder(name, h)
	}
	if err := t.parents(name); err != nil {
		return err
	}
	if base := path.Base(name); strings.HasPrefix(base, ".wh.") {
		return t.whiteout(path.Dir(name), base)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return t.folder(name, h)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return t.file(name, h, r)
	case tar.TypeSymlink:
		return t.symlink(name, h)
	case tar.TypeLink:
		return t.hardLink(name, h)
	case tar.TypeChar, tar.TypeBlock:
		return refuse("the entry %q is a device, and images may not bring devices", h.Name)
	case tar.TypeFifo:
		return refuse("the entry %q is a named pipe, and images may not bring those", h.Name)
	}
	return refuse("the entry %q is of the unknown kind %q", h.Name, h.Typeflag)
}

// entryPath checks the name of an entry and returns it clean.
func entryPath(name string) (string, error) {
	clean, err := untrusted.EntryPath(name, "image")
	if err != nil {
		return "", &entryError{err.Error()}
	}
	return clean, nil
}

// count takes one entry of those allowed; folders made on the way count too.
func (t *tree) count() error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	if t.left.entries--; t.left.entries < 0 {
		return refuse("it has more than %d files and folders", t.limit.entries)
	}
	return nil
}

// parents makes the folders above name.
func (t *tree) parents(name string) error {
	dir := path.Dir(name)
	if t.known[dir] {
		return nil
	}
	for i := range len(dir) + 1 {
		if i < len(dir) && dir[i] != '/' || t.known[dir[:i]] {
			continue
		}
		if err := t.parent(dir[:i], name); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) parent(dir, name string) error {
	err := t.root.Mkdir(dir, 0o755)
	switch {
	case err == nil:
		if err := t.count(); err != nil {
			return err
		}
		t.made(dir, dirEnd{0o755, time.Unix(0, 0)})
		return t.chown(dir, 0, 0)
	case errors.Is(err, fs.ErrExist):
		// A link to a folder of this layer is a folder; os.Root follows no other.
		info, serr := t.root.Stat(dir)
		if serr == nil && info.IsDir() {
			t.known[dir] = true
			return nil
		}
		if serr == nil {
			return refuse("the entry %q lies below %q, which is no folder", name, dir)
		}
	}
	return refuse("the entry %q would be written through the link %q, which leads out of the image or nowhere", name, dir)
}

func (t *tree) made(dir string, end dirEnd) {
	t.known[dir] = true
	t.dirs[dir] = end
}

// clear makes room for an entry that is no folder, or for a folder where none is:
// of two entries with one name the later counts.
func (t *tree) clear(name string) error {
	info, err := t.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look at %q: %w", name, err)
	}
	if !info.IsDir() {
		// It may be a link that parents went through.
		clear(t.known)
		t.known["."] = true
		return t.root.Remove(name)
	}
	clear(t.known)
	t.known["."] = true
	for d := range t.dirs {
		if d == name || strings.HasPrefix(d, name+"/") {
			delete(t.dirs, d)
			delete(t.replaced, d)
		}
	}
	return t.root.RemoveAll(name)
}

func (t *tree) folder(name string, h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return refuse("the entry %q is the image's root and no folder", h.Name)
	}
	info, err := t.root.Lstat(name)
	if err != nil || !info.IsDir() {
		if err := t.clear(name); err != nil {
			return err
		}
		if err := t.root.Mkdir(name, 0o755); err != nil {
			return fmt.Errorf("cannot make the folder %q: %w", name, err)
		}
		if t.removed[name] {
			t.replaced[name] = true // gone and made anew: nothing of the lower one shows
		}
	}
	t.made(name, dirEnd{h.FileInfo().Mode() & (fs.ModePerm | fs.ModeSticky), h.ModTime})
	return t.chown(name, h.Uid, h.Gid)
}

func (t *tree) file(name string, h *tar.Header, r io.Reader) error {
	if h.Size > t.left.bytes {
		return tooLarge(t.limit.bytes)
	}
	if err := t.clear(name); err != nil {
		return err
	}
	f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("cannot make %q: %w", name, err)
	}
	defer f.Close()
	n, err := io.Copy(f, io.LimitReader(r, t.left.bytes+1))
	if t.left.bytes -= n; t.left.bytes < 0 {
		return tooLarge(t.limit.bytes)
	}
	if _, ok := errors.AsType[*entryError](err); ok {
		return err
	}
	if err != nil {
		return fmt.Errorf("cannot write %q: %w", name, err)
	}
	if t.owner {
		uid, gid, err := t.ids(name, h.Uid, h.Gid)
		if err != nil {
			return err
		}
		if err := f.Chown(uid, gid); err != nil {
			return fmt.Errorf("cannot give %q its owner: %w", name, err)
		}
	}
	if err := f.Chmod(t.permission(h.FileInfo().Mode().Perm(), 0o400)); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("cannot write %q: %w", name, err)
	}
	return t.root.Chtimes(name, clampTime(h.ModTime), clampTime(h.ModTime))
}

// permission adds what this user needs to read its own files where it is not root.
func (t *tree) permission(p, own fs.FileMode) fs.FileMode {
	if !t.owner {
		p |= own
	}
	return p
}

func (t *tree) symlink(name string, h *tar.Header) error {
	if h.Linkname == "" || len(h.Linkname) >= untrusted.MaxPath || strings.ContainsRune(h.Linkname, 0) {
		return refuse("the symbolic link %q has no possible target", h.Name)
	}
	if err := t.clear(name); err != nil {
		return err
	}
	if err := t.root.Symlink(h.Linkname, name); err != nil {
		return fmt.Errorf("cannot make the link %q: %w", name, err)
	}
	return t.chown(name, h.Uid, h.Gid)
}

// hardLink makes another name for a file of this layer.
func (t *tree) hardLink(name string, h *tar.Header) error {
	to, err := entryPath(h.Linkname)
	if err != nil {
		return refuse("the hard link %q leads outside the image, to %q", h.Name, h.Linkname)
	}
	info, err := t.root.Lstat(to)
	if err != nil || info.IsDir() {
		return refuse("the hard link %q leads to %q, which is no file of its layer", h.Name, h.Linkname)
	}
	if to == name {
		return nil
	}
	if err := t.clear(name); err != nil {
		return err
	}
	if err := t.root.Link(to, name); err != nil {
		return refuse("the hard link %q to %q cannot be made: %v", h.Name, h.Linkname, err)
	}
	return nil
}

func (t *tree) ids(name string, uid, gid int) (int, int, error) {
	limit := 1<<31 - 1
	if t.shift != 0 {
		limit = 1 << 16
	}
	if uid < 0 || gid < 0 || uid >= limit || gid >= limit {
		return 0, 0, refuse("the entry %q belongs to user %d and group %d; they must be below %d", name, uid, gid, limit)
	}
	return uid + t.shift, gid + t.shift, nil
}

// chown gives a folder or link its owner, where this user may.
func (t *tree) chown(name string, uid, gid int) error {
	if !t.owner {
		return nil
	}
	uid, gid, err := t.ids(name, uid, gid)
	if err != nil {
		return err
	}
	if err := t.root.Lchown(name, uid, gid); err != nil {
		return fmt.Errorf("cannot give %q its owner: %w", name, err)
	}
	return nil
}

// clampTime keeps times within what every file system holds.
func clampTime(at time.Time) time.Time {
	if at.Unix() < 0 || at.Unix() > 1<<33 {
		return time.Unix(0, 0)
	}
	return at
}

// finish writes removals down and gives folders their permissions, the deepest
// first: nothing is written to them afterwards.
func (t *tree) finish() (*layerInfo, error) {
	info := &layerInfo{Bytes: t.limit.bytes - t.left.bytes, Entries: t.limit.entries - t.left.entries, Overlay: true, Owners: t.owner}
	if err := t.finishWhiteouts(info); err != nil {
		return nil, err
	}
	for _, dir := range sortedDown(t.dirs) {
		end := t.dirs[dir]
		if i, err := t.root.Lstat(dir); err != nil || !i.IsDir() {
			continue
		}
		if err := t.root.Chmod(dir, t.permission(end.mode, 0o700)); err != nil {
			return nil, fmt.Errorf("cannot set the permissions of %q: %w", dir, err)
		}
		if err := t.root.Chtimes(dir, clampTime(end.time), clampTime(end.time)); err != nil {
			return nil, fmt.Errorf("cannot set the time of %q: %w", dir, err)
		}
	}
	return info, nil
}

// sortedDown lists paths so that each comes before the folders it lies in.
func sortedDown[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b string) int {
		switch { // everything lies in the root
		case a == ".":
			return 1
		case b == ".":
			return -1
		}
		return strings.Compare(b, a)
	})
	return out
}
