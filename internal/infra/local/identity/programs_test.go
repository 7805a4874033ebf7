package identity

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func needCompiler(t *testing.T) {
	t.Helper()
	if _, err := findCompiler(); err != nil {
		t.Skip(err)
	}
}

// object is built once for all tests of programs.
func object(t *testing.T) string {
	t.Helper()
	needCompiler(t)
	path, err := Build(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// program is a real program on a node: it says lines, and ends when its stdin does.
type program struct {
	lines *bufio.Scanner
	stdin io.Closer
	cmd   *exec.Cmd
}

func run(t *testing.T, so, ip string, argv ...string) *program {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), Env(so, ip)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{lines: bufio.NewScanner(out), stdin: stdin, cmd: cmd}
	t.Cleanup(p.end)
	return p
}

func (p *program) end() {
	_ = p.stdin.Close()
	timer := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	_ = p.cmd.Wait()
	timer.Stop()
}

// says expects the next lines of the program.
func (p *program) says(t *testing.T, want ...string) {
	t.Helper()
	for _, line := range want {
		if !p.lines.Scan() {
			t.Fatalf("ended before saying %q: %v", line, p.lines.Err())
		}
		if got := p.lines.Text(); got != line {
			t.Errorf("said %q, want %q", got, line)
		}
	}
}

// kernelListeners returns the local addresses of all listeners on port, as the
// kernel's tables write them.
func kernelListeners(t *testing.T, port int) []string {
	t.Helper()
	var found []string
	for _, table := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile("/proc/net/" + table)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) > 3 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				found = append(found, strings.Split(f[1], ":")[0])
			}
		}
	}
	return found
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.9.77.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

const pythonServer = `
import socket, sys
port = int(sys.argv[1])
s = socket.socket(socket.AF_INET); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('0.0.0.0', port)); s.listen(); print(s.getsockname()[0], flush=True)
sys.stdin.read()
`

func python(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	return path
}

func TestThreeNodesShareAPort(t *testing.T) {
	so, py, port := object(t), python(t), freePort(t)
	nodes := []string{"127.9.77.11", "127.9.77.12", "127.9.77.13"}
	for _, ip := range nodes {
		run(t, so, ip, py, "-c", pythonServer, fmt.Sprint(port)).says(t, ip)
	}
	listeners := kernelListeners(t, port)
	if len(listeners) != 3 {
		t.Errorf("listeners: %v", listeners)
	}
	for _, hex := range listeners {
		if strings.Trim(hex, "0") == "" {
			t.Errorf("a wildcard listener: %v", listeners)
		}
	}
	for _, ip := range nodes {
		c, err := net.Dial("tcp", net.JoinHostPort(ip, fmt.Sprint(port)))
		if err != nil {
			t.Error(err)
			continue
		}
		c.Close()
	}
}

const pythonCases = `
import socket, sys, os, errno
port = int(sys.argv[1]); peer = sys.argv[2]
def say(*a): print(*a, flush=True)
def sock(family, kind=socket.SOCK_STREAM): return socket.socket(family, kind)
I4, I6 = socket.AF_INET, socket.AF_INET6

s = sock(I6); s.bind(('::', 0)); s.listen(); say('bind ::', s.getsockname()[0]); own = s.getsockname()[1]
v = sock(I6); v.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1); v.bind(('::', 0)); say('bind :: only', v.getsockname()[0])
m = sock(I6); m.bind(('::ffff:0.0.0.0', 0)); say('bind mapped', m.getsockname()[0])
u = sock(I4); u.listen(); say('listen unbound', u.getsockname()[0], u.getsockname()[1] != 0)
b = sock(I4); b.bind(('127.9.77.99', 0)); say('bind other', b.getsockname()[0])
l = sock(I6); l.bind(('::1', 0)); say('bind ::1', l.getsockname()[0])
d = sock(I4, socket.SOCK_DGRAM); d.bind(('0.0.0.0', 0)); say('datagram', d.getsockname()[0])
x = socket.socket(socket.AF_UNIX); x.bind('\0howdah-test-%d' % os.getpid()); x.listen(); say('unix ok')

c = sock(I4); c.connect((peer, port)); say('connect', c.getsockname()[0], c.getpeername()[0])
c = sock(I6); c.connect(('::ffff:' + peer, port)); say('connect mapped', c.getsockname()[0])
c = sock(I4); c.bind(('127.9.77.99', 0)); c.connect((peer, port)); say('connect bound', c.getsockname()[0])
c = sock(I4); c.setblocking(False)
try: c.connect((peer, port))
except BlockingIOError: pass
say('connect async', c.getsockname()[0])
c = sock(I4)
try: c.connect(('127.9.77.98', 1)); say('connected')
except ConnectionRefusedError as e: say('refused', e.errno == errno.ECONNREFUSED)
d = sock(I4, socket.SOCK_DGRAM); d.connect((peer, port)); say('datagram connect', d.getsockname()[0].startswith('127.9.77.5'))
c = socket.create_connection(('127.0.0.1', int(sys.argv[3]))); say('to 127.0.0.1', c.getsockname()[0])
def busy():
    s = sock(I4); s.bind(('0.0.0.0', own))
try: busy(); say('bound twice')
except OSError as e: say('in use', e.errno == errno.EADDRINUSE)
try: sock(I4).bind(('0.0.0.0', 70000))
except OverflowError: say('overflow')
# ports chosen at connect: as many connections as there are to two peers from one source
seen = set()
for i in range(20):
    c = sock(I4); c.connect((peer, port)); seen.add(c.getsockname())
say('sources', {a for a, _ in seen} == {'127.9.77.51'})
say('child', os.popen(sys.executable + ' -c "import socket; s=socket.socket(); s.bind((str(), 0)); print(s.getsockname()[0])"').read().strip())
`

