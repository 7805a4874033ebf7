package pull

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/imagestore"
)

// Pushing says how to push.
type Pushing struct {
	Remote
	Transport http.RoundTripper // NewTransport if nil
	Progress  func(Progress)
}

// Push sends the image or index that ref stands for in the repository to target
// (REGISTRY/NAME:TAG), and returns its manifest. What the registry has already is
// not sent. The error is an *Error, unless the context ended.
func Push(ctx context.Context, repo *imagestore.Repo, ref, target string, opts Pushing) (*image.Manifest, error) {
	parsed, err := parseRef("push", target)
	if err != nil {
		return nil, err
	}
	m, err := repo.Manifest(ref)
	if err != nil {
		return nil, fmt.Errorf("cannot push %s: %w", target, err)
	}
	base := opts.Transport
	if base == nil {
		own := NewTransport()
		defer own.CloseIdleConnections()
		base = own
	}
	t, err := connect(ctx, base, "push", target, parsed, opts.Remote)
	if err != nil {
		return nil, err
	}
	id := parsed.Identifier()
	if d, ok := parsed.(name.Digest); ok && d.DigestStr() != m.Digest.String() {
		return nil, t.explain(ctx, problem(Digest, "the image has the digest %s", m.Digest))
	}
	p := &pusher{t, repo, opts.Progress, map[v1.Hash]bool{}}
	if err := p.push(ctx, id, m); err != nil {
		return nil, t.explain(ctx, err)
	}
	return m, nil
}

type pusher struct {
	*transfer
	repo *imagestore.Repo
	tell func(Progress)
	sent map[v1.Hash]bool // manifests
}

func (p *pusher) push(ctx context.Context, id string, m *image.Manifest) error {
	for _, d := range m.Manifests {
		if p.sent[d.Digest] {
			continue
		}
		p.sent[d.Digest] = true
		child, err := p.repo.Manifest(d.Digest.String())
		if err != nil {
			return err
		}
		if err := p.push(ctx, d.Digest.String(), child); err != nil {
			return err
		}
	}
	report := newReporter(p.image, m, p.tell)
	for _, d := range report.blobs {
		if err := p.blob(ctx, d, report); err != nil {
			return err
		}
		report.done()
	}
	resp, err := p.do(ctx, http.MethodPut, p.url("manifests", id), http.Header{"Content-Type": {string(m.MediaType)}},
		bytes.NewReader(m.Raw), int64(len(m.Raw)), http.StatusCreated, http.StatusOK, http.StatusAccepted)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// blob sends a blob that the registry lacks, in one piece.
func (p *pusher) blob(ctx context.Context, d v1.Descriptor, report *reporter) error {
	resp, err := p.do(ctx, http.MethodHead, p.url("blobs", d.Digest.String()), nil, nil, 0, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		report.add(d.Size)
		return nil
	}
	if resp, err = p.do(ctx, http.MethodPost, p.url("blobs/uploads/"), nil, nil, 0, http.StatusAccepted); err != nil {
		return err
	}
	resp.Body.Close()
	to, err := resp.Request.URL.Parse(resp.Header.Get("Location"))
	if err != nil {
		return problem(Other, "the registry %s gives the address %q for an upload", p.registry, resp.Header.Get("Location"))
	}
	q := to.Query()
	q.Set("digest", d.Digest.String())
	to.RawQuery = q.Encode()
	f, size, err := p.repo.OpenBlob(d.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	return p.put(ctx, to, report.watch(f), size)
}

func (p *pusher) put(ctx context.Context, to *url.URL, body io.Reader, size int64) error {
	resp, err := p.do(ctx, http.MethodPut, to.String(), http.Header{"Content-Type": {"application/octet-stream"}}, body, size, http.StatusCreated, http.StatusNoContent)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
