package worker

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/node/proc"
)

// onSmallDisk gives the worker a disk of 6 MB.
func onSmallDisk(t *testing.T) func(*setup) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount")
	}
	return func(s *setup) {
		if err := syscall.Mount("tmpfs", s.Dir, "tmpfs", 0, "size=6m,mode=755"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(s.Dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
}

// isFull tells whether nothing more can be written by the worker.
func (c *cell) isFull() bool {
	file := filepath.Join(c.setup.Dir, "try")
	err := os.WriteFile(file, []byte("x"), 0o600)
	_ = os.Remove(file)
	return err != nil
}

// makeRoom empties what tasks filled the disk with.
func (c *cell) makeRoom() {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.setup.Dir, "sandboxes", "*", "fill"))
	if err != nil || len(files) == 0 {
		c.t.Fatal("nothing fills the disk", err)
	}
	for _, f := range files {
		if err := os.Truncate(f, 0); err != nil {
			c.t.Fatal(err)
		}
	}
}

// TestKillOnFullDisk: what fills the disk can be ended, by an order and by its quota.
func TestKillOnFullDisk(t *testing.T) {
	c := newCell(t, onSmallDisk(t))
	const fill = "head -c 20000000 /dev/zero > fill; sleep 1000"
	id := c.launch(shell(fill), "")
	pid := c.untilState(id, mesos.TaskRunning).ContainerStatus.ExecutorPID
	c.eventually("the disk is full", c.isFull)
	c.kill(id)
	if end := c.end(id); end.State != mesos.TaskKilled || alive(pid) {
		t.Errorf("killed: %s %q, alive %v", end.State, end.Message, alive(pid))
	}
	c.makeRoom()
	id = c.launch(shell("sleep 0.3; "+fill), "cpus:0.1;mem:64;disk:1")
	pid = c.untilState(id, mesos.TaskRunning).ContainerStatus.ExecutorPID
	if end := c.end(id); end.Reason != mesos.ReasonContainerDisk || alive(pid) {
		t.Errorf("over its quota: %s %s %q, alive %v", end.State, end.Reason, end.Message, alive(pid))
	}
}

// TestEndOnFullDisk: a task that ends on a full disk does so once, with its own exit
// code, whatever becomes of the worker.
func TestEndOnFullDisk(t *testing.T) {
	runs := filepath.Join(t.TempDir(), "runs")
	c := newCell(t, onSmallDisk(t))
	id := c.launch(shell("echo once >> "+runs+"; sleep 0.3; head -c 20000000 /dev/zero > fill; exit 7"), "")
	c.untilState(id, mesos.TaskRunning)
	c.mu.Lock()
	c.mute = true // acknowledgements make the worker write, too
	c.mu.Unlock()
	const want = "Command exited with status 7"
	if end := c.end(id); end.State != mesos.TaskFailed || end.Message != want {
		t.Errorf("%s %q", end.State, end.Message)
	}
	if !c.isFull() {
		t.Fatal("the disk is not full")
	}
	c.killWorker()
	c.mu.Lock()
	delete(c.statuses, id)
	c.mute = false
	c.mu.Unlock()
	c.startWorker() // still on a full disk
	if end := c.end(id); end.State != mesos.TaskFailed || end.Message != want {
		t.Errorf("after a restart: %s %q", end.State, end.Message)
	}
	c.makeRoom()
	c.eventually("the end is written and the task's state removed", func() bool {
		records, _ := filepath.Glob(filepath.Join(c.setup.Dir, "tasks", "*", recordFile))
		left, _ := filepath.Glob(filepath.Join(c.setup.Dir, "tasks", "*", "run*"))
		if len(records) != 1 || len(left) != 0 {
			return false
		}
		text, _ := os.ReadFile(records[0])
		return bytes.Contains(text, []byte(`"phase":"`+phaseEnded+`"`))
	})
	if text, _ := os.ReadFile(runs); string(text) != "once\n" {
		t.Errorf("it ran %d times", strings.Count(string(text), "once"))
	}
}

// TestStateGone: what ran and has no state any more has ended. It is not run again.
func TestStateGone(t *testing.T) {
	runs := filepath.Join(t.TempDir(), "runs")
	c := newCell(t, nil)
	id := c.launch(shell("echo once >> "+runs+"; sleep 0.1"), "")
	c.untilState(id, mesos.TaskRunning)
	c.killWorker()
	c.eventually("the task and its shim end", func() bool {
		left, err := proc.List(c.setup.Node)
		return err == nil && len(left) == 0
	})
	dirs, _ := filepath.Glob(filepath.Join(c.setup.Dir, "tasks", "*", "run0"))
	if len(dirs) != 1 {
		t.Fatalf("%d folders", len(dirs))
	}
	if err := os.RemoveAll(dirs[0]); err != nil {
		t.Fatal(err)
	}
	c.startWorker()
	if end := c.end(id); end.State != mesos.TaskFailed || end.Message != errGone.Error() {
		t.Errorf("%s %q", end.State, end.Message)
	}
	if text, _ := os.ReadFile(runs); string(text) != "once\n" {
		t.Errorf("it ran %d times", strings.Count(string(text), "once"))
	}
}
