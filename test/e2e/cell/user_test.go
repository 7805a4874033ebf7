package cell

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/shim/shimtest"
	"howdah.dev/howdah/test/e2e/harness"
)

// nobody is the plain user whose cell it is.
const nobody = 65534

// asUser makes a home that belongs to a plain user, and in which howdah runs as
// that user, without root's search path.
func asUser(t *testing.T, env ...string) *harness.Home {
	t.Helper()
	program, err := os.ReadFile(harness.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "howdah-e2e-user-") //nolint:usetesting // the user must be able to enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// A copy: the folders above the original may be closed to that user.
	wrapper, bin := filepath.Join(dir, "howdah"), filepath.Join(dir, "howdah.bin")
	if err := os.WriteFile(bin, program, 0o755); err != nil { //nolint:gosec // it is to be executed
		t.Fatal(err)
	}
	text := "#!/bin/sh\nexport HOME=" + dir + " TMPDIR=" + dir + " USER=nobody " + strings.Join(env, " ") + "\nexec setpriv --reuid=65534 --regid=65534 --clear-groups -- " + bin + " \"$@\"\n"
	if err := os.WriteFile(wrapper, []byte(text), 0o755); err != nil { //nolint:gosec // it is to be executed
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the user enters it
		t.Fatal(err)
	}
	t.Setenv("HOWDAH_BIN", wrapper)
	h := harness.NewEmpty(t)
	for _, d := range []string{dir, h.Dir} {
		if err := os.Chown(d, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// TestPlainUser: a cell of a plain user runs containers without root, and says what
// is weaker.
func TestPlainUser(t *testing.T) {
	shimtest.NeedRunc(t)
	c := openCell(t, asUser(t, "PATH=/usr/local/bin:/usr/bin:/bin"))
	c.pack("hello:1", "--env", "SHAPE=round")
	a := c.run("/box", `{"args": ["env", "SHAPE", "id", "linger", "100", "listen", "8080", "wait"]}`)
	c.listen(a.Tasks...)
	if got, err := c.get(a.Tasks[0], "/env/PORT0"); err != nil || got == "" {
		t.Errorf("the container answers %q: %v", got, err)
	}
	if got := c.OK("app", "logs", "/box"); got != "round\n0 0 1\nlistening\n" {
		t.Errorf("the log is %q", got)
	}
	if got := c.exec("/box", "env", "SHAPE"); got != "round\n" {
		t.Errorf("exec prints %q", got)
	}
	pids := c.pids()
	pid := pids[a.Tasks[0].ID]
	var st syscall.Stat_t
	if err := syscall.Stat(fmt.Sprintf("/proc/%d", pid), &st); err != nil || st.Uid != nobody {
		t.Errorf("the container's process %d is one of user %d: %v", pid, st.Uid, err)
	}
	harness.Contains(t, "what is said of the workers", c.OK("describe", "cell"), "Weakened", "Runtimes", "runc, plain",
		"all users of a container are the worker's own user: not root", "tasks have no limits here", "limits of memory, processor and processes cannot be set: not root")
	harness.Contains(t, "security", c.OK("security"), "posture  single-user", "  cell: worker on cell-a-1, cell-b-1: tasks have no limits here")
	// A command runs too, as the user.
	c.run("/plain", `{"container": null, "networks": null, "args": null, "cmd": "id -u; exec sleep 1000"}`)
	harness.Within(t, 10*time.Second, "the command has spoken", func() (bool, string) {
		got := c.OK("app", "logs", "/plain")
		return got == "65534\n", got
	})
	c.delete("/v2/apps/box", "/v2/apps/plain")
	c.OK("delete", "cell", "--yes", "--destroy-data", "cell")
	if left := c.pids(); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
}

// TestNoRuntime: where containers cannot be run a cell runs plain commands, and
// says of apps in containers why they wait.
func TestNoRuntime(t *testing.T) {
	h := harness.New(t)
	h.Up(h.Write("cell.yaml", strings.Replace(definition, `runtimes: "runc,plain"`, "runtimes: plain", 1)))
	c := &cell{h, t, h.Cluster("cell").Exports["marathon"], token(h, "default", "admin"), ""}
	harness.Contains(t, "what is said of the workers", c.OK("describe", "cell"), "worker on cell-a-1, cell-b-1: plain")
	c.put("/box", `{}`)
	harness.Within(t, 20*time.Second, "the reason is told", func() (bool, string) {
		text := c.OK("app", "describe", "/box")
		return strings.Count(text, "runs only plain commands, the app needs a container") == 2, text
	})
	c.run("/plain", `{"container": null, "networks": null, "args": null, "cmd": "exec sleep 1000"}`)
	c.delete("/v2/apps/box", "/v2/apps/plain")
}
