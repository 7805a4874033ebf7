// Package pull owns moving images between registries and an image store on this
// machine. What it fetches is checked against the digests that name it. Failures
// are sentences for users; see Error.
//
// It must not know what is in a layer, nor who runs the image.
package pull

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/imagestore"
)

// Config says where pulled images are kept.
type Config struct {
	Store *imagestore.Store
	// Transport reaches registries; it is the place for a certificate authority of
	// one's own and for a dialler that refuses addresses. NewTransport if nil.
	Transport http.RoundTripper
	Parallel  int          // blobs fetched at once for one image; 4 if zero
	Log       *slog.Logger // slog.Default if nil
}

// NewTransport returns a transport with time limits that suit registries.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second,
		IdleConnTimeout:       60 * time.Second,
		MaxIdleConnsPerHost:   8,
		ForceAttemptHTTP2:     true,
	}
}

// Puller fetches images. It is safe for concurrent use; several processes may
// share a store.
type Puller struct {
	cfg     Config
	flights flights
}

// New returns a puller. It touches nothing.
func New(cfg Config) *Puller {
	if cfg.Transport == nil {
		cfg.Transport = NewTransport()
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = 4
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Puller{cfg: cfg}
}

// Options of one pull.
type Options struct {
	Remote
	Platform v1.Platform // this machine's if zero
	// Force asks the registry what the tag stands for now, even if the image is here.
	Force bool
	// Scope keeps apart what different users pulled: nobody gets an image without
	// asking the registry because another was allowed to. Letters and digits.
	Scope string
	// Progress hears how far the pull is, from several goroutines, one at a time.
	// Of pulls that were joined into one, only the first one's is called.
	Progress func(Progress)
}

// Progress tells how far a pull is.
type Progress struct {
	Image       string
	Bytes, Of   int64
	Blobs, From int
}

// Pulled is an image that is here.
type Pulled struct {
	Repo     *imagestore.Repo
	Manifest *image.Manifest // of one image, never an index
	Cached   bool            // the registry was not asked
}

// Pull makes the image be in the store. Pulls of one image at the same time are
// done once. The error is an *Error, unless the context ended.
func (p *Puller) Pull(ctx context.Context, ref string, opts Options) (Pulled, error) {
	parsed, err := parseRef("pull", ref)
	if err != nil {
		return Pulled{}, err
	}
	if opts.Platform.OS == "" {
		opts.Platform = v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	repo, err := p.cfg.Store.Repo(localName(opts.Scope, parsed.Context()))
	if err != nil {
		return Pulled{}, fmt.Errorf("cannot pull %s: %w", ref, err)
	}
	alias := localTag(parsed.Identifier(), opts.Platform)
	// Logins that differ must not share an answer.
	login := image.Digest(fmt.Appendf(nil, "%q %q %v", opts.Credentials.user, opts.Credentials.secret, opts.Credentials.byRegistry))
	key := fmt.Sprintf("%s %s %v %v %s", repo.Name(), alias, opts.Force, opts.PlainHTTP, login)
	return p.flights.do(ctx, key, func(ctx context.Context) (Pulled, error) {
		return p.pull(ctx, ref, parsed, repo, alias, opts)
	})
}

func (p *Puller) pull(ctx context.Context, text string, ref name.Reference, repo *imagestore.Repo, alias string, opts Options) (Pulled, error) {
	// Other processes of this machine may be at the same image.
	unlock, err := p.cfg.Store.Lock(ctx, "pull-"+image.Digest([]byte(repo.Name() + alias)).Hex[:32])
	if err != nil {
		return Pulled{}, fmt.Errorf("cannot pull %s: %w", text, err)
	}
	defer unlock()
	if !opts.Force {
		if m, ok := p.here(ctx, repo, alias); ok {
			return Pulled{repo, m, true}, nil
		}
	}
	t, err := connect(ctx, p.cfg.Transport, "pull", text, ref, opts.Remote)
	if err != nil {
		return Pulled{}, err
	}
	began := time.Now()
	m, err := p.fetch(ctx, t, ref, repo, alias, opts)
	if err != nil {
		return Pulled{}, t.explain(ctx, err)
	}
	p.cfg.Log.Info("pulled an image", "image", text, "digest", m.Digest.String(), "seconds", time.Since(began).Seconds())
	return Pulled{repo, m, false}, nil
}

// here returns the image if it is in the store, whole.
func (p *Puller) here(ctx context.Context, repo *imagestore.Repo, alias string) (*image.Manifest, bool) {
	m, err := repo.Manifest(alias)
	if err != nil {
		return nil, false
	}
	for _, d := range m.Blobs() {
		if size, ok := repo.HasBlob(ctx, d.Digest); !ok || size != d.Size {
			return nil, false
		}
	}
	return m, repo.Use(ctx, alias) == nil
}

func (p *Puller) fetch(ctx context.Context, t *transfer, ref name.Reference, repo *imagestore.Repo, alias string, opts Options) (*image.Manifest, error) {
	m, err := t.manifest(ctx, ref.Identifier())
	if err != nil {
		return nil, err
	}
	if m.IsIndex() {
		if m, err = t.child(ctx, m, opts.Platform); err != nil {
			return nil, err
		}
	}
	for _, l := range m.Layers {
		if !l.MediaType.IsDistributable() {
			return nil, problem(Invalid, "its layer %s may not be passed on by registries (%s)", l.Digest, l.MediaType)
		}
	}
	if !m.Config.MediaType.IsConfig() {
		return nil, problem(Invalid, "it holds %s and is no image that can be run", m.Config.MediaType)
	}
	report := newReporter(t.image, m, opts.Progress)
	// The configuration first: it is small, and may say that the rest is of no use.
	if err := p.blob(ctx, t, repo, *m.Config, report); err != nil {
		return nil, err
	}
	if err := checkPlatform(repo, m, opts.Platform); err != nil {
		return nil, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.cfg.Parallel)
	for _, d := range report.blobs[1:] {
		g.Go(func() error { return p.blob(gctx, t, repo, d, report) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return repo.PutManifest(ctx, alias, m.MediaType, m.Raw)
}

// child gets the image of an index for the platform.
func (t *transfer) child(ctx context.Context, index *image.Manifest, p v1.Platform) (*image.Manifest, error) {
	var there []string
	for _, d := range index.Manifests {
		// Records of a build (attestations) stand beside images as unknown/unknown.
		if d.Platform == nil || d.Platform.OS == "unknown" || !d.MediaType.IsImage() {
			continue
		}
		if !image.Runs(p, *d.Platform) {
			there = append(there, image.PlatformText(*d.Platform))
			continue
		}
		m, err := t.manifest(ctx, d.Digest.String())
		if err == nil && m.IsIndex() {
			return nil, problem(Invalid, "its index says that %s is an image, and it is an index", d.Digest)
		}
		return m, err
	}
	return nil, wrongPlatform(there, p)
}

func wrongPlatform(there []string, p v1.Platform) *Error {
	if len(there) == 0 {
		return problem(Platform, "it names no platform, and this machine is %s", image.PlatformText(p))
	}
	slices.Sort(there)
	return problem(Platform, "it is for %s, and this machine is %s: build or choose an image for %s",
		strings.Join(slices.Compact(there), ", "), image.PlatformText(p), image.PlatformText(p))
}

// checkPlatform looks at what the image says of itself.
func checkPlatform(repo *imagestore.Repo, m *image.Manifest, p v1.Platform) error {
	f, _, err := repo.OpenBlob(m.Config.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	c, err := image.ParseConfig(f)
	if err != nil {
		return problem(Invalid, "%v", err)
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return problem(Invalid, "its configuration names %d layers and its manifest %d", len(c.RootFS.DiffIDs), len(m.Layers))
	}
	if have := c.Platform(); have != nil && have.OS != "" && have.Architecture != "" && !image.Runs(p, *have) {
		return wrongPlatform([]string{image.PlatformText(*have)}, p)
	}
	return nil
}

// blob makes one blob be in the repository; a blob that several images need at the
// same time is fetched once on this machine.
func (p *Puller) blob(ctx context.Context, t *transfer, repo *imagestore.Repo, d v1.Descriptor, report *reporter) error {
	unlock, err := p.cfg.Store.Lock(ctx, "blob-"+d.Digest.Hex[:32])
	if err != nil {
		return err
	}
	defer unlock()
	if size, ok := p.cfg.Store.Has(ctx, d.Digest); ok && size == d.Size {
		report.add(d.Size)
		report.done()
		return repo.LinkBlob(ctx, d.Digest)
	}
	r, err := t.blob(ctx, d.Digest)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, _, err := repo.PutBlob(ctx, report.watch(r), imagestore.Expect{Digest: d.Digest, Size: d.Size}); err != nil {
		return err
	}
	report.done()
	return nil
}

// localName is the repository of the store that holds what came from another.
func localName(scope string, from name.Repository) string {
	if scope == "" {
		scope = "shared"
	}
	s := "pulled/" + strings.ToLower(scope) + "/" + strings.ReplaceAll(strings.ToLower(from.RegistryStr()), ":", "__") + "/" + from.RepositoryStr()
	if image.CheckRepository(s) == nil {
		return s
	}
	return "pulled/other/" + image.Digest([]byte(s)).Hex // an IPv6 address, a long name
}

// localTag is the tag of the store for a tag or digest on a platform.
func localTag(id string, p v1.Platform) string {
	s := strings.ReplaceAll(id, ":", "-") + "_" + strings.ReplaceAll(image.PlatformText(p), "/", "-")
	if image.CheckTag(s) == nil {
		return s
	}
	return image.Digest([]byte(s)).Hex
}

// flights joins calls with one key into one.
type flights struct {
	mu   sync.Mutex
	open map[string]*flight
}

type flight struct {
	done    chan struct{}
	waiting int
	cancel  context.CancelFunc
	out     Pulled
	err     error
}

// do runs f once for all who ask while it runs. It ends early only when all of
// them have given up.
func (fs *flights) do(ctx context.Context, key string, f func(context.Context) (Pulled, error)) (Pulled, error) {
	fs.mu.Lock()
	fl := fs.open[key]
	if fl == nil {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		fl = &flight{done: make(chan struct{}), cancel: cancel}
		if fs.open == nil {
			fs.open = map[string]*flight{}
		}
		fs.open[key] = fl
		go func() {
			defer cancel()
			fl.out, fl.err = f(own)
			fs.forget(key, fl)
			close(fl.done)
		}()
	}
	fl.waiting++
	fs.mu.Unlock()
	select {
	case <-fl.done:
		return fl.out, fl.err
	case <-ctx.Done():
	}
	fs.mu.Lock()
	fl.waiting--
	if fl.waiting == 0 {
		fl.cancel()
		if fs.open[key] == fl {
			delete(fs.open, key)
		}
	}
	fs.mu.Unlock()
	return Pulled{}, context.Cause(ctx)
}

func (fs *flights) forget(key string, fl *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.open[key] == fl {
		delete(fs.open, key)
	}
}
