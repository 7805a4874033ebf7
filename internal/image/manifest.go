package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Limits of what is read from outside.
const (
	MaxManifest    = 4 << 20 // bytes
	MaxConfig      = 8 << 20 // bytes of an image's configuration
	MaxDescriptors = 2048    // layers of an image, images of an index
)

// A Manifest is an image manifest or an index with all it refers to.
type Manifest struct {
	Raw       []byte
	MediaType types.MediaType
	Digest    v1.Hash

	Config    *v1.Descriptor  // of an image
	Layers    []v1.Descriptor // of an image, lowest first
	Manifests []v1.Descriptor // of an index

	Subject      *v1.Descriptor
	ArtifactType string
	Annotations  map[string]string
}

// IsIndex reports whether it lists images and is none itself.
func (m *Manifest) IsIndex() bool { return m.MediaType.IsIndex() }

// Descriptor refers to the manifest.
func (m *Manifest) Descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Raw))}
}

// Blobs are the configuration and the layers that must be there. Layers that the
// manifest says may not be passed on are left out: they live elsewhere.
func (m *Manifest) Blobs() []v1.Descriptor {
	var out []v1.Descriptor
	if m.Config != nil {
		out = append(out, *m.Config)
	}
	for _, l := range m.Layers {
		if l.MediaType.IsDistributable() {
			out = append(out, l)
		}
	}
	return out
}

// Digest is the sha256 digest of data.
func Digest(data []byte) v1.Hash {
	sum := sha256.Sum256(data)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// wire is the union of image manifest and index: one read finds documents that
// claim to be both.
type wire struct {
	SchemaVersion int64             `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *v1.Descriptor    `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Manifests     []v1.Descriptor   `json:"manifests"`
	Subject       *v1.Descriptor    `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
	FSLayers      json.RawMessage   `json:"fsLayers"` // schema 1
}

// ParseManifest reads a manifest and checks it. kind is the media type it came
// with, or empty; where the document names one too they must agree.
func ParseManifest(kind types.MediaType, raw []byte) (*Manifest, error) {
	if len(raw) > MaxManifest {
		return nil, fmt.Errorf("the manifest has %d bytes; %d are allowed", len(raw), MaxManifest)
	}
	var w wire
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, fmt.Errorf("the manifest cannot be read: %w", err)
	}
	if w.SchemaVersion != 2 || w.FSLayers != nil {
		return nil, fmt.Errorf("the manifest has schema version %d; only 2 is supported", w.SchemaVersion)
	}
	if kind != "" && w.MediaType != "" && kind != w.MediaType {
		return nil, fmt.Errorf("the manifest says it is %s but came as %s", w.MediaType, kind)
	}
	if w.MediaType == "" {
		w.MediaType = kind
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	return &Manifest{
		Raw: raw, MediaType: w.MediaType, Digest: Digest(raw), Config: w.Config, Layers: w.Layers, Manifests: w.Manifests,
		Subject: w.Subject, ArtifactType: w.ArtifactType, Annotations: w.Annotations,
	}, nil
}

func (w *wire) check() error {
	if w.MediaType == "" { // old OCI documents leave it out
		w.MediaType = types.OCIManifestSchema1
		if w.Config == nil && w.Manifests != nil {
			w.MediaType = types.OCIImageIndex
		}
	}
	switch {
	case w.MediaType.IsIndex():
		if w.Config != nil || w.Layers != nil {
			return fmt.Errorf("the manifest is an index and lists layers too")
		}
	case w.MediaType.IsImage():
		if w.Manifests != nil {
			return fmt.Errorf("the manifest is an image and lists manifests too")
		}
		if w.Config == nil {
			return fmt.Errorf("the manifest has no config")
		}
	default:
		return fmt.Errorf("manifests of the type %q are not supported", w.MediaType)
	}
	if n := max(len(w.Layers), len(w.Manifests)); n > MaxDescriptors {
		return fmt.Errorf("the manifest lists %d parts; %d are allowed", n, MaxDescriptors)
	}
	for _, d := range w.all() {
		if d.Digest.Algorithm != "sha256" {
			return fmt.Errorf("the manifest refers to %s; only sha256 is supported", d.Digest)
		}
		if d.Size < 0 {
			return fmt.Errorf("the manifest gives %s the size %d", d.Digest, d.Size)
		}
	}
	return nil
}

func (w *wire) all() []v1.Descriptor {
	var out []v1.Descriptor
	out = append(out, w.Layers...)
	out = append(out, w.Manifests...)
	for _, d := range []*v1.Descriptor{w.Config, w.Subject} {
		if d != nil {
			out = append(out, *d)
		}
	}
	return out
}

// ParseConfig reads the configuration of an image and checks what others rely on.
func ParseConfig(r io.Reader) (*v1.ConfigFile, error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > MaxConfig {
		return nil, fmt.Errorf("the configuration of the image has more than %d bytes", MaxConfig)
	}
	c, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("the configuration of the image cannot be read: %w", err)
	}
	if c.RootFS.Type != "" && c.RootFS.Type != "layers" {
		return nil, fmt.Errorf("the root file system of the image is of the unknown kind %q", c.RootFS.Type)
	}
	for _, d := range c.RootFS.DiffIDs {
		if d.Algorithm != "sha256" {
			return nil, fmt.Errorf("the image names its layer %s; only sha256 is supported", d)
		}
	}
	return c, nil
}
