// Package sockets reads who listens where on this host, from the kernel's tables
// under /proc/net and the open files of processes. It only reads, and only sees the
// network namespace it runs in. Processes of other users show up without a PID
// unless we are root.
package sockets

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"howdah.dev/howdah/internal/node/proc"
)

// Listener is a TCP socket that listens, or a UDP socket that is not connected.
type Listener struct {
	Proto   string         // "tcp", "tcp6", "udp" or "udp6": the kernel's table
	Addr    netip.AddrPort // v4-mapped addresses as IPv4
	Inode   uint64         // identifies the socket
	PID     int            // a process that holds it; 0 when not ours to see
	Labels  proc.Labels    // of that process, if it has any
	Command string         // of that process; empty when unknown
}

// String reads like `tcp 127.5.0.1:9870 by pid 123 (java -cp ...)`, the command cut
// at 80 characters.
func (l Listener) String() string {
	who := "by an unknown process (of another user?)"
	if l.PID != 0 {
		who = fmt.Sprintf("by pid %d (%s)", l.PID, shorten(l.Command, 80))
	}
	return fmt.Sprintf("%s %s %s", l.Proto, l.Addr, who)
}

func shorten(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "..."
	}
	return s
}

// Listeners returns all listeners with their processes, ordered by protocol and
// address.
func Listeners() ([]Listener, error) {
	ls, err := Table()
	if err != nil {
		return nil, err
	}
	return ls, name(ls)
}

// Table returns all listeners as the kernel lists them, without PID, Labels and
// Command: much cheaper than Listeners.
func Table() ([]Listener, error) {
	var all []Listener
	for _, proto := range []string{"tcp", "tcp6", "udp", "udp6"} {
		ls, err := readTable("/proc/net/"+proto, proto)
		if err != nil {
			return nil, fmt.Errorf("cannot read listeners: %w", err)
		}
		all = append(all, ls...)
	}
	slices.SortStableFunc(all, func(a, b Listener) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), a.Addr.Compare(b.Addr))
	})
	return all, nil
}

// Exposed returns those that can be reached from beyond this host: neither on
// 127/8 nor on ::1.
func Exposed(ls []Listener) []Listener {
	var exposed []Listener
	for _, l := range ls {
		if !l.Addr.Addr().IsLoopback() {
			exposed = append(exposed, l)
		}
	}
	return exposed
}

// Owner says whose the listener is, for a sentence. Of a program it names no
// arguments: they are its owner's business.
func (l Listener) Owner() string {
	switch {
	case l.PID == 0:
		return "a process of another user"
	case l.Labels.Service != "":
		return fmt.Sprintf("pid %d (%s)", l.PID, l.Labels.Service)
	}
	program, _, _ := strings.Cut(l.Command, " ")
	return fmt.Sprintf("pid %d (%s)", l.PID, filepath.Base(program))
}

// Holder returns who keeps TCP port addr from being listened on, false when nobody
// does or the tables cannot be read. Wildcard listeners hold the port on every
// address; a wildcard addr is held by anyone on the port. An IPv6 wildcard counts
// for IPv4 as well: the tables do not tell whether it is IPv6-only.
func Holder(addr netip.AddrPort) (Listener, bool) {
	unknown := uint64(0)
	for range 5 { // one that nobody has may be another user's, or was closed meanwhile
		ls, err := Table()
		if err != nil {
			return Listener{}, false
		}
		i := slices.IndexFunc(ls, func(l Listener) bool { return strings.HasPrefix(l.Proto, "tcp") && collide(l.Addr, addr) })
		if i < 0 {
			return Listener{}, false
		}
		held := ls[i : i+1]
		if held[0].Inode == unknown {
			return held[0], true
		}
		_ = name(held) // the address alone is worth telling
		if held[0].PID != 0 {
			return held[0], true
		}
		unknown = held[0].Inode
	}
	return Listener{}, false
}

func collide(have, want netip.AddrPort) bool {
	h, w := have.Addr().Unmap(), want.Addr().Unmap()
	switch {
	case have.Port() != want.Port():
		return false
	case h == w:
		return true
	case h.IsUnspecified() && w.IsUnspecified():
		return true
	case h.IsUnspecified():
		return h.Is6() || w.Is4()
	case w.IsUnspecified():
		return w.Is6() || h.Is4()
	}
	return false
}
