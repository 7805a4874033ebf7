package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"path"
	"time"
)

// Names in a dataset beside its parts.
const (
	claimsFolder = "_claims"
	tmpFolder    = "_tmp"
	successFile  = "_SUCCESS"
	inputFile    = "input" // in claimsFolder: what is being written
)

// worker is one instance. However many there are, and whenever they are killed,
// the dataset ends up exact, because
//
//   - what a part holds depends on the sources alone, and all that write into
//     one dataset have the same sources: the first puts their digest into
//     _claims/input, and who finds another digest there refuses to work;
//   - a part is written to a name in _tmp that is used once, by one process, and
//     renamed only after HDFS has said that all of it is there, with its size;
//   - a rename is one step and never replaces a file. So a part is whole from
//     the moment it appears, and never changes. A rename whose answer was lost
//     can only do what the next one would, for the name it moves is not reused;
//   - _SUCCESS appears in the same way, after every part was seen in its size;
//   - _claims and _tmp go only after that, when nothing in them matters.
//
// Claims (see claim.go) save work. They are not needed for any of this.
type worker struct {
	cfg    config
	tree   *tree
	log    *slog.Logger
	health *health
	store  *store
	names  int // names in _tmp that were used
}

// input is what _claims/input holds.
type input struct {
	Digest string `json:"digest"`
	PartMB int64  `json:"partMB"`
}

func (w *worker) at(names ...string) string {
	return path.Join(append([]string{w.cfg.dataset}, names...)...)
}

// tmpPath returns a name in _tmp that was never used.
func (w *worker) tmpPath(name string) string {
	w.names++
	return w.at(tmpFolder, fmt.Sprintf("%s.%s.%d", name, w.cfg.task, w.names))
}

// work returns when the dataset is complete.
func (w *worker) work(ctx context.Context) error {
	parts := split(w.tree.files, w.cfg.partMB<<20)
	done, err := w.complete(ctx, parts)
	if err == nil && !done {
		err = w.agree(ctx)
		for err == nil && !done {
			done, err = w.round(ctx, parts)
		}
	}
	if err != nil {
		return err
	}
	w.health.set("complete", len(parts), len(parts))
	return w.tidy(ctx)
}

// idle waits for the end. Now and then it looks for what an instance left that
// was killed after the dataset was complete.
func (w *worker) idle(ctx context.Context) error {
	parts := split(w.tree.files, w.cfg.partMB<<20)
	for {
		if err := sleep(ctx, 2*w.cfg.lease); err != nil {
			return err
		}
		if done, err := w.complete(ctx, parts); err != nil || !done {
			w.log.Info("the dataset was taken away or replaced; it is left alone", "error", err)
			<-ctx.Done()
			return ctx.Err()
		}
		if err := w.tidy(ctx); err != nil {
			return err
		}
	}
}

// leave cleans up a complete dataset once more: whoever runs us may end all
// instances as soon as _SUCCESS is there. The context of the work has ended.
func (w *worker) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if done, err := w.complete(ctx, split(w.tree.files, w.cfg.partMB<<20)); err == nil && done {
		_ = w.tidy(ctx)
	}
}

// tidy removes what served the writing. Others may still be at work on parts
// that are there already; they find out.
func (w *worker) tidy(ctx context.Context) error {
	for _, folder := range []string{tmpFolder, claimsFolder} {
		if err := w.store.remove(ctx, w.at(folder)); err != nil {
			return err
		}
	}
	return nil
}

// complete reports whether _SUCCESS is there; it must be of the same input.
func (w *worker) complete(ctx context.Context, parts []part) (bool, error) {
	data, err := w.store.read(ctx, w.at(successFile))
	if errors.Is(err, errMissing) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var m manifest
	if json.Unmarshal(data, &m) != nil || m.Digest != w.tree.digest || int64(m.PartMB) != w.cfg.partMB {
		return false, fmt.Errorf("%s holds another input, complete; empty it first", w.cfg.dataset)
	}
	present, err := w.present(ctx, parts)
	if err == nil && len(present) < len(parts) {
		err = fmt.Errorf("%s says it is complete and lacks parts; empty it first", w.cfg.dataset)
	}
	return err == nil, err
}

