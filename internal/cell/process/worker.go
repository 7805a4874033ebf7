package process

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sync/errgroup"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/policy"
	"howdah.dev/howdah/internal/cell/scheduler"
	"howdah.dev/howdah/internal/cell/shim/bin"
	"howdah.dev/howdah/internal/cell/worker"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/cell/worker/docker"
	"howdah.dev/howdah/internal/cell/worker/fetch"
	"howdah.dev/howdah/internal/cell/worker/plain"
	"howdah.dev/howdah/internal/cell/worker/runc"
	"howdah.dev/howdah/internal/node/proc"
	"howdah.dev/howdah/internal/tenant"
)

// WorkerConfig is the configuration file of "howdah cell worker".
type WorkerConfig struct {
	Dir        string          `json:"dir"`
	Conditions string          `json:"conditions"` // file for what the worker says of itself; none where absent
	Address    string          `json:"address"`    // ip:port
	Host       string          `json:"host"`
	Master     string          `json:"master"` // URL
	Access     Access          `json:"access"`
	Resources  string          `json:"resources"`  // as Mesos writes them
	Attributes string          `json:"attributes"` // as Mesos writes them
	Runtimes   List            `json:"runtimes"`   // of docker, runc and plain; all where absent
	Docker     DockerConfig    `json:"docker"`
	Volumes    List            `json:"volumes"`    // folders of the host that may be mounted
	LocalFetch bool            `json:"localFetch"` // URIs may lead to loopback and link-local addresses
	Registry   RegistryConfig  `json:"registry"`
	Warehouse  WarehouseConfig `json:"warehouse"`
	Scheduler  string          `json:"scheduler"` // URL
	// ServiceProxy opens the service ports of the cell's apps here; true where absent.
	ServiceProxy *bool `json:"serviceProxy"`
}

// DockerConfig says which Docker engine runs containers.
type DockerConfig struct {
	// Socket is its path on this host. Where absent the default socket is used, if an
	// engine of root answers there.
	Socket string `json:"socket"`
}

// Worker runs a worker of a cell until ctx ends. Its tasks go on.
func Worker(ctx context.Context, file string, log *slog.Logger) error {
	var cfg WorkerConfig
	if err := read(file, &cfg); err != nil {
		return err
	}
	address, err := netip.ParseAddrPort(cfg.Address)
	if err != nil {
		return fmt.Errorf("cannot use address %q of the worker: %w", cfg.Address, err)
	}
	gate, err := cfg.Access.open()
	if err != nil {
		return err
	}
	if err := ensureDir(cfg.Dir); err != nil {
		return err
	}
	place, weaker := cfg.place()
	if place != nil {
		defer place.Remove() // stays where tasks go on
	}
	runtimes, err := cfg.runtimes(address.Addr(), place)
	if err != nil {
		return err
	}
	info, err := cfg.info(address)
	if err != nil {
		return err
	}
	images, err := cfg.Registry.open(filepath.Join(cfg.Dir, "images"), cfg.blocked, log)
	if err != nil {
		return err
	}
	house, err := cfg.Warehouse.open(cfg.Dir, cfg.Address, gate.secret, log)
	if err != nil {
		return err
	}
	w, err := worker.New(ctx, worker.Config{
		Dir: filepath.Join(cfg.Dir, "worker"), Info: info, IP: address.Addr().String(), Address: cfg.Address,
		Master: func() string { return cfg.Master }, Client: gate.client(), Images: images,
		Runtimes: runtimes, RuntimesAttribute: scheduler.AttributeRuntimes,
		Fetch: fetch.Config{Blocked: cfg.blocked}, Extras: house.extras, Private: []string{tokenFile}, Gateways: house.gateways(), Volumes: cfg.Volumes, Drain: drain,
		Authorize: gate.worker, Log: log,
	})
	if err != nil {
		return err
	}
	if len(w.Runtimes()) == 0 { // the agent starts us again; tasks go on until then
		return unusable(ctx, runtimes)
	}
	house.holds = w.Holds
	weaker = slices.Concat(weaker, w.Weaker())
	for _, sentence := range weaker {
		log.Warn("something is weaker here than it could be", "what", sentence)
	}
	if err := cfg.say(w.Runtimes(), weaker); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", w.Handler())
	mux.Handle(gatewayPath, house.handler)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.Run(ctx) })
	g.Go(func() error { return serve(ctx, listener{cfg.Address, cfg.Host}, mux, func() {}, log) })
	g.Go(func() error { return house.serve(ctx, log) })
	g.Go(func() error { return images.tidy(ctx) })
	g.Go(func() error { return cfg.serveServices(ctx, address.Addr(), gate, info.Resources, log) })
	return g.Wait()
}

// blocked tells whether nothing may be fetched from an address.
func (c *WorkerConfig) blocked(a netip.Addr) bool { return !c.LocalFetch && policy.BlockedIP(a) }

