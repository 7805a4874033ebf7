package platform

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"howdah.dev/howdah/test/e2e/harness"
)

// clients runs the tests of protocol clients, and of what is made of them, that want
// the real programs to talk to: their packages skip them where nobody says where
// those are.
func clients(t *testing.T, h *harness.Home) {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := filepath.Glob(filepath.Join(h.Dir, "cache", "sets", "*", "examples", "hadoop-mapreduce-examples.jar"))
	if err != nil || len(jobs) == 0 {
		t.Fatalf("the cache holds no jobs of Hadoop: %v", err)
	}
	warehouse, batch := h.Cluster("warehouse").Exports, h.Cluster("batch").Exports
	packages := []string{
		"internal/adapter/webhdfs", "internal/adapter/hdfs", "internal/adapter/yarn",
		"internal/warehouse/gateway", "internal/pipeline", "internal/pipeline/hdfsfiles",
	}
	argv := []string{"test", "-count=1", "-v", "-vet=off", "-run", "^TestReal$"}
	for _, p := range packages {
		argv = append(argv, "./"+p)
	}
	cmd := exec.CommandContext(t.Context(), "go", argv...) //nolint:gosec // the project's own tests
	cmd.Dir = harness.Root(t)
	cmd.Env = append(os.Environ(),
		"HOWDAH_TEST_WEBHDFS="+warehouse["web"], "HOWDAH_TEST_HDFS_USER="+me.Username,
		"HOWDAH_TEST_YARN="+batch["web"], "HOWDAH_TEST_HISTORY="+batch["history"],
		"HOWDAH_TEST_HADOOP="+filepath.Dir(filepath.Dir(jobs[0])),
	)
	out, err := cmd.CombinedOutput()
	if passed := strings.Count(string(out), "--- PASS: TestReal "); err != nil || passed != len(packages) {
		t.Errorf("of %d packages %d passed: %v\n%s", len(packages), passed, err, out)
	}
}
