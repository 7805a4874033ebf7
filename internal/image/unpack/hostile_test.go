package unpack_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/unpack"
)

// TestHostile: each layer is refused with its sentence, and nothing of it stays.
func TestHostile(t *testing.T) {
	deep := strings.Repeat("d/", 130)
	outside := filepath.Join(t.TempDir(), "outside")
	raw := func(edit func([]byte)) []byte {
		data := layer(t, file("a", "hello"))
		edit(data)
		return data
	}
	checksum := func(h []byte) {
		copy(h[148:156], "        ")
		sum := 0
		for _, b := range h[:512] {
			sum += int(b)
		}
		copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"absolute", layer(t, file("/etc/passwd", "x")), `the entry "/etc/passwd" would be written outside the image`},
		{"dots", layer(t, file("a/../../x", "x")), `the entry "a/../../x" would be written outside the image`},
		{"dots that stay inside", layer(t, dir("a/"), file("a/../x", "x")), `the entry "a/../x" would be written outside the image`},
		{"only dots", layer(t, dir("..")), `the entry ".." would be written outside the image`},
		{"through an absolute link", layer(t, link("a", outside), file("a/x", "x")), `the entry "a/x" would be written through the link "a", which leads out of the image or nowhere`},
		{"through a relative link", layer(t, link("a", "../../.."), file("a/x", "x")), `the entry "a/x" would be written through the link "a", which leads out of the image or nowhere`},
		{"through two links", layer(t, dir("d/"), link("d/up", ".."), link("a", "d/up/../.."), file("a/x", "x")), `the entry "a/x" would be written through the link "a", which leads out of the image or nowhere`},
		{"through a loop", layer(t, link("a", "b"), link("b", "a"), file("a/x", "x")), `the entry "a/x" would be written through the link "a", which leads out of the image or nowhere`},
		{"folder through a link", layer(t, link("a", outside), dir("a/x/")), `the entry "a/x" would be written through the link "a", which leads out of the image or nowhere`},
		{"whiteout through a link", layer(t, link("a", "/etc"), file("a/.wh.passwd", "")), `the entry "a/.wh.passwd" would be written through the link "a", which leads out of the image or nowhere`},
		{"below a file", layer(t, file("a", "x"), file("a/x", "x")), `the entry "a/x" lies below "a", which is no folder`},
		{"hard link out", layer(t, hard("a", "../../etc/passwd")), `the hard link "a" leads outside the image, to "../../etc/passwd"`},
		{"absolute hard link", layer(t, hard("a", "/etc/passwd")), `the hard link "a" leads outside the image, to "/etc/passwd"`},
		{"hard link to nothing", layer(t, hard("a", "etc/passwd")), `the hard link "a" leads to "etc/passwd", which is no file of its layer`},
		{"hard link through a link", layer(t, link("e", "/etc"), hard("a", "e/passwd")), `the hard link "a" leads to "e/passwd", which is no file of its layer`},
		{"hard link to a folder", layer(t, dir("d/"), hard("a", "d")), `the hard link "a" leads to "d", which is no file of its layer`},
		{"device", layer(t, device("dev/sda")), `the entry "dev/sda" is a device, and images may not bring devices`},
		{"false removal", layer(t, entry{name: "x", kind: tar.TypeChar}), `the entry "x" is a device, and images may not bring devices`},
		{"block device", layer(t, entry{name: "dev/sda", kind: tar.TypeBlock}), `the entry "dev/sda" is a device, and images may not bring devices`},
		{"pipe", layer(t, entry{name: "p", kind: tar.TypeFifo}), `the entry "p" is a named pipe, and images may not bring those`},
		{"unknown kind", layer(t, entry{name: "p", kind: 'Q'}), `the entry "p" is of the unknown kind 'Q'`},
		{"removal of nothing", layer(t, file("a/.wh.", "")), `the entry "a/.wh." removes nothing that can be named`},
		{"removal of the folder", layer(t, file("a/.wh..", "")), `the entry "a/.wh.." removes nothing that can be named`},
		{"removal above", layer(t, file(".wh...", "")), `the entry ".wh..." removes nothing that can be named`},
		{"the root is a file", layer(t, file("a/..", "")), `the entry "a/.." would be written outside the image`},
		{"the root is a link", layer(t, link(".", "/etc")), `the entry "." is the image's root and no folder`},
		{"deep", layer(t, file(deep+"x", "x")), `the entry "` + deep[:40] + `"... lies more than 128 folders deep`},
		{"long name", layer(t, file(strings.Repeat("n", 256), "x")), `the entry "` + strings.Repeat("n", 40) + `"... has a name of 256 bytes; 255 are allowed`},
		{"long path", layer(t, file(strings.Repeat("nnnnnnnnn/", 410)+"x", "x")), `the entry "` + strings.Repeat("nnnnnnnnn/", 4) + `"... has a path of 4101 bytes; 4096 are allowed`},
		{"long link", layer(t, link("l", strings.Repeat("n", 4096))), `the symbolic link "l" has no possible target`},
		{"too many", layer(t, many(60)...), "it has more than 50 files and folders"},
		{"too many on the way", layer(t, file(strings.Repeat("d/", 60)+"x", "")), "it has more than 50 files and folders"},
		{"too large", layer(t, file("a", strings.Repeat("x", 60000)), file("b", strings.Repeat("x", 60000))), "it unpacks to more than the 100000 bytes allowed for its size"},
		{"cut off", layer(t, file("a", "hello"))[:514], `cannot write "a": unexpected EOF`},
		{"size lies", raw(func(h []byte) { copy(h[124:136], "77777777777\x00"); checksum(h) }), "it unpacks to more than the 100000 bytes allowed for its size"},
		{"size lies less", raw(func(h []byte) { copy(h[124:136], "00000006000\x00"); checksum(h) }), `cannot write "a": unexpected EOF`},
		{"no tar", bytes.Repeat([]byte("hostile!"), 200), "it is no readable tar archive: archive/tar: invalid tar header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, parent := store(t), t.TempDir()
			where := filepath.Join(parent, "unpacked")
			u := unpacker(t, unpack.Config{Dir: where, MaxBytes: 100_000, MaxEntries: 50})
			m := made(t, s, as, tt.data)
			_, err := u.Unpack(t.Context(), s, m, "task")
			want := fmt.Sprintf("cannot unpack the image %s: the layer %s: %s", m.Digest, m.Layers[0].Digest, tt.want)
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			for name := range list(t, parent) {
				if strings.HasPrefix(name, "unpacked/layers/") || strings.HasPrefix(name, "unpacked/tmp/") || !strings.HasPrefix(name, "unpacked") {
					t.Errorf("%s stayed", name)
				}
			}
			if _, err := os.Stat(outside); err == nil {
				t.Error("something was written outside")
			}
		})
	}
}