// say tells the node's agent by what tasks are run, and what is weaker here than it
// could be.
func (c *WorkerConfig) say(runtimes, weaker []string) error {
	if c.Conditions == "" {
		return nil
	}
	all := []api.Condition{{Type: "Runtimes", Status: true, Reason: "Found", Message: strings.Join(runtimes, ", ")}}
	if len(weaker) > 0 {
		all = append(all, api.Condition{Type: api.ConditionWeakened, Status: true, Reason: "Host", Message: strings.Join(weaker, "; ")})
	}
	text, err := json.Marshal(all)
	if err == nil {
		err = renameio.WriteFile(c.Conditions, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot write the worker's conditions: %w", err)
	}
	return nil
}

// runtimes are those that are wanted, best first; also such as cannot be used now: of
// one whose engine is down there may be tasks.
func (c *WorkerConfig) runtimes(ip netip.Addr, place *cgroup.Parent) ([]container.Runtime, error) {
	program, err := bin.Unpack(filepath.Join(c.Dir, "bin"))
	if err != nil {
		return nil, err
	}
	shims := container.Shims{Program: program, Node: c.label(), IP: ip.String(), Parent: place}
	if len(c.Runtimes) == 0 {
		c.Runtimes = List{"docker", "runc", "plain"}
	}
	var out []container.Runtime
	for _, name := range c.Runtimes {
		var r container.Runtime
		var err error
		switch name {
		case "docker":
			r, err = docker.New(docker.Config{Shims: shims, Socket: c.Docker.Socket})
		case "runc":
			r = runc.New(runc.Config{Shims: shims})
		case "plain":
			r = plain.New(plain.Config{Shims: shims})
		default:
			err = fmt.Errorf("there is no runtime %q; use docker, runc or plain", name)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// unusable says of each runtime why it cannot be used here, also of such as nobody
// would miss.
func unusable(ctx context.Context, runtimes []container.Runtime) error {
	var why []string
	for _, r := range runtimes {
		_, err := r.Probe(ctx)
		why = append(why, fmt.Sprintf("%s: %v", r.Name(), err))
	}
	return fmt.Errorf("none of the runtimes can be used here: %s", strings.Join(why, "; "))
}

// place is where control groups of tasks are made, nil where none can be.
func (c *WorkerConfig) place() (place *cgroup.Parent, weaker []string) {
	p, err := cgroup.Find("/sys/fs/cgroup", "/proc/self/cgroup", filepath.Join("howdah", c.name()))
	if err == nil {
		err = p.Check()
	}
	if err != nil {
		return nil, []string{fmt.Sprintf("tasks have no limits here: %v", err)}
	}
	return &p, nil
}

// label is what all tasks carry in their environment: what the node's agent gave
// this process, so that they end with it when it is stopped for good.
func (c *WorkerConfig) label() string {
	if node := os.Getenv(proc.EnvNode); node != "" {
		return node + "/" + os.Getenv(proc.EnvService)
	}
	return c.Host
}

// name tells the workers of different homes on one host apart.
func (c *WorkerConfig) name() string {
	ip, _, _ := strings.Cut(c.Address, ":")
	return strings.ReplaceAll(ip, ".", "-")
}

func (c *WorkerConfig) info(address netip.AddrPort) (mesos.AgentInfo, error) {
	info := mesos.AgentInfo{Hostname: c.Host, Port: int(address.Port())}
	resources, err := mesos.ParseResources(c.Resources)
	if err != nil {
		return info, fmt.Errorf("resources: %w", err)
	}
	info.Resources = resources
	if c.Attributes != "" {
		if info.Attributes, err = mesos.ParseAttributes(c.Attributes); err != nil {
			return info, fmt.Errorf("attributes: %w", err)
		}
	}
	return info, nil
}

// client reaches the cell's other programs.
func (g *gate) client() *http.Client {
	t := &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext}
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		g.authorize(r)
		return t.RoundTrip(r)
	})}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// worker tells whether a request to a worker may pass: those who read may see
// sandboxes of their project's apps, those who operate may run commands in them.
func (g *gate) worker(r *http.Request, info *mesos.TaskInfo) error {
	who, err := g.who(r)
	if err != nil {
		return err
	}
	need := tenant.Viewer
	if strings.HasPrefix(r.URL.Path, "/exec") || strings.HasPrefix(r.URL.Path, "/slave(1)/exec") {
		need = tenant.Operator
	}
	if !who.Role.Covers(need) {
		return fmt.Errorf("%w: the role %s is needed, yours is %s", worker.ErrForbidden, need, who.Role)
	}
	if who.Project == tenant.DefaultProject {
		return nil
	}
	if info == nil || app.TopLevel(info.Labels.Value(app.IDLabel)) != who.Project {
		return fmt.Errorf("%w: this is not your project's", worker.ErrForbidden)
	}
	if need == tenant.Operator && projectOf(info) != who.Project {
		return fmt.Errorf("%w: the task is below your group, but project %s made it", worker.ErrForbidden, projectOf(info))
	}
	return nil
}

// projectOf returns the project that made a task's app.
func projectOf(info *mesos.TaskInfo) string {
	if project := info.Labels.Value(app.ProjectLabel); project != "" {
		return project
	}
	return tenant.DefaultProject
}

// List is several words, in a file also as one text with commas.
type List []string

// UnmarshalJSON reads either form.
func (l *List) UnmarshalJSON(text []byte) error {
	return unmarshalList(text, (*[]string)(l))
}

// secretToken reads a token from its file each time: it may be renewed.
func secretToken(file string) func() string {
	return func() string {
		text, err := os.ReadFile(file)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
}
