package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"

	"howdah.dev/howdah/internal/infra/local/subnet"
	"howdah.dev/howdah/internal/server"
	"howdah.dev/howdah/internal/store"
)

// ErrNotEmpty is returned for a home that holds something already.
var ErrNotEmpty = errors.New("the home is not empty")

// beside are entries of a home that a backup does not bring and may be there.
// A subnet is what a restore that was cut short leaves: nothing uses it yet.
var beside = []string{"cache", "log", "run", memberSubnet}

// Restore makes a home of a backup: nothing runs in it afterwards, and every
// cluster that ran is suspended. All of the backup is verified before anything is
// written.
func Restore(ctx context.Context, h server.Home, file, version string) (Manifest, error) {
	if err := empty(h); err != nil {
		return Manifest{}, err
	}
	m, err := Verify(ctx, file)
	if err != nil {
		return m, fmt.Errorf("cannot restore %s: %w; nothing was written", file, err)
	}
	newest, err := store.Newest()
	if err != nil {
		return m, err
	}
	if m.Schema > newest {
		return m, fmt.Errorf("cannot restore %s: howdah %s wrote it, with schema %d of the database, and this howdah, %s, knows %d; restore it with that howdah or a newer one", file, m.Howdah, m.Schema, version, newest)
	}
	if err := h.Prepare(); err != nil {
		return m, err
	}
	unlock, err := h.Lock()
	if err != nil {
		return m, err
	}
	defer unlock()
	return m, restore(ctx, h, file, version, m)
}

// empty refuses a home that holds anything a restore would mix with.
func empty(h server.Home) error {
	entries, err := os.ReadDir(h.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.Name() == dirNodes {
			if inside, err := os.ReadDir(h.Nodes()); err == nil && len(inside) == 0 {
				continue
			}
		}
		if !slices.Contains(beside, e.Name()) {
			return fmt.Errorf("%w: %s holds %s; restore into another by HOWDAH_HOME, or remove this one: howdah clean", ErrNotEmpty, h.Dir, e.Name())
		}
	}
	return nil
}

