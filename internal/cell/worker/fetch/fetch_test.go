package fetch

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// entry is a member of an archive.
type entry struct {
	name, text, link string
	kind             byte
	mode             int64
}

func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: 0o644 | e.mode, Size: int64(len(e.text))}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func zipOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(0o644 | fs.FileMode(e.mode))
		if e.link != "" {
			h.SetMode(fs.ModeSymlink | 0o777)
			e.text = e.link
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// listing is what a folder holds: names, modes of programs, contents.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if strings.HasSuffix(rel, "z") || strings.HasSuffix(rel, ".zip") || strings.HasSuffix(rel, ".tar") {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			to, _ := os.Readlink(path)
			found = append(found, rel+" -> "+to)
			return nil
		}
		text, err := os.ReadFile(path)
		if info.Mode()&0o111 != 0 {
			rel += "*"
		}
		found = append(found, rel+"="+string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFetch(t *testing.T) {
	bodies := map[string][]byte{
		"/file.txt": []byte("text"),
		"/app.tgz": gz(tarOf(t, entry{name: "./bin/run", text: "#!", mode: 0o111}, entry{name: "etc/", kind: tar.TypeDir}, entry{name: "etc/a", text: "a"},
			entry{name: "etc/b", kind: tar.TypeSymlink, link: "a"}, entry{name: "c", kind: tar.TypeLink, link: "etc/a"}, entry{name: "etc/a", text: "later"})),
		"/app.zip":     zipOf(t, entry{name: "x/y", text: "y", mode: 0o111}, entry{name: "l", link: "x/y"}),
		"/one.gz":      gz([]byte("one")),
		"/big":         bytes.Repeat([]byte("x"), 2000),
		"/bomb.tar.gz": gz(tarOf(t, entry{name: "zeros", text: strings.Repeat("0", 5000)})),
		"/bomb.gz":     gz(bytes.Repeat([]byte("0"), 5000)),
		"/up.tar":      tarOf(t, entry{name: "../evil", text: "x"}),
		"/abs.tar":     tarOf(t, entry{name: "/evil", text: "x"}),
		"/link.tar":    tarOf(t, entry{name: "l", kind: tar.TypeSymlink, link: "/etc"}, entry{name: "l/evil", text: "x"}),
		"/dots.tar":    tarOf(t, entry{name: "a/l", kind: tar.TypeSymlink, link: "../../up"}),
		"/hard.tar":    tarOf(t, entry{name: "h", kind: tar.TypeLink, link: "../../etc/passwd"}),
		"/chain.tar":   tarOf(t, entry{name: "s", kind: tar.TypeSymlink, link: "x"}, entry{name: "h", kind: tar.TypeLink, link: "s"}),
		"/again.tar":   tarOf(t, entry{name: "l", kind: tar.TypeSymlink, link: "."}, entry{name: "m", kind: tar.TypeSymlink, link: "l/l/../.."}),
		"/before.tar":  tarOf(t, entry{name: "m", kind: tar.TypeSymlink, link: "l/l/../.."}, entry{name: "l", kind: tar.TypeSymlink, link: "."}),
		"/behind.tar":  tarOf(t, entry{name: "a/b/s", kind: tar.TypeSymlink, link: "../.."}, entry{name: "a/b/s/x", kind: tar.TypeSymlink, link: "../../.."}),
		"/sound.tar":   tarOf(t, entry{name: "bin/s", kind: tar.TypeSymlink, link: "./../lib/run"}),
		"/dev.tar":     tarOf(t, entry{name: "null", kind: tar.TypeChar}),
		"/fifo.tar":    tarOf(t, entry{name: "pipe", kind: tar.TypeFifo}),
		"/up.zip":      zipOf(t, entry{name: "../evil", text: "x"}),
		"/link.zip":    zipOf(t, entry{name: "l", link: "/etc"}),
		"/many.tar":    tarOf(t, slices.Repeat([]entry{{name: "f", text: ""}}, 11)...),
		"/bad.tgz":     []byte("no archive"),
		"/app.tar.xz":  []byte("xz"),
	}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch body, ok := bodies[r.URL.Path]; {
		case ok:
			w.Write(body)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/file.txt", http.StatusFound)
		case r.URL.Path == "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case r.URL.Path == "/file-scheme":
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		case r.URL.Path == "/to-loopback":
			http.Redirect(w, r, strings.Replace(server.URL, "127.0.0.1", "127.0.0.2", 1)+"/file.txt", http.StatusFound)
		case r.URL.Path == "/slow":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	blocked := func(a netip.Addr) bool { return a != netip.MustParseAddr("127.0.0.1") }
	tests := []struct {
		name string
		item Item
		want []string
		err  string
	}{
		{"file", Item{URI: "/file.txt"}, []string{"file.txt=text"}, ""},
		{"program with a name", Item{URI: "/file.txt?secret=1", File: "bin/x", Executable: true}, []string{"bin/x*=text"}, ""},
		{"redirect", Item{URI: "/moved"}, []string{"moved=text"}, ""},
		{"tgz", Item{URI: "/app.tgz", Extract: true}, []string{"bin/run*=#!", "c=a", "etc/a=later", "etc/b -> a"}, ""},
		{"tgz, not unpacked", Item{URI: "/app.tgz"}, nil, ""},
		{"tgz in a folder", Item{URI: "/app.tgz", File: "d/x.tgz", Extract: true}, []string{"d/bin/run*=#!", "d/c=a", "d/etc/a=later", "d/etc/b -> a"}, ""},
		{"zip", Item{URI: "/app.zip", Extract: true}, []string{"l -> x/y", "x/y*=y"}, ""},
		{"gz", Item{URI: "/one.gz", Extract: true}, []string{"one=one"}, ""},

		{"link to a neighbour", Item{URI: "/sound.tar", Extract: true}, []string{"bin/s -> ./../lib/run"}, ""},

		{"not there", Item{URI: "/nothing"}, nil, "the server answers 404 Not Found"},
		{"out of the sandbox", Item{URI: "/file.txt", File: "../x"}, nil, `"../x" would be written outside of the sandbox`},
		{"absolute", Item{URI: "/file.txt", File: "/etc/x"}, nil, `"/etc/x" would be written outside of the sandbox`},
		{"no name", Item{URI: "/moved/.."}, nil, "the server answers 404 Not Found"},
		{"too large", Item{URI: "/big"}, nil, "it has 2000 bytes; all that is fetched and unpacked may have 1000 bytes"},
		{"round and round", Item{URI: "/round"}, nil, "there are more than 5 redirects"},
		{"redirect to a file", Item{URI: "/file-scheme"}, nil, `it redirects to the scheme "file"`},
		{"redirect to a blocked address", Item{URI: "/to-loopback"}, nil, "the address 127.0.0.2 may not be fetched from"},
		{"blocked address", Item{URI: "http://127.0.0.3:1/x"}, nil, "the address 127.0.0.3 may not be fetched from"},
		{"blocked name", Item{URI: "http://[::1]:1/x"}, nil, "the address ::1 may not be fetched from"},
		{"mapped address", Item{URI: "http://[::ffff:127.0.0.9]:1/x"}, nil, "the address 127.0.0.9 may not be fetched from"},
		{"file", Item{URI: "file:///etc/passwd"}, nil, `the scheme "file" is not supported: use http or https`},
		{"no scheme", Item{URI: "etc/passwd"}, nil, `the scheme "" is not supported: use http or https`},
		{"too slow", Item{URI: "/slow"}, nil, "not everything was here after 1s"},
		{"bomb", Item{URI: "/bomb.tar.gz", Extract: true}, nil, "cannot unpack bomb.tar.gz: all that is fetched and unpacked may have 1000 bytes"},
		{"bomb without tar", Item{URI: "/bomb.gz", Extract: true}, nil, "cannot unpack bomb.gz: all that is fetched and unpacked may have 1000 bytes"},
		{"tar: up", Item{URI: "/up.tar", File: "up.tar", Extract: true}, nil, `"../evil" would be written outside of the sandbox`},
		{"tar: absolute", Item{URI: "/abs.tar", Extract: true}, nil, `"/evil" would be written outside of the sandbox`},
		{"tar: link out", Item{URI: "/link.tar", Extract: true}, nil, `the symbolic link "l" leads outside of the sandbox`},
		{"tar: link up", Item{URI: "/dots.tar", Extract: true}, nil, `the symbolic link "a/l" leads outside of the sandbox`},
		{"tar: link up behind a link", Item{URI: "/again.tar", Extract: true}, nil, `the symbolic link "m" goes up again behind a name`},
		{"tar: link up before the link", Item{URI: "/before.tar", Extract: true}, nil, `the symbolic link "m" goes up again behind a name`},
		{"tar: link made behind a link", Item{URI: "/behind.tar", Extract: true}, nil, `the symbolic link "a/b/s/x" is made behind another one`},
		{"tar: hard link out", Item{URI: "/hard.tar", Extract: true}, nil, `"../../etc/passwd" would be written outside of the sandbox`},
		{"tar: hard link to a link", Item{URI: "/chain.tar", Extract: true}, nil, `the link "h" leads to no file of the archive`},
		{"tar: device", Item{URI: "/dev.tar", Extract: true}, nil, `"null" is neither a file, a folder nor a link`},
		{"tar: pipe", Item{URI: "/fifo.tar", Extract: true}, nil, `"pipe" is neither a file, a folder nor a link`},
		{"tar: many", Item{URI: "/many.tar", Extract: true}, nil, "archives hold more than 10 files"},
		{"zip: up", Item{URI: "/up.zip", Extract: true}, nil, `"../evil" would be written outside of the sandbox`},
		{"zip: link out", Item{URI: "/link.zip", Extract: true}, nil, `the symbolic link "l" leads outside of the sandbox`},
		{"no archive", Item{URI: "/bad.tgz", Extract: true}, nil, "cannot unpack bad.tgz: gzip: invalid header"},
		{"xz", Item{URI: "/app.tar.xz", Extract: true}, nil, "archives of xz are not supported: use gzip, bzip2 or zip"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			outer := t.TempDir()
			dir := filepath.Join(outer, "sandbox")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(tt.item.URI, "/") {
				tt.item.URI = server.URL + tt.item.URI
			}
			limit := int64(1000)
			if strings.HasSuffix(tt.item.URI, ".tar") {
				limit = 1 << 20
			}
			patience := time.Minute
			if tt.name == "too slow" {
				patience = time.Second
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := Fetch(ctx, Config{Blocked: blocked, MaxBytes: limit, MaxFiles: 10, Time: patience}, dir, tt.item)
			switch {
			case tt.err == "" && err != nil:
				t.Fatal(err)
			case tt.err != "" && (err == nil || !strings.HasSuffix(err.Error(), tt.err) || strings.Contains(err.Error(), "secret")):
				t.Fatalf("got %v, want %s", err, tt.err)
			case tt.err == "":
				if got := listing(t, dir); !slices.Equal(got, tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
			if entries, _ := os.ReadDir(outer); len(entries) != 1 {
				t.Errorf("something is beside the sandbox: %v", entries)
			}
		})
	}
}

// TestFetchTogether: the limits are of all items together.
func TestFetchTogether(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/slow" {
			_, _ = w.Write(bytes.Repeat([]byte("x"), 600))
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-time.After(1400 * time.Millisecond):
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	items := func(path string) []Item {
		return []Item{{URI: server.URL + path, File: "a"}, {URI: server.URL + path, File: "b"}, {URI: server.URL + path, File: "c"}}
	}
	for path, want := range map[string]string{
		"/x":    "cannot fetch " + server.URL + "/x: it has 600 bytes; all that is fetched and unpacked may have 1000 bytes",
		"/slow": "cannot fetch " + server.URL + "/slow: not everything was here after 3s",
	} {
		dir := t.TempDir()
		err := Fetch(t.Context(), Config{MaxBytes: 1000, Time: 3 * time.Second}, dir, items(path)...)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "a")); err != nil {
			t.Error(err)
		}
	}
}
