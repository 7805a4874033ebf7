package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/cell/worker/plain"
)

// deaf is a task that does not hear of its end.
type deaf struct {
	container.Running
	asked chan time.Duration
}

func (d deaf) Kill(grace time.Duration) error {
	d.asked <- grace
	return errors.New("it did not hear")
}

// TestWatchDiskAsksAgain: the quota asks for the end of a task until it has come.
func TestWatchDiskAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Worker{cfg: Config{Dir: t.TempDir(), Quota: 10 * time.Second}, log: slog.New(slog.DiscardHandler)}
		disk, err := mesos.ParseResources("disk:1")
		if err != nil {
			t.Fatal(err)
		}
		task := w.newTask(mesos.ID{Value: "f"}, mesos.TaskInfo{Resources: disk})
		run := deaf{asked: make(chan time.Duration, 10)}
		task.run, task.runtime = run, plain.New(plain.Config{})
		if err := os.MkdirAll(task.sandbox(), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(task.sandbox(), "fill"), make([]byte, 2<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		go task.watchDisk(t.Context())
		time.Sleep(35 * time.Second)
		if n := len(run.asked); n != 3 {
			t.Errorf("asked %d times in 35 s", n)
		}
		if rec, _ := task.snapshot(); rec.Kill == nil || rec.Kill.Reason != mesos.ReasonContainerDisk {
			t.Errorf("recorded %+v", rec.Kill)
		}
	})
}

func TestDiskUse(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "a", "b", "big")
	if err := os.WriteFile(big, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // the same file, three times more
		if err := os.Link(big, filepath.Join(dir, fmt.Sprint("link", i))); err != nil {
			t.Fatal(err)
		}
	}
	hole, err := os.Create(filepath.Join(dir, "hole"))
	if err != nil {
		t.Fatal(err)
	}
	if err := hole.Truncate(1 << 40); err != nil {
		t.Fatal(err)
	}
	hole.Close()
	if err := os.Symlink("/usr", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	u := diskUse(100, dir, filepath.Join(dir, "not there"))
	if u.files != 8 || u.bytes < 1<<20 || u.bytes > 1<<20+64<<10 {
		t.Errorf("%+v", u)
	}
	for i := range 2500 {
		if err := os.WriteFile(filepath.Join(dir, "a", fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if u := diskUse(100_000, dir); u.files != 2508 {
		t.Errorf("%d files", u.files)
	}
	if u := diskUse(500, dir); u.files <= 500 || u.files > 500+batch {
		t.Errorf("counted %d files", u.files)
	}
}
