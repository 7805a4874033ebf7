package app

import (
	"slices"
	"strings"
)

func (c *checker) containers() {
	ct := c.app.Container
	if ct == nil {
		return
	}
	switch {
	case ct.Type == TypeDocker && ct.Docker == nil:
		c.add("not defined", "Name an image, or use type MESOS.", "container", "docker")
	case ct.Docker == nil:
	case ct.Type == TypeDocker && ct.Docker.PullConfig != nil:
		c.add("pullConfig is not supported with Docker containerizer", "Use type MESOS.", "container", "docker", "pullConfig")
	case ct.Docker.PullConfig != nil:
		if _, ok := c.app.Secrets[ct.Docker.PullConfig.Secret]; !ok {
			c.add("pullConfig.secret must refer to an existing secret", "Name it in secrets.", "container", "docker", "pullConfig")
		}
	}
	if ct.Type == TypeMesos && ct.Docker != nil && len(ct.Docker.Parameters) > 0 {
		c.add("must be empty", "Use type DOCKER, or remove the parameters.", "container", "docker", "parameters")
	}
	for i, v := range ct.Volumes {
		if _, ok := c.app.Secrets[v.Secret]; v.Secret != "" && !ok {
			c.add("volume.secret must refer to an existing secret", "Name it in secrets.", "container", "volumes", i)
		}
	}
}

func (c *checker) networks() {
	count := map[string]int{}
	names := map[string]int{}
	for i, n := range c.app.Networks {
		count[n.Mode]++
		names[n.Name]++
		switch {
		case n.Mode == ModeHost && (n.Name != "" || len(n.Labels) > 0):
			c.add("Host networks may not have names or labels", "Remove name and labels.", "networks")
		case n.Mode == ModeBridge && n.Name != "":
			c.add("Bridge networks may not have names", "Remove the name.", "networks")
		case n.Mode == ModeContainer && n.Name == "":
			c.add("Network name must be specified when container network is selected.", "Name the network.", "networks", i)
		case n.Name != "" && names[n.Name] == 2:
			c.add("Duplicate networks are not allowed", "Name each network once.", "networks")
		}
	}
	if count[ModeHost] > 1 || count[ModeBridge] > 1 || count[ModeHost] > 0 && count[ModeBridge] > 0 ||
		count[ModeContainer] > 0 && count[ModeHost]+count[ModeBridge] > 0 {
		c.add("May specify a single host network, single bridge network, or else 1-to-n container networks", "Choose one mode.", "networks")
	}
	if ct := c.app.Container; ct != nil && ct.Type == TypeDocker && count[ModeContainer] > 1 {
		c.add("may only specify a single container network when using the Docker container engine", "Keep one, or use type MESOS.")
	}
}

func (c *checker) ports() {
	a := c.app
	if !a.Host() {
		c.mappings()
		return
	}
	if a.Container != nil && len(a.Container.PortMappings) > 0 {
		c.add("portMappings are not allowed with host-networking",
			`Add "networks": [{"mode": "container/bridge"}], or use portDefinitions.`, "container", "portMappings")
	}
	var names []string
	var numbers []int
	for _, d := range a.PortDefinitions {
		if d.Name != "" {
			names = append(names, d.Name)
		}
		if d.Port != 0 {
			numbers = append(numbers, d.Port)
		}
	}
	if repeated(names) {
		c.add("Port names must be unique.", "Rename one.", "portDefinitions")
	}
	if repeated(numbers) {
		c.add("Ports must be unique.", "Change one, or write 0 for any.", "portDefinitions")
	}
}

func repeated[T comparable](s []T) bool {
	seen := map[T]bool{}
	for _, v := range s {
		if seen[v] {
			return true
		}
		seen[v] = true
	}
	return false
}

func (c *checker) mappings() {
	if c.app.Container == nil {
		return
	}
	var names, networks []string
	containers := 0
	for _, n := range c.app.Networks {
		if n.Name != "" {
			networks = append(networks, n.Name)
		}
		if n.Mode == ModeContainer {
			containers++
		}
	}
	for i, m := range c.app.Container.PortMappings {
		if m.Name != "" {
			names = append(names, m.Name)
		}
		if containers > 1 && m.HostPort != nil && len(m.NetworkNames) != 1 {
			c.add("networkNames must be a single item list when hostPort is specified and more than 1 container network is defined",
				"Name the one network it is for.", "container", "portMappings", i)
		}
		for j, name := range m.NetworkNames {
			if !slices.Contains(networks, name) {
				c.add("is not one of ("+strings.Join(networks, ",")+")", "Name a network of the app.",
					"container", "portMappings", i, "networkNames", j)
			}
		}
	}
	if repeated(names) {
		c.add("Port names must be unique.", "Rename one.", "container", "portMappings")
	}
	var hosts []int
	for _, m := range c.app.Container.PortMappings {
		if m.HostPort != nil && *m.HostPort != 0 {
			hosts = append(hosts, *m.HostPort)
		}
	}
	if repeated(hosts) {
		c.add("Ports must be unique.", "Change one host port, or write 0 for any.", "container", "portMappings")
	}
}

