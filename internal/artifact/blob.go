package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/untrusted"
)

// store writes a blob into the cache. check sees digest and size before the
// blob appears under its name.
func (c *Cache) store(ctx context.Context, r io.Reader, check func(sum string, size int64) error) (string, int64, error) {
	tmp, err := c.tempFile()
	if err != nil {
		return "", 0, err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	h := sha256.New()
	size, err := io.CopyBuffer(io.MultiWriter(tmp, h), untrusted.Reader(ctx, r), make([]byte, 256<<10))
	if err != nil {
		return "", 0, c.diskError(err, 0)
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if err := check(sum, size); err != nil {
		return "", 0, err
	}
	return sum, size, c.adopt(tmp, sum)
}

// adopt makes a written file, whose digest is known, the blob.
func (c *Cache) adopt(f *os.File, sum string) error {
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	if err := os.Chtimes(f.Name(), fixedTime, fixedTime); err != nil {
		return err
	}
	// A blob is never verified again, so its bytes must outlast a power cut
	// before its name does.
	if err := f.Sync(); err != nil {
		return c.diskError(err, 0)
	}
	if err := os.MkdirAll(c.path("blobs"), 0o755); err != nil {
		return err
	}
	// One that is already there has the same content, and sets link to it.
	err := os.Link(f.Name(), c.blobPath(sum))
	if err == nil {
		return nil
	}
	info, serr := f.Stat()
	if old, oerr := os.Stat(c.blobPath(sum)); serr == nil && oerr == nil && old.Size() == info.Size() {
		return nil
	}
	return os.Rename(f.Name(), c.blobPath(sum))
}

func (c *Cache) tempFile() (*os.File, error) {
	if err := os.MkdirAll(c.path("tmp"), 0o755); err != nil {
		return nil, fmt.Errorf("cannot use the artifact cache: %w", err)
	}
	return os.CreateTemp(c.path("tmp"), "blob-")
}

// requireSpace refuses early what the disk cannot hold.
func (c *Cache) requireSpace(need int64) error {
	if err := os.MkdirAll(c.cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("cannot use the artifact cache: %w", err)
	}
	if have := freeBytes(c.cfg.Dir); have >= 0 && have < need {
		return &spaceError{dir: c.cfg.Dir, need: need, have: have}
	}
	return nil
}

// diskError turns a full disk into a sentence with numbers.
func (c *Cache) diskError(err error, need int64) error {
	if isDiskFull(err) {
		return &spaceError{dir: c.cfg.Dir, need: need, have: freeBytes(c.cfg.Dir)}
	}
	return err
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

type spaceError struct {
	dir        string
	need, have int64 // need 0: unknown
}

func (e *spaceError) Error() string {
	if e.need == 0 {
		return fmt.Sprintf("the disk of %s is full (%s free): make room, then try again", e.dir, bytesText(e.have))
	}
	return fmt.Sprintf("the disk of %s is too small: %s are needed and %s are free; make room, then try again", e.dir, bytesText(e.need), bytesText(e.have))
}

// freeBytes is what this user may still write; -1 where the system does not tell.
func freeBytes(dir string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * s.Bsize
}

// bytesText is a size for people, in powers of 1024.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	v, i := float64(n)/unit, 0
	for ; v >= unit && i < 3; i++ {
		v /= unit
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGT"[i])
}
