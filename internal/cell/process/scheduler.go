package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/marathon"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/mesos/v1client"
	"howdah.dev/howdah/internal/cell/policy"
	"howdah.dev/howdah/internal/cell/scheduler"
	"howdah.dev/howdah/internal/tenant"
)

// failover is how long the master keeps the tasks of a scheduler that is away,
// as Marathon's failover_timeout: a week.
const failover = 7 * 24 * time.Hour

// SchedulerConfig is the configuration file of "howdah cell scheduler".
type SchedulerConfig struct {
	Dir      string   `json:"dir"`
	Address  string   `json:"address"` // ip:port
	Host     string   `json:"host"`
	Master   string   `json:"master"` // URL
	Access   Access   `json:"access"`
	Role     string   `json:"role"`
	Roles    []string `json:"roles"`   // reserved resources it may use besides
	Secrets  string   `json:"secrets"` // directory; a secret's source names a file in it, or env:NAME
	Service  Ports    `json:"servicePorts"`
	Deadline Duration `json:"progressDeadline"`
	// MaxDeployments is how many deployments run at once.
	MaxDeployments int               `json:"maxDeployments"`
	Policy         Rights            `json:"policy"`   // of the default project
	Projects       map[string]Rights `json:"projects"` // of others; none is the safe default
	Registry       RegistryConfig    `json:"registry"` // whose images are a project's
	// Warehouse is the one whose declared datasets say who may use which folder.
	Warehouse WarehouseConfig `json:"warehouse"`
}

// Ports are a first and a last port.
type Ports struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

// Duration is a time span as 30s or 5m in a file.
type Duration struct{ time.Duration }

// UnmarshalText reads a time span.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(text))
	return err
}

// Scheduler runs the scheduler of a cell until ctx ends.
func Scheduler(ctx context.Context, file, version string, log *slog.Logger) error {
	var cfg SchedulerConfig
	if err := read(file, &cfg); err != nil {
		return err
	}
	gate, err := cfg.Access.open()
	if err != nil {
		return err
	}
	if err := cfg.check(); err != nil {
		return err
	}
	if err := ensureDir(cfg.Dir); err != nil {
		return err
	}
	client, err := v1client.New(v1client.Config{URL: cfg.Master, Authorize: gate.authorize})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	hub := marathon.NewHub(epoch())
	engine, err := scheduler.Open(ctx, scheduler.Config{
		Path: filepath.Join(cfg.Dir, "scheduler.db"), Master: client, Framework: cfg.framework(), Secret: cfg.secret, Publish: hub.Publish,
		ProgressDeadline: cfg.Deadline.Duration, MaxDeployments: cfg.MaxDeployments, Log: log,
	})
	if err != nil {
		return err
	}
	declared := cfg.Warehouse.datasets(log)
	api := marathon.New(marathon.Config{
		Engine: engine, Hub: hub, Settings: app.Settings{Role: cfg.Role}, Address: cfg.Address, MesosURL: cfg.Master, Principal: gate.who,
		Policy:       func(project string) policy.Policy { return declared.of(project, cfg.policyOf(project)) },
		ServicePorts: [2]int{cfg.Service.First, cfg.Service.Last}, Shutdown: stop, Version: version, Log: log,
	})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return engine.Run(ctx) })
	g.Go(func() error { return serve(ctx, listener{cfg.Address, cfg.Host}, declared.before(api), api.Close, log) })
	return g.Wait()
}

func (c *SchedulerConfig) check() error {
	if c.Role == "" {
		c.Role = mesos.DefaultRole
	}
	if c.Service == (Ports{}) {
		c.Service = Ports{10000, 20000}
	}
	var errs []error
	if c.Service.First < 1 || c.Service.Last > 65535 || c.Service.First > c.Service.Last {
		errs = append(errs, fmt.Errorf("servicePorts: %d to %d is no range of ports", c.Service.First, c.Service.Last))
	}
	if _, err := c.Registry.host(); err != nil {
		errs = append(errs, err)
	}
	for _, p := range c.Policy.policy().Problems() {
		errs = append(errs, errors.New("policy: "+p))
	}
	for name, rights := range c.Projects {
		for _, p := range rights.policy().Problems() {
			errs = append(errs, fmt.Errorf("projects: %s: %s", name, p))
		}
	}
	return errors.Join(errs...)
}

func (c *SchedulerConfig) framework() mesos.FrameworkInfo {
	roles := append([]string{c.Role}, c.Roles...)
	return mesos.FrameworkInfo{
		User: "root", Name: "marathon", Hostname: c.Host, Roles: roles, Principal: principalCell, WebUIURL: "http://" + c.Address + "/ui/",
		FailoverTimeout: failover.Seconds(), Checkpoint: true,
		Capabilities: []mesos.Capability{{Type: mesos.CapPartitionAware}, {Type: mesos.CapTaskKillingState}, {Type: mesos.CapMultiRole}, {Type: mesos.CapReservationRefinement}},
	}
}

func (c *SchedulerConfig) policyOf(project string) policy.Policy {
	rights := c.Projects[project]
	if project == tenant.DefaultProject {
		rights = c.Policy
	}
	host, _ := c.Registry.host() // check has seen that it can be read
	return rights.of(project, host)
}

// maxSecret bounds one secret.
const maxSecret = 1 << 20

// secret reads the value of a secret: a file of the secrets' directory, or a
// variable of the scheduler's own environment whose name begins with SECRET_.
func (c *SchedulerConfig) secret(_ context.Context, source string) ([]byte, error) {
	if name, ok := strings.CutPrefix(source, "env:"); ok {
		value, found := os.LookupEnv(name)
		if !strings.HasPrefix(name, "SECRET_") || !found {
			return nil, fmt.Errorf("there is no secret %s: set the variable %s, whose name must begin with SECRET_, for the scheduler", source, name)
		}
		return []byte(value), nil
	}
	if c.Secrets == "" {
		return nil, fmt.Errorf("there is no secret %s: the scheduler has no directory of secrets", source)
	}
	root, err := os.OpenRoot(c.Secrets)
	if err != nil {
		return nil, fmt.Errorf("cannot read secret %s: %w", source, err)
	}
	defer root.Close()
	info, err := root.Stat(filepath.FromSlash(source))
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxSecret {
		return nil, fmt.Errorf("there is no secret %s: put it into a file of that name below %s, of at most 1 MiB", source, c.Secrets)
	}
	return root.ReadFile(filepath.FromSlash(source))
}
