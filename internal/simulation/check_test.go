package simulation

import (
	"fmt"

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
		return nil
	})
	l.checkNodes(false)
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

// checkOnce checks that one-time tasks were done once for each life of the
// cluster.
func (l *lab) checkOnce() {
	l.view(func(tx *store.Tx) error {
		ops, err := tx.Operations("", 1000)
		if err != nil {
			return err
		}
		clusters := map[string]bool{}
		for _, o := range ops {
			clusters[o.Cluster] = true
		}
		events, err := tx.Events(0, "", 0, 100_000)
		done := 0
		for _, e := range events {
			if e.Type == "once.done" {
				done++
			}
		}
		if done < 1 || done > len(clusters) {
			l.wrong("a one-time task was done %d times in %d lives of the cluster", done, len(clusters))
		}
		return err
	})
}
