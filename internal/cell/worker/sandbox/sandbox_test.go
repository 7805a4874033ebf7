package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHidden: what is hidden is not there, by whatever path it is asked for.
func TestHidden(t *testing.T) {
	f := Folder{Dir: t.TempDir(), Name: "/box", Hidden: []string{".token", ".docker", "conf/secret"}}
	for _, name := range []string{".token", ".tokens", ".docker/config.json", "conf/secret", "conf/open", "out"} {
		path := filepath.Join(f.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, rel := range []string{".token", "./.token", "conf/../.token", "//.token", ".docker/config.json", "conf//secret"} {
		if file, _, err := f.Open(rel); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, %v", rel, file, err)
		}
	}
	if _, err := f.Browse(".docker"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	for dir, want := range map[string][]string{"": {"/box/.tokens", "/box/conf", "/box/out"}, "conf": {"/box/conf/open"}} {
		entries, err := f.Browse(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Path)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	for _, rel := range []string{".tokens", "conf/open", "out"} {
		file, _, err := f.Open(rel)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
	}
}
