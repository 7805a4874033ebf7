package cell

import (
	"path/filepath"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/cell/worker/docker/dockertest"
	"howdah.dev/howdah/test/e2e/harness"
)

// TestDocker is a cell whose workers run containers by a Docker engine. It needs
// HOWDAH_DOCKER=1, and dockerd.
func TestDocker(t *testing.T) {
	engine := dockertest.Start(t)
	h := harness.New(t)
	h.Up(h.Write("cell.yaml", strings.Replace(definition, `runtimes: "runc,plain"`, "docker.socket: "+engine.Socket, 1)))
	c := &cell{h, t, h.Cluster("cell").Exports["marathon"], token(h, "default", "admin"), filepath.Dir(engine.Socket)}
	harness.Contains(t, "what is said of the workers", c.OK("describe", "cell"), "docker, runc, plain", "root of a container is root of the host")
	src := c.Write("layer/part.txt", "of a layer\n")
	c.pack("hello:1", "--layer", strings.TrimSuffix(src, "/part.txt")+":/src", "--env", "COLOUR=blue", "--env", "SHAPE=round")
	for _, s := range []struct {
		name string
		run  func(*cell)
	}{
		{"container", container},
		{"follow", follow},
		{"reasons", reasons},
		{"upgrade", upgrade},
		{"images that cannot be", badImages},
		{"by the engine", func(c *cell) {
			c.run("/steady", `{"instances": 3}`)
			c.run("/shell", `{"container": null, "networks": null, "args": null, "cmd": "exec sleep 10000"}`)
			if n := len(engine.Containers()); n != 3 {
				c.t.Errorf("the engine has %d containers, not 3", n)
			}
		}},
		{"workers", killWorkers},
		{"task's end while its worker is away", endUnseen},
		{"all programs", killPrograms},
		{"everything", killEverything},
		{"down and up", downUp},
	} {
		t.Run(s.name, func(t *testing.T) { s.run(c.with(t)) })
	}
	c.OK("delete", "cell", "--yes", "--destroy-data", "cell")
	if left := engine.Containers(); len(left) > 0 {
		t.Errorf("left in the engine: %q", left)
	}
}
