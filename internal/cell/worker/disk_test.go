package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestDiskUse(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "a", "b", "big")
	if err := os.WriteFile(big, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // the same file, three times more
		if err := os.Link(big, filepath.Join(dir, fmt.Sprint("link", i))); err != nil {
			t.Fatal(err)
		}
	}
	hole, err := os.Create(filepath.Join(dir, "hole"))
	if err != nil {
		t.Fatal(err)
	}
	if err := hole.Truncate(1 << 40); err != nil {
		t.Fatal(err)
	}
	hole.Close()
	if err := os.Symlink("/usr", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	u := diskUse(100, dir, filepath.Join(dir, "not there"))
	if u.files != 8 || u.bytes < 1<<20 || u.bytes > 1<<20+64<<10 {
		t.Errorf("%+v", u)
	}
	for i := range 2500 {
		if err := os.WriteFile(filepath.Join(dir, "a", fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if u := diskUse(100_000, dir); u.files != 2508 {
		t.Errorf("%d files", u.files)
	}
	if u := diskUse(500, dir); u.files <= 500 || u.files > 500+batch {
		t.Errorf("counted %d files", u.files)
	}
}
