package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"howdah.dev/howdah/api"
)

// Explain says why a cluster is not ready: the one root cause and what to do
// next, then what else keeps it, then what only follows from the cause.
func (m *Manager) Explain(ctx context.Context, name string) ([]api.Finding, error) {
	c, err := m.own(ctx, name)
	if err != nil {
		return nil, err
	}
	st, err := m.statusOf(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	_, out, err := m.cause(ctx, st)
	return out, err
}

// cause finds the root cause of what keeps a cluster from being ready, nil where
// nothing does, and the whole chain.
func (m *Manager) cause(ctx context.Context, st api.ClusterStatus) (*api.Cause, []api.Finding, error) {
	e := &explainer{st: st, now: time.Now()}
	switch st.State {
	case api.StateReady, api.StateStopped, api.StateSuspended:
		e.well()
		return nil, e.out, nil
	}
	clusters, err := m.around(ctx, st)
	if err != nil {
		return nil, nil, err
	}
	if st.Operation != 0 {
		o, err := m.Operation(ctx, st.Operation)
		if err != nil {
			return nil, nil, err
		}
		e.op = &o
	}
	e.explain(newScene(st.Name, clusters))
	return e.cause, e.out, nil
}

type explainer struct {
	st    api.ClusterStatus
	op    *api.Operation
	now   time.Time
	out   []api.Finding
	cause *api.Cause
}

func (e *explainer) add(kind, object, message string, since time.Time) {
	e.out = append(e.out, api.Finding{Kind: kind, Object: object, Message: message, Since: since})
}

// well tells of a cluster that is as it is wanted.
func (e *explainer) well() {
	e.add("is", e.st.Name, e.st.Name+" is "+e.st.State, time.Time{})
	if e.st.State != api.StateReady {
		e.add("next", e.st.Name, "howdah start "+e.st.Name, time.Time{})
	}
	for _, c := range ofNodes(e.st.Nodes) {
		e.add("is", e.st.Name, c.Type+": "+c.Message, time.Time{})
	}
}

// explain names the cause, and tells what follows from it from what stands
// beside it.
func (e *explainer) explain(s *scene) {
	root, follows, others := s.cause()
	failed := e.op != nil && e.op.State == api.OperationFailed
	if root != nil && failed && root.severity >= severityWaiting {
		// What only waits does so because the operation does not go on.
		root, follows, others = nil, nil, append(append([]*trouble{root}, follows...), others...)
	}
	since := e.st.Created
	switch {
	case root != nil:
		since = root.since
		next := root.next
		if root.cluster != e.st.Name {
			next += "; more of it: howdah explain " + root.cluster
		}
		if failed {
			next += fmt.Sprintf("; then: howdah op retry %d, or give up: howdah op abandon %d", e.op.ID, e.op.ID)
		}
		e.cause = &api.Cause{Cluster: root.cluster, Object: root.object, Message: root.message, Next: next, Since: root.since}
	case failed:
		e.cause = &api.Cause{
			Cluster: e.st.Name, Object: fmt.Sprintf("operation %d", e.op.ID), Message: fmt.Sprintf("operation %d (%s) failed: %s", e.op.ID, e.op.Kind, e.op.Reason),
			Next: fmt.Sprintf("mend it and: howdah op retry %d    or give up: howdah op abandon %d", e.op.ID, e.op.ID), Since: e.op.Created,
		}
		since = e.op.Created
	case e.op == nil && e.st.Message != "":
		e.cause = &api.Cause{Cluster: e.st.Name, Object: e.st.Name, Message: e.st.Message, Next: "look again with: howdah explain " + e.st.Name}
		switch {
		case e.st.Message == deletionGivenUp:
			e.cause.Next = fmt.Sprintf("howdah delete %s    or take it back: howdah start %s", e.st.Name, e.st.Name)
		case e.st.State == api.StateStopped:
			e.cause.Next = "howdah start " + e.st.Name
		case strings.Contains(e.st.Message, "test"):
			e.cause.Next = "howdah smoke " + e.st.Name
		}
	}
	e.add("is", e.st.Name, fmt.Sprintf("%s is %s", e.st.Name, e.st.State), since)
	if e.cause != nil {
		e.add("cause", e.cause.Object, e.cause.Message, e.cause.Since)
		e.add("next", e.cause.Object, e.cause.Next, time.Time{})
	}
	for _, t := range others {
		e.add("because", t.object, t.message, t.since)
	}
	kind := "because"
	if root != nil {
		kind = "follows"
	}
	e.operation(kind)
	for _, t := range follows {
		e.add("follows", t.object, t.message, t.since)
	}
	if e.cause != nil {
		for _, f := range e.out {
			if f.Kind == "follows" {
				e.cause.Follows++
			}
		}
	}
}

// operation says what the steps of the operation wait for or failed at.
func (e *explainer) operation(kind string) {
	if e.op == nil {
		return
	}
	for _, s := range e.op.Steps {
		at := e.op.Created
		if s.Started != nil {
			at = *s.Started
		}
		object := fmt.Sprintf("step %d", s.ID)
		switch s.State {
		case api.StepWaiting:
			until := ""
			if s.Until != nil {
				until = fmt.Sprintf(", at most %s more", s.Until.Sub(e.now).Round(time.Second))
			}
			e.add(kind, object, fmt.Sprintf("%s waits for %s%s", s.Title, s.Waiting, until), at)
		case api.StepDoing:
			msg := s.Title + " is under way"
			if s.Waiting != "" {
				msg = s.Title + " waits for " + s.Waiting
			}
			if s.Error != "" {
				msg += ", after: " + s.Error
			}
			e.add("because", object, msg, at)
		case api.StepFailed:
			e.add("because", object, fmt.Sprintf("%s failed: %s", s.Title, s.Error), at)
		case api.StepTodo, api.StepDone, api.StepSkipped:
		}
	}
}
