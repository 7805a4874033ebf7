package identity

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBuildOnce(t *testing.T) {
	needCompiler(t)
	dir := filepath.Join(t.TempDir(), "lib")
	var wg sync.WaitGroup
	paths := make([]string, 4)
	for i := range paths {
		wg.Go(func() {
			var err error
			if paths[i], err = Build(context.Background(), dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, path := range paths {
		if path != filepath.Join(dir, objectName()) {
			t.Errorf("got %s", path)
		}
	}
	before, err := os.Stat(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "") // from now on without a compiler
	if _, err := Build(context.Background(), dir); err != nil {
		t.Error(err)
	}
	if after, err := os.Stat(paths[0]); err != nil || !os.SameFile(before, after) {
		t.Error("built again")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("left in the directory: %v", entries)
	}
}

func TestBuildErrors(t *testing.T) {
	ctx := context.Background()
	fake := func(script string) string {
		path := filepath.Join(t.TempDir(), "cc")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := os.Getenv("PATH")
	build := func(dir string) error {
		got, err := Build(ctx, dir)
		if got != "" {
			t.Errorf("a path beside an error: %s", got)
		}
		return err
	}

	t.Setenv("PATH", "/nowhere")
	t.Setenv("CC", "")
	want := "cannot build the identity object: a C compiler is missing (found none of cc, gcc, clang in PATH); install one with: apt-get install gcc libc6-dev"
	err := build(t.TempDir())
	var missing *CompilerError
	if err == nil || err.Error() != want || !errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}

	t.Setenv("PATH", path)
	cc := fake("echo 'in file x' >&2; echo '<stdin>:9: fatal error: arpa/inet.h: No such file or directory' >&2; exit 1")
	t.Setenv("CC", cc)
	want = "cannot build the identity object: " + cc + " failed (<stdin>:9: fatal error: arpa/inet.h: No such file or directory); " +
		"when the compiler or the C headers are incomplete, install them with: apt-get install gcc libc6-dev"
	dir := t.TempDir()
	if err := build(dir); err == nil || err.Error() != want || !errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}
	if matches, _ := filepath.Glob(filepath.Join(dir, "*.so*")); len(matches) > 0 {
		t.Errorf("left %v", matches)
	}

	t.Setenv("CC", fake(`echo rubbish > "$2"`))
	if err := build(t.TempDir()); err == nil || !strings.Contains(err.Error(), "the loader refuses it (is ") {
		t.Errorf("got %v", err)
	}

	if err := build("/tmp/a b"); err == nil || err.Error() != "cannot build the identity object: /tmp/a b cannot be named in LD_PRELOAD, which is split at spaces and colons; choose a directory without" {
		t.Errorf("got %v", err)
	}

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	t.Setenv("CC", "")
	if _, err := Build(cancelled, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestEnv(t *testing.T) {
	for existing, want := range map[string]string{
		"":                               "/lib/identity-2.so",
		"/lib/jemalloc.so":               "/lib/identity-2.so:/lib/jemalloc.so",
		"/lib/identity-1.so:/a.so /b.so": "/lib/identity-2.so:/a.so:/b.so",
	} {
		t.Setenv("LD_PRELOAD", existing)
		got := Env("/lib/identity-2.so", "127.9.0.1")
		if diff := cmp.Diff([]string{"LD_PRELOAD=" + want, "HOWDAH_IP=127.9.0.1"}, got); diff != "" {
			t.Error(diff)
		}
	}
}
