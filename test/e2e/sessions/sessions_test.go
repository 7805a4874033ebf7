package sessions

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

// TestSessions has one cluster of one node: starting it is what takes time.
func TestSessions(t *testing.T) {
	h := harness.New(t)
	h.Up()
	h.Apply("zk", harness.OneZooKeeper)
	h.Ready(10*time.Second, "zk")
	node := h.Cluster("zk").Nodes[0].Name
	t.Run("logs", func(t *testing.T) { testLogs(t, h.For(t), node) })
	t.Run("exec", func(t *testing.T) { testExec(t, h.For(t), node) })
	t.Run("terminal", func(t *testing.T) { testTerminal(t, h.For(t), node) })
	t.Run("watch", func(t *testing.T) { testWatch(t, h.For(t)) })
	t.Run("agent dies", func(t *testing.T) { testAgentDies(t, h.For(t), node) })
}

// output is what a command that goes on has printed so far.
type output struct {
	t     testing.TB
	cmd   *exec.Cmd
	ended chan struct{}

	mu    sync.Mutex
	lines []string
	errs  strings.Builder
}

// begin starts a command beside the test.
func begin(t testing.TB, cmd *exec.Cmd) *output {
	t.Helper()
	o := &output{t: t, cmd: cmd, ended: make(chan struct{})}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		sc := bufio.NewScanner(out)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			o.mu.Lock()
			o.lines = append(o.lines, sc.Text())
			o.mu.Unlock()
		}
	})
	reading.Go(func() {
		text, _ := io.ReadAll(errs)
		o.mu.Lock()
		o.errs.Write(text)
		o.mu.Unlock()
	})
	go func() {
		reading.Wait()
		_ = cmd.Wait()
		close(o.ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-o.ended
	})
	return o
}

func (o *output) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.lines)
}

// until waits for a line.
func (o *output) until(what string, is func(string) bool) {
	o.t.Helper()
	harness.Within(o.t, 20*time.Second, what, func() (bool, string) {
		lines := o.all()
		return slices.ContainsFunc(lines, is), fmt.Sprintf("%d lines, the last %q", len(lines), lines[max(0, len(lines)-3):])
	})
}

// code waits for the end and returns the exit code and standard error.
func (o *output) code() (int, string) {
	o.t.Helper()
	select {
	case <-o.ended:
	case <-time.After(time.Minute):
		o.t.Fatalf("%s does not end", strings.Join(o.cmd.Args, " "))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.cmd.ProcessState.ExitCode(), o.errs.String()
}

var began = regexp.MustCompile(`^\S+ \[howdah\] incarnation (\d+) (begins|ended: .*)$`)

// testLogs follows a log over the kill of its service; both incarnations are in it,
// each line once, as in the file.
func testLogs(t *testing.T, h *harness.Home, node string) {
	service := h.Service("zk", node, "zookeeper")
	o := begin(t, h.Command("logs", "zk", "--follow", "--tail", "-1"))
	o.until("what there was", func(l string) bool { return strings.HasSuffix(l, "incarnation 1 begins") })
	h.Kill(service.PID)
	o.until("the second incarnation", func(l string) bool { return strings.HasSuffix(l, "incarnation 2 begins") })
	h.Ready(20*time.Second, "zk")
	whole := strings.Split(strings.TrimSuffix(h.OK("logs", "zk/"+node+"/"+service.Name, "--tail", "-1"), "\n"), "\n")
	o.until("all there is", func(l string) bool { return l == whole[len(whole)-1] })
	got := o.all()
	if len(got) < len(whole) || !slices.Equal(got[:len(whole)], whole) {
		t.Errorf("following showed %d lines that differ from the %d of the log", len(got), len(whole))
	}
	var marks []string
	for _, l := range whole {
		if m := began.FindStringSubmatch(l); m != nil {
			marks = append(marks, m[1]+" "+m[2])
		}
	}
	if len(marks) != 3 || marks[0] != "1 begins" || !strings.HasPrefix(marks[1], "1 ended: ") || marks[2] != "2 begins" {
		t.Errorf("the incarnations are %q", marks)
	}
	if err := o.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code, errs := o.code(); code != 0 || errs != "" {
		t.Errorf("left with ctrl-c it ended with %d: %s", code, errs)
	}

	second := slices.IndexFunc(whole, func(l string) bool { return strings.HasSuffix(l, "incarnation 2 begins") })
	previous := strings.Split(strings.TrimSuffix(h.OK("logs", "zk", "--previous"), "\n"), "\n")
	if !slices.Equal(previous, whole[:second]) {
		t.Errorf("the previous incarnation has %d lines, want %d", len(previous), second)
	}
	if last := h.OK("logs", "zk", "-n", "2"); last != strings.Join(whole[len(whole)-2:], "\n")+"\n" {
		t.Errorf("the last two lines are %q", last)
	}
	first := harness.JSON[api.LogLine](h, "logs", "zk", "-n", "1")
	if first.Node != node || first.Service != service.Name || first.Time == nil || time.Since(*first.Time) > 5*time.Minute {
		t.Errorf("as JSON: %+v", first)
	}
	harness.Contains(t, "an unknown service", h.Fails(3, "logs", "zk", "--service", "../agent/key.pem").Stderr, "service ../agent/key.pem of cluster zk: not found; there is agent, "+service.Name)
	harness.Contains(t, "an unknown node", h.Fails(3, "logs", "zk/nobody").Stderr, "node nobody of cluster zk: not found; its nodes are "+node)
	h.Fails(2, "logs", "zk", "--since", "yesterday")
}

// testExec runs commands without a terminal.
func testExec(t *testing.T, h *harness.Home, node string) {
	r := h.RunInput("some\x00bytes", "exec", "zk/"+node, "--", "sh", "-c", "cat; echo problem >&2; pwd >&2; exit 9")
	if r.Code != 9 || r.Stdout != "some\x00bytes" || !strings.HasPrefix(r.Stderr, "problem\n") {
		t.Errorf("%d %q %q", r.Code, r.Stdout, r.Stderr)
	}
	harness.Contains(t, "its directory", r.Stderr, "/nodes/zk/"+node+"\n")
	o := begin(t, h.Command("exec", "zk/"+node, "--", "sh", "-c", "echo ready; sleep 1000; true"))
	o.until("the command runs", func(l string) bool { return l == "ready" })
	if err := o.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, h)
	cl := h.API()
	es, err := cl.History(t.Context(), "zk", 100)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range es {
		if e.Type != api.EventExec {
			continue
		}
		n++
		if e.Node != node || e.Message != "owner runs sh on "+node || fmt.Sprint(e.Data) != "map[program:sh who:owner]" {
			t.Errorf("the event is %+v", e)
		}
	}
	if n != 2 {
		t.Errorf("there are %d events of commands, want 2", n)
	}
}

