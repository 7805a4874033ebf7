package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/node/proc"
)

// Reboot ends everything of the home and makes what its agents wrote down of
// their processes look as it does after a reboot: it is of another boot, and
// its numbers and start times are now those of a process that has nothing to do
// with Howdah. That process is returned; it ends with the test.
func (h *Home) Reboot() (stranger int) {
	h.t.Helper()
	stranger = sleeper(h.t)
	h.KillAll()
	start := startOf(h.t, stranger)
	files, err := filepath.Glob(filepath.Join(h.Dir, "nodes", "*", "*", "agent", "services", "*.json"))
	if err != nil || len(files) == 0 {
		h.t.Fatalf("no agent has written down a service: %v", err)
	}
	boot, err := proc.BootID()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range files {
		h.rewrite(f, func(rec map[string]any) {
			p, ok := rec["process"].(map[string]any)
			if !ok || p["bootID"] != boot || p["startTicks"] == nil || p["pid"] == nil {
				h.t.Fatalf("%s does not hold a process of this boot: %v", f, rec)
			}
			p["bootID"], p["pid"], p["startTicks"] = "00000000-0000-4000-8000-000000000000", stranger, start
		})
	}
	return stranger
}

// rewrite changes a JSON document of the home.
func (h *Home) rewrite(path string, change func(map[string]any)) {
	h.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	var doc map[string]any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		h.t.Fatalf("%s: %v", path, err)
	}
	change(doc)
	if data, err = json.Marshal(doc); err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// sleeper starts a process of the test's own that does nothing.
func sleeper(t testing.TB) int {
	t.Helper()
	cmd := exec.Command("sleep", "3600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// startOf is when a process began, in the kernel's ticks since the boot.
func startOf(t testing.TB, pid int) json.Number {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	f := strings.Fields(rest)
	if len(f) < 20 {
		t.Fatalf("pid %d has the state %q", pid, data)
	}
	return json.Number(f[19])
}
