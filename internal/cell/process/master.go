package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"golang.org/x/sync/errgroup"

	"howdah.dev/howdah/internal/cell/announce"
	"howdah.dev/howdah/internal/cell/master"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/policy"
	"howdah.dev/howdah/internal/cell/workerapi"
	"howdah.dev/howdah/internal/tenant"
)

// MasterConfig is the configuration file of "howdah cell master".
type MasterConfig struct {
	Dir     string `json:"dir"`
	Address string `json:"address"` // ip:port
	Host    string `json:"host"`    // name others know it by
	Cluster string `json:"cluster"`
	Access  Access `json:"access"`
	Policy  Rights `json:"policy"` // of frameworks other than the cell's own scheduler
	// Registry is the one whose images are a project's.
	Registry RegistryConfig `json:"registry"`
	// Announce is where others look up the master.
	Announce AnnounceConfig `json:"zookeeper"`
}

// AnnounceConfig says in which ZooKeeper a node for the master is made; without
// hosts, in none.
type AnnounceConfig struct {
	Hosts List   `json:"hosts"` // host:port each
	Path  string `json:"path"`
}

// serve announces the master until ctx ends.
func (c AnnounceConfig) serve(ctx context.Context, info mesos.MasterInfo, log *slog.Logger) error {
	if len(c.Hosts) == 0 {
		<-ctx.Done()
		return nil
	}
	return announce.Run(ctx, announce.Config{Hosts: c.Hosts, Path: c.Path, Info: info, Log: log})
}

// Master runs the master of a cell until ctx ends.
func Master(ctx context.Context, file string, log *slog.Logger) error {
	var cfg MasterConfig
	if err := read(file, &cfg); err != nil {
		return err
	}
	address, err := netip.ParseAddrPort(cfg.Address)
	if err != nil {
		return fmt.Errorf("cannot use address %q of the master: %w", cfg.Address, err)
	}
	gate, err := cfg.Access.open()
	if err != nil {
		return err
	}
	if err := ensureDir(cfg.Dir); err != nil {
		return err
	}
	registry, err := cfg.Registry.host()
	if err != nil {
		return err
	}
	m, err := master.New(master.Config{
		Dir: cfg.Dir, Hostname: cfg.Host, Address: address, Cluster: cfg.Cluster, Log: log,
		Authorize: gate.master, Policy: func(f mesos.FrameworkInfo, t mesos.TaskInfo) error {
			return denied(f, t, cfg.Policy.of(f.Principal, registry))
		},
	})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.Run(ctx) })
	g.Go(func() error { return serve(ctx, listener{cfg.Address, cfg.Host}, m.Handler(), func() {}, log) })
	g.Go(func() error { return cfg.Announce.serve(ctx, m.Info(), log) })
	return g.Wait()
}

// principalCell is the cell's own scheduler; its apps were checked when they
// were posted. No project can have this name: it is no word of theirs.
const principalCell = "howdah:cell"

// master tells who speaks to the master: workers and the scheduler by the
// secret; others may read, and operators of the default project run frameworks.
func (g *gate) master(r *http.Request) (string, error) {
	if g.internal(r) {
		return principalCell, nil
	}
	token, err := g.who(r)
	if err != nil {
		return "", err
	}
	need := tenant.Operator
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		need = tenant.Viewer
	}
	if !token.Role.Covers(need) || strings.HasPrefix(r.URL.Path, workerapi.PathSubscribe) || strings.HasPrefix(r.URL.Path, workerapi.PathCall) {
		return "", fmt.Errorf("%w: this needs the role %s", master.ErrForbidden, need)
	}
	switch {
	case token.Project == tenant.DefaultProject:
	case need == tenant.Viewer:
		return "", fmt.Errorf("%w: the master shows the whole cell, and that to the project %s alone; the scheduler shows each project its own", master.ErrForbidden, tenant.DefaultProject)
	default:
		return "", fmt.Errorf("%w: frameworks of its own has the project %s alone, for offers know no projects", master.ErrForbidden, tenant.DefaultProject)
	}
	return token.Project, nil
}

// denied says what of a foreign framework's task the policy does not allow.
func denied(f mesos.FrameworkInfo, t mesos.TaskInfo, p policy.Policy) error {
	if f.Principal == principalCell {
		return nil
	}
	var errs []error
	for _, finding := range policy.Check(policy.FromTask(f, t), p) {
		errs = append(errs, fmt.Errorf("%s: %s", finding.Pointer, finding.Message))
	}
	return errors.Join(errs...)
}
