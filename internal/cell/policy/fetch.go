package policy

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// judgeFetch looks at a URI as it is written. What a name resolves to, and where
// redirects lead, the worker checks with BlockedIP.
func (p Policy) judgeFetch(uri string) (message, remedy string) {
	const write = "Write an http or https URI"
	u, err := url.Parse(uri)
	if err != nil {
		return "the URI cannot be read", write + "."
	}
	switch scheme := strings.ToLower(u.Scheme); {
	case scheme == "file", scheme == "" && strings.HasPrefix(uri, "/"):
		return "files of the worker cannot be fetched", write + ", or mount the file as a volume."
	case scheme != "http" && scheme != "https":
		return fmt.Sprintf("the scheme %q cannot be fetched", clip(u.Scheme)), write + "."
	case u.Hostname() == "":
		return "the URI names no host", write + "."
	}
	if !p.LocalFetch && BlockedHost(u.Hostname()) {
		return fmt.Sprintf("the host %s may not be fetched from by this project", clip(u.Hostname())),
			"Use a server that is neither this machine nor link-local, " + askOperator + "."
	}
	return "", ""
}

// BlockedHost tells whether a host, as it is written in a URI, is one that BlockedIP
// blocks, or another way to write one. A name that is not blocked may still resolve
// to a blocked address.
func BlockedHost(host string) bool {
	host = strings.ToLower(strings.TrimRight(host, "."))
	if addr, err := netip.ParseAddr(host); err == nil {
		return BlockedIP(addr)
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	switch {
	case host == "" || strings.Contains(host, "%"):
		return true
	// Some resolvers read 2130706433, 0x7f.1 or 017700000001 as 127.0.0.1.
	case last != "" && last[0] >= '0' && last[0] <= '9':
		return true
	case last == "localhost", host == "localhost.localdomain", host == "ip6-localhost", host == "ip6-loopback":
		return true
	default:
		return host == "metadata.google.internal" || host == "metadata" || host == "instance-data"
	}
}

// blockedNets are networks, besides those netip names, through which a fetch would
// reach the worker itself or the metadata of a cloud's machine.
func blockedNets() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),          // this host
		netip.MustParsePrefix("100.100.100.200/32"), // metadata of Alibaba
		netip.MustParsePrefix("168.63.129.16/32"),   // Azure's host
		netip.MustParsePrefix("192.0.0.192/32"),     // metadata of Oracle
		netip.MustParsePrefix("255.255.255.255/32"),
		netip.MustParsePrefix("fec0::/10"),         // site-local, retired
		netip.MustParsePrefix("fd00:ec2::254/128"), // metadata of Amazon
	}
}

// BlockedIP tells whether a fetch may not connect to an address: loopback,
// link-local, multicast, unspecified, metadata services, and IPv6 forms that carry
// such an IPv4 address. Ask it for the address that is really dialled, and again for
// every redirect. Private networks are allowed: a platform lives in one.
func BlockedIP(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || addr.IsUnspecified() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsMulticast() {
		return true
	}
	for _, n := range blockedNets() {
		if n.Contains(addr) {
			return true
		}
	}
	inner, ok := carried(addr)
	return ok && BlockedIP(inner)
}

// carried returns the IPv4 address inside an IPv6 one: IPv4-compatible, NAT64, 6to4
// and Teredo (of which the client's is inverted).
func carried(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	v4 := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(b[at : at+4])) }
	switch {
	case netip.MustParsePrefix("::/96").Contains(addr),
		netip.MustParsePrefix("64:ff9b::/96").Contains(addr),
		netip.MustParsePrefix("64:ff9b:1::/48").Contains(addr),
		netip.MustParsePrefix("::ffff:0:0:0/96").Contains(addr):
		return v4(12), true
	case netip.MustParsePrefix("2002::/16").Contains(addr):
		return v4(2), true
	case netip.MustParsePrefix("2001::/32").Contains(addr):
		for i := 12; i < 16; i++ {
			b[i] = ^b[i]
		}
		return v4(12), true
	default:
		return netip.Addr{}, false
	}
}
