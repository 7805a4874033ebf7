// Package containertest holds the tests that every runtime of containers passes. It is
// imported by tests only.
package containertest

import (
	"bufio"
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
	"howdah.dev/howdah/internal/cell/worker/container"
)

// Run runs the tests. make makes what they need.
func Run(t *testing.T, make func(t *testing.T) *Bench) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *Bench)
	}{
		{"Container", testContainer},
		{"Volumes", testVolumes},
		{"Limits", testLimits},
		{"Network", testNetwork},
		{"KillAndFind", testKillAndFind},
		{"Deaf", testDeaf},
		{"ShimKilled", testShimKilled},
		{"Privileges", testPrivileges},
		{"Exec", testExec},
		{"NoProgram", testNoProgram},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, make(t)) })
	}
}

func testContainer(t *testing.T, b *Bench) {
	tests := []struct {
		name string
		spec func() container.Spec
		want string // output
		exit shim.Exit
	}{
		{name: "exit code", spec: func() container.Spec { return b.Spec("exit", "42") }, exit: shim.Exit{ExitCode: 42}},
		{name: "first process, root of its own users", spec: func() container.Spec { return b.Spec("id", "cat", private) }, want: "0 0 1\nof root\n"},
		{name: "user of the image", spec: func() container.Spec {
			s := b.Spec("id", "write", "/mnt/mesos/sandbox/x", "cat", private)
			s.Image = withConfig(s.Image, container.ImageConfig{User: "app:staff"})
			return s
		}, want: "1234 50 1\nerror: open " + private + ": permission denied\n"},
		{name: "shell line", spec: func() container.Spec {
			s := b.Spec()
			s.Argv, s.Shell, s.Program = []string{"echo hello exit 3"}, true, false
			return s
		}, want: "hello\n", exit: shim.Exit{ExitCode: 3}},
		{name: "entry point and arguments", spec: func() container.Spec {
			s := b.Spec()
			s.Argv, s.Program = []string{"env", "A", "env", "B"}, false
			s.Image = withConfig(s.Image, container.ImageConfig{
				Entrypoint: []string{"/bin/content", "echo", "hi"}, Cmd: []string{"exit", "9"}, Env: []string{"A=image", "B=image"},
			})
			s.Env = []string{"B=task"}
			return s
		}, want: "hi\nimage\ntask\n"},
		{name: "names", spec: func() container.Spec {
			s := b.Spec("cat", "/etc/hostname", "cat", "/etc/hosts")
			s.Hostname = "shop-1"
			return s
		}, want: "shop-1\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.0.1\tshop-1\n"},
		{name: "secret", spec: func() container.Spec {
			s := b.Spec("cat", "/run/secret", "cat", "/mnt/mesos/sandbox/key")
			s.Volumes = []container.Volume{{ContainerPath: "/run/secret", Data: []byte("hush\n")}, {ContainerPath: "key", Data: []byte("k\n")}}
			return s
		}, want: "hush\nk\n"},
		{name: "no mounts, no files of others", spec: func() container.Spec {
			return b.Spec("mount", "write", "/proc/sys/kernel/core_pattern")
		}, want: "error: operation not permitted\nerror: open /proc/sys/kernel/core_pattern: read-only file system\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sub := *b
			b.T = t
			defer func() { b.T = sub.T }()
			exit, out := b.RunOut(tt.spec())
			if exit.Error != "" || exit.ExitCode != tt.exit.ExitCode || exit.Signal != tt.exit.Signal {
				t.Errorf("exit %+v", exit)
			}
			if out != tt.want {
				t.Errorf("output\n%s\nwant\n%s", out, tt.want)
			}
		})
	}
}

func withConfig(image *container.Image, config container.ImageConfig) *container.Image {
	other := *image
	other.Config = config
	return &other
}

