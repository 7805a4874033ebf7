// Package bench holds benchmarks of what has to be fast as platforms grow:
// rendering, planning, and the journal of operations. bench/run takes the
// figures of a running platform.
package bench

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/definition"
	"howdah.dev/howdah/internal/place"
	"howdah.dev/howdah/internal/plan"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
)

// BenchmarkRender renders the assignment of one node, as the server does when
// anything about it changes.
func BenchmarkRender(b *testing.B) {
	for _, workers := range []int{3, 99} {
		w := warehouse(b, workers)
		res := planned(b, w, plan.Have{})
		for _, node := range []string{"warehouse-master-1", "warehouse-worker-1"} {
			b.Run(fmt.Sprintf("nodes=%d/%s", workers+1, node), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r := stack.NewRenderer(w.Stack, &res.Revision, nil)
					if _, err := r.Assignment(node, host(node)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkPlan plans a cluster of 100 nodes: new; once more with nothing to do,
// which renders every node twice; and with one node added.
func BenchmarkPlan(b *testing.B) {
	w := warehouse(b, 99)
	first := planned(b, w, plan.Have{})
	rev := first.Revision
	rev.Number = 1
	have := plan.Have{Revision: &rev, Stack: w.Stack, Ordinals: map[string]int{"master": 2, "worker": 100}}
	for _, m := range rev.Members {
		h := host(m.Name)
		have.Nodes = append(have.Nodes, plan.Node{Member: m, Intent: agentapi.IntentRun, Host: &h, Revision: &rev, Stack: w.Stack})
	}
	for _, tt := range []struct {
		name    string
		workers int
		have    plan.Have
		changed bool
	}{
		{"new", 99, plan.Have{}, true},
		{"unchanged", 99, have, false},
		{"one more", 100, have, true},
	} {
		b.Run(tt.name, func(b *testing.B) {
			w := warehouse(b, tt.workers)
			if res := planned(b, w, tt.have); res.Changed != tt.changed || len(res.Revision.Members) != tt.workers+1 {
				b.Fatalf("the plan has %d nodes, changed %v", len(res.Revision.Members), res.Changed)
			}
			b.ReportAllocs()
			for b.Loop() {
				planned(b, w, tt.have)
			}
		})
	}
}

// BenchmarkStep commits a step's transition with its event to a database on
// disk, as the engine does: by one writer, and by many whose commits group.
func BenchmarkStep(b *testing.B) {
	for _, writers := range []int{1, 32} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			st, err := store.Open(context.Background(), store.Config{Path: filepath.Join(b.TempDir(), "db")})
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := st.Close(); err != nil {
					b.Error(err)
				}
			}()
			steps := journal(b, st, writers)
			if writers == 1 {
				for b.Loop() {
					transition(b, st, &steps[0])
				}
			} else {
				todo := make(chan store.Step, writers)
				for _, s := range steps {
					todo <- s
				}
				b.SetParallelism(writers) // for each core; those without a step wait for one
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						s := <-todo
						transition(b, st, &s)
						todo <- s
					}
				})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "transitions/s")
		})
	}
}

// journal stores an operation with as many steps.
func journal(b *testing.B, st *store.Store, n int) []store.Step {
	b.Helper()
	steps := make([]store.Step, n)
	err := st.Update(context.Background(), func(tx *store.Tx) error {
		id, err := tx.InsertOperation(store.Operation{Cluster: "id", Name: "warehouse", Kind: "apply", State: api.OperationRunning, Args: "{}"})
		for i := range steps {
			if err != nil {
				return err
			}
			steps[i] = store.Step{Operation: id, Kind: "run-node", Title: "bring up a node", Phase: "services", State: api.StepTodo, Key: fmt.Sprint("key ", i), Args: "{}"}
			steps[i].ID, err = tx.InsertStep(steps[i])
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return steps
}

// transition moves a step on, between doing and waiting.
func transition(b *testing.B, st *store.Store, s *store.Step) {
	err := st.Update(context.Background(), func(tx *store.Tx) error {
		now := tx.Now()
		s.State, s.Started, s.Tries = api.StepDoing, &now, s.Tries+1
		if s.Tries%2 == 0 {
			s.State, s.Waiting = api.StepWaiting, "the agent to join"
		}
		if err := tx.UpdateStep(*s); err != nil {
			return err
		}
		return tx.Event(api.Event{Type: "step.waiting", Cluster: "warehouse", Operation: s.Operation, Message: s.Title})
	})
	if err != nil {
		b.Error(err)
	}
}

// warehouse is the wish for a cluster of the hdfs stack.
func warehouse(b *testing.B, workers int) plan.Want {
	b.Helper()
	catalog, ds := stack.LoadCatalog(stack.Layer{Name: "stacks", FS: os.DirFS("../stacks")})
	if len(ds) > 0 {
		b.Fatal(ds)
	}
	parsed, ds := definition.Read("bench.yaml", fmt.Appendf(nil, `
name: warehouse
stack: hdfs
nodeGroups:
  - {name: master, roles: [hadoop_namenode], instanceNum: 1}
  - {name: worker, roles: [hadoop_datanode], instanceNum: %d}
`, workers))
	if len(ds) > 0 {
		b.Fatal(ds)
	}
	cs, ds := definition.Complete(parsed, definition.World{Stacks: catalog, Infrastructures: []string{"local"}, OpenPorts: true})
	if len(ds) > 0 {
		b.Fatal(ds)
	}
	return plan.Want{ClusterID: "id", Cluster: cs[0].Cluster, Stack: cs[0].Stack}
}

func planned(b *testing.B, w plan.Want, have plan.Have) plan.Result {
	b.Helper()
	space := place.Space{Hosts: []place.Host{{Name: "host", MemoryMB: 1 << 20, CPUs: 128}}, Addresses: netip.MustParsePrefix("127.77.1.0/24"), First: 10}
	for _, n := range have.Nodes {
		space.Used = append(space.Used, place.Used{Host: n.Member.Host, MemoryMB: n.Member.MemoryMB, Address: n.Member.Address})
	}
	res, ds := plan.Compute(w, have, space)
	if ds.HasErrors() {
		b.Fatal(ds)
	}
	return res
}

// host is where everything of these benchmarks seems to run.
func host(node string) stack.Host {
	return stack.Host{
		User: "owner", Dir: "/nodes/" + node, Cache: "/cache",
		Java: agentapi.Java{Home: "/jdk", Bin: "/jdk/bin/java", Major: 17, Version: "17.0.1", Key: "jdk-17"},
	}
}
