package server_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/server"
)

// TestDiskFull: on a full disk new work is refused with a sentence, what is read or ended
// goes on, and with room everything is as before.
func TestDiskFull(t *testing.T) {
	dir, err := os.MkdirTemp("", "howdah-s-") //nolint:usetesting // the path of a unix socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=80m"); err != nil {
		os.Remove(dir)
		t.Skipf("this user cannot mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
		os.Remove(dir)
	})
	r := serve(t, server.Home{Dir: filepath.Join(dir, "home")})
	filler := filepath.Join(dir, "filler")
	fill(t, filler, 4<<20)
	const name = `{"project":"default","role":"viewer","name":"x"}`
	refused := 0
	for _, tt := range []struct{ path, body string }{
		{"/v1/apply", `{"name":"a.yaml","content":"name: zk\nstack: zookeeper\n"}`},
		{"/v1/clusters/zk/start", ""},
		{"/v1/clusters/zk/smoke", ""},
		{"/v1/tokens", name},
		{"/v1/blobs", "x"},
	} {
		got := r.overSocket(t, http.MethodPost, tt.path, strings.NewReader(tt.body))
		p := problem(t, got)
		if got.status != http.StatusInsufficientStorage || p.Type != api.ProblemFull ||
			!strings.HasPrefix(p.Detail, "the disk of "+r.home.Dir+" is full: ") || !strings.HasSuffix(p.Detail, " MiB is free, 32 MiB is needed to take new work; nothing was changed; free some and ask again") {
			t.Errorf("%s: %d %s", tt.path, got.status, got.body)
		}
		refused++
	}
	// To the last byte: nothing can be written down, so nothing is done.
	fill(t, filler+"-2", 0)
	got := r.overSocket(t, http.MethodPost, "/v1/apply", strings.NewReader(`{"name":"a.yaml","content":"name: zk\nstack: zookeeper\n"}`))
	if p := problem(t, got); got.status != http.StatusServiceUnavailable && got.status != http.StatusInsufficientStorage || !strings.Contains(p.Detail, "the disk") {
		t.Errorf("on a disk without a byte: %d %s", got.status, got.body)
	}
	for _, path := range []string{"/v1/info", "/v1/clusters", "/v1/operations", "/v1/history"} {
		if got := r.overSocket(t, http.MethodGet, path, nil); got.status != http.StatusOK {
			t.Errorf("%s on a full disk: %d %s", path, got.status, got.body)
		}
	}
	if got := r.overSocket(t, http.MethodGet, "/v1/clusters", nil); !bytes.Equal(bytes.TrimSpace(got.body), []byte("[]")) {
		t.Errorf("something was made: %s", got.body)
	}
	for _, f := range []string{filler, filler + "-2"} {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.overSocket(t, http.MethodPost, "/v1/blobs", strings.NewReader("x")); got.status != http.StatusCreated {
		t.Errorf("with room again: %d %s", got.status, got.body)
	}
	t.Logf("%d kinds of new work were refused, reading went on, and it is taken when there is room", refused)
}

// fill writes a file until a disk has only so many bytes left.
func fill(t *testing.T, path string, left uint64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		var st unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &st); err != nil { //nolint:gosec // a descriptor fits an int
			t.Fatal(err)
		}
		if st.Bavail*uint64(st.Bsize) <= left { //nolint:gosec // a size is not negative
			return
		}
		if _, err := f.Write(make([]byte, 64<<10)); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}
