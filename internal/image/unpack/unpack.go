// Package unpack owns layers as folders: each unpacked once per machine into a
// read-only folder of its own, shared by all containers, ready to be a lower
// folder of an overlay file system or to be merged into a plain one.
//
//	layers/KEY/fs           the layer's tree; KEY is its uncompressed digest
//	layers/KEY/layer.json   what a tree cannot say; its time is the last use
//	leases/NAME             the layers that something uses, until released
//	locks/KEY, lock, tmp/   one unpacks a layer; leases against Evict; being made
//
// A layer appears by rename after all of it is on the disk. The content is hostile
// until proven otherwise; extract.go says what is refused.
//
// It must not know registries, tasks or how a container is started.
package unpack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/filelock"
)

// Config says where layers are unpacked and what is accepted.
type Config struct {
	Dir string // made with mode 0700: what is in it may be hostile

	MaxBytes   int64 // unpacked size of one image; 32 GiB if zero
	MaxEntries int   // files and folders of one image; 1,000,000 if zero
	// MaxTotal is what Evict leaves at most, in bytes; no limit if zero.
	MaxTotal int64
	// Shift is added to every uid and gid, for containers in a user namespace that
	// maps 0 to it. Only where this process is root; ids must be below 65,536 then.
	Shift int

	Log *slog.Logger // slog.Default if nil
}

// Blobs opens compressed layers and configurations by digest;
// *imagestore.Store is one.
type Blobs interface {
	Open(h v1.Hash) (*os.File, int64, error)
}

// Unpacker unpacks layers. It is safe for concurrent use, and several processes
// may share its folder.
type Unpacker struct{ cfg Config }

// Image is an unpacked image.
type Image struct {
	Layers []string // folders, lowest first; never write to them
	Config *v1.ConfigFile
	// Overlay says that the folders are right as lower folders of an overlay. If
	// not, Merge them: removals could not be written down on this file system.
	Overlay bool
	// UserXattr says that the overlay must be mounted with the option userxattr.
	UserXattr bool
	// Owners says that files have the owners that the image gives them. If not,
	// all belong to this user.
	Owners bool
}

// Open prepares the folder.
func Open(cfg Config) (*Unpacker, error) {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 32 << 30
	}
	if cfg.MaxEntries == 0 {
		cfg.MaxEntries = 1_000_000
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Shift != 0 && os.Geteuid() != 0 {
		return nil, errors.New("cannot shift owners of unpacked files: only root may give files away")
	}
	u := &Unpacker{cfg}
	for _, d := range []string{"layers", "leases", "locks", "tmp"} {
		if err := os.MkdirAll(u.path(d), 0o700); err != nil {
			return nil, fmt.Errorf("cannot open the folder of unpacked images: %w", err)
		}
	}
	return u, nil
}

func (u *Unpacker) path(elem ...string) string {
	return filepath.Join(append([]string{u.cfg.Dir}, elem...)...)
}

// key names a layer's folder. Layers with other owners are other folders.
func (u *Unpacker) key(diffID v1.Hash) string {
	if u.cfg.Shift == 0 {
		return diffID.Hex
	}
	return diffID.Hex + "-" + strconv.Itoa(u.cfg.Shift)
}

