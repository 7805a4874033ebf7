package app

// dockerNetworks are the words of the old field container.docker.network.
const (
	dockerBridge = "BRIDGE"
	dockerHost   = "HOST"
	dockerUser   = "USER"
	dockerNone   = "NONE"
)

func readContainer(c cursor) *Container {
	o, ok := c.object(words{
		known:   []string{"type", "docker", "volumes", "portMappings"},
		refused: map[string]string{"linuxInfo": "Remove it: every container has the cell's own seccomp profile and a private IPC namespace."},
	})
	if !ok {
		return nil
	}
	return &Container{
		Type:         field(o, "type", TypeDocker, oneOf(TypeDocker, TypeMesos)),
		Docker:       field(o, "docker", nil, readDocker),
		Volumes:      field(o, "volumes", []Volume{}, list(readVolume)),
		PortMappings: field(o, "portMappings", nil, list(readPortMapping)),
	}
}

func readDocker(c cursor) *Docker {
	o, ok := c.object(words{
		known:   []string{"image", "forcePullImage", "privileged", "parameters", "pullConfig", "network", "portMappings"},
		refused: map[string]string{"credential": "Use pullConfig with a secret, in a container of type MESOS."},
	})
	if !ok {
		return nil
	}
	o.need("image", "the name of an image")
	return &Docker{
		Image:          field(o, "image", "", text(1, 1024)),
		ForcePullImage: field(o, "forcePullImage", false, boolean),
		Privileged:     field(o, "privileged", false, boolean),
		Parameters:     field(o, "parameters", []Parameter{}, list(readParameter)),
		PullConfig:     field(o, "pullConfig", nil, readPullConfig),
	}
}

func readParameter(c cursor) Parameter {
	o, ok := c.object(words{known: []string{"key", "value"}})
	if ok {
		o.need("key", "the name of an option")
		o.need("value", "the option's value")
	}
	return Parameter{Key: field(o, "key", "", text(1, 256)), Value: field(o, "value", "", anyText)}
}

func readPullConfig(c cursor) *PullConfig {
	o, ok := c.object(words{known: []string{"secret"}})
	if ok {
		o.need("secret", "the name of a secret of the app")
	}
	return &PullConfig{Secret: field(o, "secret", "", text(1, 1024))}
}

func readVolume(c cursor) Volume {
	o, ok := c.object(words{
		known: []string{"containerPath", "hostPath", "mode", "secret"},
		refused: map[string]string{
			"persistent": "Write to a dataset instead: volumes that stay on one worker cannot be made here.",
			"external":   "Write to a dataset instead: there are no external volume drivers here.",
		},
	})
	v := Volume{
		ContainerPath: field(o, "containerPath", "", text(1, 4096)),
		HostPath:      field(o, "hostPath", "", text(1, 4096)),
		Secret:        field(o, "secret", "", text(1, 1024)),
		Mode:          field(o, "mode", "", oneOf("RW", "RO")),
	}
	if !ok || o.members["persistent"] != nil || o.members["external"] != nil {
		return v
	}
	o.need("containerPath", "a path in the container")
	switch {
	case v.HostPath != "" && v.Secret != "":
		c.refuse("cannot be both a host path and a secret", "Keep hostPath or secret.")
	case v.Secret == "":
		o.need("hostPath", "a path of the host, or secret")
		o.need("mode", "RW or RO")
	case v.Mode == "RW":
		c.refuse("a secret cannot be written", "Remove mode.")
	default:
		v.Mode = "" // Marathon writes none
	}
	return v
}

func protocol(c cursor) string { return oneOf("tcp", "udp", "udp,tcp")(c) }

func readPortMapping(c cursor) PortMapping {
	o, _ := c.object(words{known: []string{"containerPort", "hostPort", "labels", "name", "protocol", "servicePort", "networkNames"}})
	return PortMapping{
		ContainerPort: field(o, "containerPort", 0, port),
		HostPort:      optional(o, "hostPort", port),
		Labels:        field(o, "labels", map[string]string{}, mapOf(anyText)),
		Name:          field(o, "name", "", readName),
		Protocol:      field(o, "protocol", "tcp", protocol),
		ServicePort:   field(o, "servicePort", 0, port),
		NetworkNames:  field(o, "networkNames", nil, list(readName)),
	}
}

func readPortDefinition(c cursor) PortDefinition {
	o, _ := c.object(words{known: []string{"port", "labels", "name", "protocol"}})
	return PortDefinition{
		Port:     field(o, "port", 0, port),
		Labels:   field(o, "labels", nil, mapOf(anyText)),
		Name:     field(o, "name", "", readName),
		Protocol: field(o, "protocol", "tcp", protocol),
	}
}

func readNetwork(c cursor) Network {
	o, _ := c.object(words{known: []string{"name", "mode", "labels"}})
	return Network{
		Name:   field(o, "name", "", readNetworkName),
		Mode:   field(o, "mode", ModeContainer, oneOf(ModeContainer, ModeBridge, ModeHost)),
		Labels: field(o, "labels", nil, mapOf(anyText)),
	}
}

func readName(c cursor) string { return named(c, "-") }

func readNetworkName(c cursor) string { return named(c, "-_") }

// named reads a name of a port or network: lower-case letters, digits and, inside,
// some marks.
func named(c cursor, marks string) string {
	s := text(1, 255)(c)
	if c.n.kind == stringNode && s != "" && !isName(s, marks) {
		c.shape("error.pattern", "a name of lower-case letters, digits and, inside, "+marks)
	}
	return s
}

func isName(s, marks string) bool {
	for i := range len(s) {
		ch := s[i]
		switch {
		case ch >= 'a' && ch <= 'z', ch >= '0' && ch <= '9':
		case i > 0 && i < len(s)-1 && indexByte(marks, ch):
		default:
			return false
		}
	}
	return s != ""
}

func indexByte(s string, ch byte) bool {
	for i := range len(s) {
		if s[i] == ch {
			return true
		}
	}
	return false
}
