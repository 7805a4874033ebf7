package marathon_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

// reaper ends engines at points of their commits.
type reaper struct {
	left   atomic.Int64 // points until the next death
	deaths atomic.Int64
	most   int64 // deaths
}

func (r *reaper) asked(string) bool {
	if r.deaths.Load() >= r.most || r.left.Add(-1) != 0 {
		return false
	}
	r.deaths.Add(1)
	return true
}

// rise starts the scheduler again if it has ended.
func (c *cell) rise(next int64, r *reaper) {
	select {
	case <-c.ended:
		c.stop()
		r.left.Store(next)
		c.start()
	default:
	}
}

// stage is one step of a life: a call that may be made again, and what is there
// when it is through.
type stage struct {
	method, path, body string
	most               int // tasks alive on the way
	count              int
	cmd                string
}

// life is an app's, with dependants, from its first deployment to its last.
func life() []stage {
	const strategy = `"upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.25}, "cpus": 0.1, "mem": 32, "backoffSeconds": 0`
	app := func(cmd string, n int) string {
		return fmt.Sprintf(`{"cmd": %q, "instances": %d, %s}`, cmd, n, strategy)
	}
	const put = http.MethodPut
	return []stage{
		{put, "/v2/apps/a", app("one", 4), 4, 4, "one"},
		{put, "/v2/apps/a", app("two", 4), 5, 4, "two"},
		{put, "/v2/apps/a", app("two", 7), 8, 7, "two"},
		{put, "/v2/apps/a", app("three", 3), 8, 3, "three"},
		{http.MethodPost, "/v2/apps/a/restart", "", 4, 3, "three"},
		{put, "/v2/apps/a", app("four", 5), 6, 5, "four"},
	}
}

// family is the life of a group: what depends on another waits for it.
func family() []stage {
	group := func(cmd string, base, top int) string {
		const rest = `"upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}, "cpus": 0.1, "mem": 32, "backoffSeconds": 0`
		return fmt.Sprintf(`{"apps": [{"id": "base", "cmd": %q, "instances": %d, %s}, {"id": "top", "cmd": %q, "instances": %d, "dependencies": ["base"], %s}]}`,
			cmd, base, rest, cmd, top, rest)
	}
	const put = http.MethodPut
	return []stage{
		{put, "/v2/groups/g", group("one", 2, 3), 5, 5, "one"},
		{put, "/v2/groups/g", group("two", 2, 3), 5, 5, "two"},
		{put, "/v2/groups/g", group("three", 3, 4), 7, 7, "three"},
		{put, "/v2/groups/g", group("three", 1, 2), 7, 3, "three"},
	}
}

// TestCrashes ends the scheduler at its commits, in the middle of deployments, and
// starts it again on the same store, beside the living master and workers. Set
// HOWDAH_TEST_CRASH_SEEDS for more than a few lives.
func TestCrashes(t *testing.T) {
	seeds := 3
	if n, err := strconv.Atoi(os.Getenv("HOWDAH_TEST_CRASH_SEEDS")); err == nil {
		seeds = n
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("app ", seed), func(t *testing.T) { crashes(t, life(), uint64(seed)) })
		t.Run(fmt.Sprint("group ", seed), func(t *testing.T) { crashes(t, family(), uint64(seed)) })
	}
}

func crashes(t *testing.T, stages []stage, seed uint64) {
	chance := rand.New(rand.NewPCG(seed, 1))
	r := &reaper{most: 40}
	gap := func() int64 { return 1 + chance.Int64N(14) }
	r.left.Store(gap())
	c := newCell(t, cellConfig{start: time.Millisecond, crash: r.asked})
	for _, s := range stages {
		stop := c.watch(s.most)
		c.during(r, gap, "the call "+s.path+" "+s.body+" is taken", func() bool {
			a, err := c.try(s.method, s.path+"?force=true", s.body)
			if err == nil && a.code/100 != 2 && a.code < 500 {
				t.Fatalf("%s %s: %d %s", s.method, s.path, a.code, a.body)
			}
			return err == nil && a.code/100 == 2
		})
		if chance.IntN(2) == 0 {
			c.endOne(chance)
		}
		c.during(r, gap, s.body+" is there", func() bool { return c.there(s) })
		stop()
		if t.Failed() {
			return
		}
	}
	if r.deaths.Load() < 3 {
		t.Errorf("the scheduler died %d times only", r.deaths.Load())
	}
	r.left.Store(-1) // no more deaths
	never := func() int64 { return -1 }
	c.during(r, never, "all is quiet", func() bool {
		a, err := c.try(http.MethodGet, "/v2/deployments", "")
		return err == nil && a.body == "[]"
	})
	last := stages[len(stages)-1]
	c.agrees(t, last.cmd, last.count)
}

