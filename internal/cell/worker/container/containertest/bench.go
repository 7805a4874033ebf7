package containertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/node/proc"
)

// Places in the test's image; they are root's there, not this machine's.
const (
	home    = "/" + "root"
	private = home + "/private"
)

// Bench is a runtime to be tested, and an image.
type Bench struct {
	container.Runtime
	T     *testing.T
	Image *container.Image
	Node  string // the runtime's name for all that it starts
	// Sampled says that what an ended container used is known from now and then only.
	Sampled bool
	// Left finds what the runtime left besides processes, mounts and groups; may be nil.
	Left func() []string
}

// CheckClean finds processes, mounts and groups that a test left.
func (b *Bench) CheckClean() {
	killed, err := proc.Sweep(context.Background(), proc.Labels{Node: b.Node}, 0)
	if err != nil || len(killed) > 0 {
		b.T.Errorf("left processes %v, %v", killed, err)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), b.T.Name()) {
		b.T.Errorf("left mounts")
	}
	if b.Left != nil {
		for _, what := range b.Left() {
			b.T.Errorf("left %s", what)
		}
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(path, b.Node+"/") {
			b.T.Errorf("left control group %s", path)
			return filepath.SkipDir
		}
		return nil
	})
}

// Spec is a container that runs the content program with arguments.
func (b *Bench) Spec(args ...string) container.Spec {
	b.T.Helper()
	dir := b.T.TempDir()
	spec := container.Spec{
		ID:  strings.ToLower(strings.NewReplacer("/", "-", ",", "").Replace(b.T.Name())),
		Dir: filepath.Join(dir, "state"), Sandbox: filepath.Join(dir, "sandbox"),
		Argv: append([]string{"/bin/content"}, args...), Program: true, Image: b.Image, Grace: 5 * time.Second,
		Limits: cgroup.Limits{Memory: 64 << 20, CPUShares: 512, Pids: 1024},
	}
	for _, d := range []string{spec.Dir, spec.Sandbox} {
		if err := os.Mkdir(d, 0o700); err != nil {
			b.T.Fatal(err)
		}
	}
	return spec
}

// Begin starts a container, and ends it with the test.
func (b *Bench) Begin(spec container.Spec) container.Running {
	b.T.Helper()
	running, err := b.Start(b.T.Context(), spec)
	if err != nil {
		b.T.Fatal(err)
	}
	b.T.Cleanup(func() {
		_ = running.Kill(0)
		_, _ = running.Wait(context.Background())
	})
	return running
}

// RunOut runs a container to its end and returns its standard output.
func (b *Bench) RunOut(spec container.Spec) (shim.Exit, string) {
	b.T.Helper()
	exit := b.Wait(b.Begin(spec))
	return exit, b.Output(spec)
}

// Wait waits for the end of a container.
func (b *Bench) Wait(r container.Running) shim.Exit {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.T.Context(), 30*time.Second)
	defer cancel()
	exit, err := r.Wait(ctx)
	if err != nil {
		b.T.Fatal(err)
	}
	return exit
}

// Output is what a container printed so far.
func (b *Bench) Output(spec container.Spec) string {
	text, err := os.ReadFile(filepath.Join(spec.Sandbox, "stdout"))
	if err != nil {
		b.T.Error(err)
	}
	return string(text)
}

// Until waits for a condition.
func (b *Bench) Until(what string, cond func() bool) {
	b.T.Helper()
	for end := time.Now().Add(60 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			b.T.Fatalf("not in 60 s: %s", what)
		}
	}
}

// FreePort returns an address of loopback that nobody listens on.
func FreePort(t *testing.T, network string) string {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.LocalAddr().String()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Fetch returns what a URL answers.
func Fetch(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func askUDP(t *testing.T, address string) string {
	t.Helper()
	c, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(c, "ping")
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}