func testVolumes(t *testing.T, b *Bench) {
	host := t.TempDir()
	if err := os.Chmod(host, 0o777); err != nil {
		t.Fatal(err)
	}
	spec := b.Spec("write", "/data/new", "cat", "/data/new", "write", "/ro/new")
	spec.Volumes = []container.Volume{{ContainerPath: "/data", HostPath: host}, {ContainerPath: "/ro", HostPath: host, ReadOnly: true}}
	if _, out := b.RunOut(spec); out != "written\nerror: open /ro/new: read-only file system\n" {
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
	spec = b.Spec("ls", "/data")
	spec.Volumes = []container.Volume{{ContainerPath: "/data", HostPath: link}}
	if exit := b.Wait(b.Begin(spec)); !strings.Contains(exit.Error, "too many levels of symbolic links") {
		t.Errorf("a link: %+v", exit)
	}
}

func testLimits(t *testing.T, b *Bench) {
	t.Run("memory", func(t *testing.T) {
		b.T = t
		exit, _ := b.RunOut(b.Spec("hog"))
		if exit.Signal != 9 || !exit.OOMKilled || !b.Sampled && exit.MaxMemory < 50<<20 || exit.MaxMemory > 70<<20 {
			t.Errorf("exit %+v", exit)
		}
	})
	t.Run("processes", func(t *testing.T) {
		b.T = t
		spec := b.Spec("forkbomb")
		spec.Limits = cgroup.Limits{Memory: 512 << 20, CPUShares: 512, Pids: 64}
		r := b.Begin(spec)
		b.Until("the bomb is spent", func() bool { return strings.HasPrefix(b.Output(spec), "processes ") })
		if stats := r.Stats(); stats.Pids > 64 || stats.Pids < 10 || stats.Refused == 0 {
			t.Errorf("%d processes, %d refused", stats.Pids, stats.Refused)
		}
		_ = r.Kill(0)
		if exit := b.Wait(r); exit.Signal != 9 || !exit.Killed {
			t.Errorf("exit %+v", exit)
		}
	})
	b.T = t
}

func testNetwork(t *testing.T, b *Bench) {
	outside, err := net.Listen("unix", filepath.Join(t.TempDir(), "gateway"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the warehouse\n") })}
	go func() { _ = server.Serve(outside) }()
	defer server.Close()
	// A listener of the host that nobody inside may reach.
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	tcp, udp := FreePort(t, "tcp"), FreePort(t, "udp")
	spec := b.Spec("listen", "80", "udp", "53", "get", "http://127.0.0.1:9870/", "get", "http://"+closed.Addr().String(), "scan", "10000", "wait")
	spec.Network.Forwards = []shim.Forward{{Protocol: "tcp", Listen: tcp, Port: 80}, {Protocol: "udp", Listen: udp, Port: 53}}
	spec.Network.Gateways = []shim.Gateway{{Port: 9870, Network: "unix", Address: outside.Addr().String()}}
	r := b.Begin(spec)
	b.Until("it listens", func() bool { return strings.Count(b.Output(spec), "listening") == 2 })

	if text := Fetch(t, "http://"+tcp+"/"); text != "hello from 1, port 80\n" {
		t.Errorf("through the port: %q", text)
	}
	if text := askUDP(t, udp); text != "PING" {
		t.Errorf("through the UDP port: %q", text)
	}
	b.Until("it scanned its loopback", func() bool { return strings.Contains(b.Output(spec), "scanned") })
	refused := fmt.Sprintf("error: Get \"http://%s\": dial tcp %s: connect: connection refused\n", closed.Addr(), closed.Addr())
	if want := "listening\nlistening\nthe warehouse\n" + refused + "open 80\nopen 9870\nscanned\n"; b.Output(spec) != want {
		t.Errorf("output\n%s\nwant\n%s", b.Output(spec), want)
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
	taken := b.Spec("wait")
	taken.ID += "-taken"
	taken.Network.Forwards = spec.Network.Forwards[:1]
	if exit := b.Wait(b.Begin(taken)); !strings.Contains(exit.Error, "cannot forward tcp port "+tcp+": ") || !strings.HasSuffix(exit.Error, "address already in use") {
		t.Errorf("taken port: %+v", exit)
	}
	_ = r.Kill(0)
	b.Wait(r)
}

func testKillAndFind(t *testing.T, b *Bench) {
	spec := b.Spec("trap", "7", "echo", "up", "wait")
	r := b.Begin(spec)
	b.Until("it runs", func() bool { return b.Output(spec) == "up\n" })
	again, err := b.Find(t.Context(), spec.Dir)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := r.Started()
	if second, ok := again.Started(); !ok || second != first {
		t.Errorf("found %+v, want %+v", second, first)
	}
	_ = again.Kill(5 * time.Second)
	if exit := b.Wait(r); exit.ExitCode != 7 || !exit.Killed || exit.CPU == 0 {
		t.Errorf("exit %+v", exit)
	}
}

// testDeaf: who does not listen to TERM is killed when its time is over, not before.
func testDeaf(t *testing.T, b *Bench) {
	spec := b.Spec("deaf", "echo", "up", "wait")
	r := b.Begin(spec)
	b.Until("it runs", func() bool { return b.Output(spec) == "up\n" })
	const grace = 500 * time.Millisecond
	asked := time.Now()
	_ = r.Kill(grace)
	if exit := b.Wait(r); exit.Signal != 9 || !exit.Killed || time.Since(asked) < grace {
		t.Errorf("exit %+v after %s", exit, time.Since(asked))
	}
}

func testShimKilled(t *testing.T, b *Bench) {
	spec := b.Spec("echo", "up", "wait")
	r := b.Begin(spec)
	b.Until("it runs", func() bool { return b.Output(spec) == "up\n" })
	started, _ := r.Started()
	pid := r.(interface{ PID() int }).PID()
	shimProcess, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := shimProcess.Kill(); err != nil {
		t.Fatal(err)
	}
	if exit := b.Wait(r); exit.Error != "its shim was killed; the task was ended with it" {
		t.Errorf("exit %+v", exit)
	}
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", started.PID)); err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("the container lives on: %s", stat)
	}
	if _, err := keeper.Find(t.Context(), spec.Dir, b.Node); err != nil {
		t.Error(err)
	}
}

// testPrivileges reads what the kernel says of the first process.
func testPrivileges(t *testing.T, b *Bench) {
	_, out := b.RunOut(b.Spec("cat", "/proc/self/status"))
	for _, want := range []string{"CapBnd:\t00000000000004fb\n", "CapEff:\t00000000000004fb\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// testExec: a command has a terminal when it wants one, and ends when who started it
// hangs up, also while it does not read what it is sent.
func testExec(t *testing.T, b *Bench) {
	r := b.Begin(b.Spec("wait"))
	processes := func() int {
		code, out, err := r.Run(t.Context(), shim.ExecRequest{Argv: []string{"/bin/content", "ls", "/proc"}}, 10000)
		if err != nil || code != 0 {
			t.Fatalf("%d %q %v", code, out, err)
		}
		n := 0
		for name := range strings.FieldsSeq(string(out)) {
			if strings.Trim(name, "0123456789") == "" {
				n++
			}
		}
		return n
	}
	before := processes()
	session, err := r.Exec(t.Context(), shim.ExecRequest{Argv: []string{"/bin/content", "echo", "on a terminal", "wait"}, Tty: true, Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	var text string
	for text != "on a terminal\r\n" {
		kind, data, err := session.Next()
		if err != nil || kind != shim.FrameStdout {
			t.Fatalf("kind %d, %v after %q", kind, err, text)
		}
		text += string(data)
	}
	if n := processes(); n != before+1 {
		t.Errorf("%d processes, before %d", n, before)
	}
	session.Close()
	b.Until("the command has ended", func() bool { return processes() == before })

	deaf, err := r.Exec(t.Context(), shim.ExecRequest{Argv: []string{"/bin/content", "wait"}})
	if err != nil {
		t.Fatal(err)
	}
	held := time.AfterFunc(500*time.Millisecond, func() { deaf.Close() })
	defer held.Stop()
	for deaf.Send(shim.FrameStdin, make([]byte, 64<<10)) == nil { // until it is closed
	}
	b.Until("the command that does not read has ended", func() bool { return processes() == before })

	if code, out, err := r.Run(t.Context(), shim.ExecRequest{Argv: []string{"/bin/nothing"}}, 1000); err == nil && code == 0 {
		t.Errorf("no such program: %q", out)
	}
}

// testNoProgram: a command that is not there was never started.
func testNoProgram(t *testing.T, b *Bench) {
	spec := b.Spec()
	spec.Argv = []string{"nothing"}
	r := b.Begin(spec)
	if exit := b.Wait(r); !strings.Contains(exit.Error, "nothing") {
		t.Errorf("exit %+v", exit)
	}
	if _, ok := r.Started(); ok {
		t.Error("it is said to have started")
	}
}
