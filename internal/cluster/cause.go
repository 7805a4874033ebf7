package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/store"
)

// trouble is one thing that is not as it should be. What it follows from is
// known by three relations, which are data:
//
//	a host ──► its nodes ──► their services ──► services whose gates or probes
//	name an address of theirs, or whose cluster links to one that exports it
type trouble struct {
	cluster, object string
	severity        int // 0 is worst; see severity
	message, next   string
	since           time.Time
	from            *trouble
}

// severities that are no service's.
const (
	severityHost    = -2
	severityNode    = -1
	severityBlocked = 0
	// severityWaiting is of what only waits, or is on its way; what is less is
	// broken.
	severityWaiting = 3
)

// severity orders states of services: what is broken comes before what only
// waits.
func severity(state string) int {
	switch state {
	case api.StateBlocked:
		return severityBlocked
	case api.StateFailed:
		return 1
	case api.StateUnhealthy, api.StateUnknown:
		return 2
	case api.StateStarting, api.StatePreparing, api.StateFetching, api.StateStopping:
		return severityWaiting
	}
	return severityWaiting + 1
}

// worse orders troubles: the worst first, the oldest of those, then by name.
func worse(a, b *trouble) int {
	return cmp.Or(cmp.Compare(a.severity, b.severity), a.since.Compare(b.since), cmp.Compare(a.object, b.object))
}

// scene is a cluster that is not ready, with those it links to.
type scene struct {
	target   string
	clusters []api.ClusterStatus
	troubles []*trouble

	hosts    map[string]*trouble // by host
	nodes    map[string]*trouble // by node
	services map[string]*trouble // by node/service
	at       map[string]*trouble // services by address they listen on; nil where they are well
	around   map[string]*trouble // the worst of a network address, whatever the port
	stopped  map[string]*trouble // clusters that are stopped
}

// newScene finds all troubles of the clusters and what follows from what.
func newScene(target string, clusters []api.ClusterStatus) *scene {
	s := &scene{
		target: target, clusters: clusters, hosts: map[string]*trouble{}, nodes: map[string]*trouble{}, services: map[string]*trouble{},
		at: map[string]*trouble{}, around: map[string]*trouble{}, stopped: map[string]*trouble{},
	}
	s.findHosts()
	for i := range clusters {
		s.findNodes(&clusters[i])
	}
	for i := range clusters {
		s.relate(&clusters[i])
	}
	return s
}

func (s *scene) add(t *trouble) *trouble {
	s.troubles = append(s.troubles, t)
	return t
}

// findHosts finds hosts whose disk is full, and those all of whose nodes are silent.
func (s *scene) findHosts() {
	type tally struct{ nodes, silent int }
	tallies := map[string]tally{}
	since := map[string]time.Time{}
	for _, c := range s.clusters {
		for _, n := range c.Nodes {
			k := tallies[n.Host]
			if n.State != api.StateStopped && n.State != api.StateJoining {
				k.nodes++
			}
			if n.State == api.StateUnknown {
				k.silent++
				if n.LastReport != nil && n.LastReport.After(since[n.Host]) {
					since[n.Host] = *n.LastReport
				}
			}
			tallies[n.Host] = k
			for _, cond := range n.Conditions {
				if cond.Type != api.ConditionDiskPressure || cond.Reason != api.ReasonFull || s.hosts[n.Host] != nil {
					continue
				}
				t := &trouble{
					cluster: c.Name, object: "host " + n.Host, severity: severityHost, message: "the disk of host " + n.Host + " is full: " + cond.Message,
					next: "make room on it; what waits for room then starts by itself",
				}
				if cond.Since != nil {
					t.since = *cond.Since
				}
				s.hosts[n.Host] = s.add(t)
			}
		}
	}
	for _, host := range slices.Sorted(maps.Keys(tallies)) {
		if k := tallies[host]; k.silent > 1 && k.silent == k.nodes && s.hosts[host] == nil {
			s.hosts[host] = s.add(&trouble{
				cluster: s.target, object: "host " + host, severity: severityHost, since: since[host],
				message: fmt.Sprintf("host %s is silent: the agents of all its %d nodes are", host, k.nodes),
				next:    "look whether the host runs and reaches this server; " + mendedByItself,
			})
		}
	}
}

