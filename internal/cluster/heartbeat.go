package cluster

import (
	"crypto/sha256"
	"encoding/json"

	"howdah.dev/howdah/internal/agentapi"
)

// summary is a report in short, by which the next one is known to be no news: thousands
// of nodes say every few seconds that nothing has changed, and that must cost no look
// into the store.
type summary struct {
	incarnation int64
	sum         [sha256.Size]byte
}

// summarize puts a report in short: without its number, and what is not kept of it.
func summarize(r agentapi.Report) (summary, error) {
	r.Sequence = 0
	data, err := json.Marshal(normal(withoutProbes(r)))
	return summary{r.Incarnation, sha256.Sum256(data)}, err
}

// heartbeat reports whether a report says what the last one said, of the agent that has
// the node's stream; then it is heard.
func (m *Manager) heartbeat(r agentapi.Report) bool {
	now, err := summarize(r)
	if err != nil {
		return false
	}
	m.mu.Lock()
	s, v := m.sessions[r.Node], m.vitals[r.Node]
	same := s != nil && s.incarnation == r.Incarnation && v != nil && v.last == now
	m.mu.Unlock()
	return same && !m.hear(r)
}

// stored notes that a report is in the store.
func (m *Manager) stored(r agentapi.Report) {
	now, err := summarize(r)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.vitals[r.Node]; v != nil && m.sessions[r.Node] != nil {
		v.last = now
	}
}
