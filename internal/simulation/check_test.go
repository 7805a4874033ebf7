package simulation

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/infra/sim"
	"howdah.dev/howdah/internal/store"
)

// checkTurn checks, before an attempt at a step, that it is its operation's
// turn: the operation runs, and no older one of the cluster is open.
func (l *lab) checkTurn(key string) {
	var id int64
	if _, err := fmt.Sscanf(key, "op%d-", &id); err != nil {
		l.wrong("step key %q names no operation", key)
		return
	}
	l.view(func(tx *store.Tx) error {
		open, err := tx.OpenOperations()
		if err != nil {
			return err
		}
		o, err := tx.Operation(id)
		if err != nil {
			return err
		}
		if o.State != api.OperationRunning {
			l.wrong("%s acts, and its operation is %s", key, o.State)
		}
		for _, other := range open {
			if other.Cluster == o.Cluster && other.ID < id {
				l.wrong("%s acts while operation %d (%s) of its cluster is %s", key, other.ID, other.Kind, other.State)
			}
		}
		if slices.ContainsFunc(open, func(other store.Operation) bool {
			return other.Cluster != o.Cluster && other.State == api.OperationRunning
		}) {
			l.beside++
		}
		l.checkHeads(open)
		return nil
	})
	if strings.HasSuffix(key, "-create-node") || strings.HasSuffix(key, "-delete-node") { // what may do harm if it is not so
		l.checkNodes(false)
	}
}

// head is the oldest operation of a cluster that is not over, and when it was seen to be.
type head struct {
	id    int64
	since time.Time
}

// unplanned is how long the engine may leave an operation whose turn it is, while it
// works on others: what it does before may be held up twice.
const unplanned = time.Minute

// checkHeads checks that no cluster waits for another one's operation.
func (l *lab) checkHeads(open []store.Operation) {
	seen := map[string]bool{}
	for _, o := range open {
		if o.State == api.OperationFailed || seen[o.Cluster] {
			continue
		}
		seen[o.Cluster] = true
		h := l.heads[o.Cluster]
		if h.id != o.ID {
			h = head{o.ID, time.Now()}
			l.heads[o.Cluster] = h
		}
		if waits := time.Since(h.since); o.State == api.OperationQueued && waits > unplanned {
			l.wrong("operation %d (%s of %s) is not begun after %s, while others are", o.ID, o.Kind, o.Name, waits)
		}
	}
}

// checkNodes checks that no two nodes have one name or address, neither here nor
// in the infrastructure, and that an ordinal is not used again. In the end,
// what is here is there too, and nothing else.
func (l *lab) checkNodes(end bool) {
	machines := map[string]sim.Node{}
	address := map[string]string{}
	for _, m := range l.Cloud.Nodes() {
		machines[m.Key] = m
		if other := address[m.Address]; other != "" {
			l.wrong("%s and %s have one address, %s", m.Name, other, m.Address)
		}
		address[m.Address] = m.Name
	}
	l.view(func(tx *store.Tx) error {
		nodes, err := tx.Nodes("")
		taken := map[string]string{}
		for _, n := range nodes {
			if other := taken[n.Address]; other != "" {
				l.wrong("%s and %s were given one address, %s", n.Name, other, n.Address)
			}
			taken[n.Address] = n.Name
			name := n.Cluster + " " + n.Name
			if id, was := l.named[name]; was && id != n.ID {
				l.wrong("a second node is called %s: its ordinal was used again", n.Name)
			}
			l.named[name] = n.ID
			m, there := machines[n.ID]
			if other := address[n.Address]; other != "" && !there {
				l.wrong("%s was given the address of %s, which is there, %s", n.Name, other, n.Address)
			}
			if there && (m.Name != n.Name || m.Address != n.Address) {
				l.wrong("%s at %s is %s at %s in the infrastructure", n.Name, n.Address, m.Name, m.Address)
			}
			if end && !there {
				l.wrong("%s is not there", n.Name)
			}
			delete(machines, n.ID)
		}
		return err
	})
	for _, m := range machines { // a row goes only after its machine
		l.wrong("%s is in the infrastructure and nobody knows it", m.Name)
	}
}

