package artifact

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"howdah.dev/howdah/internal/untrusted"
)

// Export writes the blobs of the locks as one tar file, for a machine that
// reaches no registry. Every blob must be in the cache.
func (c *Cache) Export(ctx context.Context, w io.Writer, locks []*Lock) error {
	if missing := c.missingOf(locks); len(missing) > 0 {
		return fmt.Errorf("cannot export the cache: %d files are not in it, first %s of set %s; resolve them first", len(missing), missing[0].Source, missing[0].lock.Name)
	}
	tw := tar.NewWriter(w)
	seen := map[string]bool{}
	for _, l := range locks {
		for _, e := range l.Blobs() {
			if seen[e.SHA256] {
				continue
			}
			seen[e.SHA256] = true
			if err := c.exportBlob(ctx, tw, e); err != nil {
				return fmt.Errorf("cannot export the cache: %s: %w", e.Source, err)
			}
		}
	}
	return tw.Close()
}

func (c *Cache) exportBlob(ctx context.Context, tw *tar.Writer, e Entry) error {
	f, err := c.Open(e.SHA256)
	if err != nil {
		return err
	}
	defer f.Close()
	err = tw.WriteHeader(&tar.Header{Name: path.Join("blobs", e.SHA256), Size: e.Size, Mode: 0o444, ModTime: fixedTime, Typeflag: tar.TypeReg})
	if err != nil {
		return err
	}
	_, err = io.Copy(tw, untrusted.Reader(ctx, f))
	return err
}

// Import reads what Export wrote and returns how many blobs were new here.
// A blob whose content is not what its name says is refused.
func (c *Cache) Import(ctx context.Context, r io.Reader) (added int, err error) {
	if err := c.requireSpace(0); err != nil {
		return 0, err
	}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return added, nil
		}
		if err != nil {
			return added, fmt.Errorf("cannot import: this is not a whole export of an artifact cache: %w", err)
		}
		dir, name := path.Split(h.Name)
		if h.Typeflag != tar.TypeReg || sparse(h) || dir != "blobs/" || !hexDigest.MatchString(name) || h.Size > maxBlobSize {
			return added, fmt.Errorf("cannot import: the entry %.100q has no place in an export of an artifact cache", h.Name)
		}
		if c.has(Entry{SHA256: name, Size: h.Size}) {
			continue
		}
		_, _, err = c.store(ctx, tr, func(sum string, _ int64) error {
			if sum != name {
				return fmt.Errorf("the content has digest sha256:%s where its name says sha256:%s", sum, name)
			}
			return nil
		})
		if err != nil {
			return added, fmt.Errorf("cannot import: %w", err)
		}
		added++
	}
}

// sparse tells of a file whose zeros are not in the archive, so that a few bytes of it
// fill a disk.
func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}