// agree makes sure that all who write into the dataset have the same input.
func (w *worker) agree(ctx context.Context) error {
	mine := input{Digest: w.tree.digest, PartMB: w.cfg.partMB}
	text, err := json.Marshal(mine)
	if err != nil {
		return err
	}
	for range 100 { // others may clean up at the same time, or write the same
		theirs, err := w.store.read(ctx, w.at(claimsFolder, inputFile))
		if err == nil {
			var other input
			if json.Unmarshal(theirs, &other) != nil || other != mine {
				return fmt.Errorf("%s is being written from another input; empty it first", w.cfg.dataset)
			}
			return nil
		}
		if !errors.Is(err, errMissing) {
			return err
		}
		if err := w.propose(ctx, text); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s changes all the time; look who else writes to it", w.cfg.dataset)
}

// propose says what the input is, unless another did.
func (w *worker) propose(ctx context.Context, text []byte) error {
	for _, folder := range []string{claimsFolder, tmpFolder} {
		if err := w.store.mkdir(ctx, w.at(folder)); err != nil {
			return err
		}
	}
	if err := w.mayBegin(ctx); err != nil {
		return err
	}
	tmp := w.tmpPath(inputFile)
	if err := w.store.try(ctx, func() error { return w.store.createText(ctx, tmp, true, text) }); err != nil && !errors.Is(err, errMissing) {
		return err
	}
	_, err := w.rename(ctx, tmp, w.at(claimsFolder, inputFile))
	return err
}

// mayBegin refuses a dataset in which something is and nobody has said what.
// That is looked at in this order, since others may be ahead of us: they say
// what the input is before they write, and are done before they clean up.
func (w *worker) mayBegin(ctx context.Context) error {
	entries, err := w.store.list(ctx, w.cfg.dataset)
	if err != nil {
		return err
	}
	delete(entries, claimsFolder)
	delete(entries, tmpFolder)
	if len(entries) == 0 {
		return nil
	}
	for _, name := range []string{w.at(claimsFolder, inputFile), w.at(successFile)} {
		if _, err := w.store.status(ctx, name); !errors.Is(err, errMissing) {
			return err
		}
	}
	return fmt.Errorf("%s holds what was not written from this input; empty it first", w.cfg.dataset)
}

// present returns the parts that are there. One of another size than ours would
// have is none of ours.
func (w *worker) present(ctx context.Context, parts []part) (map[string]bool, error) {
	entries, err := w.store.list(ctx, w.cfg.dataset)
	if err != nil {
		return nil, err
	}
	present := map[string]bool{}
	for _, p := range parts {
		e, ok := entries[p.name]
		if !ok {
			continue
		}
		if e.Length != p.size() {
			return nil, fmt.Errorf("%s has %d bytes and not %d: it was not written from this input; empty %s first",
				w.at(p.name), e.Length, p.size(), w.cfg.dataset)
		}
		present[p.name] = true
	}
	return present, nil
}

// round writes one part that nobody else writes, or waits a little. It returns
// true when the dataset is complete.
func (w *worker) round(ctx context.Context, parts []part) (bool, error) {
	present, err := w.present(ctx, parts)
	if err != nil {
		return false, err
	}
	if len(present) == len(parts) {
		return w.succeed(ctx, parts)
	}
	w.health.set("working", len(present), len(parts))
	first := w.first(len(parts))
	for i := range parts {
		p := parts[(first+i)%len(parts)]
		if present[p.name] {
			continue
		}
		won, err := w.claim(ctx, p)
		if err != nil {
			return false, err
		}
		if won {
			return false, w.write(ctx, p)
		}
	}
	w.health.set("waiting", len(present), len(parts))
	return false, sleep(ctx, min(w.cfg.lease/8, time.Second)+rand.N(100*time.Millisecond))
}

// first is where this instance begins, so that not all want the same part.
func (w *worker) first(parts int) int {
	h := fnv.New32a()
	_, _ = io.WriteString(h, w.cfg.task)
	return int(h.Sum32() % uint32(parts))
}

// write writes a part under a name of its own and puts it in its place, unless
// another instance has.
func (w *worker) write(ctx context.Context, p part) error {
	kept, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.keep(kept, p)
	}()
	tmp, placed := "", false
	err := w.store.try(ctx, func() error {
		tmp = w.tmpPath(p.name) // a new name for every try
		return w.store.create(ctx, tmp, false, p.size(), func(out io.Writer) error { return w.tree.write(ctx, p, out) })
	})
	if err == nil {
		placed, err = w.rename(ctx, tmp, w.at(p.name))
	}
	end()
	<-done
	switch {
	case errors.Is(err, errMissing), errors.Is(err, errExists):
		return nil // _tmp was cleaned up: the dataset is complete, which the next look shows
	case err != nil:
		w.release(p)
		return err
	case placed:
		w.log.Info("part written", "part", p.name, "bytes", p.size())
		w.health.wrote()
		return nil
	}
	return w.store.remove(ctx, tmp) // another was faster
}

// rename moves a file, and asks again when the answer is lost. False means that
// it did not move, or that the try whose answer was lost has moved it.
func (w *worker) rename(ctx context.Context, from, to string) (moved bool, err error) {
	err = w.store.try(ctx, func() error { moved, err = w.store.rename(ctx, from, to); return err })
	return moved, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
