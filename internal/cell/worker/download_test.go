package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/mesos"
)

// TestDownloadsHoldNobodyUp: one project has as many downloads under way as there may
// be, and they do not end; tasks of others start, with downloads and without.
func TestDownloadsHoldNobodyUp(t *testing.T) {
	begun := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quick" {
			_, _ = w.Write([]byte("quick"))
			return
		}
		w.(http.Flusher).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close) // after the worker
	c := newCell(t, func(s *setup) { s.LocalFetch = true })
	fetching := func(project, path string) mesos.TaskInfo {
		info := shell("true")
		info.Labels = &mesos.Labels{Labels: []mesos.Label{{Key: app.ProjectLabel, Value: project}}}
		info.Command.URIs = []mesos.URI{{Value: server.URL + path}}
		return info
	}
	for range 2*runtime.NumCPU() + 1 {
		c.launch(fetching("shop", "/slow"), "")
	}
	for range 2 * runtime.NumCPU() {
		<-begun
	}
	for name, info := range map[string]mesos.TaskInfo{"without": shell("true"), "with": fetching("other", "/quick")} {
		if end := c.end(c.launch(info, "")); end.State != mesos.TaskFinished {
			t.Errorf("%s a download: %s %q", name, end.State, end.Message)
		}
	}
	if len(begun) != 0 {
		t.Error("a project has more downloads at a time than it may")
	}
}

func TestTurns(t *testing.T) {
	turns := newTurns(1)
	done, err := turns.take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := turns.take(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second place: %v", err)
	}
	other, err := turns.take(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	done()
	if len(turns.of) != 0 {
		t.Errorf("%d owners are kept", len(turns.of))
	}
}

// sharedFull: it may have written all or nearly all when it was looked at.
var sharedFull = regexp.MustCompile(` of the 20 MB that they share here, and this one the most, 1[5-7] MB: give its app disk$`)

// TestSharedDisk: tasks that were given no disk share the worker's, and the one that
// fills it ends. What is fetched counts before it is written.
func TestSharedDisk(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(30<<20))
	}))
	t.Cleanup(server.Close) // after the worker
	c := newCell(t, func(s *setup) { s.LocalFetch, s.Disk, s.Quota = true, 20, 50*time.Millisecond })
	small := c.launch(shell("head -c 5000000 /dev/zero > some; sleep 300"), "")
	c.untilState(small, mesos.TaskRunning)
	for name, resources := range map[string]string{"none": "", "its own": "cpus:0.1;mem:64;disk:10"} {
		info := shell("true")
		info.Command.URIs = []mesos.URI{{Value: server.URL + "/large"}}
		end := c.end(c.launch(info, resources))
		want := "all that is fetched and unpacked may have 20971520 bytes"
		if name != "none" {
			want = "all that is fetched and unpacked may have 10485760 bytes"
		}
		if end.State != mesos.TaskFailed || !strings.HasSuffix(end.Message, want) {
			t.Errorf("disk: %s: %s %q", name, end.State, end.Message)
		}
	}
	end := c.end(c.launch(shell("head -c 18000000 /dev/zero > fill; sleep 300"), ""))
	if end.State != mesos.TaskFailed || end.Reason != mesos.ReasonContainerDisk || !sharedFull.MatchString(end.Message) {
		t.Errorf("%s %s %q", end.State, end.Reason, end.Message)
	}
	// What was the filler's is free again.
	again := c.launch(shell("head -c 10000000 /dev/zero > some; sleep 1"), "")
	if end := c.end(again); end.State != mesos.TaskFinished {
		t.Errorf("%s %q", end.State, end.Message)
	}
	if got := describe(c.history(small)); got != "STARTING RUNNING" {
		t.Errorf("the small one: %s", got)
	}
}
