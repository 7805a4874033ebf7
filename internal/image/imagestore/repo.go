package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"howdah.dev/howdah/internal/image"
)

// Repo is one repository. It may not exist yet; the first push makes it.
type Repo struct {
	s    *Store
	name string
}

// Repo returns the repository with the name.
func (s *Store) Repo(name string) (*Repo, error) {
	if err := image.CheckRepository(name); err != nil {
		return nil, err
	}
	return &Repo{s, name}, nil
}

// Name is the repository's name.
func (r *Repo) Name() string { return r.name }

// Store is the store that holds the repository.
func (r *Repo) Store() *Store { return r.s }

func (r *Repo) path(elem ...string) string {
	return r.s.path(append([]string{"repos", filepath.FromSlash(r.name)}, elem...)...)
}

func (r *Repo) exists() bool {
	_, err := os.Stat(r.path("_manifests"))
	return err == nil
}

// PutBlob keeps a blob and links it.
func (r *Repo) PutBlob(ctx context.Context, body io.Reader, want Expect) (v1.Hash, int64, error) {
	h, n, err := r.s.Put(ctx, body, want)
	if err != nil {
		return v1.Hash{}, 0, err
	}
	return h, n, r.LinkBlob(ctx, h)
}

// LinkBlob gives the repository a blob that the store has: the caller has shown a
// right to it. ErrBlobUnknown if the store has it not.
func (r *Repo) LinkBlob(ctx context.Context, h v1.Hash) error {
	unlock, err := r.s.writing(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok := r.s.has(h); !ok {
		return fmt.Errorf("%s: %w", h, ErrBlobUnknown)
	}
	link := r.path("_blobs", h.Hex)
	if touch(link) == nil {
		return nil
	}
	if err := r.s.writeFile(link, nil); err != nil {
		return fmt.Errorf("cannot add a blob to %s: %w", r.name, err)
	}
	return nil
}

// HasBlob returns the size of a blob of the repository, and keeps it from being
// collected for the time of grace.
func (r *Repo) HasBlob(ctx context.Context, h v1.Hash) (int64, bool) {
	unlock, err := r.s.writing(ctx)
	if err != nil {
		return 0, false
	}
	defer unlock()
	return r.hasBlob(h)
}

func (r *Repo) hasBlob(h v1.Hash) (int64, bool) {
	if h.Algorithm != "sha256" || touch(r.path("_blobs", h.Hex)) != nil {
		return 0, false
	}
	return r.s.has(h)
}

// OpenBlob opens a blob of the repository.
func (r *Repo) OpenBlob(h v1.Hash) (*os.File, int64, error) {
	if _, err := os.Stat(r.path("_blobs", h.Hex)); err != nil || h.Algorithm != "sha256" {
		return nil, 0, fmt.Errorf("%s: %w", h, ErrBlobUnknown)
	}
	return r.s.Open(h)
}

// PutManifest keeps a manifest, under the tag if there is one. All it refers to
// must be in the repository, else the error is a *MissingError.
func (r *Repo) PutManifest(ctx context.Context, tag string, kind types.MediaType, raw []byte) (*image.Manifest, error) {
	m, err := image.ParseManifest(kind, raw)
	if err != nil {
		return nil, err
	}
	if tag != "" {
		if err := image.CheckTag(tag); err != nil {
			return nil, err
		}
	}
	if _, _, err := r.s.Put(ctx, strings.NewReader(string(raw)), Expect{m.Digest, int64(len(raw))}); err != nil {
		return nil, err
	}
	unlock, err := r.s.writing(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if missing := r.missing(m); len(missing) > 0 {
		return nil, &MissingError{missing}
	}
	// Between Put and here the collector may have come.
	if _, ok := r.s.has(m.Digest); !ok {
		return nil, fmt.Errorf("%s: %w", m.Digest, ErrManifestUnknown)
	}
	if err := r.s.writeFile(r.path("_manifests", m.Digest.Hex), []byte(m.MediaType)); err != nil {
		return nil, fmt.Errorf("cannot keep a manifest in %s: %w", r.name, err)
	}
	if tag != "" {
		if err := r.s.writeFile(r.path("_tags", tag), []byte(m.Digest.String())); err != nil {
			return nil, fmt.Errorf("cannot set the tag %s of %s: %w", tag, r.name, err)
		}
	}
	return m, nil
}

// missing lists what m refers to and the repository lacks, or has in another size.
func (r *Repo) missing(m *image.Manifest) []v1.Descriptor {
	var out []v1.Descriptor
	for _, d := range m.Blobs() {
		if size, ok := r.hasBlob(d.Digest); !ok || size != d.Size {
			out = append(out, d)
		}
	}
	for _, d := range m.Manifests {
		if touch(r.path("_manifests", d.Digest.Hex)) != nil {
			out = append(out, d)
		}
	}
	return out
}

// Resolve returns the digest that a tag or digest stands for.
func (r *Repo) Resolve(ref string) (v1.Hash, error) {
	if h, err := image.ParseDigest(ref); err == nil {
		if _, err := os.Stat(r.path("_manifests", h.Hex)); err != nil {
			return v1.Hash{}, r.unknown(ref)
		}
		return h, nil
	}
	if image.CheckTag(ref) != nil {
		return v1.Hash{}, r.unknown(ref)
	}
	text, err := os.ReadFile(r.path("_tags", ref))
	if err != nil {
		return v1.Hash{}, r.unknown(ref)
	}
	return image.ParseDigest(string(text))
}

func (r *Repo) unknown(ref string) error {
	if !r.exists() {
		return fmt.Errorf("%s: %w", r.name, ErrNameUnknown)
	}
	return fmt.Errorf("%s %s: %w", r.name, ref, ErrManifestUnknown)
}

// Manifest returns the manifest that a tag or digest stands for.
func (r *Repo) Manifest(ref string) (*image.Manifest, error) {
	h, err := r.Resolve(ref)
	if err != nil {
		return nil, err
	}
	kind, err := os.ReadFile(r.path("_manifests", h.Hex))
	if err != nil {
		return nil, r.unknown(ref)
	}
	raw, err := r.s.Read(h, image.MaxManifest)
	if errors.Is(err, ErrBlobUnknown) {
		return nil, r.unknown(ref)
	}
	if err != nil {
		return nil, err
	}
	return image.ParseManifest(types.MediaType(kind), raw)
}

// Use records that a tag or digest is used now, and what it refers to; see
// Collecting.Idle.
func (r *Repo) Use(ctx context.Context, ref string) error {
	unlock, err := r.s.writing(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	h, err := r.Resolve(ref)
	if err != nil {
		return err
	}
	if ref != h.String() {
		if err := touch(r.path("_tags", ref)); err != nil {
			return r.unknown(ref)
		}
	}
	return touch(r.path("_manifests", h.Hex))
}

// DeleteTag removes a tag; the manifest stays.
func (r *Repo) DeleteTag(ctx context.Context, tag string) error {
	unlock, err := r.s.writing(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if image.CheckTag(tag) != nil || os.Remove(r.path("_tags", tag)) != nil {
		return r.unknown(tag)
	}
	return syncDir(r.path("_tags"))
}

// DeleteManifest removes a manifest and the tags that stand for it.
func (r *Repo) DeleteManifest(ctx context.Context, h v1.Hash) error {
	unlock, err := r.s.writing(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := r.Resolve(h.String()); err != nil {
		return err
	}
	tags, err := r.Tags()
	if err != nil {
		return err
	}
	for _, t := range tags {
		if t.Digest == h {
			if err := os.Remove(r.path("_tags", t.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot remove the tag %s of %s: %w", t.Name, r.name, err)
			}
		}
	}
	r.s.crash("delete manifest")
	if err := os.Remove(r.path("_manifests", h.Hex)); err != nil {
		return r.unknown(h.String())
	}
	return syncDir(r.path("_manifests"))
}

// Tag is a name for a manifest.
type Tag struct {
	Name   string
	Digest v1.Hash
	Time   time.Time // set, or last used
}

// Tags lists the tags by name. A repository without any is an empty list.
func (r *Repo) Tags() ([]Tag, error) {
	entries, err := os.ReadDir(r.path("_tags"))
	if errors.Is(err, fs.ErrNotExist) {
		if !r.exists() {
			return nil, fmt.Errorf("%s: %w", r.name, ErrNameUnknown)
		}
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the tags of %s: %w", r.name, err)
	}
	var out []Tag
	for _, e := range entries {
		text, err := os.ReadFile(r.path("_tags", e.Name()))
		if err != nil {
			continue // removed since
		}
		h, err := image.ParseDigest(string(text))
		info, ierr := e.Info()
		if err != nil || ierr != nil {
			continue
		}
		out = append(out, Tag{e.Name(), h, info.ModTime()})
	}
	return out, nil
}

// Manifests lists the digests of the repository's manifests, sorted.
func (r *Repo) Manifests() ([]v1.Hash, error) {
	return digests(r.path("_manifests"))
}

// digests lists a folder whose files are named by digest.
func digests(dir string) ([]v1.Hash, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []v1.Hash
	for _, e := range entries {
		if h, err := image.ParseDigest("sha256:" + e.Name()); err == nil {
			out = append(out, h)
		}
	}
	return out, nil
}

// Referrers lists the manifests of the repository whose subject is h.
func (r *Repo) Referrers(h v1.Hash) ([]*image.Manifest, error) {
	all, err := r.Manifests()
	if err != nil {
		return nil, err
	}
	var out []*image.Manifest
	for _, d := range all {
		m, err := r.Manifest(d.String())
		if err == nil && m.Subject != nil && m.Subject.Digest == h {
			out = append(out, m)
		}
	}
	return out, nil
}

// Repos lists the names of all repositories that have had a manifest, sorted.
func (s *Store) Repos() ([]string, error) { return s.repos("_manifests") }

// repos lists the repositories that have one of the folders.
func (s *Store) repos(folders ...string) ([]string, error) {
	var out []string
	root := s.path("repos")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name != root {
			return nil // removed since
		}
		if err != nil || !d.IsDir() {
			return err
		}
		if slices.Contains(folders, d.Name()) {
			rel, _ := filepath.Rel(root, filepath.Dir(name))
			out = append(out, filepath.ToSlash(rel))
		}
		if strings.HasPrefix(d.Name(), "_") {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the repositories: %w", err)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
