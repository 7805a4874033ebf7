// Package dockertest starts a Docker engine of its own for tests. It is imported by
// tests only.
package dockertest

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/moby/moby/client"

	"howdah.dev/howdah/internal/cell/shim/shimtest"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/image/archive"
	"howdah.dev/howdah/internal/image/imagestore"
)

// Engine is a Docker engine in a network namespace of its own.
type Engine struct {
	Socket string

	t       testing.TB
	dir     string
	program *exec.Cmd
}

// Start starts an engine that ends with the test. It skips the test unless
// HOWDAH_DOCKER=1; then it fails where there is no engine to start.
func Start(t testing.TB) *Engine {
	t.Helper()
	if os.Getenv("HOWDAH_DOCKER") != "1" {
		t.Skip("HOWDAH_DOCKER=1 runs it: make test-docker")
	}
	if os.Geteuid() != 0 {
		t.Fatal("a Docker engine is started by root only: run the test as root")
	}
	dir, err := os.MkdirTemp("", "howdah-docker-") //nolint:usetesting // a short path: it is that of sockets
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{t: t, dir: dir, Socket: filepath.Join(dir, "docker.sock")}
	t.Cleanup(e.remove)
	e.Up()
	return e
}

// startTime is how long an engine may take to answer, or to end.
const startTime = 60 * time.Second

// Up starts the engine, which is down.
func (e *Engine) Up() {
	e.t.Helper()
	program, err := exec.LookPath("dockerd")
	if err != nil {
		e.t.Fatal("dockerd is missing: install it (apt-get install --no-install-recommends docker.io), or do not set HOWDAH_DOCKER")
	}
	log, err := os.OpenFile(filepath.Join(e.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		e.t.Fatal(err)
	}
	defer log.Close()
	_ = os.Remove(e.Socket)
	// Containers live on while it is down. Nothing of the host's network is touched.
	e.program = exec.Command(program, "--host", "unix://"+e.Socket, "--data-root", e.dir+"/data", "--exec-root", e.dir+"/exec",
		"--pidfile", e.dir+"/pid", "--bridge", "none", "--iptables=false", "--ip6tables=false", "--live-restore",
		"--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", "/"+filepath.Base(e.dir))
	e.program.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	e.program.Stdout, e.program.Stderr = log, log
	if err := e.program.Start(); err != nil {
		e.t.Fatalf("cannot start %s: %v", program, err)
	}
	for end := time.Now().Add(startTime); ; time.Sleep(50 * time.Millisecond) {
		if conn, err := net.Dial("unix", e.Socket); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			e.t.Fatalf("no Docker engine in %s:\n%s", startTime, e.log())
		}
	}
}

func (e *Engine) log() string {
	text, _ := os.ReadFile(filepath.Join(e.dir, "log"))
	return string(text[max(0, len(text)-4000):])
}

// Down ends the engine; containers live on.
func (e *Engine) Down() {
	if e.program == nil {
		return
	}
	ended := make(chan struct{})
	_ = e.program.Process.Signal(syscall.SIGTERM)
	go func() {
		defer close(ended)
		_ = e.program.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(startTime):
		e.t.Errorf("the Docker engine does not end:\n%s", e.log())
		_ = e.program.Process.Kill()
		<-ended
	}
	e.program = nil
}

// remove ends the engine and removes what it left: its mounts, groups and files.
func (e *Engine) remove() {
	e.Down()
	for _, pid := range e.left() {
		e.t.Errorf("left process %d of the Docker engine", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], e.dir+"/") {
			_ = syscall.Unmount(f[4], syscall.MNT_DETACH)
		}
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == filepath.Base(e.dir) {
			if err := syscall.Rmdir(path); err != nil {
				e.t.Errorf("left control group %s: %v", path, err)
			}
			return filepath.SkipDir
		}
		return nil
	})
	if err := os.RemoveAll(e.dir); err != nil {
		e.t.Error(err)
	}
}

// Containers are the names of all there are, running or not.
func (e *Engine) Containers() []string {
	e.t.Helper()
	api, err := client.New(client.WithHost("unix://" + e.Socket))
	if err != nil {
		e.t.Fatal(err)
	}
	defer api.Close()
	found, err := api.ContainerList(context.Background(), client.ContainerListOptions{All: true})
	if err != nil {
		e.t.Fatal(err)
	}
	var names []string
	for _, c := range found.Items {
		names = append(names, strings.Join(c.Names, " "))
	}
	return names
}

// left are processes that name the engine's folder: its own, and those that stand
// between it and containers.
func (e *Engine) left() []int {
	var pids []int
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		text, _ := os.ReadFile(file)
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && bytes.Contains(text, []byte(e.dir+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Image is the content image, packed as a worker packs it.
func Image(t testing.TB) *container.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layer(t))
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.ConfigFile(img, configOf(t, img)); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("content:1")
	if err != nil {
		t.Fatal(err)
	}
	var saved bytes.Buffer
	if err := tarball.Write(tag, img, &saved); err != nil {
		t.Fatal(err)
	}
	store, err := imagestore.Open(imagestore.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := store.Repo("test/content")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Import(t.Context(), repo, "1", &saved, archive.Options{}); err != nil {
		t.Fatal(err)
	}
	digest, err := repo.Resolve("1")
	if err != nil {
		t.Fatal(err)
	}
	return &container.Image{Name: "content", Digest: digest.String(), Archive: func(ctx context.Context, name string, w io.Writer) error {
		return archive.Export(ctx, repo, "1", w, archive.Exporting{Name: name})
	}}
}

func configOf(t testing.TB, img v1.Image) *v1.ConfigFile {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	return config
}

// layer is shimtest.Layer as a layer of an image, all its files root's.
func layer(t testing.TB) v1.Layer {
	t.Helper()
	dir := shimtest.Layer(t)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}
