package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/store"
)

// What the server does by itself about a node whose agent is silent, and how
// often. It never deletes a node or makes it anew.
const (
	mendAfter  = 5 * time.Minute  // of silence
	mendAgain  = 30 * time.Minute // after the last time, of one node
	mendWithin = 2 * time.Minute  // the driver's time to do it
	// settleTime is how long the other nodes of its cluster wait for it to
	// report again.
	settleTime = 5 * time.Minute

	lookEvery   = 5 * time.Second
	lookWithin  = 15 * time.Second
	lookAtOnce  = 8
	maxLookedAt = 64 // silent nodes a driver is asked about in one round
)

// watchNodes notes which nodes fall silent and come back, and mends them.
func (m *Manager) watchNodes(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for next := time.NewTicker(tickEvery); ; {
			m.presence.tick(time.Now())
			select {
			case <-ctx.Done():
				next.Stop()
				return
			case <-next.C:
			}
		}
	})
	for next := time.NewTicker(lookEvery); ; {
		if err := m.lookAtNodes(ctx, &wg); err != nil && ctx.Err() == nil {
			m.cfg.Log.Error("cannot look after nodes", "error", err)
		}
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
		}
	}
}

// patient is a node and how long its agent has been silent.
type patient struct {
	store.Watched
	watch  store.Watch
	silent time.Duration
}

func (m *Manager) lookAtNodes(ctx context.Context, wg *sync.WaitGroup) error {
	var nodes []store.Watched
	var watches map[string]store.Watch
	err := m.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if nodes, err = tx.WatchedNodes(); err != nil {
			return err
		}
		watches, err = tx.Watches()
		return err
	})
	if err != nil {
		return err
	}
	now := time.Now()
	var silent []patient
	var changed []turn
	for _, n := range nodes {
		w, v := watches[n.ID], m.heard(n.ID)
		delete(watches, n.ID)
		quiet := m.presence.quiet(now, v.reported)
		switch {
		case quiet > silence:
			silent = append(silent, patient{n, w, quiet})
			if w.Silent == nil {
				changed = append(changed, turn{n, true})
			}
		case w.Silent != nil && !v.reported.IsZero() && now.Sub(v.reported) <= silence:
			changed = append(changed, turn{n, false})
			if err := m.setTrouble(ctx, n, ""); err != nil {
				return err
			}
		}
	}
	if err := m.noteSilence(ctx, now, changed, watches); err != nil {
		return err
	}
	if err := m.askDrivers(ctx, silent); err != nil {
		return err
	}
	for _, p := range choose(now, silent) {
		m.mend(ctx, wg, p)
	}
	return nil
}

// turn is a node that fell silent or came back.
type turn struct {
	store.Watched
	silent bool
}

// noteSilence writes which nodes fell silent or came back. Those that are not
// wanted to run any more just end being watched.
func (m *Manager) noteSilence(ctx context.Context, now time.Time, changed []turn, unwatched map[string]store.Watch) error {
	maps.DeleteFunc(unwatched, func(_ string, w store.Watch) bool { return w.Silent == nil })
	if len(changed) == 0 && len(unwatched) == 0 {
		return nil
	}
	return m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		all, err := tx.Watches()
		if err != nil {
			return err
		}
		for id := range unwatched {
			n, err := tx.Node(id)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			w := all[id]
			w.Silent = nil
			if err := errors.Join(err, tx.PutWatch(n.Cluster, id, w)); err != nil {
				return err
			}
		}
		for _, n := range changed {
			w := all[n.ID]
			if _, err := tx.Node(n.ID); err != nil || n.silent == (w.Silent != nil) {
				continue // it went meanwhile, or is written already
			}
			ev := api.Event{Type: "node.back", Cluster: n.ClusterName, Node: n.Name, Message: "the agent of " + n.Name + " reports again"}
			if n.silent {
				ev.Type, ev.Message = "node.silent", "the agent of "+n.Name+" is silent for "+silence.String()+"; what its services do is not known"
				w.Silent = &now
			} else {
				w.Silent, w.Mending = nil, false
			}
			if err := errors.Join(tx.PutWatch(n.Cluster, n.ID, w), tx.Event(ev)); err != nil {
				return err
			}
		}
		return nil
	})
}

// askDrivers learns from drivers what keeps agents of silent nodes from running.
func (m *Manager) askDrivers(ctx context.Context, silent []patient) error {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(lookAtOnce)
	for _, p := range silent[:min(len(silent), maxLookedAt)] {
		d, err := m.driver(p.Infrastructure)
		if err != nil {
			continue
		}
		g.Go(func() error {
			desc, err := d.Describe(ctx, infra.Ref{Key: p.ID, Cluster: p.ClusterName, Name: p.Name})
			switch {
			case err != nil && infra.KindOf(err) == infra.KindConflict: // somebody has to mend it first
				desc.Trouble = err.Error()
			case err != nil:
				return nil // what the driver cannot tell is not known
			}
			return m.setTrouble(ctx, p.Watched, desc.Trouble)
		})
	}
	return g.Wait()
}

