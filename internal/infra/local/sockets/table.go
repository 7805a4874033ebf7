package sockets

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// States of the tables (include/net/tcp_states.h).
const (
	stateListen = "0A"
	stateClose  = "07" // of a UDP socket: bound, not connected
)

func readTable(path, proto string) ([]Listener, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ls, err := parseTable(f, proto)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ls, nil
}

// parseTable reads lines like (proc_net_tcp in the kernel's documentation)
//
//	0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 ...
func parseTable(r io.Reader, proto string) ([]Listener, error) {
	want := stateListen
	if strings.HasPrefix(proto, "udp") {
		want = stateClose
	}
	var ls []Listener
	lines := bufio.NewScanner(r)
	lines.Scan() // the heading
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[3] != want {
			continue
		}
		addr, err := parseAddr(f[1])
		if err != nil {
			return nil, err
		}
		inode, err := strconv.ParseUint(f[9], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("cannot parse inode %q", f[9])
		}
		ls = append(ls, Listener{Proto: proto, Addr: addr, Inode: inode})
	}
	return ls, lines.Err()
}

// parseAddr reads an address in hexadecimal: 32-bit words in the host's byte order,
// each of which holds network order; then the port as a plain number.
func parseAddr(s string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || (len(b) != 4 && len(b) != 16) {
		return netip.AddrPort{}, fmt.Errorf("cannot parse address %q", s)
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	addr, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), nil
}
