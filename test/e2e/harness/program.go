package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Use makes further commands run another program.
func (h *Home) Use(program string) { h.bin = program }

// Made builds the program under test with a version of its own, into a file.
func Made(t testing.TB, version, to string) string {
	t.Helper()
	Binary(t) // what it carries is built with it
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-X howdah.dev/howdah/internal/cli.Version="+version, "-o", to, "./cmd/howdah")
	cmd.Dir, cmd.Env = Root(t), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build howdah %s: %v\n%s", version, err, out)
	}
	return to
}

// Place puts a copy of a program where another may be, as an installer does: by
// rename, whoever runs the former one.
func Place(t testing.TB, from, at string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Join(filepath.Dir(at), ".new"), data, 0o755)
	}
	if err == nil {
		err = os.Rename(filepath.Join(filepath.Dir(at), ".new"), at)
	}
	if err != nil {
		t.Fatal(err)
	}
}
