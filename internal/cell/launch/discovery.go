package launch

import (
	"maps"
	"strings"

	"howdah.dev/howdah/internal/cell/mesos"
)

// Labels of discovered ports, as Marathon sets them.
const (
	labelScope   = "network-scope" // host or container: where the number is to be used
	labelNetwork = "network-name"
)

// discovery tells others where the task's ports are: on the host where they are
// seen there, else in the container's network.
func (b *builder) discovery() *mesos.DiscoveryInfo {
	d := &mesos.DiscoveryInfo{Visibility: "FRAMEWORK", Name: Name(b.a.ID), Ports: &mesos.DiscoveryPorts{}}
	for n, p := range b.a.Ports() {
		number, marks := b.hostPort(n), map[string]string{}
		maps.Copy(marks, p.Labels)
		marks[labelScope] = "host"
		if number == 0 {
			if b.a.Host() {
				continue
			}
			number, marks[labelScope] = b.inside[n], "container"
			if len(p.Networks) == 1 {
				marks[labelNetwork] = p.Networks[0]
			}
		}
		for protocol := range strings.SplitSeq(p.Protocol, ",") {
			d.Ports.Ports = append(d.Ports.Ports, mesos.DiscoveryPort{Number: number, Name: p.Name, Protocol: protocol, Labels: labels(marks)})
		}
	}
	return d
}
