package simulation

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v3"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/cluster/simtest"
	"howdah.dev/howdah/internal/infra/sim"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/stacks"
)

// example returns the example platform's definition of a cluster with other
// numbers of workers and values of a file.
func example(t *testing.T, name string, more int, configuration map[string]any) string {
	t.Helper()
	data, err := os.ReadFile("../../examples/platform/platform.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Clusters []map[string]any }
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, c := range file.Clusters {
		if c["name"] != name {
			continue
		}
		for _, g := range c["nodeGroups"].([]any) {
			if g := g.(map[string]any); g["name"] == "worker" {
				g["instanceNum"] = g["instanceNum"].(int) + more
			}
		}
		if configuration != nil {
			c["configuration"] = configuration
		}
		out, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	t.Fatalf("the example platform has no %s", name)
	return ""
}

// pretend has every artifact of some stacks in a cache, without what is in them:
// the cache looks at sizes, and simulated agents start nothing.
func pretend(t *testing.T, dir string, names ...string) {
	t.Helper()
	c, ds := stack.LoadCatalog(stack.Layer{Name: "stacks", FS: stacks.FS})
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		s, _ := c.Get(name)
		for _, l := range s.Locks() {
			for _, b := range l.Blobs() {
				file := filepath.Join(dir, "blobs", b.SHA256)
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600), os.Truncate(file, b.Size)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.MkdirAll(artifact.SetRoot(dir, l.ID()), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// crasher dies once at each point it comes to, of those that are meant.
type crasher struct {
	*lab
	armed bool
	of    uint32 // every so many points
	met   map[string]bool
	died  int
}

func (c *crasher) next(parked []string) choice {
	for i, label := range parked {
		_, agent := strings.CutPrefix(label, "report:")
		if !c.armed || agent || label == "look" || c.met[label] || strings.Contains(label, "inventory") || strings.HasPrefix(label, "answer:ask") {
			continue
		}
		c.met[label] = true
		h := fnv.New32a()
		fmt.Fprint(h, label)
		if h.Sum32()%c.of == 0 {
			c.died++
			return choice{next: i, crash: true, down: time.Second}
		}
	}
	return choice{}
}

// do has a user ask for something and waits until it is done, however many
// servers that takes.
func (c *crasher) do(what string, ask func(context.Context) (*api.Operation, error)) {
	c.t.Helper()
	armed := c.armed
	c.armed = false
	var id int64
	answered := c.ask("ask "+what, func(ctx context.Context) (string, error) {
		o, err := ask(ctx)
		if o != nil {
			id = o.ID
		}
		return told(o, err)
	})
	c.armed = armed
	over := false
	done := c.run(time.Now().Add(patience), func() bool {
		if over = over || answered(); !over || id == 0 {
			return over && id == 0
		}
		o, err := c.Manager.Operation(context.Background(), id)
		return err == nil && (o.State.Final() || o.State == api.OperationFailed)
	})
	if id == 0 || !done {
		c.t.Fatalf("%s: %s; %s\n%s", what, c.said, c.stuck(), c.last())
	}
	if o, err := c.Manager.Operation(context.Background(), id); err != nil || o.State != api.OperationDone {
		c.t.Fatalf("%s is %s: %s %v\n%s", what, o.State, o.Reason, err, c.last())
	}
}

func (c *crasher) define(what, text string) {
	c.t.Helper()
	c.do(what, func(ctx context.Context) (*api.Operation, error) {
		ops, err := c.Apply(ctx, text)
		if err != nil || len(ops) == 0 {
			return nil, err
		}
		return &ops[0], nil
	})
}

// TestCrashPoints ends the server before and after every commit of the engine,
// every attempt at a step and every driver call, of all that happens in the life
// of each example cluster; the next server goes on, and dies at the next point.
// SIM_CRASH=n takes one point of n: 1 takes all, a plain test one of six.
func TestCrashPoints(t *testing.T) {
	for _, tt := range []struct {
		name          string
		stacks        []string
		configuration map[string]any
	}{
		{"warehouse", []string{"hdfs"}, map[string]any{"hadoop": map[string]any{"hdfs-site.xml": map[string]any{"dfs.namenode.handler.count": 12}}}},
		{"batch", []string{"hdfs", "yarn"}, map[string]any{"yarn": map[string]any{"yarn-site.xml": map[string]any{"yarn.scheduler.maximum-allocation-mb": 2048}}}},
		{"stream", []string{"hdfs", "storm"}, map[string]any{"storm": map[string]any{"storm.yaml": map[string]any{"topology.message.timeout.secs": 40}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				dir := newDir(t)
				pretend(t, filepath.Join(dir, "artifacts"), tt.stacks...)
				c := &crasher{of: uint32(number(t, "SIM_CRASH", 6)), met: map[string]bool{}} //nolint:gosec // small
				c.lab = newLab(t, simtest.Config{
					Dir: dir, Layers: []stack.Layer{{Name: "stacks", FS: stacks.FS}},
					Sim: sim.Config{MemoryMB: 1 << 20, Latency: map[sim.Call]time.Duration{sim.CallCreate: 2 * time.Second, sim.CallDelete: time.Second}, Agents: sim.Agents{Boot: time.Second, Start: map[string]time.Duration{"": time.Second}}},
				})
				defer c.close()
				c.choose = c.next
				if tt.name != "warehouse" {
					c.define("create warehouse", example(t, "warehouse", 0, nil))
				}
				c.armed = true
				c.define("create", example(t, tt.name, 0, nil))
				c.define("more", example(t, tt.name, 1, nil))
				c.define("fewer", example(t, tt.name, 0, nil))
				c.define("reconfigure", example(t, tt.name, 0, tt.configuration))
				c.checkNodes(true)
				c.do("delete", func(ctx context.Context) (*api.Operation, error) { return c.Manager.Delete(ctx, tt.name, tt.name) })
				c.checkNodes(true)
				for _, w := range sim.Twice(c.Cloud.Effects()) {
					c.wrong("%s", w)
				}
				for _, b := range c.broken {
					t.Error(b)
				}
				if t.Failed() {
					t.Log(c.last())
				}
				t.Logf("%s: %d points, died at %d of them, each machine made and removed once", tt.name, len(c.met), c.died)
			})
		})
	}
}
