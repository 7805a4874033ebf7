package bin

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestUnpack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			path, err := unpack(dir, []byte("program"))
			if err != nil {
				t.Error(err)
				return
			}
			text, err := os.ReadFile(path)
			if err != nil || string(text) != "program" {
				t.Errorf("unpacked %q, %v", text, err)
			}
		})
	}
	all.Wait()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d files are in the cache, %v; want 1", len(entries), err)
	}
	if info, _ := entries[0].Info(); info.Mode() != 0o755 {
		t.Errorf("mode %v", info.Mode())
	}
	// One cut short is written again.
	path := filepath.Join(dir, entries[0].Name())
	if err := os.WriteFile(path, []byte("prog"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := unpack(dir, []byte("program")); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "program" {
		t.Errorf("the cut program is still %q", text)
	}
}