// workerChecks are the health checks that Mesos, not Marathon, carries out.
func workerChecks() []string {
	return []string{HealthCommand, HealthMesosHTTP, HealthMesosHTTPS, HealthMesosTCP}
}

// ByWorker tells whether the worker runs the check, and not the scheduler.
func (h *HealthCheck) ByWorker() bool { return slices.Contains(workerChecks(), h.Protocol) }

func (c *checker) healthChecks() {
	ports := len(c.app.Ports())
	atWorker := 0
	for i, h := range c.app.HealthChecks {
		if h.ByWorker() {
			atWorker++
		}
		switch {
		case h.Protocol == HealthCommand && h.Command == nil:
			c.add("not defined", "Give the command.", "healthChecks", i, "command")
		case h.Protocol != HealthCommand && h.Command != nil:
			c.add("illegal protocol "+h.Protocol+" specified with command", "Write COMMAND, or remove the command.", "healthChecks", i)
		case h.PortIndex != nil && *h.PortIndex >= ports, h.Protocol != HealthCommand && h.PortIndex == nil && h.Port == nil:
			c.add("Health check port indices must address an element of the ports array or container port mappings.",
				"Give a port or a portIndex that exists.", "healthChecks", i)
		}
		if h.PortIndex != nil && h.Port != nil {
			c.add("HealthCheck must specify either a port or a portIndex", "Keep one of them.", "healthChecks", i)
		}
		docker := c.app.Container != nil && c.app.Container.Type == TypeDocker
		if h.IPProtocol == "IPv6" && (!docker || !h.ByWorker() || h.Protocol == HealthCommand) {
			c.add("IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks", "Write IPv4.", "healthChecks", i)
		}
	}
	if atWorker > 1 {
		c.add("AppDefinition can contain at most one Mesos health check", "Keep one of COMMAND, MESOS_HTTP, MESOS_HTTPS and MESOS_TCP.")
	}
}

func (c *checker) check() {
	check := c.app.Check
	if check == nil {
		return
	}
	kinds := btoi(check.HTTP != nil) + btoi(check.TCP != nil) + btoi(check.Exec != nil)
	if kinds != 1 {
		c.add("must have exactly one of 'http', 'tcp' and 'exec'", "Keep one of them.", "check")
	}
	if ct := c.app.Container; ct != nil && ct.Type == TypeDocker {
		c.add("check is not supported with Docker containerizer", "Use type MESOS, or a health check.", "check")
	}
	port := func(name string, index, number *int) {
		if index == nil && number == nil || index != nil && *index >= len(c.app.Ports()) {
			c.add("Health check port indices must address an element of the ports array or container port mappings.",
				"Give a port or a portIndex that exists.", "check", name)
		}
	}
	if check.HTTP != nil {
		port("http", check.HTTP.PortIndex, check.HTTP.Port)
	}
	if check.TCP != nil {
		port("tcp", check.TCP.PortIndex, check.TCP.Port)
	}
}

func (c *checker) readiness() {
	checks := c.app.ReadinessChecks
	if len(checks) > 1 {
		c.add("got "+itoa(len(checks))+", expected 1 or less", "Keep one readiness check.", "readinessChecks")
	}
	for i, r := range checks {
		named := slices.ContainsFunc(c.app.Ports(), func(p Port) bool { return p.Name == r.PortName })
		if !named {
			c.add("No port definition reference for portName "+r.PortName, "Give a port this name.", "readinessChecks", i, "portName")
		}
		if r.TimeoutSeconds >= r.IntervalSeconds {
			c.add("got "+itoa(r.TimeoutSeconds)+", expected less than "+itoa(r.IntervalSeconds), "Make it shorter than intervalSeconds.",
				"readinessChecks", i, "timeoutSeconds")
		}
	}
}
