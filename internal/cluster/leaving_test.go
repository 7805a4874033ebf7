package cluster_test

import (
	"path"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/agentapi"
)

// TestLeaving: files name a node that leaves while it is there, and no longer;
// no further change of the cluster is needed.
func TestLeaving(t *testing.T) {
	c := start(t)
	c.apply(store1)
	c.ready("store")
	c.apply(store1 + "nodeGroups: [{name: head, roles: [head], instanceNum: 1}, {name: worker, roles: [worker], instanceNum: 1}]\n")
	want := []string{"", "store-worker-2\n", ""}
	var got []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if got = c.contents("store-head-1", "leaving"); slices.Equal(got, want) {
			return
		}
	}
	t.Errorf("the file had (-want +got):\n%s", cmp.Diff(want, got))
}

// contents lists what a file of a node's first service has had, one after another.
func (c *cloud) contents(node, file string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, as := range c.taken[node] {
		i := slices.IndexFunc(as.Services[0].Files, func(f agentapi.File) bool { return path.Base(f.Path) == file })
		if i < 0 {
			continue
		}
		if now := as.Services[0].Files[i].Content; len(out) == 0 || out[len(out)-1] != now {
			out = append(out, now)
		}
	}
	return out
}
