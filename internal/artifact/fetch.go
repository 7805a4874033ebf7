package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"howdah.dev/howdah/internal/untrusted"
)

// Fetcher gets the bytes of a blob from offset on. The server's end of it is
// Cache.Open and a Seek.
type Fetcher interface {
	FetchBlob(ctx context.Context, sha256 string, offset int64) (io.ReadCloser, error)
}

const (
	fetchers      = 4
	fetchAttempts = 5 // in a row without a byte
)

// Fetch brings what the cache lacks of the lock from the fetcher. A fetch that
// was cut, even by the end of the process, goes on where it stopped. Every
// blob is verified before it is kept.
func (c *Cache) Fetch(ctx context.Context, l *Lock, f Fetcher) error {
	missing := c.Missing(l)
	if len(missing) == 0 {
		return nil
	}
	var need int64
	for _, e := range missing {
		need += e.Size
	}
	if err := c.requireSpace(need); err != nil {
		return fmt.Errorf("cannot fetch set %s: %w", l.Name, err)
	}
	track := newTracker([]*Lock{l}, c, c.cfg.OnFetch)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchers)
	for _, e := range missing {
		g.Go(func() error {
			if err := c.fetchOne(gctx, e, f); err != nil {
				return fmt.Errorf("cannot fetch %s of set %s: %w", e.Source, l.Name, c.diskError(err, e.Size))
			}
			track.done(e)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("cannot fetch set %s: %w", l.Name, context.Cause(ctx))
		}
		return err
	}
	return nil
}

// fetchOne fetches one blob under a lock of its own: two processes that want
// it share the work.
func (c *Cache) fetchOne(ctx context.Context, e Entry, f Fetcher) error {
	unlock, err := c.lock(ctx, "fetch-"+e.SHA256)
	if err != nil {
		return err
	}
	defer unlock()
	defer os.Remove(c.path("locks", "fetch-"+e.SHA256))
	if c.has(e) {
		return nil
	}
	if err := os.MkdirAll(c.path("partial"), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(c.path("partial", e.SHA256), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	err = c.fillAndKeep(ctx, file, e, f)
	if isMismatch(err) && ctx.Err() == nil {
		// What an earlier run left may have been torn by a power cut.
		c.cfg.Log.Warn("fetched file differs from the lock; once more from the start", "source", e.Source.String(), "err", err)
		if err = file.Truncate(0); err == nil {
			err = c.fillAndKeep(ctx, file, e, f)
		}
	}
	if err == nil || isMismatch(err) {
		os.Remove(file.Name())
	}
	return err
}

func (c *Cache) fillAndKeep(ctx context.Context, file *os.File, e Entry, f Fetcher) error {
	if err := fill(ctx, file, e, f); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.CopyBuffer(h, untrusted.Reader(ctx, file), make([]byte, 256<<10))
	if err != nil {
		return err
	}
	if err := expect(e)(hex.EncodeToString(h.Sum(nil)), n); err != nil {
		return err
	}
	return c.adopt(file, e.SHA256)
}

// fill appends to file until it has the entry's size, trying again as long as
// there is progress.
func fill(ctx context.Context, file *os.File, e Entry, f Fetcher) error {
	have, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if have > e.Size {
		if err := file.Truncate(0); err != nil {
			return err
		}
		have, _ = file.Seek(0, io.SeekStart)
	}
	for idle := 0; have < e.Size; {
		n, err := fillOnce(ctx, file, e, f, have)
		have += n
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case have > e.Size:
			return &mismatchError{fmt.Sprintf("%s has more than the %d bytes of the lock", e.Source, e.Size)}
		case have == e.Size:
			return nil
		case n > 0:
			idle = 0
		}
		if idle++; idle >= fetchAttempts || isPermanent(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Duration(idle*idle) * 100 * time.Millisecond):
		}
	}
	return nil
}

func fillOnce(ctx context.Context, file *os.File, e Entry, f Fetcher, offset int64) (int64, error) {
	r, err := f.FetchBlob(ctx, e.SHA256, offset)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err := io.CopyBuffer(file, untrusted.Reader(ctx, io.LimitReader(r, e.Size-offset+1)), make([]byte, 256<<10))
	if err == nil && offset+n < e.Size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// permanentError is one that another attempt will not cure.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// isPermanent knows what no repetition cures: a blob the other side lacks, a
// full disk.
func isPermanent(err error) bool {
	var p permanentError
	return errors.As(err, &p) || errors.Is(err, os.ErrNotExist) || isDiskFull(err)
}
