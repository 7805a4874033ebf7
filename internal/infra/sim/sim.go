// Package sim is an infrastructure in memory, for tests and measurements. Its
// machines run agents that speak to the server as real ones do, with the same
// messages over HTTP/2, and start no process. How long calls take and what
// goes wrong is given as data; with a seed everything that is drawn is drawn
// the same again. It waits by the time package alone, so that it also runs in
// a bubble of testing/synctest. It must not know the server's side.
//
//	Create ──► machine ──► boots ──► agent: join ─► watch ─► converge ─► report
//	Delete ──► off ──► gone                            └── permit, tasks
package sim

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/infra"
)

// Config is what an infrastructure is like. The zero value is one host without
// bounds, where everything works at once.
type Config struct {
	Seed uint64

	Hosts     int          // 1 by default
	CPUs      int          // of a host
	MemoryMB  int          // of a host; 0 for more than will be asked
	Addresses netip.Prefix // of nodes; 10.0.0.0/8 by default, where nothing listens
	Quota     int          // nodes at a time; 0 for no bound
	Limit     int          // calls under way that callers are told to keep to; 0 for 1,000
	Throttle  int          // calls under way from which on others are refused; 0 for no bound
	// RetryAfter is told to callers that are refused; 0 for nothing.
	RetryAfter time.Duration

	Latency map[Call]time.Duration // how long calls take
	Jitter  float64                // share by which a call may take less or more
	Faults  []Fault

	Agents Agents
	// Dial connects agents to the address in their join files.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Agents is how agents behave.
type Agents struct {
	Boot  time.Duration            // from power to the agent's start
	Start map[string]time.Duration // from the start of a service until it is ready, by name; "" for all others
	Stop  time.Duration            // how long a service takes to end
	Drain time.Duration            // how long a service takes to give up what it holds
	// Heartbeat is how often a report goes out when nothing changes; 0 for 5 s as
	// real agents do, negative for never.
	Heartbeat time.Duration
	// Shared is how many agents share a connection; 0 for 200. They say which
	// node they are in a header: see Identify.
	Shared int
	// TLS gives each agent a key, a certificate and a connection of its own, as
	// real ones have.
	TLS     bool
	Version string          // of howdah, as agents tell
	Javas   []agentapi.Java // as agents tell; by default a few that fit most stacks
	// Observe, where set, changes what an agent is about to report of a service.
	// It is called by many agents at the same time.
	Observe func(node string, s *api.ServiceStatus)
}

const (
	maxShared = 200
	heartbeat = 5 * time.Second
	firstNode = 10
	plenty    = 1 << 40 // MiB
	// reviveEvery is how often dead agents are looked for.
	reviveEvery = time.Second
)

// Cloud is a simulated infrastructure. It outlives the server that uses it, as
// a real one does; Close ends it.
type Cloud struct {
	cfg   Config
	life  context.Context //nolint:containedctx // of the machines, which no caller's context bounds
	end   context.CancelFunc
	key   *ecdsa.PrivateKey // of all agents that share connections
	csr   []byte
	hosts []string
	wg    sync.WaitGroup // agents
	mu    sync.Mutex
	over  bool
	nodes map[infra.Ref]*machine // by name; without keys
	used  map[string]int         // memory by host, MiB
	calls int                    // under way
	// counts has how many calls came, by kind and node.
	counts  map[counter]int
	effects []Change
	links   []*shared
}

// New makes an infrastructure without nodes.
func New(cfg Config) (*Cloud, error) {
	cfg.Hosts = cmp.Or(cfg.Hosts, 1)
	cfg.CPUs = cmp.Or(cfg.CPUs, 1<<20)
	cfg.MemoryMB = cmp.Or(cfg.MemoryMB, plenty)
	cfg.Limit = cmp.Or(cfg.Limit, 1000)
	if !cfg.Addresses.IsValid() {
		cfg.Addresses = netip.MustParsePrefix("10.0.0.0/8")
	}
	if cfg.Agents.Heartbeat == 0 {
		cfg.Agents.Heartbeat = heartbeat
	}
	cfg.Agents.Shared = cmp.Or(cfg.Agents.Shared, maxShared)
	if cfg.Agents.Javas == nil {
		cfg.Agents.Javas = javas(17, 21, 11, 8)
	}
	c := &Cloud{cfg: cfg, nodes: map[infra.Ref]*machine{}, used: map[string]int{}, counts: map[counter]int{}}
	for i := range cfg.Hosts {
		c.hosts = append(c.hosts, fmt.Sprintf("sim-%0*d", len(fmt.Sprint(cfg.Hosts)), i+1))
	}
	c.life, c.end = context.WithCancel(context.Background())
	var err error
	c.key, c.csr, err = newKey()
	return c, err
}

// newKey makes a key and a request to certify it.
func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	return key, csr, err
}

