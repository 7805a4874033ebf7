package proc

import "testing"

func TestMatches(t *testing.T) {
	task := Labels{Node: "n", Service: "worker/task-1", Incarnation: 1}
	for _, c := range []struct {
		match, have Labels
		want        bool
	}{
		{Labels{Node: "n"}, task, true},
		{Labels{Node: "m"}, task, false},
		{Labels{Node: "n", Incarnation: 2}, task, false},
		{Labels{Node: "n", Service: "worker"}, task, true},
		{Labels{Node: "n", Service: "worker", Incarnation: 7}, task, true},
		{Labels{Node: "n", Service: "work"}, task, false},
		{Labels{Node: "n", Service: "worker/task-1"}, task, true},
		{Labels{Node: "n", Service: "worker/task-1"}, Labels{Node: "n", Service: "worker/task-12"}, false},
		{Labels{Node: "n", Service: "worker/task-1"}, Labels{Node: "n", Service: "worker"}, false},
		{Labels{Node: "n", Service: "worker", Incarnation: 7}, Labels{Node: "n", Service: "worker", Incarnation: 6}, false},
		{Labels{Node: "n", Service: "worker"}, Labels{Node: "n", Service: "worker", Incarnation: 6}, true},
	} {
		if got := c.match.Matches(c.have); got != c.want {
			t.Errorf("%s matches %s: %v", c.match, c.have, got)
		}
	}
}
