package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/imagestore"
)

// Imported is an image that Import put into the repository.
type Imported struct {
	Name     string // as the archive calls it; may be empty
	Manifest *image.Manifest
}

// found is an image in an archive that can be taken.
type found struct {
	names []string
	put   func(ctx context.Context, repo *imagestore.Repo, tag string) (*image.Manifest, error)
}

func (f found) is(name string) bool {
	return slices.ContainsFunc(f.names, func(have string) bool { return have == name || strings.HasSuffix(have, "/"+name) })
}

func (f found) String() string {
	if len(f.names) == 0 {
		return "(without a name)"
	}
	return f.names[0]
}

// Import reads an archive and puts its image into the repository under the tag.
func Import(ctx context.Context, repo *imagestore.Repo, tag string, r io.Reader, opts Options) (Imported, error) {
	out, err := importInto(ctx, repo, tag, r, opts)
	if err != nil {
		return Imported{}, fmt.Errorf("cannot import the image archive: %w", err)
	}
	return out, nil
}

func importInto(ctx context.Context, repo *imagestore.Repo, tag string, r io.Reader, opts Options) (Imported, error) {
	if opts.MaxBytes == 0 {
		opts.MaxBytes = 64 << 30
	}
	if opts.Platform.OS == "" {
		opts.Platform = v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	c, err := read(ctx, repo.Store(), r, opts.MaxBytes)
	if err != nil {
		return Imported{}, err
	}
	images, err := c.images(opts)
	if err != nil {
		return Imported{}, err
	}
	one, err := choose(images, opts.Pick)
	if err != nil {
		return Imported{}, err
	}
	m, err := one.put(ctx, repo, tag)
	if err != nil {
		return Imported{}, err
	}
	name := ""
	if len(one.names) > 0 {
		name = one.names[0]
	}
	return Imported{name, m}, nil
}

// images lists what the archive holds. Newer docker save writes both forms; the
// layout keeps digests, so it comes first.
func (c *contents) images(opts Options) ([]found, error) {
	index, hasIndex, err := c.small("index.json")
	if err != nil {
		return nil, err
	}
	saved, hasSaved, err := c.small("manifest.json")
	if err != nil {
		return nil, err
	}
	if !hasIndex && !hasSaved {
		return nil, errors.New("it has neither index.json nor manifest.json, so it is no image: make one with docker save, podman save or skopeo")
	}
	var out []found
	var layoutErr error
	if hasIndex {
		if out, layoutErr = c.layout(index, opts); layoutErr == nil || !hasSaved {
			return out, layoutErr
		}
	}
	if out, err = c.saved(saved); err != nil {
		return nil, errors.Join(layoutErr, err)
	}
	return out, nil
}

func choose(images []found, pick string) (found, error) {
	if pick != "" {
		for _, f := range images {
			if f.is(pick) {
				return f, nil
			}
		}
		return found{}, fmt.Errorf("it does not hold %s, but %s", pick, list(images))
	}
	if len(images) == 1 {
		return images[0], nil
	}
	return found{}, fmt.Errorf("it holds %d images, say which: %s", len(images), list(images))
}

func list(images []found) string {
	var names []string
	for _, f := range images {
		names = append(names, f.String())
	}
	return strings.Join(names, ", ")
}

// layout reads the OCI form.
func (c *contents) layout(raw []byte, opts Options) ([]found, error) {
	index, err := image.ParseManifest("", raw)
	if err != nil {
		return nil, fmt.Errorf("index.json cannot be read: %w", err)
	}
	if !index.IsIndex() {
		return nil, errors.New("index.json is no index of images")
	}
	var out []found
	for _, d := range index.Manifests {
		m, err := c.manifest(d)
		if err != nil {
			return nil, err
		}
		if m, err = c.complete(m, opts.Platform); err != nil {
			return nil, err
		}
		f := found{put: func(ctx context.Context, repo *imagestore.Repo, tag string) (*image.Manifest, error) {
			return c.put(ctx, repo, tag, m, visited{})
		}}
		for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
			if n := d.Annotations[key]; n != "" {
				f.names = append(f.names, n)
			}
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		return nil, errors.New("its index.json lists no image")
	}
	return out, nil
}

// manifest reads a manifest that is a blob of the archive.
func (c *contents) manifest(d v1.Descriptor) (*image.Manifest, error) {
	raw, ok, err := c.small("blobs/sha256/" + d.Digest.Hex)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("it lacks the manifest %s", d.Digest)
	}
	return image.ParseManifest(d.MediaType, raw)
}

// visited are the manifests seen in one walk: an index may list one many times.
type visited map[v1.Hash]bool

