package docker

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/moby/moby/client"

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
	b.Left = func() []string {
		var left []string
		found, err := r.api.ContainerList(context.Background(), client.ContainerListOptions{All: true})
		if err != nil {
			t.Error(err)
		}
		for _, c := range found.Items {
			left = append(left, fmt.Sprintf("container %v", c.Names))
		}
		return left
	}
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
