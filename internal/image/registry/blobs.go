package registry

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/imagestore"
)

func parseDigest(s string) (v1.Hash, error) {
	h, err := image.ParseDigest(s)
	if err != nil {
		return v1.Hash{}, &failure{http.StatusBadRequest, codeDigestInvalid, err.Error()}
	}
	return h, nil
}

// getBlob serves GET and HEAD, ranges too. HEAD is a client asking whether it must
// push: the answer keeps the blob for a while.
func (c *call) getBlob() error {
	h, err := parseDigest(c.arg)
	if err != nil {
		return err
	}
	if _, ok := c.repo.HasBlob(c.r.Context(), h); !ok {
		return fmt.Errorf("%s: %w", h, imagestore.ErrBlobUnknown)
	}
	f, _, err := c.repo.OpenBlob(h)
	if err != nil {
		return err
	}
	defer f.Close()
	c.w.Header().Set("Content-Type", "application/octet-stream")
	c.w.Header().Set("Docker-Content-Digest", h.String())
	c.w.Header().Set("ETag", `"`+h.String()+`"`)
	c.w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	http.ServeContent(c.w, c.r, "", time.Time{}, f)
	return nil
}

// created answers that a blob is in the repository.
func (c *call) created(h v1.Hash) error {
	c.w.Header().Set("Location", "/v2/"+c.repo.Name()+"/blobs/"+h.String())
	c.w.Header().Set("Docker-Content-Digest", h.String())
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// startUpload serves POST: a mount, a whole blob in one request, or the beginning
// of an upload.
func (c *call) startUpload() error {
	q := c.r.URL.Query()
	if mount := q.Get("mount"); mount != "" {
		h, err := parseDigest(mount)
		if err != nil {
			return err
		}
		if c.mount(h, q.Get("from")) {
			return c.created(h)
		}
	}
	var whole v1.Hash
	if d := q.Get("digest"); d != "" {
		var err error
		if whole, err = parseDigest(d); err != nil {
			return err
		}
	}
	if whole != (v1.Hash{}) {
		if _, _, err := c.repo.PutBlob(c.r.Context(), c.r.Body, imagestore.Expect{Digest: whole, Size: c.r.ContentLength}); err != nil {
			return err
		}
		return c.created(whole)
	}
	id, err := c.repo.StartUpload()
	if err != nil {
		return err
	}
	return c.progress(id, 0, http.StatusAccepted)
}

// mount links a blob from another repository that the caller may read. Where that
// is not so the client uploads it: nothing is told about the other repository.
func (c *call) mount(h v1.Hash, from string) bool {
	if from == "" {
		return false
	}
	source, err := c.server.repo(c.r, from, ActionPull)
	if err != nil {
		return false
	}
	if _, ok := source.HasBlob(c.r.Context(), h); !ok {
		return false
	}
	return c.repo.LinkBlob(c.r.Context(), h) == nil
}

// progress tells how far an upload is.
func (c *call) progress(id string, have int64, status int) error {
	c.w.Header().Set("Location", "/v2/"+c.repo.Name()+"/blobs/uploads/"+url.PathEscape(id))
	c.w.Header().Set("Docker-Upload-UUID", id)
	// The specification has no range for nothing; every registry says 0-0.
	c.w.Header().Set("Range", fmt.Sprintf("0-%d", max(have-1, 0)))
	c.w.WriteHeader(status)
	return nil
}

func (c *call) uploadStatus() error {
	have, err := c.repo.Uploaded(c.arg)
	if err != nil {
		return err
	}
	return c.progress(c.arg, have, http.StatusNoContent)
}

var contentRange = regexp.MustCompile(`^(?:bytes )?([0-9]{1,18})-([0-9]{1,18})(?:/.*)?$`)

// chunk returns where the body of the request begins, or imagestore.Unknown.
func (c *call) chunk() (int64, error) {
	text := c.r.Header.Get("Content-Range")
	if text == "" {
		return imagestore.Unknown, nil
	}
	m := contentRange.FindStringSubmatch(text)
	if m == nil {
		return 0, &failure{http.StatusBadRequest, codeBlobUploadInvalid, fmt.Sprintf("Content-Range is %q; write START-END", text)}
	}
	first, _ := strconv.ParseInt(m[1], 10, 64)
	last, _ := strconv.ParseInt(m[2], 10, 64)
	if n := last - first + 1; c.r.ContentLength >= 0 && n != c.r.ContentLength {
		return 0, &failure{http.StatusBadRequest, codeSizeInvalid, fmt.Sprintf("Content-Range %s is %d bytes and Content-Length %d", text, n, c.r.ContentLength)}
	}
	return first, nil
}

// patchUpload adds a chunk, or all that is streamed.
func (c *call) patchUpload() error {
	at, err := c.chunk()
	if err != nil {
		return err
	}
	have, err := c.repo.Append(c.r.Context(), c.arg, at, c.r.Body)
	if err != nil {
		c.w.Header().Set("Location", "/v2/"+c.repo.Name()+"/blobs/uploads/"+url.PathEscape(c.arg))
		c.w.Header().Set("Range", fmt.Sprintf("0-%d", max(have-1, 0)))
		return err
	}
	return c.progress(c.arg, have, http.StatusAccepted)
}

// putUpload ends an upload, with its last chunk or none.
func (c *call) putUpload() error {
	h, err := parseDigest(c.r.URL.Query().Get("digest"))
	if err != nil {
		return err
	}
	at, err := c.chunk()
	if err != nil {
		return err
	}
	if err := c.repo.FinishUpload(c.r.Context(), c.arg, at, c.r.Body, h); err != nil {
		return err
	}
	return c.created(h)
}

func (c *call) cancelUpload() error {
	if err := c.repo.CancelUpload(c.arg); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
