// Package sandbox shows the files of a task's sandbox over HTTP, in the shape of
// Mesos's files API, and follows its logs. A task may put anything into its sandbox:
// nothing outside of it is shown, and nothing that is not a plain file is read.
//
// It knows neither tasks nor who may look.
package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Limits of answers.
const (
	maxEntries = 10_000  // of a folder
	maxRead    = 1 << 20 // bytes of one read
	pageRead   = 64 << 10
)

// Folder is a sandbox, or a part of one, that is looked at.
type Folder struct {
	Dir  string // of the host
	Name string // what it is called in answers
	// Hidden are clean paths, relative to the folder: they and what is below them are
	// not there for who looks from outside.
	Hidden []string
}

// hides tells whether a clean relative path is hidden.
func (f Folder) hides(rel string) bool {
	return slices.ContainsFunc(f.Hidden, func(h string) bool { return rel == h || strings.HasPrefix(rel, h+"/") })
}

// Entry is one file as Mesos shows it.
type Entry struct {
	Path  string  `json:"path"`
	Mode  string  `json:"mode"`
	NLink uint64  `json:"nlink"`
	UID   string  `json:"uid"`
	GID   string  `json:"gid"`
	Size  int64   `json:"size"`
	MTime float64 `json:"mtime"`
}

// Errors that are the caller's to mend.
var (
	ErrNotFound  = errors.New("there is no such file")
	ErrFolder    = errors.New("it is a folder")
	ErrNotFile   = errors.New("it is not a plain file")
	ErrNotFolder = errors.New("it is not a folder")
)

// known makes one of the errors above of what os.Root says. A path that leads out is
// not there.
func known(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ELOOP), strings.Contains(err.Error(), "path escapes"):
		return ErrNotFound
	case errors.Is(err, syscall.ENOTDIR):
		return ErrNotFound
	}
	return err
}

// inside is a path of a request as one below the folder.
func inside(rel string) (string, error) {
	rel = path.Clean("/" + rel)[1:]
	if rel == "" {
		rel = "."
	}
	if !filepath.IsLocal(rel) || strings.ContainsRune(rel, 0) {
		return "", ErrNotFound
	}
	return rel, nil
}

// Browse lists a folder.
func (f Folder) Browse(rel string) ([]Entry, error) {
	rel, err := inside(rel)
	if err != nil {
		return nil, err
	}
	if f.hides(rel) {
		return nil, ErrNotFound
	}
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return nil, known(err)
	}
	defer root.Close()
	if info, err := root.Stat(rel); err != nil {
		return nil, known(err)
	} else if !info.IsDir() {
		return nil, ErrNotFolder
	}
	dir, err := root.Open(rel)
	if err != nil {
		return nil, known(err)
	}
	defer dir.Close()
	infos, err := dir.ReadDir(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("cannot list %s: %w", rel, err)
	}
	entries := []Entry{}
	for _, d := range infos {
		if info, err := d.Info(); err == nil && !f.hides(path.Join(rel, d.Name())) {
			entries = append(entries, f.entry(path.Join(f.Name, rel, d.Name()), info))
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return entries, nil
}

func (f Folder) entry(name string, info fs.FileInfo) Entry {
	e := Entry{Path: name, Mode: mode(info.Mode()), Size: info.Size(), MTime: float64(info.ModTime().Unix()), NLink: 1}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		e.NLink = uint64(st.Nlink) //nolint:unconvert // another size on other machines
		e.UID, e.GID = strconv.Itoa(int(st.Uid)), strconv.Itoa(int(st.Gid))
		if u, err := user.LookupId(e.UID); err == nil {
			e.UID = u.Username
		}
		if g, err := user.LookupGroupId(e.GID); err == nil {
			e.GID = g.Name
		}
	}
	return e
}

// mode is as ls writes it.
func mode(m fs.FileMode) string {
	kind := "-"
	switch {
	case m.IsDir():
		kind = "d"
	case m&fs.ModeSymlink != 0:
		kind = "l"
	case m&fs.ModeNamedPipe != 0:
		kind = "p"
	case m&fs.ModeSocket != 0:
		kind = "s"
	case m&fs.ModeCharDevice != 0:
		kind = "c"
	case m&fs.ModeDevice != 0:
		kind = "b"
	}
	return kind + m.Perm().String()[1:]
}

// Open opens a plain file, and does not wait for a pipe to have a writer.
func (f Folder) Open(rel string) (*os.File, fs.FileInfo, error) {
	rel, err := inside(rel)
	if err != nil {
		return nil, nil, err
	}
	if f.hides(rel) {
		return nil, nil, ErrNotFound
	}
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return nil, nil, known(err)
	}
	defer root.Close()
	// Looked at before, for opening a device may do something.
	if info, err := root.Stat(rel); err != nil {
		return nil, nil, known(err)
	} else if info.IsDir() {
		return nil, nil, ErrFolder
	} else if !info.Mode().IsRegular() {
		return nil, nil, ErrNotFile
	}
	file, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, known(err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotFile
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}
