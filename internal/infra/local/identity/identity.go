// Package identity gives programs on a loopback network the address of their node,
// by a small preloaded C object (identity.c): what would listen on every address
// listens on the node's, and connections leave from it. It builds the object and
// names the environment that puts it to work. It must not know of services or
// nodes beyond their address.
//
// Limits: programs that do not call libc (Go, static binaries) and io_uring are
// untouched and take their address from configuration; datagrams are untouched; a
// socket that bound the wildcard and then connects beyond loopback gets EINVAL; a
// program that opens both 0.0.0.0 and an IPv6-only [::] on one port finds its own
// address in use; a program that reaches itself as "localhost" does not.
package identity

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed identity.c
var source string

// EnvIP is the environment variable that holds the node's IPv4 address.
const EnvIP = "HOWDAH_IP"

const envPreload = "LD_PRELOAD"

// -ldl: before glibc 2.34 dlsym lives there; later it is an empty library.
var compilerFlags = []string{"-std=gnu11", "-O2", "-Wall", "-shared", "-fPIC", "-x", "c", "-", "-x", "none", "-ldl"}

// Build returns the path of the object in dir, which is created, and compiles it
// there unless it has been already: once per host and version of the source. Any
// number of processes may call it at once. A missing or failing compiler is a
// *CompilerError.
func Build(ctx context.Context, dir string) (path string, err error) {
	path, err = build(ctx, dir)
	if err != nil {
		return "", fmt.Errorf("cannot build the identity object: %w", err)
	}
	return path, nil
}

// Built reports whether the object is in dir already.
func Built(dir string) bool { return exists(filepath.Join(dir, objectName())) }

func build(ctx context.Context, dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(dir, ": \t\n") {
		return "", fmt.Errorf("%s cannot be named in %s, which is split at spaces and colons; choose a directory without", dir, envPreload)
	}
	path := filepath.Join(dir, objectName())
	if exists(path) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "identity.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(path) { // somebody else was first
		return path, nil
	}
	part := path + ".part"
	defer os.Remove(part)
	if err := compile(ctx, part); err != nil {
		return "", err
	}
	if err := tryPreload(ctx, part); err != nil {
		return "", err
	}
	return path, os.Rename(part, path)
}

func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func objectName() string {
	digest := sha256.Sum256([]byte(source + strings.Join(compilerFlags, " ") + runtime.GOARCH))
	return "identity-" + hex.EncodeToString(digest[:8]) + ".so"
}

func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("cannot lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("cannot lock %s: %w", path, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func compile(ctx context.Context, out string) error {
	compiler, err := findCompiler()
	if err != nil {
		return &CompilerError{Err: err}
	}
	cmd := exec.CommandContext(ctx, compiler, append([]string{"-o", out}, compilerFlags...)...)
	cmd.Stdin = strings.NewReader(source)
	cmd.WaitDelay = time.Second
	output, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("cannot run %s: %w", compiler, context.Cause(ctx))
	case err != nil:
		return &CompilerError{Compiler: compiler, Output: string(output), Err: err}
	}
	// Written through before the rename: the name stands for a whole object.
	f, err := os.OpenFile(out, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chmod(0o755); err != nil {
		return err
	}
	return f.Sync()
}

var compilers = []string{"cc", "gcc", "clang"}

func findCompiler() (string, error) {
	if cc := os.Getenv("CC"); cc != "" {
		return exec.LookPath(cc)
	}
	for _, name := range compilers {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("found none of " + strings.Join(compilers, ", ") + " in PATH")
}

// tryPreload finds out what the loader would otherwise say in every log: a directory
// mounted noexec, a policy, a foreign architecture.
func tryPreload(ctx context.Context, object string) error {
	shell := exec.CommandContext(ctx, "/bin/sh", "-c", ":")
	shell.Env = []string{envPreload + "=" + object}
	output, err := shell.CombinedOutput()
	if text := strings.TrimSpace(string(output)); err != nil || text != "" {
		return fmt.Errorf("the loader refuses it (is %s mounted noexec?): %s", filepath.Dir(object), firstLine(text, err))
	}
	return nil
}

// CompilerError says that the C compiler is missing or failed, and the remedy.
type CompilerError struct {
	Compiler string // path, or empty when there is none
	Output   string // what it said
	Err      error
}

// install is what a compiler and the C library's headers take.
const install = "apt-get install gcc libc6-dev"

// Error says what is missing and how to install it.
func (e *CompilerError) Error() string {
	if e.Compiler == "" {
		return fmt.Sprintf("a C compiler is missing (%v); install one with: %s", e.Err, install)
	}
	return fmt.Sprintf("%s failed (%s); when the compiler or the C headers are incomplete, install them with: %s",
		e.Compiler, firstLine(e.Output, e.Err), install)
}

// Unwrap returns the cause.
func (e *CompilerError) Unwrap() error { return e.Err }

// firstLine picks the line that matters: the first error, else the first one.
func firstLine(output string, err error) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	for _, line := range lines {
		if strings.Contains(line, "error") {
			return line
		}
	}
	if lines[0] != "" {
		return lines[0]
	}
	return fmt.Sprint(err)
}

// Env returns the environment entries that give a program and all its children the
// identity: the object at path, ahead of what our own environment preloads already,
// and the node's IPv4 address.
func Env(path, ip string) []string {
	objects := []string{path}
	split := func(r rune) bool { return r == ':' || r == ' ' }
	for _, other := range strings.FieldsFunc(os.Getenv(envPreload), split) {
		ours, _ := filepath.Match("identity-*.so", filepath.Base(other))
		if !ours {
			objects = append(objects, other)
		}
	}
	return []string{envPreload + "=" + strings.Join(objects, ":"), EnvIP + "=" + ip}
}