// nothingLeft waits until nothing of a session runs.
func nothingLeft(t testing.TB, h *harness.Home) {
	t.Helper()
	harness.Within(t, 20*time.Second, "nothing of the session runs", func() (bool, string) {
		for _, p := range h.Processes() {
			if strings.HasPrefix(p.Labels.Service, "session/") {
				return false, p.String()
			}
		}
		return true, ""
	})
}

// testTerminal has a shell as a person has one.
func testTerminal(t *testing.T, h *harness.Home, node string) {
	cmd := h.Command("exec", "zk/"+node, "--", "sh")
	cmd.Env = append(cmd.Env, "TERM=dumb")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 111})
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	var mu sync.Mutex
	text := ""
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			mu.Lock()
			text += string(buf[:n])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	until := func(want string) {
		t.Helper()
		harness.Within(t, 10*time.Second, fmt.Sprintf("the terminal shows %q", want), func() (bool, string) {
			mu.Lock()
			defer mu.Unlock()
			return strings.Contains(text, want), fmt.Sprintf("%q", text)
		})
	}
	keys := func(s string) {
		t.Helper()
		if _, err := tty.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	keys("stty size; echo $TERM\r")
	until("33 111\r\ndumb\r\n")
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 44, Cols: 99}); err != nil {
		t.Fatal(err)
	}
	harness.Within(t, 10*time.Second, "the new size arrives", func() (bool, string) {
		keys("stty size\r")
		time.Sleep(100 * time.Millisecond) // between two questions
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(text, "44 99\r\n"), fmt.Sprintf("%q", text)
	})
	keys("sleep 1000\r")
	until("sleep 1000\r\n")
	keys("\x03")
	keys("echo st$((1+1))ll\r")
	until("st2ll\r\n")
	keys("exit 5\r")
	err = cmd.Wait()
	tty.Close()
	<-read
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 5 {
		t.Errorf("the shell ended with %v, want 5", err)
	}
}

// testWatch follows an operation over the death of the server: each event once.
func testWatch(t *testing.T, h *harness.Home) {
	id := h.Begin("zk", harness.OneZooKeeper+"configuration: {zookeeper: {zoo.cfg: {tickTime: 1500}}}\n")
	o := begin(t, h.Command("op", "watch", fmt.Sprint(id), "-o", "json"))
	o.until("the first event", func(l string) bool { return strings.Contains(l, `"operation.queued"`) })
	h.KillServer()
	h.Up()
	code, errs := o.code()
	if code != 0 {
		t.Errorf("watching ended with %d: %s", code, errs)
	}
	cl := h.API()
	es, err := cl.History(t.Context(), "zk", 5000)
	if err != nil {
		t.Fatal(err)
	}
	first := slices.IndexFunc(es, func(e api.Event) bool { return e.Operation == id })
	var got []int64
	done := false
	for _, l := range o.all() {
		var e api.Event
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		got = append(got, e.ID)
		done = done || e.Type == "operation.done" && e.Operation == id
	}
	var want []int64
	for _, e := range es[first:] {
		want = append(want, e.ID)
	}
	if !done || len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
		t.Errorf("it printed the events %v, there are %v; the end of the operation among them: %t", got, want, done)
	}
}

// testAgentDies: a command whose agent is killed fails and says why; nothing of it is
// left once the agent is back.
func testAgentDies(t *testing.T, h *harness.Home, node string) {
	o := begin(t, h.Command("exec", "zk/"+node, "--", "sh", "-c", "trap '' HUP TERM PIPE; echo ready; while :; do sleep 0.2; done"))
	log := begin(t, h.Command("logs", "zk", "--follow"))
	o.until("the command runs", func(l string) bool { return l == "ready" })
	log.until("the log", func(l string) bool { return l != "" })
	h.Kill(h.Cluster("zk").Nodes[0].AgentPID)
	code, errs := o.code()
	if code != 1 || !strings.Contains(errs, "the command on "+node+" was cut off: the agent's end of the session is gone") {
		t.Errorf("the command ended with %d: %s", code, errs)
	}
	code, errs = log.code()
	if code != 1 || !strings.Contains(errs, node+": what it wrote from here on is not shown: the agent's end of the session is gone") {
		t.Errorf("following ended with %d: %s", code, errs)
	}
	nothingLeft(t, h)
	harness.Within(t, 20*time.Second, "the agent is back", func() (bool, string) {
		r := h.Run("exec", "zk/"+node, "--", "true")
		return r.Code == 0, r.Stderr
	})
	harness.Contains(t, "the agent's log", h.OK("logs", "zk", "--service", "agent", "-n", "-1"), "msg=adopted service=zookeeper")
}
