package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/store"
)

// vital is what this server has heard of a node and does not keep.
type vital struct {
	reported time.Time // monotonic
	probes   map[string][]api.Probing
	last     summary // of what was stored, while the agent is connected
	trouble  string  // what keeps the driver from running the agent
}

// hear takes what a report brings that is not kept: that it came, and what
// probes found. It reports whether it is the node's first to this server.
func (m *Manager) hear(r agentapi.Report) (first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.vitals[r.Node]
	if v == nil {
		v = &vital{}
		m.vitals[r.Node] = v
	}
	now := time.Now()
	first = v.reported.IsZero()
	if now.Sub(v.reported) > silence {
		m.pulse.Add(1)
	}
	v.reported, v.probes = now, map[string][]api.Probing{}
	for _, s := range r.Services {
		v.probes[s.Name] = s.Probes
	}
	return first
}

// heard returns what is known of a node from this server's own life.
func (m *Manager) heard(node string) vital {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.vitals[node]; v != nil {
		return *v
	}
	return vital{}
}

// silent reports whether an agent that should report does not.
func (m *Manager) silent(n store.Node, v vital) bool {
	return running(n.Intent) && n.Facts != nil && m.presence.quiet(time.Now(), v.reported) > silence
}

// lost puts services of a silent node where they are: nobody knows where.
func lost(services []api.ServiceStatus, since time.Time) {
	for i := range services {
		s := &services[i]
		if s.State == api.StateStopped {
			continue
		}
		s.LastState = s.State
		s.State, s.Message = api.StateUnknown, fmt.Sprintf("was %s; its agent is silent since %s", s.State, since.Format(time.TimeOnly))
		s.Since = since
	}
}

// withoutProbes leaves out of a report what changes with every heartbeat.
func withoutProbes(r agentapi.Report) agentapi.Report {
	r.Services = slices.Clone(r.Services)
	for i := range r.Services {
		r.Services[i].Probes = nil
	}
	return r
}

// withoutSince makes conditions comparable.
func withoutSince(cs []api.Condition) []api.Condition {
	if len(cs) == 0 {
		return nil
	}
	cs = slices.Clone(cs)
	for i := range cs {
		cs[i].Since = nil
	}
	return cs
}

// conditionEvents writes an event for each condition of a node that began or
// ended. What could not be found out meanwhile neither begins nor ends anything.
func conditionEvents(tx *store.Tx, cluster, node string, before, after []api.Condition) error {
	for _, c := range after {
		if c.Unknown() {
			continue
		}
		i := slices.IndexFunc(before, func(b api.Condition) bool { return b.Type == c.Type })
		was := i >= 0 && (before[i].Bad() || before[i].Unknown() && before[i].Status)
		if was == c.Bad() {
			continue
		}
		ev := api.Event{Type: "condition.began", Cluster: cluster, Node: node, Message: fmt.Sprintf("%s on %s: %s", c.Type, node, c.Message)}
		if was {
			ev.Type, ev.Message = "condition.ended", fmt.Sprintf("%s on %s is over: it was: %s", c.Type, node, before[i].Message)
		}
		if err := tx.Event(ev); err != nil {
			return err
		}
	}
	return nil
}

// maxNamed bounds how many nodes a condition names.
const maxNamed = 5

// ofNodes puts the conditions of nodes together: those of a type that are bad
// into one, those that could not be found out into another.
func ofNodes(nodes []api.NodeStatus) []api.Condition {
	type kind struct {
		condition string
		unknown   bool
	}
	var order []kind
	out := map[kind]api.Condition{}
	where := map[kind]map[string][]string{} // nodes by message
	for _, n := range nodes {
		for _, c := range n.Conditions {
			k := kind{c.Type, c.Unknown()}
			if !c.Bad() && !k.unknown {
				continue
			}
			if where[k] == nil {
				order = append(order, k)
				where[k], out[k] = map[string][]string{}, api.Condition{Type: c.Type, Status: c.Status, Reason: c.Reason}
			}
			where[k][c.Message] = append(where[k][c.Message], n.Name)
		}
	}
	var list []api.Condition
	for _, k := range order {
		c := out[k]
		var said []string
		for message, names := range where[k] {
			said = append(said, some(names)+": "+message)
		}
		slices.Sort(said)
		c.Message = strings.Join(said[:min(len(said), maxNamed)], "; ")
		if more := len(said) - maxNamed; more > 0 {
			c.Message += fmt.Sprintf("; and %d more", more)
		}
		list = append(list, c)
	}
	return list
}

// some lists names, and counts those that are too many to list.
func some(names []string) string {
	if len(names) <= maxNamed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
}
