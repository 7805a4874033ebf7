package unpack

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// FuzzLayer unpacks anything. Whatever it is, nothing appears outside, no device
// but removals appears inside, and no more than is allowed.
func FuzzLayer(f *testing.F) {
	f.Add(archive(f,
		tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o755}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../../x"},
		tar.Header{Name: "a/f", Typeflag: tar.TypeReg, Mode: 0o644}, tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "a/f"},
		tar.Header{Name: "a/.wh.z", Typeflag: tar.TypeReg}, tar.Header{Name: ".wh..wh..opq", Typeflag: tar.TypeReg}))
	f.Add(archive(f, tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "/"}, tar.Header{Name: "a/x", Typeflag: tar.TypeReg}))
	f.Add(archive(f, tar.Header{Name: "../x", Typeflag: tar.TypeReg}))
	f.Add(archive(f, tar.Header{Name: "d/", Typeflag: tar.TypeDir}, tar.Header{Name: "d", Typeflag: tar.TypeSymlink, Linkname: "."}, tar.Header{Name: "d/.wh.d", Typeflag: tar.TypeReg}))
	parent := memory(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		in := filepath.Join(parent, "in")
		if err := os.RemoveAll(in); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(in, 0o700); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(in)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		tree := newTree(t.Context(), root, treeLimits{1 << 20, 100}, 0)
		if tree.read(bytes.NewReader(data)) == nil {
			_, _ = tree.finish()
		}
		check(t, parent, in)
	})
}

func check(t *testing.T, parent, in string) {
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 1 {
		t.Fatalf("outside: %v, %v", entries, err)
	}
	var n, bytes int64
	err = filepath.WalkDir(in, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			bytes += info.Size()
		}
		if k := info.Mode().Type(); k&^(fs.ModeDir|fs.ModeSymlink|fs.ModeDevice|fs.ModeCharDevice) != 0 || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			t.Errorf("%s is %s", name, info.Mode())
		}
		n++
		return nil
	})
	// Each entry can be a removal besides, and the root counts.
	if err != nil || n > 201 {
		t.Errorf("%d entries of %d bytes: %v", n, bytes, err)
	}
}

func archive(f *testing.F, headers ...tar.Header) []byte {
	f.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	return b.Bytes()
}

// memory is a folder whose file system waits for no disk, where there is one.
func memory(f *testing.F) string {
	f.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fuzz-")
	if err != nil {
		return f.TempDir()
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
