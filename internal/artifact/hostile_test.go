package artifact

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unpackInto unpacks an archive into "web" of a folder, as one line of a lock does.
func unpackInto(t testing.TB, dir string, data []byte, left allowance) (*unpacker, error) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.MkdirAll("web", 0o755); err != nil {
		t.Fatal(err)
	}
	u := newUnpacker(t.Context(), root, "web", "", int64(len(data)), &left)
	if u.room > 4<<20 {
		u.room = 4 << 20 // a test writes no more
	}
	return u, u.unpack(bytes.NewReader(data))
}

// raw is a tar of headers as they are; a body is as long as its header says.
func raw(t testing.TB, hs ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range hs {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	z.Close()
	return b.Bytes()
}

// sparseTar is a file of 8 GiB in a kilobyte and a half, as GNU tar writes it: all of
// it a hole.
func sparseTar(t testing.TB, name string) []byte {
	t.Helper()
	const size = "8589934592"
	records := ""
	for _, r := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=" + name, "GNU.sparse.realsize=" + size} {
		n := len(r) + 3
		if n > 9 {
			n = len(r) + 4
		}
		records += fmt.Sprintf("%d %s\n", n, r)
	}
	data := raw(t, tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: int64(len(records))}, tar.Header{Typeflag: tar.TypeReg, Name: "f", Size: 512})
	data[156] = 'x' // the first is the second's extended header
	copy(data[512:], records)
	sum(data[:512])
	copy(data[3*512:], "1\n"+size+"\n0\n")
	return data
}

