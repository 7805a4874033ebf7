package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/klauspost/compress/zstd"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/server"
	"howdah.dev/howdah/internal/store"
)

// maxStacks bounds a directory of stacks that is taken along, in bytes.
const maxStacks = 256 << 20

// Config says what is backed up, and to where.
type Config struct {
	Home    server.Home
	File    string
	Version string // of howdah
	Images  bool   // take the registry's images along
	Data    api.Backup
}

// writer collects members.
type writer struct {
	ctx      context.Context //nolint:containedctx // a writer lives only inside Write
	tar      *tar.Writer
	manifest Manifest
}

// Write writes a backup. The database is copied as it is now, whoever writes it.
func Write(ctx context.Context, cfg Config) (Manifest, error) {
	file, err := filepath.Abs(cfg.File)
	if err != nil {
		return Manifest{}, err
	}
	out, err := renameio.NewPendingFile(file, renameio.WithPermissions(0o600), renameio.WithTempDir(filepath.Dir(file)))
	if err != nil {
		return Manifest{}, fmt.Errorf("cannot write backup: %w", err)
	}
	defer out.Cleanup() //nolint:errcheck // nothing is left to clean up after the rename
	zw, err := zstd.NewWriter(out)
	if err != nil {
		return Manifest{}, err
	}
	w := &writer{ctx: ctx, tar: tar.NewWriter(zw)}
	if err := w.all(cfg); err != nil {
		return Manifest{}, errors.Join(fmt.Errorf("cannot write backup %s: %w", cfg.File, err), zw.Close())
	}
	if err := errors.Join(w.tar.Close(), zw.Close()); err != nil {
		return Manifest{}, fmt.Errorf("cannot write backup %s: %w", cfg.File, err)
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return Manifest{}, fmt.Errorf("cannot write backup %s: %w", cfg.File, err)
	}
	return w.manifest, nil
}

// all adds everything, the manifest last.
func (w *writer) all(cfg Config) error {
	h := cfg.Home
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	w.manifest = Manifest{Format: Format, Howdah: cfg.Version, Created: time.Now().UTC(), Home: h.Dir, Host: host, Images: cfg.Images, Data: []Data{}, LeftOut: cfg.Data.LeftOut}
	if err := w.database(h); err != nil {
		return err
	}
	subnet, err := os.ReadFile(filepath.Join(h.Dir, memberSubnet))
	if err != nil {
		return err
	}
	w.manifest.Subnet = strings.TrimSpace(string(subnet))
	for _, name := range []string{memberSettings, memberSubnet} {
		if err := w.file(filepath.Join(h.Dir, name), name); err != nil {
			return err
		}
	}
	dirs := []string{h.Authority(), h.Pipelines()}
	if cfg.Images {
		dirs = append(dirs, filepath.Join(h.Images(), "blobs"), filepath.Join(h.Images(), "repos"))
	}
	for _, dir := range dirs {
		rel, err := filepath.Rel(h.Dir, dir)
		if err != nil {
			return err
		}
		if err := w.tree(dir, filepath.ToSlash(rel), -1); err != nil {
			return err
		}
	}
	claims, err := filepath.Glob(filepath.Join(h.Nodes(), "*", "*", "node.json"))
	if err != nil {
		return err
	}
	for _, f := range claims {
		rel, err := filepath.Rel(h.Dir, f)
		if err != nil {
			return err
		}
		if err := whole(f); err != nil {
			return err
		}
		if err := w.file(f, filepath.ToSlash(rel)); err != nil {
			return err
		}
	}
	if err := w.stacks(h); err != nil {
		return err
	}
	for _, p := range cfg.Data.Parts {
		if err := w.data(p); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(w.manifest, "", " ")
	if err != nil {
		return err
	}
	return w.put(memberManifest, 0o600, int64(len(text)), bytes.NewReader(text))
}

// database adds a copy of the database.
func (w *writer) database(h server.Home) error {
	tmp, err := os.MkdirTemp(filepath.Dir(h.Socket()), "backup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	path := filepath.Join(tmp, memberDatabase)
	if err := store.Backup(w.ctx, h.Database(), path); err != nil {
		return err
	}
	look, err := store.LookAt(w.ctx, path)
	if err != nil {
		return err
	}
	w.manifest.Schema = look.Schema
	return w.file(path, memberDatabase)
}

// stacks adds the user's directories of stacks.
func (w *writer) stacks(h server.Home) error {
	o, err := h.LoadOptions()
	if err != nil {
		return err
	}
	for i, dir := range o.Stacks {
		name := path.Join(dirStacks, fmt.Sprint(i))
		if err := w.tree(dir, name, maxStacks); err != nil {
			return err
		}
		w.manifest.Stacks = append(w.manifest.Stacks, dir)
	}
	return nil
}

// data adds the archives of a part.
func (w *writer) data(p api.BackupPart) error {
	d := Data{Cluster: p.Cluster, Node: p.Node, Service: p.Service, Dir: p.Dir, Point: p.Point}
	for i, f := range p.Files {
		name := path.Join(dirOf(p), fmt.Sprintf("%d.tar.gz", i))
		if err := w.file(f.Path, name); err != nil {
			return err
		}
		last := w.manifest.Members[len(w.manifest.Members)-1]
		if last.SHA256 != f.SHA256 {
			return fmt.Errorf("%s is not what its agent sent", f.Path)
		}
		d.Bytes += last.Bytes
	}
	w.manifest.Data = append(w.manifest.Data, d)
	return nil
}

// tree adds the regular files of a directory, at most so many bytes; negative
// means any number. A directory that is not there has none.
func (w *writer) tree(dir, name string, most int64) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && p == dir {
			return fs.SkipAll
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		if most -= st.Size(); most < 0 && most+st.Size() >= 0 {
			return fmt.Errorf("%s is too large to take along", dir)
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		return w.file(p, path.Join(name, filepath.ToSlash(rel)))
	})
}

// file adds a file that nobody writes meanwhile.
func (w *writer) file(from, name string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return w.put(name, st.Mode().Perm(), st.Size(), f)
}

// put adds a member and lists it.
func (w *writer) put(name string, mode fs.FileMode, size int64, from io.Reader) error {
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	if err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(mode), Size: size, ModTime: w.manifest.Created}); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(w.tar, sum), from, size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if name != memberManifest {
		w.manifest.Members = append(w.manifest.Members, Member{Name: name, Mode: uint32(mode), Bytes: size, SHA256: hex.EncodeToString(sum.Sum(nil))})
	}
	return nil
}

// whole refuses a damaged claim of a node: what is in a backup can be restored.
func whole(claim string) error {
	data, err := os.ReadFile(claim)
	if err == nil {
		_, err = off(bytes.NewReader(data))
	}
	if err != nil {
		return fmt.Errorf("cannot back up %s: %w; howdah explain says of its node how to mend it", claim, err)
	}
	return nil
}
