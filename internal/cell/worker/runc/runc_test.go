package runc

import (
	"bufio"
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
	"howdah.dev/howdah/internal/cell/shim/keeper"
	"howdah.dev/howdah/internal/cell/shim/shimtest"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/node/proc"
)

// Places in the test's image; they are root's there, not this machine's.
const (
	home    = "/" + "root"
	private = home + "/private"
)

// bench is what the tests of the package share: a runtime and an image.
type bench struct {
	*Runtime
	t     *testing.T
	image *container.Image
	node  string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	shimtest.NeedRunc(t)
	b := &bench{t: t, node: fmt.Sprintf("runc-test-%d", os.Getpid())}
	parent, err := cgroup.Find("/sys/fs/cgroup", "/proc/self/cgroup", b.node)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(parent.Remove)
	b.Runtime = New(Config{Shims: container.Shims{Program: shimtest.Build(t), Node: b.node, Parent: &parent, IP: "127.0.0.1"}})
	weaker, err := b.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(weaker) > 0 {
		t.Logf("weaker here: %q", weaker)
	}
	b.image = &container.Image{Name: "content", Layers: []string{shimtest.Layer(t)}}
	t.Cleanup(b.checkClean)
	return b
}

// checkClean finds processes, mounts and groups that a test left.
func (b *bench) checkClean() {
	killed, err := proc.Sweep(context.Background(), proc.Labels{Node: b.node}, 0)
	if err != nil || len(killed) > 0 {
		b.t.Errorf("left processes %v, %v", killed, err)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), b.t.Name()) {
		b.t.Errorf("left mounts")
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(path, b.node+"/") {
			b.t.Errorf("left control group %s", path)
			return filepath.SkipDir
		}
		return nil
	})
}

// spec is a container that runs the content program with arguments.
func (b *bench) spec(args ...string) container.Spec {
	b.t.Helper()
	dir := b.t.TempDir()
	spec := container.Spec{
		ID:  strings.ToLower(strings.ReplaceAll(b.t.Name(), "/", "-")),
		Dir: filepath.Join(dir, "state"), Sandbox: filepath.Join(dir, "sandbox"),
		Argv: append([]string{"/bin/content"}, args...), Program: true, Image: b.image, Grace: 5 * time.Second,
		Limits: cgroup.Limits{Memory: 64 << 20, CPUShares: 512, Pids: 1024},
	}
	for _, d := range []string{spec.Dir, spec.Sandbox} {
		if err := os.Mkdir(d, 0o700); err != nil {
			b.t.Fatal(err)
		}
	}
	return spec
}

func (b *bench) start(spec container.Spec) container.Running {
	b.t.Helper()
	running, err := b.Start(b.t.Context(), spec)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = running.Kill(0)
		_, _ = running.Wait(context.Background())
	})
	return running
}

// run runs a container to its end and returns its standard output.
func (b *bench) run(spec container.Spec) (shim.Exit, string) {
	b.t.Helper()
	exit := b.wait(b.start(spec))
	return exit, b.output(spec)
}

func (b *bench) wait(r container.Running) shim.Exit {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	exit, err := r.Wait(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	return exit
}

func (b *bench) output(spec container.Spec) string {
	text, err := os.ReadFile(filepath.Join(spec.Sandbox, "stdout"))
	if err != nil {
		b.t.Error(err)
	}
	return string(text)
}

func (b *bench) until(what string, cond func() bool) {
	b.t.Helper()
	for end := time.Now().Add(60 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("not in 60 s: %s", what)
		}
	}
}

