package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
)

// Explain says why a cluster is not ready: what waits, for what, since when,
// the root cause, and what to do next.
func (m *Manager) Explain(ctx context.Context, name string) ([]api.Finding, error) {
	st, err := m.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	var o *api.Operation
	if st.Operation != 0 {
		got, err := m.Operation(ctx, st.Operation)
		if err != nil {
			return nil, err
		}
		o = &got
	}
	e := &explainer{st: st, op: o}
	e.explain()
	return e.out, nil
}

type explainer struct {
	st  api.ClusterStatus
	op  *api.Operation
	out []api.Finding
}

func (e *explainer) add(kind, object, message string, since time.Time) {
	e.out = append(e.out, api.Finding{Kind: kind, Object: object, Message: message, Since: since})
}

// rank orders services by how near they are to the root: what is broken comes
// before what only waits.
func rank(state string) int {
	switch state {
	case api.StateBlocked:
		return 0
	case api.StateFailed:
		return 1
	case api.StateUnhealthy, api.StateUnknown:
		return 2
	case api.StateStarting, api.StatePreparing, api.StateFetching, api.StateStopping:
		return 3
	}
	return 4
}

func (e *explainer) explain() {
	since := time.Time{}
	var root *api.ServiceStatus
	for _, n := range e.st.Nodes {
		for i := range n.Services {
			s := &n.Services[i]
			if s.State == api.StateReady && s.Message == "" || s.State == api.StateStopped {
				continue
			}
			if since.IsZero() || s.Since.Before(since) {
				since = s.Since
			}
			if root == nil || rank(s.State) < rank(root.State) || rank(s.State) == rank(root.State) && s.Since.Before(root.Since) {
				root = s
			}
		}
	}
	switch e.st.State {
	case api.StateReady:
		e.add("is", e.st.Name, e.st.Name+" is ready", time.Time{})
		return
	case api.StateStopped, api.StateSuspended:
		e.add("is", e.st.Name, e.st.Name+" is "+e.st.State, time.Time{})
		e.add("next", e.st.Name, "howdah start "+e.st.Name, time.Time{})
		return
	}
	e.add("is", e.st.Name, fmt.Sprintf("%s is %s", e.st.Name, e.st.State), since)
	e.operation()
	for _, n := range e.st.Nodes {
		e.node(n, root)
	}
	e.cause(root)
}

// operation says what the operation waits for or failed at.
func (e *explainer) operation() {
	if e.op == nil {
		return
	}
	if len(e.op.Steps) == 0 && e.op.Reason != "" {
		e.add("because", fmt.Sprintf("operation %d", e.op.ID), fmt.Sprintf("operation %d (%s) failed: %s", e.op.ID, e.op.Kind, e.op.Reason), e.op.Created)
		return
	}
	for _, s := range e.op.Steps {
		at := e.op.Created
		if s.Started != nil {
			at = *s.Started
		}
		switch s.State {
		case api.StepWaiting:
			until := ""
			if s.Until != nil {
				until = fmt.Sprintf(", at most %s more", time.Until(*s.Until).Round(time.Second))
			}
			e.add("because", fmt.Sprintf("step %d", s.ID), fmt.Sprintf("%s waits for %s%s", s.Title, s.Waiting, until), at)
		case api.StepDoing:
			msg := s.Title + " is under way"
			if s.Waiting != "" {
				msg = s.Title + " waits for " + s.Waiting
			}
			if s.Error != "" {
				msg += ", after: " + s.Error
			}
			e.add("because", fmt.Sprintf("step %d", s.ID), msg, at)
		case api.StepFailed:
			e.add("because", fmt.Sprintf("step %d", s.ID), fmt.Sprintf("%s failed: %s", s.Title, s.Error), at)
		case api.StepTodo, api.StepDone, api.StepSkipped:
		}
	}
}

// node says what keeps one node from being ready.
func (e *explainer) node(n api.NodeStatus, root *api.ServiceStatus) {
	switch n.State {
	case api.StateJoining, api.StateBlocked, api.StateUnknown:
		e.add("because", n.Name, n.Name+": "+n.Message, time.Time{})
	}
	for i := range n.Services {
		s := &n.Services[i]
		if s == root || s.State == api.StateReady && s.Message == "" || s.State == api.StateStopped {
			continue
		}
		e.add("because", n.Name+"/"+s.Name, fmt.Sprintf("%s on %s is %s: %s", s.Name, n.Name, s.State, s.Message), s.Since)
	}
}

// cause names the root and the next action.
func (e *explainer) cause(root *api.ServiceStatus) {
	if root != nil {
		msg := fmt.Sprintf("%s on %s is %s", root.Name, root.Node, root.State)
		if root.Message != "" {
			msg += ": " + root.Message
		}
		if root.Restarts > 1 {
			msg += fmt.Sprintf(" (ended %d times in the last 10 minutes)", root.Restarts)
		}
		e.add("cause", root.Node+"/"+root.Name, msg, root.Since)
		next := "read its output: " + root.Log
		if slices.ContainsFunc(root.Conditions, func(c api.Condition) bool { return c.Type == api.ConditionDataMissing && c.Status }) {
			next = "put the missing directory back; it is never made anew over data that may still exist"
		}
		e.add("next", root.Name, next, time.Time{})
	}
	if e.op != nil && e.op.State == api.OperationFailed {
		e.add("next", "", fmt.Sprintf("mend it and: howdah op retry %d    or give up: howdah op abandon %d", e.op.ID, e.op.ID), time.Time{})
	}
	if len(e.out) == 1 && e.st.Message != "" {
		e.add("cause", e.st.Name, e.st.Message, time.Time{})
		if strings.Contains(e.st.Message, "test") {
			e.add("next", e.st.Name, "howdah smoke "+e.st.Name, time.Time{})
		}
	}
}
