package unpack_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/unpack"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// entry is one entry of a layer; Mode 0 is 0644 or 0755.
type entry struct {
	name string
	kind byte
	to   string // target of a link, or content
	mode int64
	uid  int
}

func dir(name string) entry        { return entry{name: name, kind: tar.TypeDir} }
func file(name, text string) entry { return entry{name: name, kind: tar.TypeReg, to: text} }
func link(name, to string) entry   { return entry{name: name, kind: tar.TypeSymlink, to: to} }
func hard(name, to string) entry   { return entry{name: name, kind: tar.TypeLink, to: to} }
func device(name string) entry     { return entry{name: name, kind: tar.TypeChar} }

func layer(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Uid: e.uid, ModTime: time.Unix(1e9, 0)}
		if e.mode == 0 {
			h.Mode = map[bool]int64{true: 0o755, false: 0o644}[e.kind == tar.TypeDir]
		}
		switch e.kind {
		case tar.TypeReg:
			h.Size = int64(len(e.to))
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = e.to
		}
		ok(t, w.WriteHeader(h))
		if e.kind == tar.TypeReg {
			_, err := w.Write([]byte(e.to))
			ok(t, err)
		}
	}
	ok(t, w.Close())
	return b.Bytes()
}

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(data)
	ok(t, err)
	ok(t, z.Close())
	return b.Bytes()
}

func zstded(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	ok(t, err)
	_, err = z.Write(data)
	ok(t, err)
	ok(t, z.Close())
	return b.Bytes()
}

// made puts an image of layers into a store. The layers' digests come from plain,
// their bytes from form.
func made(t testing.TB, s *imagestore.Store, form func([]byte) []byte, plain ...[]byte) *image.Manifest {
	t.Helper()
	r, err := s.Repo("p/app")
	ok(t, err)
	conf := v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{}}
	put := func(data []byte) v1.Descriptor {
		h, n, err := r.PutBlob(t.Context(), bytes.NewReader(data), imagestore.Expect{Size: imagestore.Unknown})
		ok(t, err)
		return v1.Descriptor{MediaType: types.OCILayer, Digest: h, Size: n}
	}
	for _, p := range plain {
		conf.RootFS.DiffIDs = append(conf.RootFS.DiffIDs, image.Digest(p))
		m.Layers = append(m.Layers, put(form(p)))
	}
	raw, err := json.Marshal(conf)
	ok(t, err)
	m.Config = put(raw)
	raw, err = json.Marshal(m)
	ok(t, err)
	out, err := r.PutManifest(t.Context(), "v1", m.MediaType, raw)
	ok(t, err)
	return out
}

func as(data []byte) []byte { return data }

func store(t testing.TB) *imagestore.Store {
	t.Helper()
	s, err := imagestore.Open(imagestore.Config{Dir: t.TempDir()})
	ok(t, err)
	return s
}

func unpacker(t testing.TB, cfg unpack.Config) *unpack.Unpacker {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	u, err := unpack.Open(cfg)
	ok(t, err)
	return u
}

// list shows a tree: mode, name, content or target.
func list(t testing.TB, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	ok(t, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		text := info.Mode().String()
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(name)
			if err != nil {
				return err
			}
			text += " -> " + to
		case info.Mode().IsRegular():
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			text += " " + string(data)
		}
		out[rel] = text
		return nil
	}))
	return out
}

