// Package imagestore owns images on a disk: blobs by digest, and repositories that
// name them. Blobs are kept once, whoever pushed them; a repository sees only what
// was pushed or mounted into it. Several processes may use one folder.
//
//	blobs/sha256/HEX            a verified blob, read-only
//	repos/NAME/_blobs/HEX       the repository has the blob; its time is its last use
//	repos/NAME/_manifests/HEX   the repository has the manifest; holds its media type
//	repos/NAME/_tags/TAG        holds the digest of a manifest
//	uploads/ID/                 an upload that may go on; its time is its last use
//	tmp/                        being written
//	lock                        shared by writers, exclusive to the collector
//
// Every file appears by rename after its content is on the disk. What refers is
// written after and removed before what it refers to, so a crash leaves at worst
// something unused, which Collect removes.
//
// It must not know HTTP, users, or what is in a layer.
package imagestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"howdah.dev/howdah/internal/image/filelock"
)

// Config says where images are kept and how much is accepted.
type Config struct {
	Dir        string
	MaxBlob    int64 // bytes of one blob; 16 GiB if zero
	MaxUploads int   // uploads of a project under way at once; 64 if zero

	Log *slog.Logger // slog.Default if nil
}

// Store keeps images. It is safe for concurrent use.
type Store struct {
	cfg Config
	// crash, in tests, is told of each point at which a process may end.
	crash func(point string)
}

// Errors that callers tell apart.
var (
	ErrBlobUnknown     = errors.New("the blob is not there")
	ErrManifestUnknown = errors.New("the manifest is not there")
	ErrNameUnknown     = errors.New("the repository is not there")
	ErrUploadUnknown   = errors.New("the upload is not there or has expired")
	ErrTooLarge        = errors.New("too large")
	ErrTooMany         = errors.New("too many uploads are under way; try again later")
)

// DigestError is other content than was promised.
type DigestError struct{ Want, Got v1.Hash }

func (e *DigestError) Error() string {
	return fmt.Sprintf("the content has the digest %s where %s was promised", e.Got, e.Want)
}

// SizeError is more or less content than was promised.
type SizeError struct {
	Digest    v1.Hash
	Want, Got int64
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s has %d bytes where %d were promised", e.Digest, e.Got, e.Want)
}

// MissingError names what a manifest refers to and its repository lacks.
type MissingError struct{ Missing []v1.Descriptor }

func (e *MissingError) Error() string {
	s := "push these first, the manifest refers to them:"
	for i, d := range e.Missing {
		if i == 8 {
			return fmt.Sprintf("%s and %d more", s, len(e.Missing)-i)
		}
		s += " " + d.Digest.String()
	}
	return s
}

// Open prepares the folder and returns the store in it.
func Open(cfg Config) (*Store, error) {
	if cfg.MaxBlob == 0 {
		cfg.MaxBlob = 16 << 30
	}
	if cfg.MaxUploads == 0 {
		cfg.MaxUploads = 64
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &Store{cfg: cfg, crash: func(string) {}}
	for _, d := range []string{"blobs/sha256", "repos", "uploads", "tmp", "locks"} {
		if err := os.MkdirAll(s.path(d), 0o700); err != nil {
			return nil, fmt.Errorf("cannot open the image store: %w", err)
		}
	}
	return s, nil
}

// Lock takes a named lock that processes with the same folder share; name is a
// plain file name.
func (s *Store) Lock(ctx context.Context, name string) (unlock func(), err error) {
	return filelock.Take(ctx, s.path("locks", name), filelock.Exclusive)
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.cfg.Dir}, elem...)...)
}

// writing keeps the collector away while something becomes visible.
func (s *Store) writing(ctx context.Context) (func(), error) {
	return filelock.Take(ctx, s.path("lock"), filelock.Shared)
}

// writeFile makes a small file appear whole, by rename.
func (s *Store) writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(s.path("tmp"), "file-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	s.crash("before " + filepath.Base(filepath.Dir(name)))
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	s.crash("after " + filepath.Base(filepath.Dir(name)))
	return syncDir(filepath.Dir(name))
}

// syncDir makes names in a folder outlast a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// touch records that a file was used now.
func touch(name string) error {
	now := time.Now()
	return os.Chtimes(name, now, now)
}
