package stack

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/test/e2e/harness"
)

var block = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// page returns the first block of a language in the page that begins so.
func page(t *testing.T, language, begins string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(t), "docs", "how-to", "add-a-stack.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		if m[1] == language && strings.HasPrefix(m[2], begins) {
			return m[2]
		}
	}
	t.Fatalf("the page has no %s block that begins with %q", language, begins)
	return ""
}

// make makes the stack's directory: the program, its lock and stack.yaml. The
// jar is a local file beside the lock, where the page takes it from Maven.
func makeStack(t *testing.T) (parent string) {
	t.Helper()
	work, parent := t.TempDir(), t.TempDir()
	dir := filepath.Join(parent, "notes")
	write(t, filepath.Join(work, "Notes.java"), page(t, "java", "import com.sun.net.httpserver"))
	write(t, filepath.Join(dir, "stack.yaml"), page(t, "yaml", "name: notes\n"))
	run(t, work, "javac", "--release", "17", "-d", "classes", "Notes.java")
	run(t, work, "jar", "--create", "--file", filepath.Join(dir, "notes.jar"), "-C", "classes", ".")
	jar, err := os.ReadFile(filepath.Join(dir, "notes.jar"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "notes.lock"), fmt.Sprintf("# path  source  size  digest  licence\nlib/notes.jar  file:notes.jar  %d  sha256:%x  NOASSERTION\n", len(jar), sha256.Sum256(jar)))
	return parent
}

func TestStackOfOnesOwn(t *testing.T) {
	parent := makeStack(t)
	h := harness.New(t)
	harness.Contains(t, "stack check", h.OK("stack", "check", filepath.Join(parent, "notes")), "notes is a good stack (digest ")
	h.Up("--stacks", parent)
	harness.Contains(t, "stack show", h.OK("stack", "show", "notes"), "Notes over HTTP, an example of an in-house service", "notes_store", "n == 1; needs notes_front", "notes/notes.properties")
	h.Apply("memo", page(t, "yaml", "name: memo\nstack: notes\n"))
	h.Ready(10*time.Second, "memo")

	c := h.Cluster("memo")
	if c.Stack != "notes" || len(c.Nodes) != 3 || c.Nodes[0].Address == c.Nodes[1].Address {
		t.Errorf("the cluster is of stack %s with %d nodes", c.Stack, len(c.Nodes))
	}
	note := c.Exports["url"] + "hello"
	if code, _ := harness.Ask(t, http.MethodPut, note, "", "a note\n"); code != http.StatusCreated {
		t.Errorf("writing a note answers %d", code)
	}
	if _, got := harness.Ask(t, http.MethodGet, note, "", ""); got != "a note\n" {
		t.Errorf("the note reads %q", got)
	}
	if got := h.OK("run", "memo", "--", "notes", "get", note); got != "a note\n" {
		t.Errorf("the tool of the stack reads %q", got)
	}
	if ls, err := h.Listeners(); err != nil || len(ls) < 3 {
		t.Errorf("%d listeners are the home's: %v", len(ls), err)
	}

	// Twice the same is nothing to do; one front less and a key of the user's are.
	if n := len(h.Operations("memo")); n != 1 {
		t.Errorf("there are %d operations, want 1", n)
	}
	pids := h.PIDs("memo")
	harness.Contains(t, "applying again", h.Apply("memo", page(t, "yaml", "name: memo\nstack: notes\n")), "memo (notes, local) is as defined; nothing to do")
	if now := h.PIDs("memo"); fmt.Sprint(now) != fmt.Sprint(pids) {
		t.Errorf("applying again restarted services: %v, they were %v", now, pids)
	}
	h.Apply("memo", page(t, "yaml", "name: memo\nstack: notes\nconfiguration:"))
	h.Ready(10*time.Second, "memo")
	if _, got := harness.Ask(t, http.MethodGet, h.Cluster("memo").Exports["url"]+"hello", "", ""); got != "a note\n" {
		t.Errorf("after the change the note reads %q", got)
	}
	files, _ := filepath.Glob(filepath.Join(h.Dir, "nodes", "memo", "*", "*", "conf", "notes.properties"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(text), "threads=8\n") {
			t.Errorf("%s lacks the user's threads=8: %v\n%s", f, err, text)
		}
	}
	if len(files) != 2 {
		t.Errorf("%d files notes.properties were found", len(files))
	}

	// It holds data, so it is guarded.
	r := h.Fails(4, "delete", "memo", "--yes")
	harness.Contains(t, "the refusal", r.Stderr, "cluster memo is not deleted: it holds data; to destroy it all the same: howdah delete memo --yes --destroy-data memo")
	h.OK("delete", "memo", "--yes", "--destroy-data", "memo")
	h.Fails(3, "describe", "memo")
}

func TestStackCheck(t *testing.T) {
	parent := makeStack(t)
	file := filepath.Join(parent, "notes", "stack.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(good)
	mistakes := []struct{ was, is, want string }{
		{"services: [store]", "services: [stor]", "unknown service stor"},
		{"lock: notes.lock", "lock: nodes.lock", "lock nodes.lock is not there"},
		{"expect: status == 404", "expect: statu == 404", "statu"},
		{"${self.ip}:${port.http}/status\n      expect", "${self.ip}:${port.htp}/status\n      expect", "htp"},
		{"    health:\n      message: the store answers", "    helth:\n      message: the store answers", "unknown field"},
	}
	for _, m := range mistakes {
		if !strings.Contains(text, m.was) {
			t.Fatalf("the page's stack has no %q any more", m.was)
		}
		text = strings.Replace(text, m.was, m.is, 1)
	}
	h := harness.New(t)
	// What cannot be read hides what stands in it; the rest comes all at once.
	write(t, file, text)
	r := h.Fails(2, "stack", "check", filepath.Join(parent, "notes"))
	check(t, r.Stderr, text, "helth:", "unknown field")
	text = strings.Replace(text, mistakes[4].is, mistakes[4].was, 1)
	write(t, file, text)
	r = h.Fails(2, "stack", "check", filepath.Join(parent, "notes"))
	for _, m := range mistakes[:4] {
		check(t, r.Stderr, text, strings.SplitN(m.is, "\n", 2)[0], m.want)
	}
	// A server does not start with it, and says the same.
	r = h.Fails(2, "up", "--stacks", parent)
	harness.Contains(t, "up", r.Stderr, "notes/stack.yaml:", "unknown service stor")
}

// check looks for a finding on the line that holds a text.
func check(t *testing.T, findings, text, holds, want string) {
	t.Helper()
	before, _, ok := strings.Cut(text, holds)
	if !ok {
		t.Fatalf("the file has no %q", holds)
	}
	place := fmt.Sprintf("notes/stack.yaml:%d:", strings.Count(before, "\n")+1)
	for line := range strings.Lines(findings) {
		if strings.Contains(line, place) && strings.Contains(line, want) {
			return
		}
	}
	t.Errorf("no finding at %s says %q:\n%s", place, want, findings)
}

func run(t *testing.T, dir string, argv ...string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec // the test's own command
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
