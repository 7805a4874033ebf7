package runc

import (
	"path"

	"github.com/opencontainers/runtime-spec/specs-go"

	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/worker/container"
)

// addMounts lists what the container sees beside its image. There is no sysfs: it
// would show the host; what programs read of it, processors and limits, is mounted.
func (b *bundle) addMounts() error {
	b.mounts = []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=64k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=64m"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "nodev", "ro", "mode=755", "size=64k"}},
		{Destination: "/sys/devices/system/cpu", Type: "bind", Source: "/sys/devices/system/cpu", Options: []string{"bind", "nosuid", "noexec", "nodev", "ro"}},
	}
	if !b.rootless {
		b.mounts = append(b.mounts, specs.Mount{
			Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "ro"},
		})
	}
	if err := b.addNames(); err != nil {
		return err
	}
	b.bind(b.spec.Sandbox, container.SandboxPath, false)
	for i, v := range b.spec.Volumes {
		if err := b.addVolume(i, v); err != nil {
			return err
		}
	}
	return nil
}

func (b *bundle) bind(source, target string, readOnly bool) {
	options := []string{"rbind", "rprivate", "nosuid", "nodev"}
	if readOnly {
		options = append(options, "ro")
	}
	b.mounts = append(b.mounts, specs.Mount{Destination: target, Type: "bind", Source: source, Options: options})
}

func (b *bundle) addNames() error {
	files, err := container.NameFiles(b.spec)
	for _, f := range files {
		b.bind(f[1], f[0], true)
	}
	return err
}

func (b *bundle) addVolume(i int, v container.Volume) error {
	target := v.ContainerPath
	if !path.IsAbs(target) {
		target = path.Join(container.SandboxPath, path.Join("/", target))
	}
	if v.HostPath != "" {
		b.bind(shim.VolumePath(b.spec.Dir, len(b.volumes)), target, v.ReadOnly)
		if v.ReadOnly {
			b.readOnly = append(b.readOnly, len(b.volumes))
		}
		b.volumes = append(b.volumes, v.HostPath)
		return nil
	}
	file, err := container.SecretFile(b.spec, i, b.host(b.user.UID), b.host(b.user.GID))
	if err != nil {
		return err
	}
	b.bind(file, target, true)
	return nil
}
