package stack_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/definition"
	"howdah.dev/howdah/internal/golden"
	"howdah.dev/howdah/internal/place"
	"howdah.dev/howdah/internal/plan"
	"howdah.dev/howdah/internal/stack"
)

// builtin loads the stacks of the repository.
func builtin(t testing.TB) *stack.Catalog {
	t.Helper()
	c, ds := stack.LoadCatalog(stack.Layer{Name: "stacks", FS: os.DirFS("../../stacks")})
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	return c
}

// host is where everything of these tests seems to run.
func host(node string) stack.Host {
	return stack.Host{
		User: "owner", Dir: "/nodes/" + node, Cache: "/cache",
		Program: "/bin/howdah", API: "http://127.77.1.1:7070",
		Java: agentapi.Java{Home: "/jdk", Bin: "/jdk/bin/java", Major: 17, Version: "17.0.1", Key: "jdk-17"},
	}
}

// ensemble is beside the example platform: it has what that has not, several
// members, user configuration of a cluster and of a group.
const ensemble = `
name: ensemble
stack: zookeeper
configuration: {zookeeper: {zoo.cfg: {tickTime: 1500, maxClientCnxns: 60}}}
nodeGroups:
  - name: server
    roles: [zookeeper]
    instanceNum: 3
    configuration: {zookeeper: {zoo.cfg: {tickTime: 1000, quorumListenOnAllIPs: false}}}
`

// platform plans the clusters of the example platform on an empty host.
func platform(t testing.TB) map[string]*stack.Renderer {
	t.Helper()
	data, err := os.ReadFile("../../examples/platform/platform.yaml")
	if err != nil {
		t.Fatal(err)
	}
	parsed, ds := definition.Read("platform.yaml", data)
	more, ds2 := definition.Read("ensemble.yaml", []byte(ensemble))
	if len(ds)+len(ds2) > 0 {
		t.Fatal(ds, ds2)
	}
	parsed = append(parsed, more...)
	cs, ds := definition.Complete(parsed, definition.World{Stacks: builtin(t), Infrastructures: []string{"local"}, OpenPorts: true})
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	space := place.Space{Hosts: []place.Host{{Name: "host", MemoryMB: 64 << 10, CPUs: 8}}, Addresses: netip.MustParsePrefix("127.77.1.0/24"), First: 10}
	out := map[string]*stack.Renderer{}
	for _, c := range cs {
		links := map[string]map[string]string{}
		for name, to := range c.Cluster.Links {
			ex, err := out[to].Exports()
			if err != nil {
				t.Fatal(err)
			}
			ex["cluster"] = to
			links[name] = ex
		}
		res, ds := plan.Compute(plan.Want{ClusterID: "id-of-" + c.Cluster.Name, Cluster: c.Cluster, Stack: c.Stack, Links: links}, plan.Have{}, space)
		if len(ds) > 0 {
			t.Fatal(ds)
		}
		for _, m := range res.Revision.Members {
			space.Used = append(space.Used, place.Used{Host: m.Host, MemoryMB: m.MemoryMB, Address: m.Address})
		}
		rev := res.Revision
		out[c.Cluster.Name] = stack.NewRenderer(c.Stack, &rev, nil)
	}
	return out
}

