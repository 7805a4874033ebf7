package soak

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"howdah.dev/howdah/internal/adapter/webhdfs"
)

// retryFor is how long one write or read may go on failing, and maxFile how large a file
// is at most, in bytes.
const (
	retryFor = 10 * time.Second
	maxFile  = 256 << 10
)

// files writes to a warehouse and reads everything back that was acknowledged.
type files struct {
	hdfs *webhdfs.Client
	rng  *rand.Rand
	kept []kept

	writes, reads, again int   // again counts tries that failed and were made again
	bytes                int64 // read
	wrong                []string
}

// kept is a file the warehouse has said it holds.
type kept struct {
	name string
	sum  [sha256.Size]byte
}

// work writes a file and reads the next of those it has, round and round, until ctx
// ends or one stays away for longer than retryFor.
func (f *files) work(ctx context.Context) error {
	for next := 0; ctx.Err() == nil; next++ {
		if err := f.write(ctx); err != nil {
			return err
		}
		// Two for one: everything is read again and again, though there is ever more.
		for i := range 2 {
			if err := f.read(ctx, f.kept[(2*next+i)%len(f.kept)]); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond): // the machine is for the services
		}
	}
	return nil
}

// write keeps a new file. Only what was acknowledged counts as written.
func (f *files) write(ctx context.Context) error {
	data := make([]byte, 1+f.rng.IntN(maxFile))
	for i := range data {
		data[i] = byte(f.rng.Uint32())
	}
	name := fmt.Sprintf("/soak/%d/%d", len(f.kept)%16, len(f.kept))
	err := f.try(ctx, func(ctx context.Context) error {
		return f.hdfs.Create(ctx, name, bytes.NewReader(data), webhdfs.CreateOptions{Overwrite: true})
	})
	if err == nil {
		f.kept = append(f.kept, kept{name, sha256.Sum256(data)})
		f.writes++
	}
	return err
}

// read compares a file with what was written.
func (f *files) read(ctx context.Context, k kept) error {
	return f.try(ctx, func(ctx context.Context) error {
		r, err := f.hdfs.Open(ctx, k.name, 0, -1)
		if err != nil {
			return err
		}
		defer r.Close()
		h := sha256.New()
		n, err := io.Copy(h, r)
		if err != nil {
			return err
		}
		f.reads++
		f.bytes += n
		if !bytes.Equal(h.Sum(nil), k.sum[:]) {
			f.wrong = append(f.wrong, fmt.Sprintf("%s: %d bytes with another digest", k.name, n))
		}
		return nil
	})
}

// try does something again until it succeeds, for at most retryFor. What was begun is
// ended before the client ends, so that every acknowledged write is known.
func (f *files) try(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), retryFor)
	defer cancel()
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("for %s: %w", retryFor, err)
		}
		f.again++
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// all reads every file once more.
func (f *files) all(ctx context.Context) error {
	var errs []error
	for _, k := range f.kept {
		errs = append(errs, f.read(ctx, k))
	}
	if len(f.wrong) > 0 {
		errs = append(errs, errors.New(strings.Join(f.wrong, "; ")))
	}
	return errors.Join(errs...)
}
