package cell

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"howdah.dev/howdah/test/e2e/harness"
)

// TestCrashes ends everything that takes part in running apps, one after the
// other, and looks at the processes of the tasks.
func TestCrashes(t *testing.T) {
	c := newCell(t)
	c.pack("hello:1")
	c.run("/steady", `{"instances": 3}`)
	c.run("/shell", `{"container": null, "networks": null, "args": null, "cmd": "exec sleep 10000"}`)
	for _, s := range []struct {
		name string
		run  func(*cell)
	}{
		{"scheduler", killScheduler},
		{"master", killMaster},
		{"workers", killWorkers},
		{"task's end while its worker is away", endUnseen},
		{"shim", killShim},
		{"node agents", killAgents},
		{"server stopped", serverStopped},
		{"all programs", killPrograms},
		{"everything", killEverything},
		{"down and up", downUp},
		{"deleted", deleted},
	} {
		t.Run(s.name, func(t *testing.T) { s.run(c.with(t)) })
	}
}

// pids are the first processes of the tasks that run, by task: those below a shim.
func (c *cell) pids() map[string]int {
	c.t.Helper()
	out := map[string]int{}
	dirs, _ := os.ReadDir("/proc")
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || !c.ofShim(parent(pid)) {
			continue
		}
		text, _ := os.ReadFile(filepath.Join("/proc", d.Name(), "environ"))
		for v := range strings.SplitSeq(string(text), "\x00") {
			if id, ok := strings.CutPrefix(v, "MESOS_TASK_ID="); ok && harness.Alive(pid) {
				if other, twice := out[id]; twice && !slices.Contains([]int{parent(pid), pid}, other) {
					c.t.Errorf("task %s runs twice: pids %d and %d", id, other, pid)
				}
				out[id] = pid
			}
		}
	}
	return out
}

// ofShim tells whether a process is a shim of the home, or one of its Docker engine.
func (c *cell) ofShim(pid int) bool {
	line := harness.CommandLine(pid)
	return c.engine != "" && strings.Contains(line, "containerd-shim") && strings.Contains(line, c.engine) || strings.HasPrefix(line, "howdah-shim run "+c.Dir+"/")
}

func parent(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	if f := strings.Fields(rest); len(f) > 1 {
		n, _ := strconv.Atoi(f[1])
		return n
	}
	return 0
}

// programs are the pids of the cell's programs of a name.
func (c *cell) programs(name string) []int {
	c.t.Helper()
	var out []int
	for _, p := range c.Processes() {
		if strings.Contains(harness.CommandLine(p.PID), " cell "+name+" ") {
			out = append(out, p.PID)
		}
	}
	if len(out) == 0 {
		c.t.Fatalf("no %s of the cell runs", name)
	}
	return out
}

// steady is what both apps look like when all is well; it waits for that, and for
// the API to say what the kernel says.
func (c *cell) steady() map[string]int {
	c.t.Helper()
	var pids map[string]int
	harness.Within(c.t, 60*time.Second, "both apps run as they are to", func() (bool, string) {
		a, b := c.app("/steady"), c.app("/shell")
		pids = c.pids()
		known := append(ids(a), ids(b)...)
		ok := a.running() == 3 && b.running() == 1 && len(known) == 4 && len(pids) == 4
		for _, id := range known {
			ok = ok && pids[id] != 0
		}
		return ok, fmt.Sprintf("tasks %v, processes %v", known, pids)
	})
	return pids
}

// unchanged does something to the cell that tasks must not notice.
func (c *cell) unchanged(what string, do func()) {
	c.t.Helper()
	before := c.steady()
	do()
	c.Ready(60*time.Second, "cell")
	if after := c.steady(); fmt.Sprint(after) != fmt.Sprint(before) {
		c.t.Errorf("after %s the tasks are %v, they were %v", what, after, before)
	}
	// And the cell works: it can do something new.
	c.run("/new", `{}`)
	c.delete("/v2/apps/new")
}

func killScheduler(c *cell) {
	c.unchanged("the scheduler's death", func() { c.Kill(c.programs("scheduler")...) })
}