func TestUnpack(t *testing.T) {
	base := layer(t, dir("./"), dir("./etc/"), file("./etc/passwd", "root"), entry{name: "tmp/", kind: tar.TypeDir, mode: 0o1777}, entry{name: "bin/su", kind: tar.TypeReg, to: "x", mode: 0o4755},
		hard("bin/sudo", "bin/su"), link("lib", "usr/lib"), link("etc/mtab", "/proc/mounts"), file("usr/lib/a", "a"), file("lib/b", "through a link"), file("gone/x", "1"), file("gone/y", "2"), file("new/old", "3"))
	upper := layer(t, file("etc/passwd", "changed"), file("gone/.wh.x", ""), file("new/.wh..wh..opq", ""), file("new/fresh", "4"), file(".wh.lib", ""))
	for name, form := range map[string]func([]byte) []byte{"plain": as, "gzip": func(b []byte) []byte { return zipped(t, b) }, "zstd": func(b []byte) []byte { return zstded(t, b) }} {
		t.Run(name, func(t *testing.T) {
			s := store(t)
			u := unpacker(t, unpack.Config{})
			img, err := u.Unpack(t.Context(), s, made(t, s, form, base, upper), "task")
			ok(t, err)
			want := map[string]string{
				"etc": "drwxr-xr-x", "etc/passwd": "-rw-r--r-- root", "tmp": "dtrwxrwxrwx", "bin": "drwxr-xr-x", "bin/su": "-rwxr-xr-x x", "bin/sudo": "-rwxr-xr-x x",
				"lib": "Lrwxrwxrwx -> usr/lib", "etc/mtab": "Lrwxrwxrwx -> /proc/mounts", "usr": "drwxr-xr-x", "usr/lib": "drwxr-xr-x", "usr/lib/a": "-rw-r--r-- a", "usr/lib/b": "-rw-r--r-- through a link",
				"gone": "drwxr-xr-x", "gone/x": "-rw-r--r-- 1", "gone/y": "-rw-r--r-- 2", "new": "drwxr-xr-x", "new/old": "-rw-r--r-- 3",
			}
			if d := cmp.Diff(want, list(t, img.Layers[0])); d != "" {
				t.Error(d)
			}
			want = map[string]string{
				"etc": "drwxr-xr-x", "etc/passwd": "-rw-r--r-- changed", "gone": "drwxr-xr-x", "gone/x": "Dc---------", "new": "drwxr-xr-x", "new/fresh": "-rw-r--r-- 4", "lib": "Dc---------",
			}
			if d := cmp.Diff(want, list(t, img.Layers[1])); d != "" {
				t.Error(d)
			}
			for merged, links := range map[string]bool{"copied": false, "linked": true} {
				target := filepath.Join(u.Dir(), merged)
				ok(t, unpack.Merge(t.Context(), img, target, unpack.Merging{Links: links}))
				if d := cmp.Diff(mergedTree(), list(t, target)); d != "" {
					t.Errorf("%s: %s", merged, d)
				}
			}
			info, err := os.Stat(filepath.Join(img.Layers[0], "etc/passwd"))
			if err != nil || info.ModTime().Unix() != 1e9 {
				t.Errorf("the time is %v, %v", info.ModTime(), err)
			}
		})
	}
}

// mergedTree is what a container sees of the image in TestUnpack.
func mergedTree() map[string]string {
	return map[string]string{
		"etc": "drwxr-xr-x", "etc/passwd": "-rw-r--r-- changed", "tmp": "dtrwxrwxrwx", "bin": "drwxr-xr-x", "bin/su": "-rwxr-xr-x x", "bin/sudo": "-rwxr-xr-x x",
		"etc/mtab": "Lrwxrwxrwx -> /proc/mounts", "usr": "drwxr-xr-x", "usr/lib": "drwxr-xr-x", "usr/lib/a": "-rw-r--r-- a", "usr/lib/b": "-rw-r--r-- through a link",
		"gone": "drwxr-xr-x", "gone/y": "-rw-r--r-- 2", "new": "drwxr-xr-x", "new/fresh": "-rw-r--r-- 4",
	}
}

// TestOverlay mounts the layers: the kernel must see what Merge makes.
func TestOverlay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts an overlay without a user namespace; TestUnpack checks the same trees")
	}
	base := layer(t, file("a/x", "1"), file("a/y", "2"), file("b/old", "3"), dir("c/"), file("c/in", "4"), file("d", "5"))
	upper := layer(t, file("a/.wh.x", ""), file("b/.wh..wh..opq", ""), file("b/new", "6"), file(".wh.c", ""), dir("c/"), file("c/other", "7"), file(".wh.d", ""), dir("d/"))
	s := store(t)
	u := unpacker(t, unpack.Config{})
	img, err := u.Unpack(t.Context(), s, made(t, s, as, base, upper), "task")
	ok(t, err)
	if !img.Overlay || img.UserXattr || !img.Owners {
		t.Fatalf("%+v", img)
	}
	at := t.TempDir()
	err = unix.Mount("overlay", at, "overlay", unix.MS_RDONLY, "lowerdir="+img.Layers[1]+":"+img.Layers[0])
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) {
		t.Skipf("this machine mounts no overlay: %v", err)
	}
	ok(t, err)
	defer func() { ok(t, unix.Unmount(at, 0)) }()
	want := map[string]string{
		"a": "drwxr-xr-x", "a/y": "-rw-r--r-- 2", "b": "drwxr-xr-x", "b/new": "-rw-r--r-- 6", "c": "drwxr-xr-x", "c/other": "-rw-r--r-- 7", "d": "drwxr-xr-x",
	}
	if d := cmp.Diff(want, list(t, at)); d != "" {
		t.Errorf("the overlay: %s", d)
	}
	target := filepath.Join(t.TempDir(), "merged")
	ok(t, unpack.Merge(t.Context(), img, target, unpack.Merging{}))
	if d := cmp.Diff(want, list(t, target)); d != "" {
		t.Errorf("merged: %s", d)
	}
}