func TestContainer(t *testing.T) {
	b := newBench(t)
	tests := []struct {
		name string
		spec func() container.Spec
		want string // output
		exit shim.Exit
	}{
		{name: "exit code", spec: func() container.Spec { return b.spec("exit", "42") }, exit: shim.Exit{ExitCode: 42}},
		{name: "first process, root of its own users", spec: func() container.Spec { return b.spec("id", "cat", private) }, want: "0 0 1\nof root\n"},
		{name: "user of the image", spec: func() container.Spec {
			s := b.spec("id", "write", "/mnt/mesos/sandbox/x", "cat", private)
			s.Image = &container.Image{Name: "content", Layers: s.Image.Layers, Config: container.ImageConfig{User: "app:staff"}}
			return s
		}, want: "1234 50 1\nerror: open " + private + ": permission denied\n"},
		{name: "shell line", spec: func() container.Spec {
			s := b.spec()
			s.Argv, s.Shell, s.Program = []string{"echo hello exit 3"}, true, false
			return s
		}, want: "hello\n", exit: shim.Exit{ExitCode: 3}},
		{name: "entry point and arguments", spec: func() container.Spec {
			s := b.spec()
			s.Argv, s.Program = []string{"env", "A", "env", "B"}, false
			s.Image = &container.Image{Name: "content", Layers: s.Image.Layers, Config: container.ImageConfig{
				Entrypoint: []string{"/bin/content", "echo", "hi"}, Cmd: []string{"exit", "9"}, Env: []string{"A=image", "B=image"},
			}}
			s.Env = []string{"B=task"}
			return s
		}, want: "hi\nimage\ntask\n"},
		{name: "names", spec: func() container.Spec {
			s := b.spec("cat", "/etc/hostname", "cat", "/etc/hosts", "ls", "/sys/fs")
			s.Hostname = "shop-1"
			return s
		}, want: "shop-1\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.0.1\tshop-1\ncgroup\n"},
		{name: "secret", spec: func() container.Spec {
			s := b.spec("cat", "/run/secret", "cat", "/mnt/mesos/sandbox/key")
			s.Volumes = []container.Volume{{ContainerPath: "/run/secret", Data: []byte("hush\n")}, {ContainerPath: "key", Data: []byte("k\n")}}
			return s
		}, want: "hush\nk\n"},
		{name: "no mounts, no files of others", spec: func() container.Spec {
			return b.spec("mount", "write", "/proc/sys/kernel/core_pattern")
		}, want: "error: operation not permitted\nerror: open /proc/sys/kernel/core_pattern: read-only file system\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sub := *b
			b.t = t
			defer func() { b.t = sub.t }()
			exit, out := b.run(tt.spec())
			if exit.Error != "" || exit.ExitCode != tt.exit.ExitCode || exit.Signal != tt.exit.Signal {
				t.Errorf("exit %+v", exit)
			}
			if out != tt.want {
				t.Errorf("output\n%s\nwant\n%s", out, tt.want)
			}
		})
	}
}

func TestVolumes(t *testing.T) {
	b := newBench(t)
	host := t.TempDir()
	if err := os.Chmod(host, 0o777); err != nil {
		t.Fatal(err)
	}
	spec := b.spec("write", "/data/new", "cat", "/data/new", "write", "/ro/new")
	spec.Volumes = []container.Volume{{ContainerPath: "/data", HostPath: host}, {ContainerPath: "/ro", HostPath: host, ReadOnly: true}}
	if _, out := b.run(spec); out != "written\nerror: open /ro/new: read-only file system\n" {
		t.Errorf("output %q", out)
	}
	if _, err := os.Stat(filepath.Join(host, "new")); err != nil {
		t.Error(err)
	}
	// Swapped for a link after it was looked at.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/etc", link); err != nil {
		t.Fatal(err)
	}
	spec = b.spec("ls", "/data")
	spec.Volumes = []container.Volume{{ContainerPath: "/data", HostPath: link}}
	if exit := b.wait(b.start(spec)); !strings.Contains(exit.Error, "too many levels of symbolic links") {
		t.Errorf("a link: %+v", exit)
	}
}

func TestLimits(t *testing.T) {
	b := newBench(t)
	t.Run("memory", func(t *testing.T) {
		b.t = t
		exit, _ := b.run(b.spec("hog"))
		if exit.Signal != 9 || !exit.OOMKilled || exit.MaxMemory < 50<<20 || exit.MaxMemory > 70<<20 {
			t.Errorf("exit %+v", exit)
		}
	})
	t.Run("processes", func(t *testing.T) {
		b.t = t
		spec := b.spec("forkbomb")
		spec.Limits = cgroup.Limits{Memory: 512 << 20, CPUShares: 512, Pids: 64}
		r := b.start(spec)
		b.until("the bomb is spent", func() bool { return strings.HasPrefix(b.output(spec), "processes ") })
		if stats := r.Stats(); stats.Pids > 64 || stats.Pids < 10 {
			t.Errorf("%d processes", stats.Pids)
		}
		_ = r.Kill(0)
		if exit := b.wait(r); exit.Signal != 9 || !exit.Killed {
			t.Errorf("exit %+v", exit)
		}
	})
	b.t = t
}

