package stack_test

import (
	"strings"
	"testing"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/golden"
	"howdah.dev/howdah/internal/stack"
)

// TestBadStacks loads the stacks of each archive and compares every finding
// with its file "want".
func TestBadStacks(t *testing.T) {
	golden.Each(t, "bad", func(_ *testing.T, a *golden.Archive) string {
		_, ds := stack.LoadCatalog(stack.Layer{Name: "mine", FS: a.FS("want")})
		return listed(ds)
	})
}

// listed writes findings as the command line does: one line, its remedy below.
func listed(ds api.Diagnostics) string {
	var b strings.Builder
	for _, d := range ds {
		b.WriteString(d.String() + "\n")
		if d.Detail != "" {
			b.WriteString("    " + d.Detail + "\n")
		}
	}
	return b.String()
}
