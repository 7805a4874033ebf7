package process

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"syscall"
	"time"

	"howdah.dev/howdah/internal/cell/worker"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/cell/worker/images"
	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/pull"
	"howdah.dev/howdah/internal/image/unpack"
)

const (
	maxUnpacked = 8 << 30            // bytes of unpacked images that a worker keeps
	idleImage   = 7 * 24 * time.Hour // what was pulled is kept so long after its last use
	tidyEvery   = time.Hour
)

// RegistryConfig says where images come from whose names name no registry.
type RegistryConfig struct {
	URL   string `json:"url"`   // of the installation's own registry
	Token string `json:"token"` // file with the token for it
}

// host returns the registry's host:port, as names of images have it.
func (c RegistryConfig) host() (string, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return "", fmt.Errorf("cannot use registry %q: %w", c.URL, err)
	}
	return u.Host, nil
}

// pulled are the images of a worker.
type pulled struct {
	*images.Images
	own      string
	store    *imagestore.Store
	unpacker *unpack.Unpacker
	log      *slog.Logger
}

func (c RegistryConfig) open(dir string, blocked func(netip.Addr) bool, log *slog.Logger) (*pulled, error) {
	own, err := c.host()
	if err != nil {
		return nil, err
	}
	store, err := imagestore.Open(imagestore.Config{Dir: filepath.Join(dir, "store")})
	if err != nil {
		return nil, err
	}
	up, err := unpack.Open(unpack.Config{Dir: filepath.Join(dir, "unpacked"), MaxTotal: maxUnpacked, Log: log})
	if err != nil {
		return nil, err
	}
	token := secretToken(c.Token)
	return &pulled{own: own, store: store, unpacker: up, log: log, Images: images.New(images.Config{
		Store: store, Unpacker: up, Merged: filepath.Join(dir, "merged"),
		Puller: pull.New(pull.Config{Store: store, Transport: transport(own, blocked), Log: log}),
		Own:    images.Registry{Host: own, PlainHTTP: true, Credentials: func() (pull.Credentials, error) { return pull.Basic("node", token()), nil }},
	})}, nil
}

// transport reaches registries, and of the blocked addresses only the own one.
func transport(own string, blocked func(netip.Addr) bool) *http.Transport {
	t := pull.NewTransport()
	t.Proxy = nil // what a name resolves to is looked at here
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err == nil && address != own && blocked(to.Addr().Unmap()) {
			err = fmt.Errorf("images may not be fetched from %s, which is this machine or only known to it", address)
		}
		return err
	}}).DialContext
	return t
}

// Prepare makes an image be there, by its whole name.
func (p *pulled) Prepare(ctx context.Context, r worker.ImageRequest) (*container.Image, error) {
	if p.own != "" {
		r.Name, _ = image.Own(r.Name, p.own)
	}
	return p.Images.Prepare(ctx, r)
}

// tidy removes what was not used for long, until ctx ends.
func (p *pulled) tidy(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := p.store.Collect(ctx, imagestore.Collecting{Idle: idleImage}); err != nil {
			p.log.Warn("cannot remove old images", "error", err)
		}
		if _, err := p.unpacker.Evict(ctx); err != nil {
			p.log.Warn("cannot remove unpacked images", "error", err)
		}
	}
}
