package node

import (
	"net"
	"net/url"
	"slices"

	"howdah.dev/howdah/internal/agentapi"
)

// relations says where a service listens, and which addresses of others its
// gates and probes name. By them one service is known to depend on another.
func relations(spec *agentapi.Service) (listens, needs []string) {
	own := map[string]bool{}
	for _, p := range spec.Ports {
		listens = append(listens, p.Address)
		own[p.Address] = true
	}
	probes := append(slices.Clone(spec.Gates), spec.Ready)
	if spec.Health != nil {
		probes = append(probes, *spec.Health)
	}
	for _, p := range probes {
		if at := asked(p); at != "" && !own[at] && !slices.Contains(needs, at) {
			needs = append(needs, at)
		}
	}
	slices.Sort(needs)
	return listens, needs
}

// asked returns the host:port a probe asks, "" where it names none.
func asked(p agentapi.Probe) string {
	at := p.TCP
	switch {
	case p.HTTP != "":
		u, err := url.Parse(p.HTTP)
		if err != nil {
			return ""
		}
		if at = u.Host; u.Port() == "" {
			port := map[string]string{"http": "80", "https": "443"}[u.Scheme]
			if port == "" {
				return ""
			}
			at = net.JoinHostPort(u.Hostname(), port)
		}
	case p.Adapter != "":
		at = p.Address
	}
	if _, _, err := net.SplitHostPort(at); err != nil {
		return ""
	}
	return at
}