// sum makes a header that was changed valid again.
func sum(h []byte) {
	copy(h[148:156], "        ")
	n := 0
	for _, b := range h {
		n += int(b)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", n))
}

// TestHostile: each archive is refused with its sentence, and writes nothing outside.
func TestHostile(t *testing.T) {
	var many []member
	for i := range 60 {
		many = append(many, member{name: fmt.Sprint("f", i)})
	}
	long, deep := strings.Repeat("n", 256), strings.Repeat("d/", 130)
	link := func(name, to string) member { return member{name: name, link: to, mode: fs.ModeSymlink} }
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"only dots", tarOf(t, false, member{name: "..", content: "x"}), `the entry ".." would be written outside the set`},
		{"dots that stay inside", zipOf(t, member{name: "a/../x", content: "x"}), `the entry "a/../x" would be written outside the set`},
		{"zero byte", zipOf(t, member{name: "a\x00b", content: "x"}), `the entry "a\x00b" would be written outside the set`},
		{"folder through a link", tarOf(t, false, link("a", "../.."), member{name: "a/x/y", content: "x"}), `the entry "a/x/y" would be written outside the set`},
		{"through two links", tarOf(t, false, member{name: "d/f", content: "x"}, link("d/up", ".."), link("a", "d/up/../../.."), member{name: "a/x", content: "x"}), `the entry "a/x" would be written outside the set`},
		{"through a loop", tarOf(t, false, link("a", "b"), link("b", "a"), member{name: "a/x", content: "x"}), `the entry "a/x" would be written outside the set`},
		{"through a link to nowhere", tarOf(t, false, link("a", "b"), member{name: "a/x", content: "x"}), `the entry "a/x" lies below the link "web/a", which leads nowhere`},
		{"below a file", tarOf(t, false, member{name: "a", content: "x"}, member{name: "a/x", content: "x"}), `the entry "a/x" needs a folder "web/a", and that is a file`},
		{"folder where a file was", zipOf(t, member{name: "a", content: "x"}, member{name: "a/", mode: fs.ModeDir}), `the entry "a/" needs a folder "web/a", and that is a file`},
		{"file where a folder was", tarOf(t, false, member{name: "a/x", content: "x"}, member{name: "a", content: "x"}), `the entry "a" is no folder, and web/a is one already`},
		{"link where a folder was", tarOf(t, false, member{name: "a/x", content: "x"}, link("a", "/etc")), `the entry "a" is no folder, and web/a is one already`},
		{"hard link out", tarOf(t, false, member{name: "l", link: "../../x", mode: fs.ModeIrregular}), `the entry "l" is a hard link, which is not supported`},
		{"block device", raw(t, tar.Header{Name: "sda", Typeflag: tar.TypeBlock}), `the entry "sda" is neither a file, a folder nor a symbolic link`},
		{"pipe", raw(t, tar.Header{Name: "p", Typeflag: tar.TypeFifo}), `the entry "p" is neither a file, a folder nor a symbolic link`},
		{"device in a zip", zipOf(t, member{name: "d", mode: fs.ModeDevice}), `the entry "d" is neither a file, a folder nor a symbolic link`},
		{"long name", zipOf(t, member{name: long, content: "x"}), `the entry "` + long[:40] + `"... has a name of 256 bytes; 255 are allowed`},
		{"long path", zipOf(t, member{name: strings.Repeat("nnnnnnnnn/", 410) + "x", content: "x"}), `the entry "` + strings.Repeat("nnnnnnnnn/", 4) + `"... has a path of 4101 bytes; 4096 are allowed`},
		{"deep", zipOf(t, member{name: deep + "x", content: "x"}), `the entry "` + deep[:40] + `"... lies more than 128 folders deep`},
		{"long link", zipOf(t, link("l", strings.Repeat("n/", 600))), `the symbolic link "l" points outside the set, to "` + strings.Repeat("n/", 50) + `"`},
		{"link with a zero byte", zipOf(t, link("l", "a\x00b")), `the symbolic link "l" points outside the set, to "a\x00b"`},
		{"many", tarOf(t, false, many...), `the entry "f50" is one too many: archives of a set may hold 500000 files and folders together`},
		{"many folders on the way", zipOf(t, member{name: strings.Repeat("d/", 60) + "x"}), `the entry "` + strings.Repeat("d/", 60) + `x" is one too many: archives of a set may hold 500000 files and folders together`},
		{"many of one name", tarOf(t, false, slices.Repeat([]member{{name: "f"}}, 60)...), `the entry "f" is one too many: archives of a set may hold 500000 files and folders together`},
		{"zip bomb", zipOf(t, member{name: "a", content: strings.Repeat("\x00", 5<<20)}), `the entry "a" is too large: it unpacks to more than 257.0 MiB, which is all that an archive of 5.1 KiB may`},
		{"gzip bomb", zipped(t, raw(t, tar.Header{Name: "a", Size: 5 << 20})), `the entry "a" is too large: `},
		{"gzip bomb beside what is wanted", zipped(t, raw(t, tar.Header{Name: "."}, tar.Header{Name: ".", Size: 5 << 20}, tar.Header{Name: "b"})), `behind the entry ".": it unpacks to more than 257.0 MiB, which is all that an archive of 5.1 KiB may`},
		{"large together", raw(t, tar.Header{Name: "a", Size: 1 << 20}, tar.Header{Name: "b", Size: 1 << 20}), `the entry "b" is too large: archives of a set may unpack to 16.0 GiB together`},
		{"sparse file", sparseTar(t, "hole"), `the entry "hole" is too large: `},
		{"cut off", raw(t, tar.Header{Name: "a", Size: 5000})[:2000], "unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			outer := t.TempDir()
			dir := filepath.Join(outer, "set")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			left := allowance{8 << 20, 50}
			if tt.name == "large together" {
				left.bytes = 1<<20 + 1
			}
			_, err := unpackInto(t, dir, tt.data, left)
			if err == nil || err.Error() != tt.want && (!strings.HasSuffix(tt.want, ": ") || !strings.HasPrefix(err.Error(), tt.want)) {
				t.Errorf("error %v\nwant  %s", err, tt.want)
			}
			bounded(t, outer, dir, left)
		})
	}
}

// bounded says what holds of whatever was unpacked: nothing is outside, there is
// nothing but files, folders and links, no more than allowed, and no special bit.
func bounded(t *testing.T, outer, dir string, left allowance) {
	t.Helper()
	if entries, err := os.ReadDir(outer); err != nil || len(entries) != 1 {
		t.Fatalf("outside are %v, %v", entries, err)
	}
	files, bytes := 0, int64(0)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if m := info.Mode(); m&^(fs.ModePerm|fs.ModeDir|fs.ModeSymlink) != 0 {
			t.Errorf("%s is %s", name, m)
		}
		if info.Mode().IsRegular() {
			bytes += info.Size()
		}
		files++
		return nil
	})
	// The two folders it began with, and the byte that is one too many.
	if err != nil || files > left.files+2 || bytes > left.bytes+1 {
		t.Errorf("%d files and folders of %d bytes, %d of %d allowed: %v", files, bytes, left.files, left.bytes, err)
	}
}