func killMaster(c *cell) {
	c.unchanged("the master's death", func() { c.Kill(c.programs("master")...) })
}

func killWorkers(c *cell) {
	c.unchanged("the workers' death", func() { c.Kill(c.programs("worker")...) })
}

func killAgents(c *cell) {
	c.unchanged("the node agents' death", func() {
		for _, p := range c.Processes() {
			if strings.Contains(harness.CommandLine(p.PID), " agent --dir ") {
				c.Kill(p.PID)
			}
		}
	})
}

func killPrograms(c *cell) {
	c.unchanged("the death of all programs of the cell", func() {
		c.Kill(slices.Concat(c.programs("scheduler"), c.programs("master"), c.programs("worker"))...)
	})
}

// serverStopped: apps are deployed and tasks replaced while the server is away.
func serverStopped(c *cell) {
	before := c.steady()
	c.KillServer()
	c.run("/alone", `{"instances": 2}`)
	c.put("/alone", `{"instances": 2, "env": {"V": "2"}}`)
	c.settled("/alone")
	c.delete("/v2/apps/alone")
	if after := c.steady(); fmt.Sprint(after) != fmt.Sprint(before) {
		c.t.Errorf("without the server the tasks are %v, they were %v", after, before)
	}
	c.Up()
	c.Ready(30*time.Second, "cell")
}

// endUnseen: a task that ends while its worker is away has its true exit code.
func endUnseen(c *cell) {
	for _, x := range []struct{ id, fields, want string }{
		{"/ends", `{"args": ["listen", "8080", "sleep", "1500", "exit", "42"], "backoffSeconds": 60}`, "Command exited with status 42"},
		{"/dies", `{"container": null, "networks": null, "args": null, "cmd": "sleep 1.5; kill -USR1 $$", "backoffSeconds": 60}`, "Command terminated with signal user defined signal 1"},
	} {
		c.put(x.id, x.fields)
		var running app
		harness.Within(c.t, 20*time.Second, x.id+" runs", func() (bool, string) {
			running = c.app(x.id)
			return running.running() == 1, fmt.Sprintf("%+v", running)
		})
		task := running.Tasks[0].ID
		c.Kill(c.programs("worker")...)
		a := c.failure(x.id, x.want)
		if a.LastTaskFailure.TaskID != task {
			c.t.Errorf("%s of %s failed, not %s", a.LastTaskFailure.TaskID, x.id, task)
		}
		c.delete("/v2/apps" + x.id)
	}
	c.Ready(30*time.Second, "cell")
}

// killShim: with its shim a task is lost, which is said; another takes its place.
func killShim(c *cell) {
	before := c.steady()
	a := c.app("/steady").Tasks[0]
	c.Kill(parent(before[a.ID]))
	harness.Within(c.t, 20*time.Second, "the task ends with its shim", func() (bool, string) {
		return !harness.Alive(before[a.ID]), "it runs"
	})
	after := c.steady()
	if after[a.ID] != 0 {
		c.t.Errorf("%s still runs", a.ID)
	}
	for id, pid := range before {
		if id != a.ID && after[id] != pid {
			c.t.Errorf("%s was disturbed: pid %d, it was %d", id, after[id], pid)
		}
	}
}

// TestCrashesInDeployment: all programs die in the middle of an update; it goes on,
// never with more instances than the update may have.
func TestCrashesInDeployment(t *testing.T) {
	c := newCell(t)
	c.pack("hello:1")
	const strategy = `"instances": 4, "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.25}`
	c.run("/wave", `{"env": {"V": "1"}, `+strategy+`}`)
	old := ids(c.app("/wave"))
	c.put("/wave", `{"env": {"V": "2"}, `+strategy+`}`)
	for _, name := range []string{"scheduler", "worker", "master", "scheduler"} {
		c.Kill(c.programs(name)...)
		harness.Within(c.t, 30*time.Second, "the "+name+" is there again", func() (bool, string) {
			n := 0
			for id := range c.pids() {
				if strings.HasPrefix(id, "wave.") {
					n++
				}
			}
			if n > 5 {
				c.t.Errorf("%d instances run, 5 are allowed", n)
			}
			code, text := c.call(http.MethodGet, "/ping", "")
			return code == http.StatusOK, text
		})
	}
	after := c.settled("/wave")
	if len(after.Tasks) != 4 {
		c.t.Errorf("there are %d instances, not 4", len(after.Tasks))
	}
	for _, x := range after.Tasks {
		if slices.Contains(old, x.ID) {
			c.t.Errorf("%s of the old version still runs", x.ID)
		}
		if got, err := c.get(x, "/env/V"); err != nil || got != "2" {
			c.t.Errorf("%s answers %q: %v", x.ID, got, err)
		}
	}
	c.delete("/v2/apps/wave")
}

