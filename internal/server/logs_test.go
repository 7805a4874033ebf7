package server

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster"
)

// lineOf is a line of a node, at a second; 0 for one without a time.
func lineOf(node string, second int, text string) logItem {
	l := api.LogLine{Node: node, Service: "svc", Text: text}
	if second > 0 {
		at := time.Date(2026, 11, 22, 19, 0, second, 0, time.UTC)
		l.Time = &at
	}
	return logItem{line: l}
}

// TestLogsOfNodes: what nodes had is merged by time, each node's own order kept; a node
// that cannot be read says so and holds up nobody; what comes later follows.
func TestLogsOfNodes(t *testing.T) {
	ready := logItem{ready: true}
	down := logItem{line: api.LogLine{Node: "c", Notice: true, Text: "its agent is not connected to the server"}}
	var nodes []*nodeLog
	for name, items := range map[string][]logItem{
		"a": {lineOf("a", 0, "untimed"), lineOf("a", 1, "a1"), lineOf("a", 1, "\tat a1"), lineOf("a", 4, "a4"), ready, lineOf("a", 7, "a7"), lineOf("a", 7, "\tat a7")},
		"b": {lineOf("b", 2, "b2"), lineOf("b", 3, "b3"), ready, lineOf("b", 6, "b6"), lineOf("b", 8, "b8")},
		"c": {down},
	} {
		n := &nodeLog{target: cluster.Target{Name: name}, lines: make(chan logItem, nodeQueue)}
		for _, i := range items {
			n.lines <- i
		}
		close(n.lines)
		nodes = append(nodes, n)
	}
	w := httptest.NewRecorder()
	newLogWriter(w, true).all(t.Context(), nodes)
	got := strings.Split(strings.TrimSuffix(w.Body.String(), "\n"), "\n")
	// The first two have no time, and come in any order.
	first := map[string]bool{got[0]: true, got[1]: true}
	if !first["a/svc  untimed"] || !first["c  -- its agent is not connected to the server"] {
		t.Errorf("it begins with %q", got[:2])
	}
	want := []string{"a/svc  a1", "a/svc  \tat a1", "b/svc  b2", "b/svc  b3", "a/svc  a4"}
	if diff := cmp.Diff(want, got[2:7]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// On a busy machine what comes together may be written apart.
	later := map[string][]string{}
	for _, line := range got[7:] {
		later[line[:1]] = append(later[line[:1]], line)
	}
	if diff := cmp.Diff(map[string][]string{"a": {"a/svc  a7", "a/svc  \tat a7"}, "b": {"b/svc  b6", "b/svc  b8"}}, later); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLinesFromAgents: lines arrive in pieces, and name the node they come from
// whatever the agent says.
func TestLinesFromAgents(t *testing.T) {
	n := &nodeLog{target: cluster.Target{Name: "n1"}, lines: make(chan logItem, nodeQueue)}
	text := `{"node":"n1","service":"s","text":"one"}` + "\n" + `{"node":"other","service":"s","text":"two"}` + "\nno JSON\n" + `{"node":"n1","text":"three"}` + "\n"
	var rest []byte
	for i := range text {
		rest = n.putLines(t.Context(), append(rest, text[i]))
	}
	close(n.lines)
	var got []string
	for i := range n.lines {
		got = append(got, fmt.Sprint(i.line.Node, " ", i.line.Text))
	}
	if diff := cmp.Diff([]string{"n1 one", "n1 two", "n1 three"}, got); diff != "" || len(rest) != 0 {
		t.Errorf("%q is left (-want +got):\n%s", rest, diff)
	}
}
