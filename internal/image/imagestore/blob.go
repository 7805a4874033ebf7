package imagestore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/untrusted"
)

// Unknown is the size in an Expect that promises none.
const Unknown = -1

// Expect is what was promised of a blob: its digest, or the zero Hash; its size in
// bytes, or Unknown.
type Expect struct {
	Digest v1.Hash
	Size   int64
}

func (e Expect) check(d v1.Hash, size int64) error {
	if e.Digest != (v1.Hash{}) && e.Digest != d {
		return &DigestError{Want: e.Digest, Got: d}
	}
	if e.Size != Unknown && e.Size != size {
		return &SizeError{Digest: d, Want: e.Size, Got: size}
	}
	return nil
}

func (s *Store) blobPath(h v1.Hash) string { return s.path("blobs", "sha256", h.Hex) }

// Put keeps a blob after checking it. No repository has it yet: link it soon, or
// Collect removes it.
func (s *Store) Put(ctx context.Context, r io.Reader, want Expect) (v1.Hash, int64, error) {
	f, err := os.CreateTemp(s.path("tmp"), "blob-")
	if err != nil {
		return v1.Hash{}, 0, fmt.Errorf("cannot keep a blob: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	limit := s.cfg.MaxBlob
	if want.Size != Unknown && want.Size < limit {
		limit = want.Size // one byte more is enough to refuse it
	}
	h := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(f, h), io.LimitReader(untrusted.Reader(ctx, r), limit+1), make([]byte, 256<<10))
	if err != nil {
		return v1.Hash{}, 0, fmt.Errorf("cannot keep a blob: %w", diskError(err))
	}
	if n > s.cfg.MaxBlob {
		return v1.Hash{}, 0, fmt.Errorf("the blob has more than the %d bytes allowed: %w", s.cfg.MaxBlob, ErrTooLarge)
	}
	d := sum(h)
	if err := want.check(d, n); err != nil {
		return v1.Hash{}, 0, err
	}
	return d, n, s.adopt(ctx, f, d)
}

// adopt makes a written file, whose digest is known, the blob.
func (s *Store) adopt(ctx context.Context, f *os.File, h v1.Hash) error {
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	// A blob is not verified again, so its bytes must outlast a power cut before
	// its name does.
	if err := f.Sync(); err != nil {
		return fmt.Errorf("cannot keep a blob: %w", diskError(err))
	}
	unlock, err := s.writing(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s.crash("before blob")
	// The same content may be there already; then its time becomes fresh.
	if err := os.Rename(f.Name(), s.blobPath(h)); err != nil {
		return fmt.Errorf("cannot keep a blob: %w", err)
	}
	s.crash("after blob")
	return syncDir(s.path("blobs", "sha256"))
}

// Open opens a blob for reading. ErrBlobUnknown if it is not there.
func (s *Store) Open(h v1.Hash) (*os.File, int64, error) {
	if h.Algorithm != "sha256" || len(h.Hex) != hex.EncodedLen(sha256.Size) {
		return nil, 0, fmt.Errorf("%s: %w", h, ErrBlobUnknown)
	}
	f, err := os.Open(s.blobPath(h))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("%s: %w", h, ErrBlobUnknown)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("cannot open a blob: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("cannot open a blob: %w", err)
	}
	return f, info.Size(), nil
}

// Read returns a small blob whole.
func (s *Store) Read(h v1.Hash, limit int64) ([]byte, error) {
	f, size, err := s.Open(h)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, fmt.Errorf("%s has %d bytes, %d are allowed here: %w", h, size, limit, ErrTooLarge)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// Has returns the size of a blob, and keeps it from being collected for the time
// of grace: who asks is about to refer to it.
func (s *Store) Has(ctx context.Context, h v1.Hash) (size int64, ok bool) {
	unlock, err := s.writing(ctx)
	if err != nil {
		return 0, false
	}
	defer unlock()
	return s.has(h)
}

// has is Has for those who keep the collector away already.
func (s *Store) has(h v1.Hash) (int64, bool) {
	info, err := os.Stat(s.blobPath(h))
	if err != nil || h.Algorithm != "sha256" || touch(s.blobPath(h)) != nil {
		return 0, false
	}
	return info.Size(), true
}

func sum(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// diskError says of a full disk what to do.
func diskError(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("the disk of the image store is full, make room and try again: %w", err)
	}
	return err
}
