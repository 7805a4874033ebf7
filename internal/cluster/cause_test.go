package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
)

var began = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// site makes clusters for scenes: node i of all has the address 10.0.0.i.
type site struct {
	clusters []api.ClusterStatus
	nodes    int
}

func (s *site) cluster(name string, links map[string]string, exports map[string]string) {
	s.clusters = append(s.clusters, api.ClusterStatus{Name: name, State: api.StateDegraded, Links: links, Exports: exports, Created: began})
}

// node adds a node with services to the newest cluster: "name:port state needs...".
func (s *site) node(services ...string) *api.NodeStatus {
	c := &s.clusters[len(s.clusters)-1]
	s.nodes++
	n := api.NodeStatus{Name: fmt.Sprintf("%s-%d", c.Name, len(c.Nodes)+1), Cluster: c.Name, Host: "h1", Address: fmt.Sprintf("10.0.0.%d", s.nodes), State: api.StateReady, Java: "17"}
	for _, text := range services {
		w := strings.Fields(text)
		name, port, _ := strings.Cut(w[0], ":")
		svc := api.ServiceStatus{Name: name, Node: n.Name, State: w[1], Since: began, Log: "/" + name + ".out", Needs: w[2:]}
		if port != "" {
			svc.Listens = []string{n.Address + ":" + port}
		}
		if svc.State != api.StateReady {
			svc.Message, n.State = "m", svc.State
		}
		n.Services = append(n.Services, svc)
	}
	c.Nodes = append(c.Nodes, n)
	return &c.Nodes[len(c.Nodes)-1]
}

// silence lets the agent of a node fall silent.
func silenced(n *api.NodeStatus) {
	at := began
	n.State, n.Message, n.LastReport = api.StateUnknown, "its agent is silent since 12:00:00", &at
	lost(n.Services, began)
}

// store is a cluster of a head and workers that need it.
func (s *site) store(name, head, worker string, workers int) {
	s.cluster(name, nil, map[string]string{"fs": fmt.Sprintf("x://10.0.0.%d:8020", s.nodes+1), "web": fmt.Sprintf("http://10.0.0.%d:9870", s.nodes+1)})
	at := fmt.Sprintf("10.0.0.%d:8020", s.nodes+1)
	s.node("head:8020 " + head)
	for range workers {
		s.node("work:1 " + worker + " " + at)
	}
}