func TestSocketsOfPython(t *testing.T) {
	so, py := object(t), python(t)
	peer, err := net.Listen("tcp", "127.9.77.50:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	home, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	port := func(l net.Listener) string { return fmt.Sprint(l.Addr().(*net.TCPAddr).Port) }
	p := run(t, so, "127.9.77.51", py, "-c", pythonCases, port(peer), "127.9.77.50", port(home))
	p.says(t,
		"bind :: ::ffff:127.9.77.51",
		"bind :: only ::ffff:127.9.77.51",
		"bind mapped ::ffff:127.9.77.51",
		"listen unbound 127.9.77.51 True",
		"bind other 127.9.77.99",
		"bind ::1 ::1",
		"datagram 0.0.0.0",
		"unix ok",
		"connect 127.9.77.51 127.9.77.50",
		"connect mapped ::ffff:127.9.77.51",
		"connect bound 127.9.77.99",
		"connect async 127.9.77.51",
		"refused True",
		"datagram connect False", // the kernel's own choice
		"to 127.0.0.1 127.9.77.51",
		"in use True",
		"overflow",
		"sources True",
		"child 127.9.77.51",
	)
}

// Without an address, or with one that is none, the object does nothing.
func TestIdleWithoutAddress(t *testing.T) {
	so, py := object(t), python(t)
	for _, ip := range []string{"", "nonsense", "::1"} {
		run(t, so, ip, py, "-c", "import socket; s=socket.socket(); s.bind(('', 0)); print(s.getsockname()[0])").says(t, "0.0.0.0")
	}
}

const javaProgram = `
import java.net.*;
import java.nio.channels.*;

public class Probe {
	public static void main(String[] args) throws Exception {
		int port = Integer.parseInt(args[0]);
		String peer = args[1];
		int peerPort = Integer.parseInt(args[2]);
		try (ServerSocket s = new ServerSocket(port); ServerSocketChannel c = ServerSocketChannel.open()) {
			c.bind(new InetSocketAddress("0.0.0.0", port + 1));
			System.out.println("serving");
			try (Socket k = new Socket(peer, peerPort)) {
				System.out.println("socket from " + k.getLocalAddress().getHostAddress());
			}
			try (SocketChannel k = SocketChannel.open(new InetSocketAddress(peer, peerPort))) {
				System.out.println("channel from " + ((InetSocketAddress) k.getLocalAddress()).getAddress().getHostAddress());
			}
			try (SocketChannel k = SocketChannel.open()) {
				k.configureBlocking(false);
				k.connect(new InetSocketAddress(peer, peerPort));
				while (!k.finishConnect()) Thread.onSpinWait();
				System.out.println("async from " + ((InetSocketAddress) k.getLocalAddress()).getAddress().getHostAddress());
			}
			System.in.read();
		}
	}
}
`

// The JVM uses AF_INET6 sockets unless told otherwise.
func TestSocketsOfJava(t *testing.T) {
	so := object(t)
	javac, err := exec.LookPath("javac")
	if err != nil {
		t.Skip("no JDK")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Probe.java"), []byte(javaProgram), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(javac, "-d", dir, filepath.Join(dir, "Probe.java")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	peer, err := net.Listen("tcp", "127.9.77.60:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	port := freePort(t)
	args := []string{"-cp", dir, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "Probe", fmt.Sprint(port), "127.9.77.60", fmt.Sprint(peer.Addr().(*net.TCPAddr).Port)}
	for ip, option := range map[string]string{"127.9.77.61": "-Dx=y", "127.9.77.62": "-Djava.net.preferIPv4Stack=true", "127.9.77.63": "-Dx=y"} {
		p := run(t, so, ip, append([]string{"java", option}, args...)...)
		p.says(t, "serving", "socket from "+ip, "channel from "+ip, "async from "+ip)
	}
	for _, p := range []int{port, port + 1} {
		listeners := kernelListeners(t, p)
		if len(listeners) != 3 {
			t.Errorf("port %d: %v", p, listeners)
		}
		for _, hex := range listeners {
			if strings.Trim(hex, "0") == "" {
				t.Errorf("port %d: a wildcard listener", p)
			}
		}
	}
}