// during waits for a condition and keeps the scheduler alive meanwhile.
func (c *cell) during(r *reaper, gap func() int64, what string, is func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); c.rise(gap(), r) {
		if time.Now().After(deadline) {
			a, err := c.try(http.MethodGet, "/v2/apps?embed=apps.tasks", "")
			d, _ := c.try(http.MethodGet, "/v2/deployments", "")
			c.t.Fatalf("waited in vain until %s\n%v %s\n%s\n%v", what, err, a.body, d.body, c.truth())
		}
		time.Sleep(time.Millisecond)
	}
}

// there tells whether the workers run what a stage is about, and nothing else.
func (c *cell) there(s stage) bool {
	running := 0
	for id, state := range c.truth() {
		if state != mesos.TaskRunning || c.command(id) != s.cmd {
			return false
		}
		running++
	}
	a, err := c.try(http.MethodGet, "/v2/deployments", "")
	return err == nil && a.body == "[]" && running == s.count
}

// command is what a task runs, as its worker knows it.
func (c *cell) command(id string) string {
	for _, w := range c.workers {
		if info := w.Task(id); info != nil {
			return info.Command.Value
		}
	}
	return ""
}

// endOne has one of the tasks end.
func (c *cell) endOne(chance *rand.Rand) {
	var ids []string
	for id := range c.truth() {
		ids = append(ids, id)
	}
	if len(ids) > 0 {
		slices.Sort(ids)
		c.end(ids[chance.IntN(len(ids))], mesos.TaskFailed, "a test ended it")
	}
}

// agrees checks that API and workers know the same tasks, as many as are wanted.
func (c *cell) agrees(t *testing.T, cmd string, n int) {
	t.Helper()
	var truth []string
	for id, state := range c.truth() {
		if state != mesos.TaskRunning || c.command(id) != cmd {
			t.Errorf("%s is %s and runs %q", id, state, c.command(id))
		}
		truth = append(truth, id)
	}
	slices.Sort(truth)
	var shown struct{ Tasks []struct{ ID string } }
	c.ok(http.MethodGet, "/v2/tasks", "", &shown)
	var got []string
	for _, task := range shown.Tasks {
		got = append(got, task.ID)
	}
	slices.Sort(got)
	if !slices.Equal(got, truth) || len(got) != n {
		t.Errorf("the API shows\n%s\nthe workers run\n%s", strings.Join(got, "\n"), strings.Join(truth, "\n"))
	}
}

// TestLostLaunch: launches that the scheduler's death kept from the master are no
// failures of the app: nothing waits out a back-off for them.
func TestLostLaunch(t *testing.T) {
	var deaths atomic.Int64
	c := newCell(t, cellConfig{crash: func(point string) bool { return point == "after the commit" && deaths.Add(1) <= 8 }})
	r, gap := &reaper{}, func() int64 { return -1 }
	c.during(r, gap, "the app is taken", func() bool {
		a, err := c.try(http.MethodPut, "/v2/apps/a", `{"cmd": "x", "cpus": 0.1, "instances": 3, "backoffSeconds": 3600, "maxLaunchDelaySeconds": 3600}`)
		return err == nil && a.code/100 == 2
	})
	c.during(r, gap, "it runs", func() bool { return len(c.truth()) == 3 && c.there(stage{cmd: "x", count: 3}) })
	if got := c.app("/a").LastTaskFailure; got != nil {
		t.Errorf("the last failure is %+v", got)
	}
	c.agrees(t, "x", 3)
}
