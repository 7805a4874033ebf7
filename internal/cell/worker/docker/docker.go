// Package docker runs images by a Docker engine of the same host, through its API: the
// engine's default seccomp profile and its profile of AppArmor where there is one, no
// new privileges, few capabilities, limits of memory, processor and processes. A shim
// starts each container, as with runc: it writes what the container prints, opens its
// ports and gateways in the container's network, which has nothing but loopback, and
// learns how it ended.
//
//	worker ── image, container ──▶ engine ◀── start, attach, wait, remove ── shim
//
// The engine is given images as archives and never asks a registry. The package knows
// nothing of where images come from.
package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/shim/keeper"
	"howdah.dev/howdah/internal/cell/worker/container"
)

// DefaultSocket is where engines listen.
const DefaultSocket = "/var/run/docker.sock"

// Labels of our containers: whose it is, what the worker calls it, and the state
// directory, without which nobody knows it any more.
const (
	labelNode = "dev.howdah.node"
	labelTask = "dev.howdah.task"
	labelDir  = "dev.howdah.dir"
)

// Config of the runtime.
type Config struct {
	container.Shims
	// Socket of the engine. Empty: DefaultSocket, where an engine of root answers.
	Socket string
}

// Runtime runs containers.
type Runtime struct {
	cfg    Config
	socket string
	api    *client.Client

	loading sync.Mutex // one image at a time
	mu      sync.Mutex
	tidied  time.Time
}

var _ container.Packer = (*Runtime)(nil)

// New returns the runtime.
func New(cfg Config) (*Runtime, error) {
	r := &Runtime{cfg: cfg, socket: cfg.Socket}
	if r.socket == "" {
		r.socket = DefaultSocket
	}
	if !filepath.IsAbs(r.socket) {
		return nil, fmt.Errorf("cannot use the Docker engine %q: give the absolute path of its socket on this host", r.socket)
	}
	var err error
	if r.api, err = client.New(client.WithHost("unix://" + r.socket)); err != nil {
		return nil, fmt.Errorf("cannot use the Docker engine at %s: %w", r.socket, err)
	}
	return r, nil
}

// Name is "docker".
func (r *Runtime) Name() string { return "docker" }

// Containers is true.
func (r *Runtime) Containers() bool { return true }

// Packed is true: the engine unpacks images.
func (r *Runtime) Packed() bool { return true }

// writtenFile, in the state directory, lists what Written returns.
const writtenFile = "written.json"

// Start starts a container.
func (r *Runtime) Start(ctx context.Context, spec container.Spec) (container.Running, error) {
	if spec.Image == nil {
		return nil, errors.New("a command without an image is not run by a Docker engine")
	}
	if err := r.removeTask(ctx, spec.ID); err != nil { // of a start that a crash cut short
		return nil, err
	}
	image, err := r.load(ctx, spec.Image)
	if err != nil {
		return nil, err
	}
	id, volumes, err := r.create(ctx, spec, image)
	if err != nil {
		return nil, err
	}
	cfg := r.cfg.Config(spec)
	cfg.Cgroup, cfg.Place = nil, nil // they are the engine's
	cfg.Engine = &shim.Engine{Socket: r.socket, ID: id, Volumes: volumes}
	if !spec.Network.Host {
		cfg.Network = &shim.Network{Forwards: spec.Network.Forwards, Gateways: spec.Network.Gateways}
	}
	return r.cfg.Start(ctx, spec.Dir, cfg)
}

// create makes the container, and what it mounts. It is removed by Clean.
func (r *Runtime) create(ctx context.Context, spec container.Spec, image string) (string, []shim.EngineVolume, error) {
	t := translation{spec: spec, image: image, program: r.cfg.Program}
	t.labels = keeper.Labels(r.cfg.Node, spec.ID).Env()
	t.marks = map[string]string{labelNode: r.cfg.Node, labelTask: spec.ID, labelDir: spec.Dir}
	options, err := t.options()
	if err != nil {
		return "", nil, err
	}
	// What is mounted has to be there. Secrets are given to their user below.
	if err := prepare(spec, container.User{}); err != nil {
		return "", nil, err
	}
	made, err := r.api.ContainerCreate(ctx, options)
	if err != nil {
		return "", nil, fmt.Errorf("cannot make the container: %w", err)
	}
	if err := r.fill(ctx, spec, made.ID); err != nil {
		return "", nil, err
	}
	return made.ID, t.volumes, nil
}

// prepare writes the files that the container mounts.
func prepare(spec container.Spec, user container.User) error {
	if _, err := container.NameFiles(spec); err != nil {
		return err
	}
	for i, v := range spec.Volumes {
		if v.HostPath != "" {
			continue
		}
		if _, err := container.SecretFile(spec, i, int(user.UID), int(user.GID)); err != nil {
			return err
		}
	}
	return container.Own(spec.Sandbox, int(user.UID), int(user.GID))
}

// fill gives what the container mounts to its user, and notes where it writes itself.
func (r *Runtime) fill(ctx context.Context, spec container.Spec, id string) error {
	user, err := container.FindUser(spec, func(file string) (string, error) { return r.read(ctx, id, file) })
	if err == nil {
		err = prepare(spec, user)
	}
	if err != nil {
		return err
	}
	made, err := r.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return fmt.Errorf("cannot look at the container: %w", err)
	}
	text, err := json.Marshal(written(&made.Container))
	if err == nil {
		err = os.WriteFile(filepath.Join(spec.Dir, writtenFile), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot write the container's state: %w", err)
	}
	return nil
}

// Find returns a container that was started before.
func (r *Runtime) Find(ctx context.Context, dir string) (container.Running, error) {
	return r.cfg.Find(ctx, dir)
}

const cleanTime = 30 * time.Second

// Clean removes the container, should its shim not have done so.
func (r *Runtime) Clean(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanTime)
	defer cancel()
	return errors.Join(r.removeTask(ctx, id), r.tidy(ctx))
}

// removeTask removes the containers of a task of ours.
func (r *Runtime) removeTask(ctx context.Context, id string) error {
	return r.remove(ctx, labelTask+"="+id, func(map[string]string) bool { return true })
}

// remove removes those of our containers with a label that are meant.
func (r *Runtime) remove(ctx context.Context, label string, meant func(labels map[string]string) bool) error {
	found, err := r.api.ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("label", labelNode+"="+r.cfg.Node, label),
	})
	if err != nil {
		return fmt.Errorf("cannot look for containers in the Docker engine: %w", err)
	}
	var errs []error
	for _, c := range found.Items {
		if !meant(c.Labels) {
			continue
		}
		if err := (shim.Engine{Socket: r.socket, ID: c.ID}).Remove(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Written is what the container wrote over its image, and the volumes that the image
// asked for.
func (r *Runtime) Written(dir string) []string {
	var paths []string
	text, err := os.ReadFile(filepath.Join(dir, writtenFile))
	if err != nil || json.Unmarshal(text, &paths) != nil {
		return nil
	}
	return paths
}