// TestOddArchives: what is odd and does no harm is unpacked, harmless.
func TestOddArchives(t *testing.T) {
	dir := t.TempDir()
	data := raw(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o7777},
		tar.Header{Name: "bin//run", Typeflag: tar.TypeReg, Mode: 0o6755, Size: 1, Uid: 12345, Gid: 12345},
		tar.Header{Name: "A", Typeflag: tar.TypeReg, Size: 1}, tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 2},
		tar.Header{Name: "twice", Typeflag: tar.TypeReg, Size: 1}, tar.Header{Name: "twice", Typeflag: tar.TypeReg, Size: 3},
		tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "bin"}, tar.Header{Name: "l/through", Typeflag: tar.TypeReg, Size: 4},
		tar.Header{Name: "l", Typeflag: tar.TypeReg, Size: 5},
	)
	if _, err := unpackInto(t, dir, data, allowance{1 << 20, 50}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	_ = filepath.WalkDir(filepath.Join(dir, "web"), func(name string, d fs.DirEntry, _ error) error {
		if info, err := d.Info(); err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, name)
			got[rel] = fmt.Sprintf("%s %d", info.Mode(), info.Size())
		}
		return nil
	})
	want := map[string]string{
		"web/bin/run": "-r-xr-xr-x 1", "web/bin/through": "-r--r--r-- 4", "web/A": "-r--r--r-- 1", "web/a": "-r--r--r-- 2", "web/twice": "-r--r--r-- 3", "web/l": "-r--r--r-- 5",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestHugeContents: the table of contents of a zip is held in memory, so it is bounded
// before it is read.
func TestHugeContents(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if _, err := z.Create("a"); err != nil {
		t.Fatal(err)
	}
	z.Close()
	r := &limitedReaderAt{bytes.NewReader(b.Bytes()), 10}
	_, err := zip.NewReader(r, int64(b.Len()))
	if want := "its table of contents has more than 128.0 MiB"; err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}

// TestImportSparse: a file of an import is as large as it looks.
func TestImportSparse(t *testing.T) {
	sum := strings.Repeat("a", 64)
	_, err := New(Config{Dir: t.TempDir()}).Import(t.Context(), bytes.NewReader(sparseTar(t, "blobs/"+sum)))
	if want := `cannot import: the entry "blobs/` + sum + `" has no place in an export of an artifact cache`; err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}

// FuzzUnpack unpacks anything. Whatever it is, nothing appears outside, nothing but
// files, folders and links inside, and no more than is allowed; of what is accepted no
// link leads out.
func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, false, member{name: "a/b", content: "x", mode: 0o755}, member{name: "a/l", link: "b", mode: fs.ModeSymlink}))
	f.Add(tarOf(f, true, member{name: "l", link: "../../x", mode: fs.ModeSymlink}, member{name: "l/x", content: "x"}))
	f.Add(zipOf(f, member{name: "a/", mode: fs.ModeDir}, member{name: "a/l", link: "..", mode: fs.ModeSymlink}, member{name: "a/l/x", content: "x"}))
	f.Add(zipOf(f, member{name: "../x", content: "x"}))
	f.Add(raw(f, tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, tar.Header{Name: "c", Typeflag: tar.TypeChar}))
	f.Add(sparseTar(f, "hole"))
	outer := f.TempDir()
	if dir, err := os.MkdirTemp("/dev/shm", "fuzz-"); err == nil { // waits for no disk
		outer = dir
		f.Cleanup(func() { os.RemoveAll(dir) })
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := filepath.Join(outer, "set")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		left := allowance{1 << 16, 100}
		u, err := unpackInto(t, dir, data, left)
		bounded(t, outer, dir, left)
		if err != nil {
			return
		}
		for _, l := range u.links {
			if to, err := filepath.EvalSymlinks(filepath.Join(dir, l)); err == nil && to != dir && !strings.HasPrefix(to, dir+"/") {
				t.Errorf("%s leads to %s", l, to)
			}
		}
	})
}
