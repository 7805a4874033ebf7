package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/store"
)

const (
	// repairPause is left between a cluster's last operation and the first repair;
	// each further repair waits twice as long as the one before, at most repairSeldom.
	repairPause  = 15 * time.Second
	repairSeldom = 10 * time.Minute
	// lastRepairs bounds how many of a cluster's operations are looked at.
	lastRepairs = 20
)

// repairClusters keeps trying to make the nodes that clusters get along without,
// until ctx ends. It only looks and asks: an ordinary operation does it, which
// anything newer supersedes. All it knows is in the rows, so that a restart of the
// server changes nothing.
func (m *Manager) repairClusters(ctx context.Context) {
	sub := m.cfg.Store.Subscribe(store.TopicOperations)
	defer sub.Close()
	for ctx.Err() == nil {
		next, err := m.repair(ctx)
		if err != nil && ctx.Err() == nil {
			m.cfg.Log.Warn("cannot look for missing nodes", "error", err)
		}
		t := time.NewTimer(max(next, 50*time.Millisecond))
		select {
		case <-ctx.Done():
		case <-sub.C:
		case <-t.C:
		}
		t.Stop()
	}
}

// repair looks once at every cluster and returns when to look again at the latest.
func (m *Manager) repair(ctx context.Context) (next time.Duration, err error) {
	next = m.cfg.Repair // is there room now?
	var due []store.Cluster
	err = m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Clusters()
		if err != nil {
			return err
		}
		for _, c := range all {
			lack, err := m.lacking(tx, c)
			if err != nil {
				return err
			}
			switch wait := time.Until(lack.next); {
			case lack.count == 0 || lack.busy:
			case wait > 0:
				next = min(next, wait)
			default:
				due = append(due, c)
			}
		}
		return nil
	})
	if err != nil || len(due) == 0 {
		return next, err
	}
	if err := m.refreshInventory(ctx); err != nil {
		return next, err
	}
	for _, c := range due {
		err = errors.Join(err, m.repairOne(ctx, c.ID))
	}
	return next, err
}

// repairOne asks for a repair where one could come to something.
func (m *Manager) repairOne(ctx context.Context, id string) error {
	return m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		c, err := tx.ClusterByID(id)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		lack, err := m.lacking(tx, c)
		if err != nil || lack.count == 0 || lack.busy || time.Until(lack.next) > 0 {
			return err
		}
		rev, s, err := m.revision(tx, c.ID, c.Revision)
		if err != nil {
			return err
		}
		res, err := m.compute(tx, c, rev.Cluster, s)
		if err != nil || len(res.Add)+len(res.Resume) == 0 {
			return err // there is no room yet
		}
		_, err = submit(tx, c, opRepair, "", asked{by: byItself, cause: lack.cause()})
		return err
	})
}

// lack is what a cluster lacks of what is wanted.
type lack struct {
	count int
	names []string // as far as they have one
	tries int      // repairs in a row
	next  time.Time
	busy  bool // with an operation, or with one that failed
}

func (l lack) cause() string {
	text := fmt.Sprintf("%d nodes are missing", l.count)
	if l.count == 1 {
		text = "1 node is missing"
	}
	if len(l.names) > 0 {
		text += ": " + strings.Join(l.names, ", ")
	}
	return text
}

// lacking counts the nodes a running cluster gets along without: those that have
// no place and those whose agent never came. A node that is there is its agent's.
func (m *Manager) lacking(tx *store.Tx, c store.Cluster) (lack, error) {
	var l lack
	if c.Revision == 0 || c.Smoked == 0 || c.Intent != agentapi.IntentRun || c.Suspended {
		return l, nil
	}
	rev, _, err := m.revision(tx, c.ID, c.Revision)
	if err != nil {
		return l, err
	}
	spare := spareGroups(rev.Cluster)
	if len(spare) == 0 {
		return l, nil
	}
	nodes, err := tx.Nodes(c.ID)
	if err != nil {
		return l, err
	}
	there := map[string]int{}
	for _, n := range nodes {
		if n.Intent == agentapi.IntentGone || n.Intent == agentapi.IntentDrain {
			continue
		}
		if there[n.Group]++; spare[n.Group] && n.Intent == agentapi.IntentNew {
			l.count++
			l.names = append(l.names, n.Name)
		}
	}
	for _, g := range rev.Cluster.NodeGroups {
		if spare[g.Name] {
			l.count += max(0, g.InstanceNum-there[g.Name])
		}
	}
	if l.count == 0 {
		return l, nil
	}
	return l, m.pace(tx, c, &l)
}

// pace says when a cluster is to be repaired next.
func (m *Manager) pace(tx *store.Tx, c store.Cluster, l *lack) error {
	ops, err := tx.Operations(c.Name, lastRepairs)
	if err != nil {
		return err
	}
	for i, o := range ops {
		if o.Cluster != c.ID { // an earlier cluster of the name
			break
		}
		if i == 0 && !o.State.Final() {
			l.busy = true
		}
		if o.Finished != nil && l.next.IsZero() {
			l.next = *o.Finished
		}
		if o.Kind != opRepair {
			break
		}
		l.tries++
	}
	pause := m.cfg.Repair
	for range l.tries {
		pause = min(2*pause, repairSeldom)
	}
	l.next = l.next.Add(pause)
	return nil
}

