package artifact

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func digestOf(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

// testLock is a lock whose blobs are given; path → content.
func testLock(t testing.TB, paths []string, content map[string][]byte) *Lock {
	t.Helper()
	var b strings.Builder
	for _, p := range paths {
		path, prefix, _ := strings.Cut(p, "!")
		if prefix != "" {
			prefix = "!" + prefix
		}
		data := content[p]
		fmt.Fprintf(&b, "%s file:%s%s %d sha256:%s MIT\n", path, strings.TrimSuffix(strings.ReplaceAll(path, "/", "_"), "_")+".bin", prefix, len(data), digestOf(data))
	}
	l, diags := ParseLock("test.lock", []byte(b.String()))
	if diags != nil {
		t.Fatal(diags)
	}
	return l
}

func putAll(t testing.TB, c *Cache, content map[string][]byte) {
	t.Helper()
	for _, data := range content {
		if _, _, err := c.Put(t.Context(), bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
}

type member struct {
	name, content, link string
	mode                fs.FileMode
}

func zipOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		h.SetMode(m.mode | 0o644)
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if m.link != "" {
			m.content = m.link
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
	}
	z.Close()
	return b.Bytes()
}

func tarOf(t testing.TB, zipped bool, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.Writer = &b
	if zipped {
		z := gzip.NewWriter(&b)
		defer z.Close()
		w = z
	}
	tw := tar.NewWriter(w)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Size: int64(len(m.content)), Mode: int64(m.mode.Perm() | 0o644), Typeflag: tar.TypeReg, Linkname: m.link}
		switch {
		case m.mode&fs.ModeDevice != 0:
			h.Typeflag = tar.TypeChar
		case m.mode&fs.ModeSymlink != 0:
			h.Typeflag, h.Size = tar.TypeSymlink, 0
		case m.mode&fs.ModeIrregular != 0:
			h.Typeflag, h.Size = tar.TypeLink, 0
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(tw, m.content); err != nil {
				t.Fatal(err)
			}
		}
	}
	tw.Close()
	if z, ok := w.(*gzip.Writer); ok {
		z.Close()
	}
	return b.Bytes()
}

// tree lists files below root with their modes and contents.
func tree(t testing.TB, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			link, err := os.Readlink(p)
			out[rel] = "-> " + link
			return err
		}
		if !info.ModTime().Equal(fixedTime) {
			t.Errorf("%s has time %v", rel, info.ModTime())
		}
		data, err := os.ReadFile(p)
		out[rel] = fmt.Sprintf("%o %s", info.Mode().Perm(), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMaterialise(t *testing.T) {
	jar := zipOf(t, member{name: "META-INF/", mode: fs.ModeDir}, member{name: "web/index.html", content: "hello"}, member{name: "web/js/a.js", content: "1"}, member{name: "web/js/a.js", content: "2"}, member{name: "other/x", content: "no"})
	dist := tarOf(t, true, member{name: "./dist-1/bin/run", content: "#!", mode: 0o755}, member{name: "dist-1/bin/go", link: "run", mode: fs.ModeSymlink}, member{name: "dist-1/lib/a", content: "A"})
	content := map[string][]byte{"lib/a.jar": []byte("aaa"), "pages/!/web/": jar, "dist/!/dist-1/": dist, "dist/lib/extra.jar": []byte("extra"), "deep/b.jar": []byte("aaa")}
	l := testLock(t, []string{"lib/a.jar", "pages/!/web/", "dist/!/dist-1/", "dist/lib/extra.jar", "deep/b.jar"}, content)
	c := New(Config{Dir: t.TempDir()})

	_, err := c.Materialise(t.Context(), l)
	if want := "cannot lay out set test: 4 of its files are not in the cache, first file:lib_a.jar.bin; fetch them first"; err == nil || err.Error() != want {
		t.Fatalf("error %v\nwant  %s", err, want)
	}
	putAll(t, c, content)
	root, err := c.Materialise(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if root != SetRoot(c.cfg.Dir, l.ID()) {
		t.Errorf("root %s", root)
	}
	want := map[string]string{
		"lib/a.jar": "444 aaa", "deep/b.jar": "444 aaa",
		"pages/index.html": "444 hello", "pages/js/a.js": "444 2",
		"dist/bin/run": "555 #!", "dist/bin/go": "-> run", "dist/lib/a": "444 A", "dist/lib/extra.jar": "444 extra",
	}
	if diff := cmp.Diff(want, tree(t, root)); diff != "" {
		t.Error(diff)
	}
	if again, err := c.Materialise(t.Context(), l); err != nil || again != root {
		t.Error(again, err)
	}
}

func TestMaterialiseHostile(t *testing.T) {
	outside := t.TempDir()
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"absolute", zipOf(t, member{name: "/etc/x", content: "x"}), `the entry "/etc/x" would be written outside the set`},
		{"dots", zipOf(t, member{name: "a/../../../x", content: "x"}), `the entry "a/../../../x" would be written outside the set`},
		{"backslash", zipOf(t, member{name: `..\x`, content: "x"}), `the entry "..\\x" would be written outside the set`},
		{"tar dots", tarOf(t, false, member{name: "../x", content: "x"}), `the entry "../x" would be written outside the set`},
		{"absolute link", tarOf(t, true, member{name: "l", link: outside, mode: fs.ModeSymlink}), fmt.Sprintf("the symbolic link %q points outside the set, to %q", "l", outside)},
		{"link out", tarOf(t, false, member{name: "l", link: "../../..", mode: fs.ModeSymlink}), `the symbolic link "web/l" points outside the set`},
		{"link out in zip", zipOf(t, member{name: "l", link: "../../..", mode: fs.ModeSymlink}), `the symbolic link "web/l" points outside the set`},
		{"link out by a detour", tarOf(t, false,
			member{name: "a/b/c/f", content: "x"},
			member{name: "a/b/c/x", link: "../../../..", mode: fs.ModeSymlink},
			member{name: "a/b/c/y", link: "x/..", mode: fs.ModeSymlink}), `the symbolic link "web/a/b/c/y" points outside the set`},
		{"write through a link", tarOf(t, false,
			member{name: "l", link: "../../../" + filepath.Base(outside), mode: fs.ModeSymlink},
			member{name: "l/x", content: "x"}), `the entry "l/x" would be written outside the set`},
		{"hard link", tarOf(t, false, member{name: "l", link: "/etc/passwd", mode: fs.ModeIrregular}), `the entry "l" is a hard link, which is not supported`},
		{"device", tarOf(t, false, member{name: "d", mode: fs.ModeDevice}), `the entry "d" is neither a file, a folder nor a symbolic link`},
		{"not an archive", []byte(strings.Repeat("x", 2000)), `it is neither a readable zip nor a readable tar archive: archive/tar: invalid tar header`},
		{"broken zip", []byte("PK\x03\x04 and so on"), `it is not a readable zip archive: zip: not a valid zip file`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			content := map[string][]byte{"web/": tt.data}
			l := testLock(t, []string{"web/"}, content)
			c := New(Config{Dir: filepath.Join(outside, t.Name(), "cache")})
			putAll(t, c, content)
			_, err := c.Materialise(t.Context(), l)
			want := "cannot lay out set test: cannot unpack file:web.bin: " + tt.want
			if err == nil || err.Error() != want {
				t.Errorf("error %v\nwant  %s", err, want)
			}
			left, _ := os.ReadDir(filepath.Join(c.cfg.Dir, "sets"))
			if len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if _, err := os.Stat(filepath.Join(outside, "x")); err == nil {
				t.Error("written outside")
			}
		})
	}
}

