package runc

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"

	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/worker/container"
)

// secretsDir holds files with secrets in the state directory.
const secretsDir = "secrets"

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
	b.bind(b.spec.Sandbox, SandboxPath, false)
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

// addNames writes the files with which a program learns its name. A network of its
// own leads nowhere, so there is no name server in it.
func (b *bundle) addNames() error {
	hostname := b.spec.Hostname
	if hostname == "" {
		hostname = b.spec.ID[:min(12, len(b.spec.ID))]
	}
	files := map[string]string{
		"hostname":    hostname + "\n",
		"hosts":       "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.0.1\t" + hostname + "\n",
		"resolv.conf": "",
	}
	if b.spec.Network.Host {
		for _, name := range []string{"hosts", "resolv.conf"} {
			if text, err := os.ReadFile(filepath.Join("/etc", name)); err == nil {
				files[name] = string(text)
			}
		}
	}
	for _, name := range []string{"hostname", "hosts", "resolv.conf"} {
		file := filepath.Join(b.spec.Dir, name)
		if err := os.WriteFile(file, []byte(files[name]), 0o644); err != nil {
			return fmt.Errorf("cannot write the container's names: %w", err)
		}
		b.bind(file, "/etc/"+name, true)
	}
	return nil
}

func (b *bundle) addVolume(i int, v container.Volume) error {
	target := v.ContainerPath
	if !path.IsAbs(target) {
		target = path.Join(SandboxPath, path.Join("/", target))
	}
	if v.HostPath != "" {
		b.bind(shim.VolumePath(b.spec.Dir, len(b.volumes)), target, v.ReadOnly)
		b.volumes = append(b.volumes, v.HostPath)
		return nil
	}
	dir := filepath.Join(b.spec.Dir, secretsDir)
	file := filepath.Join(dir, strconv.Itoa(i))
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.WriteFile(file, v.Data, 0o600)
	}
	if err == nil {
		err = os.Lchown(file, b.host(b.user.UID), b.host(b.user.GID))
	}
	if err != nil {
		return fmt.Errorf("cannot write the secret at %s: %w", v.ContainerPath, err)
	}
	b.bind(file, target, true)
	return nil
}
