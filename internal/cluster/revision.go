package cluster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// maxRevisions bounds how many revisions are kept in memory.
const maxRevisions = 256

type revisionKey struct {
	cluster string
	number  int64
}

// known is a revision as it was read once: a revision never changes. Its renderer is
// that of the last question.
type known struct {
	rev      *stack.Revision
	renderer *stack.Renderer
	leaving  string // what the renderer knows of nodes that leave
}

// revision reads a revision and its stack. Both are shared: nobody may change them.
func (m *Manager) revision(tx *store.Tx, cluster string, number int64) (*stack.Revision, *stack.Stack, error) {
	rev, err := m.document(tx, cluster, number)
	if err != nil {
		return nil, nil, err
	}
	s, err := m.stackByDigest(tx, rev.StackDigest)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot load the stack of %s: %w", rev.Cluster.Name, err)
	}
	return rev, s, nil
}

// document reads a revision. What a transaction that writes sees may never be
// committed, so only the others add to what is kept.
func (m *Manager) document(tx *store.Tx, cluster string, number int64) (*stack.Revision, error) {
	key := revisionKey{cluster, number}
	m.mu.Lock()
	k := m.revisions[key]
	m.mu.Unlock()
	if k != nil {
		return k.rev, nil
	}
	rev := &stack.Revision{}
	if err := tx.Revision(cluster, number, rev); err != nil {
		return nil, err
	}
	rev.Number = number
	if !tx.ReadOnly() {
		return rev, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.revisions[key]; k != nil {
		return k.rev, nil
	}
	if len(m.revisions) >= maxRevisions {
		clear(m.revisions) // those in use come back
	}
	m.revisions[key] = &known{rev: rev}
	return rev, nil
}

// errUnread is returned where a revision has to be read before it is needed.
var errUnread = errors.New("the revision has not been read yet")

// hasRead reports whether a revision is in memory.
func (m *Manager) hasRead(cluster string, number int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.revisions[revisionKey{cluster, number}] != nil
}

// rendererOf returns a renderer of a revision; present is as stack.NewRenderer takes it.
func (m *Manager) rendererOf(rev *stack.Revision, s *stack.Stack, present map[string]bool) *stack.Renderer {
	leaving := strings.Join(slices.Sorted(maps.Keys(present)), " ")
	if present == nil && len(rev.Leaving) > 0 {
		leaving = "all"
	}
	m.mu.Lock()
	k := m.revisions[revisionKey{rev.ClusterID, rev.Number}]
	if k != nil && k.rev == rev && k.renderer != nil && k.leaving == leaving {
		defer m.mu.Unlock()
		return k.renderer
	}
	m.mu.Unlock()
	r := stack.NewRenderer(s, rev, present)
	m.mu.Lock()
	defer m.mu.Unlock()
	if k != nil && k.rev == rev {
		k.renderer, k.leaving = r, leaving
	}
	return r
}

// leavingNodes returns which of the nodes that a revision takes away are still there,
// by name: they are in the renderings of the others.
func leavingNodes(tx *store.Tx, rev *stack.Revision) (map[string]bool, error) {
	out := map[string]bool{}
	for _, l := range rev.Leaving {
		there, err := tx.HasNode(l.ID)
		if err != nil {
			return nil, err
		}
		if there {
			out[l.Name] = true
		}
	}
	return out, nil
}
