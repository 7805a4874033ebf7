package proc

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestReadProc: a file of a process is read whole, however long it is, as os.ReadFile
// does; that of one that is gone is not there.
func TestReadProc(t *testing.T) {
	for _, size := range []int{1, 100, 4093, 4094, 4095, 4096, 4097, 8192, 100000, 131000} { // a page is 4096 bytes, one variable at most 128 KiB
		cmd := exec.CommandContext(t.Context(), "sleep", "60")
		cmd.Env = []string{"X=" + strings.Repeat("x", size-1)}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var want []byte
		until(t, func() (read bool) { // it is empty in the middle of an exec
			want, _ = os.ReadFile(procPath(cmd.Process.Pid, "environ"))
			return len(want) > 0
		}, "it has no environment")
		got, err := readEnviron(cmd.Process.Pid)
		if err != nil || !bytes.Equal(got, want) || len(got) < size {
			t.Errorf("an environment of %d bytes: %d bytes are read, os.ReadFile reads %d: %v", size, len(got), len(want), err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if _, err := readEnviron(cmd.Process.Pid); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the environment of a process that is gone: %v", err)
		}
	}
}