// mendedByItself tells what is done without a person.
const mendedByItself = "Howdah brings a node back by itself after 5 minutes of silence, at most every 30 minutes"

func (s *scene) findNodes(c *api.ClusterStatus) {
	if c.State == api.StateStopped || c.State == api.StateSuspended {
		s.stopped[c.Name] = &trouble{cluster: c.Name, object: c.Name, severity: severityBlocked, message: c.Name + " is " + c.State, next: "howdah start " + c.Name}
		return
	}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		var t *trouble
		switch n.State {
		case api.StateUnknown:
			t = &trouble{severity: severityNode, next: "look at the host " + n.Host + " and the node's agent; " + mendedByItself, from: s.hosts[n.Host]}
			if n.LastReport != nil {
				t.since = *n.LastReport
			}
		case api.StateBlocked:
			if n.Java == "" && len(n.Services) == 0 {
				t = &trouble{severity: severityBlocked, next: "install a Java that fits"}
			}
		case api.StateJoining:
			t = &trouble{severity: severityWaiting + 1, next: "it goes on; look again with: howdah explain " + c.Name}
		}
		if t != nil {
			t.cluster, t.object, t.message = c.Name, n.Name, n.Name+": "+n.Message
			s.nodes[n.Name] = s.add(t)
			s.near(n.Address, t)
		}
		for k := range n.Services {
			s.findService(c, n, &n.Services[k])
		}
	}
}

func (s *scene) findService(c *api.ClusterStatus, n *api.NodeStatus, svc *api.ServiceStatus) {
	var t *trouble
	if (svc.State != api.StateReady || svc.Message != "") && svc.State != api.StateStopped {
		t = &trouble{cluster: c.Name, object: n.Name + "/" + svc.Name, severity: severity(svc.State), message: saidOf(svc, n.Name), next: nextOf(svc, c.Name), since: svc.Since}
		s.services[t.object] = s.add(t)
		s.near(n.Address, t)
	}
	for _, at := range svc.Listens {
		s.at[at] = t
	}
}

// near notes a trouble under a network address, the worst of each.
func (s *scene) near(address string, t *trouble) {
	if old := s.around[address]; old == nil || worse(t, old) < 0 {
		s.around[address] = t
	}
}

// saidOf puts where a service stands into a sentence.
func saidOf(svc *api.ServiceStatus, node string) string {
	msg := fmt.Sprintf("%s on %s is %s", svc.Name, node, svc.State)
	if svc.Message != "" {
		msg += ": " + svc.Message
	}
	if svc.Restarts > 1 && svc.State != api.StateFailed {
		msg += fmt.Sprintf(" (ended %d times in the last 10 minutes)", svc.Restarts)
	}
	return msg
}

func nextOf(svc *api.ServiceStatus, cluster string) string {
	if severity(svc.State) > severityWaiting {
		return "it goes on; look again with: howdah explain " + cluster
	}
	if slices.ContainsFunc(svc.Conditions, func(c api.Condition) bool { return c.Type == api.ConditionDataMissing && c.Status }) {
		return "put the missing directory back; it is never made anew over data that may still exist"
	}
	return "read its output: " + svc.Log
}

// relate says for each service of a cluster what its trouble follows from.
func (s *scene) relate(c *api.ClusterStatus) {
	for i := range c.Nodes {
		n := &c.Nodes[i]
		for k := range n.Services {
			svc := &n.Services[k]
			t := s.services[n.Name+"/"+svc.Name]
			if t == nil {
				continue
			}
			switch silent := s.nodes[n.Name]; {
			case silent != nil:
				t.from = silent
			case t.severity < severityWaiting && s.hosts[n.Host] != nil:
				t.from = s.hosts[n.Host]
			default:
				t.from = s.needed(t, svc.Needs)
			}
			if t.from == nil {
				t.from = s.linked(c)
			}
		}
	}
}