func TestMaterialiseContradictions(t *testing.T) {
	one := zipOf(t, member{name: "a/x", content: "1"})
	for _, tt := range []struct {
		name  string
		paths []string
		want  string
	}{
		{"file after archive", []string{"d/", "d/a/x"}, "cannot lay out set test: line 2 of the lock: d/a/x is already there (----------): another line makes it too"},
		{"archive after file", []string{"d/a/x", "d/"}, "cannot lay out set test: cannot unpack file:d.bin: d/a/x is already there: another line of the lock makes it too"},
		{"prefix of nothing", []string{"d/!/b/"}, "cannot lay out set test: cannot unpack file:d.bin!/b/: it holds nothing below b/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			content := map[string][]byte{"d/": one, "d/!/b/": one, "d/a/x": []byte("file")}
			l := testLock(t, tt.paths, content)
			c := New(Config{Dir: t.TempDir()})
			putAll(t, c, content)
			_, err := c.Materialise(t.Context(), l)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v\nwant  %s", err, tt.want)
			}
		})
	}
}

func TestMaterialiseConcurrently(t *testing.T) {
	content := map[string][]byte{"lib/a.jar": []byte("aaa"), "w/": zipOf(t, member{name: "x", content: "1"})}
	l := testLock(t, []string{"lib/a.jar", "w/"}, content)
	dir := t.TempDir()
	putAll(t, New(Config{Dir: dir}), content)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			root, err := New(Config{Dir: dir}).Materialise(t.Context(), l)
			if err != nil || len(tree(t, root)) != 2 {
				t.Error(root, err)
			}
		})
	}
	wg.Wait()
}

func TestPutAndOpen(t *testing.T) {
	c := New(Config{Dir: t.TempDir(), MaxUpload: 10})
	sum, size, err := c.Put(t.Context(), strings.NewReader("0123456789"))
	if err != nil || size != 10 || sum != digestOf([]byte("0123456789")) {
		t.Fatal(sum, size, err)
	}
	if _, _, err := c.Put(t.Context(), strings.NewReader("0123456789")); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Put(t.Context(), strings.NewReader("01234567890"))
	if want := "cannot keep the uploaded file: the file is larger than the limit of 10 bytes"; err == nil || err.Error() != want {
		t.Error(err)
	}
	f, err := c.Open(sum)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if data, _ := io.ReadAll(f); string(data) != "0123456789" {
		t.Errorf("%q", data)
	}
	for _, bad := range []string{"../../etc/passwd", "", sumA} {
		if _, err := c.Open(bad); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q): %v", bad, err)
		}
	}
	left, _ := os.ReadDir(c.path("tmp"))
	if len(left) > 0 {
		t.Error("left in tmp:", left)
	}
}

