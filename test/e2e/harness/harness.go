// Package harness runs the built howdah for the scenarios beside it: a home of
// its own for each test, commands with their output and exit code, waiting
// with a sentence, processes found by their labels, and an end that leaves
// nothing running. It owns no scenario, and imports of Howdah only the public
// types and what reads the kernel's tables.
//
// Environment: HOWDAH_BIN, the program to test, built once where absent;
// E2E_PATIENCE, a factor for every wait, 3 where absent; E2E_UPDATE=1, to write
// the texts that scripts compare with anew.
package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"howdah.dev/howdah/internal/node/proc"
)

// commandPatience is how long one command may take.
const commandPatience = 10 * time.Minute

// Home is one installation, removed with all its processes when the test ends.
type Home struct {
	t   testing.TB
	Dir string   // HOWDAH_HOME
	Env []string // put before every command's environment; the last value of a name counts
	bin string
}

// Result is what a command did.
type Result struct {
	Stdout, Stderr string
	Code           int
	Took           time.Duration
}

// New makes a home that shares its artifact cache with other tests, so that
// nothing is fetched or unpacked twice.
func New(t testing.TB) *Home {
	t.Helper()
	h := NewEmpty(t)
	cache := filepath.Join(Root(t), ".cache", "e2e", "cache")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(cache, filepath.Join(h.Dir, "cache")); err != nil {
		t.Fatal(err)
	}
	return h
}

// NewEmpty makes a home with nothing in it, not even a cache.
func NewEmpty(t testing.TB) *Home {
	t.Helper()
	dir, err := os.MkdirTemp("", "howdah-e2e-") //nolint:usetesting // the path of a unix socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	h := &Home{t: t, Dir: dir, bin: Binary(t)}
	began := time.Now()
	t.Cleanup(func() {
		if t.Failed() {
			h.tell()
		}
		h.remove()
		os.RemoveAll(h.Dir + "-files")
		t.Logf("%s took %.1f s", t.Name(), time.Since(began).Seconds())
	})
	return h
}

// For is the home for a subtest: what goes wrong is that one's.
func (h *Home) For(t testing.TB) *Home {
	in := *h
	in.t = t
	return &in
}

// Root is the root of the repository.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	t.Fatal("the tests run outside the repository")
	return ""
}

var build sync.Once //nolint:gochecknoglobals // once a test program

// Binary is the program under test.
func Binary(t testing.TB) string {
	t.Helper()
	if b := os.Getenv("HOWDAH_BIN"); b != "" {
		return b
	}
	b := filepath.Join(Root(t), "bin", "howdah")
	build.Do(func() {
		for _, out := range []string{
			"internal/cell/shim/bin/embedded/howdah-shim ./cmd/howdah-shim", // first: howdah carries it
			"bin/howdah ./cmd/howdah", "bin/net-lines ./examples/platform/pipeline/net-lines", "bin/ingest ./examples/apps/ingest",
		} {
			name, pkg, _ := strings.Cut(out, " ")
			cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(Root(t), name), pkg)
			cmd.Dir, cmd.Env = Root(t), append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("cannot build %s: %v\n%s", name, err, out)
			}
		}
	})
	return b
}

// Command makes a command of the home that has not begun yet.
func (h *Home) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(h.bin, args...) //nolint:gosec // the program under test
	cmd.Dir = Root(h.t)
	cmd.Env = append(append(os.Environ(), "HOWDAH_HOME="+h.Dir, "HOWDAH_INSTALL=0", "NO_COLOR=1"), h.Env...)
	return cmd
}

// Run runs a command to its end.
func (h *Home) Run(args ...string) Result {
	h.t.Helper()
	return h.RunInput("", args...)
}