// restore writes everything below run first, and moves it into its place at the
// end, the database last: without one, nothing takes the directory for a home.
func restore(ctx context.Context, h server.Home, file, version string, m Manifest) (err error) {
	tmp := filepath.Join(filepath.Dir(h.Socket()), "restoring")
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("cannot restore: %w", err)
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return fmt.Errorf("cannot restore: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	modes := map[string]fs.FileMode{}
	for _, mem := range m.Members {
		modes[mem.Name] = fs.FileMode(mem.Mode).Perm()
	}
	if err := members(ctx, file, func(t *tar.Header, r io.Reader) error { return place(tmp, t.Name, modes, r) }); err != nil {
		return fmt.Errorf("cannot restore: %w", err)
	}
	if err := claim(ctx, h, filepath.Join(tmp, memberSubnet), m); err != nil {
		return err
	}
	err = settle(ctx, h, tmp, version, m)
	if err == nil {
		err = move(h, tmp)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cannot restore: %w", err), subnet.Release(context.WithoutCancel(ctx), subnet.Config{Home: h.Dir}))
	}
	return nil
}

// place writes one member below dir. Data goes where its service has it.
func place(dir, name string, modes map[string]fs.FileMode, r io.Reader) error {
	if name == memberManifest {
		return nil
	}
	if rest, ok := strings.CutPrefix(name, dirData+"/"); ok {
		return unpack(filepath.Join(dir, dirNodes, filepath.FromSlash(path.Dir(rest))), r)
	}
	if strings.HasPrefix(name, dirNodes+"/") {
		var err error
		if r, err = off(r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return write(filepath.Join(dir, filepath.FromSlash(name)), modes[name], r)
}

// off is a local node's claim with its power off: its agent starts when the node
// is made again.
func off(r io.Reader) (io.Reader, error) {
	var claim map[string]any
	if err := json.NewDecoder(io.LimitReader(r, 1<<20)).Decode(&claim); err != nil {
		return nil, err
	}
	if key, is := claim["key"].(string); !is || key == "" {
		return nil, errors.New("it names no node")
	}
	claim["powered"] = false
	data, err := json.Marshal(claim)
	return bytes.NewReader(data), err
}

func write(to string, mode fs.FileMode, r io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}

// unpack writes the files of a service's data.
func unpack(dir string, r io.Reader) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	zr, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	tr := tar.NewReader(zr)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := unpackFile(root, h, tr); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

func unpackFile(root *os.Root, h *tar.Header, r io.Reader) error {
	if h.Typeflag != tar.TypeReg {
		return errors.New("it is no plain file")
	}
	if err := root.MkdirAll(path.Dir(h.Name), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(h.Mode).Perm()) //nolint:gosec // permission bits fit
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}

// claim gives the home the subnet that all addresses in the database are of.
func claim(ctx context.Context, h server.Home, file string, m Manifest) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("cannot restore: %w", err)
	}
	own := filepath.Join(h.Dir, memberSubnet)
	if err := subnet.Release(ctx, subnet.Config{Home: h.Dir}); err != nil {
		return fmt.Errorf("cannot restore: %w", err)
	}
	if err := write(own, 0o600, bytes.NewReader(data)); err != nil {
		return fmt.Errorf("cannot restore: %w", err)
	}
	got, err := subnet.Claim(ctx, subnet.Config{Home: h.Dir})
	var other *subnet.ConflictError
	switch {
	case errors.As(err, &other):
		err = fmt.Errorf("cannot restore: the clusters' addresses are in %s, which %s (uid %d) has on this host; remove that home first, or restore on another host",
			m.Subnet, other.Holder.Home, other.Holder.UID)
	case err != nil:
		err = fmt.Errorf("cannot restore: %w", err)
	case got.String() != m.Subnet:
		err = errors.Join(fmt.Errorf("cannot restore: the clusters' addresses are in %s, and the home got %s", m.Subnet, got), subnet.Release(ctx, subnet.Config{Home: h.Dir}))
	default:
		return os.Remove(file) // the home has its own by now
	}
	if rmErr := os.Remove(own); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	return err
}

// settle changes what the new home is not: nothing runs in it, its directory may
// be another, and so may that of the user's stacks.
func settle(ctx context.Context, h server.Home, tmp, version string, m Manifest) error {
	st, err := store.Open(ctx, store.Config{Path: filepath.Join(tmp, memberDatabase), Version: version})
	if err != nil {
		return err
	}
	if err := errors.Join(st.Update(ctx, func(tx *store.Tx) error { return tx.Rehome(m.Created) }), st.Close()); err != nil {
		return err
	}
	before, err := filepath.Glob(filepath.Join(tmp, memberDatabase+".before-*"))
	if err != nil {
		return err
	}
	for _, f := range before { // of a migration just now; the backup itself is what there was before
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return stacks(h, tmp, m)
}

// stacks points the settings to the copies of directories that are not here.
func stacks(h server.Home, tmp string, m Manifest) error {
	var o server.Options
	file := filepath.Join(tmp, memberSettings)
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return fmt.Errorf("cannot read settings: %w", err)
	}
	for i, dir := range m.Stacks {
		at := slices.Index(o.Stacks, dir)
		if _, err := os.Stat(dir); err == nil || at < 0 {
			continue
		}
		o.Stacks[at] = filepath.Join(h.Stacks(), fmt.Sprint(i))
	}
	if data, err = json.MarshalIndent(o, "", " "); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// move puts everything into its place, the database last.
func move(h server.Home, tmp string) error {
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return err
	}
	slices.SortStableFunc(entries, func(a, b fs.DirEntry) int {
		return rank(a.Name()) - rank(b.Name())
	})
	for _, e := range entries {
		to := filepath.Join(h.Dir, e.Name())
		if e.Name() == dirNodes {
			if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) { // the empty one
				return err
			}
		}
		if err := os.Rename(filepath.Join(tmp, e.Name()), to); err != nil {
			return err
		}
	}
	d, err := os.Open(h.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// rank orders what is moved. The settings come first: with them "howdah clean"
// removes what a restore that was cut short has left.
func rank(name string) int {
	switch {
	case name == memberSettings:
		return 0
	case strings.HasPrefix(name, memberDatabase):
		return 2
	}
	return 1
}