// flaky serves blobs, cutting every answer after some bytes.
type flaky struct {
	blobs map[string][]byte
	cut   int
	calls atomic.Int32
}

func (f *flaky) FetchBlob(_ context.Context, sum string, offset int64) (io.ReadCloser, error) {
	f.calls.Add(1)
	data, ok := f.blobs[sum]
	if !ok {
		return nil, fmt.Errorf("no such blob: %w", fs.ErrNotExist)
	}
	data = data[offset:]
	if f.cut > 0 && len(data) > f.cut {
		data = data[:f.cut]
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func TestFetchResumes(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789"), 100)
	content := map[string][]byte{"a": big, "b": []byte("small"), "c": []byte("small")}
	l := testLock(t, []string{"a", "b", "c"}, content)
	f := &flaky{blobs: map[string][]byte{digestOf(big): big, digestOf([]byte("small")): []byte("small")}, cut: 300}
	var seen []Progress
	c := New(Config{Dir: t.TempDir(), OnFetch: func(p Progress) { seen = append(seen, p) }})
	// An earlier process got some of it.
	if err := os.MkdirAll(c.path("partial"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path("partial", digestOf(big)), big[:250], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.Fetch(t.Context(), l, f); err != nil {
		t.Fatal(err)
	}
	if len(c.Missing(l)) != 0 || f.calls.Load() != 4 { // 3 of the big, 1 of the small
		t.Error(c.Missing(l), f.calls.Load())
	}
	if last := seen[len(seen)-1]; last != (Progress{"test", 1005, 1005, 2, 2}) {
		t.Errorf("%+v", last)
	}
	if left, _ := os.ReadDir(c.path("partial")); len(left) > 0 {
		t.Error("left in partial:", left)
	}
}

func TestFetchRepairsTornPartial(t *testing.T) {
	data := []byte("0123456789")
	l := testLock(t, []string{"a"}, map[string][]byte{"a": data})
	c := New(Config{Dir: t.TempDir()})
	if err := os.MkdirAll(c.path("partial"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path("partial", digestOf(data)), []byte("0\x00\x00"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.Fetch(t.Context(), l, &flaky{blobs: map[string][]byte{digestOf(data): data}}); err != nil {
		t.Fatal(err)
	}
}

func TestFetchErrors(t *testing.T) {
	data := []byte("0123456789")
	l := testLock(t, []string{"a"}, map[string][]byte{"a": data})
	sum := digestOf(data)
	wrong := digestOf([]byte("9876543210"))
	for _, tt := range []struct {
		name  string
		blobs map[string][]byte
		want  string
	}{
		{"absent", nil, "cannot fetch file:a.bin of set test: no such blob: file does not exist"},
		{"wrong", map[string][]byte{sum: []byte("9876543210")}, "cannot fetch file:a.bin of set test: file:a.bin has digest sha256:" + wrong + " where the lock says sha256:" + sum},
		{"long", map[string][]byte{sum: []byte("0123456789+")}, "cannot fetch file:a.bin of set test: file:a.bin has more than the 10 bytes of the lock"},
		{"short", map[string][]byte{sum: []byte("01234")}, "cannot fetch file:a.bin of set test: unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := New(Config{Dir: t.TempDir()})
			err := c.Fetch(t.Context(), l, &flaky{blobs: tt.blobs})
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v\nwant  %s", err, tt.want)
			}
		})
	}
}

// stuck never ends an answer.
type stuck struct{}

func (stuck) FetchBlob(ctx context.Context, _ string, _ int64) (io.ReadCloser, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestFetchCancelled(t *testing.T) {
	l := testLock(t, []string{"a"}, map[string][]byte{"a": []byte("x")})
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(errors.New("the agent stops")) })
	err := New(Config{Dir: t.TempDir()}).Fetch(ctx, l, stuck{})
	if want := "cannot fetch set test: the agent stops"; err == nil || err.Error() != want {
		t.Error(err)
	}
}

func TestFetchNeedsSpace(t *testing.T) {
	text := fmt.Sprintf("a file:a %d sha256:%s MIT\n", int64(16<<30), sumA)
	for i := range 200 { // more than any disk here
		text += fmt.Sprintf("b%d file:a%d %d sha256:%064x MIT\n", i, i, int64(16<<30), i)
	}
	c := New(Config{Dir: t.TempDir()})
	err := c.Fetch(t.Context(), mustParse(t, text), stuck{})
	var full *spaceError
	if !errors.As(err, &full) || !strings.Contains(err.Error(), "is too small: 3.1 TiB are needed and ") {
		t.Error(err)
	}
}
