package app

import (
	"net/url"
	"slices"
	"strings"
)

// legacy is what a body says in words of Marathon before 1.5.
type legacy struct {
	ports          []int // nil if not given
	uris           []string
	ip             *ipAddress
	dockerNetwork  string
	dockerMappings []PortMapping
}

type ipAddress struct {
	network   string
	labels    map[string]string
	discovery []PortMapping
}

func (l *legacy) given() bool {
	return l.ports != nil || l.uris != nil || l.ip != nil
}

// readLegacy reads the old fields of an app.
func readLegacy(o object) legacy {
	l := legacy{
		ports: field(o, "ports", nil, list(port)),
		uris:  field(o, "uris", nil, list(text(1, 1024))),
		ip:    field(o, "ipAddress", nil, readIPAddress),
	}
	container, ok := o.get("container")
	if !ok || container.n.kind != objectNode {
		return l
	}
	docker, ok := container.members().get("docker")
	if !ok || docker.n.kind != objectNode {
		return l
	}
	old := docker.members()
	l.dockerNetwork = field(old, "network", "", oneOf(dockerBridge, dockerHost, dockerNone, dockerUser))
	l.dockerMappings = field(old, "portMappings", nil, list(readPortMapping))
	return l
}

func readIPAddress(c cursor) *ipAddress {
	o, ok := c.object(words{
		known:   []string{"discovery", "labels", "networkName"},
		refused: map[string]string{"groups": "Remove it: there are no network groups here."},
	})
	if !ok {
		return nil
	}
	ip := &ipAddress{
		network: field(o, "networkName", "", text(1, 255)),
		labels:  field(o, "labels", nil, mapOf(anyText)),
	}
	if d, ok := o.get("discovery"); ok {
		discovery, _ := d.object(words{known: []string{"ports"}})
		ip.discovery = field(discovery, "ports", nil, list(readDiscoveryPort))
	}
	return ip
}

func readDiscoveryPort(c cursor) PortMapping {
	o, _ := c.object(words{known: []string{"number", "name", "protocol", "labels"}})
	return PortMapping{
		ContainerPort: field(o, "number", 0, port),
		Labels:        field(o, "labels", map[string]string{}, mapOf(anyText)),
		Name:          field(o, "name", "", readName),
		Protocol:      field(o, "protocol", "tcp", protocol),
	}
}

// mixed reports old and new words that contradict each other.
func (l *legacy) mixed(u *Update, app *App) problems {
	var ps problems
	add := func(k kind, name, text, remedy string) {
		at := u.at
		if name != "" {
			at = at.field(name)
		}
		ps = append(ps, problem{kind: k, place: at, text: text, remedy: remedy})
	}
	if len(l.uris) > 0 && u.fields["fetch"] && len(app.Fetch) > 0 {
		add(mixture, "uris", "cannot specify both uris and fetch fields", "Keep fetch.")
	}
	if (l.ip != nil || l.dockerNetwork != "") && u.fields["networks"] && len(app.Networks) > 0 {
		add(mixture, "networks", "cannot mix deprecated and canonical network APIs",
			"Keep networks; remove ipAddress and container.docker.network.")
	}
	if c := app.Container; len(l.dockerMappings) > 0 && c != nil && len(c.PortMappings) > 0 {
		add(mixture, "container", "cannot specify both portMappings and docker.portMappings", "Keep container.portMappings.")
	}
	if l.ip != nil && len(l.ip.discovery) > 0 {
		if app.Container != nil && app.Container.Type == TypeDocker {
			add(rule, "ipAddress", "ipAddress/discovery is not allowed for Docker containers", "Use container.portMappings.")
		} else if u.fields["container"] && app.Container != nil && len(app.Container.PortMappings) > 0 {
			add(mixture, "ipAddress", "container.portMappings and ipAddress.discovery.ports must not both be set", "Keep container.portMappings.")
		}
	}
	if l.ip != nil && (len(l.ports) > 0 || u.fields["portDefinitions"] && len(app.PortDefinitions) > 0) {
		add(rule, "", "cannot specify both an IP address and port", "Use networks and container.portMappings.")
	}
	if l.ports != nil && u.fields["portDefinitions"] && !slices.Equal(l.ports, portNumbers(app.PortDefinitions)) {
		add(rule, "", "cannot specify both ports and port definitions", "Keep portDefinitions.")
	}
	if l.dockerNetwork == dockerNone {
		add(rule, "container", "unsupported docker network type NONE", "Use networks with mode container/bridge and no portMappings.")
	}
	return append(ps, l.ofMesosContainer(u, app)...)
}

