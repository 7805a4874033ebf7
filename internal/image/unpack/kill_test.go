package unpack_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/unpack"
)

// TestKilled ends a process in the middle of a layer. Nobody sees the half, the
// lock is free, and the next one unpacks it.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("UNPACK_IN"); dir != "" {
		unpackForever(t, dir)
		return
	}
	dir := t.TempDir()
	s, err := imagestore.Open(imagestore.Config{Dir: filepath.Join(dir, "store")})
	ok(t, err)
	data := layer(t, file("a", "whole"), file("b", strings.Repeat("x", 1<<20)), file("c", "end"))
	m := made(t, s, as, data)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$", "-test.v")
	cmd.Env = append(os.Environ(), "UNPACK_IN="+dir)
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "in the middle") {
	}
	where := filepath.Join(dir, "unpacked")
	half := filepath.Join(where, "tmp", image.Digest(data).Hex, "fs")
	if _, err := os.Stat(filepath.Join(half, "a")); err != nil {
		t.Errorf("the process had not begun: %v", err)
	}
	ok(t, cmd.Process.Kill())
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // killed
	if _, err := os.Stat(filepath.Join(where, "layers", image.Digest(data).Hex)); err == nil {
		t.Error("a half of a layer is to be seen")
	}
	img, err := unpacker(t, unpack.Config{Dir: where}).Unpack(t.Context(), s, m, "again")
	ok(t, err)
	if got := list(t, img.Layers[0]); len(got) != 3 || got["c"] != "-rw-r--r-- end" {
		t.Errorf("got %d entries", len(got))
	}
	if left, err := os.ReadDir(filepath.Join(where, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// slow gives the layer through a pipe, which stops in the middle.
type slow struct {
	*imagestore.Store
	layer v1.Hash
}

func (s slow) Open(h v1.Hash) (*os.File, int64, error) {
	f, size, err := s.Store.Open(h)
	if err != nil || h != s.layer {
		return f, size, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, 0, err
	}
	go func() {
		_, _ = io.CopyN(w, f, size/2)
		fmt.Println("in the middle")
		select {} // until killed
	}()
	return r, size, nil
}

func unpackForever(t *testing.T, dir string) {
	s, err := imagestore.Open(imagestore.Config{Dir: filepath.Join(dir, "store")})
	ok(t, err)
	r, err := s.Repo("p/app")
	ok(t, err)
	m, err := r.Manifest("v1")
	ok(t, err)
	u := unpacker(t, unpack.Config{Dir: filepath.Join(dir, "unpacked")})
	_, err = u.Unpack(t.Context(), slow{s, m.Layers[0].Digest}, m, "killed")
	t.Errorf("it ended: %v", err)
}
