package runc

import (
	"fmt"
	"os"
	"testing"

	"howdah.dev/howdah/internal/cell/cgroup"
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