var leaseName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$`)

// Unpack makes the image's layers be there and returns them. The lease keeps them
// until Release, whatever happens to this process; name it after what uses them.
func (u *Unpacker) Unpack(ctx context.Context, blobs Blobs, m *image.Manifest, lease string) (*Image, error) {
	if m.IsIndex() {
		return nil, fmt.Errorf("cannot unpack %s: it is an index of images; choose one", m.Digest)
	}
	conf, err := config(blobs, m)
	if err != nil {
		return nil, fmt.Errorf("cannot unpack the image %s: %w", m.Digest, err)
	}
	if err := u.hold(ctx, lease, conf.RootFS.DiffIDs); err != nil {
		return nil, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	infos, all := make([]*layerInfo, len(m.Layers)), u.budget()
	for i, d := range m.Layers {
		g.Go(func() (err error) {
			infos[i], err = u.layer(gctx, blobs, d, conf.RootFS.DiffIDs[i], all)
			if err == nil {
				err = all.spend(infos[i], d.Size)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot unpack the image %s: %w", m.Digest, err), u.Release(lease))
	}
	img := &Image{Config: conf, Overlay: true, Owners: os.Geteuid() == 0}
	namespaces := map[string]bool{}
	for i, info := range infos {
		img.Layers = append(img.Layers, u.path("layers", u.key(conf.RootFS.DiffIDs[i]), "fs"))
		img.Overlay = img.Overlay && info.Overlay
		img.Owners = img.Owners && info.Owners
		if info.Xattr != "" {
			namespaces[info.Xattr] = true
		}
	}
	img.UserXattr = namespaces["user"]
	img.Overlay = img.Overlay && len(namespaces) < 2 // a mount reads one kind
	return img, nil
}

// config reads and checks the image's configuration.
func config(blobs Blobs, m *image.Manifest) (*v1.ConfigFile, error) {
	if len(m.Layers) > maxLayers {
		return nil, fmt.Errorf("it has %d layers; %d are allowed", len(m.Layers), maxLayers)
	}
	f, _, err := blobs.Open(m.Config.Digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	conf, err := image.ParseConfig(f)
	if err != nil {
		return nil, err
	}
	if len(conf.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("its configuration names %d layers and its manifest %d", len(conf.RootFS.DiffIDs), len(m.Layers))
	}
	return conf, nil
}

// layerInfo is layer.json.
type layerInfo struct {
	Bytes    int64    `json:"bytes"`
	Entries  int      `json:"entries"`
	Overlay  bool     `json:"overlay"` // removals are in the tree as an overlay wants them
	Owners   bool     `json:"owners"`
	Xattr    string   `json:"xattr,omitempty"` // namespace of attributes in use: trusted or user
	Removed  []string `json:"removed,omitempty"`
	Replaced []string `json:"replaced,omitempty"` // folders that hide those of lower layers
}

// layer makes one layer be there.
func (u *Unpacker) layer(ctx context.Context, blobs Blobs, d v1.Descriptor, diffID v1.Hash, all *budget) (*layerInfo, error) {
	key := u.key(diffID)
	if info, err := u.info(key); err == nil {
		return info, u.used(key)
	}
	unlock, err := filelock.Take(ctx, u.path("locks", key), filelock.Exclusive)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if info, err := u.info(key); err == nil {
		return info, u.used(key)
	}
	began := time.Now()
	tmp := u.path("tmp", key)
	// Left by a process that was killed, or damaged: the lock says that nobody is
	// at it.
	if err := errors.Join(os.RemoveAll(tmp), os.RemoveAll(u.path("layers", key))); err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	info, err := u.extract(ctx, blobs, d, diffID, tmp, all)
	if err != nil {
		return nil, fmt.Errorf("the layer %s: %w", d.Digest, err)
	}
	if err := commit(tmp, u.path("layers", key), info); err != nil {
		return nil, fmt.Errorf("the layer %s cannot be kept: %w", d.Digest, err)
	}
	u.cfg.Log.Info("unpacked a layer", "digest", d.Digest.String(), "bytes", info.Bytes, "entries", info.Entries, "seconds", time.Since(began).Seconds())
	return info, nil
}

// commit makes a finished folder a layer.
func commit(tmp, final string, info *layerInfo) error {
	raw, err := json.Marshal(info)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "layer.json"), raw, 0o600); err != nil {
		return err
	}
	// One call for all files: the tree must outlast a power cut before its name does.
	if err := syncFS(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, final); err != nil {
		return err
	}
	return syncDir(filepath.Dir(final))
}

func (u *Unpacker) info(key string) (*layerInfo, error) {
	raw, err := os.ReadFile(u.path("layers", key, "layer.json"))
	if err != nil {
		return nil, err
	}
	var info layerInfo
	return &info, json.Unmarshal(raw, &info)
}

func (u *Unpacker) used(key string) error {
	now := time.Now()
	return os.Chtimes(u.path("layers", key, "layer.json"), now, now)
}

// hold writes the lease, before the layers are looked for: from here on Evict
// leaves them alone.
func (u *Unpacker) hold(ctx context.Context, lease string, diffIDs []v1.Hash) error {
	if !leaseName.MatchString(lease) {
		return fmt.Errorf("cannot hold the layers of an image: %q is no name of a lease", lease)
	}
	unlock, err := filelock.Take(ctx, u.path("lock"), filelock.Shared)
	if err != nil {
		return err
	}
	defer unlock()
	keys := make([]string, len(diffIDs))
	for i, h := range diffIDs {
		keys[i] = u.key(h)
	}
	raw, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	if err := writeFile(u.path("leases", lease), u.path("tmp"), raw); err != nil {
		return fmt.Errorf("cannot hold the layers of an image: %w", err)
	}
	return nil
}

// Release gives up a lease; one that is not there is no error.
func (u *Unpacker) Release(lease string) error {
	if !leaseName.MatchString(lease) {
		return fmt.Errorf("cannot release %q: it is no name of a lease", lease)
	}
	if err := os.Remove(u.path("leases", lease)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot release the layers of an image: %w", err)
	}
	return nil
}

// Leases lists all leases, so that their owner finds those it forgot in a crash.
func (u *Unpacker) Leases() ([]string, error) {
	entries, err := os.ReadDir(u.path("leases"))
	if err != nil {
		return nil, fmt.Errorf("cannot list who uses unpacked images: %w", err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	slices.Sort(out)
	return out, nil
}
