package process

import (
	"path/filepath"
	"testing"

	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/cell/worker/docker"
)

// TestUnusable: a worker that can run nothing says why.
func TestUnusable(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	r, err := docker.New(docker.Config{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	want := "none of the runtimes can be used here: docker: "
	if _, err := r.Probe(t.Context()); err == nil {
		t.Fatal("it can be used")
	} else {
		want += err.Error()
	}
	if err := unusable(t.Context(), []container.Runtime{r}); err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
