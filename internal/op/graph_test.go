package op

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/store"
)

// TestGraph: in whatever order steps end, and wherever the rows are read again in
// between, each step begins once, after all it comes after, and none is left over.
func TestGraph(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rows []store.Step
		for i := range rapid.IntRange(1, 12).Draw(t, "steps") {
			s := store.Step{ID: int64(i + 1), State: api.StepTodo}
			for a := range i {
				if rapid.Bool().Draw(t, "after") {
					s.After = append(s.After, int64(a+1))
				}
			}
			rows = append(rows, s)
		}
		var g *graph
		begun := map[int64]bool{}
		var flying []int64
		begin := func(steps []store.Step) {
			for _, s := range steps {
				if begun[s.ID] {
					t.Fatalf("step %d begins twice", s.ID)
				}
				for _, a := range s.After {
					if rows[a-1].State != api.StepDone {
						t.Fatalf("step %d begins before %d is done", s.ID, a)
					}
				}
				begun[s.ID] = true
				flying = append(flying, s.ID)
			}
		}
		read := func(from []store.Step) {
			from = slices.DeleteFunc(slices.Clone(from), func(s store.Step) bool { return s.State == api.StepDone })
			g = newGraph(store.Operation{}, from, g)
			for _, s := range survey(from).ready {
				if !begun[s.ID] {
					begin([]store.Step{s})
				}
				delete(g.todo, s.ID)
			}
		}
		read(slices.Clone(rows))
		for len(flying) > 0 {
			i := rapid.IntRange(0, len(flying)-1).Draw(t, "ends")
			id := flying[i]
			flying = slices.Delete(flying, i, i+1)
			seen := slices.Clone(rows) // as a reader has them that is late
			rows[id-1].State = api.StepDone
			begin(g.end(id))
			if rapid.Bool().Draw(t, "read again") {
				read(seen)
			}
		}
		if len(begun) != len(rows) {
			t.Fatalf("%d of %d steps began", len(begun), len(rows))
		}
	})
}