func many(n int) (out []entry) {
	for i := range n {
		out = append(out, file(fmt.Sprint(i), ""))
	}
	return out
}

func TestBombs(t *testing.T) {
	s := store(t)
	u := unpacker(t, unpack.Config{MaxBytes: 1 << 40})
	// 512 MB of zeros after the end of the archive, in two megabytes and a half.
	var bomb bytes.Buffer
	z, err := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	ok(t, err)
	_, err = z.Write(layer(t, file("a", "1")))
	ok(t, err)
	for range 512 {
		_, err = z.Write(make([]byte, 1<<20))
		ok(t, err)
	}
	ok(t, z.Close())
	m := made(t, s, func([]byte) []byte { return bomb.Bytes() }, nil)
	_, err = u.Unpack(t.Context(), s, m, "task")
	if err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf("it unpacks to more than the %d bytes allowed for its size", max(256<<20, 200*bomb.Len()))) {
		t.Errorf("got %v", err)
	}
	// A file that says it is a sparse terabyte.
	m = made(t, s, as, sparse(t))
	_, err = u.Unpack(t.Context(), s, m, "task")
	if err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf("it unpacks to more than the %d bytes allowed for its size", 256<<20+200*m.Layers[0].Size)) {
		t.Errorf("got %v", err)
	}
}

// TestManySmallBombs: what one layer may not be, all together may not be either, at
// once or one after the other.
func TestManySmallBombs(t *testing.T) {
	s := store(t)
	var all [][]byte
	for i := range 12 {
		all = append(all, layer(t, file(fmt.Sprint("f", i), strings.Repeat("\x00", 30_000))))
	}
	m := made(t, s, func(b []byte) []byte { return zipped(t, b) }, all...)
	u := unpacker(t, unpack.Config{MaxBytes: 200_000})
	for range 3 { // layers that are there count too
		if _, err := u.Unpack(t.Context(), s, m, "task"); err == nil || !strings.Contains(err.Error(), "unpack") || !strings.Contains(err.Error(), "more than") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := unpacker(t, unpack.Config{MaxEntries: 11}).Unpack(t.Context(), s, m, "task"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("entries: got %v", err)
	}
	if _, err := unpacker(t, unpack.Config{}).Unpack(t.Context(), s, m, "task"); err != nil {
		t.Error(err)
	}
}

// TestTooManyLayers: an image may not have more layers than an overlay takes.
func TestTooManyLayers(t *testing.T) {
	s := store(t)
	m := made(t, s, as, slices.Repeat([][]byte{layer(t, file("a", "1"))}, 129)...)
	want := fmt.Sprintf("cannot unpack the image %s: it has 129 layers; 128 are allowed", m.Digest)
	if _, err := unpacker(t, unpack.Config{}).Unpack(t.Context(), s, m, "task"); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// sparse is an archive with one file of a terabyte that has no data (GNU tar's
// format 1.0: a map before the data, named in extended headers).
func sparse(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	records := ""
	for _, kv := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=hole", "GNU.sparse.realsize=1099511627776"} {
		n := len(kv) + 2
		n += len(fmt.Sprint(n + len(fmt.Sprint(n))))
		records += fmt.Sprintf("%d %s\n", n, kv)
	}
	body := make([]byte, 512)
	copy(body, "0\n")
	plain := layer(t, file("records", records), file("data", string(body)))
	plain[156] = 'x' // the first entry becomes the extended header of the second
	copy(plain[148:156], "        ")
	sum := 0
	for _, c := range plain[:512] {
		sum += int(c)
	}
	copy(plain[148:156], fmt.Sprintf("%06o\x00 ", sum))
	b.Write(plain)
	return b.Bytes()
}

func TestWrongDiffID(t *testing.T) {
	s := store(t)
	u := unpacker(t, unpack.Config{})
	other := layer(t, file("b", "2"))
	m := made(t, s, func([]byte) []byte { return other }, layer(t, file("a", "1")))
	_, err := u.Unpack(t.Context(), s, m, "task")
	want := fmt.Sprintf("it unpacks to the digest %s where the image's configuration says %s", image.Digest(other), image.Digest(layer(t, file("a", "1"))))
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
