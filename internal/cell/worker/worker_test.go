package worker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/node/proc"
)

func TestPlainTasks(t *testing.T) {
	c := newCell(t, nil)
	args := mesos.TaskInfo{Command: &mesos.CommandInfo{Shell: new(false), Value: "sh", Arguments: []string{"sh", "-c", "exit 4"}}}
	env := shell(`[ "$A" = b ] && [ "$S" = hush ] && [ "$C" = last ] && [ "$PWD" = "$MESOS_SANDBOX" ] && [ $MESOS_TASK_ID = task-4 ]`)
	env.Command.Environment = &mesos.Environment{Variables: []mesos.Variable{
		{Name: "A", Value: "b"}, {Name: "C", Value: "first"}, {Name: "C", Value: "last"}, {Name: "HOWDAH_NODE", Value: "hides"}, {Name: "S", Type: "SECRET", Secret: &mesos.Secret{Type: "VALUE", Value: &mesos.SecretValue{Data: []byte("hush")}}},
	}}
	image := mesos.TaskInfo{Command: &mesos.CommandInfo{Shell: new(false)}, Container: &mesos.ContainerInfo{Type: "DOCKER", Docker: &mesos.DockerInfo{Image: "content", Network: "BRIDGE"}}}
	many := shell("true")
	many.Container = &mesos.ContainerInfo{Type: "DOCKER", Docker: &mesos.DockerInfo{
		Image: "content", Network: "USER", Privileged: true, Parameters: []mesos.Parameter{{Key: "cap-add", Value: "ALL"}},
	}, Volumes: []mesos.Volume{{ContainerPath: "/x", HostPath: "/etc"}}}
	nowhere := shell("true")
	nowhere.Command.User = "no-such-user"
	fetched := shell("true")
	fetched.Command.URIs = []mesos.URI{{Value: "file:///etc/passwd"}}
	local := shell("true")
	local.Command.URIs = []mesos.URI{{Value: "http://127.0.0.1:1/metadata?token=x"}}
	tests := []struct {
		name      string
		info      mesos.TaskInfo
		states    string
		reason    string
		message   string
		resources string
	}{
		{name: "success", info: shell("true"), states: "STARTING RUNNING FINISHED", message: "Command exited with status 0"},
		{name: "exit code", info: shell("exit 42"), states: "STARTING RUNNING FAILED", reason: mesos.ReasonCommandExecutorFailed, message: "Command exited with status 42"},
		{name: "arguments", info: args, states: "STARTING RUNNING FAILED", reason: mesos.ReasonCommandExecutorFailed, message: "Command exited with status 4"},
		{name: "environment", info: env, states: "STARTING RUNNING FINISHED", message: "Command exited with status 0"},
		{name: "signal", info: shell("kill -SEGV $$"), states: "STARTING RUNNING FAILED", reason: mesos.ReasonCommandExecutorFailed, message: "Command terminated with signal segmentation fault"},
		{name: "no program", info: mesos.TaskInfo{Command: &mesos.CommandInfo{Shell: new(false), Value: "nothing"}}, states: "STARTING FAILED", reason: mesos.ReasonContainerLaunchFailed, message: "cannot start nothing: no such program in PATH (/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)"},
		{name: "image without a runtime", info: image, states: "STARTING FAILED", reason: mesos.ReasonContainerLaunchFailed, message: "the task needs a container; this worker runs plain commands only"},
		{name: "all that is not supported, at once", info: many, states: "STARTING FAILED", reason: mesos.ReasonContainerLaunchFailed, message: "the volume's host path /etc is not one that this worker allows\n" +
			"privileged containers are not supported\nthe Docker parameter \"cap-add\" is not supported\nthe network USER is not supported: use host or container/bridge\n" +
			"the task needs a container; this worker runs plain commands only"},
		{name: "no such user", info: nowhere, states: "STARTING FAILED", reason: mesos.ReasonContainerLaunchFailed, message: `this host has no user "no-such-user"`},
		{name: "not to be fetched from", info: local, states: "STARTING FAILED", reason: mesos.ReasonContainerLaunchFailed, message: "cannot fetch http://127.0.0.1:1/metadata: the address 127.0.0.1 may not be fetched from"},
		{name: "not to be fetched", info: fetched, states: "STARTING FAILED", reason: mesos.ReasonContainerLaunchFailed, message: `cannot fetch file:///etc/passwd: the scheme "file" is not supported: use http or https`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c.t = t
			id := c.launch(tt.info, tt.resources)
			end := c.end(id)
			if got := describe(c.history(id)); got != tt.states {
				t.Errorf("states %s, want %s", got, tt.states)
			}
			if end.Message != tt.message || end.Reason != tt.reason {
				t.Errorf("got  %s %q\nwant %s %q", end.Reason, end.Message, tt.reason, tt.message)
			}
		})
	}
	c.t = t
}