// setTrouble notes what keeps a node's agent from running, "" for nothing.
func (m *Manager) setTrouble(ctx context.Context, n store.Watched, trouble string) error {
	m.mu.Lock()
	v := m.vitals[n.ID]
	if v == nil {
		v = &vital{}
		m.vitals[n.ID] = v
	}
	was := v.trouble
	v.trouble = trouble
	if was != trouble {
		m.pulse.Add(1)
	}
	m.mu.Unlock()
	if (was == "") == (trouble == "") {
		return nil
	}
	ev := api.Event{Type: "condition.began", Cluster: n.ClusterName, Node: n.Name, Message: api.ConditionAgentFailing + " on " + n.Name + ": " + trouble}
	if trouble == "" {
		ev.Type, ev.Message = "condition.ended", api.ConditionAgentFailing+" on "+n.Name+" is over"
	}
	return m.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.Event(ev) })
}

// choose picks the nodes to mend now: at most one of a cluster, the one silent
// longest, and none while another that was mended has time to come back. One
// whose mending was cut short is taken up again.
func choose(now time.Time, silent []patient) []patient {
	busy := map[string]bool{}
	var out []patient
	for _, p := range silent {
		if p.watch.Mending {
			out, busy[p.Cluster] = append(out, p), true
		}
		if p.watch.Mended != nil && now.Sub(*p.watch.Mended) < settleTime {
			busy[p.Cluster] = true
		}
	}
	silent = slices.SortedStableFunc(slices.Values(silent), func(a, b patient) int { return cmp.Compare(b.silent, a.silent) })
	for _, p := range silent {
		if busy[p.Cluster] || p.silent < mendAfter || p.watch.Mended != nil && now.Sub(*p.watch.Mended) < mendAgain {
			continue
		}
		out, busy[p.Cluster] = append(out, p), true
	}
	return out
}

// errBusy ends a try to mend a node of a cluster that an operation works on.
var errBusy = errors.New("an operation works on the cluster")

// mend brings a silent node back, beside everything else. What it is about to do
// is committed before: an end of the server between off and on leaves no node
// switched off.
func (m *Manager) mend(ctx context.Context, wg *sync.WaitGroup, p patient) {
	m.mu.Lock()
	_, off := m.unmended[p.Infrastructure]
	if off || m.mending[p.ID] {
		m.mu.Unlock()
		return
	}
	m.mending[p.ID] = true
	m.mu.Unlock()
	done := func() {
		m.mu.Lock()
		delete(m.mending, p.ID)
		m.mu.Unlock()
	}
	if err := m.beginMending(ctx, p); err != nil {
		done()
		if !errors.Is(err, errBusy) && ctx.Err() == nil {
			m.cfg.Log.Error("cannot mend node", "node", p.Name, "error", err)
		}
		return
	}
	wg.Go(func() {
		defer done()
		how, err := m.revive(ctx, p)
		if ctx.Err() != nil {
			return // taken up again by the next server
		}
		if err := m.endMending(ctx, p, how, err); err != nil {
			m.cfg.Log.Error("cannot note how mending a node went", "node", p.Name, "error", err)
		}
	})
}

func (m *Manager) beginMending(ctx context.Context, p patient) error {
	return m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		open, err := tx.OpenOperations()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(open, func(o store.Operation) bool { return o.Cluster == p.Cluster && o.State != api.OperationFailed }) && !p.watch.Mending {
			return errBusy
		}
		w := p.watch
		now := tx.Now()
		w.Mended, w.Mending = &now, true
		if err := tx.PutWatch(p.Cluster, p.ID, w); err != nil {
			return err
		}
		return tx.Event(api.Event{
			Type: "node.mending", Cluster: p.ClusterName, Node: p.Name,
			Message: fmt.Sprintf("%s is being brought back: its agent has been silent for %s", p.Name, p.silent.Round(time.Second)),
		})
	})
}

// revive has the driver bring a node back, by its own way or the power switch.
func (m *Manager) revive(ctx context.Context, p patient) (how string, err error) {
	ctx, cancel := context.WithTimeout(ctx, mendWithin)
	defer cancel()
	at := infra.Ref{Key: p.ID, Cluster: p.ClusterName, Name: p.Name}
	d, err := m.driver(p.Infrastructure)
	if err != nil {
		return "", err
	}
	if has, err := d.Mend(ctx, at); has {
		return "its agent was started anew", err
	}
	if err := d.Power(ctx, at, false); err != nil {
		return "", err
	}
	// What is wanted may have changed meanwhile; one that is to be off stays off.
	wanted := false
	err = m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		n, err := tx.Node(p.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		wanted = n.Intent != agentapi.IntentStop
		return err
	})
	if err != nil || !wanted {
		return "it was switched off", err
	}
	return "it was switched off and on", d.Power(ctx, at, true)
}

func (m *Manager) endMending(ctx context.Context, p patient, how string, failure error) error {
	ev := api.Event{Type: "node.mended", Cluster: p.ClusterName, Node: p.Name, Message: p.Name + ": " + how}
	if failure != nil {
		ev.Type, ev.Message = "node.unmended", fmt.Sprintf("cannot bring %s back: %v; tried again after %s", p.Name, failure, mendAgain)
		if infra.KindOf(failure) == infra.KindUnsupported {
			ev.Message = fmt.Sprintf("nodes of infrastructure %s are not brought back by themselves: %v", p.Infrastructure, failure)
			m.mu.Lock()
			m.unmended[p.Infrastructure] = failure.Error()
			m.mu.Unlock()
		}
	}
	return m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Node(p.ID); err != nil {
			return nil //nolint:nilerr // it went meanwhile, and its watch with it
		}
		all, err := tx.Watches()
		if err != nil {
			return err
		}
		w := all[p.ID]
		w.Mending = false
		return errors.Join(tx.PutWatch(p.Cluster, p.ID, w), tx.Event(ev))
	})
}