// RunInput is Run with standard input.
func (h *Home) RunInput(input string, args ...string) Result {
	h.t.Helper()
	cmd := h.Command(args...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 5 * time.Second
	began := time.Now()
	if err := cmd.Start(); err != nil {
		h.t.Fatalf("cannot run howdah %s: %v", strings.Join(args, " "), err)
	}
	stop := time.AfterFunc(commandPatience, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !stop.Stop() {
		h.t.Errorf("howdah %s took longer than %s and was killed", strings.Join(args, " "), commandPatience)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatalf("howdah %s: %v", strings.Join(args, " "), err)
	}
	return Result{Stdout: out.String(), Stderr: errs.String(), Code: cmd.ProcessState.ExitCode(), Took: time.Since(began)}
}

// OK runs a command that must succeed and returns its standard output.
func (h *Home) OK(args ...string) string {
	h.t.Helper()
	return h.OKInput("", args...)
}

// OKInput is OK with standard input.
func (h *Home) OKInput(input string, args ...string) string {
	h.t.Helper()
	r := h.RunInput(input, args...)
	if r.Code != 0 {
		h.t.Fatalf("howdah %s: exit code %d\nstdout:\n%s\nstderr:\n%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// Fails runs a command that must end with the code and returns what it did.
func (h *Home) Fails(code int, args ...string) Result {
	h.t.Helper()
	r := h.Run(args...)
	if r.Code != code {
		h.t.Fatalf("howdah %s: exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", strings.Join(args, " "), r.Code, code, r.Stdout, r.Stderr)
	}
	return r
}

// JSON runs a command with -o json before its arguments and decodes what it prints.
func JSON[T any](h *Home, args ...string) T {
	h.t.Helper()
	var v T
	out := h.OK(append([]string{"-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		h.t.Fatalf("howdah %s -o json prints no JSON: %v\n%s", strings.Join(args, " "), err, out)
	}
	return v
}

// Write writes a file beside the home's own and returns its path.
func (h *Home) Write(name, text string) string {
	h.t.Helper()
	path := filepath.Join(h.Files(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// patience stretches every wait: these are upper bounds for a machine that does
// nothing else, and many do. E2E_PATIENCE sets another factor.
func patience(most time.Duration) time.Duration {
	if f, err := strconv.ParseFloat(os.Getenv("E2E_PATIENCE"), 64); err == nil && f > 0 {
		return time.Duration(f * float64(most))
	}
	return 3 * most
}

// Within waits until done says so, for at most a time; else the test ends with
// the sentence and what done saw last.
func Within(t testing.TB, most time.Duration, sentence string, done func() (bool, string)) {
	t.Helper()
	most = patience(most)
	deadline := time.Now().Add(most)
	for {
		ok, state := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s it is still not so that %s; it is: %s", most, sentence, state)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Contains fails the test unless text holds every piece.
func Contains(t testing.TB, what, text string, pieces ...string) {
	t.Helper()
	for _, p := range pieces {
		if !strings.Contains(text, p) {
			t.Errorf("%s lacks %q:\n%s", what, p, text)
		}
	}
}

// tell prints what helps to understand a failure.
func (h *Home) tell() {
	for _, args := range [][]string{{"get", "clusters"}, {"get", "services"}, {"get", "operations"}, {"get", "events"}} {
		r := h.Run(args...)
		h.t.Logf("howdah %s:\n%s%s", strings.Join(args, " "), last(r.Stdout, 6000), r.Stderr)
	}
	for _, pattern := range []string{"log/server.log", "nodes/*/*/agent/agent.log"} {
		files, _ := filepath.Glob(filepath.Join(h.Dir, pattern))
		for _, f := range files {
			data, _ := os.ReadFile(f)
			h.t.Logf("%s ends:\n%s", f, last(string(data), 3000))
		}
	}
}

func last(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// remove ends and removes everything, by howdah itself; what that leaves is
// an error, and is ended all the same.
func (h *Home) remove() {
	if _, err := os.Stat(filepath.Join(h.Dir, "settings.json")); err == nil {
		if r := h.Run("clean", "--yes"); r.Code != 0 {
			h.t.Errorf("howdah clean --yes: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
		}
	}
	left := h.processes()
	for _, p := range left {
		h.t.Errorf("left running after clean: %s: %s", p, proc.Command(p.PID))
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
	}
	_ = filepath.WalkDir(h.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700) //nolint:gosec // to be removed
		}
		return nil
	})
	if err := os.RemoveAll(h.Dir); err != nil {
		h.t.Errorf("cannot remove %s: %v", h.Dir, err)
	}
}

// Files is a directory beside the home for files of the test; a home holds
// nothing but what Howdah puts there.
func (h *Home) Files() string {
	h.t.Helper()
	dir := h.Dir + "-files"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	return dir
}
