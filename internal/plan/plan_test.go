package plan_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/golden"
	"howdah.dev/howdah/internal/place"
	"howdah.dev/howdah/internal/plan"
	"howdah.dev/howdah/internal/stack"
)

// toy is a stack with a file of every effect, one that lists leaving nodes,
// and a limit on what may be removed.
const toy = `
-- toy/stack.yaml --
name: toy
summary: a toy
version: "1"
java: {min: 17}
artifacts: {toy: {lock: toy.lock}}
links: {peer: {exports: [addr], external: {addr: "${value}"}}}
roles:
  head:
    services: [headd]
    memoryMB: 100
    removable: {when: "false", message: the head stays}
  worker:
    services: [workd]
    memoryMB: 100
    removable: {when: n > 1, message: "${self.name} is the last of ${n}"}
services:
  headd:
    dirs: {data: {keep: true}}
    ports: {main: 70}
    env: {PEER: "${links.peer.addr}"}
    command: [headd, "-m${self.memoryMB}"]
    reload: [reload]
    ready: {tcp: "${self.ip}:${port.main}"}
    files:
      none.conf: {format: properties, user: toy/none, onChange: none}
      reload.conf: {format: properties, user: toy/reload, onChange: reload}
      restart.conf: {format: properties, user: toy/restart}
      leaving: {format: lines, onChange: reload, forEach: [{in: leaving.worker, value: "${it.ip}"}]}
  workd:
    command: [workd, "${role.head[0].ip}"]
    ready: {tcp: "${self.ip}:71"}
    files:
      rolling.conf: {format: properties, user: toy/rolling, onChange: rollingRestart, values: {head: "${role.head[0].ip}"}}
exports: {addr: "${role.head[0].ip}:70"}
default: {nodeGroups: [{name: all, roles: [head], instanceNum: 1}]}
-- toy/toy.lock --
lib/a.jar mvn:g:a:1 10 sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa MIT
`

func load(t testing.TB, edits ...string) *stack.Stack {
	t.Helper()
	a := golden.Parse(toy)
	a.Set("toy/stack.yaml", strings.NewReplacer(edits...).Replace(a.Get("toy/stack.yaml")))
	s, ds := stack.LoadOne("toy", stack.Layer{Name: "mine", FS: a.FS()})
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	return s
}

// model is a cluster and its host as the rows of a server hold them.
type model struct {
	have   plan.Have
	number int64
}

const hostMB = 2000

func (m *model) space() place.Space {
	sp := place.Space{Hosts: []place.Host{{Name: "host", MemoryMB: hostMB, CPUs: 4}}, Addresses: netip.MustParsePrefix("127.9.0.0/24"), First: 1}
	for _, n := range m.have.Nodes {
		sp.Used = append(sp.Used, place.Used{Host: "host", MemoryMB: n.Member.MemoryMB, Address: n.Member.Address})
	}
	return sp
}

func (m *model) plan(c api.Cluster, s *stack.Stack, links map[string]map[string]string) (plan.Result, api.Diagnostics) {
	return plan.Compute(plan.Want{ClusterID: "id", Cluster: c, Stack: s, Links: links}, m.have, m.space())
}

// begin stores what an apply stores before its first step runs.
func (m *model) begin(r plan.Result, s *stack.Stack) *stack.Revision {
	if !r.Changed {
		return m.have.Revision
	}
	if m.have.Ordinals == nil {
		m.have.Ordinals = map[string]int{}
	}
	m.number++
	rev := r.Revision
	rev.Number = m.number
	m.have.Revision, m.have.Stack = &rev, s
	for _, a := range r.Add {
		m.have.Ordinals[a.Group] = a.Ordinal + 1
		m.have.Nodes = append(m.have.Nodes, plan.Node{Member: a, Intent: agentapi.IntentNew, Revision: &rev, Stack: s})
	}
	for _, list := range [][]stack.Member{r.Keep, r.Resume} {
		for _, k := range list {
			n := m.node(k.Name)
			n.Revision, n.Stack = &rev, s
		}
	}
	return &rev
}

