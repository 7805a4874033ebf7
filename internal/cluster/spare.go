package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/plan"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// spareGroups names the groups of which some nodes may be missing.
func spareGroups(c api.Cluster) map[string]bool {
	out := map[string]bool{}
	for _, g := range c.NodeGroups {
		if g.MinInstances > 0 && g.MinInstances < g.InstanceNum {
			out[g.Name] = true
		}
	}
	return out
}

// node adds a step of a node. Where its group gets along with fewer, the operation
// gets along without the step; whether enough is left, the step "enough-nodes" says.
func (b *steps) node(group, kind, node, title, phase string, after ...int) int {
	i := b.add(kind, node, title, phase, after...)
	b.specs[i].Optional = b.spare[group]
	return i
}

// enough adds the step that counts the nodes of groups that get along with fewer.
// It returns what comes after it is to come after.
func (b *steps) enough(up []int) []int {
	if len(b.spare) == 0 {
		return up
	}
	return append(slices.Clone(up), b.add("enough-nodes", "", "see that enough nodes are there", "services", up...))
}

// test adds the cluster's own test, after nodes that come up.
func (b *steps) test(up []int) { b.specs = append(b.specs, smokeStep(b.enough(up))) }

// missingArgs is a node that has no place.
type missingArgs struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// missing adds a step that tells of a node that cannot be made: it fails at once,
// and the operation goes on without it.
func (b *steps) missing(x plan.Missing) int {
	args, err := json.Marshal(missingArgs{Name: x.Name, Why: x.Why})
	if err != nil { // two texts can always be encoded
		panic(err)
	}
	i := b.node(x.Group, "missing-node", "", "find room for "+x.Name, "nodes")
	b.specs[i].Args = string(args)
	return i
}

func doMissingNode(_ context.Context, c op.Call) op.Result {
	var args missingArgs
	if err := json.Unmarshal([]byte(c.Step.Args), &args); err != nil {
		return op.Fail(err)
	}
	return op.Fail(errors.New(args.Why))
}

// doClearNode has the driver remove a machine whose agent never joined, so that it
// is made anew and not taken for there.
func (m *Manager) doClearNode(ctx context.Context, c op.Call) op.Result {
	n, d, err := m.machine(ctx, c)
	if err != nil {
		return op.Fail(err)
	}
	if n.Facts != nil {
		return op.Done(nil)
	}
	if err := d.Delete(ctx, ref(c.Operation.Name, n)); err != nil && infra.KindOf(err) != infra.KindNotFound {
		return driverResult(err)
	}
	m.forget(n.ID)
	// An agent that came at the last moment went with its machine.
	return op.Done(func(tx *store.Tx) error {
		n, err := tx.Node(n.ID)
		if err != nil || n.Facts == nil {
			return err
		}
		n.Facts, n.Java = nil, nil
		return tx.PutNode(n)
	})
}

// enoughDeadline is how long a count of nodes that were ready a moment ago may be
// too small.
const enoughDeadline = 10 * time.Second

// doEnoughNodes counts the ready nodes of groups that get along with fewer.
func (m *Manager) doEnoughNodes(ctx context.Context, c op.Call) op.Result {
	var short []string
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		cl, err := tx.ClusterByID(c.Operation.Cluster)
		if err != nil {
			return err
		}
		rev, _, err := m.revision(tx, cl.ID, cl.Revision)
		if err != nil {
			return err
		}
		serving, err := m.serving(tx, cl.ID)
		if err != nil {
			return err
		}
		for _, g := range rev.Cluster.NodeGroups {
			ready := 0
			for _, mem := range rev.Members {
				if mem.Group == g.Name && serving[mem.ID] {
					ready++
				}
			}
			if ready < g.MinInstances {
				short = append(short, fmt.Sprintf("%d of %s to be ready, the fewest it gets along with; %d of %d are", g.MinInstances, g.Name, ready, g.InstanceNum))
			}
		}
		return nil
	})
	if err != nil {
		return op.Fail(err)
	}
	if len(short) > 0 {
		return op.Wait(strings.Join(short, "; "), time.Now().Add(enoughDeadline))
	}
	return op.Done(nil)
}

// serving tells which nodes of a cluster have all services ready at their newest
// assignment, by id.
func (m *Manager) serving(tx *store.Tx, cluster string) (map[string]bool, error) {
	nodes, err := tx.Nodes(cluster)
	if err != nil {
		return nil, err
	}
	seen, err := tx.ObservedOf(cluster)
	if err != nil {
		return nil, err
	}
	out := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		r := seen[n.ID].Report
		v := m.heard(n.ID)
		out[n.ID] = !v.reported.IsZero() && !m.silent(n, v) && n.Intent == agentapi.IntentRun && r.Incarnation == n.Incarnation && r.Generation >= n.Generation && n.Generation > 0 &&
			!slices.ContainsFunc(r.Services, func(s api.ServiceStatus) bool { return s.State != api.StateReady })
	}
	return out, nil
}

// firstServing returns the first node with a role that is ready, else the first.
func (m *Manager) firstServing(tx *store.Tx, cluster string, rev *stack.Revision, role string) (stack.Member, bool, error) {
	serving, err := m.serving(tx, cluster)
	for _, mem := range rev.Members {
		if serving[mem.ID] && slices.Contains(mem.Roles, role) {
			return mem, true, err
		}
	}
	mem, ok := rev.First(role)
	return mem, ok, err
}
