package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Drained returns the ids of the workers that are emptied, or kept empty.
func (v View) Drained() []string { return slices.Sorted(maps.Keys(v.s.drained)) }

// OnWorker returns the ids of the instances a worker has.
func (v View) OnWorker(agentID string) []string {
	var ids []string
	for id, i := range v.s.instances {
		if i.AgentID == agentID {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Drain has the instances of a worker go elsewhere, as their upgrade strategies
// allow, and nothing new come; or, with off, lets it work again.
func (e *Engine) Drain(ctx context.Context, agentID string, off bool) error {
	return e.do(ctx, func(t *tx) error {
		if t.drained[agentID] == !off {
			return nil
		}
		next := maps.Clone(t.drained)
		if off {
			delete(next, agentID)
		} else {
			next[agentID] = true
		}
		doc, err := json.Marshal(slices.Sorted(maps.Keys(next)))
		if err != nil {
			return fmt.Errorf("cannot encode drained workers: %w", err)
		}
		t.drained, t.meta[metaDrained] = next, string(doc)
		t.freed = true
		for _, i := range t.instances.all() {
			if i.AgentID == agentID {
				t.touch(i.App)
			}
		}
		return nil
	})
}

func readDrained(doc string) (map[string]bool, error) {
	out := map[string]bool{}
	if doc == "" {
		return out, nil
	}
	var ids []string
	if err := json.Unmarshal([]byte(doc), &ids); err != nil {
		return nil, fmt.Errorf("cannot read drained workers: %w", err)
	}
	for _, id := range ids {
		out[id] = true
	}
	return out, nil
}
