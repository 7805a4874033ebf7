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
	dir, err := os.MkdirTemp("", "howdah-program-") //nolint:usetesting // other users must get in
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

// Layer makes a folder that serves as the only layer of an image: the content
// program as /bin/sh and /bin/content, and a small /etc.
func Layer(t testing.TB) string {
	t.Helper()
	program := Program(t, "howdah.dev/howdah/internal/cell/shim/shimtest/content")
	layer := filepath.Join(filepath.Dir(program), "layer")
	for _, dir := range []string{"bin", "etc", "tmp", "root", "data"} {
		if err := os.MkdirAll(filepath.Join(layer, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sh", "content"} {
		if err := os.Link(program, filepath.Join(layer, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{
		"etc/passwd":   "root:x:0:0::/root:/bin/sh\napp:x:1234:567::/:/bin/sh\n",
		"etc/group":    "root:x:0:\nstaff:x:50:\n",
		"root/private": "of root\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(layer, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(layer, "tmp"), 0o1777); err != nil {
		t.Fatal(err)
	}
	return layer
}

// NeedRunc fails the test where containers cannot be run as the tests want them.
// HOWDAH_NO_RUNC=1 skips it: for machines where that is known and accepted.
func NeedRunc(t testing.TB) {
	t.Helper()
	if os.Getenv("HOWDAH_NO_RUNC") == "1" {
		t.Skip("HOWDAH_NO_RUNC=1")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Fatal("runc is missing: install it (apt-get install runc), or set HOWDAH_NO_RUNC=1")
	}
	if os.Geteuid() != 0 {
		t.Fatal("these tests need root: run them as root, or set HOWDAH_NO_RUNC=1")
	}
}
