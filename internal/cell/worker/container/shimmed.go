package container

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/shim/keeper"
)

// Shims is what runtimes need that run tasks under a shim.
type Shims struct {
	Program string         // the shim
	Node    string         // name that all processes carry in their environment
	Parent  *cgroup.Parent // where groups are made; nil: limits cannot be set
	IP      string         // the worker's own address; tasks with the host's network listen there
	Logs    shim.Logs
}

// defaultLogs keeps three files of 10 MiB, and lets a task write 32 MiB each second.
func defaultLogs() shim.Logs { return shim.Logs{MaxBytes: 10 << 20, Keep: 2, BytesPerSecond: 32 << 20} }

// MaxFiles is how many files a task may have open.
const MaxFiles = 1 << 20

// Group returns the control group of a container, nil where there is none.
func (s Shims) Group(id string) *cgroup.Group {
	if s.Parent == nil {
		return nil
	}
	g := s.Parent.Group(id)
	return &g
}

// Config begins the configuration of a shim.
func (s Shims) Config(spec Spec) shim.Config {
	cfg := shim.Config{ID: spec.ID, Sandbox: spec.Sandbox, Logs: s.Logs, Grace: spec.Grace, KillTree: spec.Shell, Cgroup: s.Group(spec.ID)}
	if s.Parent != nil {
		cfg.Place = s.Parent.Folders()
	}
	if cfg.Logs == (shim.Logs{}) {
		cfg.Logs = defaultLogs()
	}
	return cfg
}

// Start starts a shim.
func (s Shims) Start(ctx context.Context, dir string, cfg shim.Config) (Running, error) {
	k, err := keeper.Start(ctx, keeper.Spec{Program: s.Program, Dir: dir, Node: s.Node, Config: cfg})
	if err != nil {
		return nil, err
	}
	return shimmed{k, s.IP}, nil
}

// Find returns a task with a shim.
func (s Shims) Find(ctx context.Context, dir string) (Running, error) {
	k, err := keeper.Find(ctx, dir, s.Node)
	if err != nil {
		return nil, err
	}
	return shimmed{k, s.IP}, nil
}

// Clean removes a container's group. The shim does so when it ends in order.
func (s Shims) Clean(id string) error {
	g := s.Group(id)
	if g == nil {
		return nil
	}
	err := errors.Join(g.Kill(cleanTime), g.Remove())
	s.Parent.RemoveTraces(id)
	return err
}

const cleanTime = 10 * time.Second

type shimmed struct {
	*keeper.Shim
	ip string
}

func (s shimmed) Dial(ctx context.Context, port int) (net.Conn, error) {
	if s.Config().Network == nil {
		return s.Client().Dial(ctx, port, s.ip)
	}
	return s.Client().Dial(ctx, port)
}

func (s shimmed) Exec(ctx context.Context, r shim.ExecRequest) (Session, error) {
	return s.Client().Exec(ctx, r)
}

func (s shimmed) Run(ctx context.Context, r shim.ExecRequest, limit int) (int, []byte, error) {
	return s.Client().Run(ctx, r, limit)
}

func (s shimmed) Stats() cgroup.Stats {
	if g := s.Config().Cgroup; g != nil {
		return g.Stats()
	}
	if started, ok := s.Started(); ok && s.Config().Engine != nil {
		if g, err := cgroup.Of("/sys/fs/cgroup", fmt.Sprintf("/proc/%d/cgroup", started.PID)); err == nil {
			return g.Stats()
		}
	}
	return cgroup.Stats{}
}
