package app

import "slices"

// Port is one port of an app, whatever its network.
type Port struct {
	Name     string
	Protocol string // tcp, udp or "udp,tcp"
	Labels   map[string]string
	// Container is the port inside the container; 0 means the same as the host's. In
	// host mode it is 0 too.
	Container int
	// Host is the wanted port of the host: nil for none, 0 for any.
	Host *int
	// Service is the app's port of the whole cluster.
	Service int
	// Networks are the names of the container networks it is for; none means all.
	Networks []string
}

// Ports lists the ports of a normalised app. An instance's host ports are in the
// same order; so are portIndex and PORT0, PORT1 and so on.
func (a *App) Ports() []Port {
	var ports []Port
	if !a.Host() {
		if a.Container == nil {
			return nil
		}
		for _, m := range a.Container.PortMappings {
			ports = append(ports, Port{m.Name, m.Protocol, m.Labels, m.ContainerPort, m.HostPort, m.ServicePort, m.NetworkNames})
		}
		return ports
	}
	for _, d := range a.PortDefinitions {
		host := 0
		if a.RequirePorts {
			host = d.Port
		}
		ports = append(ports, Port{Name: d.Name, Protocol: d.Protocol, Labels: d.Labels, Host: &host, Service: d.Port})
	}
	return ports
}

// WantsServicePorts tells whether AssignServicePorts would give a any port.
func WantsServicePorts(a *App) bool {
	return slices.ContainsFunc(a.Ports(), func(p Port) bool { return p.Service == 0 })
}

// AssignServicePorts gives every port of a without a service port one from lowest to
// highest that is not taken. Ports of old, the same app before, are used again: in
// the same place if they can be, and those that no place keeps before any new one.
// taken tells of ports of apps; those of old do not count as taken. What finds no port keeps 0 and is reported by the number of them.
// Slices that a shares with other apps are not changed.
func AssignServicePorts(a, old *App, taken func(int) bool, lowest, highest int) (without int) {
	used := map[int]bool{}
	for _, p := range a.Ports() {
		used[p.Service] = true
	}
	var again []int
	if old != nil {
		for _, p := range old.Ports() {
			again = append(again, p.Service)
		}
	}
	free := func(p int) bool {
		return p >= lowest && p <= highest && !used[p] && (slices.Contains(again, p) || !taken(p))
	}
	candidate := lowest
	next := func(i int) int {
		if i < len(again) && free(again[i]) {
			return again[i]
		}
		for _, p := range again {
			// Those that keep their place are for themselves.
			if free(p) && slices.Index(again, p) >= len(a.Ports()) {
				return p
			}
		}
		for ; candidate <= highest; candidate++ {
			if free(candidate) && !slices.Contains(again, candidate) {
				return candidate
			}
		}
		if i := slices.IndexFunc(again, free); i >= 0 {
			return again[i]
		}
		return 0
	}
	a.eachServicePort(func(i int, service *int) {
		if *service != 0 {
			return
		}
		if *service = next(i); *service == 0 {
			without++
			return
		}
		used[*service] = true
	})
	return without
}

// WithoutServicePorts returns a copy in which ports that are taken are to be given anew.
func (a *App) WithoutServicePorts(taken func(int) bool) *App {
	out := *a
	out.eachServicePort(func(_ int, service *int) {
		if taken(*service) {
			*service = 0
		}
	})
	return &out
}

// eachServicePort visits the service ports for writing, in copies of the slices.
func (a *App) eachServicePort(visit func(int, *int)) {
	if a.Host() {
		a.PortDefinitions = slices.Clone(a.PortDefinitions)
		for i := range a.PortDefinitions {
			visit(i, &a.PortDefinitions[i].Port)
		}
		return
	}
	if a.Container == nil || len(a.Container.PortMappings) == 0 {
		return
	}
	c := *a.Container
	c.PortMappings = slices.Clone(c.PortMappings)
	a.Container = &c
	for i := range c.PortMappings {
		visit(i, &c.PortMappings[i].ServicePort)
	}
}
