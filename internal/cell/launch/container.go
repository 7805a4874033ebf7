package launch

import (
	"slices"
	"strings"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/mesos"
)

// container is nil for a plain command on the worker's network.
func (b *builder) container() *mesos.ContainerInfo {
	c := b.a.Container
	if c == nil {
		if b.a.Host() {
			return nil
		}
		return &mesos.ContainerInfo{Type: mesos.ContainerMesos, NetworkInfos: b.mesosNetworks()}
	}
	info := &mesos.ContainerInfo{Type: c.Type, Volumes: b.volumes()}
	if c.Type == app.TypeDocker && c.Docker != nil {
		info.Docker = b.docker()
		if info.Docker.Network == mesos.NetworkUser {
			info.NetworkInfos = []mesos.NetworkInfo{b.network(b.a.Networks[0])}
		}
		return info
	}
	info.Type = mesos.ContainerMesos
	if b.image() != "" {
		info.Mesos = &mesos.MesosInfo{Image: b.mesosImage()}
	}
	if !b.a.Host() {
		info.NetworkInfos = b.mesosNetworks()
	}
	return info
}

func (b *builder) docker() *mesos.DockerInfo {
	d := b.a.Container.Docker
	info := &mesos.DockerInfo{
		Image: d.Image, Privileged: d.Privileged, ForcePullImage: d.ForcePullImage, Network: mesos.NetworkUser,
	}
	switch {
	case b.a.Host():
		info.Network = mesos.NetworkHost
	case b.a.Bridged():
		info.Network = mesos.NetworkBridge
	}
	if !b.a.Host() {
		info.PortMappings = b.mappings("")
	}
	for _, p := range d.Parameters {
		info.Parameters = append(info.Parameters, mesos.Parameter{Key: p.Key, Value: p.Value})
	}
	info.Parameters = append(info.Parameters, mesos.Parameter{Key: "label", Value: "MESOS_TASK_ID=" + b.id})
	return info
}

func (b *builder) mesosImage() *mesos.Image {
	d := b.a.Container.Docker
	image := &mesos.Image{Type: mesos.ContainerDocker, Docker: &mesos.DockerImage{Name: d.Image}, Cached: new(!d.ForcePullImage)}
	if d.PullConfig != nil {
		image.Docker.Config = b.secret(d.PullConfig.Secret)
	}
	return image
}

func (b *builder) volumes() []mesos.Volume {
	var out []mesos.Volume
	for _, v := range b.a.Container.Volumes {
		m := mesos.Volume{ContainerPath: v.ContainerPath, HostPath: v.HostPath, Mode: v.Mode}
		if v.Secret != "" {
			m.Mode, m.Source = "RO", &mesos.VolumeSource{Type: "SECRET", Secret: b.secret(v.Secret)}
		}
		out = append(out, m)
	}
	return out
}

func (b *builder) mesosNetworks() []mesos.NetworkInfo {
	var out []mesos.NetworkInfo
	for _, n := range b.a.Networks {
		if n.Mode == app.ModeHost {
			continue
		}
		info := b.network(n)
		if n.Mode == app.ModeBridge {
			info.Name = b.options.Bridge
		}
		info.PortMappings = b.mappings(n.Name)
		out = append(out, info)
	}
	return out
}

func (b *builder) network(n app.Network) mesos.NetworkInfo {
	return mesos.NetworkInfo{Name: n.Name, Labels: labels(n.Labels)}
}

// mappings are the ports of a network that are seen on the host, one for each
// protocol. The network "" has all of them.
func (b *builder) mappings(network string) []mesos.PortMapping {
	var out []mesos.PortMapping
	for n, p := range b.a.Ports() {
		if b.hostPort(n) == 0 || network != "" && len(p.Networks) > 0 && !slices.Contains(p.Networks, network) {
			continue
		}
		for protocol := range strings.SplitSeq(p.Protocol, ",") {
			out = append(out, mesos.PortMapping{HostPort: b.hostPort(n), ContainerPort: b.inside[n], Protocol: protocol})
		}
	}
	return out
}

func (b *builder) hostPort(n int) int {
	if n < len(b.launch.Ports) {
		return b.launch.Ports[n]
	}
	return 0
}
