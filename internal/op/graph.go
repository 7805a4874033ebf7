package op

import (
	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/store"
)

// graph is which steps of an operation come after which. It is made from the rows
// and kept up by the engine's own steps, so that the end of one costs no look at all
// the others.
type graph struct {
	stale   bool // a step ended otherwise than done: the rows are to be looked at again
	op      store.Operation
	next    map[int64][]int64    // steps that come after one
	missing map[int64]int        // how many a step not begun still comes after
	todo    map[int64]store.Step // steps not begun
	done    map[int64]struct{}   // steps that were seen to be done; handed on from graph to graph
}

// newGraph makes the graph of steps as they were read, those that are done left out.
// What the one before it saw end meanwhile has ended here too: a step done is never
// anything else again.
func newGraph(o store.Operation, left []store.Step, before *graph) *graph {
	g := &graph{op: o, next: map[int64][]int64{}, missing: map[int64]int{}, todo: map[int64]store.Step{}, done: map[int64]struct{}{}}
	if before != nil {
		g.done = before.done
	}
	open := make(map[int64]bool, len(left))
	for _, s := range left {
		_, done := g.done[s.ID]
		open[s.ID] = !done && s.State != api.StepSkipped
	}
	for _, s := range left {
		if s.State != api.StepTodo {
			continue
		}
		g.todo[s.ID] = s
		for _, a := range s.After {
			if open[a] {
				g.next[a] = append(g.next[a], s.ID)
				g.missing[s.ID]++
			}
		}
	}
	return g
}

// end notes that a step is done and returns those that may begin now.
func (g *graph) end(step int64) []store.Step {
	g.done[step] = struct{}{}
	var free []store.Step
	for _, id := range g.next[step] {
		if g.missing[id]--; g.missing[id] == 0 {
			free = append(free, g.todo[id])
			delete(g.todo, id)
			delete(g.missing, id)
		}
	}
	delete(g.next, step)
	return free
}
