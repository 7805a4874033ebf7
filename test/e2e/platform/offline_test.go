package platform

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"howdah.dev/howdah/test/e2e/harness"
)

// TestOffline carries everything clusters run to a home of its own in one file, and
// brings the whole platform up there: with no Maven, no local repository, and in a
// network namespace that has nothing but loopback.
func TestOffline(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes network namespaces that start without a network")
	}
	bundle := filepath.Join(t.TempDir(), "bundle.tar")
	with := harness.New(t)
	with.OK("artifact", "export", bundle, "-f", "examples/platform/platform.yaml")

	h := harness.NewEmpty(t)
	user := t.TempDir()
	h.Env = []string{"HOME=" + user, "PATH=" + pathWithout(t, "mvn"), "MAVEN_OPTS=-Duser.home=" + user}
	if r := h.Run("artifact", "import", bundle); r.Code != 0 || !strings.HasSuffix(r.Stderr, " files are new here\n") || strings.HasPrefix(r.Stderr, "0 ") {
		t.Fatalf("import: %d %s%s", r.Code, r.Stdout, r.Stderr)
	}
	up := h.Command("up", "examples/platform", "--pipeline")
	inside := exec.Command("unshare", append([]string{"--net", "sh", "-c", `ip link set lo up && test "$(ip -o link | wc -l)" = 1 && exec "$@"`, "sh"}, up.Args...)...)
	inside.Dir, inside.Env = up.Dir, up.Env
	var said bytes.Buffer
	inside.Stdout, inside.Stderr = &said, &said
	if err := inside.Run(); err != nil {
		t.Fatalf("howdah up without a network: %v\n%s", err, said.String())
	}
	for _, c := range []string{"warehouse", "batch", "stream", "cell"} {
		if got := h.Cluster(c).State; got != "ready" {
			t.Errorf("%s is %s", c, got)
		}
	}
	harness.Contains(t, "what up says", said.String(), "prerequisites", "verified")
	if strings.Contains(said.String(), "mvn") {
		t.Errorf("up speaks of Maven:\n%s", said.String())
	}

	// Everything in the bill of materials is what runs here.
	var bom struct {
		Components []struct {
			Type, Name string
			Ref        string `json:"bom-ref"`
		}
	}
	if err := json.Unmarshal([]byte(h.OK("artifact", "sbom", "-f", "examples/platform/platform.yaml")), &bom); err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, c := range bom.Components {
		sum, ok := strings.CutPrefix(c.Ref, "sha256:")
		if !ok {
			continue
		}
		files++
		if _, err := os.Stat(filepath.Join(h.Dir, "cache", "blobs", sum)); err != nil {
			t.Errorf("%s is in the bill of materials and not here: %v", c.Name, err)
		}
	}
	if files < 100 {
		t.Errorf("the bill of materials names %d files", files)
	}
}

// pathWithout makes a folder of links to all programs but one, and returns it.
func pathWithout(t *testing.T, program string) string {
	t.Helper()
	dir := t.TempDir()
	for _, from := range filepath.SplitList(os.Getenv("PATH")) {
		entries, err := os.ReadDir(from)
		if err != nil {
			continue // a PATH may name folders that are not there
		}
		for _, e := range entries {
			if e.Name() != program {
				_ = os.Symlink(filepath.Join(from, e.Name()), filepath.Join(dir, e.Name())) // the first of a name counts
			}
		}
	}
	return dir
}