// complete returns m if all its parts are in the archive. Of an index that is not
// complete, as docker save writes it, the image for the platform will do.
func (c *contents) complete(m *image.Manifest, p v1.Platform) (*image.Manifest, error) {
	missing, err := c.missing(m, visited{}, 0)
	if err != nil {
		return nil, err
	}
	if len(missing) == 0 {
		return m, nil
	}
	for _, d := range m.Manifests {
		if d.Platform == nil || !image.Runs(p, *d.Platform) {
			continue
		}
		child, err := c.manifest(d)
		if err != nil {
			continue
		}
		if lacks, err := c.missing(child, visited{}, 0); err == nil && len(lacks) == 0 && !child.IsIndex() {
			return child, nil
		}
	}
	return nil, fmt.Errorf("the image %s is not complete: %s is missing", m.Digest, missing[0].Digest)
}

// maxNesting bounds indexes within indexes.
const maxNesting = 4

func (c *contents) missing(m *image.Manifest, seen visited, depth int) ([]v1.Descriptor, error) {
	if depth > maxNesting {
		return nil, errors.New("its indexes are nested too deeply")
	}
	var out []v1.Descriptor
	for _, d := range m.Blobs() {
		if have, ok := c.find("blobs/sha256/" + d.Digest.Hex); !ok || have.Size != d.Size {
			out = append(out, d)
		}
	}
	for _, d := range m.Manifests {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		if _, ok := c.find("blobs/sha256/" + d.Digest.Hex); !ok {
			out = append(out, d)
			continue
		}
		child, err := c.manifest(d)
		if err != nil {
			return nil, err
		}
		lacks, err := c.missing(child, seen, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, lacks...)
	}
	return out, nil
}

// put links what a manifest refers to, then keeps it.
func (c *contents) put(ctx context.Context, repo *imagestore.Repo, tag string, m *image.Manifest, seen visited) (*image.Manifest, error) {
	for _, d := range m.Blobs() {
		if err := repo.LinkBlob(ctx, d.Digest); err != nil {
			return nil, err
		}
	}
	for _, d := range m.Manifests {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		child, err := c.manifest(d)
		if err != nil {
			return nil, err
		}
		if _, err := c.put(ctx, repo, "", child, seen); err != nil {
			return nil, err
		}
	}
	return repo.PutManifest(ctx, tag, m.MediaType, m.Raw)
}

// savedImage is an entry of docker save's manifest.json.
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// saved reads docker save's form.
func (c *contents) saved(raw []byte) ([]found, error) {
	var entries []savedImage
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fmt.Errorf("manifest.json cannot be read: %w", err)
	}
	var out []found
	for _, e := range entries {
		out = append(out, found{e.RepoTags, func(ctx context.Context, repo *imagestore.Repo, tag string) (*image.Manifest, error) {
			return c.convert(ctx, repo, tag, e)
		}})
	}
	if len(out) == 0 {
		return nil, errors.New("its manifest.json lists no image")
	}
	return out, nil
}

// convert makes an OCI image of a saved one. Layers keep their bytes.
func (c *contents) convert(ctx context.Context, repo *imagestore.Repo, tag string, e savedImage) (*image.Manifest, error) {
	conf, ok := c.find(e.Config)
	if !ok {
		return nil, fmt.Errorf("it lacks the configuration %q", e.Config)
	}
	raw, err := c.store.Read(conf.Digest, image.MaxConfig)
	if err != nil {
		return nil, err
	}
	parsed, err := image.ParseConfig(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if len(parsed.RootFS.DiffIDs) != len(e.Layers) {
		return nil, fmt.Errorf("its configuration names %d layers and its manifest.json %d", len(parsed.RootFS.DiffIDs), len(e.Layers))
	}
	conf.MediaType = types.OCIConfigJSON
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: conf, Layers: []v1.Descriptor{}}
	for i, name := range e.Layers {
		d, ok := c.find(name)
		if !ok {
			return nil, fmt.Errorf("it lacks the layer %q", name)
		}
		if d.MediaType, err = c.layerType(d.Digest); err != nil {
			return nil, err
		}
		if want := parsed.RootFS.DiffIDs[i]; d.MediaType == types.OCIUncompressedLayer && d.Digest != want {
			return nil, fmt.Errorf("its layer %q has the digest %s where the configuration says %s", name, d.Digest, want)
		}
		m.Layers = append(m.Layers, d)
	}
	for _, d := range append([]v1.Descriptor{conf}, m.Layers...) {
		if err := repo.LinkBlob(ctx, d.Digest); err != nil {
			return nil, err
		}
	}
	if raw, err = json.Marshal(m); err != nil {
		return nil, err
	}
	return repo.PutManifest(ctx, tag, m.MediaType, raw)
}

// layerType tells how a layer is compressed.
func (c *contents) layerType(h v1.Hash) (types.MediaType, error) {
	f, _, err := c.store.Open(h)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte(magicGzip)):
		return types.OCILayer, nil
	case bytes.HasPrefix(head, []byte(magicZstd)):
		return types.OCILayerZStd, nil
	}
	return types.OCIUncompressedLayer, nil
}
