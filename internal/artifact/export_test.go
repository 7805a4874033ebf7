package artifact

import (
	"bytes"
	"testing"
)

func TestExportImport(t *testing.T) {
	content := map[string][]byte{"a": []byte("aaa"), "b": []byte("bbb")}
	l := testLock(t, []string{"a", "b"}, content)
	from, to := New(Config{Dir: t.TempDir()}), New(Config{Dir: t.TempDir()})
	var file bytes.Buffer
	err := from.Export(t.Context(), &file, []*Lock{l, l})
	if want := "cannot export the cache: 2 files are not in it, first file:a.bin of set test; resolve them first"; err == nil || err.Error() != want {
		t.Fatal(err)
	}
	putAll(t, from, content)
	if err := from.Export(t.Context(), &file, []*Lock{l, l}); err != nil {
		t.Fatal(err)
	}
	for want := 2; want >= 0; want -= 2 { // the second time there is nothing new
		if n, err := to.Import(t.Context(), bytes.NewReader(file.Bytes())); err != nil || n != want {
			t.Fatal(n, err)
		}
	}
	if len(to.Missing(l)) > 0 {
		t.Error(to.Missing(l))
	}
}

func TestImportRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"cut", tarOf(t, false, member{name: "blobs/" + sumA, content: "aaa"})[:514], "cannot import: unexpected EOF"},
		{"other content", tarOf(t, false, member{name: "blobs/" + sumA, content: "aaa"}), "cannot import: the content has digest sha256:" + digestOf([]byte("aaa")) + " where its name says sha256:" + sumA},
		{"other file", tarOf(t, false, member{name: "../x", content: "aaa"}), `cannot import: the entry "../x" has no place in an export of an artifact cache`},
		{"no tar", bytes.Repeat([]byte("x"), 600), "cannot import: this is not a whole export of an artifact cache: archive/tar: invalid tar header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(Config{Dir: t.TempDir()}).Import(t.Context(), bytes.NewReader(tt.data))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v\nwant  %s", err, tt.want)
			}
		})
	}
}
