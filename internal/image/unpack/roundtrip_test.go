package unpack_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/image/pack"
	"howdah.dev/howdah/internal/image/pull"
	"howdah.dev/howdah/internal/image/registry"
	"howdah.dev/howdah/internal/image/unpack"
)

// TestRoundTrip goes the whole way over real HTTP: pack a folder and sources, push
// them to a registry, pull them on another machine, unpack, and run the program.
func TestRoundTrip(t *testing.T) {
	served := store(t)
	srv := httptest.NewServer(registry.New(registry.Config{Store: served, Authorize: func(r *http.Request, repo, _ string) error {
		if user, token, _ := r.BasicAuth(); user != "project" || token != "token" {
			return registry.ErrUnauthenticated
		}
		return nil
	}}))
	defer srv.Close()
	remote := pull.Remote{Credentials: pull.Basic("project", "token"), PlainHTTP: true}
	ref := strings.TrimPrefix(srv.URL, "http://") + "/demo/ingest:v1"

	bin, src := buildProgram(t), t.TempDir()
	ok(t, os.MkdirAll(filepath.Join(src, "net", "http"), 0o755))
	ok(t, os.WriteFile(filepath.Join(src, "net", "http", "a.go"), []byte("package http\n"), 0o600))
	local, err := store(t).Repo("demo/ingest")
	ok(t, err)
	packed, err := pack.Pack(t.Context(), local, "v1", pack.Config{Binary: bin, Layers: []pack.Layer{{Dir: src, Target: "/src"}}})
	ok(t, err)
	_, err = pull.Push(t.Context(), local, "v1", ref, pull.Pushing{Remote: remote})
	ok(t, err)

	machine := store(t)
	pulled, err := pull.New(pull.Config{Store: machine, Log: slog.New(slog.DiscardHandler)}).Pull(t.Context(), ref, pull.Options{Remote: remote, Scope: "demo"})
	ok(t, err)
	if pulled.Manifest.Digest != packed.Digest {
		t.Errorf("got %s, want %s", pulled.Manifest.Digest, packed.Digest)
	}
	u := unpacker(t, unpack.Config{})
	img, err := u.Unpack(t.Context(), machine, pulled.Manifest, "task")
	ok(t, err)
	if d := cmp.Diff([]string{"/hello"}, img.Config.Config.Entrypoint); d != "" {
		t.Error(d)
	}
	want := map[string]string{"src": "drwxr-xr-x", "src/net": "drwxr-xr-x", "src/net/http": "drwxr-xr-x", "src/net/http/a.go": "-rw-r--r-- package http\n"}
	if d := cmp.Diff(want, list(t, img.Layers[1])); d != "" {
		t.Error(d)
	}
	root := filepath.Join(t.TempDir(), "root")
	ok(t, unpack.Merge(t.Context(), img, root, unpack.Merging{}))
	out, err := exec.CommandContext(t.Context(), filepath.Join(root, "hello")).CombinedOutput()
	if err != nil || string(out) != "hello\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func buildProgram(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\nfunc main() { println(\"hello\") }\n"), 0o600))
	ok(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module hello\ngo 1.26\n"), 0o600))
	out := filepath.Join(dir, "hello")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out, ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH, "GOFLAGS=", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}
