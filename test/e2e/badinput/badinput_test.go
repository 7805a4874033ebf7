package badinput

import (
	"path/filepath"
	"strings"
	"testing"

	"howdah.dev/howdah/test/e2e/harness"
)

// TestBadInput runs the scripts in testdata, each in a home of its own with an
// empty server of 4,096 MiB.
func TestBadInput(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			h := harness.New(t)
			h.Up("--memory", "4096")
			harness.Script(t, h, file)
			unchanged(t, h)
		})
	}
}

// unchanged says that a home has no cluster, and never began to make one.
func unchanged(t *testing.T, h *harness.Home) {
	t.Helper()
	if out := h.OK("get", "clusters"); out != "no clusters; try: howdah up examples/platform\n" {
		t.Errorf("there are clusters now:\n%s", out)
	}
	if ops := h.Operations(""); len(ops) > 0 {
		t.Errorf("there are operations now: %v", ops)
	}
}