func TestCause(t *testing.T) {
	for name, c := range map[string]struct {
		scene func(*site)
		op    *api.Operation
		want  string // cause | next | how many follow | what stands beside it
	}{
		"twenty wait for one that fails": {
			scene: func(s *site) { s.store("a", "failed", "gated", 20) },
			want:  "head on a-1 is failed: m | read its output: /head.out | 20 |",
		},
		"twenty are down with one, and one fails by itself": {
			scene: func(s *site) { s.store("a", "failed", "unhealthy", 20); s.node("other failed") },
			want:  "head on a-1 is failed: m | read its output: /head.out | 20 | other on a-22 is failed: m",
		},
		"a silent node, and what waits for its service": {
			scene: func(s *site) { s.store("a", "ready", "gated", 20); silenced(&s.clusters[0].Nodes[0]) },
			want:  "a-1: its agent is silent since 12:00:00 | look at the host h1 and the node's agent; " + mendedByItself + " | 21 |",
		},
		"all nodes of a host": {
			scene: func(s *site) {
				s.store("a", "ready", "ready", 19)
				for i := range s.clusters[0].Nodes {
					silenced(&s.clusters[0].Nodes[i])
				}
			},
			want: "host h1 is silent: the agents of all its 20 nodes are | look whether the host runs and reaches this server; " + mendedByItself + " | 40 |",
		},
		"a full disk, and what fails on it": {
			scene: func(s *site) {
				s.store("a", "failed", "failed", 4)
				s.clusters[0].Nodes[2].Conditions = []api.Condition{{Type: api.ConditionDiskPressure, Status: true, Reason: api.ReasonFull, Message: "0.1 GiB free of 9.0 GiB on the disk of /n", Since: &began}}
			},
			want: "the disk of host h1 is full: 0.1 GiB free of 9.0 GiB on the disk of /n | make room on it; what waits for room then starts by itself | 5 |",
		},
		"little room breaks nothing": {
			scene: func(s *site) {
				s.store("a", "failed", "gated", 1)
				s.clusters[0].Nodes[0].Conditions = []api.Condition{{Type: api.ConditionDiskPressure, Status: true, Reason: "LittleRoom"}}
			},
			want: "head on a-1 is failed: m | read its output: /head.out | 1 |",
		},
		"a linked cluster's head, by its gates": {
			scene: func(s *site) {
				s.cluster("b", map[string]string{"store": "a"}, nil)
				for range 20 {
					s.node("job gated 10.0.0.21:9870")
				}
				s.store("a", "failed", "gated", 3)
				s.clusters[1].Nodes[0].Services[0].Listens = []string{"10.0.0.21:8020", "10.0.0.21:9870"}
			},
			want: "head on a-1 is failed: m | read its output: /head.out; more of it: howdah explain a | 20 |",
		},
		"a linked cluster's head, by what it exports": {
			scene: func(s *site) {
				s.cluster("b", map[string]string{"store": "a"}, nil)
				for range 20 {
					s.node("job failed")
				}
				s.store("a", "failed", "gated", 3)
			},
			want: "head on a-1 is failed: m | read its output: /head.out; more of it: howdah explain a | 20 |",
		},
		"a silent node of a cluster that a linked one links to": {
			scene: func(s *site) {
				s.cluster("c", map[string]string{"x": "b"}, nil)
				s.node("top unhealthy 10.0.0.2:5")
				s.cluster("b", map[string]string{"store": "a"}, nil)
				s.node("job:5 unhealthy 10.0.0.3:8020")
				s.store("a", "ready", "ready", 3)
				silenced(&s.clusters[2].Nodes[0])
			},
			want: "a-1: its agent is silent since 12:00:00 | look at the host h1 and the node's agent; " + mendedByItself + "; more of it: howdah explain a | 1 |",
		},
		"a linked cluster that is stopped": {
			scene: func(s *site) {
				s.cluster("b", map[string]string{"store": "a"}, nil)
				s.node("job gated 10.0.0.2:8020")
				s.store("a", "stopped", "stopped", 3)
				s.clusters[1].State = api.StateStopped
			},
			want: "a is stopped | howdah start a; more of it: howdah explain a | 1 |",
		},
		"a linked cluster that only waits is no cause of a failure": {
			scene: func(s *site) {
				s.cluster("b", map[string]string{"store": "a"}, nil)
				s.node("job failed")
				s.store("a", "starting", "gated", 3)
			},
			want: "job on b-1 is failed: m | read its output: /job.out | 0 |",
		},
		"two that wait for one another": {
			scene: func(s *site) {
				s.cluster("a", nil, nil)
				s.node("x:1 gated 10.0.0.2:1")
				s.node("y:1 unhealthy 10.0.0.1:1")
			},
			want: "y on a-2 is unhealthy: m | read its output: /y.out | 1 |",
		},
		"a chain": {
			scene: func(s *site) {
				s.cluster("a", nil, nil)
				s.node("x:1 starting 10.0.0.2:1")
				s.node("y:1 gated 10.0.0.3:1")
				s.node("z:1 blocked")
			},
			want: "z on a-3 is blocked: m | read its output: /z.out | 2 |",
		},
		"an unknown port of a node that fails": {
			scene: func(s *site) { s.cluster("a", nil, nil); s.node("x gated 10.0.0.2:77"); s.node("y:1 failed") },
			want:  "y on a-2 is failed: m | read its output: /y.out | 1 |",
		},
		"a port that is well, beside a service that fails": {
			scene: func(s *site) {
				s.cluster("a", nil, nil)
				s.node("x gated 10.0.0.2:1")
				s.node("y:1 ready", "z:2 failed")
			},
			want: "z on a-2 is failed: m | read its output: /z.out | 0 | x on a-1 is gated: m",
		},
		"one that gives up what it holds": {
			scene: func(s *site) {
				s.store("a", "ready", "ready", 1)
				s.clusters[0].Nodes[1].Services[0].Message = "draining: it is empty: not yet"
			},
			op:   &api.Operation{ID: 7, Kind: "apply", State: api.OperationRunning, Steps: []api.Step{{ID: 1, Title: "drain a-2", State: api.StepWaiting, Waiting: "work"}}},
			want: "work on a-2 is ready: draining: it is empty: not yet | it goes on; look again with: howdah explain a | 1 |",
		},
		"data is missing": {
			scene: func(s *site) {
				s.store("a", "blocked", "gated", 1)
				s.clusters[0].Nodes[0].Services[0].Conditions = []api.Condition{{Type: api.ConditionDataMissing, Status: true}}
			},
			want: "head on a-1 is blocked: m | put the missing directory back; it is never made anew over data that may still exist | 1 |",
		},
		"an operation that waits for what fails": {
			scene: func(s *site) { s.store("a", "failed", "gated", 2) },
			op: &api.Operation{ID: 7, Kind: "apply", State: api.OperationRunning, Steps: []api.Step{
				{ID: 1, Title: "bring up a-1", State: api.StepWaiting, Waiting: "head"}, {ID: 2, Title: "make a-9", State: api.StepDoing},
			}},
			want: "head on a-1 is failed: m | read its output: /head.out | 3 | make a-9 is under way",
		},
		"an operation that failed at what fails": {
			scene: func(s *site) { s.store("a", "failed", "gated", 2) },
			op:    &api.Operation{ID: 7, Kind: "apply", State: api.OperationFailed, Reason: "late", Steps: []api.Step{{ID: 1, Title: "bring up a-1", State: api.StepFailed, Error: "late"}}},
			want:  "head on a-1 is failed: m | read its output: /head.out; then: howdah op retry 7, or give up: howdah op abandon 7 | 2 | bring up a-1 failed: late",
		},
		"an operation that failed, and what waits for it": {
			scene: func(s *site) {
				s.cluster("a", nil, nil)
				s.node()
				s.clusters[0].Nodes[0].State, s.clusters[0].Nodes[0].Message = api.StateJoining, "its agent has not joined yet"
			},
			op:   &api.Operation{ID: 7, Kind: "apply", State: api.OperationFailed, Reason: "make a-1: no quota"},
			want: "operation 7 (apply) failed: make a-1: no quota | mend it and: howdah op retry 7    or give up: howdah op abandon 7 | 0 | a-1: its agent has not joined yet",
		},
		"nothing but the test": {
			scene: func(s *site) {
				s.cluster("a", nil, nil)
				s.node("x ready")
				s.clusters[0].Message = "it has not passed its test yet"
			},
			want: "it has not passed its test yet | howdah smoke a | 0 |",
		},
		"stopped before its test": {
			scene: func(s *site) {
				s.cluster("a", nil, nil)
				s.node("x ready")
				s.clusters[0].State, s.clusters[0].Message = api.StateStopped, "it was stopped before it had passed its test"
			},
			want: "it was stopped before it had passed its test | howdah start a | 0 |",
		},
		"a deletion that was given up": {
			scene: func(s *site) {
				s.cluster("a", nil, nil)
				s.node("x ready")
				s.clusters[0].Message = deletionGivenUp
			},
			want: "its deletion was given up: it is to be gone on with or taken back | howdah delete a    or take it back: howdah start a | 0 |",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &site{}
			c.scene(s)
			e := &explainer{st: s.clusters[0], op: c.op, now: began}
			e.explain(newScene(e.st.Name, s.clusters))
			if e.cause == nil {
				t.Fatalf("no cause: %+v", e.out)
			}
			var beside []string
			for _, f := range e.out[3:] {
				if f.Kind == "because" {
					beside = append(beside, f.Message)
				}
			}
			got := strings.TrimSpace(fmt.Sprintf("%s | %s | %d | %s", e.cause.Message, e.cause.Next, e.cause.Follows, strings.Join(beside, "; ")))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if e.out[0].Kind != "is" || e.out[1].Kind != "cause" || e.out[2].Kind != "next" {
				t.Errorf("the chain begins with %+v", e.out[:3])
			}
		})
	}
}

