package storm

import (
	"archive/zip"
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func archive(t *testing.T, files ...string) *zip.Reader {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		h := &zip.FileHeader{Name: files[i], Method: zip.Deflate, Modified: time.Now()}
		out, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(out, files[i+1])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return reader(t, b.Bytes())
}

func reader(t *testing.T, b []byte) *zip.Reader {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func content(t *testing.T, r *zip.Reader) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(in) // checks the CRC too
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		m[f.Name] = string(b)
		if f.Modified.Year() > 1980 {
			t.Errorf("%s is of %v", f.Name, f.Modified)
		}
	}
	return m
}

func TestBuildTopologyJar(t *testing.T) {
	build := func() []byte {
		var b bytes.Buffer
		err := BuildTopologyJar(&b, Inputs{
			Flux: archive(t, "META-INF/", "", "META-INF/MANIFEST.MF", "flux", "META-INF/A.SF", "sig",
				"org/F.class", "class of flux, class of flux", "resources/storm.py", "sample"),
			User:      archive(t, "META-INF/MANIFEST.MF", "user", "a/B.class", "class", "resources/own.py", "own", "META-INF/B.RSA", "sig"),
			Resources: map[string][]byte{"net-lines": []byte("\x7fELF"), "sub/x": nil},
			Files:     map[string][]byte{"hdfs-site.xml": []byte("<configuration/>")},
		})
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	first := build()
	want := map[string]string{
		"META-INF/MANIFEST.MF": "user", "org/F.class": "class of flux, class of flux", "a/B.class": "class",
		"resources/own.py": "own", "resources/net-lines": "\x7fELF", "resources/sub/x": "", "hdfs-site.xml": "<configuration/>",
	}
	if diff := cmp.Diff(want, content(t, reader(t, first))); diff != "" {
		t.Error(diff)
	}
	time.Sleep(10 * time.Millisecond)
	if !bytes.Equal(first, build()) {
		t.Error("equal inputs gave different jars")
	}
}

func TestBuildTopologyJarRefuses(t *testing.T) {
	flux := archive(t, "a", "")
	for text, in := range map[string]Inputs{
		"cannot build topology jar: flux-core's jar is missing":                {},
		`cannot build topology jar: file name "../x" is no relative path`:      {Flux: flux, Resources: map[string][]byte{"../x": nil}},
		`cannot build topology jar: file name "/etc/x" is no relative path`:    {Flux: flux, Files: map[string][]byte{"/etc/x": nil}},
		`cannot build topology jar: file name "a/../../b" is no relative path`: {Flux: flux, Files: map[string][]byte{"a/../../b": nil}},
	} {
		if err := BuildTopologyJar(io.Discard, in); err == nil || err.Error() != text {
			t.Errorf("got %v, want %s", err, text)
		}
	}
}
