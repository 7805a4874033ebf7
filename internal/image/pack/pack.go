// Package pack owns making an image out of a static program or a folder, without
// any other image or tool. The same input makes the same bytes: entries sorted,
// times fixed, owners given.
//
// Layers are not compressed: they stay on this machine or its network, unpack
// faster, and their digest does not depend on a compressor's version.
//
// It must not know registries or runtimes.
package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/imagestore"
)

// Layer is a folder of this machine and where its content goes in the image.
type Layer struct {
	Dir    string
	Target string // absolute path in the image; "/" if empty
	Match  string // pattern of the base names of the files to take; all entries if empty
}

// Config says what to make an image of. Give Binary or Dir, or layers only.
type Config struct {
	Binary string // a statically linked program; becomes /NAME, and the entrypoint where none is given
	Dir    string // becomes /
	Layers []Layer

	Entrypoint []string
	Cmd        []string
	Env        []string // NAME=VALUE
	Workdir    string   // "/" if empty
	User       string   // what containers run as: uid[:gid] or a name; root if empty
	UID, GID   int      // owner of every file
	Labels     map[string]string
	Platform   v1.Platform // linux on this machine's architecture if zero

	MaxBytes   int64 // of all files; 16 GiB if zero
	MaxEntries int   // 500,000 if zero
}

// Pack makes the image and puts it into the repository, under the tag if there is
// one. The error holds every finding about the input.
func Pack(ctx context.Context, repo *imagestore.Repo, tag string, cfg Config) (*image.Manifest, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{}}
	conf := cfg.file()
	left := &budget{bytes: cfg.MaxBytes, entries: cfg.MaxEntries}
	for _, src := range cfg.sources() {
		d, err := putLayer(ctx, repo, cfg, src, left)
		if err != nil {
			return nil, err
		}
		manifest.Layers = append(manifest.Layers, d)
		conf.RootFS.DiffIDs = append(conf.RootFS.DiffIDs, d.Digest)
		conf.History = append(conf.History, v1.History{CreatedBy: "howdah image pack: " + src.what})
	}
	raw, err := json.Marshal(conf)
	if err != nil {
		return nil, err
	}
	h, n, err := repo.PutBlob(ctx, bytes.NewReader(raw), imagestore.Expect{Size: int64(len(raw))})
	if err != nil {
		return nil, err
	}
	manifest.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: h, Size: n}
	if raw, err = json.Marshal(manifest); err != nil {
		return nil, err
	}
	return repo.PutManifest(ctx, tag, types.OCIManifestSchema1, raw)
}

// putLayer streams one layer into the store: no second copy on the disk.
func putLayer(ctx context.Context, repo *imagestore.Repo, cfg Config, src source, left *budget) (v1.Descriptor, error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeLayer(ctx, w, cfg, src, left)) }()
	defer r.Close()
	h, n, err := repo.PutBlob(ctx, r, imagestore.Expect{Size: imagestore.Unknown})
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("cannot pack %s: %w", src.what, err)
	}
	return v1.Descriptor{MediaType: types.OCIUncompressedLayer, Digest: h, Size: n}, nil
}

// source is what one layer is made of.
type source struct {
	file, dir string // one of them
	target    string // of dir; name in / of file
	match     string // of base names; all if empty
	what      string // without the place on this machine: it is part of the image
}

func (c *Config) sources() []source {
	var out []source
	if c.Binary != "" {
		name := filepath.Base(c.Binary)
		out = append(out, source{file: c.Binary, target: "/" + name, what: "program /" + name})
	}
	if c.Dir != "" {
		out = append(out, source{dir: c.Dir, target: "/", what: "folder /"})
	}
	for _, l := range c.Layers {
		out = append(out, source{dir: l.Dir, target: l.Target, match: l.Match, what: strings.TrimSpace("folder " + l.Target + " " + l.Match)})
	}
	return out
}

// complete fills defaults in and reports all that is wrong.
func (c *Config) complete() error {
	var found []error
	add := func(format string, args ...any) { found = append(found, fmt.Errorf(format, args...)) }
	if c.Platform.OS == "" {
		c.Platform = v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 16 << 30
	}
	if c.MaxEntries == 0 {
		c.MaxEntries = 500_000
	}
	if c.Workdir == "" {
		c.Workdir = "/"
	}
	if !path.IsAbs(c.Workdir) {
		add("the working directory %q is not absolute", c.Workdir)
	}
	switch {
	case c.Binary != "" && c.Dir != "":
		add("give a program or a folder, not both; further folders are layers")
	case c.Binary == "" && c.Dir == "" && len(c.Layers) == 0:
		add("give a program or a folder to pack")
	}
	if c.Binary != "" {
		if err := checkProgram(c.Binary, c.Platform); err != nil {
			found = append(found, err)
		}
		if len(c.Entrypoint) == 0 {
			c.Entrypoint = []string{"/" + filepath.Base(c.Binary)}
		}
	}
	if c.Dir != "" {
		found = append(found, c.checkEntrypoint())
	}
	c.Layers = append([]Layer(nil), c.Layers...)
	for i, l := range c.Layers {
		if l.Target == "" {
			c.Layers[i].Target = "/"
		} else if !path.IsAbs(l.Target) {
			add("the target %q of the folder %s is not absolute", l.Target, l.Dir)
		}
		if _, err := path.Match(l.Match, ""); err != nil {
			add("%q is no pattern for the files of the folder %s", l.Match, l.Dir)
		}
		c.Layers[i].Target = path.Clean(c.Layers[i].Target)
	}
	for _, e := range c.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.ContainsRune(e, 0) {
			add("the environment entry %q is not NAME=VALUE", e)
		}
	}
	return errors.Join(found...)
}

// file is the image's configuration, but for its layers.
func (c *Config) file() *v1.ConfigFile {
	env := c.Env
	hasPath := false
	for _, e := range env {
		hasPath = hasPath || strings.HasPrefix(e, "PATH=")
	}
	if !hasPath {
		env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, env...)
	}
	return &v1.ConfigFile{
		OS: c.Platform.OS, Architecture: c.Platform.Architecture, Variant: c.Platform.Variant,
		Created: v1.Time{Time: fixedTime()},
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
		Config: v1.Config{
			Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: env, WorkingDir: c.Workdir, User: c.User, Labels: c.Labels,
		},
	}
}
