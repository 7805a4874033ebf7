package docker

import (
	"path"
	"path/filepath"

	types "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/worker/container"
)

// gatePath is where the container has the shim's program, which lets the command begin
// once the ports are open.
const gatePath = "/.howdah-shim"

// translation turns a task into what the engine is to make.
type translation struct {
	spec    container.Spec
	image   string // as the engine calls it
	program string // the shim
	labels  []string
	marks   map[string]string

	volumes []shim.EngineVolume // to be looked at again
}

func (t *translation) options() (client.ContainerCreateOptions, error) {
	args, err := container.Args(t.spec)
	if err != nil {
		return client.ContainerCreateOptions{}, err
	}
	s, image := t.spec, t.spec.Image.Config
	user, cwd := s.User, image.WorkingDir
	if user == "" {
		user = image.User
	}
	if cwd == "" {
		cwd = container.SandboxPath
	}
	gate := shim.Gate(gatePath, args)
	return client.ContainerCreateOptions{
		Name: "howdah-" + s.ID,
		Config: &types.Config{
			Image: t.image, Hostname: s.Host(), User: user, WorkingDir: path.Join("/", cwd),
			Env:        container.Environment(image.Env, s.Env, t.labels),
			Entrypoint: gate[:1], Cmd: gate[1:], Labels: t.marks,
			// The gate reads its word, and the shim all that is printed.
			OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
			// Checks are the app's to define.
			Healthcheck: &types.HealthConfig{Test: []string{"NONE"}},
		},
		HostConfig: t.hostConfig(),
	}, nil
}

func (t *translation) hostConfig() *types.HostConfig {
	h := &types.HostConfig{
		NetworkMode:  "none",
		LogConfig:    types.LogConfig{Type: "none"}, // the sandbox has them
		CapDrop:      []string{"ALL"},
		CapAdd:       container.Capabilities(),
		SecurityOpt:  []string{"no-new-privileges:true"},
		IpcMode:      types.IPCModePrivate,
		CgroupnsMode: types.CgroupnsModePrivate,
		// Everybody inside may listen on every port: the ports are the container's own.
		Sysctls:   map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"},
		Init:      new(false), // the command is the first process
		Resources: resources(t.spec.Limits, t.spec.Ulimits),
		Mounts:    t.mounts(),
	}
	if t.spec.Network.Host {
		h.NetworkMode, h.Sysctls = "host", nil
	}
	return h
}

func resources(l cgroup.Limits, asked []container.Ulimit) types.Resources {
	// Of swap there is none: the limit of both together is that of memory.
	r := types.Resources{Memory: l.Memory, MemorySwap: l.Memory}
	if l.CPUShares > 0 {
		r.CPUShares = max(2, l.CPUShares)
	}
	if l.CPUQuota > 0 {
		r.CPUQuota, r.CPUPeriod = max(1000, l.CPUQuota.Microseconds()), cgroup.Period.Microseconds()
	}
	if l.Pids > 0 {
		r.PidsLimit = &l.Pids
	}
	for _, u := range container.Ulimits(asked) {
		r.Ulimits = append(r.Ulimits, &types.Ulimit{Name: u.Name, Soft: int64(u.Soft), Hard: int64(u.Hard)}) //nolint:gosec // -1 is without limit in both
	}
	return r
}

// mounts are the shim's program, the sandbox, the files with names, and volumes.
func (t *translation) mounts() []mount.Mount {
	list := []mount.Mount{bind(t.program, gatePath, true)}
	for _, name := range []string{"hostname", "hosts", "resolv.conf"} {
		list = append(list, bind(filepath.Join(t.spec.Dir, name), "/etc/"+name, true))
	}
	list = append(list, bind(t.spec.Sandbox, container.SandboxPath, false))
	for i, v := range t.spec.Volumes {
		target := v.ContainerPath
		if !path.IsAbs(target) {
			target = path.Join(container.SandboxPath, path.Join("/", target))
		}
		if v.HostPath == "" {
			list = append(list, bind(container.SecretPath(t.spec, i), target, true))
			continue
		}
		list = append(list, bind(v.HostPath, target, v.ReadOnly))
		t.volumes = append(t.volumes, shim.EngineVolume{Path: v.HostPath, Target: target})
	}
	return list
}

func bind(source, target string, readOnly bool) mount.Mount {
	return mount.Mount{
		Type: mount.TypeBind, Source: source, Target: target, ReadOnly: readOnly,
		BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate},
	}
}

// written lists where a container writes on the host.
func written(c *types.InspectResponse) []string {
	var paths []string
	if c.GraphDriver != nil && c.GraphDriver.Data["UpperDir"] != "" {
		paths = append(paths, c.GraphDriver.Data["UpperDir"])
	}
	for _, m := range c.Mounts {
		if m.Type == mount.TypeVolume && m.Source != "" {
			paths = append(paths, m.Source)
		}
	}
	return paths
}
