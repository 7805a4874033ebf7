package count

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Tree is the files to count: the regular files below Root whose base name
// matches. Root may be a symbolic link to a directory; links below it are not
// followed.
type Tree struct {
	Root  string
	Match string // pattern of path.Match; "" is every file
}

// bufferSize is how much of a file is read at once.
const bufferSize = 256 << 10

// each calls f for every file with its path relative to the root, slashes
// between its parts. The reader is valid during the call.
func (t Tree) each(ctx context.Context, f func(rel string, r io.Reader) error) error {
	root, err := filepath.EvalSymlinks(t.Root)
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if ok, err := t.matches(d.Name()); err != nil || !ok {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		return f(filepath.ToSlash(rel), file)
	})
}

func (t Tree) matches(base string) (bool, error) {
	if t.Match == "" {
		return true, nil
	}
	return filepath.Match(t.Match, base)
}

// chunks reads r to its end through buf.
func chunks(r io.Reader, buf []byte, f func(chunk []byte) error) error {
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := f(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
