package registry

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/imagestore"
)

func (c *call) getManifest() error {
	if err := reference(c.arg); err != nil {
		return err
	}
	m, err := c.repo.Manifest(c.arg)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", string(m.MediaType))
	h.Set("Docker-Content-Digest", m.Digest.String())
	h.Set("Content-Length", strconv.Itoa(len(m.Raw)))
	h.Set("ETag", `"`+m.Digest.String()+`"`)
	if c.r.Method == http.MethodGet {
		_, _ = c.w.Write(m.Raw) // the client may have gone
	}
	return nil
}

// putManifest keeps a manifest under a tag or its digest.
func (c *call) putManifest() error {
	if err := reference(c.arg); err != nil {
		return err
	}
	raw, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, image.MaxManifest))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return &failure{http.StatusRequestEntityTooLarge, codeManifestInvalid, "the manifest has more than 4 MiB"}
		}
		return &failure{http.StatusBadRequest, codeManifestInvalid, "the manifest did not arrive whole"}
	}
	tag := c.arg
	if want, err := image.ParseDigest(c.arg); err == nil {
		tag = ""
		if got := image.Digest(raw); got != want {
			return &imagestore.DigestError{Want: want, Got: got}
		}
	}
	kind := types.MediaType(c.r.Header.Get("Content-Type"))
	if _, err := image.ParseManifest(kind, raw); err != nil {
		return &failure{http.StatusBadRequest, codeManifestInvalid, err.Error()}
	}
	m, err := c.repo.PutManifest(c.r.Context(), tag, kind, raw)
	if err != nil {
		return err
	}
	if m.Subject != nil {
		c.w.Header().Set("OCI-Subject", m.Subject.Digest.String())
	}
	c.w.Header().Set("Location", "/v2/"+c.repo.Name()+"/manifests/"+m.Digest.String())
	c.w.Header().Set("Docker-Content-Digest", m.Digest.String())
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// deleteManifest removes a tag, or by digest the manifest with its tags.
func (c *call) deleteManifest() error {
	if err := reference(c.arg); err != nil {
		return err
	}
	var err error
	if h, perr := image.ParseDigest(c.arg); perr == nil {
		err = c.repo.DeleteManifest(c.r.Context(), h)
	} else {
		err = c.repo.DeleteTag(c.r.Context(), c.arg)
	}
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// listReferrers serves the manifests whose subject is the digest, as an index.
func (c *call) listReferrers() error {
	h, err := parseDigest(c.arg)
	if err != nil {
		return err
	}
	found, err := c.repo.Referrers(h)
	if err != nil {
		return err
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	want := c.r.URL.Query().Get("artifactType")
	for _, m := range found {
		d := m.Descriptor()
		d.Annotations, d.ArtifactType = m.Annotations, m.ArtifactType
		if d.ArtifactType == "" && m.Config != nil {
			d.ArtifactType = string(m.Config.MediaType)
		}
		if want == "" || d.ArtifactType == want {
			index.Manifests = append(index.Manifests, d)
		}
	}
	if want != "" {
		c.w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	return writeJSON(c.w, string(types.OCIImageIndex), index)
}
