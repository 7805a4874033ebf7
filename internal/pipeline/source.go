package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// maxSources bounds how many local files a step takes.
const maxSources = 1_000_000

// tree is the local files of an ingest or feed step as they were found.
type tree struct {
	root   string // as declared
	real   string // root without symbolic links
	files  []sourceFile
	bytes  int64
	digest string
}

// sourceFile is one local file.
type sourceFile struct {
	rel    string // path below the root, with slashes
	bytes  int64
	digest [sha256.Size]byte // of the content
}

// scan finds the regular files below a directory whose base name matches, in
// the order of filepath.WalkDir, and reads them for their digests. The
// directory itself may be a symbolic link; links below are not followed.
func scan(ctx context.Context, root, match string) (*tree, error) {
	t, err := find(ctx, root, match)
	if err != nil {
		return nil, fmt.Errorf("cannot read the files below %s: %w", root, err)
	}
	if len(t.files) == 0 {
		return nil, fmt.Errorf("there are no files %s below %s", match, root)
	}
	all := sha256.New()
	for i := range t.files {
		f := &t.files[i]
		if f.bytes, err = t.copyFile(ctx, f, io.Discard); err != nil {
			return nil, err
		}
		t.bytes += f.bytes
		fmt.Fprintf(all, "%s\x00%d\x00%x\n", f.rel, f.bytes, f.digest)
	}
	t.digest = digestText(all)
	return t, nil
}

func digestText(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

func find(ctx context.Context, root, match string) (*tree, error) {
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, err
	}
	t := &tree{root: root, real: real}
	err = filepath.WalkDir(real, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ok, err := path.Match(match, d.Name())
		if err != nil || !ok || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(real, name)
		if err != nil {
			return err
		}
		if len(t.files) == maxSources {
			return fmt.Errorf("there are more than %d", maxSources)
		}
		t.files = append(t.files, sourceFile{rel: filepath.ToSlash(rel)})
		return nil
	})
	return t, err
}

// copyFile copies a file to w. The first time it notes the digest of the
// content; later it fails when the content is another.
func (t *tree) copyFile(ctx context.Context, f *sourceFile, w io.Writer) (int64, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	name := filepath.Join(t.real, filepath.FromSlash(f.rel))
	file, err := os.Open(name)
	if err != nil {
		return 0, fmt.Errorf("cannot read source: %w", err)
	}
	defer file.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(h, w), file)
	if err != nil {
		return n, err
	}
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	if f.digest != [sha256.Size]byte{} && f.digest != sum {
		return n, fmt.Errorf("%s changed while the pipeline ran", name)
	}
	f.digest = sum
	return n, nil
}

// fileDigest returns the digest of one local file.
func fileDigest(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", name, err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("cannot read %s: %w", name, err)
	}
	return digestText(h), nil
}
