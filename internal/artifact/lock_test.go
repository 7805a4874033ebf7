package artifact

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const (
	sumA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	sumB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	good = "lib/a.jar mvn:g.h:a:1.0 10 sha256:" + sumA + " Apache-2.0\n"
)

func TestParseLock(t *testing.T) {
	l, diags := ParseLock("some/where/demo-1.lock", []byte("# a comment\n"+
		"path source size digest licence\n\n"+good+
		"  lib-worker/a.jar\tmvn:g.h:a:1.0\t10 sha256:"+sumA+"  Apache-2.0\r\n"+
		"web/ https://example.org/x.tar.gz!/x-1/web/ 20 sha256:"+sumB+" EPL-2.0 OR GPL-2.0-only WITH Classpath-exception-2.0  \n"))
	if diags != nil {
		t.Fatal(diags)
	}
	want := []Entry{
		{Path: "lib/a.jar", Source: Source{Kind: KindMaven, Maven: Coordinates{"g.h", "a", "1.0", "", "jar"}}, Size: 10, SHA256: sumA, Licence: "Apache-2.0", Line: 4},
		{Path: "lib-worker/a.jar", Source: Source{Kind: KindMaven, Maven: Coordinates{"g.h", "a", "1.0", "", "jar"}}, Size: 10, SHA256: sumA, Licence: "Apache-2.0", Line: 5},
		{Path: "web/", Source: Source{Kind: KindURL, URL: "https://example.org/x.tar.gz", Prefix: "x-1/web/"}, Size: 20, SHA256: sumB, Licence: "EPL-2.0 OR GPL-2.0-only WITH Classpath-exception-2.0", Line: 6},
	}
	if diff := cmp.Diff(want, l.Entries); diff != "" {
		t.Error(diff)
	}
	if l.Name != "demo-1" || l.Size() != 30 {
		t.Errorf("name %q size %d, want demo-1 and 30", l.Name, l.Size())
	}
	if diff := cmp.Diff([]string{"/r/lib/a.jar"}, l.Classpath("/r", "lib")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"/r/lib/a.jar", "/r/lib-worker/a.jar"}, l.Classpath("/r")); diff != "" {
		t.Error(diff)
	}
}

func TestParseLockFindings(t *testing.T) {
	line := func(path, source, size, digest, licence string) string {
		return strings.Join([]string{path, source, size, digest, licence}, " ")
	}
	const mvn, sum, lic = "mvn:g:a:1", "sha256:" + sumB, "MIT"
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "# nothing\n", `x.lock:1:1  error  the lock names no file`},
		{"columns", "lib/a.jar mvn:g:a:1 10", `x.lock:1:23  error  the line has 3 of 5 columns`},
		{"absolute path", line("/a", mvn, "1", sum, lic), `x.lock:1:1  error  path "/a" is not relative`},
		{"path leaves", line("a/../../b", mvn, "1", sum, lic), `x.lock:1:1  error  path "a/../../b" is not clean, or leaves the set`},
		{"dot path", line(".", mvn, "1", sum, lic), `x.lock:1:1  error  path "." is not clean, or leaves the set`},
		{"backslash", line(`a\b`, mvn, "1", sum, lic), `x.lock:1:1  error  path "a\\b" holds a backslash or a zero byte`},
		{"long path", line(strings.Repeat("a", 1025), mvn, "1", sum, lic), `x.lock:1:1  error  the path has 1025 bytes; the limit is 1024`},
		{"source kind", line("a", "ftp://x", "1", sum, lic), `x.lock:1:3  error  cannot read source "ftp://x": a source begins with mvn:, https:// or file:`},
		{"plain http", line("a", "http://x/y", "1", sum, lic), `x.lock:1:3  error  cannot read source "http://x/y": a source begins with mvn:, https:// or file:`},
		{"coordinates", line("a", "mvn:g:a", "1", sum, lic), `x.lock:1:3  error  cannot read source "mvn:g:a": Maven coordinates are group:artifact:version[:classifier][@extension]`},
		{"coordinates leave", line("a", "mvn:g:..:1", "1", sum, lic), `x.lock:1:3  error  cannot read source "mvn:g:..:1": Maven coordinates are group:artifact:version[:classifier][@extension]`},
		{"password", line("a", "https://u:p@h/x", "1", sum, lic), `x.lock:1:3  error  cannot read source "https://u:p@h/x": an https source needs a host and a path, and no user or password`},
		{"file leaves", line("a", "file:../x", "1", sum, lic), `x.lock:1:3  error  cannot read source "file:../x": a file source is relative to the lock's folder and stays inside it`},
		{"prefix", line("a/", "file:x!/../", "1", sum, lic), `x.lock:1:4  error  cannot read source "file:x!/../": the prefix after !/ must be a folder such as web/, not "../"`},
		{"prefix of a file", line("a", "file:x!/y/", "1", sum, lic), `x.lock:1:3  error  only an archive that is unpacked can have a !/prefix/`},
		{"size", line("a", mvn, "0", sum, lic), `x.lock:1:13  error  size "0" is not a number of bytes from 1 to 17179869184`},
		{"digest", line("a", mvn, "1", "sha256:AB", lic), `x.lock:1:15  error  digest "sha256:AB" is not sha256: and 64 lower-case hexadecimal digits`},
		{"licence", line("a", mvn, "1", sum, "??"), `x.lock:1:87  error  licence "??" is not an SPDX expression`},
		{"same path", good + good, `x.lock:2:1  error  path "lib/a.jar" is already on line 1`},
		{"size differs", good + line("b", mvn, "11", "sha256:"+sumA, lic), `x.lock:2:13  error  size 11 contradicts line 1, which gives 10 for the same digest`},
		{"not text", "a\xff b c d e", `x.lock:1:1  error  the line is not UTF-8`},
		{"all at once", line("/a", "x", "y", "z", "!"), "x.lock:1:1  error  path \"/a\" is not relative\n" +
			"x.lock:1:4  error  cannot read source \"x\": a source begins with mvn:, https:// or file:\n" +
			"x.lock:1:6  error  size \"y\" is not a number of bytes from 1 to 17179869184\n" +
			"x.lock:1:8  error  digest \"z\" is not sha256: and 64 lower-case hexadecimal digits\n" +
			"x.lock:1:10  error  licence \"!\" is not an SPDX expression"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, diags := ParseLock("x.lock", []byte(tt.text))
			if diff := cmp.Diff(tt.want, diags.Error()); diff != "" {
				t.Error(diff)
			}
			for _, d := range diags {
				if d.Detail == "" {
					t.Errorf("%s: no remedy", d)
				}
			}
		})
	}
}

