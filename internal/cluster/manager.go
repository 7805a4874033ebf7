// Package cluster ties definitions, stacks, placement, plans and operations
// together: it owns what a cluster and a node are wanted to be, renders
// assignments, and derives status and conditions from what is observed. It
// knows no particular kind of cluster, and must not import the server or the
// command line.
package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/limit"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/session"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// Config is what a manager needs.
type Config struct {
	Store     *store.Store
	Stacks    *stack.Catalog
	Drivers   map[string]infra.Driver // by infrastructure
	Cache     *artifact.Cache
	Authority *tenant.Authority
	AgentAddr string // host:port agents connect to
	API       string // address of the server's API
	Sent      string // directory for what agents send
	OpenPorts bool   // the user accepts services that listen on every address
	Clients   Clients
	Log       *slog.Logger
	Crash     func(point string) // see op.Config
	Clock     Clock              // the system's where empty
	Join      time.Duration      // how long an agent may take to join; 2 min where 0
	Repair    time.Duration      // pause before missing nodes are tried again for the first time; 15 s where 0
}

// Manager is the one writer of what is wanted of clusters and nodes.
type Manager struct {
	cfg      Config
	engine   *op.Engine
	clock    Clock
	drivers  map[string]*limit.Driver // by infrastructure
	presence *presence

	broker    *session.Broker
	mu        sync.Mutex
	stacks    map[string]*stack.Stack // by digest
	revisions map[revisionKey]*known
	sessions  map[string]*agentStream // connected agents by node
	vitals    map[string]*vital       // what was heard of nodes
	unmended  map[string]string       // why nodes of an infrastructure are not mended
	mending   map[string]bool         // nodes being mended
	progress  map[string]artifact.Progress
	invited   map[string]bool // nodes this server has given a join token
	inventory map[string]infra.Inventory
	whole     map[string]bool          // artifact sets known to be complete
	rendered  map[string]*rendered     // last rendering of each node
	warned    map[string]time.Duration // when this server warned of the end of each cluster, by the steady clock
	unheard   map[string]string        // why a node's agent is not let in
	glances   map[string]*glance       // by cluster
	ids       identities

	// pulse counts changes of what statuses are made of beside the store: which agents
	// are connected, that a silent one is heard, what keeps one from running.
	pulse atomic.Uint64
}

// agentStream is one agent's open stream.
type agentStream struct {
	incarnation int64
	fence       context.CancelCauseFunc
	asks        chan *agentapi.SessionRequest // on their way into the stream
	gone        chan struct{}                 // closed when the stream has ended
}

// New makes a manager and its operation engine.
func New(cfg Config) *Manager {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Manager{
		cfg: cfg, broker: session.NewBroker(session.Defaults), drivers: limited(cfg.Drivers), stacks: map[string]*stack.Stack{}, revisions: map[revisionKey]*known{}, sessions: map[string]*agentStream{},
		vitals: map[string]*vital{}, unmended: map[string]string{}, mending: map[string]bool{},
		progress: map[string]artifact.Progress{}, invited: map[string]bool{}, inventory: map[string]infra.Inventory{},
		whole: map[string]bool{}, rendered: map[string]*rendered{}, warned: map[string]time.Duration{}, clock: cfg.Clock, presence: newPresence(time.Now()), unheard: map[string]string{}, glances: map[string]*glance{},
	}
	m.cfg.Join, m.cfg.Repair = cmp.Or(cfg.Join, joinDeadline), cmp.Or(cfg.Repair, repairPause)
	if m.clock.Wall == nil {
		m.clock = systemClock()
	}
	m.Restrict(tenant.Restrictions{})
	m.engine = op.New(op.Config{Store: cfg.Store, Kinds: m.kinds(), Plan: m.planOperation, Log: cfg.Log, Crash: cfg.Crash})
	return m
}

// Run executes operations and the drivers' own work until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for name, d := range m.cfg.Drivers {
		if r, ok := d.(infra.Runner); ok {
			wg.Go(func() {
				if err := r.Run(ctx); err != nil && ctx.Err() == nil {
					m.cfg.Log.Error("driver ended", "infrastructure", name, "error", err)
				}
			})
		}
	}
	// Operations left open are planned from what there is; nothing may be
	// planned before that is known.
	for err := m.refreshInventory(ctx); err != nil && ctx.Err() == nil; err = m.refreshInventory(ctx) {
		m.cfg.Log.Error("cannot take inventory; trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
	wg.Go(func() { m.prune(ctx) })
	wg.Go(func() { m.expireClusters(ctx) })
	wg.Go(func() { m.repairClusters(ctx) })
	wg.Go(func() { m.watchNodes(ctx) })
	err := m.engine.Run(ctx)
	wg.Wait()
	return err
}

// Engine controls operations: retry, skip, abandon, cancel.
func (m *Manager) Engine() *op.Engine { return m.engine }

// stackByDigest returns the stack a cluster was made with.
func (m *Manager) stackByDigest(tx *store.Tx, digest string) (*stack.Stack, error) {
	m.mu.Lock()
	s := m.stacks[digest]
	m.mu.Unlock()
	if s != nil {
		return s, nil
	}
	for _, name := range m.cfg.Stacks.Names() {
		if c, _ := m.cfg.Stacks.Get(name); c.Digest == digest {
			s = c
		}
	}
	if s == nil {
		name, bundle, err := tx.Stack(digest)
		if err != nil {
			return nil, err
		}
		if s, err = stack.FromBundle(name, bundle); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	m.stacks[digest] = s
	m.mu.Unlock()
	return s, nil
}

// driver returns the driver of an infrastructure.
func (m *Manager) driver(name string) (*limit.Driver, error) {
	d, ok := m.drivers[name]
	if !ok {
		return nil, fmt.Errorf("there is no infrastructure %s", name)
	}
	return d, nil
}

// infrastructures lists the configured ones.
func (m *Manager) infrastructures() []string {
	out := make([]string, 0, len(m.cfg.Drivers))
	for name := range m.cfg.Drivers {
		out = append(out, name)
	}
	return out
}

// refreshInventory asks the drivers what there is; plans are made from the
// answer, because nothing outside the database may be asked in a transaction.
func (m *Manager) refreshInventory(ctx context.Context) error {
	for name, d := range m.drivers {
		inv, err := d.Inventory(ctx)
		if err != nil {
			return fmt.Errorf("cannot take inventory of %s: %w", name, err)
		}
		m.mu.Lock()
		m.inventory[name] = inv
		m.mu.Unlock()
	}
	return nil
}

// ref names a node to its driver.
func ref(clusterName string, n store.Node) infra.Ref {
	return infra.Ref{Key: n.ID, Cluster: clusterName, Name: n.Name}
}

// hostOf returns where a node runs, nil before its agent told.
func (m *Manager) hostOf(n store.Node) *stack.Host {
	if n.Facts == nil || n.Java == nil {
		return nil
	}
	return &stack.Host{Dir: n.Facts.Dir, Cache: n.Facts.Cache, Java: *n.Java, User: n.Facts.User, Program: n.Facts.Program, API: m.cfg.API}
}

// member returns a node as revisions list it.
func member(n store.Node, roles []string) stack.Member {
	return stack.Member{ID: n.ID, Name: n.Name, Group: n.Group, Ordinal: n.Ordinal, Roles: roles, Address: n.Address, Host: n.Host, MemoryMB: n.MemoryMB, CPUs: n.CPUs}
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// running reports whether a node's services are wanted.
func running(i agentapi.Intent) bool { return i == agentapi.IntentRun || i == agentapi.IntentDrain }
