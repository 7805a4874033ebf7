package pack_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/pack"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func repo(t *testing.T) *imagestore.Repo {
	t.Helper()
	s, err := imagestore.Open(imagestore.Config{Dir: t.TempDir()})
	ok(t, err)
	r, err := s.Repo("p/app")
	ok(t, err)
	return r
}

// program builds a small Go program for an architecture.
func program(t *testing.T, arch string) string {
	t.Helper()
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\nfunc main() { println(\"hello\") }\n"), 0o600))
	ok(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module hello\ngo 1.26\n"), 0o600))
	out := filepath.Join(dir, "hello")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}

// tree makes files; a name that ends in / is a folder, a content -> x is a link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		full := filepath.Join(dir, name)
		ok(t, os.MkdirAll(filepath.Dir(full), 0o755))
		if to, link := strings.CutPrefix(content, "-> "); link {
			ok(t, os.Symlink(to, full))
			continue
		}
		if strings.HasSuffix(name, "/") {
			ok(t, os.MkdirAll(full, 0o700))
			continue
		}
		ok(t, os.WriteFile(full, []byte(content), 0o600))
	}
	return dir
}

// entries lists what a layer holds.
func entries(t *testing.T, r *imagestore.Repo, d v1.Descriptor) (out []string) {
	t.Helper()
	f, _, err := r.OpenBlob(d.Digest)
	ok(t, err)
	defer f.Close()
	for a := tar.NewReader(f); ; {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		ok(t, err)
		if h.ModTime.Unix() != 0 || h.Uid != 7 || h.Gid != 8 || h.Uname != "" {
			t.Errorf("%s: time %v, owner %d:%d %q", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname)
		}
		out = append(out, h.FileInfo().Mode().String()+" "+h.Name+strings.Repeat(" -> ", min(1, len(h.Linkname)))+h.Linkname)
	}
}

func TestPack(t *testing.T) {
	r := repo(t)
	bin := program(t, runtime.GOARCH)
	src := tree(t, map[string]string{"b/two.go": "2", "a.go": "1", "empty/": "", "link": "-> ../../etc/passwd", "run.sh": "x"})
	ok(t, os.Chmod(filepath.Join(src, "run.sh"), 0o700))
	cfg := pack.Config{
		Binary: bin, Layers: []pack.Layer{{Dir: src, Target: "/src/tree"}}, Cmd: []string{"-v"}, Env: []string{"A=b"},
		User: "1000", UID: 7, GID: 8, Labels: map[string]string{"x": "y"},
	}
	m, err := pack.Pack(t.Context(), r, "v1", cfg)
	ok(t, err)
	if d := cmp.Diff([]string{"-rwxr-xr-x hello"}, entries(t, r, m.Layers[0])); d != "" {
		t.Error(d)
	}
	want := []string{
		"drwxr-xr-x src/", "drwxr-xr-x src/tree/", "-rw-r--r-- src/tree/a.go", "drwxr-xr-x src/tree/b/", "-rw-r--r-- src/tree/b/two.go",
		"drwxr-xr-x src/tree/empty/", "Lrwxrwxrwx src/tree/link -> ../../etc/passwd", "-rwxr-xr-x src/tree/run.sh",
	}
	if d := cmp.Diff(want, entries(t, r, m.Layers[1])); d != "" {
		t.Error(d)
	}
	f, _, err := r.OpenBlob(m.Config.Digest)
	ok(t, err)
	defer f.Close()
	conf, err := image.ParseConfig(f)
	ok(t, err)
	wantConf := v1.Config{
		Entrypoint: []string{"/hello"}, Cmd: []string{"-v"}, User: "1000", WorkingDir: "/", Labels: map[string]string{"x": "y"},
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=b"},
	}
	if d := cmp.Diff(wantConf, conf.Config); d != "" {
		t.Error(d)
	}
	if conf.Architecture != runtime.GOARCH || conf.OS != "linux" || len(conf.RootFS.DiffIDs) != 2 || conf.RootFS.DiffIDs[1] != m.Layers[1].Digest {
		t.Errorf("%+v", conf)
	}
}

// TestPackMatch: with a pattern a layer has folders and the regular files that match.
func TestPackMatch(t *testing.T) {
	r := repo(t)
	src := tree(t, map[string]string{"b/two.go": "2", "a.go": "1", "a.md": "x", "link.go": "-> a.go"})
	m, err := pack.Pack(t.Context(), r, "v1", pack.Config{Layers: []pack.Layer{{Dir: src, Target: "/src", Match: "*.go"}}, UID: 7, GID: 8})
	ok(t, err)
	want := []string{"drwxr-xr-x src/", "-rw-r--r-- src/a.go", "drwxr-xr-x src/b/", "-rw-r--r-- src/b/two.go"}
	if d := cmp.Diff(want, entries(t, r, m.Layers[0])); d != "" {
		t.Error(d)
	}
}

