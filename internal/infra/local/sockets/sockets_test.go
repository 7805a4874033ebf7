package sockets

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/node/proc"
)

const tcpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100097F:268E 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 100 0 0 10 0
   2: 0100097F:268E 0200097F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 4713 1 0000000000000000 20 4 30 10 -1
`

const tcp6Table = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF00000100097F:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0 0 10 0
   1: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
   3: B80D0120000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4 1 0 100 0 0 10 0
`

const udpTable = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 9 2 0000000000000000 0
  101: 0100097F:9999 0200097F:0035 01 00000000:00000000 00:00000000 00000000   101        0 8 2 0000000000000000 0
`

func parse(t *testing.T, table, proto string) []Listener {
	t.Helper()
	ls, err := parseTable(strings.NewReader(table), proto)
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var compareAddr = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func TestParseTable(t *testing.T) {
	all := parse(t, tcpTable, "tcp")
	all = append(all, parse(t, tcp6Table, "tcp6")...)
	all = append(all, parse(t, udpTable, "udp")...)
	want := []Listener{
		{Proto: "tcp", Addr: at("127.9.0.1:9870"), Inode: 4711},
		{Proto: "tcp", Addr: at("0.0.0.0:22"), Inode: 4712},
		{Proto: "tcp6", Addr: at("127.9.0.1:8080"), Inode: 1},
		{Proto: "tcp6", Addr: at("[::1]:631"), Inode: 2},
		{Proto: "tcp6", Addr: at("[::]:80"), Inode: 3},
		{Proto: "tcp6", Addr: at("[2001:db8::1]:81"), Inode: 4},
		{Proto: "udp", Addr: at("127.0.0.53:53"), Inode: 9},
	}
	if diff := cmp.Diff(want, all, compareAddr); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Listener{want[1], want[4], want[5]}, Exposed(all), compareAddr); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"zz:1", "0100097F", "0100097F:zzzz", "01:1"} {
		line := "\n 0: " + bad + " 0:0 0A 0 0 0 0 0 1 1\n"
		if _, err := parseTable(strings.NewReader(line), "tcp"); err == nil || err.Error() != fmt.Sprintf("cannot parse address %q", bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestCollide(t *testing.T) {
	for _, tt := range []struct {
		have, want string
		yes        bool
	}{
		{"127.9.0.1:80", "127.9.0.1:80", true},
		{"127.9.0.1:80", "127.9.0.1:81", false},
		{"127.9.0.1:80", "127.9.0.2:80", false},
		{"0.0.0.0:80", "127.9.0.1:80", true},
		{"0.0.0.0:80", "[::1]:80", false},
		{"[::]:80", "127.9.0.1:80", true},
		{"[::]:80", "0.0.0.0:80", true},
		{"127.9.0.1:80", "0.0.0.0:80", true},
		{"127.9.0.1:80", "[::]:80", true},
		{"[::1]:80", "0.0.0.0:80", false},
		{"127.9.0.1:80", "[::ffff:127.9.0.1]:80", true},
	} {
		if got := collide(at(tt.have), at(tt.want)); got != tt.yes {
			t.Errorf("%s holds %s: %v", tt.have, tt.want, got)
		}
	}
}

func TestString(t *testing.T) {
	l := Listener{Proto: "tcp", Addr: at("127.9.0.1:9870"), PID: 12, Command: "java " + strings.Repeat("x", 100)}
	if got, want := l.String(), "tcp 127.9.0.1:9870 by pid 12 (java "+strings.Repeat("x", 75)+"...)"; got != want {
		t.Errorf("got %s", got)
	}
	l.PID = 0
	if got := l.String(); got != "tcp 127.9.0.1:9870 by an unknown process (of another user?)" {
		t.Errorf("got %s", got)
	}
}

func TestRealSockets(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.9.78.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	addr := tcp.Addr().(*net.TCPAddr).AddrPort()
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at("127.9.78.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()

	ls, err := Listeners()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, l := range ls {
		if l.Addr.Addr() == addr.Addr() {
			seen[l.Proto] = true
			if l.PID != os.Getpid() || !strings.Contains(l.Command, os.Args[0]) {
				t.Errorf("got %s", l)
			}
		}
	}
	if !seen["tcp"] || !seen["udp"] {
		t.Errorf("seen %v", seen)
	}
	if got, ok := Holder(addr); !ok || got.PID != os.Getpid() || got.Addr != addr {
		t.Errorf("got %v, %v", got, ok)
	}
	if got, ok := Holder(netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port())); !ok || got.Addr.Port() != addr.Port() { // of another address, perhaps
		t.Errorf("got %v, %v", got, ok)
	}
	if got, ok := Holder(netip.AddrPortFrom(netip.MustParseAddr("127.9.78.2"), addr.Port())); ok {
		t.Errorf("got %v", got)
	}
}

// TestHolderGoes: one that is closed while somebody looks who it is was nobody else's.
func TestHolderGoes(t *testing.T) {
	first, err := net.Listen("tcp", "127.9.78.4:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := first.Addr().(*net.TCPAddr).AddrPort()
	first.Close()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			default:
			}
			if l, err := net.Listen("tcp", addr.String()); err != nil {
				t.Error(err)
			} else {
				time.Sleep(time.Millisecond)
				l.Close()
			}
		}
	}()
	found := 0
	for range 10 {
		got, ok := Holder(addr)
		if ok && got.PID != os.Getpid() {
			t.Errorf("it is said to be held by %s", got.Owner())
			break
		}
		if ok {
			found++
		}
	}
	close(end)
	<-ended
	t.Logf("found %d times", found)
}

func TestLabelsOfTheHolder(t *testing.T) {
	py, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	labels := proc.Labels{Node: fmt.Sprintf("sockets-test-%d", os.Getpid()), Service: "web", Incarnation: 2}
	p, err := proc.Start(proc.Spec{
		Argv:   []string{py, "-c", `import socket,time; s=socket.socket(); s.bind(("127.9.78.3", 0)); s.listen(); print(s.getsockname()[1], flush=True); time.sleep(60)`},
		Output: t.TempDir() + "/out", Labels: labels,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(t.Context(), 0)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		ls, err := Listeners()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range ls {
			if l.Labels == labels {
				if l.Addr.Addr() != netip.MustParseAddr("127.9.78.3") || !strings.Contains(l.Command, "python") {
					t.Errorf("got %+v", l)
				}
				return
			}
		}
	}
	t.Error("no listener with the labels")
}
