package node

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
)

// smallDisk puts the node's directory on a file system of its own whose size the test
// sets: empty takes away its last byte, roomy gives it plenty.
func (h *hub) smallDisk() (empty, roomy func()) {
	h.t.Helper()
	files := map[string][]byte{}
	for _, name := range []string{"host.json", "join.json"} {
		data, err := os.ReadFile(h.path(name))
		if err != nil {
			h.t.Fatal(err)
		}
		files[name] = data
	}
	if err := unix.Mount("tmpfs", h.dir, "tmpfs", 0, "size=4g"); err != nil {
		h.t.Skipf("this user cannot mount a small disk: %v; TestNoRoomToRestart has one that is said to be full", err)
	}
	h.t.Cleanup(func() {
		if err := unix.Unmount(h.dir, unix.MNT_DETACH); err != nil {
			h.t.Error(err)
		}
	})
	for name, data := range files {
		writeFile(h.t, h.path(name), string(data))
	}
	filler := h.path("filler")
	size := func(bytes uint64) {
		h.t.Helper()
		if err := unix.Mount("tmpfs", h.dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", bytes)); err != nil {
			h.t.Fatal(err)
		}
	}
	empty = func() {
		h.t.Helper()
		var st unix.Statfs_t
		if err := unix.Statfs(h.dir, &st); err != nil {
			h.t.Fatal(err)
		}
		size((st.Blocks - st.Bfree + 16) * uint64(st.Bsize)) //nolint:gosec // block sizes are positive
		f, err := os.Create(filler)
		if err != nil {
			h.t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, unix.ENOSPC) {
			h.t.Fatal(err)
		}
	}
	return empty, func() {
		h.t.Helper()
		if err := os.Remove(filler); err != nil {
			h.t.Fatal(err)
		}
		size(4 << 30)
	}
}

// onFullDisk waits until the disk is said to be full, with more, and returns the service.
func (h *hub) onFullDisk(more string) api.ServiceStatus {
	h.t.Helper()
	var svc api.ServiceStatus
	h.until("the disk is said to be full"+more, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, c := range h.report.Conditions {
			if c.Type == api.ConditionDiskPressure && c.Reason == api.ReasonFull &&
				c.Message == "0.0 GiB free of 0.0 GiB on the disk of "+h.dir+"; nothing can be started on it"+more && len(h.report.Services) == 1 {
				svc = h.report.Services[0]
				return true
			}
		}
		return false
	})
	return svc
}

// TestDiskFull: an agent whose disk has no byte left stays connected, refuses new work
// with a condition and keeps what runs, also over its own end; it takes the work up when
// there is room. An end needs none.
func TestDiskFull(t *testing.T) {
	h := newHub(t)
	empty, roomy := h.smallDisk()
	h.senses = senses{every: 20 * time.Millisecond}
	h.serve(h.service(""))
	stop := h.agent()
	before := h.state("ready")
	h.condition(api.ConditionDiskPressure, "Enough")

	empty()
	svc := h.service("")
	svc.RestartKey = "two"
	h.serve(svc)
	waits := fmt.Sprintf("; assignment %d waits for room, what runs goes on as it is", h.as.Generation)
	if now := h.onFullDisk(waits); now.PID != before.PID || now.State != api.StateReady {
		t.Errorf("the service is %+v, it was %+v", now, before)
	}
	if err := stop(); err == nil {
		t.Error("the agent ended by itself")
	}
	h.mu.Lock()
	h.report = agentapi.Report{}
	h.mu.Unlock()
	stop = h.agent()
	if now := h.onFullDisk(waits); now.PID != before.PID || now.State != api.StateReady {
		t.Errorf("another agent finds the service %+v, it was %+v", now, before)
	}
	if n := len(h.lines("starts")); n != 1 {
		t.Errorf("the service was started %d times on a full disk, want 1", n)
	}

	roomy()
	h.condition(api.ConditionDiskPressure, "Enough")
	after := h.state("ready")
	if n := len(h.lines("starts")); n != 2 || after.PID == before.PID || after.Incarnation != 2 {
		t.Errorf("with room the service was started %d times, want 2: %+v", n, after)
	}

	empty()
	h.assign(func(a *agentapi.Assignment) { a.Intent = agentapi.IntentStop })
	h.state("stopped")
	if left := h.processes(); len(left) > 0 {
		t.Errorf("after a stop these run: %v", left)
	}
	if err := stop(); err == nil {
		t.Error("the agent ended by itself")
	}
	t.Log("1 assignment refused and taken up with room, 1 end taken at once, 0 services ended for want of room, 2 agents")
}

// TestNoRoomToRestart: a service that could not start again is not ended for its new
// configuration.
func TestNoRoomToRestart(t *testing.T) {
	h := newHub(t)
	w := &world{disk: disk{free: 1 << 40, total: 1 << 40}, memory: memory{available: 1 << 40, total: 1 << 40}}
	h.senses = w.senses()
	h.serve(h.service(""))
	h.agent()
	before := h.state("ready")
	w.change(func(w *world) { w.disk.free = minFree - 1 })
	svc := h.service("")
	svc.RestartKey = "two"
	h.serve(svc)
	want := "cannot restart svc: 255 MiB free on the disk of " + h.path("svc") + ", 256 MiB needed; until then it runs as it is"
	h.until("the restart waits for room", func() bool { return h.seen().Message == want })
	if now := h.seen(); now.PID != before.PID || now.State != api.StateWaiting {
		t.Errorf("the service is %+v, it was %+v", now, before)
	}
	w.change(func(w *world) { w.disk.free = minFree })
	after := h.state("ready")
	if n := len(h.lines("starts")); n != 2 || after.PID == before.PID {
		t.Errorf("with room it was started %d times, want 2: %+v", n, after)
	}
}
