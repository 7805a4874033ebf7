package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"
)

// A claim is a file _claims/PART that says who writes a part. It is there so
// that instances do not do the same work, and for nothing else: two that write
// the same part write the same bytes under names of their own, and the rename
// of the first decides (see work.go). So a claim may be lost, stolen, torn or
// judged by a clock that is wrong, and the dataset is still exact.
//
// A claim comes into being by CREATE without overwrite, which HDFS lets one
// caller do. It is taken over when its lease has expired, in two steps:
//
//  1. The expired claim is renamed to a name of the taker's own. HDFS moves a
//     file once, so of any number of instances that saw it expire one gets it.
//  2. What was moved is looked at. It may be a younger claim, of an instance
//     that took over between our look and our rename. Then it is renamed back,
//     and we go on elsewhere. Only a holder of the expired one creates its own
//     claim, again without overwrite, and may lose to a newcomer.
//
// While a younger claim is away a third may create one, so that for a moment two
// work on one part. That costs a write, as said above.
type claim struct {
	Task    string    `json:"task"`
	Expires time.Time `json:"expires"`
}

func (w *worker) claimPath(p part) string { return path.Join(w.cfg.dataset, claimsFolder, p.name) }

// claim tries to become the writer of a part.
func (w *worker) claim(ctx context.Context, p part) (bool, error) {
	won, err := w.tryClaim(ctx, p)
	if errors.Is(err, errMissing) {
		return false, nil // a claim went while we wrote or read it; the next look shows why
	}
	return won, err
}

func (w *worker) tryClaim(ctx context.Context, p part) (bool, error) {
	for range 2 { // once more after a take-over
		err := w.writeClaim(ctx, p, false)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, errExists) {
			return false, err
		}
		held, err := w.readClaim(ctx, w.claimPath(p))
		switch {
		case errors.Is(err, errMissing):
			continue
		case err != nil:
			return false, err
		case held.Task == w.cfg.task:
			return true, nil // the answer to an earlier try was lost
		case time.Now().Before(held.Expires):
			return false, nil
		}
		if took, err := w.takeOver(ctx, p, held); err != nil || !took {
			return false, err
		}
	}
	return false, nil
}

// takeOver removes an expired claim, unless another instance was faster.
func (w *worker) takeOver(ctx context.Context, p part, expired claim) (bool, error) {
	mine := w.tmpPath("claim-" + p.name)
	if err := w.store.mkdir(ctx, w.at(tmpFolder)); err != nil {
		return false, err
	}
	moved, err := w.rename(ctx, w.claimPath(p), mine)
	if err != nil || !moved {
		return false, err
	}
	got, err := w.readClaim(ctx, mine)
	if err != nil {
		return false, err
	}
	if got.Task != expired.Task || !got.Expires.Equal(expired.Expires) {
		w.log.Info("claim given back", "part", p.name, "to", got.Task)
		if back, err := w.rename(ctx, mine, w.claimPath(p)); err != nil || back {
			return false, err
		}
		return false, w.store.remove(ctx, mine)
	}
	w.log.Info("claim taken over", "part", p.name, "from", expired.Task)
	return true, w.store.remove(ctx, mine)
}

func (w *worker) writeClaim(ctx context.Context, p part, replace bool) error {
	text, err := json.Marshal(claim{Task: w.cfg.task, Expires: time.Now().Add(w.cfg.lease).UTC().Round(time.Millisecond)})
	if err != nil {
		return err
	}
	return w.store.try(ctx, func() error { return w.store.createText(ctx, w.claimPath(p), replace, append(text, '\n')) })
}

// readClaim reads a claim. One that cannot be read was torn: its writer was
// killed, or is writing. It expires a lease after it was made.
func (w *worker) readClaim(ctx context.Context, name string) (claim, error) {
	var c claim
	data, err := w.store.read(ctx, name)
	var no *refused
	switch {
	case err == nil && json.Unmarshal(data, &c) == nil && c.Task != "":
		return c, nil
	case err != nil && !errors.As(err, &no): // of a file that is being written HDFS may refuse to tell
		return c, err
	}
	status, err := w.store.status(ctx, name)
	return claim{Task: fmt.Sprintf("torn at %d", status.Modified), Expires: time.UnixMilli(status.Modified).Add(w.cfg.lease)}, err
}

// keep renews a claim until the context ends. A claim that is not ours any more
// is left alone; the part is written all the same.
func (w *worker) keep(ctx context.Context, p part) {
	tick := time.NewTicker(w.cfg.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		held, err := w.readClaim(ctx, w.claimPath(p))
		if err == nil && held.Task != w.cfg.task {
			w.log.Info("claim lost", "part", p.name, "to", held.Task)
			return
		}
		if err == nil {
			// Not ended half-way with the writing of the part: a torn claim
			// would not say who wrote it.
			whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.lease/3)
			err = w.writeClaim(whole, p, true)
			cancel()
		}
		if err != nil && ctx.Err() == nil {
			w.log.Warn("cannot renew claim", "part", p.name, "error", err)
		}
	}
}

// release gives up the claim of a part that was not written, so that others need
// not wait for it to expire. The context of the work has ended already.
func (w *worker) release(p part) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if held, err := w.readClaim(ctx, w.claimPath(p)); err == nil && held.Task == w.cfg.task {
		_ = w.store.remove(ctx, w.claimPath(p))
	}
}