func javas(majors ...int) []agentapi.Java {
	var out []agentapi.Java
	for _, m := range majors {
		home := fmt.Sprintf("/sim/jdk-%d", m)
		out = append(out, agentapi.Java{Home: home, Bin: home + "/bin/java", Major: m, Version: fmt.Sprintf("%d.0.1", m), Key: fmt.Sprintf("sim-%d", m)})
	}
	return out
}

// Close ends all machines and returns when nothing of them runs any more.
func (c *Cloud) Close() {
	c.mu.Lock()
	c.over = true
	for _, m := range c.nodes {
		m.halt()
	}
	links := c.links
	c.mu.Unlock()
	c.end()
	for _, l := range links {
		l.close()
	}
	c.wg.Wait()
}

// Change is one effect a call had, in the order they happened.
type Change struct {
	Key     string // of the node
	Cluster string
	Node    string // name
	Call    Call   // "" when it happened by itself
	What    What
}

// What is what became of a machine.
type What string

// What happens to machines.
const (
	Made    What = "made"
	On      What = "on"
	Off     What = "off"
	Removed What = "removed"
)

// record notes an effect. c.mu is held.
func (c *Cloud) record(call Call, m *machine, what What) {
	c.effects = append(c.effects, Change{Key: m.ref.Key, Cluster: m.ref.Cluster, Node: m.ref.Name, Call: call, What: what})
}

// Effects returns everything that was changed so far.
func (c *Cloud) Effects() []Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.effects)
}

// Calls returns how many calls of a kind came for a node; "" counts all.
func (c *Cloud) Calls(call Call, node string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[counter{call, node}]
}

// Twice returns, in words, what effects happened more often than once to one
// node that may happen only once; none when all was done exactly once. A node
// that was made must also have been removed no more often.
func Twice(effects []Change) []string {
	type one struct {
		key  string
		what What
	}
	n := map[one]int{}
	var out []string
	for _, e := range effects {
		k := one{e.Key, e.What}
		n[k]++
		if (e.What == Made || e.What == Removed) && n[k] == 2 {
			out = append(out, fmt.Sprintf("%s (%s) was %s more than once", e.Node, e.Key, e.What))
		}
		if e.What == Removed && n[one{e.Key, Made}] == 0 {
			out = append(out, fmt.Sprintf("%s (%s) was removed and not made", e.Node, e.Key))
		}
	}
	return out
}

// Node is a machine that is there.
type Node struct {
	infra.Ref
	Address  string
	Host     string
	MemoryMB int
	CPUs     int
	Powered  bool
	Joined   bool // its agent has an identity
	Agent    bool // its agent runs, or will when the machine has booted
}

// Nodes returns what is there, by cluster and name.
func (c *Cloud) Nodes() []Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Node, 0, len(c.nodes))
	for _, m := range c.nodes {
		out = append(out, m.node())
	}
	slices.SortFunc(out, func(a, b Node) int { return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Name, b.Name)) })
	return out
}
