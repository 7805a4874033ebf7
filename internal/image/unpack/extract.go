package unpack

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"howdah.dev/howdah/internal/untrusted"
)

// extract unpacks a layer into dir/fs, as much as the budget has.
func (u *Unpacker) extract(ctx context.Context, blobs Blobs, d v1.Descriptor, diffID v1.Hash, dir string, b *budget) (*layerInfo, error) {
	f, size, err := blobs.Open(d.Digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := decompress(f)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	stream := max(untrusted.MinAllowed, untrusted.MaxRatio*size) // headers and padding included
	plain := &plainReader{ctx: ctx, r: z, left: stream, hash: sha256.New(), allowed: stream}

	if err := os.MkdirAll(filepath.Join(dir, "fs"), 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(filepath.Join(dir, "fs"))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	t := newTree(ctx, root, b.room(size), u.cfg.Shift)
	if err := t.read(plain); err != nil {
		return nil, err
	}
	// What follows the archive's end belongs to the digest too.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return nil, err
	}
	got := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(plain.hash.Sum(nil))}
	if got != diffID {
		return nil, fmt.Errorf("it unpacks to the digest %s where the image's configuration says %s", got, diffID)
	}
	return t.finish()
}

// decompress looks at the first bytes: media types are often wrong about this.
func decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 256<<10)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	switch {
	case len(head) >= 2 && string(head[:2]) == "\x1f\x8b":
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("it is no readable gzip file: %w", err)
		}
		return z, nil
	case string(head) == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("it is no readable zstd file: %w", err)
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(b), nil
}

// plainReader counts and hashes the uncompressed bytes.
type plainReader struct {
	ctx     context.Context
	r       io.Reader
	left    int64
	allowed int64
	hash    hash.Hash
}

func (p *plainReader) Read(b []byte) (int, error) {
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx)
	}
	n, err := p.r.Read(b)
	if p.left -= int64(n); p.left < 0 {
		return 0, tooLarge(p.allowed)
	}
	p.hash.Write(b[:n])
	return n, err
}

// entryError is a refusal of an entry, or of all that follow.
type entryError struct{ text string }

func (e *entryError) Error() string { return e.text }

func refuse(format string, args ...any) error { return &entryError{fmt.Sprintf(format, args...)} }

func tooLarge(allowed int64) error {
	return refuse("it unpacks to more than the %d bytes allowed for its size", allowed)
}

// read unpacks all entries.
func (t *tree) read(r io.Reader) error {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			if _, ok := errors.AsType[*entryError](err); ok || t.ctx.Err() != nil {
				return err
			}
			return fmt.Errorf("it is no readable tar archive: %w", err)
		}
		if err := t.entry(h, archive); err != nil {
			return err
		}
	}
}