func TestNetwork(t *testing.T) {
	b := newBench(t)
	outside, err := net.Listen("unix", filepath.Join(t.TempDir(), "gateway"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "the warehouse\n") })}
	go server.Serve(outside)
	defer server.Close()
	// A listener of the host that nobody inside may reach.
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	tcp, udp := freePort(t, "tcp"), freePort(t, "udp")
	spec := b.spec("listen", "80", "udp", "53", "get", "http://127.0.0.1:9870/", "get", "http://"+closed.Addr().String(), "scan", "10000", "wait")
	spec.Network.Forwards = []shim.Forward{{Protocol: "tcp", Listen: tcp, Port: 80}, {Protocol: "udp", Listen: udp, Port: 53}}
	spec.Network.Gateways = []shim.Gateway{{Port: 9870, Network: "unix", Address: outside.Addr().String()}}
	r := b.start(spec)
	b.until("it listens", func() bool { return strings.Count(b.output(spec), "listening") == 2 })

	if text := fetch(t, "http://"+tcp+"/"); text != "hello from 1, port 80\n" {
		t.Errorf("through the port: %q", text)
	}
	if text := askUDP(t, udp); text != "PING" {
		t.Errorf("through the UDP port: %q", text)
	}
	b.until("it scanned its loopback", func() bool { return strings.Contains(b.output(spec), "scanned") })
	refused := fmt.Sprintf("error: Get \"http://%s\": dial tcp %s: connect: connection refused\n", closed.Addr(), closed.Addr())
	if want := "listening\nlistening\nthe warehouse\n" + refused + "open 80\nopen 9870\nscanned\n"; b.output(spec) != want {
		t.Errorf("output\n%s\nwant\n%s", b.output(spec), want)
	}
	conn, err := r.Dial(t.Context(), 80)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "HTTP/1.0 200 OK\r\n" {
		t.Errorf("as a health check: %q, %v", line, err)
	}
	conn.Close()
	if _, err := r.Dial(t.Context(), 81); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody listens: %v", err)
	}
	code, out, err := r.Run(t.Context(), shim.ExecRequest{Argv: []string{"/bin/content", "id", "env", "X", "exit", "4"}, Env: []string{"X=y"}}, 1000)
	if err != nil || code != 4 || !strings.HasSuffix(string(out), "\ny\n") {
		t.Errorf("exec: %d %q %v", code, out, err)
	}
	taken := b.spec("wait")
	taken.ID += "-taken"
	taken.Network.Forwards = spec.Network.Forwards[:1]
	if exit := b.wait(b.start(taken)); !strings.Contains(exit.Error, "cannot forward tcp port "+tcp+": ") || !strings.HasSuffix(exit.Error, "address already in use") {
		t.Errorf("taken port: %+v", exit)
	}
	_ = r.Kill(0)
	b.wait(r)
}

func freePort(t *testing.T, network string) string {
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

func fetch(t *testing.T, url string) string {
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

func TestKillAndFind(t *testing.T) {
	b := newBench(t)
	spec := b.spec("trap", "7", "echo", "up", "wait")
	r := b.start(spec)
	b.until("it runs", func() bool { return b.output(spec) == "up\n" })
	again, err := b.Find(t.Context(), spec.Dir)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := r.Started()
	if second, ok := again.Started(); !ok || second != first {
		t.Errorf("found %+v, want %+v", second, first)
	}
	_ = again.Kill(5 * time.Second)
	if exit := b.wait(r); exit.ExitCode != 7 || !exit.Killed || exit.CPU == 0 {
		t.Errorf("exit %+v", exit)
	}
}

func TestShimKilled(t *testing.T) {
	b := newBench(t)
	spec := b.spec("echo", "up", "wait")
	r := b.start(spec)
	b.until("it runs", func() bool { return b.output(spec) == "up\n" })
	started, _ := r.Started()
	pid := r.(interface{ PID() int }).PID()
	shimProcess, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := shimProcess.Kill(); err != nil {
		t.Fatal(err)
	}
	if exit := b.wait(r); exit.Error != "its shim was killed; the task was ended with it" {
		t.Errorf("exit %+v", exit)
	}
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", started.PID)); err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("the container lives on: %s", stat)
	}
	if _, err := keeper.Find(t.Context(), spec.Dir, b.node); err != nil {
		t.Error(err)
	}
}
