package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"howdah.dev/howdah/internal/image"
)

// stall is how long a registry may send nothing in the middle of a body.
const stall = 60 * time.Second

// Remote says how to reach a registry.
type Remote struct {
	Credentials Credentials
	// PlainHTTP speaks HTTP without TLS. Only for a registry on a loopback address.
	PlainHTTP bool
}

// transfer talks to one repository of one registry.
type transfer struct {
	verb, image string // for sentences
	registry    string
	repo        name.Repository
	anonymous   bool
	http        *http.Client
}

// parseRef reads NAME[:TAG][@DIGEST] with Docker's defaults.
func parseRef(verb, text string) (name.Reference, error) {
	ref, err := name.ParseReference(text)
	// The library lets names like ../x through; they would be part of an address.
	if err != nil || strings.Contains(text, "://") || image.CheckRepository(ref.Context().RepositoryStr()) != nil {
		e := problem(Invalid, "it is no name of an image; write [REGISTRY/]NAME[:TAG] or NAME@sha256:DIGEST")
		e.Verb, e.Image = verb, fmt.Sprintf("%q", text)
		return nil, e
	}
	return ref, nil
}

// connect logs in.
func connect(ctx context.Context, base http.RoundTripper, verb, text string, ref name.Reference, opts Remote) (*transfer, error) {
	registry := ref.Context().Registry
	auth := opts.Credentials.authenticator(registry.RegistryStr())
	t := &transfer{verb: verb, image: text, registry: registry.RegistryStr(), repo: ref.Context(), anonymous: auth == authn.Anonymous}
	if opts.PlainHTTP && !loopback(t.registry) {
		return nil, t.explain(ctx, problem(Invalid, "plain HTTP is for registries on a loopback address; give %s a certificate", t.registry))
	}
	actions := transport.PullScope
	if verb == "push" {
		actions = transport.PushScope
	}
	rt, err := transport.NewWithContext(ctx, registry, auth, &guard{base, t.registry, opts.PlainHTTP}, []string{ref.Scope(actions)})
	if err != nil {
		return nil, t.explain(ctx, err)
	}
	t.http = &http.Client{Transport: rt}
	return t, nil
}

func loopback(registry string) bool {
	host, _, err := net.SplitHostPort(registry)
	if err != nil {
		host = registry
	}
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.IsLoopback()
}

// guard decides between HTTP and HTTPS where the library would guess: a login must
// not travel in the clear. It also marks requests that got no answer.
type guard struct {
	base     http.RoundTripper
	registry string
	plain    bool
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r
	switch {
	case g.plain && r.URL.Host == g.registry:
		out = r.Clone(r.Context())
		out.URL.Scheme = "http"
	case r.URL.Scheme != "https": // also where a registry sends us elsewhere
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, problem(Unreachable, "%s speaks plain HTTP only: give it a certificate", r.URL.Host)
	}
	resp, err := g.base.RoundTrip(out)
	if err != nil {
		return nil, &netError{err}
	}
	return resp, nil
}

// do sends a request and checks the status.
func (t *transfer) do(ctx context.Context, method, address string, header http.Header, body io.Reader, size int64, want ...int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	if body != nil {
		req.ContentLength = size
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, want...); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

func (t *transfer) url(elem ...string) string {
	u := url.URL{Scheme: "https", Host: t.registry, Path: "/v2/" + t.repo.RepositoryStr() + "/" + strings.Join(elem, "/")}
	return u.String()
}

// manifest gets a manifest by tag or digest, and checks the digest.
func (t *transfer) manifest(ctx context.Context, id string) (*image.Manifest, error) {
	var accept []string
	for _, k := range []types.MediaType{types.OCIManifestSchema1, types.OCIImageIndex, types.DockerManifestSchema2, types.DockerManifestList} {
		accept = append(accept, string(k))
	}
	resp, err := t.do(ctx, http.MethodGet, t.url("manifests", id), http.Header{"Accept": {strings.Join(accept, ",")}}, nil, 0, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, image.MaxManifest+1))
	if err != nil {
		return nil, &netError{err}
	}
	if want, err := image.ParseDigest(id); err == nil && image.Digest(raw) != want {
		return nil, problem(Digest, "its manifest %s came with the digest %s: the registry or something on the way changed it", want, image.Digest(raw))
	}
	// Some registries send a general type; then the document's own counts.
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if k := types.MediaType(kind); !k.IsImage() && !k.IsIndex() {
		kind = ""
	}
	m, err := image.ParseManifest(types.MediaType(kind), raw)
	if err != nil {
		return nil, problem(Invalid, "%v", err)
	}
	return m, nil
}

// blob opens a blob for reading; the caller checks the digest.
func (t *transfer) blob(ctx context.Context, h v1.Hash) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	resp, err := t.do(ctx, http.MethodGet, t.url("blobs", h.String()), nil, nil, 0, http.StatusOK) //nolint:bodyclose // the caller closes it
	if err != nil {
		cancel(nil)
		return nil, err
	}
	timer := time.AfterFunc(stall, func() { cancel(fmt.Errorf("it sent nothing for %s", stall)) })
	return &body{ctx, resp.Body, timer, cancel}, nil
}

// body is the body of an answer that may not stall.
type body struct {
	ctx    context.Context
	r      io.ReadCloser
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.timer.Reset(stall)
	if err != nil && !errors.Is(err, io.EOF) {
		if b.ctx.Err() != nil {
			err = context.Cause(b.ctx)
		}
		err = &netError{err}
	}
	return n, err
}

func (b *body) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.r.Close()
}
