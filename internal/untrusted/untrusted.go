// Package untrusted owns what everything holds to that reads archives which others
// made: which names entries may have, how much an archive may unpack to, and copies
// that end with their context. It must not know what is unpacked, or where.
package untrusted

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"
)

// Limits of a name.
const (
	MaxPath  = 4096 // bytes of a path, or of a link's target
	maxName  = 255  // bytes of one part of a path
	maxDepth = 128  // folders in folders
)

// An archive may unpack to MaxRatio times its size and MinAllowed bytes more: a few
// kilobytes must not fill a disk.
const (
	MaxRatio   = 200
	MinAllowed = 256 << 20
)

// Allowed is how many bytes an archive of a size may unpack to.
func Allowed(size int64) int64 { return MaxRatio*size + MinAllowed }

// EntryPath checks the name of an entry and returns it clean: "." for where it is
// unpacked itself, else a path below it, with slashes. where is what must not be left,
// for the error: "image".
func EntryPath(name, where string) (string, error) {
	switch {
	case len(name) > MaxPath:
		return "", fmt.Errorf("the entry %q... has a path of %d bytes; %d are allowed", name[:40], len(name), MaxPath)
	case strings.HasPrefix(name, "/"), strings.ContainsRune(name, 0):
		return "", fmt.Errorf("the entry %q would be written outside the %s", name, where)
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("the entry %q would be written outside the %s", name, where)
		}
		if len(part) > maxName {
			return "", fmt.Errorf("the entry %q... has a name of %d bytes; %d are allowed", name[:40], len(part), maxName)
		}
		if depth++; depth > maxDepth {
			return "", fmt.Errorf("the entry %q... lies more than %d folders deep", name[:40], maxDepth)
		}
	}
	return path.Clean(name), nil
}

// Reader ends a copy from r when the context ends, with its cause.
func Reader(ctx context.Context, r io.Reader) io.Reader { return reader{ctx, r} }

type reader struct {
	ctx context.Context //nolint:containedctx // lives as long as one copy
	r   io.Reader
}

// Read is io.Reader's.
func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
