package cluster_test

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/golden"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const toys = `
-- toy/stack.yaml --
name: toy
summary: a toy
version: "1"
java: {min: 17}
artifacts: {}
links: {peer: {exports: [addr]}}
roles:
  head: {services: [headd], memoryMB: 100, removable: {when: "false", message: the head stays}}
  worker: {services: [workd], memoryMB: 100}
services:
  headd:
    dirs: {data: {keep: true}}
    backup: {dir: data, point: "as of ${value}", steps: [{title: note, command: [note], capture: "at ([0-9]+)"}, {title: copy, files: ["*"]}]}
    command: [headd, "${links.peer.addr}"]
    ready: {message: headd answers, tcp: "${self.ip}:70", max: 10s}
    reload: [reload]
    secrets: {conf/key: {kind: shared, name: key}, conf/ca.pem: {kind: authority}, conf/token: {kind: token, role: viewer}}
    files:
      a.conf: {format: properties, user: toy/a}
      leaving: {format: lines, onChange: reload, forEach: [{in: leaving.worker, value: "${it.name}"}]}
  workd: {command: [workd], ready: {tcp: "${self.ip}:71"}, secrets: {conf/key: {kind: shared, name: key}}}
exports: {addr: "${role.head[0].ip}:70"}
web: {toy/v1: {adapter: echo, address: "${role.head[0].ip}:70", listen: {role: head, port: 8080, path: /api/v1}}, toy/v2: {adapter: echo, address: "${cluster.name}"}}
client: {commands: {toy: {command: [toy]}}}
workloads: {job: {summary: jobs, adapter: absent, address: "${role.head[0].ip}:90", on: head, submit: [submit, "${jar}"]}}
smoke: {on: head, secrets: {key: {kind: shared, name: key}}, steps: [{title: try it, command: ["true"]}]}
default: {nodeGroups: [{name: head, roles: [head], instanceNum: 1}, {name: worker, roles: [worker], instanceNum: 2}]}
-- plain/stack.yaml --
name: plain
summary: keeps nothing
version: "1"
java: {min: 17}
artifacts: {}
links: {peer: {exports: [addr]}}
roles: {thing: {services: [thingd], memoryMB: 100}}
services: {thingd: {command: [thingd], ready: {tcp: "${self.ip}:70"}}}
default: {nodeGroups: [{name: thing, roles: [thing], instanceNum: 1}]}
-- exporter/stack.yaml --
name: exporter
summary: keeps nothing, but others use it
version: "1"
java: {min: 17}
artifacts: {}
roles: {maker: {services: [maked], memoryMB: 100}}
services: {maked: {command: [maked], ready: {tcp: "${self.ip}:70"}}}
exports: {addr: "${role.maker[0].ip}:70"}
default: {nodeGroups: [{name: maker, roles: [maker], instanceNum: 1}]}
`

// cloud is an infrastructure in memory. Its machines run scripted agents that
// speak to the manager as real ones do.
type cloud struct {
	t    *testing.T
	m    *cluster.Manager
	path string // of the database

	store  *store.Store
	config cluster.Config
	seen   int64 // last event looked at

	mu      sync.Mutex
	ctx     context.Context //nolint:containedctx // the life of the machines
	agents  map[string]*agent
	calls   []string
	trouble string                                  // what Describe says of agents
	strange error                                   // what Describe answers, where not nil
	refuse  error                                   // what Create answers
	refuses map[string]error                        // what Create answers for a node
	dead    map[string]bool                         // nodes whose next machine never boots
	corpses map[string]bool                         // machines that did not boot, by key
	late    bool                                    // agents of those join while they are deleted
	memory  int                                     // of the host, in MiB
	observe func(node string, s *api.ServiceStatus) // changes what agents say
	taken   map[string][]*agentapi.Assignment       // what agents were given, by node
	wg      sync.WaitGroup
}

func (c *cloud) Inventory(context.Context) (infra.Inventory, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return infra.Inventory{Hosts: []infra.Host{{Name: "host", CPUs: 4, MemoryMB: c.memory}}, Addresses: netip.MustParsePrefix("127.9.0.0/24"), First: 10, Identity: true}, nil
}

func (c *cloud) Create(_ context.Context, r infra.CreateRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "create "+r.Name)
	if err := cmp.Or(c.refuse, c.refuses[r.Name]); err != nil {
		return err
	}
	if c.dead[r.Name] {
		c.corpses[r.Key] = true
	}
	var join agentapi.JoinFile
	if err := json.Unmarshal(r.Join, &join); err != nil {
		return err
	}
	if c.agents[r.Key] == nil && !c.corpses[r.Key] {
		a := &agent{cloud: c, node: join.Node, name: r.Name, token: join.Token}
		c.agents[r.Key] = a
		a.live(a.run)
	}
	return nil
}

func (c *cloud) Delete(_ context.Context, ref infra.Ref) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "delete "+ref.Name)
	if c.late && c.corpses[ref.Key] {
		err := c.store.Update(context.Background(), func(tx *store.Tx) error {
			n, err := tx.Node(ref.Key)
			n.Facts = &agentapi.Facts{}
			return errors.Join(err, tx.PutNode(n))
		})
		if err != nil {
			return err
		}
	}
	delete(c.corpses, ref.Key)
	if a := c.agents[ref.Key]; a != nil {
		a.kill()
		delete(c.agents, ref.Key)
	}
	return nil
}

func (c *cloud) Power(_ context.Context, ref infra.Ref, on bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf("power %s %v", ref.Name, on))
	return nil
}

func (c *cloud) Describe(_ context.Context, ref infra.Ref) (infra.Description, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.agents[ref.Key] == nil {
		return infra.Description{}, infra.Errorf(infra.KindNotFound, "no such node")
	}
	return infra.Description{Powered: true, Trouble: c.trouble}, c.strange
}

// agent does at once whatever its assignment says.
type agent struct {
	cloud             *cloud
	node, name, token string
	kill              context.CancelFunc
	dead              chan struct{} // closed when it has ended
	sequence          int64
}

// live begins a life of the agent.
func (a *agent) live(do func(context.Context)) {
	ctx, cancel := context.WithCancel(a.cloud.ctx)
	dead := make(chan struct{})
	a.kill, a.dead = cancel, dead
	a.cloud.wg.Go(func() {
		defer close(dead)
		do(ctx)
	})
}

// end ends the agent; it reports no more.
func (a *agent) end() {
	a.kill()
	<-a.dead
}

func (a *agent) run(ctx context.Context) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.cloud.t.Error(err)
		return
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		a.cloud.t.Error(err)
		return
	}
	if _, err := a.cloud.m.Join(ctx, agentapi.JoinRequest{Node: a.node, Token: a.token, CSR: csr}); err != nil && ctx.Err() == nil {
		a.cloud.t.Errorf("%s cannot join: %v", a.name, err)
		return
	}
	_ = a.watch(ctx, a.name+"-1")
}

func facts() agentapi.Facts {
	return agentapi.Facts{Dir: "/nodes", Cache: "/cache", MemoryMB: 100, User: "owner", PID: 1, Javas: []agentapi.Java{{Home: "/jdk", Bin: "/jdk/bin/java", Major: 17, Version: "17.0.1", Key: "k"}}}
}

func (a *agent) watch(ctx context.Context, instance string) error {
	incarnation := int64(0)
	return a.cloud.m.Watch(ctx, &agentapi.WatchRequest{Node: a.node, Instance: instance, Facts: facts()}, func(ev *agentapi.WatchEvent) error {
		if ev.Incarnation != 0 {
			incarnation = ev.Incarnation
		}
		if ev.Assignment == nil {
			return nil
		}
		a.cloud.mu.Lock()
		a.cloud.taken[a.name] = append(a.cloud.taken[a.name], ev.Assignment)
		a.cloud.mu.Unlock()
		a.sequence++
		_, err := a.cloud.m.Report(ctx, a.report(ev.Assignment, incarnation))
		return err
	})
}

// report says that everything is as it is wanted.
func (a *agent) report(as *agentapi.Assignment, incarnation int64) agentapi.Report {
	r := agentapi.Report{Node: a.node, Incarnation: incarnation, Sequence: a.sequence, Generation: as.Generation}
	for _, svc := range as.Services {
		s := api.ServiceStatus{Name: svc.Name, State: "stopped", Drained: true, Since: time.Now()}
		if as.Intent == agentapi.IntentRun {
			s.State, s.Drained = "ready", false
		}
		if as.Intent == agentapi.IntentDrain {
			s.State = "ready"
		}
		a.cloud.mu.Lock()
		if a.cloud.observe != nil {
			a.cloud.observe(a.name, &s)
		}
		a.cloud.mu.Unlock()
		r.Services = append(r.Services, s)
	}
	for _, t := range as.Tasks {
		r.Tasks = append(r.Tasks, agentapi.TaskStatus{ID: t.ID, State: agentapi.TaskDone})
	}
	return r
}

// called returns what the driver was asked since the last call, sorted.
func (c *cloud) called() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.calls
	c.calls = nil
	slices.Sort(out)
	return out
}

func (c *cloud) agent(name string) *agent {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.agents {
		if a.name == name {
			return a
		}
	}
	c.t.Fatalf("no machine %s", name)
	return nil
}

// start runs a manager over a cloud and a database of its own.
func start(t *testing.T) *cloud {
	t.Helper()
	c := idle(t)
	c.run()
	return c
}

// run has the manager do what is asked for; the function returned ends that.
func (c *cloud) run() (stop func()) {
	ctx, cancel := context.WithCancel(c.ctx)
	ended := make(chan struct{})
	c.wg.Go(func() {
		defer close(ended)
		_ = c.m.Run(ctx)
	})
	return func() { cancel(); <-ended }
}

// restart puts a new manager in the place of one that was stopped; the agents find it.
func (c *cloud) restart() {
	c.t.Helper()
	for _, a := range c.agents {
		a.end()
	}
	c.m = cluster.New(c.config)
	for _, a := range c.agents {
		a.live(func(ctx context.Context) { _ = a.watch(ctx, a.name+"-1") })
	}
	c.run()
}

// again puts another manager, with another clock, in the place of an idle one.
func (c *cloud) again(clock cluster.Clock) {
	c.config.Clock = clock
	c.m = cluster.New(c.config)
}

// idle is start without an engine: what is asked for stays queued.
func idle(t *testing.T) *cloud {
	t.Helper()
	return idleWith(t, cluster.Clock{})
}

func idleWith(t *testing.T, clock cluster.Clock) *cloud {
	t.Helper()
	stacks, ds := stack.LoadCatalog(stack.Layer{Name: "mine", FS: golden.Parse(toys).FS()})
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	path := filepath.Join(t.TempDir(), "db")
	st, err := store.Open(context.Background(), store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	authority, err := tenant.OpenAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &cloud{t: t, path: path, memory: 1000, store: st, ctx: ctx, agents: map[string]*agent{}, corpses: map[string]bool{}, taken: map[string][]*agentapi.Assignment{}}
	c.config = cluster.Config{
		Store: st, Stacks: stacks, Drivers: map[string]infra.Driver{"local": c},
		Cache: artifact.New(artifact.Config{Dir: t.TempDir()}), Authority: authority, AgentAddr: "127.0.0.1:1", Clock: clock,
	}
	c.m = cluster.New(c.config)
	t.Cleanup(func() {
		cancel()
		c.wg.Wait()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// apply applies a definition and waits for its operations.
func (c *cloud) apply(text string) []api.Plan {
	c.t.Helper()
	ops, plans, ds, err := c.m.Apply(context.Background(), api.File{Name: "c.yaml", Content: text})
	if err != nil || ds.HasErrors() {
		c.t.Fatal(err, ds)
	}
	for _, o := range ops {
		c.until(o.ID, api.OperationDone)
	}
	return plans
}

func (c *cloud) until(id int64, want api.OperationState) api.Operation {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		o, err := c.m.Operation(context.Background(), id)
		if err != nil {
			c.t.Fatal(err)
		}
		if o.State == want {
			return o
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("operation %d is %s (%s), not %s: %+v", id, o.State, o.Reason, want, o.Steps)
		}
	}
}

// waits waits until a step of an operation waits for something.
func (c *cloud) waits(id int64) {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		o, err := c.m.Operation(context.Background(), id)
		if err != nil {
			c.t.Fatal(err)
		}
		if slices.ContainsFunc(o.Steps, func(s api.Step) bool { return s.State == api.StepWaiting }) {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("operation %d is %s (%s) and waits for nothing: %+v", id, o.State, o.Reason, o.Steps)
		}
	}
}

func (c *cloud) get(name string) api.ClusterStatus {
	c.t.Helper()
	st, err := c.m.Get(context.Background(), name)
	if err != nil {
		c.t.Fatal(err)
	}
	return st
}

// ready waits until a cluster says that it is ready.
func (c *cloud) ready(name string) api.ClusterStatus {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		st := c.get(name)
		if st.State == "ready" || time.Now().After(deadline) {
			if st.State != "ready" {
				c.t.Errorf("%s is %s: %s", name, st.State, st.Message)
			}
			return st
		}
	}
}
