package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// ownMounts names the test that runs in a mount namespace of its own.
const ownMounts = "E2E_OWN_MOUNTS"

// OwnMounts runs a test again, in a process with a mount namespace of its own, so that
// what it mounts is seen by nobody else and gone with it. Who is not root gets a user
// namespace too. It is true in that process; where it is false the test is over. A
// machine that allows neither skips the test and says why.
func OwnMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownMounts) == t.Name() {
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.run=^" + regexp.QuoteMeta(t.Name()) + "$", "-test.v"}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), ownMounts+"="+t.Name(), "HOWDAH_BIN="+Binary(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skipf("this machine allows no mount namespace, so no disk can be made full here: %v", err)
	}
	err = cmd.Wait()
	t.Logf("in a mount namespace of its own:\n%s", out.String())
	switch {
	case err != nil:
		t.Error(err)
	case strings.Contains(out.String(), "--- SKIP: "+t.Name()+" "):
		t.SkipNow()
	}
	return false
}

// Disk is a file system of a test's own, over a directory of a home.
type Disk struct {
	t   testing.TB
	dir string
}

// roomy is the size of a disk that has enough, in bytes. It is kept in memory, and only
// what is written takes any.
const roomy = 4 << 30

// Disk puts a directory of the home, with all that is in it, onto a disk of its own.
// Nothing may run in it. It ends with the test.
func (h *Home) Disk(dir string) *Disk {
	h.t.Helper()
	d := &Disk{h.t, filepath.Join(h.Dir, dir)}
	aside := filepath.Join(h.Files(), strings.ReplaceAll(dir, "/", "-"))
	h.copy(d.dir, aside)
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", roomy)); err != nil {
		h.t.Skipf("this user cannot mount a disk: %v", err)
	}
	h.t.Cleanup(func() {
		if err := unix.Unmount(d.dir, unix.MNT_DETACH); err != nil {
			h.t.Error(err)
		}
	})
	h.copy(aside, d.dir)
	return d
}

// copy copies a directory as it is, with owners and modes.
func (h *Home) copy(from, to string) {
	h.t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		h.t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		h.t.Fatalf("cannot copy %s: %v\n%s", from, err, out)
	}
}

// Leave makes the disk so small that a number of bytes is free.
func (d *Disk) Leave(bytes int64) {
	d.t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		d.t.Fatal(err)
	}
	d.size(int64(st.Blocks-st.Bfree)*st.Bsize + bytes) //nolint:gosec // fits for exbibytes
}

// Fill takes the last byte.
func (d *Disk) Fill() {
	d.t.Helper()
	f, err := os.Create(d.filler())
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	d.Leave(1 << 20)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		d.t.Fatal(err)
	}
}

// Free gives the disk plenty of room.
func (d *Disk) Free() {
	d.t.Helper()
	if err := os.Remove(d.filler()); err != nil && !errors.Is(err, os.ErrNotExist) {
		d.t.Fatal(err)
	}
	d.size(roomy)
}

func (d *Disk) filler() string { return filepath.Join(d.dir, "filler") }

func (d *Disk) size(bytes int64) {
	d.t.Helper()
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", bytes)); err != nil {
		d.t.Fatal(err)
	}
}
