package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/filelock"
)

// Collecting says what Collect may remove.
type Collecting struct {
	// Grace protects what was written, asked for or linked lately: a push puts
	// blobs before the manifest that needs them. An hour if zero.
	Grace time.Duration
	// Uploads that nobody wrote to for so long are given up; a day if zero.
	Uploads time.Duration
	// Untagged manifests are removed after so long, unless an index or InUse needs
	// them; kept if zero, because running apps may name them by digest.
	Untagged time.Duration
	// Idle removes tags and manifests that were not used for so long; kept if
	// zero. For a store of pulled images.
	Idle time.Duration
	// InUse tells manifests that must stay; none if nil.
	InUse func(v1.Hash) bool
}

// Collected is what Collect removed.
type Collected struct {
	Uploads, Manifests, Links, Blobs int
	Bytes                            int64 // of the blobs
	KeptBytes                        int64 // of the blobs that stay
}

// collector is one run: mark what repositories need, sweep the rest.
type collector struct {
	s    *Store
	opts Collecting
	now  time.Time
	need map[string]map[v1.Hash]bool // blobs by repository, those of manifests included
	done Collected
}

// Collect removes what nothing needs any more. Pushes wait while it runs; reads
// and the bodies of uploads do not.
func (s *Store) Collect(ctx context.Context, opts Collecting) (Collected, error) {
	if opts.Grace == 0 {
		opts.Grace = time.Hour
	}
	if opts.Uploads == 0 {
		opts.Uploads = 24 * time.Hour
	}
	if opts.InUse == nil {
		opts.InUse = func(v1.Hash) bool { return false }
	}
	unlock, err := filelock.Take(ctx, s.path("lock"), filelock.Exclusive)
	if err != nil {
		return Collected{}, err
	}
	defer unlock()
	c := &collector{s: s, opts: opts, now: time.Now(), need: map[string]map[v1.Hash]bool{}}
	err = c.run(ctx)
	if err != nil {
		return c.done, fmt.Errorf("cannot collect unused images: %w", err)
	}
	return c.done, nil
}

