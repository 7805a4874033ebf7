package docker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/shim/shimtest"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/cell/worker/container/containertest"
	"howdah.dev/howdah/internal/cell/worker/docker/dockertest"
)

// newBench has a real engine.
func newBench(t *testing.T) (*containertest.Bench, *dockertest.Engine, *Runtime) {
	t.Helper()
	engine := dockertest.Start(t)
	b := &containertest.Bench{T: t, Node: fmt.Sprintf("docker-test-%d", os.Getpid()), Image: dockertest.Image(t), Sampled: true}
	r, err := New(Config{Shims: container.Shims{Program: shimtest.Build(t), Node: b.Node, IP: "127.0.0.1"}, Socket: engine.Socket})
	if err != nil {
		t.Fatal(err)
	}
	b.Runtime = r
	weaker, err := r.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("weaker here: %q", weaker)
	b.Left = engine.Containers
	t.Cleanup(b.CheckClean)
	return b, engine, r
}

// TestRuntime: the behaviour that every runtime has, by a real engine.
func TestRuntime(t *testing.T) {
	b, _, _ := newBench(t)
	containertest.Run(t, func(t *testing.T) *containertest.Bench {
		of := *b
		of.T = t
		t.Cleanup(of.CheckClean)
		return &of
	})
}

// TestEngineRestart: a task lives on while its engine is down, can be ended meanwhile,
// and its end is the true one.
func TestEngineRestart(t *testing.T) {
	b, engine, _ := newBench(t)
	spec, other := b.Spec("echo", "up", "sleep", "8000", "echo", "later", "exit", "7"), b.Spec("trap", "3", "echo", "up", "wait")
	other.ID += "-other"
	r, ended := b.Begin(spec), b.Begin(other)
	b.Until("they run", func() bool { return b.Output(spec) == "up\n" && b.Output(other) == "up\n" })
	started, _ := r.Started()
	engine.Down()
	_ = ended.Kill(spec.Grace)
	first, _ := ended.Started()
	b.Until("one ends without its engine", func() bool { return syscall.Kill(first.PID, 0) != nil })
	engine.Up()
	if exit := b.Wait(ended); exit.ExitCode != 3 || !exit.Killed || exit.Error != "" {
		t.Errorf("ended without its engine: %+v", exit)
	}
	if again, _ := r.Started(); again != started || syscall.Kill(started.PID, 0) != nil {
		t.Errorf("was %+v, is %+v", started, again)
	}
	if exit := b.Wait(r); exit.ExitCode != 7 || exit.Error != "" {
		t.Errorf("exit %+v", exit)
	}
	if out := b.Output(spec); out != "up\nlater\n" {
		t.Errorf("output %q", out)
	}
}

// TestLeftovers: containers of a start that a crash cut short, and those whose state is
// gone, are removed; those of others are not.
func TestLeftovers(t *testing.T) {
	b, engine, r := newBench(t)
	spec := b.Spec("exit", "5")
	image, err := r.load(t.Context(), b.Image)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.create(t.Context(), spec, image); err != nil { // and no shim
		t.Fatal(err)
	}
	stranger, err := New(Config{Shims: container.Shims{Program: r.cfg.Program, Node: "other", IP: "127.0.0.1"}, Socket: engine.Socket})
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Clean(spec.ID); err != nil || len(b.Left()) != 1 {
		t.Errorf("another worker removed it: %v, left %q", err, b.Left())
	}
	if exit := b.Wait(b.Begin(spec)); exit.ExitCode != 5 {
		t.Errorf("exit %+v", exit)
	}
	if left := b.Left(); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	if _, _, err := r.create(t.Context(), spec, image); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Probe(t.Context()); err != nil || len(b.Left()) != 1 {
		t.Errorf("%v; left %q of a task that may still be started", err, b.Left())
	}
	if err := os.RemoveAll(spec.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Probe(t.Context()); err != nil || len(b.Left()) > 0 {
		t.Errorf("%v; left %q", err, b.Left())
	}
	// The same later on: an engine that was down when its task was cleaned up.
	late := b.Spec("wait")
	if _, _, err := r.create(t.Context(), late, image); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(late.Dir); err != nil {
		t.Fatal(err)
	}
	r.tidied = time.Time{}
	if err := r.Clean("another"); err != nil || len(b.Left()) > 0 {
		t.Errorf("%v; left %q", err, b.Left())
	}
}

// TestIdleImages: an image of ours goes when it was not used for long, those of others
// stay.
func TestIdleImages(t *testing.T) {
	b, _, r := newBench(t)
	name, err := r.load(t.Context(), b.Image)
	if err != nil {
		t.Fatal(err)
	}
	const other = "somebody/image:1"
	if _, err := r.api.ImageTag(t.Context(), client.ImageTagOptions{Source: name, Target: other}); err != nil {
		t.Fatal(err)
	}
	there := func(name string) bool {
		_, err := r.api.ImageInspect(t.Context(), name)
		return err == nil
	}
	if err := r.Clean("none"); err != nil || !there(name) {
		t.Errorf("an image of today is gone (%v)", err)
	}
	r.dropIdle(t.Context(), name, 0)
	r.dropIdle(t.Context(), other, 0)
	if there(name) || !there(other) {
		t.Errorf("ours is there: %v; that of others: %v", there(name), there(other))
	}
	if again, err := r.load(t.Context(), b.Image); err != nil || again != name || !there(name) {
		t.Errorf("loaded again: %q, %v", again, err)
	}
}

// TestWritten: what a container writes over its image can be measured.
func TestWritten(t *testing.T) {
	b, _, r := newBench(t)
	spec := b.Spec("write", "/tmp/new", "echo", "up", "wait")
	running := b.Begin(spec)
	b.Until("it runs", func() bool { return strings.HasSuffix(b.Output(spec), "up\n") })
	paths := r.Written(spec.Dir)
	if len(paths) != 1 {
		t.Fatalf("written at %q", paths)
	}
	if _, err := os.Stat(filepath.Join(paths[0], "tmp", "new")); err != nil {
		t.Error(err)
	}
	if stats := running.Stats(); stats.CPU == 0 || stats.Memory == 0 || stats.Pids == 0 {
		t.Errorf("stats %+v", stats)
	}
}

// TestVolumeExchanged: what the engine mounted is looked at before the command runs.
func TestVolumeExchanged(t *testing.T) {
	b, _, _ := newBench(t)
	spec := b.Spec("echo", "ran")
	spec.Volumes = []container.Volume{{ContainerPath: "/data", HostPath: t.TempDir()}}
	image := b.Runtime.(*Runtime)
	name, err := image.load(t.Context(), b.Image)
	if err != nil {
		t.Fatal(err)
	}
	id, volumes, err := image.create(t.Context(), spec, name)
	if err != nil {
		t.Fatal(err)
	}
	volumes[0].Path = t.TempDir() // as if it had been exchanged
	cfg := image.cfg.Config(spec)
	cfg.Engine = &shim.Engine{Socket: image.socket, ID: id, Volumes: volumes}
	r, err := image.cfg.Start(t.Context(), spec.Dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if exit := b.Wait(r); !strings.HasSuffix(exit.Error, "it was exchanged meanwhile") || b.Output(spec) != "" {
		t.Errorf("exit %+v, output %q", exit, b.Output(spec))
	}
}
