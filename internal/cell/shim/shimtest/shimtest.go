// Package shimtest builds programs for tests of the cell: the shim, and programs
// that serve as the content of images. It is imported by tests only.
package shimtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Build builds the shim and returns its path.
func Build(t testing.TB) string {
	t.Helper()
	return Program(t, "howdah.dev/howdah/cmd/howdah-shim")
}

// Program builds a static program from a package, or a file of a main package, and
// returns its path, which every user may reach.
func Program(t testing.TB, source string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "howdah-program-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "program")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", source, err, out)
	}
	return path
}