func (c *collector) run(ctx context.Context) error {
	if err := c.uploads(); err != nil {
		return err
	}
	// A push that was given up left blobs and no manifest.
	names, err := c.s.repos("_manifests", "_blobs")
	if err != nil {
		return err
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := c.repo(&Repo{c.s, name}); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	// Links to blobs go only after every repository could be read: an unreadable
	// one ends the run before anything it may need is gone.
	for _, name := range names {
		if err := c.links(&Repo{c.s, name}); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return c.blobs(ctx)
}

// old reports whether a file was not used for at least d; what is gone is not old.
func (c *collector) old(name string, d time.Duration) bool {
	info, err := os.Stat(name)
	return err == nil && c.now.Sub(info.ModTime()) >= d
}

func (c *collector) uploads() error {
	for dir, count := range map[string]*int{"uploads": &c.done.Uploads, "tmp": new(int)} {
		entries, err := os.ReadDir(c.s.path(dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := c.s.path(dir, e.Name())
			if !c.old(name, c.opts.Uploads) || c.busy(name) {
				continue
			}
			if err := os.RemoveAll(name); err != nil {
				return err
			}
			*count++
		}
	}
	return nil
}

// busy reports whether a request writes to an upload: its folder may be old all
// the same, its data is not.
func (c *collector) busy(upload string) bool {
	info, err := os.Stat(filepath.Join(upload, "data"))
	return err == nil && c.now.Sub(info.ModTime()) < c.opts.Uploads
}

// repo removes the manifests of a repository that may go and marks what the
// others need.
func (c *collector) repo(r *Repo) error {
	tagged, err := c.tags(r)
	if err != nil {
		return err
	}
	all, err := r.Manifests()
	if err != nil {
		return err
	}
	read := map[v1.Hash]*image.Manifest{}
	for _, h := range all {
		m, err := r.Manifest(h.String())
		if errors.Is(err, ErrManifestUnknown) {
			continue // its blob was lost; nothing can be read of it
		}
		if err != nil {
			return err
		}
		read[h] = m
	}
	keep, need := map[v1.Hash]bool{}, map[v1.Hash]bool{}
	c.need[r.name] = need
	for h := range read {
		if tagged[h] || c.stays(r, h) {
			mark(read, keep, need, h)
		}
	}
	// A referrer (signature, list of parts) lives as long as its subject.
	for again := true; again; {
		again = false
		for h, m := range read {
			if !keep[h] && m.Subject != nil && keep[m.Subject.Digest] {
				mark(read, keep, need, h)
				again = true
			}
		}
	}
	return c.dropManifests(r, all, keep)
}

// stays reports whether a manifest that no tag names is kept for its own sake.
func (c *collector) stays(r *Repo, h v1.Hash) bool {
	file := r.path("_manifests", h.Hex)
	switch {
	case c.opts.InUse(h), !c.old(file, c.opts.Grace):
		return true
	case c.opts.Untagged > 0 && c.old(file, c.opts.Untagged):
		return false
	case c.opts.Idle > 0 && c.old(file, c.opts.Idle):
		return false
	}
	return true
}

// tags returns what tags stand for, after removing idle ones.
func (c *collector) tags(r *Repo) (map[v1.Hash]bool, error) {
	out := map[v1.Hash]bool{}
	tags, err := r.Tags()
	if err != nil && !errors.Is(err, ErrNameUnknown) {
		return nil, err
	}
	for _, t := range tags {
		if c.opts.Idle > 0 && c.now.Sub(t.Time) >= c.opts.Idle && !c.opts.InUse(t.Digest) {
			if err := os.Remove(r.path("_tags", t.Name)); err != nil {
				return nil, err
			}
			continue
		}
		out[t.Digest] = true
	}
	return out, nil
}

// mark keeps a manifest, the manifests it lists, and their blobs.
func mark(read map[v1.Hash]*image.Manifest, keep, need map[v1.Hash]bool, h v1.Hash) {
	m := read[h]
	if m == nil || keep[h] {
		return
	}
	keep[h] = true
	need[h] = true
	for _, d := range m.Blobs() {
		need[d.Digest] = true
	}
	for _, d := range m.Manifests {
		mark(read, keep, need, d.Digest)
	}
}

func (c *collector) dropManifests(r *Repo, all []v1.Hash, keep map[v1.Hash]bool) error {
	for _, h := range all {
		if keep[h] {
			continue
		}
		if err := os.Remove(r.path("_manifests", h.Hex)); err != nil {
			return err
		}
		c.done.Manifests++
		c.s.crash("collect manifest")
	}
	return c.sync(r.path("_manifests"))
}

// links removes a repository's claim on blobs that no manifest of it needs.
func (c *collector) links(r *Repo) error {
	linked, err := digests(r.path("_blobs"))
	if err != nil {
		return err
	}
	for _, h := range linked {
		link := r.path("_blobs", h.Hex)
		if c.need[r.name][h] || !c.old(link, c.opts.Grace) {
			continue
		}
		if err := os.Remove(link); err != nil {
			return err
		}
		c.done.Links++
		c.s.crash("collect link")
	}
	if err := c.sync(r.path("_blobs")); err != nil {
		return err
	}
	return c.dropEmpty(r)
}

// dropEmpty removes the folders of a repository that holds nothing.
func (c *collector) dropEmpty(r *Repo) error {
	for _, dir := range []string{"_tags", "_blobs", "_manifests", "."} {
		// Remove refuses a folder that holds something, and that is the question.
		if os.Remove(r.path(dir)) != nil {
			if _, err := os.Stat(r.path(dir)); err == nil {
				return nil
			}
		}
	}
	return nil
}

func (c *collector) blobs(ctx context.Context) error {
	all, err := digests(c.s.path("blobs", "sha256"))
	if err != nil {
		return err
	}
	needed := map[v1.Hash]bool{}
	for _, need := range c.need {
		maps.Copy(needed, need)
	}
	for _, h := range all {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		info, err := os.Stat(c.s.blobPath(h))
		if err != nil {
			return err
		}
		if needed[h] || c.now.Sub(info.ModTime()) < c.opts.Grace {
			c.done.KeptBytes += info.Size()
			continue
		}
		if err := os.Remove(c.s.blobPath(h)); err != nil {
			return err
		}
		c.done.Blobs++
		c.done.Bytes += info.Size()
		c.s.crash("collect blob")
	}
	return c.sync(c.s.path("blobs", "sha256"))
}

// sync makes removals outlast a power cut before what they referred to goes.
func (c *collector) sync(dir string) error {
	err := syncDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
