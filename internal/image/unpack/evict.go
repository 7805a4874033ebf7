package unpack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/image/filelock"
)

// Evicted is what Evict removed and left.
type Evicted struct {
	Layers         int
	Bytes          int64
	Kept           int
	KeptBytes      int64
	HeldBytes      int64 // of the kept, held by leases
	StillTooLarge  bool  // all that is left is held
	RemovedHalves  int   // left by processes that were killed
	NotUnderstood  []string
	OldestKeptUsed time.Time
}

// Evict removes unpacked layers that nothing holds, the longest unused first, until
// at most MaxTotal bytes are left.
func (u *Unpacker) Evict(ctx context.Context) (Evicted, error) {
	unlock, err := filelock.Take(ctx, u.path("lock"), filelock.Exclusive)
	if err != nil {
		return Evicted{}, err
	}
	defer unlock()
	out, err := u.evict(ctx)
	if err != nil {
		return out, fmt.Errorf("cannot remove unused layers: %w", err)
	}
	return out, nil
}

// candidate is a layer on the disk.
type candidate struct {
	key   string
	bytes int64
	used  time.Time
	held  bool
}

func (u *Unpacker) evict(ctx context.Context) (Evicted, error) {
	var out Evicted
	if err := u.sweepHalves(&out); err != nil {
		return out, err
	}
	held, err := u.held()
	if err != nil {
		return out, err
	}
	all, err := u.candidates(held, &out)
	if err != nil {
		return out, err
	}
	var total int64
	for _, c := range all {
		total += c.bytes
	}
	for _, c := range all {
		if ctx.Err() != nil {
			return out, context.Cause(ctx)
		}
		if u.cfg.MaxTotal > 0 && total > u.cfg.MaxTotal && !c.held {
			gone, err := u.remove(c.key)
			if err != nil {
				return out, err
			}
			if gone {
				total -= c.bytes
				out.Layers++
				out.Bytes += c.bytes
				continue
			}
		}
		out.keep(c)
	}
	out.StillTooLarge = u.cfg.MaxTotal > 0 && total > u.cfg.MaxTotal
	return out, nil
}

func (e *Evicted) keep(c candidate) {
	e.Kept++
	e.KeptBytes += c.bytes
	if c.held {
		e.HeldBytes += c.bytes
	}
	if e.OldestKeptUsed.IsZero() || c.used.Before(e.OldestKeptUsed) {
		e.OldestKeptUsed = c.used
	}
}

// held returns the keys in all leases. A lease that cannot be read ends the run:
// what it holds is not known.
func (u *Unpacker) held() (map[string]bool, error) {
	names, err := u.Leases()
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, n := range names {
		raw, err := os.ReadFile(u.path("leases", n))
		if errors.Is(err, fs.ErrNotExist) {
			continue // released since
		}
		var keys []string
		if err == nil {
			err = json.Unmarshal(raw, &keys)
		}
		if err != nil {
			return nil, fmt.Errorf("the lease %s cannot be read: %w", n, err)
		}
		for _, k := range keys {
			out[k] = true
		}
	}
	return out, nil
}

// candidates lists the layers, the longest unused first.
func (u *Unpacker) candidates(held map[string]bool, out *Evicted) ([]candidate, error) {
	entries, err := os.ReadDir(u.path("layers"))
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, e := range entries {
		info, err := u.info(e.Name())
		stat, serr := os.Stat(u.path("layers", e.Name(), "layer.json"))
		if err != nil || serr != nil {
			out.NotUnderstood = append(out.NotUnderstood, e.Name())
			continue
		}
		all = append(all, candidate{e.Name(), info.Bytes, stat.ModTime(), held[e.Name()]})
	}
	slices.SortFunc(all, func(a, b candidate) int {
		if c := a.used.Compare(b.used); c != 0 {
			return c
		}
		return strings.Compare(a.key, b.key)
	})
	return all, nil
}

// remove takes a layer away by rename first, so that no half of it is ever seen.
func (u *Unpacker) remove(key string) (bool, error) {
	unlock, err := filelock.Try(u.path("locks", key), filelock.Exclusive)
	if errors.Is(err, filelock.ErrHeld) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unlock()
	gone := u.path("tmp", "gone-"+key)
	if err := os.RemoveAll(gone); err != nil {
		return false, err
	}
	if err := os.Rename(u.path("layers", key), gone); err != nil {
		return false, err
	}
	return true, os.RemoveAll(gone)
}

// sweepHalves removes what killed processes left in tmp.
func (u *Unpacker) sweepHalves(out *Evicted) error {
	entries, err := os.ReadDir(u.path("tmp"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "file-") {
			continue // a few bytes; may be being written
		}
		unlock, err := filelock.Try(u.path("locks", strings.TrimPrefix(e.Name(), "gone-")), filelock.Exclusive)
		if errors.Is(err, filelock.ErrHeld) {
			continue
		}
		if err != nil {
			return err
		}
		err = os.RemoveAll(u.path("tmp", e.Name()))
		unlock()
		if err != nil {
			return err
		}
		out.RemovedHalves++
	}
	return nil
}