// TestPackIsDeterministic: other times, permissions and places make the same image.
func TestPackIsDeterministic(t *testing.T) {
	var digests []v1.Hash
	for i := range 2 {
		dir := tree(t, map[string]string{"b": "2", "a/x": "1", "c": "3"})
		ok(t, os.Chtimes(filepath.Join(dir, "b"), time.Unix(int64(i), 0), time.Unix(int64(i), 0)))
		ok(t, os.Chmod(filepath.Join(dir, "c"), []os.FileMode{0o600, 0o664}[i]))
		m, err := pack.Pack(t.Context(), repo(t), "", pack.Config{Dir: dir, Platform: v1.Platform{OS: "linux", Architecture: "arm64"}})
		ok(t, err)
		digests = append(digests, m.Digest)
	}
	if digests[0] != digests[1] {
		t.Errorf("%s and %s", digests[0], digests[1])
	}
	// Written down, so that a change of the form is seen: it changes every image.
	if want := "sha256:f658f15763f3a03b849620a02b04aa5fbad2f07adda6300a2e93ca9ee30bda3a"; digests[0].String() != want {
		t.Errorf("the digest is %s, want %s", digests[0], want)
	}
}

func TestPackRefuses(t *testing.T) {
	other := map[string]string{"amd64": "arm64"}[runtime.GOARCH]
	if other == "" {
		other = "amd64"
	}
	foreign, own := program(t, other), program(t, runtime.GOARCH)
	dir := tree(t, map[string]string{"script": "#!/bin/sh\n", "app": "x", ".wh.x": "", "sub/ok": "1"})
	white := tree(t, map[string]string{"a/.wh.x": ""})
	for _, tt := range []struct {
		name string
		cfg  pack.Config
		want string
	}{
		{"nothing", pack.Config{}, "give a program or a folder to pack"},
		{"both", pack.Config{Binary: own, Dir: dir}, "give a program or a folder, not both; further folders are layers"},
		{"missing", pack.Config{Binary: filepath.Join(dir, "none")}, "cannot read the program: stat " + dir + "/none: no such file or directory"},
		{"folder", pack.Config{Binary: dir}, dir + " is no file"},
		{"script", pack.Config{Binary: dir + "/script"}, dir + "/script is no Linux program (ELF); for a script pack a folder that holds its interpreter too"},
		{"architecture", pack.Config{Binary: foreign}, foreign + " is for linux/" + other + " and the image is for linux/" + runtime.GOARCH + ": build it for that platform, or give its own"},
		{"platform", pack.Config{Binary: own, Platform: v1.Platform{OS: "plan9", Architecture: "amd64"}}, "images for plan9/amd64 cannot be packed"},
		{"all findings", pack.Config{Dir: dir, Workdir: "x", Env: []string{"=", "b"}, Layers: []pack.Layer{{Dir: dir, Target: "rel", Match: "["}}}, `the working directory "x" is not absolute
the target "rel" of the folder ` + dir + ` is not absolute
"[" is no pattern for the files of the folder ` + dir + `
the environment entry "=" is not NAME=VALUE
the environment entry "b" is not NAME=VALUE`},
		{"entrypoint", pack.Config{Dir: dir, Entrypoint: []string{"/app"}}, "the entrypoint /app cannot be executed: it is no file or has no x permission"},
		{"whiteout", pack.Config{Dir: white}, "cannot pack folder /: cannot keep a blob: a/.wh.x cannot be packed: names that begin with .wh. remove files of lower layers"},
		{"too large", pack.Config{Dir: tree(t, map[string]string{"a": "12345"}), MaxBytes: 4}, "cannot pack folder /: cannot keep a blob: it has more than 4 bytes"},
		{"too many", pack.Config{Dir: tree(t, map[string]string{"a": "1", "b": "2"}), MaxEntries: 1}, "cannot pack folder /: cannot keep a blob: it has more than 1 files"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := pack.Pack(t.Context(), repo(t), "v1", tt.cfg)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestDynamicProgram(t *testing.T) {
	ls, err := exec.LookPath("ls")
	if err != nil {
		t.Fatal(err)
	}
	_, err = pack.Pack(t.Context(), repo(t), "v1", pack.Config{Binary: ls})
	want := " is linked dynamically and needs /lib"
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "build it statically (Go: CGO_ENABLED=0)") {
		t.Errorf("got %v", err)
	}
}
