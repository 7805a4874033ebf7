package imagestore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"howdah.dev/howdah/internal/image/filelock"
	"howdah.dev/howdah/internal/untrusted"
)

var uploadID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// RangeError is a chunk that does not begin where the upload ends.
type RangeError struct{ At, Have int64 }

func (e *RangeError) Error() string {
	return fmt.Sprintf("the chunk begins at byte %d, but %d bytes are there", e.At, e.Have)
}

// StartUpload begins an upload into the repository and returns its id.
func (r *Repo) StartUpload() (string, error) {
	if err := r.room(); err != nil {
		return "", err
	}
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	id := hex.EncodeToString(raw)
	dir := r.s.path("uploads", id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot begin an upload: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data"), nil, 0o600); err != nil {
		return "", fmt.Errorf("cannot begin an upload: %w", err)
	}
	// Last: an upload without its owner is none.
	if err := os.WriteFile(filepath.Join(dir, "repo"), []byte(r.name), 0o600); err != nil {
		return "", fmt.Errorf("cannot begin an upload: %w", err)
	}
	return id, nil
}

// idleUpload is how long nobody must have written to an upload for a new one to take
// its place, where a project has as many as it may.
const idleUpload = 10 * time.Minute

// room sees that the repository's project may have another upload.
func (r *Repo) room() error {
	have, err := os.ReadDir(r.s.path("uploads"))
	if err != nil {
		return fmt.Errorf("cannot begin an upload: %w", err)
	}
	n := 0
	var idle []string
	for _, e := range have {
		dir := r.s.path("uploads", e.Name())
		owner, err := os.ReadFile(filepath.Join(dir, "repo"))
		if err != nil || project(string(owner)) != project(r.name) {
			continue
		}
		n++
		if info, err := os.Stat(filepath.Join(dir, "data")); err == nil && time.Since(info.ModTime()) > idleUpload {
			idle = append(idle, dir)
		}
	}
	if n < r.s.cfg.MaxUploads {
		return nil
	}
	for _, dir := range idle {
		// Who holds the lock checks or keeps what has all arrived.
		unlock, err := filelock.Try(filepath.Join(dir, "lock"), filelock.Exclusive)
		if err != nil {
			continue
		}
		err = os.RemoveAll(dir)
		unlock()
		return err
	}
	return ErrTooMany
}

// project is whose a repository is.
func project(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}

// upload returns the folder of an upload of this repository, locked: two requests
// for one upload would mix their bytes.
func (r *Repo) upload(id string) (dir string, unlock func(), err error) {
	if !uploadID.MatchString(id) {
		return "", nil, ErrUploadUnknown
	}
	dir = r.s.path("uploads", id)
	if owner, err := os.ReadFile(filepath.Join(dir, "repo")); err != nil || string(owner) != r.name {
		return "", nil, ErrUploadUnknown
	}
	unlock, err = filelock.Try(filepath.Join(dir, "lock"), filelock.Exclusive)
	if errors.Is(err, filelock.ErrHeld) {
		return "", nil, fmt.Errorf("another request writes to this upload: %w", err)
	}
	return dir, unlock, err
}

// Uploaded returns how many bytes of an upload are there.
func (r *Repo) Uploaded(id string) (int64, error) {
	if !uploadID.MatchString(id) {
		return 0, ErrUploadUnknown
	}
	dir := r.s.path("uploads", id)
	if owner, err := os.ReadFile(filepath.Join(dir, "repo")); err != nil || string(owner) != r.name {
		return 0, ErrUploadUnknown
	}
	info, err := os.Stat(filepath.Join(dir, "data"))
	if err != nil {
		return 0, ErrUploadUnknown
	}
	return info.Size(), nil
}

// Append adds bytes to an upload and returns how many it has then. at is where
// they begin, or Unknown for the end. What arrived before an error stays, so that
// the client can go on from there.
func (r *Repo) Append(ctx context.Context, id string, at int64, body io.Reader) (int64, error) {
	dir, unlock, err := r.upload(id)
	if err != nil {
		return 0, err
	}
	defer unlock()
	return r.s.extend(ctx, dir, at, body)
}

func (s *Store) extend(ctx context.Context, dir string, at int64, body io.Reader) (int64, error) {
	f, err := os.OpenFile(filepath.Join(dir, "data"), os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, ErrUploadUnknown
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	have := info.Size()
	if at != Unknown && at != have {
		return have, &RangeError{At: at, Have: have}
	}
	n, err := io.CopyBuffer(onlyWriter{f}, io.LimitReader(untrusted.Reader(ctx, body), s.cfg.MaxBlob-have+1), make([]byte, 256<<10))
	have += n
	if have > s.cfg.MaxBlob {
		return have, fmt.Errorf("the upload has more than the %d bytes allowed: %w", s.cfg.MaxBlob, ErrTooLarge)
	}
	if err != nil {
		return have, fmt.Errorf("cannot receive the upload: %w", diskError(err))
	}
	return have, touch(dir)
}

// onlyWriter hides that a file can read from a reader by itself: that would not
// use our buffer.
type onlyWriter struct{ io.Writer }

// FinishUpload adds the last bytes, checks the digest and makes the upload a blob
// of the repository.
func (r *Repo) FinishUpload(ctx context.Context, id string, at int64, body io.Reader, want v1.Hash) error {
	dir, unlock, err := r.upload(id)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := r.s.extend(ctx, dir, at, body); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, "data"), os.O_RDWR, 0)
	if err != nil {
		return ErrUploadUnknown
	}
	defer f.Close()
	// What counts is what is in the file, after any number of requests.
	h := sha256.New()
	if _, err := io.CopyBuffer(h, untrusted.Reader(ctx, f), make([]byte, 256<<10)); err != nil {
		return fmt.Errorf("cannot check the upload: %w", err)
	}
	if got := sum(h); got != want {
		os.RemoveAll(dir) // nothing that follows could mend it
		return &DigestError{Want: want, Got: got}
	}
	if err := r.s.adopt(ctx, f, want); err != nil {
		return err
	}
	if err := r.LinkBlob(ctx, want); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// CancelUpload forgets an upload.
func (r *Repo) CancelUpload(id string) error {
	dir, unlock, err := r.upload(id)
	if err != nil {
		return err
	}
	defer unlock()
	return os.RemoveAll(dir)
}