// planRepair makes the steps that make missing nodes of a cluster as it is defined.
func (m *Manager) planRepair(tx *store.Tx, c store.Cluster) ([]op.StepSpec, error) {
	rev, s, err := m.revision(tx, c.ID, c.Revision)
	if err != nil {
		return nil, err
	}
	return m.planWanted(tx, c, rev.Cluster, s, &steps{anew: func(string) bool { return true }})
}

// below is the condition of a cluster that has fewer nodes than are wanted, as far
// as it gets along with them; false where it has all, or is not there yet.
func (m *Manager) below(tx *store.Tx, c store.Cluster, def api.Cluster, nodes []api.NodeStatus) (api.Condition, bool, error) {
	spare := spareGroups(def)
	if len(spare) == 0 || c.Smoked == 0 || c.Intent != agentapi.IntentRun || c.Suspended {
		return api.Condition{}, false, nil
	}
	causes, err := m.causes(tx, c)
	if err != nil {
		return api.Condition{}, false, err
	}
	var counts, why []string
	for _, g := range def.NodeGroups {
		if !spare[g.Name] {
			continue
		}
		ready, there := 0, 0
		for _, n := range nodes {
			if n.Group != g.Name || n.Intent == string(agentapi.IntentGone) || n.Intent == string(agentapi.IntentDrain) {
				continue
			}
			if there++; n.State == api.StateReady {
				ready++
				continue
			}
			cause := causes[n.Name]
			if cause == "" || n.Intent != string(agentapi.IntentNew) {
				cause = n.Message
			}
			if cause == "" {
				cause = "it is " + n.State
			}
			delete(causes, n.Name)
			why = append(why, n.Name+": "+cause)
		}
		if ready < g.InstanceNum {
			counts = append(counts, fmt.Sprintf("%d of %d %s are ready", ready, g.InstanceNum, g.Name))
		}
		why = append(why, unplaced(def.Name, g, there, causes)...)
	}
	if len(counts) == 0 {
		return api.Condition{}, false, nil
	}
	message := strings.Join(counts, "; ") + ": " + strings.Join(why, "; ")
	lack, err := m.lacking(tx, c)
	if err == nil && lack.count > 0 && !lack.busy {
		message += "; tried again by itself" + when(lack.next)
	}
	return api.Condition{Type: api.ConditionBelowWanted, Status: true, Reason: "NodesMissing", Message: message}, true, err
}

// degrade puts a cluster that is below what is wanted into words.
func degrade(st *api.ClusterStatus, few api.Condition) {
	st.Conditions = append(st.Conditions, few)
	switch st.State {
	case api.StateReady, api.StateWaiting, api.StateDegraded:
		st.State, st.Message = api.StateDegraded, few.Message
	}
	for i := range st.Conditions {
		if c := &st.Conditions[i]; c.Type == api.ConditionReady && c.Status {
			c.Status, c.Reason, c.Message = false, "NotReady", few.Message
		}
	}
}

func when(at time.Time) string {
	if left := time.Until(at); left >= time.Second {
		return " in " + words(left)
	}
	return " now and then"
}

// unplaced says which nodes of a group are in no row, and why.
func unplaced(cluster string, g api.NodeGroup, there int, causes map[string]string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(causes)) {
		if there < g.InstanceNum && strings.HasPrefix(name, cluster+"-"+g.Name+"-") {
			out = append(out, name+": "+causes[name])
			there++
		}
	}
	if n := g.InstanceNum - there; n > 0 {
		out = append(out, fmt.Sprintf("%d more of %s have no place yet", n, g.Name))
	}
	return out
}

// causes says why the last operation went on without nodes, by name.
func (m *Manager) causes(tx *store.Tx, c store.Cluster) (map[string]string, error) {
	out := map[string]string{}
	ops, err := tx.Operations(c.Name, lastRepairs)
	if err != nil {
		return nil, err
	}
	for _, o := range ops {
		if o.Cluster != c.ID {
			break
		}
		if o.State != api.OperationDone || o.Kind != opApply && o.Kind != opRepair && o.Kind != opStart {
			continue
		}
		steps, err := tx.Steps(o.ID)
		if err != nil {
			return nil, err
		}
		shown := o.API(steps).Steps
		if err := nodeNames(tx, c.ID, shown); err != nil {
			return nil, err
		}
		for i, s := range shown {
			name := s.Node
			if s.Kind == "missing-node" {
				var args missingArgs
				if err := json.Unmarshal([]byte(steps[i].Args), &args); err != nil {
					return nil, err
				}
				name = args.Name
			}
			if s.Optional && s.State == api.StepSkipped && s.Error != "" && out[name] == "" {
				out[name] = s.Error
			}
		}
		return out, nil
	}
	return out, nil
}
