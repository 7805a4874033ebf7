package stack_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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

// TestNoRegularFile: a pipe in place of a file is refused, not waited for.
func TestNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "pipe"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe", "stack.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, ds := stack.LoadCatalog(stack.Layer{Name: "mine", FS: os.DirFS(dir)})
	if got := listed(ds); !strings.Contains(got, "it is no regular file") {
		t.Errorf("findings %q", got)
	}
}
