// Package golden compares what tests make with files kept beside them, and
// reads and writes txtar archives (files in one text, each after a line
// "-- name --"). It is for tests, and imports nothing of this module.
//
//	go test ./internal/... -run TestX -update    writes the files again
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

//nolint:gochecknoglobals // a flag of the test binary
var update = flag.Bool("update", false, "rewrite golden files")

// Compare compares got with a file of the package's testdata, or writes it
// there when the tests run with -update.
func Compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // a source tree
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil { //nolint:gosec // a source tree
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); if that is meant: go test -update\n%s", file, diff)
	}
}

// Archive is a txtar archive.
type Archive struct {
	Comment string
	Files   []File
}

// File is one file of an archive.
type File struct{ Name, Data string }

// Add appends a file.
func (a *Archive) Add(name, data string) { a.Files = append(a.Files, File{name, data}) }

// Get returns a file's text, "" without it.
func (a *Archive) Get(name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return ""
}

// Set replaces a file's text, or appends the file.
func (a *Archive) Set(name, data string) {
	for i := range a.Files {
		if a.Files[i].Name == name {
			a.Files[i].Data = data
			return
		}
	}
	a.Add(name, data)
}

// FS presents the files but the named ones as a file system.
func (a *Archive) FS(without ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for _, f := range a.Files {
		fsys[f.Name] = &fstest.MapFile{Data: []byte(f.Data), Mode: 0o444}
	}
	for _, name := range without {
		delete(fsys, name)
	}
	return fsys
}

// String writes the archive.
func (a *Archive) String() string {
	var b strings.Builder
	b.WriteString(lined(a.Comment))
	for _, f := range a.Files {
		b.WriteString("-- " + f.Name + " --\n")
		b.WriteString(lined(f.Data))
	}
	return b.String()
}

func lined(s string) string {
	if s != "" && !strings.HasSuffix(s, "\n") {
		return s + "\n"
	}
	return s
}

// Parse reads an archive; any text is one.
func Parse(text string) *Archive {
	a := &Archive{}
	into := &a.Comment
	for line := range strings.Lines(text) {
		trimmed := strings.TrimRight(line, "\r\n")
		if name, ok := strings.CutPrefix(trimmed, "-- "); ok && strings.HasSuffix(name, " --") && len(name) > len(" --") {
			a.Add(strings.TrimSpace(strings.TrimSuffix(name, " --")), "")
			into = &a.Files[len(a.Files)-1].Data
			continue
		}
		*into += line
	}
	return a
}

// Each runs a test for every archive testdata/<dir>/*.txtar. What check
// returns is compared with the archive's file "want", or written there when
// the tests run with -update.
func Each(t *testing.T, dir string, check func(t *testing.T, a *Archive) string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no archives in testdata/%s: %v", dir, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			a := Parse(string(text))
			got := lined(check(t, a))
			if *update {
				a.Set("want", got)
				if err := os.WriteFile(name, []byte(a.String()), 0o644); err != nil { //nolint:gosec // a source tree
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(a.Get("want"), got); diff != "" {
				t.Errorf("%s differs (-want +got); if that is meant: go test -update\n%s", name, diff)
			}
		})
	}
}
