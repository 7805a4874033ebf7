package process

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"howdah.dev/howdah/internal/cell/worker"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/pull"
	"howdah.dev/howdah/internal/image/unpack"
)

// maxUnpacked is how much of unpacked images a worker keeps that nothing uses.
const maxUnpacked = 8 << 30 // bytes

// RegistryConfig says where images come from whose names name no registry.
type RegistryConfig struct {
	URL   string `json:"url"`   // of the installation's own registry
	Token string `json:"token"` // file with the token for it
}

// images makes images be there as folders.
type images struct {
	*unpack.Unpacker
	puller *pull.Puller
	store  *imagestore.Store
	own    string // host:port of the installation's registry
	token  func() string
}

func (c RegistryConfig) open(dir string, log *slog.Logger) (*images, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("cannot use registry %q: %w", c.URL, err)
	}
	if err := ensureDir(dir); err != nil {
		return nil, err
	}
	store, err := imagestore.Open(imagestore.Config{Dir: under(dir, "store")})
	if err != nil {
		return nil, err
	}
	up, err := unpack.Open(unpack.Config{Dir: under(dir, "unpacked"), MaxTotal: maxUnpacked, Log: log})
	if err != nil {
		return nil, err
	}
	return &images{Unpacker: up, puller: pull.New(pull.Config{Store: store, Log: log}), store: store, own: u.Host, token: secretToken(c.Token)}, nil
}

// Prepare fetches an image and unpacks it.
func (i *images) Prepare(ctx context.Context, r worker.ImageRequest) (*container.Image, error) {
	ref, own := i.resolve(r.Name)
	opts := pull.Options{Force: r.Force}
	opts.PlainHTTP = loopback(ref)
	switch {
	case own:
		opts.Credentials = pull.Basic("node", i.token())
	case len(r.DockerConfig) > 0:
		login, err := pull.DockerConfig(r.DockerConfig)
		if err != nil {
			return nil, err
		}
		opts.Credentials = login
	}
	pulled, err := i.puller.Pull(ctx, ref, opts)
	if err != nil {
		return nil, err
	}
	img, err := i.Unpack(ctx, i.store, pulled.Manifest, r.Lease)
	if err != nil {
		return nil, err
	}
	conf := img.Config.Config
	return &container.Image{Name: r.Name, Layers: img.Layers, Config: container.ImageConfig{
		Env: conf.Env, Entrypoint: conf.Entrypoint, Cmd: conf.Cmd, User: conf.User, WorkingDir: conf.WorkingDir,
	}}, nil
}

// resolve makes a name whole: one that names no registry is the installation's.
func (i *images) resolve(name string) (ref string, own bool) {
	host, _, ok := strings.Cut(name, "/")
	if ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		return name, host == i.own
	}
	return i.own + "/" + name, true
}

// loopback tells whether a name's registry is on this host, which is spoken to
// without TLS.
func loopback(ref string) bool {
	host, _, _ := strings.Cut(ref, "/")
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
