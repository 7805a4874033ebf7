package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// GuardError is a refusal that protects data or others; a person can lift it.
type GuardError struct {
	Message string
	Detail  string
}

// Error returns the refusal and what lifts it.
func (e *GuardError) Error() string { return e.Message + "; " + e.Detail }

// asked says who asked for an operation, and why where nobody did.
type asked struct{ by, cause string }

// submit adds an operation and returns it.
func submit(tx *store.Tx, c store.Cluster, kind, args string, who asked) (*api.Operation, error) {
	id, err := op.Submit(tx, store.Operation{Cluster: c.ID, Name: c.Name, Kind: kind, Args: args, Project: c.Project, By: who.by, Cause: who.cause})
	if err != nil {
		return nil, err
	}
	o, err := tx.Operation(id)
	if err != nil {
		return nil, err
	}
	out := o.API(nil)
	return &out, nil
}

// Start starts a stopped or suspended cluster.
func (m *Manager) Start(ctx context.Context, name string) (*api.Operation, error) {
	return m.change(ctx, name, opStart, "", func(tx *store.Tx, c store.Cluster) error {
		if c.Intent != agentapi.IntentGone {
			return nil
		}
		// A deletion that was cancelled or given up can be taken back.
		return idle(tx, c, func(o store.Operation) bool { return o.Kind == opDelete })
	})
}

// Stop stops a cluster; with suspend only until the platform is up again.
func (m *Manager) Stop(ctx context.Context, name string, suspend bool) (*api.Operation, error) {
	args, err := json.Marshal(stopArgs{Suspend: suspend})
	if err != nil {
		return nil, err
	}
	return m.change(ctx, name, opStop, string(args), func(_ *store.Tx, c store.Cluster) error {
		return notLeaving(c)
	})
}

// notLeaving refuses what cannot be asked of a cluster that is being deleted.
func notLeaving(c store.Cluster) error {
	if c.Intent == agentapi.IntentGone {
		return fmt.Errorf("%w: cluster %s is being deleted", ErrBusy, c.Name)
	}
	return nil
}

// wantedRunning refuses what only the services of a cluster can answer, where these
// are not meant to run.
func wantedRunning(c store.Cluster) error {
	if err := notLeaving(c); err != nil {
		return err
	}
	if c.Intent != agentapi.IntentRun || c.Suspended {
		return fmt.Errorf("%w: cluster %s is stopped; start it: howdah start %s", ErrBusy, c.Name, c.Name)
	}
	return nil
}

// Smoke runs a cluster's own test again.
func (m *Manager) Smoke(ctx context.Context, name string) (*api.Operation, error) {
	return m.change(ctx, name, opSmoke, "", func(tx *store.Tx, c store.Cluster) error {
		if err := wantedRunning(c); err != nil {
			return err
		}
		return idle(tx, c, func(store.Operation) bool { return true })
	})
}

// idle refuses while an operation of the cluster is under way that matters;
// one that failed counts too, because another operation would end it.
func idle(tx *store.Tx, c store.Cluster, matters func(store.Operation) bool) error {
	open, err := tx.OpenOperations()
	if err != nil {
		return err
	}
	for _, o := range open {
		if o.Cluster == c.ID && matters(o) {
			text, err := busyWith(tx, o)
			if err != nil {
				return err
			}
			return fmt.Errorf("%w: %s is busy with %s", ErrBusy, c.Name, text)
		}
	}
	return nil
}

// busyWith says which operation holds a cluster: since when, by whom, and what it
// waits for.
func busyWith(tx *store.Tx, o store.Operation) (string, error) {
	steps, err := tx.Steps(o.ID)
	if err != nil {
		return "", err
	}
	since, at := "asked for", o.Created
	if o.Started != nil {
		since, at = "started", *o.Started
	}
	text := fmt.Sprintf("operation %d (%s, %s), %s %s ago", o.ID, o.Kind, o.State, since, words(max(0, tx.Now().Sub(at))))
	if o.By != "" {
		text += " by " + o.By
	}
	for _, s := range steps {
		if s.State == api.StepWaiting {
			return text + ", waiting for " + s.Waiting, nil
		}
	}
	return text, nil
}

func (m *Manager) change(ctx context.Context, name, kind, args string, check func(*store.Tx, store.Cluster) error) (*api.Operation, error) {
	var o *api.Operation
	err := m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		c, err := own(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := check(tx, c); err != nil {
			return err
		}
		o, err = submit(tx, c, kind, args, asked{by: ScopeOf(ctx).By})
		return err
	})
	return o, err
}

// Delete removes a cluster. One that holds data, or that others link to, is
// not deleted unless destroy names it as well.
func (m *Manager) Delete(ctx context.Context, name, destroy string) (*api.Operation, error) {
	var o *api.Operation
	err := m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		c, err := own(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := m.guard(tx, c, destroy); err != nil {
			return err
		}
		o, err = submit(tx, c, opDelete, "", asked{by: ScopeOf(ctx).By})
		return err
	})
	return o, err
}

// guard refuses to delete what holds data or what others use.
func (m *Manager) guard(tx *store.Tx, c store.Cluster, destroy string) error {
	if c.Intent == agentapi.IntentGone || destroy == c.Name {
		return nil
	}
	why, err := m.holds(tx, c)
	if err != nil {
		return err
	}
	if len(why) == 0 {
		return nil
	}
	return &GuardError{
		Message: fmt.Sprintf("cluster %s is not deleted: %s", c.Name, strings.Join(why, "; ")),
		Detail:  fmt.Sprintf("to destroy it all the same: howdah delete %s --yes --destroy-data %s", c.Name, c.Name),
	}
}

// holds says why a cluster is not to be deleted by the way.
func (m *Manager) holds(tx *store.Tx, c store.Cluster) ([]string, error) {
	var why []string
	if c.Revision > 0 {
		_, s, err := m.revision(tx, c.ID, c.Revision)
		if err != nil {
			return nil, err
		}
		if s.Keeps() {
			why = append(why, "it holds data")
		}
	}
	users, err := m.usedBy(tx, c.Name)
	if len(users) > 0 {
		why = append(why, "used by "+strings.Join(users, ", "))
	}
	return why, err
}

// usedBy lists the clusters that link to one, or are about to: an apply that
// was accepted links even before it is planned.
func (m *Manager) usedBy(tx *store.Tx, name string) ([]string, error) {
	all, err := tx.Clusters()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, c := range all {
		if c.Revision == 0 || c.Intent == agentapi.IntentGone {
			continue
		}
		var rev stack.Revision
		if err := tx.Revision(c.ID, c.Revision, &rev); err != nil {
			return nil, err
		}
		for _, to := range rev.Cluster.Links {
			if to == name {
				out = append(out, c.Name)
			}
		}
	}
	open, err := tx.OpenOperations()
	if err != nil {
		return nil, err
	}
	for _, o := range open {
		if o.Kind != opApply || o.Planned {
			continue
		}
		var args applyArgs
		if err := json.Unmarshal([]byte(o.Args), &args); err != nil {
			return nil, err
		}
		for _, to := range args.Cluster.Links {
			if to == name {
				out = append(out, o.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
