package archive

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/imagestore"
)

// Exporting says what to write.
type Exporting struct {
	// Name is what a Docker engine is to call the image: NAME:TAG. Without it the
	// engine knows the image by its configuration's digest only.
	Name string
}

// Export writes the image that a tag or digest stands for, as a plain tar in both
// forms: the layout of the OCI, and manifest.json for a Docker engine of any age
// (docker load). Indexes are not exported; name one of their images.
func Export(ctx context.Context, repo *imagestore.Repo, ref string, w io.Writer, opts Exporting) error {
	m, err := repo.Manifest(ref)
	if err != nil {
		return fmt.Errorf("cannot export the image: %w", err)
	}
	if m.IsIndex() {
		return fmt.Errorf("cannot export %s: it is an index of images; name the image for one platform by its digest", ref)
	}
	e := &exporter{ctx: ctx, repo: repo, tar: tar.NewWriter(w), done: map[v1.Hash]bool{}}
	if err := e.run(m, opts); err != nil {
		return fmt.Errorf("cannot export the image: %w", err)
	}
	return nil
}

type exporter struct {
	ctx  context.Context
	repo *imagestore.Repo
	tar  *tar.Writer
	done map[v1.Hash]bool
}

func (e *exporter) run(m *image.Manifest, opts Exporting) error {
	desc := m.Descriptor()
	saved := savedImage{Config: blobName(m.Config.Digest), Layers: []string{}}
	if opts.Name != "" {
		desc.Annotations = map[string]string{"io.containerd.image.name": opts.Name}
		saved.RepoTags = []string{opts.Name}
	}
	for _, d := range m.Layers {
		saved.Layers = append(saved.Layers, blobName(d.Digest))
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{desc}}
	if err := e.document("oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}); err != nil {
		return err
	}
	if err := e.document("index.json", index); err != nil {
		return err
	}
	if err := e.document("manifest.json", []savedImage{saved}); err != nil {
		return err
	}
	if err := e.file(blobName(m.Digest), int64(len(m.Raw)), func() error { _, err := e.tar.Write(m.Raw); return err }); err != nil {
		return err
	}
	for _, d := range append([]v1.Descriptor{*m.Config}, m.Layers...) {
		if err := e.blob(d.Digest); err != nil {
			return err
		}
	}
	return e.tar.Close()
}

func blobName(h v1.Hash) string { return "blobs/sha256/" + h.Hex }

func (e *exporter) document(name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return e.file(name, int64(len(raw)), func() error { _, err := e.tar.Write(raw); return err })
}

func (e *exporter) blob(h v1.Hash) error {
	if e.done[h] {
		return nil
	}
	e.done[h] = true
	if e.ctx.Err() != nil {
		return context.Cause(e.ctx)
	}
	f, size, err := e.repo.OpenBlob(h)
	if err != nil {
		return err
	}
	defer f.Close()
	return e.file(blobName(h), size, func() error { _, err := io.Copy(e.tar, f); return err })
}

func (e *exporter) file(name string, size int64, write func() error) error {
	err := e.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)})
	if err != nil {
		return err
	}
	return write()
}