// The ID does not depend on comments, white space and licences; it does on
// the order of lines.
func TestLockIDStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "n")
		space := rapid.SampledFrom([]string{" ", "\t", "   ", " \t "})
		noise := rapid.SampledFrom([]string{"", "\n", "# comment\n", "  # indented\n", "path source size digest licence\n"})
		var plain, noisy strings.Builder
		var lines []string
		for i := range n {
			cols := []string{fmt.Sprintf("lib/%d.jar", i), fmt.Sprintf("mvn:g:a%d:1", i), "7", "sha256:" + strings.Repeat(fmt.Sprint(i), 64), "MIT"}
			lines = append(lines, strings.Join(cols, " ")+"\n")
			plain.WriteString(lines[i])
			noisy.WriteString(noise.Draw(t, "noise"))
			for _, col := range cols[:4] {
				noisy.WriteString(col + space.Draw(t, "space"))
			}
			noisy.WriteString("Apache-2.0" + rapid.SampledFrom([]string{"\n", " \n", "\r\n"}).Draw(t, "end"))
		}
		id := mustParse(t, plain.String()).ID()
		if got := mustParse(t, noisy.String()).ID(); got != id || len(id) != 64 {
			t.Fatalf("id %q, want %q", got, id)
		}
		if n > 1 {
			lines[0], lines[1] = lines[1], lines[0]
			if mustParse(t, strings.Join(lines, "")).ID() == id {
				t.Fatal("the id ignores the order of lines")
			}
		}
	})
}

func mustParse(t interface{ Fatal(...any) }, text string) *Lock {
	l, diags := ParseLock("x.lock", []byte(text))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return l
}

func FuzzParseLock(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("web/ file:x.zip!/a/ 5 sha256:" + sumB + " NOASSERTION"))
	f.Add([]byte("a\x00b c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, diags := ParseLock("x.lock", data)
		for _, d := range diags {
			if d.Source.Line < 1 || d.Source.Column < 1 || d.Summary == "" {
				t.Fatalf("poor finding: %+v", d)
			}
		}
		for _, e := range l.Entries {
			if !filepath.IsLocal(e.Path) {
				t.Fatalf("path %q leaves the set", e.Path)
			}
			if again, err := ParseSource(e.Source.String()); err != nil || again != e.Source {
				t.Fatalf("source %q does not survive being written: %v", e.Source, err)
			}
		}
		if l.Size() < 0 || len(l.ID()) != 64 {
			t.Fatal("no size or id")
		}
	})
}

// The committed locks are in the format, and have what they need.
func TestCommittedLocks(t *testing.T) {
	files, err := filepath.Glob("../../stacks/shared/*.lock")
	if err != nil || len(files) == 0 {
		t.Fatal("no locks", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		l, diags := ParseLock(file, data)
		if diags != nil {
			t.Errorf("%s: %v", file, diags)
		}
		if len(l.Classpath("/", "lib")) == 0 {
			t.Errorf("%s: no jars below lib", file)
		}
	}
}