// ofMesosContainer reports fields of Docker in a container that is not Docker's.
func (l *legacy) ofMesosContainer(u *Update, app *App) problems {
	c := app.Container
	if !u.fields["container"] || c == nil || c.Type != TypeMesos || c.Docker == nil {
		return nil
	}
	var ps problems
	at := u.at.field("container").field("docker")
	for name, given := range map[string]bool{"network": l.dockerNetwork != "", "portMappings": len(l.dockerMappings) > 0} {
		if given {
			ps = append(ps, problem{
				place: at.field(name), text: "must be empty",
				message: "cannot be used with a container of type MESOS", remedy: "Use networks and container.portMappings.",
			})
		}
	}
	slices.SortFunc(ps, func(a, b problem) int { return strings.Compare(a.place.path, b.place.path) })
	return ps
}

func portNumbers(defs []PortDefinition) []int {
	out := make([]int, len(defs))
	for i, d := range defs {
		out[i] = d.Port
	}
	return out
}

// translate writes the old words into the canonical fields of app.
func (l *legacy) translate(app *App, u *Update) {
	if len(l.uris) > 0 && (!u.fields["fetch"] || len(app.Fetch) == 0) {
		app.Fetch = nil
		for _, uri := range l.uris {
			app.Fetch = append(app.Fetch, Fetch{URI: uri, Extract: extractable(uri)})
		}
	}
	if l.ports != nil && (!u.fields["portDefinitions"] || app.PortDefinitions == nil) {
		app.PortDefinitions = []PortDefinition{}
		for _, p := range l.ports {
			app.PortDefinitions = append(app.PortDefinitions, PortDefinition{Port: p, Protocol: "tcp"})
		}
	}
	if network, ok := l.network(); ok && (!u.fields["networks"] || len(app.Networks) == 0) {
		app.Networks = []Network{network}
	}
	if l.ip != nil && app.Container == nil {
		app.Container = &Container{Type: TypeMesos, Volumes: []Volume{}}
	}
	mappings := l.dockerMappings
	if l.ip != nil && len(l.ip.discovery) > 0 {
		mappings = l.ip.discovery
	}
	if app.Container != nil && mappings != nil && (!u.fields["container"] || len(app.Container.PortMappings) == 0) {
		c := *app.Container
		c.PortMappings = mappings
		app.Container = &c
	}
}

// network translates container.docker.network and ipAddress.
func (l *legacy) network() (Network, bool) {
	var n Network
	if l.ip != nil {
		n.Labels = l.ip.labels
	}
	switch {
	case l.dockerNetwork == dockerHost:
		return Network{Mode: ModeHost}, true
	case l.dockerNetwork == dockerBridge, l.ip != nil && l.dockerNetwork == "" && l.ip.network == "mesos-bridge":
		n.Mode = ModeBridge
	case l.ip != nil:
		n.Mode, n.Name = ModeContainer, l.ip.network
	case l.dockerNetwork == dockerUser:
		n.Mode = ModeContainer
	default:
		return n, false
	}
	return n, true
}

// extractable tells whether the fetcher would unpack what a URI names.
func extractable(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil {
		return false
	}
	for _, suffix := range []string{".tar", ".gz", ".tar.bz2", ".tar.xz", ".tgz", ".tbz2", ".txz", ".zip"} {
		if strings.HasSuffix(u.Path, suffix) {
			return true
		}
	}
	return false
}
