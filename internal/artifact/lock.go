package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Lock is a list of files with their digests: what a service's software is,
// exactly. It doubles as the bill of materials.
type Lock struct {
	Name    string // base name of the file without .lock
	Entries []Entry

	// Files is where file: sources are read, relative to the lock's own
	// folder. Set by who loads the lock; without it such a source cannot be
	// resolved.
	Files fs.FS
}

// Entry is one line of a lock.
type Entry struct {
	Path    string // slash-separated, inside the set; ends in / for an archive to unpack there
	Source  Source
	Size    int64  // bytes of the blob, before unpacking
	SHA256  string // of the blob, 64 lower-case hexadecimal digits
	Licence string // an SPDX expression, or NOASSERTION
	Line    int    // in the lock file, from 1
}

// Unpacked reports whether the entry is an archive whose content the set holds.
func (e Entry) Unpacked() bool { return strings.HasSuffix(e.Path, "/") }

// ID is the identity of the set: the digest over what decides its content
// and where that comes from, as 64 hexadecimal digits. Comments, white space
// and corrected licences do not change it; order does, being classpath order.
func (l *Lock) ID() string {
	h := sha256.New()
	for _, e := range l.Entries {
		fmt.Fprintf(h, "%s\t%s\t%d\t%s\n", e.Path, e.Source, e.Size, e.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Blobs are the entries of the lock with each blob once, in lock order.
func (l *Lock) Blobs() []Entry {
	seen := map[string]bool{}
	var out []Entry
	for _, e := range l.Entries {
		if !seen[e.SHA256] {
			seen[e.SHA256] = true
			out = append(out, e)
		}
	}
	return out
}

// Size is the number of bytes to fetch, each blob once.
func (l *Lock) Size() int64 {
	var n int64
	for _, e := range l.Blobs() {
		n += e.Size
	}
	return n
}

// Classpath lists the set's jars below root, in lock order. With dirs, only
// those below one of them ("lib").
func (l *Lock) Classpath(root string, dirs ...string) []string {
	var out []string
	for _, e := range l.Entries {
		if !strings.HasSuffix(e.Path, ".jar") {
			continue
		}
		in := func(dir string) bool { return strings.HasPrefix(e.Path, strings.TrimSuffix(dir, "/")+"/") }
		if len(dirs) == 0 || slices.ContainsFunc(dirs, in) {
			out = append(out, filepath.Join(root, filepath.FromSlash(e.Path)))
		}
	}
	return out
}