// finish does what the steps of an apply do. What skip names is left as far
// as an interrupted operation leaves it: begun, not done.
func (m *model) finish(r plan.Result, rev *stack.Revision, s *stack.Stack, skip func(string) bool) {
	for _, list := range [][]stack.Member{r.Add, r.Resume} {
		for _, a := range list {
			if n := m.node(a.Name); !skip(a.Name) {
				n.Intent, n.Host = agentapi.IntentRun, &stack.Host{Dir: "/" + a.Name, Cache: "/cache", Java: agentapi.Java{Home: "/jdk", Bin: "/jdk/bin/java"}}
			}
		}
	}
	for _, c := range r.Reconfigure {
		if n := m.node(c.Member.Name); !skip(c.Member.Name) {
			n.Revision, n.Stack, n.Member.MemoryMB, n.Member.CPUs = rev, s, c.Member.MemoryMB, c.Member.CPUs
		}
	}
	for _, g := range r.Remove {
		for i := range m.have.Nodes {
			if m.have.Nodes[i].Member.Name != g.Name {
				continue
			}
			if skip(g.Name) {
				m.have.Nodes[i].Intent = agentapi.IntentDrain
			} else {
				m.have.Nodes = append(m.have.Nodes[:i:i], m.have.Nodes[i+1:]...)
			}
			break
		}
	}
}

func (m *model) node(name string) *plan.Node {
	for i := range m.have.Nodes {
		if m.have.Nodes[i].Member.Name == name {
			return &m.have.Nodes[i]
		}
	}
	return nil
}

func all(string) bool  { return true }
func none(string) bool { return false }

// apply plans and does all of it.
func (m *model) apply(t testing.TB, c api.Cluster, s *stack.Stack, links map[string]map[string]string) {
	t.Helper()
	r, ds := m.plan(c, s, links)
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	m.finish(r, m.begin(r, s), s, none)
}

// group is one node group of 100 MiB nodes.
func group(name, role string, n int) api.NodeGroup {
	return api.NodeGroup{Name: name, Roles: []string{role}, InstanceNum: n, MemCapacityMB: 100, CPUNum: 1}
}

func cluster(groups ...api.NodeGroup) api.Cluster {
	return api.Cluster{Name: "c", Stack: "toy", Infrastructure: "local", NodeGroups: groups}
}

func configured(c api.Cluster, file, key, value string) api.Cluster {
	c.Configuration = api.Configuration{"toy": {file: {key: api.Text(value)}}}
	return c
}

// shown writes a plan as lines.
func shown(p api.Plan) []string {
	var out []string
	for _, a := range p.Actions {
		line := string(a.Kind) + " " + a.Target
		if a.Address != "" {
			line += " at " + a.Address
		}
		if a.Effect != "" {
			line += " (" + a.Effect + " of " + strings.Join(a.Services, ", ") + ")"
		}
		if a.Destroys {
			line += " destroying data"
		}
		out = append(out, line+": "+a.Reason)
	}
	if p.NeedMemoryMB != 0 {
		out = append(out, fmt.Sprintf("memory %+d, %d left", p.NeedMemoryMB, p.FreeMemoryMB))
	}
	return out
}

