// Package runc runs images by runc: the layers under an overlay, namespaces of its
// own for processes, mounts, names, users and network, no new privileges, the
// engine's default seccomp profile, few capabilities, and limits by control groups.
//
// A worker that is not root runs them in a user namespace of its own, without limits
// and with one user. The package knows nothing of where images come from.
package runc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/shim/keeper"
	"howdah.dev/howdah/internal/cell/worker/container"
)

// Config of the runtime.
type Config struct {
	container.Shims
	// Binary is runc; looked up in PATH when it has no slash. Empty: "runc".
	Binary string
	// Users are the host ids that containers get, as a mapping: 0 of the container is
	// Base. It counts when the worker is root; Size 0: the worker's default.
	Users shim.Mapping
}

// defaultUsers is a range that no distribution hands out.
func defaultUsers() shim.Mapping { return shim.Mapping{Base: 1 << 28, Size: 1 << 16} }

// Runtime runs containers.
type Runtime struct {
	cfg      Config
	rootless bool

	mu     sync.Mutex
	shared bool // files of images cannot be mapped: containers share the host's users
}

// New returns the runtime.
func New(cfg Config) *Runtime {
	if cfg.Binary == "" {
		cfg.Binary = "runc"
		// Distributions put it where the PATH of plain users does not lead.
		if _, err := exec.LookPath(cfg.Binary); err != nil {
			cfg.Binary = "/usr/sbin/runc"
		}
	}
	if cfg.Users.Size == 0 {
		cfg.Users = defaultUsers()
	}
	if path, err := exec.LookPath(cfg.Binary); err == nil {
		cfg.Binary = path
	}
	return &Runtime{cfg: cfg, rootless: os.Geteuid() != 0}
}

// Name is "runc".
func (r *Runtime) Name() string { return "runc" }

// Containers is true.
func (r *Runtime) Containers() bool { return true }

const probeTime = 10 * time.Second

// Probe runs nothing but asks for each thing that a container needs.
func (r *Runtime) Probe(ctx context.Context) (weaker []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.cfg.Binary, "--version")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("runc cannot be used: %w; install the package runc", err)
	}
	if !bytes.HasPrefix(out, []byte("runc version ")) {
		return nil, fmt.Errorf("runc cannot be used: %s is another program", r.cfg.Binary)
	}
	if err := r.probeMounts(ctx); err != nil {
		return nil, err
	}
	if r.rootless {
		weaker = append(weaker, "all users of a container are the worker's own user: not root")
	} else if r.shares() {
		weaker = append(weaker, "containers have no user namespace: the kernel cannot map the owners of an image's files (needs Linux 5.19)")
	}
	if err := r.cfg.CheckLimits(); err != nil {
		weaker = append(weaker, err.Error())
	}
	return weaker, nil
}

func (r *Runtime) shares() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shared
}

// probeMounts has a shim put a root filesystem together, with and without mapping.
func (r *Runtime) probeMounts(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "howdah-probe-")
	if err != nil {
		return fmt.Errorf("containers cannot be tried: %w", err)
	}
	defer os.RemoveAll(dir)
	layer := filepath.Join(dir, "layer")
	if err := os.Mkdir(layer, 0o755); err != nil {
		return fmt.Errorf("containers cannot be tried: %w", err)
	}
	mapped := r.tryMounts(ctx, dir, layer, r.mapping())
	if mapped == nil {
		return nil
	}
	if !r.rootless && r.tryMounts(ctx, dir, layer, shim.Mapping{}) == nil {
		r.mu.Lock()
		r.shared = true
		r.mu.Unlock()
		return nil
	}
	return fmt.Errorf("containers cannot be made: %w", mapped)
}

func (r *Runtime) tryMounts(ctx context.Context, dir, layer string, m shim.Mapping) error {
	state, err := os.MkdirTemp(dir, "state-")
	if err != nil {
		return err
	}
	sandbox := filepath.Join(state, "sandbox")
	if err := os.Mkdir(sandbox, 0o700); err != nil {
		return err
	}
	cfg := shim.Config{ID: "probe-" + filepath.Base(state), Sandbox: sandbox, Container: &shim.Container{
		Runc: "/bin/true", Root: state, Layers: []string{layer}, Mapping: m, Rootless: r.rootless, Try: true,
	}, Network: &shim.Network{}}
	running, err := r.cfg.Start(ctx, state, cfg)
	if err != nil {
		return err
	}
	exit, err := running.Wait(ctx)
	if err == nil && exit.Error != "" {
		err = errors.New(exit.Error)
	}
	return err
}

// mapping is that of new containers.
func (r *Runtime) mapping() shim.Mapping {
	if r.rootless || r.shares() {
		return shim.Mapping{}
	}
	return r.cfg.Users
}

// Start starts a container.
func (r *Runtime) Start(ctx context.Context, spec container.Spec) (container.Running, error) {
	if spec.Image == nil {
		return nil, errors.New("a command without an image is not run by runc")
	}
	cfg := r.cfg.Config(spec)
	if r.rootless {
		cfg.Cgroup = nil
	}
	b := bundle{spec: spec, mapping: r.mapping(), rootless: r.rootless, group: groupPath(r.cfg.Parent, spec.ID)}
	b.labels = keeper.Labels(r.cfg.Node, spec.ID).Env()
	if cfg.Cgroup != nil {
		// Made before runc does, so that it is there to look at whatever runc does.
		if err := cfg.Cgroup.Create(cgroup.Limits{}); err != nil {
			return nil, err
		}
		b.swap = cfg.Cgroup.LimitsSwap()
	}
	if err := b.write(); err != nil {
		return nil, err
	}
	cfg.Container = &shim.Container{
		Runc: r.cfg.Binary, Root: filepath.Join(spec.Dir, "runc"), Layers: spec.Image.Layers, UserXattr: spec.Image.UserXattr,
		Mapping: b.mapping, Rootless: r.rootless, Volumes: b.volumes, ReadOnly: b.readOnly,
	}
	if !spec.Network.Host {
		cfg.Network = &shim.Network{Forwards: spec.Network.Forwards, Gateways: spec.Network.Gateways}
	}
	return r.cfg.Start(ctx, spec.Dir, cfg)
}

// Find returns a container that was started before.
func (r *Runtime) Find(ctx context.Context, dir string) (container.Running, error) {
	return r.cfg.Find(ctx, dir)
}

// Clean removes its control group.
func (r *Runtime) Clean(id string) error { return r.cfg.Clean(id) }

// Written is what the container wrote over its image.
func (r *Runtime) Written(dir string) []string { return []string{filepath.Join(dir, shim.UpperDir)} }

// groupPath is what runc is to call the group.
func groupPath(p *cgroup.Parent, id string) string {
	if p == nil {
		return ""
	}
	return p.Path + "/" + id
}