// killEverything: a loss of power, with nobody left to see the tasks through. A
// container that cannot be found any more is ended by its worker when that is back.
func killEverything(c *cell) {
	before := c.steady()
	c.KillAll()
	for id, pid := range before {
		harness.Within(c.t, 10*time.Second, id+" ends with all else", func() (bool, string) { return !harness.Alive(pid), "it runs" })
	}
	c.Up()
	c.Ready(30*time.Second, "cell")
	after := c.steady()
	for id := range after {
		if before[id] != 0 {
			c.t.Errorf("%s is said to run, and was killed", id)
		}
	}
}

// downUp: a cell that was stopped runs its apps again.
func downUp(c *cell) {
	before := c.steady()
	c.OK("down")
	if left := c.Processes(); len(left) > 0 {
		c.t.Errorf("after down there run %v", left)
	}
	for id, pid := range before {
		if harness.Alive(pid) {
			c.t.Errorf("after down %s still runs", id)
		}
	}
	c.Up()
	c.Ready(30*time.Second, "cell")
	c.steady()
}

// deleted: of a cell that is deleted nothing stays, in the kernel neither.
func deleted(c *cell) {
	c.steady()
	var groups []string
	for _, ip := range c.addresses() {
		groups = append(groups, strings.ReplaceAll(ip, ".", "-"))
	}
	spaces := namespaces(c)
	if len(spaces) < 3 || len(folders(groups)) == 0 {
		c.t.Fatalf("the test finds %d namespaces and %d control groups of the tasks", len(spaces), len(folders(groups)))
	}
	c.OK("delete", "cell", "--yes", "--destroy-data", "cell")
	for _, p := range c.Processes() {
		if strings.Contains(harness.CommandLine(p.PID), " cell ") || c.ofShim(p.PID) {
			c.t.Errorf("left running: %s", p)
		}
	}
	if left := c.pids(); len(left) > 0 {
		c.t.Errorf("tasks left running: %v", left)
	}
	if left := folders(groups); len(left) > 0 {
		c.t.Errorf("control groups are left: %v", left)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), c.Dir+"/nodes") {
		c.t.Errorf("mounts are left (%v):\n%s", err, mounts)
	}
	for _, ns := range namespaces(nil) {
		if slices.Contains(spaces, ns) {
			c.t.Errorf("the network %s is left", ns)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "nodes", "cell", "*")); len(left) > 0 {
		c.t.Errorf("folders are left: %v", left)
	}
}

// folders are those of control groups with a name.
func folders(names []string) []string {
	var out []string
	for _, n := range names {
		for _, pattern := range []string{"/sys/fs/cgroup/howdah/" + n, "/sys/fs/cgroup/*/howdah/" + n, "/sys/fs/cgroup/*/*/howdah/" + n} {
			found, _ := filepath.Glob(pattern)
			out = append(out, found...)
		}
	}
	return out
}

// namespaces are the networks of tasks, or of all processes there are.
func namespaces(c *cell) []string {
	var own syscall.Stat_t
	_ = syscall.Stat("/proc/self/ns/net", &own)
	var out []string
	add := func(pid string) {
		if at, err := os.Readlink("/proc/" + pid + "/ns/net"); err == nil && at != fmt.Sprintf("net:[%d]", own.Ino) {
			out = append(out, at)
		}
	}
	if c != nil {
		for _, pid := range c.pids() {
			add(strconv.Itoa(pid))
		}
		return out
	}
	dirs, _ := os.ReadDir("/proc")
	for _, d := range dirs {
		add(d.Name())
	}
	return out
}