// checkOnce checks that one-time tasks were done once for each life of a cluster.
func (p *player) checkOnce() {
	p.view(func(tx *store.Tx) error {
		for _, t := range p.all {
			ops, err := tx.Operations(t.name, 1000)
			if err != nil {
				return err
			}
			lives := map[string]bool{}
			for _, o := range ops {
				lives[o.Cluster] = true
			}
			events, err := tx.Events(0, t.name, 0, 100_000)
			if err != nil {
				return err
			}
			done := 0
			for _, e := range events {
				if e.Type == "once.done" {
					done++
				}
			}
			if t.brief != (done == 0) || done > len(lives) {
				p.wrong("a one-time task of %s was done %d times in %d lives of the cluster", t.name, done, len(lives))
			}
		}
		return nil
	})
}

// checkNewest checks that the newest apply counts: where nothing newer came and it is
// done, the cluster is what it asked for.
func (p *player) checkNewest(t target) {
	o := p.newest(t)
	if o.Kind != "apply" || o.State != api.OperationDone {
		return
	}
	var args struct{ Cluster api.Cluster }
	if err := json.Unmarshal([]byte(o.Args), &args); err != nil {
		p.wrong("operation %d has unreadable arguments: %v", o.ID, err)
	}
	p.view(func(tx *store.Tx) error {
		c, err := tx.ClusterByID(o.Cluster)
		if err != nil {
			return err
		}
		nodes, err := tx.Nodes(c.ID)
		there := map[string]int{}
		for _, n := range nodes {
			there[n.Group]++
			if t.least == 0 && n.Revision != c.Revision {
				p.wrong("operation %d is done, and %s is at revision %d of %d", o.ID, n.Name, n.Revision, c.Revision)
			}
		}
		for _, g := range args.Cluster.NodeGroups {
			least := g.InstanceNum
			if g.MinInstances > 0 {
				least = g.MinInstances
			}
			if n := there[g.Name]; n < least || n > g.InstanceNum {
				p.wrong("operation %d is done, which wanted %d to %d of %s in %s, and there are %d", o.ID, least, g.InstanceNum, g.Name, t.name, n)
			}
		}
		return err
	})
}

// checkOperations checks what became of all operations: one is superseded by a newer one
// of its cluster alone, one is done without a node only where the cluster gets along
// without it, and a cluster whose time to live ended is deleted a minute after its users
// were told, if it keeps nothing.
func (p *player) checkOperations() {
	p.view(func(tx *store.Tx) error {
		for _, t := range p.all {
			ops, err := tx.Operations(t.name, 1000)
			if err != nil {
				return err
			}
			events, err := tx.Events(0, t.name, 0, 100_000)
			if err != nil {
				return err
			}
			for i, o := range ops {
				if o.State == api.OperationSuperseded && !slices.ContainsFunc(ops[:i], func(newer store.Operation) bool { return newer.Cluster == o.Cluster }) {
					p.wrong("operation %d (%s) is superseded by none", o.ID, o.Kind)
				}
				if o.State == api.OperationDone && o.Reason != "" {
					if p.counts.without++; t.least == 0 {
						p.wrong("operation %d (%s) of %s, which wants all nodes, is done %s", o.ID, o.Kind, t.name, o.Reason)
					}
				}
				if o.Kind != "delete" || o.Cause == "" {
					continue
				}
				p.counts.expired++
				warned := slices.ContainsFunc(events, func(e api.Event) bool {
					return e.Type == "cluster.expiring" && o.Created.Sub(e.Time) >= time.Minute-time.Second
				})
				if !t.brief || !warned {
					p.wrong("operation %d deletes %s by itself, users warned: %v", o.ID, t.name, warned)
				}
			}
		}
		return nil
	})
}

// checkAnew checks that a machine is made again only after it was taken away because
// its agent never came, and returns the effects without such first tries.
func (p *player) checkAnew(effects []sim.Change) []sim.Change {
	cleared := map[string]int{} // steps that take a machine away, by node
	p.view(func(tx *store.Tx) error {
		ops, err := tx.Operations("", 1000)
		for _, o := range ops {
			steps, err := tx.Steps(o.ID)
			if err != nil {
				return err
			}
			for _, s := range steps {
				if s.Kind == "clear-node" && s.State != api.StepTodo {
					cleared[s.Node]++
				}
			}
		}
		return err
	})
	var out []sim.Change
	for _, e := range effects {
		removed := slices.ContainsFunc(out, func(o sim.Change) bool { return o.Key == e.Key && o.What == sim.Removed })
		if e.What == sim.Made && removed && cleared[e.Key] > 0 {
			cleared[e.Key]--
			out = slices.DeleteFunc(out, func(o sim.Change) bool { return o.Key == e.Key })
		}
		out = append(out, e)
	}
	return out
}
