// Package images brings images to a worker: pulled from their registry, unpacked once
// for all containers and held while one uses them, or left packed for an engine. It ties internal/image to the
// worker's interface, and knows nothing of tasks.
package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"howdah.dev/howdah/internal/cell/worker"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/archive"
	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/pull"
	"howdah.dev/howdah/internal/image/unpack"
)

// Config of the images of a worker.
type Config struct {
	Store    *imagestore.Store // where Puller keeps what it pulls
	Puller   *pull.Puller
	Unpacker *unpack.Unpacker
	// Merged is a folder for images whose layers cannot be put together as they are.
	Merged string
	// Own is Howdah's registry.
	Own Registry
}

// Registry is one that the worker has credentials for.
type Registry struct {
	Host        string // host:port as in names of images; empty: there is none
	PlainHTTP   bool   // on a loopback address only
	Credentials func() (pull.Credentials, error)
}

// Images implements worker.Images.
type Images struct{ cfg Config }

var _ worker.Images = (*Images)(nil)

// New returns the images of a worker.
func New(cfg Config) *Images { return &Images{cfg: cfg} }

// Prepare pulls the image unless it is here, and unpacks it unless it is wanted packed.
func (i *Images) Prepare(ctx context.Context, r worker.ImageRequest) (*container.Image, error) {
	options, err := i.options(r)
	if err != nil {
		return nil, err
	}
	pulled, err := i.cfg.Puller.Pull(ctx, r.Name, options)
	if err != nil {
		return nil, err
	}
	if r.Packed {
		return i.packed(r.Name, pulled)
	}
	unpacked, err := i.cfg.Unpacker.Unpack(ctx, i.cfg.Store, pulled.Manifest, r.Lease)
	if err != nil {
		return nil, err
	}
	img := &container.Image{Name: r.Name, Layers: unpacked.Layers, UserXattr: unpacked.UserXattr}
	if c := unpacked.Config; c != nil {
		img.Config = configOf(c)
	}
	if !unpacked.Overlay {
		target := i.merged(r.Lease)
		err := os.MkdirAll(i.cfg.Merged, 0o700)
		if err == nil {
			err = os.RemoveAll(target) // of an earlier try
		}
		if err == nil {
			err = unpack.Merge(ctx, unpacked, target, unpack.Merging{})
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cannot put the layers of %s together: %w", r.Name, err), i.Release(r.Lease))
		}
		img.Layers, img.UserXattr = []string{target}, false
	}
	return img, nil
}

// packed returns an image that is written from the store when somebody wants it.
func (i *Images) packed(name string, pulled pull.Pulled) (*container.Image, error) {
	blob, _, err := i.cfg.Store.Open(pulled.Manifest.Config.Digest)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration of %s: %w", name, err)
	}
	defer blob.Close()
	config, err := image.ParseConfig(blob)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration of %s: %w", name, err)
	}
	digest := pulled.Manifest.Digest.String()
	return &container.Image{
		Name: name, Config: configOf(config), Digest: digest,
		Archive: func(ctx context.Context, as string, w io.Writer) error {
			return archive.Export(ctx, pulled.Repo, digest, w, archive.Exporting{Name: as})
		},
	}, nil
}

func configOf(c *v1.ConfigFile) container.ImageConfig {
	return container.ImageConfig{
		Env: c.Config.Env, Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd, User: c.Config.User, WorkingDir: c.Config.WorkingDir,
	}
}

func (i *Images) merged(lease string) string { return filepath.Join(i.cfg.Merged, lease) }

// options choose the logins. Those of a task are for its own pulls only: another
// task that did not bring them has to ask the registry itself.
func (i *Images) options(r worker.ImageRequest) (pull.Options, error) {
	o := pull.Options{Force: r.Force}
	if len(r.DockerConfig) > 0 {
		credentials, err := pull.DockerConfig(r.DockerConfig)
		if err != nil {
			return o, fmt.Errorf("cannot pull %s: the task's registry logins cannot be read: %w", r.Name, err)
		}
		sum := sha256.Sum256(r.DockerConfig)
		o.Credentials, o.Scope = credentials, hex.EncodeToString(sum[:16])
	}
	ref, err := name.ParseReference(r.Name)
	if err != nil || i.cfg.Own.Host == "" || ref.Context().RegistryStr() != i.cfg.Own.Host {
		return o, nil //nolint:nilerr // Pull says what is wrong with the name
	}
	o.PlainHTTP = i.cfg.Own.PlainHTTP
	if o.Scope != "" || i.cfg.Own.Credentials == nil {
		return o, nil
	}
	o.Credentials, err = i.cfg.Own.Credentials()
	return o, err
}

// Release gives an image up.
func (i *Images) Release(lease string) error {
	var err error
	if i.cfg.Merged != "" {
		err = os.RemoveAll(i.merged(lease))
	}
	return errors.Join(err, i.cfg.Unpacker.Release(lease))
}

// Leases lists who holds images.
func (i *Images) Leases() ([]string, error) { return i.cfg.Unpacker.Leases() }