// needed finds the worst trouble at the addresses a service needs.
func (s *scene) needed(of *trouble, needs []string) *trouble {
	var found *trouble
	for _, at := range needs {
		t, known := s.at[at]
		if host, _, err := net.SplitHostPort(at); err == nil && !known {
			t = s.around[host]
		}
		if t != nil && t != of && (found == nil || worse(t, found) < 0) {
			found = t
		}
	}
	return found
}

// linked finds the worst of what is broken behind the links of a cluster: where
// what it exports is, or the whole of it where it is stopped.
func (s *scene) linked(c *api.ClusterStatus) *trouble {
	var found *trouble
	for _, name := range c.Links {
		if t := s.stopped[name]; t != nil {
			return t
		}
		i := slices.IndexFunc(s.clusters, func(l api.ClusterStatus) bool { return l.Name == name })
		if i < 0 || name == c.Name {
			continue
		}
		for _, value := range s.clusters[i].Exports {
			t := s.around[hostOfExport(value)]
			if t != nil && t.cluster == name && t.severity < severityWaiting && (found == nil || worse(t, found) < 0) {
				found = t
			}
		}
	}
	return found
}

// hostOfExport returns the host of an exported URL or host:port.
func hostOfExport(value string) string {
	if u, err := url.Parse(value); err == nil && u.Host != "" {
		return u.Hostname()
	}
	host, _, _ := strings.Cut(value, ":")
	return host
}

// root follows a trouble to what it comes from. Where troubles wait for one
// another in a ring, it is the worst of them.
func (t *trouble) root() *trouble {
	seen := map[*trouble]bool{}
	for at := t; ; at = at.from {
		if at.from == nil {
			return at
		}
		if !seen[at] {
			seen[at] = true
			continue
		}
		worst := at
		for next := at.from; next != at; next = next.from {
			if worse(next, worst) < 0 {
				worst = next
			}
		}
		return worst
	}
}

// cause picks the trouble that most of the target's troubles follow from, and
// lists those that do and those that do not.
func (s *scene) cause() (root *trouble, follows, others []*trouble) {
	below := map[*trouble][]*trouble{}
	for _, t := range s.troubles {
		if t.cluster != s.target && s.inTarget(t) == nil {
			continue
		}
		r := t.root()
		if below[r] == nil {
			below[r] = []*trouble{}
		}
		if t != r {
			below[r] = append(below[r], t)
		}
	}
	for r := range below {
		if root == nil || cmp.Or(cmp.Compare(len(below[root]), len(below[r])), worse(r, root)) < 0 {
			root = r
		}
	}
	for _, r := range slices.SortedFunc(maps.Keys(below), worse) {
		if r == root {
			follows = below[r]
		} else {
			others = append(append(others, r), below[r]...)
		}
	}
	return root, follows, others
}

// inTarget returns the target where a trouble of its host is one of its own.
func (s *scene) inTarget(t *trouble) *api.ClusterStatus {
	if t.severity != severityHost {
		return nil
	}
	for i := range s.clusters {
		c := &s.clusters[i]
		if c.Name == s.target && slices.ContainsFunc(c.Nodes, func(n api.NodeStatus) bool { return s.hosts[n.Host] == t }) {
			return c
		}
	}
	return nil
}

// around returns a cluster and all it links to, directly or not.
func (m *Manager) around(ctx context.Context, st api.ClusterStatus) ([]api.ClusterStatus, error) {
	ids := map[string]string{} // by name
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		cs, err := tx.Clusters()
		for _, c := range cs {
			ids[c.Name] = c.ID
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	out := []api.ClusterStatus{st}
	for i := 0; i < len(out); i++ {
		for _, name := range slices.Sorted(maps.Values(out[i].Links)) {
			if slices.ContainsFunc(out, func(c api.ClusterStatus) bool { return c.Name == name }) {
				continue
			}
			if ids[name] == "" {
				continue // the address of something that is not ours
			}
			linked, err := m.statusOf(ctx, ids[name])
			if errors.Is(err, store.ErrNotFound) {
				continue // it went meanwhile
			}
			if err != nil {
				return nil, err
			}
			out = append(out, linked)
		}
	}
	return out, nil
}