func TestKill(t *testing.T) {
	c := newCell(t, nil)
	// It leaves the test's wait when asked, and not before.
	id := c.launch(shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done"), "")
	c.file(id, "stdout", "up")
	c.kill(id)
	c.kill(id)
	end := c.end(id)
	if got := describe(c.history(id)); got != "STARTING RUNNING KILLING KILLED" || end.Message != "Command exited with status 7" {
		t.Errorf("%s, %q", got, end.Message)
	}
	stubborn := shell("trap '' TERM; echo up; while :; do sleep 0.01; done")
	stubborn.KillPolicy = &mesos.KillPolicy{GracePeriod: &mesos.Duration{Nanoseconds: int64(100 * time.Millisecond)}}
	id = c.launch(stubborn, "")
	c.file(id, "stdout", "up")
	began := time.Now()
	c.kill(id)
	if end := c.end(id); end.State != mesos.TaskKilled || end.Message != "Command terminated with signal killed" || time.Since(began) < 100*time.Millisecond {
		t.Errorf("%s %q after %s", end.State, end.Message, time.Since(began))
	}
}

// TestKillUnannounced: a framework that does not know TASK_KILLING is not told it.
func TestKillUnannounced(t *testing.T) {
	c := newCell(t, nil)
	c.subscribe()
	id := c.launch(shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done"), "")
	c.file(id, "stdout", "up")
	c.kill(id)
	end := c.end(id)
	if got := describe(c.history(id)); got != "STARTING RUNNING KILLED" || end.Message != "Command exited with status 7" {
		t.Errorf("%s, %q", got, end.Message)
	}
}

// TestWorkerKilled kills the worker while tasks run, end, and wait for their start.
func TestWorkerKilled(t *testing.T) {
	c := newCell(t, nil)
	stays := c.launch(shell("echo up; while [ ! -e end ]; do sleep 0.01; done; exit 42"), "")
	ends := c.launch(shell("echo up; sleep 0.3; exit 43"), "")
	first := c.untilState(stays, mesos.TaskRunning)
	c.untilState(ends, mesos.TaskRunning)
	c.file(stays, "stdout", "up")
	pid := first.ContainerStatus.ExecutorPID
	sandbox := filepath.Join(c.setup.Dir, "sandboxes", first.ContainerStatus.ContainerID.Value)
	for range 3 {
		c.killWorker()
		if !alive(pid) {
			t.Fatal("the task died with the worker")
		}
		c.startWorker()
		c.holds(stays, true)
		c.file(stays, "stdout", "up")
	}
	c.holds("another", false)
	if end := c.end(ends); end.State != mesos.TaskFailed || end.Message != "Command exited with status 43" {
		t.Errorf("ended meanwhile: %s %q", end.State, end.Message)
	}
	c.holds(ends, false)
	if !alive(pid) {
		t.Fatal("the task's process is another")
	}
	if err := os.WriteFile(filepath.Join(sandbox, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if end := c.end(stays); end.State != mesos.TaskFailed || end.Message != "Command exited with status 42" || end.ContainerStatus.ContainerID.Value != first.ContainerStatus.ContainerID.Value {
		t.Errorf("%s %q", end.State, end.Message)
	}
	if got := describe(c.history(stays)); got != "STARTING RUNNING FAILED" {
		t.Error(got)
	}
}

// once is a task that writes to a file how often it was run.
func (c *cell) once(then string) (info mesos.TaskInfo, runs func() int) {
	file := filepath.Join(c.t.TempDir(), "runs")
	return shell("echo once >> " + file + "; " + then), func() int {
		text, _ := os.ReadFile(file)
		return strings.Count(string(text), "once")
	}
}

// recorded returns what the worker wrote of a task, nil if nothing.
func (c *cell) recorded(id string) *record {
	files, _ := filepath.Glob(filepath.Join(c.setup.Dir, "tasks", "*", recordFile))
	for _, file := range files {
		var rec record
		text, err := os.ReadFile(file)
		if err == nil && json.Unmarshal(text, &rec) == nil && rec.Info.TaskID.Value == id {
			return &rec
		}
	}
	return nil
}

// TestWorkerKilledAnywhere kills the worker at moments all over the life of tasks:
// each is run once and ends once, with its own exit code. Only one of which the worker
// had no record yet is lost: its launch, with the connection.
func TestWorkerKilledAnywhere(t *testing.T) {
	c := newCell(t, nil)
	type life struct {
		code int
		lost bool // may be
		runs func() int
	}
	tasks := map[string]life{}
	for i := range 20 {
		info, runs := c.once(fmt.Sprintf("sleep 0.05; exit %d", 10+i))
		id := c.launch(info, "")
		time.Sleep(time.Duration(i) * 2 * time.Millisecond)
		c.killWorker()
		tasks[id] = life{code: 10 + i, lost: c.recorded(id) == nil, runs: runs}
		c.startWorker()
	}
	for id, l := range tasks {
		end := c.end(id)
		if l.lost && end.State == mesos.TaskLost && l.runs() == 0 {
			continue
		}
		if want := fmt.Sprintf("Command exited with status %d", l.code); end.Message != want || l.runs() != 1 {
			t.Errorf("%s: %s %q after %d runs, want %q", id, end.State, end.Message, l.runs(), want)
		}
	}
}

// TestWorkerCrashesAtWrites ends the worker after each write of a task's record.
func TestWorkerCrashesAtWrites(t *testing.T) {
	c := newCell(t, func(s *setup) { s.KeepPerApp = 1000 })
	for _, tt := range []struct {
		name, then, states, message string
		kill                        bool
	}{
		{name: "ends", then: "sleep 0.05; exit 7", states: "STARTING RUNNING FAILED", message: "Command exited with status 7"},
		{name: "is killed", then: "sleep 1000", kill: true, states: "STARTING RUNNING KILLING KILLED", message: "Command terminated with signal terminated"},
	} {
		crashed, n := true, 0
		for crashed {
			n++
			c.killWorker()
			c.setup.CrashAt = n
			c.startWorker()
			info, runs := c.once(tt.then)
			var id string
			id, crashed = c.crashes(info, func() bool { return tt.kill && runs() > 0 })
			if end := c.end(id); c.went(id) != tt.states || end.Message != tt.message || runs() != 1 {
				t.Errorf("%s, crash after write %d: %s, %q, %d runs", tt.name, n, c.went(id), end.Message, runs())
			}
		}
		if n < 6 { // each state is written, and its acknowledgement; the last crash may not be seen
			t.Errorf("%s: written %d times", tt.name, n-1)
		}
	}
}

// went is what a task went through, each state once. After its end others may be told:
// the master does not know a task any more that is killed again.
func (c *cell) went(id string) string {
	var states []string
	for _, s := range c.history(id) {
		state := strings.TrimPrefix(string(s.State), "TASK_")
		if !slices.Contains(states, state) {
			states = append(states, state)
		}
		if s.State.Terminal() {
			break
		}
	}
	return strings.Join(states, " ")
}

// crashes sees a task through, with another worker once the first has died; false when
// that has not. The task is killed once it is to be.
func (c *cell) crashes(info mesos.TaskInfo, kill func() bool) (id string, crashed bool) {
	c.t.Helper()
	id = c.launch(info, "")
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if !alive(c.worker.Process.Pid) {
			_ = c.worker.Wait()
			crashed, c.setup.CrashAt = true, 0
			c.startWorker()
		}
		rec, states := c.recorded(id), describe(c.history(id))
		switch {
		case rec == nil && states == "LOST": // the offer was of the worker before
			id = c.launch(info, "")
		case rec != nil && rec.Phase == phaseEnded && len(rec.Pending) == 0:
			return id, crashed
		case strings.Contains(states, "RUNNING") && !strings.Contains(states, "KILL") && kill(): // again: it may be lost with the connection
			c.kill(id)
		}
		if time.Now().After(end) {
			c.t.Fatalf("%s: no end in a minute; it was %s", id, states)
		}
	}
}

func TestShimKilled(t *testing.T) {
	c := newCell(t, nil)
	id := c.launch(shell("echo up; sleep 1000 & sleep 1000"), "")
	c.file(id, "stdout", "up")
	status := c.untilState(id, mesos.TaskRunning)
	var self struct{ PID int }
	text, err := os.ReadFile(filepath.Join(c.setup.Dir, "tasks", status.ContainerStatus.ContainerID.Value, "run0", "shim.json"))
	if err != nil || json.Unmarshal(text, &self) != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(self.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if end := c.end(id); end.State != mesos.TaskFailed || end.Message != "its shim was killed; the task was ended with it" {
		t.Errorf("%s %q", end.State, end.Message)
	}
	if alive(status.ContainerStatus.ExecutorPID) {
		t.Error("the task lives on")
	}
	c.killAll(t)
}

// killAll kills worker and shim of a task: the worker finds no orphan and tells what
// became of it.
func (c *cell) killAll(t *testing.T) {
	t.Helper()
	id := c.launch(shell("echo up; (setsid sleep 1003 &); sleep 1004"), "")
	c.file(id, "stdout", "up")
	status := c.untilState(id, mesos.TaskRunning)
	var self struct{ PID int }
	text, err := os.ReadFile(filepath.Join(c.setup.Dir, "tasks", status.ContainerStatus.ContainerID.Value, "run0", "shim.json"))
	if err != nil || json.Unmarshal(text, &self) != nil {
		t.Fatal(err)
	}
	c.killWorker()
	if err := syscall.Kill(self.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.startWorker()
	if end := c.end(id); end.State != mesos.TaskFailed || end.Message != "its shim was killed; the task was ended with it" {
		t.Errorf("%s %q", end.State, end.Message)
	}
	left, err := proc.List(c.setup.Node)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range left {
		if strings.Contains(p.Command, "sleep") {
			t.Errorf("left: %d %s", p.PID, p.Command)
		}
	}
}

// TestExecUnread: a command that does not read its input ends with its caller.
func TestExecUnread(t *testing.T) {
	c := newCell(t, nil)
	id := c.launch(shell("echo up; sleep 1000"), "")
	c.file(id, "stdout", "up")
	c.untilState(id, mesos.TaskRunning)
	q := url.Values{"framework": {c.id.Value}, "task": {id}, "arg": {"/bin/sh", "-c", "echo $$ > pid; exec sleep 1000"}}
	header := http.Header{"Authorization": {"Basic b3duZXI6cHc="}}
	socket, _, err := websocket.Dial(t.Context(), "ws://"+c.setup.Address+"/exec?"+q.Encode(), &websocket.DialOptions{HTTPHeader: header}) //nolint:bodyclose // the library did
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	c.eventually("the command runs", func() bool {
		_, text := c.get("/files/download?path=" + c.dirOf(id) + "/pid")
		n, _ := fmt.Sscan(text, &pid)
		return n == 1 && alive(pid)
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for socket.Write(t.Context(), websocket.MessageBinary, make([]byte, 64<<10)) == nil { // kind 0: input
		}
	}()
	time.Sleep(500 * time.Millisecond) // until it is held back
	_ = socket.CloseNow()
	<-ended
	c.eventually("the command ends", func() bool { return !alive(pid) })
}

// TestUser runs a command as another user, who has the sandbox and nothing else.
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may become others")
	}
	c := newCell(t, nil)
	info := shell("id -un; cat key; echo mine > file && cat file; cat ../../tasks/*/record.json; grep NoNewPrivs /proc/self/status; echo late > /dev/stdout")
	info.Command.User = "nobody"
	info.Container = &mesos.ContainerInfo{Type: "MESOS", Volumes: []mesos.Volume{{ContainerPath: "key", Source: &mesos.VolumeSource{
		Type: "SECRET", Secret: &mesos.Secret{Type: "VALUE", Value: &mesos.SecretValue{Data: []byte("hush\n")}},
	}}}}
	id := c.launch(info, "")
	if end := c.end(id); end.State != mesos.TaskFinished {
		t.Errorf("%s %q", end.State, end.Message)
	}
	c.file(id, "stdout", "nobody\nhush\nmine\nNoNewPrivs:\t1\nlate\n")
}

// TestResend withholds acknowledgements: a status comes again and again, and the next
// only after it.
func TestResend(t *testing.T) {
	c := newCell(t, func(s *setup) { s.Resend = 30 * time.Millisecond })
	c.mute = true
	id := c.launch(shell("exit 3"), "")
	for end := time.Now().Add(time.Minute); len(c.history(id)) < 4; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it came %d times", len(c.history(id)))
		}
	}
	for _, s := range c.history(id) {
		if s.State != mesos.TaskStarting || string(s.UUID) != string(c.history(id)[0].UUID) {
			t.Fatalf("before the acknowledgement: %s", s.State)
		}
	}
	// Another worker process goes on where the first was.
	c.killWorker()
	c.startWorker()
	c.mu.Lock()
	c.mute = false
	c.mu.Unlock()
	c.acknowledge(c.stream, c.history(id)[0])
	c.end(id)
	if got := describe(c.history(id)); got != "STARTING RUNNING FAILED" {
		t.Error(got)
	}
}

// TestMasterAway ends a task while there is no master, and tells another one.
func TestMasterAway(t *testing.T) {
	c := newCell(t, nil)
	id := c.launch(shell("echo up; while [ ! -e end ]; do sleep 0.01; done; exit 5"), "")
	first := c.untilState(id, mesos.TaskRunning)
	c.file(id, "stdout", "up")
	c.stopMaster()
	if err := os.WriteFile(filepath.Join(c.setup.Dir, "sandboxes", first.ContainerStatus.ContainerID.Value, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); alive(first.ContainerStatus.ExecutorPID); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not end")
		}
	}
	c.startMaster()
	c.subscribe(mesos.Capability{Type: mesos.CapTaskKillingState})
	if end := c.end(id); end.Message != "Command exited with status 5" || end.AgentID.Value != first.AgentID.Value {
		t.Errorf("%s %q of %s", end.State, end.Message, end.AgentID.Value)
	}
}

func TestLimits(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("limits need root")
	}
	c := newCell(t, nil)
	hog := c.launch(shell("echo up; x=0123456789; while :; do x=$x$x; done"), "cpus:0.1;mem:48")
	if end := c.end(hog); end.State != mesos.TaskFailed || end.Reason != mesos.ReasonContainerMemory || end.Message != "memory limit of 48 MB exceeded" {
		t.Errorf("%s %s %q", end.State, end.Reason, end.Message)
	}
	filler := c.launch(shell("while :; do dd if=/dev/zero of=big bs=1M count=3 oflag=append conv=notrunc 2>/dev/null; sleep 0.01; done"), "cpus:0.1;mem:64;disk:20")
	end := c.end(filler)
	if end.Reason != mesos.ReasonContainerDisk || !strings.HasPrefix(end.Message, "disk limit of 20 MB exceeded: ") {
		t.Errorf("%s %s %q", end.State, end.Reason, end.Message)
	}
	_, text := c.get("/state")
	for _, want := range []string{`"oom_killed":true`, `"weaker":[`, `"runtimes":["plain"]`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

func TestRetention(t *testing.T) {
	c := newCell(t, func(s *setup) { s.KeepPerApp, s.KeepBytes = 2, 3<<20 })
	var ids []string
	for i := range 4 {
		id := c.launch(shell(fmt.Sprintf("echo number %d", i)), "")
		c.end(id)
		ids = append(ids, id)
	}
	c.eventually("two sandboxes are left", func() bool { return c.sandboxes() == 2 })
	for i, id := range ids {
		code, text := c.get("/files/download?path=" + c.dirOf(id) + "/stdout")
		if kept := i >= 2; kept != (code == 200) || kept && text != fmt.Sprintf("number %d\n", i) {
			t.Errorf("%s: %d %q", id, code, text)
		}
	}
	big := shell("dd if=/dev/zero of=big bs=1M count=4 2>/dev/null")
	big.Name = "other"
	c.end(c.launch(big, ""))
	c.eventually("the large one went, too large by itself", func() bool { return c.sandboxes() == 2 })
}

func (c *cell) sandboxes() int {
	entries, _ := os.ReadDir(filepath.Join(c.setup.Dir, "sandboxes"))
	return len(entries)
}

func (c *cell) eventually(what string, cond func() bool) {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("not in a minute: %s", what)
		}
	}
}
