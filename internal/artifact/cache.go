package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"howdah.dev/howdah/internal/untrusted"
)

// Config says where a cache lives and how it reaches the world.
type Config struct {
	Dir string // made on first use; owned by Howdah

	// Maven is the command that fetches mvn: sources; "mvn" if empty.
	Maven string
	// HTTP fetches https: sources; http.DefaultClient if nil.
	HTTP *http.Client
	// MaxUpload bounds what Put accepts, in bytes; 2 GiB if zero.
	MaxUpload int64
	// OnFetch, if set, hears how far Fetch is.
	OnFetch func(Progress)

	Log *slog.Logger // slog.Default if nil
}

// Cache holds blobs by digest and the sets made of them. It is safe for use
// by several goroutines, and one directory by several processes.
type Cache struct {
	cfg Config
}

// Progress tells how far one set is. Done counts blobs that are in the cache
// or, while Maven runs, in its local repository.
type Progress struct {
	Set        string // name of the lock
	DoneBytes  int64
	TotalBytes int64
	DoneFiles  int
	TotalFiles int
}

// New returns the cache in cfg.Dir. It touches nothing.
func New(cfg Config) *Cache {
	if cfg.Maven == "" {
		cfg.Maven = "mvn"
	}
	if cfg.HTTP == nil {
		cfg.HTTP = http.DefaultClient
	}
	if cfg.MaxUpload == 0 {
		cfg.MaxUpload = 2 << 30
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Cache{cfg: cfg}
}

// SetRoot is where Materialise puts the set with the id, on every host whose
// cache is in cacheDir. It is known before the set is there.
func SetRoot(cacheDir, id string) string {
	return filepath.Join(cacheDir, "sets", id)
}

// fixedTime is the modification time of everything in blobs and sets: a
// class-data archive is valid for one time stamp of a jar.
var fixedTime = time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC)

func (c *Cache) path(elem ...string) string {
	return filepath.Join(append([]string{c.cfg.Dir}, elem...)...)
}

func (c *Cache) blobPath(sum string) string { return c.path("blobs", sum) }

// has reports whether the cache holds the blob. Blobs are verified when they
// arrive and read-only afterwards; here only the size is looked at.
func (c *Cache) has(e Entry) bool {
	info, err := os.Stat(c.blobPath(e.SHA256))
	return err == nil && info.Mode().IsRegular() && info.Size() == e.Size
}

// Missing lists the entries whose blobs the cache lacks, each blob once.
func (c *Cache) Missing(l *Lock) []Entry {
	var out []Entry
	for _, e := range l.Blobs() {
		if !c.has(e) {
			out = append(out, e)
		}
	}
	return out
}

// Open opens a blob for reading. The error is fs.ErrNotExist when the cache
// does not hold it.
func (c *Cache) Open(sum string) (*os.File, error) {
	if !hexDigest.MatchString(sum) {
		return nil, fmt.Errorf("%q is not a SHA-256 digest: %w", sum, os.ErrNotExist)
	}
	return os.Open(c.blobPath(sum))
}

// Put takes a file from outside (a user's jar) and returns its digest and size.
func (c *Cache) Put(ctx context.Context, r io.Reader) (sum string, size int64, err error) {
	sum, size, err = c.store(ctx, io.LimitReader(r, c.cfg.MaxUpload+1), func(_ string, size int64) error {
		if size > c.cfg.MaxUpload {
			return fmt.Errorf("the file is larger than the limit of %s", bytesText(c.cfg.MaxUpload))
		}
		return nil
	})
	if err != nil {
		return "", 0, fmt.Errorf("cannot keep the uploaded file: %w", err)
	}
	return sum, size, nil
}

// PutFile is Put of a file on this machine.
func (c *Cache) PutFile(ctx context.Context, file string) (sum string, size int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	return c.Put(ctx, f)
}

// expect is the check of a blob that a lock names.
func expect(e Entry) func(string, int64) error {
	return func(sum string, size int64) error {
		switch {
		case size != e.Size:
			return &mismatchError{fmt.Sprintf("%s has %d bytes where the lock says %d", e.Source, size, e.Size)}
		case sum != e.SHA256:
			return &mismatchError{fmt.Sprintf("%s has digest sha256:%s where the lock says sha256:%s", e.Source, sum, e.SHA256)}
		}
		return nil
	}
}

// mismatchError is another content than the lock's.
type mismatchError struct{ text string }

func (e *mismatchError) Error() string { return e.text }

func isMismatch(err error) bool {
	var m *mismatchError
	return errors.As(err, &m)
}

// Digest returns the SHA-256 of what r reads, as locks write it.
func Digest(ctx context.Context, r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, untrusted.Reader(ctx, r)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
