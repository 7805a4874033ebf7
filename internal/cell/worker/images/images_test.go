package images

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/shim/shimtest"
	"howdah.dev/howdah/internal/cell/worker"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/cell/worker/runc"
	"howdah.dev/howdah/internal/image/archive"
	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/pack"
	"howdah.dev/howdah/internal/image/pull"
	"howdah.dev/howdah/internal/image/registry"
	"howdah.dev/howdah/internal/image/unpack"
)

// newImages is a registry with one image, packed from the content program, and a
// worker's images that know it.
func newImages(t *testing.T) (*Images, string) {
	t.Helper()
	served, err := imagestore.Open(imagestore.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := served.Repo("demo/content")
	if err != nil {
		t.Fatal(err)
	}
	program := shimtest.Program(t, "howdah.dev/howdah/internal/cell/shim/shimtest/content")
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "part"), []byte("of a layer\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = pack.Pack(t.Context(), repo, "1", pack.Config{
		Binary: program, Layers: []pack.Layer{{Dir: data, Target: "/src"}}, Env: []string{"COLOUR=red"}, User: "1000:1000",
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New(registry.Config{Store: served, Authorize: func(r *http.Request, _, _ string) error {
		if user, secret, _ := r.BasicAuth(); user != "node" || secret != "s3cr3t" {
			return registry.ErrUnauthenticated
		}
		return nil
	}}))
	t.Cleanup(server.Close)

	store, err := imagestore.Open(imagestore.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	unpacker, err := unpack.Open(unpack.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	return New(Config{
		Store: store, Puller: pull.New(pull.Config{Store: store}), Unpacker: unpacker, Merged: t.TempDir(),
		Own: Registry{Host: host, PlainHTTP: true, Credentials: func() (pull.Credentials, error) { return pull.Basic("node", "s3cr3t"), nil }},
	}), host
}

// TestRun pulls an image from a registry and runs it: layers, user and environment
// are those that were packed.
func TestRun(t *testing.T) {
	shimtest.NeedRunc(t)
	images, host := newImages(t)
	img, err := images.Prepare(t.Context(), worker.ImageRequest{Name: host + "/demo/content:1", Lease: "one"})
	if err != nil {
		t.Fatal(err)
	}
	parent, err := cgroup.Find("/sys/fs/cgroup", "/proc/self/cgroup", fmt.Sprintf("images-test-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(parent.Remove)
	r := runc.New(runc.Config{Shims: container.Shims{Program: shimtest.Build(t), Node: "images-test", Parent: &parent, IP: "127.0.0.1"}})
	if _, err := r.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	spec := container.Spec{
		ID: "images-test", Dir: filepath.Join(dir, "state"), Sandbox: filepath.Join(dir, "sandbox"), Image: img,
		Argv: []string{"id", "env", "COLOUR", "cat", "/src/part"}, Limits: cgroup.Limits{Memory: 64 << 20, Pids: 100},
	}
	for _, d := range []string{spec.Dir, spec.Sandbox} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	running, err := r.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	exit, err := running.Wait(ctx)
	if err != nil || exit.Error != "" || exit.ExitCode != 0 {
		t.Fatalf("%+v %v", exit, err)
	}
	text, err := os.ReadFile(filepath.Join(spec.Sandbox, "stdout"))
	if want := "1000 1000 1\nred\nof a layer\n"; err != nil || string(text) != want {
		t.Errorf("output %q, %v; want %q", text, err, want)
	}
}

// TestPacked: for an engine an image is left as it is, and held by nothing.
func TestPacked(t *testing.T) {
	images, host := newImages(t)
	img, err := images.Prepare(t.Context(), worker.ImageRequest{Name: host + "/demo/content:1", Packed: true, Lease: "one"})
	if err != nil {
		t.Fatal(err)
	}
	if len(img.Layers) > 0 || img.Config.User != "1000:1000" || !slices.Contains(img.Config.Env, "COLOUR=red") {
		t.Errorf("image %+v", img)
	}
	if leases, err := images.Leases(); err != nil || len(leases) > 0 {
		t.Errorf("leases %q, %v", leases, err)
	}
	var b bytes.Buffer
	if err := img.Archive(t.Context(), "howdah.invalid/image:x", &b); err != nil {
		t.Fatal(err)
	}
	store, err := imagestore.Open(imagestore.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := store.Repo("some/image")
	if err != nil {
		t.Fatal(err)
	}
	got, err := archive.Import(t.Context(), repo, "1", &b, archive.Options{})
	if err != nil || got.Name != "howdah.invalid/image:x" {
		t.Errorf("%+v, %v", got, err)
	}
	if digest, err := repo.Resolve("1"); err != nil || digest.String() != img.Digest {
		t.Errorf("the archive holds %s, %v; the image is %s", digest, err, img.Digest)
	}
}

func TestPrepare(t *testing.T) {
	images, host := newImages(t)
	login := `{"auths":{"` + host + `":{"auth":"c29tZWJvZHk6ZWxzZQ=="}}}`
	tests := []struct {
		name    string
		request worker.ImageRequest
		want    string // in the error
	}{
		{"not there", worker.ImageRequest{Name: host + "/demo/other:1"}, "cannot pull " + host + "/demo/other:1: "},
		{"login of the task", worker.ImageRequest{Name: host + "/demo/content:1", DockerConfig: []byte(login)}, "cannot pull " + host + "/demo/content:1: "},
		{"unreadable login", worker.ImageRequest{Name: host + "/demo/content:1", DockerConfig: []byte("{")}, "the task's registry logins cannot be read"},
		{"bad name", worker.ImageRequest{Name: "UPPER CASE"}, "UPPER CASE"},
		{"there", worker.ImageRequest{Name: host + "/demo/content:1"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.request.Lease = "lease"
			_, err := images.Prepare(t.Context(), tt.request)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("a secret in %v", err)
			}
		})
	}
	if leases, err := images.Leases(); err != nil || len(leases) != 1 || leases[0] != "lease" {
		t.Errorf("leases %v, %v", leases, err)
	}
	if err := images.Release("lease"); err != nil {
		t.Error(err)
	}
	if leases, _ := images.Leases(); len(leases) != 0 {
		t.Errorf("leases %v", leases)
	}
}
