package artifact

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOnlyByMaven: what the cache or the local repository has needs no Maven.
func TestOnlyByMaven(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	a, b := []byte("a"), []byte("bb")
	l, ds := ParseLock("test.lock", fmt.Appendf(nil, "lib/a.jar mvn:g:a:1 %d sha256:%s MIT\nlib/b.jar mvn:g:b:1 %d sha256:%s MIT\nlib/c.jar file:c.jar 3 sha256:%s MIT\n",
		len(a), digestOf(a), len(b), digestOf(b), digestOf([]byte("ccc"))))
	if ds != nil {
		t.Fatal(ds)
	}
	c := New(Config{Dir: t.TempDir()})
	left := func() string {
		var out []string
		for _, e := range c.OnlyByMaven([]*Lock{l}) {
			out = append(out, e.Path)
		}
		return strings.Join(out, " ")
	}
	if got := left(); got != "lib/a.jar lib/b.jar" {
		t.Errorf("with nothing here: %s", got)
	}
	if _, _, err := c.Put(t.Context(), strings.NewReader(string(a))); err != nil {
		t.Fatal(err)
	}
	if got := left(); got != "lib/b.jar" {
		t.Errorf("with one in the cache: %s", got)
	}
	dir := filepath.Join(home, ".m2", "repository", "g", "b", "1")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b-1.jar"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := left(); got != "" {
		t.Errorf("with the other in the repository: %s", got)
	}
}
