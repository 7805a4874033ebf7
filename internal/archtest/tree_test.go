package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	maxLines     = 600 // a Go file
	maxTestLines = 900
	maxBytes     = 1 << 20 // any file
)

func TestPackageComments(t *testing.T) {
	documented := map[string]bool{}
	for _, file := range goFiles(t) {
		dir := path.Dir(file)
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, read(t, file), parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Error(err)
			continue
		}
		documented[dir] = documented[dir] || tree.Doc != nil || ast.IsGenerated(tree)
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: no file has a package comment; say what the package owns and must not import", dir)
		}
	}
}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func TestFileSizes(t *testing.T) {
	for _, file := range goFiles(t) {
		text, most := read(t, file), maxLines
		if strings.HasSuffix(file, "_test.go") {
			most = maxTestLines
		}
		if n := strings.Count(text, "\n"); n > most && !generated.MatchString(text) {
			t.Errorf("%s has %d lines, %d are allowed; split it by subject", file, n, most)
		}
	}
	for _, file := range tracked(t) {
		if info, err := os.Stat(filepath.Join(root, file)); err == nil && info.Size() > maxBytes {
			t.Errorf("%s has %d KiB, %d are allowed", file, info.Size()>>10, maxBytes>>10)
		}
	}
}

// banned are what is true on one machine only. The parts are joined here so that
// this file does not hold what it looks for.
var banned = []struct {
	what    string
	pattern *regexp.Regexp
}{
	{"a path of one machine", regexp.MustCompile(`(^|[^A-Za-z0-9_./-])/(work|farm|root)/`)},
	{"the host of a package registry", regexp.MustCompile(`\b(` + strings.Join([]string{
		`(proxy|sum)\.golang`, `registry\.(npmjs|yarnpkg)`, `files\.pythonhosted`, `pypi`, `(static\.|index\.)?crates`,
		`repo1?\.maven`, `repo\.maven\.apache`, `(deb|security)\.debian`, `(archive|security)\.ubuntu`,
	}, "|") + `)\.(org|com|io)\b`)},
}

func TestNoMachineInFiles(t *testing.T) {
	for _, file := range tracked(t) {
		if path.Base(file) == "go.sum" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil || slices.Contains(text, 0) { // deleted but not committed, or no text
			continue
		}
		for i, line := range strings.Split(string(text), "\n") {
			for _, b := range banned {
				if m := b.pattern.FindString(line); m != "" {
					t.Errorf("%s:%d: %q is %s", file, i+1, m, b.what)
				}
			}
		}
	}
}

var (
	makeTarget = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`)
	// In a code span, or at the start of a line of a code block.
	makeCall = regexp.MustCompile("(?m)(?:`|^\\s*(?:\\$ )?)make ([a-z][a-z0-9-]*)(?:$|[ `#;&|])")
)

func TestDocumentsNameCommands(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range makeTarget.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	for _, want := range []string{"build", "up", "down", "clean", "test"} {
		if !targets[want] {
			t.Errorf("Makefile has no target %s", want)
		}
	}
	named := map[string]bool{} // top-level file or folder, and target
	for file, text := range documents(t) {
		top, _, _ := strings.Cut(file, "/")
		for _, m := range makeCall.FindAllStringSubmatch(text, -1) {
			named[top+" "+m[1]] = true
			if !targets[m[1]] {
				t.Errorf("%s: make %s: the Makefile has no such target", file, m[1])
			}
		}
	}
	for _, want := range []string{"README.md up", "README.md test", "CONTRIBUTING.md test", "docs up", "docs test", "examples up"} {
		if !named[want] {
			top, target, _ := strings.Cut(want, " ")
			t.Errorf("%s must say somewhere: make %s", top, target)
		}
	}
}

// root is the root of the module, as seen from this folder.
const root = "../.."

// documents returns the texts of the documents that git knows, by their name.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, file := range tracked(t) {
		if path.Ext(file) != ".md" {
			continue
		}
		if text, err := os.ReadFile(filepath.Join(root, file)); err == nil { // else deleted but not committed
			out[file] = string(text)
		}
	}
	return out
}

// goFiles returns the Go files of the root module, with slashes, from its root.
func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch base := d.Name(); {
		case d.IsDir() && (name != "." && strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" || name == "tools"):
			return fs.SkipDir
		case !d.IsDir() && path.Ext(name) == ".go":
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// tracked returns the files that are in git or about to be.
func tracked(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("git", "-C", root, "ls-files", "-z", "--cached").Output()
	if err != nil {
		t.Skipf("not a git work tree, so which files belong to the project is unknown: %v", err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
