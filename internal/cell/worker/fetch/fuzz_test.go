package fetch

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzExtract unpacks anything: whatever it is, nothing is written outside, and no
// link leads there.
func FuzzExtract(f *testing.F) {
	f.Add("a.tar", []byte("x"))
	f.Add("a.zip", []byte("PK"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if !filepath.IsLocal(name) || len(name) > 100 {
			return
		}
		outer := t.TempDir()
		dir := filepath.Join(outer, "sandbox")
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			return
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		f := fetching{Config: &Config{MaxBytes: 1 << 20, MaxFiles: 100}, root: root, bytes: 1 << 20}
		_ = f.extract(t.Context(), name)
		if entries, err := os.ReadDir(outer); err != nil || len(entries) != 1 {
			t.Fatalf("%v, %v", entries, err)
		}
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.Type()&os.ModeSymlink == 0 {
				return nil
			}
			rel, _ := filepath.Rel(dir, path)
			if _, err := root.Stat(rel); err != nil && inside(rel, err).Error() != err.Error() {
				t.Errorf("%s leads out", rel)
			}
			return nil
		})
	})
}
