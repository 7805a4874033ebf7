package faults

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/node/proc"
	"howdah.dev/howdah/test/e2e/harness"
)

// crashes is a home whose server ends itself at points the test chooses; see crashing.
type crashes struct {
	*harness.Home
	t       *testing.T
	api     *client.Client
	dir     string // what the server and the test tell each other
	program string
	server  *proc.Process
	lives   int // of the server, since the last count
}

func newCrashes(t *testing.T) *crashes {
	t.Helper()
	h := harness.New(t)
	program := filepath.Join(h.Files(), "howdah")
	harness.Binary(t) // what it carries is built with it
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, "./test/e2e/faults/crashing")
	cmd.Dir, cmd.Env = harness.Root(t), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build it: %v\n%s", err, out)
	}
	h.Use(program)
	c := &crashes{Home: h, t: t, api: client.New(client.Config{Socket: filepath.Join(h.Dir, "run", "api.sock")}), dir: filepath.Join(h.Files(), "crash"), program: program}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	h.Up()
	h.KillServer()
	return c
}

// live sees to it that a server runs. One that ended is started as "howdah up" does it,
// which would also wait for the operation.
func (c *crashes) live() {
	c.t.Helper()
	if c.server != nil {
		select {
		case <-c.server.Done():
		default:
			return
		}
	}
	p, err := proc.Start(proc.Spec{
		Argv: []string{c.program, "server", "--home", c.Dir}, Dir: "/", Env: c.Command().Env, Output: filepath.Join(c.Dir, "log", "server.log"),
		Labels: proc.Labels{Node: "server:" + c.Dir, Service: "server", Incarnation: time.Now().UnixNano()},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.server = p
	c.lives++
}

// arm has the server end at points that match, once at each.
func (c *crashes) arm(points string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, "armed"), []byte(points), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// disarm lets the server live.
func (c *crashes) disarm() {
	c.t.Helper()
	if err := os.Remove(filepath.Join(c.dir, "armed")); err != nil {
		c.t.Fatal(err)
	}
}

// lines are what the servers wrote to a file.
func (c *crashes) lines(name string) []string {
	data, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// forget lets the next server end where former ones did.
func (c *crashes) forget() {
	c.t.Helper()
	if c.server != nil {
		c.KillIfAlive(c.server.Record().PID)
	}
	for _, name := range []string{"met", "died"} {
		if err := os.RemoveAll(filepath.Join(c.dir, name)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// do has something asked for and waits for its end, however many servers that takes. Who
// asks does so again where no answer came, as a user would.
func (c *crashes) do(kind string, ask func(context.Context) error) api.Operation {
	c.t.Helper()
	before := c.newest()
	var o api.Operation
	harness.Within(c.t, 4*time.Minute, kind+" is done", func() (bool, string) {
		c.live()
		ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
		defer cancel()
		newest, err := c.api.Operations(ctx, "", 1)
		if err != nil {
			return false, err.Error()
		}
		if len(newest) == 0 || newest[0].ID == before {
			if err := ask(ctx); err != nil {
				return false, err.Error()
			}
			return false, "it was asked for"
		}
		o = newest[0]
		if o.State == api.OperationFailed || o.State.Final() && o.State != api.OperationDone {
			c.t.Fatalf("%s, operation %d, is %s: %s; the server ended at %v", o.Kind, o.ID, o.State, o.Reason, c.lines("died"))
		}
		return o.State == api.OperationDone, string(o.State)
	})
	if o.Kind != kind {
		c.t.Fatalf("operation %d is %s, want %s", o.ID, o.Kind, kind)
	}
	return o
}

// newest is the number of the newest operation.
func (c *crashes) newest() (id int64) {
	c.t.Helper()
	harness.Within(c.t, time.Minute, "a server answers", func() (bool, string) {
		c.live()
		all, err := c.api.Operations(c.t.Context(), "", 1)
		if err != nil {
			return false, err.Error()
		}
		if len(all) > 0 {
			id = all[0].ID
		}
		return true, ""
	})
	return id
}

func (c *crashes) create(name, definition string) {
	c.t.Helper()
	c.do("apply", func(ctx context.Context) error {
		_, err := c.api.Apply(ctx, api.File{Name: name + ".yaml", Content: definition})
		return err
	})
}

func (c *crashes) destroy(name string) {
	c.t.Helper()
	c.do("delete", func(ctx context.Context) error {
		_, err := c.api.Delete(ctx, name, name)
		return err
	})
}

// whole says that a cluster is as defined: each node and service once, nothing else.
func (c *crashes) whole(name, definition string, nodes int) {
	c.t.Helper()
	c.live()
	c.Ready(30*time.Second, name)
	st := c.Cluster(name)
	want := map[int]string{c.ServerPID(): "the server"}
	for _, n := range st.Nodes {
		want[n.AgentPID] = n.Name
		for _, s := range n.Services {
			want[s.PID] = n.Name + "/" + s.Name
			if s.Restarts != 0 {
				c.t.Errorf("%s on %s ended %d times by itself", s.Name, n.Name, s.Restarts)
			}
		}
	}
	harness.Within(c.t, 30*time.Second, "what runs is the server, and each agent and service once", func() (bool, string) {
		strange, all := "", c.Processes()
		for _, p := range all {
			if want[p.PID] == "" {
				strange += p.String() + "; "
			}
		}
		return strange == "" && len(all) == len(want) && len(want) == 1+2*nodes, strange
	})
	entries, err := os.ReadDir(filepath.Join(c.Dir, "nodes", name))
	if err != nil || len(entries) != nodes || len(st.Nodes) != nodes {
		c.t.Errorf("there are %d nodes and %d directories, want %d: %v %v", len(st.Nodes), len(entries), nodes, entries, err)
	}
	harness.Contains(c.t, "applying again", c.Apply(name, definition), "is as defined; nothing to do")
}

// gone says that nothing of a cluster is left.
func (c *crashes) gone(name string) {
	c.t.Helper()
	c.live()
	c.Fails(3, "describe", name)
	if _, err := os.Stat(filepath.Join(c.Dir, "nodes", name)); err == nil {
		c.t.Error("the nodes' directories are still there")
	}
	for _, p := range c.Processes() {
		if p.Labels.Service != "server" {
			c.t.Errorf("%s still runs", p)
		}
	}
	all, err := c.api.Operations(c.t.Context(), "", 1000)
	if err != nil {
		c.t.Fatal(err)
	}
	if n := c.Events(name)["operation.done"]; n != len(all) {
		c.t.Errorf("of %d operations %d ends were told", len(all), n)
	}
}

// TestCrashPoints has the server end before and after every commit, every attempt at a
// step and every call of the local driver in the life of one real ZooKeeper: the next
// server goes on to the next point. The short form leaves attempts and what comes before
// a commit out. The long one then makes and deletes a ZooKeeper for each point alone.
func TestCrashPoints(t *testing.T) {
	where := "^(plan|record|finish|call|update:after)"
	if os.Getenv("SOAK") != "" {
		where = "."
	}
	c := newCrashes(t)
	began := time.Now()
	creates, deletes := c.life(where, where)
	for _, want := range []string{
		"plan:before", "plan:after", "call:before:create", "call:after:create", "record:before:create-node", "record:after:create-node", "record:after:smoke", "finish:before", "finish:after",
	} {
		if !slices.Contains(creates, want) {
			t.Errorf("the server never came to %s of the apply", want)
		}
	}
	for _, want := range []string{"plan:after", "record:before:stop-node", "call:before:delete", "call:after:delete", "record:after:delete-node", "record:before:forget", "record:after:forget", "finish:after"} {
		if !slices.Contains(deletes, want) {
			t.Errorf("the server never came to %s of the delete", want)
		}
	}
	t.Logf("%d points of an apply and %d of a delete, the server ended at each once, in %.0f s and %d lives: %v, %v", len(creates), len(deletes), time.Since(began).Seconds(), c.lives, creates, deletes)
	if os.Getenv("SOAK") == "" {
		return
	}
	began = time.Now()
	first, then := 0, 0
	for i := range max(len(creates), len(deletes)) {
		made, gone := c.life(nth(creates, i), nth(deletes, i))
		first, then = first+len(made), then+len(gone)
	}
	t.Logf("each alone, in %.0f s: a ZooKeeper was made and deleted %d times; the server ended at %d of %d points of applies and %d of %d of deletes; 0 things left over",
		time.Since(began).Seconds(), max(len(creates), len(deletes)), first, len(creates), then, len(deletes))
}

// nth is a pattern for one point alone, and for none where there are no more.
func nth(points []string, i int) string {
	if i >= len(points) {
		return "^$"
	}
	return "^" + regexp.QuoteMeta(points[i]) + "$"
}

// life makes and deletes a ZooKeeper with a server that ends at points of the apply and
// the delete, and returns at which it did.
func (c *crashes) life(creating, deleting string) (creates, deletes []string) {
	c.t.Helper()
	c.forget()
	c.arm(creating)
	c.create("zk", harness.OneZooKeeper)
	c.disarm()
	c.whole("zk", harness.OneZooKeeper, 1)
	if s := c.Service("zk", "zk-server-1", "zookeeper"); s.Incarnation != 1 {
		c.t.Errorf("ZooKeeper was started %d times; the server ended at %v", s.Incarnation, c.lines("died"))
	}
	creates = c.lines("died")
	c.forget()
	c.arm(deleting)
	c.destroy("zk")
	c.disarm()
	c.gone("zk")
	return creates, c.lines("died")
}

// TestCrashSteps has the server end after the act and before the commit of each kind of
// step in the life of a warehouse of one DataNode.
func TestCrashSteps(t *testing.T) {
	const small = `
name: small
stack: hdfs
nodeGroups:
  - {name: master, roles: [hadoop_namenode], instanceNum: 1}
  - {name: worker, roles: [hadoop_datanode], instanceNum: 1, memCapacityMB: 512}
`
	c := newCrashes(t)
	began := time.Now()
	c.arm("^record:before:")
	c.create("small", small)
	c.whole("small", small, 2)
	c.Put("small", "/kept", "a line that must stay\n")
	want := []string{"artifacts", "create-node", "run-node", "smoke", "stop-node", "delete-node", "forget"}
	if os.Getenv("SOAK") != "" {
		want = append(want, "configure-node", "power-off", "power-on")
		larger := strings.Replace(small, "512", "576", 1)
		c.create("small", larger)
		c.whole("small", larger, 2)
		c.do("stop", func(ctx context.Context) error {
			_, err := c.api.Stop(ctx, "small", false)
			return err
		})
		c.do("start", func(ctx context.Context) error {
			_, err := c.api.Start(ctx, "small")
			return err
		})
		c.whole("small", larger, 2)
	}
	if got := c.HDFS("small", "-cat", "/kept"); got != "a line that must stay\n" {
		t.Errorf("the file holds %q", got)
	}
	if n := c.Events("small"); n["once.permitted"] != 1 || n["once.done"] != 1 {
		t.Errorf("formatting was permitted %d times and done %d times", n["once.permitted"], n["once.done"])
	}
	c.destroy("small")
	c.gone("small")
	died := c.lines("died")
	for _, kind := range want {
		if !slices.Contains(died, "record:before:"+kind) {
			t.Errorf("the server never came to the end of %s", kind)
		}
	}
	t.Logf("%d kinds of steps, the server ended once after each act, in %.0f s: %s", len(died), time.Since(began).Seconds(), strings.Join(died, ", "))
}