// shorten puts names where digests and class paths stand: they change with
// every lock, and the locks have tests of their own.
func shorten(s *stack.Stack, text string) string {
	var pairs []string
	for _, l := range s.Locks() {
		root := artifact.SetRoot("/cache", l.ID())
		for _, name := range slices.Sorted(maps.Keys(s.Classpaths)) {
			if cp := s.Classpaths[name]; s.Lock(cp.Set) == l {
				pairs = append(pairs, strings.Join(l.Classpath(root, cp.Dirs...), ":"), "<class path "+name+">")
			}
		}
	}
	for _, l := range s.Locks() {
		pairs = append(pairs, l.ID(), "<"+l.Name+">")
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func pretty(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// files moves the files of a rendering into an archive, each readable.
func files(ar *golden.Archive, root string, fs []agentapi.File) {
	for _, f := range fs {
		name := strings.TrimPrefix(f.Path, root)
		ar.Add(fmt.Sprintf("%s (%s)", name, f.OnChange), f.Content)
	}
}

// TestRenderedPlatform holds every file, command, probe and limit that the
// example platform runs with.
func TestRenderedPlatform(t *testing.T) {
	stacks := builtin(t)
	definitions := map[string]string{"warehouse": "hdfs", "batch": "yarn", "stream": "storm", "cell": "mesos", "ensemble": "zookeeper"}
	for cluster, r := range platform(t) {
		s, _ := stacks.Get(definitions[cluster])
		for _, m := range members(t, cluster) {
			as, err := r.Assignment(m, host(m))
			if err != nil {
				t.Fatal(err)
			}
			ar := &golden.Archive{}
			for i := range as.Services {
				svc := as.Services[i]
				rendered := svc.Files
				svc.Files, svc.RestartKey = nil, ""
				ar.Add(svc.Name, pretty(t, svc))
				files(ar, "/nodes/"+m+"/", rendered)
			}
			as.Services = nil
			for i := range as.Archives {
				as.Archives[i].Classpath = []string{strings.Join(as.Archives[i].Classpath, ":")}
			}
			for i := range as.Sets {
				as.Sets[i].LockBlob = ""
			}
			ar.Add("assignment", pretty(t, as))
			golden.Compare(t, "golden/"+cluster+"/"+m+".txtar", shorten(s, ar.String()))
		}
	}
}

// members names the nodes of a cluster of these tests.
func members(t *testing.T, cluster string) []string {
	t.Helper()
	out, ok := map[string][]string{
		"warehouse": {"warehouse-master-1", "warehouse-worker-1", "warehouse-worker-2", "warehouse-worker-3"},
		"batch":     {"batch-master-1", "batch-worker-1", "batch-worker-2"},
		"stream":    {"stream-coordination-1", "stream-master-1", "stream-worker-1", "stream-worker-2"},
		"cell":      {"cell-master-1", "cell-worker-1", "cell-worker-2"},
		"ensemble":  {"ensemble-server-1", "ensemble-server-2", "ensemble-server-3"},
	}[cluster]
	if !ok {
		t.Fatalf("no cluster %s here", cluster)
	}
	return out
}

// TestRenderedTools holds what clients, tests and submissions run with.
func TestRenderedTools(t *testing.T) {
	stacks := builtin(t)
	for _, tt := range []struct{ cluster, stack, workload string }{
		{"warehouse", "hdfs", ""}, {"batch", "yarn", "job"}, {"stream", "storm", "topology"}, {"cell", "mesos", ""}, {"ensemble", "zookeeper", ""},
	} {
		s, _ := stacks.Get(tt.stack)
		r := platform(t)[tt.cluster]
		first := members(t, tt.cluster)[0]
		if tt.cluster == "stream" {
			first = "stream-master-1"
		}
		ar := &golden.Archive{}
		add := func(name string, v any) { ar.Add(name, pretty(t, v)) }
		ex, err := r.Exports()
		if err != nil {
			t.Fatal(err)
		}
		add("exports", ex)
		if s.Client != nil {
			cl, err := r.Client("/client", host(first))
			if err != nil {
				t.Fatal(err)
			}
			rendered := cl.Files
			cl.Files = nil
			add("client", cl)
			files(ar, "/client/", rendered)
		}
		smoke, err := r.SmokeTask(first, host(first), "RUN", "/tasks/RUN")
		if err != nil {
			t.Fatal(err)
		}
		rendered := smoke.Files
		smoke.Files = nil
		add("smoke", smoke)
		files(ar, "/tasks/RUN/", rendered)
		if tt.workload != "" {
			bound, err := r.Workload(tt.workload)
			if err != nil {
				t.Fatal(err)
			}
			add("workload", bound)
			task, err := r.SubmitTask(tt.workload, first, host(first), "RUN", "/tasks/RUN", stack.Submission{
				Name: "mine", Jar: "/tasks/RUN/mine.jar", Main: "org.example.Main", Args: []string{"a b", "$c"}, File: "/tasks/RUN/flux.yaml", Properties: "/tasks/RUN/p",
			})
			if err != nil {
				t.Fatal(err)
			}
			task.Files = nil
			add("submission", task)
			logs, err := r.WorkloadLogs(tt.workload, "id-1")
			if err == nil {
				add("logs", logs)
			}
		}
		golden.Compare(t, "golden/"+tt.cluster+"/tools.txtar", shorten(s, ar.String()))
	}
}
