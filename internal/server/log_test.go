package server_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"howdah.dev/howdah/internal/node/proc"
)

// TestOwnLog: a server keeps the log of its home small.
func TestOwnLog(t *testing.T) {
	h := newHome(t)
	if err := os.MkdirAll(filepath.Dir(h.Log()), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.Log(), make([]byte, proc.MaxOwnLog+1), 0o600); err != nil {
		t.Fatal(err)
	}
	serve(t, h)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		old, err := os.Stat(h.Log() + ".1")
		now, nowErr := os.Stat(h.Log())
		if err == nil && nowErr == nil && old.Size() > proc.MaxOwnLog-8192 && now.Size() <= 8192 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log is not rotated: %v %v", err, nowErr)
		}
	}
}