func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	data := layer(t, entry{name: "a/", kind: tar.TypeDir, uid: 5}, entry{name: "a/f", kind: tar.TypeReg, uid: 6}, entry{name: "l", kind: tar.TypeSymlink, to: "a", uid: 7})
	s := store(t)
	m := made(t, s, as, data)
	where := t.TempDir()
	for shift, want := range map[int]string{0: "5 6 7", 100000: "100005 100006 100007"} {
		u := unpacker(t, unpack.Config{Dir: where, Shift: shift})
		img, err := u.Unpack(t.Context(), s, m, "task")
		ok(t, err)
		var got []string
		for _, name := range []string{"a", "a/f", "l"} {
			var st unix.Stat_t
			ok(t, unix.Lstat(filepath.Join(img.Layers[0], name), &st))
			got = append(got, fmt.Sprint(st.Uid))
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("shift %d: got %s, want %s", shift, g, want)
		}
	}
	m = made(t, s, as, layer(t, entry{name: "f", kind: tar.TypeReg, uid: 65536}))
	_, err := unpacker(t, unpack.Config{Shift: 1}).Unpack(t.Context(), s, m, "task")
	if err == nil || !strings.HasSuffix(err.Error(), `the entry "f" belongs to user 65536 and group 0; they must be below 65536`) {
		t.Errorf("got %v", err)
	}
}

// TestOnce: many ask for one layer at the same time, through two unpackers.
func TestOnce(t *testing.T) {
	s := store(t)
	data := layer(t, file("a", strings.Repeat("x", 1<<20)))
	m := made(t, s, as, data)
	counting := &counter{Store: s, of: m.Layers[0].Digest}
	where := t.TempDir()
	us := []*unpack.Unpacker{unpacker(t, unpack.Config{Dir: where}), unpacker(t, unpack.Config{Dir: where})}
	g := new(errgroup.Group)
	for i := range 12 {
		g.Go(func() error {
			_, err := us[i%2].Unpack(t.Context(), counting, m, fmt.Sprintf("task-%d", i))
			return err
		})
	}
	ok(t, g.Wait())
	if n := counting.n.Load(); n != 1 {
		t.Errorf("the layer was read %d times", n)
	}
	leases, err := us[0].Leases()
	if err != nil || len(leases) != 12 {
		t.Errorf("%v, %v", leases, err)
	}
}

type counter struct {
	*imagestore.Store
	of v1.Hash
	n  atomic.Int32
}

func (c *counter) Open(h v1.Hash) (*os.File, int64, error) {
	if h == c.of {
		c.n.Add(1)
	}
	return c.Store.Open(h)
}

func TestEvict(t *testing.T) {
	s, where := store(t), t.TempDir()
	u := unpacker(t, unpack.Config{Dir: where, MaxTotal: 2500})
	var keys []string
	for i, name := range []string{"oldest", "old", "new", "newest"} {
		data := layer(t, file(name, strings.Repeat("x", 1000)))
		_, err := u.Unpack(t.Context(), s, made(t, s, as, data), name)
		ok(t, err)
		key := image.Digest(data).Hex
		at := time.Now().Add(time.Duration(i-10) * time.Hour)
		ok(t, os.Chtimes(filepath.Join(where, "layers", key, "layer.json"), at, at))
		keys = append(keys, key)
	}
	have := func() (out []int) {
		for i, k := range keys {
			if _, err := os.Stat(filepath.Join(where, "layers", k)); err == nil {
				out = append(out, i)
			}
		}
		return out
	}
	got, err := u.Evict(t.Context())
	ok(t, err)
	if d := cmp.Diff([]int{0, 1, 2, 3}, have()); d != "" || !got.StillTooLarge || got.HeldBytes != 4000 {
		t.Errorf("held layers: %s %+v", d, got)
	}
	for _, name := range []string{"old", "new"} {
		ok(t, u.Release(name))
	}
	got, err = u.Evict(t.Context())
	ok(t, err)
	if d := cmp.Diff([]int{0, 3}, have()); d != "" || got.Layers != 2 || got.Bytes != 2000 || got.StillTooLarge {
		t.Errorf("after a release: %s %+v", d, got)
	}
	// A half of a killed process goes, that of a living one stays.
	ok(t, os.MkdirAll(filepath.Join(where, "tmp", keys[1], "fs"), 0o700))
	if got, err = u.Evict(t.Context()); err != nil || got.RemovedHalves != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "../x", ".x", "a/b"} {
		if _, err := u.Unpack(t.Context(), s, made(t, s, as), bad); err == nil || u.Release(bad) == nil {
			t.Errorf("%q is taken for a lease: %v", bad, err)
		}
	}
}

func TestCancel(t *testing.T) {
	s, where := store(t), t.TempDir()
	u := unpacker(t, unpack.Config{Dir: where})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := u.Unpack(ctx, s, made(t, s, as, layer(t, file("a", "b"))), "task")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left := list(t, where); left["leases/task"] != "" {
		t.Errorf("left behind: %v", left)
	}
}
