// Package plain runs commands as they are: a process of the worker's host, in a
// session of its own, as its user, with limits where control groups can be made. It
// runs no images and separates nothing.
package plain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/shim/keeper"
	"howdah.dev/howdah/internal/cell/worker/container"
)

// Config of the runtime.
type Config struct {
	container.Shims
	// User runs commands that name no user, when the worker is root. Empty: root.
	User string
}

// Runtime runs commands.
type Runtime struct{ cfg Config }

// New returns the runtime.
func New(cfg Config) *Runtime { return &Runtime{cfg: cfg} }

// Name is "plain".
func (r *Runtime) Name() string { return "plain" }

// Containers is false.
func (r *Runtime) Containers() bool { return false }

// Probe finds it usable everywhere. That commands share the host's files, processes
// and network is what they are, and no weakness of one host.
func (r *Runtime) Probe(context.Context) (weaker []string, err error) {
	switch {
	case os.Geteuid() == 0 && r.cfg.User == "":
		weaker = append(weaker, "commands that name no user run as root")
	case os.Geteuid() != 0:
		weaker = append(weaker, "all commands run as the worker's own user: not root")
	}
	if err := r.cfg.CheckLimits(); err != nil {
		weaker = append(weaker, err.Error())
	}
	if r.cfg.Parent == nil {
		weaker = append(weaker, "what a command starts without its environment outlives it if its shim is killed: there are no control groups to find it by")
	}
	return weaker, nil
}

// Start starts a command.
func (r *Runtime) Start(ctx context.Context, spec container.Spec) (container.Running, error) {
	if spec.Image != nil {
		return nil, errors.New("the task needs a container; this worker runs plain commands only")
	}
	u, err := r.user(spec.User)
	if err != nil {
		return nil, err
	}
	if err := putSecrets(spec); err != nil {
		return nil, err
	}
	// Nothing runs in it yet, so nobody can put a link in our way.
	if u != nil {
		if err := container.Own(spec.Sandbox, u.UID, u.GID); err != nil {
			return nil, err
		}
	}
	cfg := r.cfg.Config(spec)
	cfg.KillTree = true
	if cfg.Cgroup != nil {
		if err := cfg.Cgroup.Create(spec.Limits); err != nil {
			return nil, err
		}
	}
	argv := spec.Argv
	if spec.Shell {
		argv = append([]string{"/bin/sh", "-c"}, argv...)
	}
	// The labels last: by them what a task started is found.
	env := container.Environment(spec.Env, keeper.Labels(r.cfg.Node, spec.ID).Env())
	cfg.Command = &shim.Command{
		Argv: argv, Env: env, Dir: spec.Sandbox, User: u, MaxFiles: container.MaxFiles,
		NoNewPrivs: u != nil && u.UID != 0,
	}
	return r.cfg.Start(ctx, spec.Dir, cfg)
}

// Find returns a command that was started before.
func (r *Runtime) Find(ctx context.Context, dir string) (container.Running, error) {
	return r.cfg.Find(ctx, dir)
}

// Clean removes its control group.
func (r *Runtime) Clean(id string) error { return r.cfg.Clean(id) }

// Written is empty: a command has its sandbox only.
func (r *Runtime) Written(string) []string { return nil }

// user finds whom to become; nil for ourselves.
func (r *Runtime) user(name string) (*shim.User, error) {
	if name == "" && os.Geteuid() == 0 {
		name = r.cfg.User
	}
	if name == "" {
		return nil, nil
	}
	found, err := user.Lookup(name)
	if err != nil {
		if found, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("this host has no user %q", name)
		}
	}
	u := &shim.User{}
	if u.UID, err = strconv.Atoi(found.Uid); err != nil {
		return nil, fmt.Errorf("cannot use user %q: %w", name, err)
	}
	if u.GID, err = strconv.Atoi(found.Gid); err != nil {
		return nil, fmt.Errorf("cannot use user %q: %w", name, err)
	}
	if u.UID == os.Geteuid() {
		return nil, nil
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("cannot run as user %q: the worker is not root and runs all commands as its own user", name)
	}
	ids, err := found.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("cannot find the groups of user %q: %w", name, err)
	}
	for _, id := range ids {
		if gid, err := strconv.Atoi(id); err == nil {
			u.Groups = append(u.Groups, gid)
		}
	}
	return u, nil
}

// putSecrets writes secrets below the sandbox; a command sees no other volumes.
func putSecrets(spec container.Spec) error {
	root, err := os.OpenRoot(spec.Sandbox)
	if err != nil {
		return fmt.Errorf("cannot open the sandbox: %w", err)
	}
	defer root.Close()
	for _, v := range spec.Volumes {
		switch {
		case v.HostPath != "":
			return fmt.Errorf("the volume at %s needs a container; the task is a plain command", v.ContainerPath)
		case !filepath.IsLocal(v.ContainerPath):
			return fmt.Errorf("the secret at %s: its path has to be below the sandbox for a plain command", v.ContainerPath)
		}
		err := root.MkdirAll(filepath.Dir(v.ContainerPath), 0o700)
		if err == nil {
			err = root.WriteFile(v.ContainerPath, v.Data, 0o600)
		}
		if err != nil {
			return fmt.Errorf("cannot write the secret at %s: %w", v.ContainerPath, err)
		}
	}
	return nil
}
