package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// kindSmoke marks tasks that test a cluster.
const kindSmoke = "smoke"

// doSmoke runs the stack's own test as a task on one of the nodes.
func (m *Manager) doSmoke(ctx context.Context, c op.Call) op.Result {
	var found *store.Task
	var s *stack.Stack
	var rev *stack.Revision
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		cl, err := tx.ClusterByID(c.Operation.Cluster)
		if err != nil {
			return err
		}
		if rev, s, err = m.revision(tx, cl.ID, cl.Revision); err != nil {
			return err
		}
		t, err := tx.Task(smokeID(c))
		if err == nil {
			found = &t
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return nil
	})
	if err != nil {
		return op.Fail(err)
	}
	if s.Smoke == nil {
		return op.Done(m.smoked(c, rev.Number))
	}
	if found == nil {
		if err := m.startSmoke(ctx, c, s, rev); err != nil {
			return op.Fail(err)
		}
		return op.Wait("the test to begin", time.Now().Add(s.SmokeMax()+time.Minute))
	}
	switch found.State {
	case agentapi.TaskDone:
		return op.Done(m.smoked(c, rev.Number))
	case agentapi.TaskFailed:
		return op.Fail(errors.New(found.Status.Message))
	case agentapi.TaskTodo, agentapi.TaskRunning:
	}
	what := "the test to begin"
	if found.Status.Step != "" {
		what = found.Status.Step
	}
	return op.Wait(what, time.Now().Add(s.SmokeMax()+time.Minute))
}

// smokeID names the task of one begin of a step: a retry of a failed step
// tests anew, a restart of the server goes on with the same.
func smokeID(c op.Call) string {
	return fmt.Sprintf("%s-%d", c.Step.Key, c.Step.Started.UnixMilli())
}

// smoked records that a revision works.
func (m *Manager) smoked(c op.Call, revision int64) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		cl, err := tx.ClusterByID(c.Operation.Cluster)
		if err != nil {
			return err
		}
		cl.Smoked = revision
		if err := tx.PutCluster(cl); err != nil {
			return err
		}
		return tx.Event(api.Event{Type: "cluster.ready", Cluster: cl.Name, Operation: c.Operation.ID, Message: cl.Name + " passed its test"})
	}
}

// cancelSmoke ends tests an earlier operation left behind: two at once would
// disturb each other.
func cancelSmoke(tx *store.Tx, cluster string) error {
	tasks, err := tx.Tasks(cluster, kindSmoke)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if t.State == agentapi.TaskDone || t.State == agentapi.TaskFailed || t.Task.Cancel {
			continue
		}
		t.Task.Cancel = true
		if err := tx.PutTask(t); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) startSmoke(ctx context.Context, c op.Call, s *stack.Stack, rev *stack.Revision) error {
	return m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		mem, ok, err := m.firstServing(tx, c.Operation.Cluster, rev, s.Smoke.On)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("cannot test %s: no node has role %s", rev.Cluster.Name, s.Smoke.On)
		}
		n, err := tx.Node(mem.ID)
		if err != nil {
			return err
		}
		host := m.hostOf(n)
		if host == nil {
			return errNoHost
		}
		if err := cancelSmoke(tx, n.Cluster); err != nil {
			return err
		}
		id := smokeID(c)
		task, err := stack.NewRenderer(s, rev, nil).SmokeTask(n.Name, *host, id, filepath.Join(host.Dir, "tasks", id))
		if err != nil {
			return err
		}
		if err := m.makeJars(task, s, s.Smoke.Jars); err != nil {
			return err
		}
		return tx.PutTask(store.Task{
			ID: id, Cluster: n.Cluster, Node: n.ID, Kind: kindSmoke, Name: task.Title, Task: *task, State: agentapi.TaskTodo,
			Status: agentapi.TaskStatus{ID: id, State: agentapi.TaskTodo}, Created: tx.Now(),
		})
	})
}
