package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/store"
)

// summary is a report in short, by which the next one is known to be no news: thousands
// of nodes say every few seconds that nothing has changed, and that must cost no look
// into the store.
type summary struct {
	incarnation int64
	sum         [sha256.Size]byte
}

// summarize puts a report in short: without its number, what is not kept of it, and
// since when conditions are so.
func summarize(r agentapi.Report) (summary, error) {
	r = withoutProbes(r)
	r.Sequence, r.Conditions = 0, withoutSince(r.Conditions)
	for i := range r.Services {
		r.Services[i].Conditions = withoutSince(r.Services[i].Conditions)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return summary{}, fmt.Errorf("cannot encode report: %w", err)
	}
	return summary{r.Incarnation, sha256.Sum256(data)}, nil
}

// compare reports whether what the agent with the node's stream said last is known, and
// whether a report of it, which in short is this, says the same.
func (m *Manager) compare(r agentapi.Report, now summary) (known, same bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, v := m.sessions[r.Node], m.vitals[r.Node]
	known = s != nil && s.incarnation == r.Incarnation && v != nil && v.last != summary{}
	return known, known && v.last == now
}

// unchanged tells a report that is in the store from news, so that it costs no write.
func (m *Manager) unchanged(ctx context.Context, r agentapi.Report, now summary) (same, fenced bool, err error) {
	err = m.cfg.Store.View(ctx, func(tx *store.Tx) error {
		n, err := tx.Node(r.Node)
		if err != nil {
			return err
		}
		fenced = r.Incarnation < n.Incarnation
		old, err := tx.Observed(n.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		was, err := summarize(old.Report)
		same = was == now
		return err
	})
	return same, fenced, err
}

// stored notes that a report, which in short is this, is in the store.
func (m *Manager) stored(node string, now summary) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.vitals[node]; v != nil && m.sessions[node] != nil {
		v.last = now
	}
}
