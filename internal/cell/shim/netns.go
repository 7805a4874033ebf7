package shim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// netns is a network namespace that holds nothing but loopback.
type netns struct {
	file *os.File
	home *os.File // the namespace of the shim
}

const ownNetns = "/proc/thread-self/ns/net"

// newNetns makes one, unless it is given, brings its loopback up and binds it to
// NetnsAt.
func newNetns(given *os.File) (*netns, error) {
	home, err := os.Open(ownNetns)
	if err != nil {
		return nil, fmt.Errorf("cannot make a network namespace: %w", err)
	}
	n := &netns{home: home, file: given}
	made := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends, and with it its namespace
		made <- n.make()
	}()
	if err := <-made; err != nil {
		return nil, fmt.Errorf("cannot make a network namespace: %w", err)
	}
	return n, nil
}

func (n *netns) make() error {
	var err error
	if n.file != nil {
		err = unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET)
	} else {
		err = unix.Unshare(unix.CLONE_NEWNET)
	}
	if err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	// Everybody inside may listen on every port: the ports are the container's own.
	_ = os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0)
	n.file, err = bindNamespace(ownNetns, NetnsAt)
	return err
}

// joinNetns returns the namespace of a process, with its loopback up.
func joinNetns(pid int) (*netns, error) {
	home, err := os.Open(ownNetns)
	if err != nil {
		return nil, fmt.Errorf("cannot enter the network namespace: %w", err)
	}
	n := &netns{home: home}
	if n.file, err = os.Open("/proc/" + strconv.Itoa(pid) + "/ns/net"); err != nil {
		home.Close()
		return nil, fmt.Errorf("cannot enter the network namespace: %w", err)
	}
	return n, n.in(loopbackUp)
}

func loopbackUp() error {
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(sock)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(sock, unix.SIOCGIFFLAGS, req); err != nil {
		return err
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(sock, unix.SIOCSIFFLAGS, req)
}

// in runs f on a thread inside the namespace. Sockets belong for good to the
// namespace they were made in.
func (n *netns) in(f func() error) error {
	if n == nil {
		return f()
	}
	answer := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			answer <- fmt.Errorf("cannot enter the network namespace: %w", err)
			return
		}
		answer <- f()
		if unix.Setns(int(n.home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread() // else the thread ends here
		}
	}()
	return <-answer
}

const dialTimeout = 5 * time.Second

// dial connects to a port on loopback inside; to IPv4, then to IPv6. Without a
// namespace of its own the task may also listen on the node's address only.
func (n *netns) dial(network string, port int, hosts ...string) (net.Conn, error) {
	var conn net.Conn
	err := n.in(func() error {
		var errs []error
		for _, host := range append(hosts, "127.0.0.1", "::1") {
			ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
			c, err := new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(host, strconv.Itoa(port)))
			cancel()
			if err == nil {
				conn = c
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs[0])
	})
	return conn, err
}

// listen listens on loopback inside.
func (n *netns) listen(port int) (net.Listener, error) {
	var l net.Listener
	err := n.in(func() (err error) {
		l, err = new(net.ListenConfig).Listen(context.Background(), "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		return err
	})
	return l, err
}
