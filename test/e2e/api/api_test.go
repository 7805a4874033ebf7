package api

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

// checks are what every answer must pass: no failure of the server, nothing the
// document does not declare, nothing that differs from its schema.
const checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method"

// left out are what ends the server or the run: a stream has no end.
var leftOut = []string{"shutdown", "events"}

// TestOpenAPI has schemathesis make requests of every operation in the document, good
// and bad ones, against a server with one cluster.
func TestOpenAPI(t *testing.T) {
	h := harness.New(t)
	h.Up("--stacks", h.IdleStacks())
	h.Apply("idle", "name: idle\nstack: idle\n")
	h.Ready(10*time.Second, "idle")
	address := h.Address()
	token, err := os.ReadFile(filepath.Join(h.Dir, "run", "token"))
	if err != nil {
		t.Fatal(err)
	}
	server := info(t, address, string(token)).PID
	config := filepath.Join(t.TempDir(), "schemathesis.toml")
	if err := os.WriteFile(config, []byte("[parameters]\n\"path.name\" = \"idle\"\n\"path.id\" = [1, 2, 3]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--config-file", config, "run", address + "/openapi.json", "--header", "Authorization: Bearer " + string(token),
		"--phases", "examples,coverage,fuzzing", "--generation-deterministic", "--max-examples", "10", "--checks", checks,
		"--request-timeout", "20", "--no-color",
	}
	for _, id := range leftOut {
		args = append(args, "--exclude-operation-id", id)
	}
	cmd := exec.Command(filepath.Join(harness.Root(t), "scripts", "schemathesis"), args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	text := strings.ReplaceAll(string(out), string(token), "[token]")
	if err != nil {
		t.Fatalf("schemathesis: %v\n%s", err, text)
	}
	made := regexp.MustCompile(`(\d+) generated`).FindStringSubmatch(text)
	tested := regexp.MustCompile(`Tested: (\d+)`).FindStringSubmatch(text)
	if made == nil || tested == nil {
		t.Fatalf("schemathesis does not say what it did:\n%s", text)
	}
	t.Logf("%s requests of %s operations", made[1], tested[1])
	if n, _ := strconv.Atoi(tested[1]); n < 40 {
		t.Errorf("only %d operations were tested:\n%s", n, text)
	}
	if again := info(t, address, string(token)).PID; again != server {
		t.Errorf("the server is another: process %d, it was %d", again, server)
	}
}

// info asks a server what it is.
func info(t *testing.T, address, token string) (i api.Info) {
	t.Helper()
	code, body := harness.Ask(t, http.MethodGet, address+"/v1/info", token, "")
	if err := json.Unmarshal([]byte(body), &i); code != http.StatusOK || err != nil {
		t.Fatalf("%d %s: %v", code, body, err)
	}
	return i
}