// TestOfNodes: nodes with the same condition are named together; what is well
// is not shown, what is not known is.
func TestOfNodes(t *testing.T) {
	node := func(name string, cs ...api.Condition) api.NodeStatus {
		return api.NodeStatus{Name: name, Conditions: cs}
	}
	low := api.Condition{Type: api.ConditionDiskPressure, Status: true, Reason: "LittleRoom", Message: "1.0 GiB free"}
	fine := api.Condition{Type: api.ConditionDiskPressure, Reason: "Enough"}
	deaf := api.Condition{Type: api.ConditionNameResolution, Reason: "NotResolved", Message: "x does not resolve"}
	blind := api.Condition{Type: api.ConditionMemoryPressure, Reason: api.ReasonUnknown, Message: "no answer"}
	var nodes []api.NodeStatus
	for i := range 7 {
		nodes = append(nodes, node(fmt.Sprintf("w%d", i+1), low, deaf))
	}
	nodes = append(nodes, node("w8", fine, blind))
	want := []api.Condition{
		{Type: api.ConditionDiskPressure, Status: true, Reason: "LittleRoom", Message: "w1, w2, w3, w4, w5 and 2 more: 1.0 GiB free"},
		{Type: api.ConditionNameResolution, Reason: "NotResolved", Message: "w1, w2, w3, w4, w5 and 2 more: x does not resolve"},
		{Type: api.ConditionMemoryPressure, Reason: api.ReasonUnknown, Message: "w8: no answer"},
	}
	if diff := cmp.Diff(want, ofNodes(nodes)); diff != "" {
		t.Error(diff)
	}
}