func TestPlan(t *testing.T) {
	base := cluster(group("head", "head", 1), group("worker", "worker", 2))
	peer := map[string]map[string]string{"peer": {"cluster": "store", "addr": "10.0.0.1:70"}}
	linked := base
	linked.Links = map[string]string{"peer": "store"}
	big := base
	big.NodeGroups = []api.NodeGroup{group("head", "head", 1), group("worker", "worker", 2)}
	big.NodeGroups[1].MemCapacityMB = 300
	roles := cluster(group("head", "head", 1), group("worker", "head", 2))
	for _, tt := range []struct {
		name    string
		from    *api.Cluster // applied before; nil for none
		half    bool         // and left unfinished
		to      api.Cluster
		links   map[string]map[string]string
		edits   []string // of the stack
		want    []string
		refused []string
	}{
		{name: "create", to: base, want: []string{
			"create cluster c: it is not there",
			"add-node node c-head-1 at 127.9.0.1: the cluster is new",
			"add-node node c-worker-1 at 127.9.0.2: the cluster is new",
			"add-node node c-worker-2 at 127.9.0.3: the cluster is new",
			"memory +300, 1700 left",
		}},
		{name: "nothing", from: &base, to: base},
		{name: "grow", from: &base, to: cluster(group("head", "head", 1), group("worker", "worker", 3)), want: []string{
			"add-node node c-worker-3 at 127.9.0.4: instanceNum of worker is now 3",
			"memory +100, 1600 left",
		}},
		{name: "new group", from: &base, to: cluster(group("head", "head", 1), group("worker", "worker", 2), group("more", "worker", 1)), want: []string{
			"add-node node c-more-1 at 127.9.0.4: instanceNum of more is now 1",
			"memory +100, 1600 left",
		}},
		{name: "shrink", from: &base, to: cluster(group("head", "head", 1), group("worker", "worker", 1)), want: []string{
			"remove-node node c-worker-2 at 127.9.0.3 destroying data: instanceNum 2 → 1",
			"reconfigure node c-head-1 at 127.9.0.1 (reload of headd): leaving (none) → 127.9.0.3",
			"memory -100, 1800 left",
		}},
		{name: "group vanished", from: &base, to: cluster(group("head", "head", 1)), refused: []string{
			"c-worker-2: cannot be removed: c-worker-2 is the last of 1",
		}},
		{name: "group vanished for another", from: &base, to: cluster(group("head", "head", 1), group("other", "worker", 1)), refused: []string{
			"c-worker-2: cannot be removed: c-worker-2 is the last of 1",
		}},
		{name: "removal refused", from: &base, to: cluster(group("head", "head", 0), group("worker", "worker", 0)), refused: []string{
			"c-head-1: cannot be removed: the head stays",
			"c-worker-2: cannot be removed: c-worker-2 is the last of 1",
		}},
		{name: "roles changed", from: &base, to: roles, refused: []string{
			"worker: the roles of node group worker cannot change from worker to head",
		}},
		{name: "effect none", from: &base, to: configured(base, "none", "k", "1"), want: []string{
			"reconfigure node c-head-1 at 127.9.0.1 (none of headd): none.conf: k (none) → 1",
		}},
		{name: "effect reload", from: &base, to: configured(base, "reload", "k", "1"), want: []string{
			"reconfigure node c-head-1 at 127.9.0.1 (reload of headd): reload.conf: k (none) → 1",
		}},
		{name: "effect restart", from: &base, to: configured(base, "restart", "k", "1"), want: []string{
			"reconfigure node c-head-1 at 127.9.0.1 (restart of headd): restart.conf: k (none) → 1",
		}},
		{name: "effect rolling restart", from: &base, to: configured(base, "rolling", "head", "other"), want: []string{
			"reconfigure node c-worker-1 at 127.9.0.2 (rollingRestart of workd): rolling.conf: head 127.9.0.1 → other",
			"reconfigure node c-worker-2 at 127.9.0.3 (rollingRestart of workd): rolling.conf: head 127.9.0.1 → other",
		}},
		{name: "configuration nothing reads here", from: &base, to: configured(base, "elsewhere", "k", "1"), want: []string{
			"reconfigure cluster c (none of ): its definition changes in what no file shows",
		}},
		{name: "resize", from: &base, to: big, want: []string{
			"reconfigure node c-worker-1 at 127.9.0.2 (none of ): its size changes",
			"reconfigure node c-worker-2 at 127.9.0.3 (none of ): its size changes",
			"memory +400, 1300 left",
		}},
		{name: "link", from: &base, to: linked, links: peer, want: []string{
			"reconfigure node c-head-1 at 127.9.0.1 (restart of headd): environment: PEER (none) → 10.0.0.1:70",
			"keep link peer → store: was none",
		}},
		{name: "restack", from: &base, to: base, edits: []string{"[headd,", "[headd2,"}, want: []string{
			"change-stack stack toy: the cluster was made with digest OLD, this howdah brings NEW",
			"reconfigure node c-head-1 at 127.9.0.1 (restart of headd): command headd → headd2",
		}},
		{name: "restack of what runs the same", from: &base, to: base, edits: []string{"a toy", "the toy"}, want: []string{
			"change-stack stack toy: the cluster was made with digest OLD, this howdah brings NEW",
		}},
		{name: "restack of probes", from: &base, to: base, edits: []string{"ip}:71", "ip}:72"}, want: []string{
			"change-stack stack toy: the cluster was made with digest OLD, this howdah brings NEW",
			"reconfigure node c-worker-1 at 127.9.0.2 (none of workd): probes",
			"reconfigure node c-worker-2 at 127.9.0.3 (none of workd): probes",
		}},
		{name: "go on", from: &base, half: true, to: base, want: []string{
			"add-node node c-head-1 at 127.9.0.1: an earlier operation did not finish making it",
			"add-node node c-worker-1 at 127.9.0.2: an earlier operation did not finish making it",
			"add-node node c-worker-2 at 127.9.0.3: an earlier operation did not finish making it",
		}},
		{name: "no room", from: &base, to: cluster(group("head", "head", 1), group("worker", "worker", 20)), refused: []string{
			"nodeGroups: 1 of 18 new nodes have no room: all need 1,800 MiB, host has 1,700 MiB free; left over: c-worker-20",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			was, now := load(t), load(t, tt.edits...)
			m := &model{}
			if tt.from != nil {
				r, ds := m.plan(*tt.from, was, nil)
				if ds.HasErrors() {
					t.Fatal(ds)
				}
				skip := none
				if tt.half {
					skip = all
				}
				m.finish(r, m.begin(r, was), was, skip)
			}
			r, ds := m.plan(tt.to, now, tt.links)
			var refused []string
			for _, d := range ds {
				refused = append(refused, d.Address+": "+d.Summary)
			}
			if diff := cmp.Diff(tt.refused, refused); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
			if ds.HasErrors() {
				return
			}
			got := shown(r.Plan)
			for i := range got {
				got[i] = strings.NewReplacer(fmt.Sprintf("%.12s", was.Digest), "OLD", fmt.Sprintf("%.12s", now.Digest), "NEW").Replace(got[i])
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if r.Changed == (len(tt.want) == 0) {
				t.Errorf("changed: %v", r.Changed)
			}
		})
	}
}

// TestOrdinalsStay: the number of a node that went is not given again.
func TestOrdinalsStay(t *testing.T) {
	s, m := load(t), &model{}
	for _, n := range []int{3, 1, 2} {
		m.apply(t, cluster(group("head", "head", 1), group("worker", "worker", n)), s, nil)
	}
	if m.node("c-worker-1") == nil || m.node("c-worker-4") == nil || len(m.have.Nodes) != 3 {
		t.Errorf("%+v", m.have.Nodes)
	}
	if a := m.node("c-worker-4").Member.Address; a != "127.9.0.3" {
		t.Errorf("address %s; the lowest free one is wanted", a)
	}
}

// TestRemovalGoesOn: a removal that was cut short is finished by any later
// plan, and does not come back.
func TestRemovalGoesOn(t *testing.T) {
	s, m := load(t), &model{}
	two, one := cluster(group("head", "head", 1), group("worker", "worker", 2)), cluster(group("head", "head", 1), group("worker", "worker", 1))
	m.apply(t, two, s, nil)
	r, ds := m.plan(one, s, nil)
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	m.finish(r, m.begin(r, s), s, func(n string) bool { return n == "c-worker-2" })
	r, ds = m.plan(one, s, nil)
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	if diff := cmp.Diff([]string{"remove-node node c-worker-2 at 127.9.0.3 destroying data: an earlier operation did not finish removing it", "memory -100, 1800 left"}, shown(r.Plan)); diff != "" || len(r.Remove) != 1 {
		t.Errorf("%v %+v", shown(r.Plan), r.Remove)
	}
	m.finish(r, m.begin(r, s), s, none)
	if r, _ := m.plan(one, s, nil); !r.Plan.Empty() || r.Changed {
		t.Errorf("%v", shown(r.Plan))
	}
}
