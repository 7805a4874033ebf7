package runc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/shim/shimtest"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/cell/worker/container/containertest"
)

func newBench(t *testing.T) *containertest.Bench {
	t.Helper()
	shimtest.NeedRunc(t)
	b := &containertest.Bench{T: t, Node: fmt.Sprintf("runc-test-%d", os.Getpid())}
	parent, err := cgroup.Find("/sys/fs/cgroup", "/proc/self/cgroup", b.Node)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(parent.Remove)
	b.Runtime = New(Config{Shims: container.Shims{Program: shimtest.Build(t), Node: b.Node, Parent: &parent, IP: "127.0.0.1"}})
	weaker, err := b.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(weaker) > 0 {
		t.Logf("weaker here: %q", weaker)
	}
	b.Image = &container.Image{Name: "content", Layers: []string{shimtest.Layer(t)}}
	t.Cleanup(b.CheckClean)
	return b
}

func TestRuntime(t *testing.T) { containertest.Run(t, newBench) }

// TestHidden: of the host's devices and drivers a container sees nothing.
func TestHidden(t *testing.T) {
	b := newBench(t)
	if _, out := b.RunOut(b.Spec("ls", "/sys/fs")); out != "cgroup\n" {
		t.Errorf("output %q", out)
	}
}

// TestReadOnlyBelow: what is mounted below a read-only volume is read-only too, and no
// mount of a volume makes programs another user's.
func TestReadOnlyBelow(t *testing.T) {
	b := newBench(t)
	host := t.TempDir()
	sub := filepath.Join(host, "sub")
	if err := errors.Join(os.Chmod(host, 0o777), os.Mkdir(sub, 0o777)); err != nil { //nolint:gosec // others write there
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", sub, "tmpfs", 0, "mode=777"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(sub, syscall.MNT_DETACH) })
	spec := b.Spec("write", "/rw/sub/rw", "write", "/ro/sub/ro", "cat", "/proc/self/mountinfo")
	spec.Volumes = []container.Volume{{ContainerPath: "/ro", HostPath: host, ReadOnly: true}, {ContainerPath: "/rw", HostPath: host}}
	_, out := b.RunOut(spec)
	if _, err := os.Stat(filepath.Join(sub, "rw")); err != nil {
		t.Errorf("the volume that may be written to: %v, %q", err, out)
	}
	if _, err := os.Stat(filepath.Join(sub, "ro")); err == nil {
		t.Errorf("written below a read-only volume: %q", out)
	}
	for _, at := range []string{"/ro/sub ro,nosuid,nodev", "/rw/sub rw,nosuid,nodev"} {
		if !strings.Contains(out, " "+at) {
			t.Errorf("no mount %s in %s", at, out)
		}
	}
}

// TestLogOfExec: commands that cannot be run leave nothing on the disk, however many.
func TestLogOfExec(t *testing.T) {
	b := newBench(t)
	spec := b.Spec("wait")
	running := b.Begin(spec)
	size := func() (all int64) {
		for _, name := range []string{"runc.log", shim.LogFile} {
			if info, err := os.Stat(filepath.Join(spec.Dir, name)); err == nil {
				all += info.Size()
			}
		}
		return all
	}
	before := size()
	for range 5 {
		code, out, err := running.Run(t.Context(), shim.ExecRequest{Argv: []string{"/no/such/program"}}, 1000)
		if err == nil && code == 0 || err == nil && !strings.Contains(string(out), "/no/such/program") {
			t.Errorf("%d %q %v", code, out, err)
		}
	}
	if after := size(); after != before {
		t.Errorf("the logs grew from %d to %d bytes", before, after)
	}
}
