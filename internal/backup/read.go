package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory that reading a backup takes, in bytes.
const maxWindow = 64 << 20

// members calls visit for every member of a backup in turn.
func members(ctx context.Context, file string, visit func(*tar.Header, io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	zr, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer zr.Close()
	tr := tar.NewReader(zr)
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if h.Typeflag != tar.TypeReg {
			return fmt.Errorf("%w: %q is no plain file", ErrDamaged, h.Name)
		}
		if err := visit(h, tr); err != nil {
			return err
		}
	}
}

// Verify reads a whole backup and compares every member with the manifest, which
// it returns.
func Verify(ctx context.Context, file string) (Manifest, error) {
	var m Manifest
	found := map[string]Member{}
	ended := false
	err := members(ctx, file, func(h *tar.Header, r io.Reader) error {
		if ended {
			return fmt.Errorf("%w: %q comes after the manifest", ErrDamaged, h.Name)
		}
		if h.Name == memberManifest {
			ended = true
			if h.Size > maxManifest {
				return fmt.Errorf("%w: its manifest has %d bytes", ErrDamaged, h.Size)
			}
			if err := json.NewDecoder(r).Decode(&m); err != nil {
				return fmt.Errorf("%w: its manifest: %w", ErrDamaged, err)
			}
			return nil
		}
		sum := sha256.New()
		n, err := io.Copy(sum, r)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrDamaged, h.Name, err)
		}
		found[h.Name] = Member{Name: h.Name, Bytes: n, SHA256: hex.EncodeToString(sum.Sum(nil))}
		return nil
	})
	switch {
	case err != nil:
		return m, err
	case !ended:
		return m, fmt.Errorf("%w: it ends before its manifest", ErrDamaged)
	}
	if err := m.check(); err != nil {
		return m, err
	}
	for _, want := range m.Members {
		got, ok := found[want.Name]
		if !ok || got.Bytes != want.Bytes || got.SHA256 != want.SHA256 {
			return m, fmt.Errorf("%w: %s is not what was written (SHA-256 %s, want %s)", ErrDamaged, want.Name, got.SHA256, want.SHA256)
		}
		delete(found, want.Name)
	}
	for name := range found {
		return m, fmt.Errorf("%w: it holds %q, which its manifest does not list", ErrDamaged, name)
	}
	return m, nil
}
