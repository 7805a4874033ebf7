package plain

import (
	"slices"
	"testing"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/worker/container"
)

// TestWeaker: without control groups some processes outlive a shim that is killed.
func TestWeaker(t *testing.T) {
	const sentence = "what a command starts without its environment outlives it if its shim is killed: there are no control groups to find it by"
	for _, tt := range []struct {
		name   string
		parent *cgroup.Parent
		want   bool
	}{{"none", nil, true}, {"some", &cgroup.Parent{}, false}} {
		weaker, err := New(Config{Shims: container.Shims{Parent: tt.parent}}).Probe(t.Context())
		if err != nil || slices.Contains(weaker, sentence) != tt.want {
			t.Errorf("%s: %q, %v", tt.name, weaker, err)
		}
	}
}
