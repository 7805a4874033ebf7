package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// maxSources bounds how many files are taken.
const maxSources = 1_000_000

// tree is the source files, in the order of filepath.WalkDir.
type tree struct {
	root   string // without symbolic links
	files  []sourceFile
	bytes  int64
	digest string
}

// sourceFile is one file.
type sourceFile struct {
	rel    string // path below the root, with slashes
	bytes  int64
	last   byte // of the content; 0 if it is empty
	bom    bool // the content starts with a byte order mark
	digest [sha256.Size]byte
}

// scan finds the regular files whose base name matches, and reads each for its
// digest. Links below the root are not followed.
func scan(ctx context.Context, root, match string) (*tree, error) {
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, fmt.Errorf("cannot read the sources: %w", err)
	}
	t := &tree{root: real}
	if err := t.find(ctx, match); err != nil {
		return nil, fmt.Errorf("cannot read the sources below %s: %w", root, err)
	}
	if len(t.files) == 0 {
		return nil, fmt.Errorf("there are no files %s below %s", match, root)
	}
	all := sha256.New()
	for i := range t.files {
		f := &t.files[i]
		e := &edges{}
		if f.digest, f.bytes, err = t.copy(ctx, f, e); err != nil {
			return nil, err
		}
		f.last, f.bom = e.last, string(e.head) == byteOrderMark
		t.bytes += f.bytes
		fmt.Fprintf(all, "%s\x00%d\x00%x\n", f.rel, f.bytes, f.digest)
	}
	t.digest = "sha256:" + hex.EncodeToString(all.Sum(nil))
	return t, nil
}

func (t *tree) find(ctx context.Context, match string) error {
	return filepath.WalkDir(t.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if ok, err := path.Match(match, d.Name()); err != nil || !ok || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(t.root, name)
		if err != nil {
			return err
		}
		if len(t.files) == maxSources {
			return fmt.Errorf("there are more than %d", maxSources)
		}
		t.files = append(t.files, sourceFile{rel: filepath.ToSlash(rel)})
		return nil
	})
}

// copy copies a file to w and returns its digest and size.
func (t *tree) copy(ctx context.Context, f *sourceFile, w io.Writer) (sum [sha256.Size]byte, n int64, err error) {
	if ctx.Err() != nil {
		return sum, 0, ctx.Err()
	}
	file, err := os.Open(filepath.Join(t.root, filepath.FromSlash(f.rel)))
	if err != nil {
		return sum, 0, fmt.Errorf("cannot read source: %w", err)
	}
	defer file.Close()
	h := sha256.New()
	n, err = io.Copy(io.MultiWriter(h, w), file)
	h.Sum(sum[:0])
	return sum, n, err
}

// edges keeps the first three bytes of what is written, and the last.
type edges struct {
	head []byte
	last byte
}

func (e *edges) Write(p []byte) (int, error) {
	if len(p) > 0 {
		e.last = p[len(p)-1]
		e.head = append(e.head, p[:min(len(p), 3-len(e.head))]...)
	}
	return len(p), nil
}
