package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/adapter/marathon"
)

// script is a Marathon that answers each question with the next line of a list,
// and with the last one from then on.
func script(t *testing.T, answers map[string][]string) *cell {
	t.Helper()
	asked := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list := answers[r.URL.Path]
		n := asked[r.URL.Path]
		asked[r.URL.Path]++
		if len(list) == 0 {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"message": "not there"}`)
			return
		}
		io.WriteString(w, list[min(n, len(list)-1)])
	}))
	t.Cleanup(s.Close)
	return &cell{Client: marathon.New(marathon.Config{URL: s.URL})}
}

// appText is an app's answer, with a task where it runs; more adds fields.
func appText(running, more string) string {
	task := ""
	if running == "1" {
		task = `{"id": "a.1", "state": "TASK_RUNNING", "version": "2", "worker": "w1"}`
	}
	return `{"app": {"id": "/a", "instances": 1, "tasksRunning": ` + running + `, "version": "2", "versionInfo": {"lastConfigChangeAt": "2"}, "tasks": [` + task + `]` + more + `}}`
}

// TestFollowApp: a change has gone well when its app runs, and goes on running.
func TestFollowApp(t *testing.T) {
	const failed = `, "lastTaskFailure": {"host": "w1", "state": "TASK_FAILED", "message": "Command exited with status 3", "timestamp": "2026-01-02T03:04:05.000Z"}`
	const cause = "  cause    the last instance that ended by itself, on w1: TASK_FAILED Command exited with status 3 (since TIME)\n  next     read what it wrote: howdah app logs /a\n"
	const pause = `{"queue": [{"count": 1, "delay": {"timeLeftSeconds": 4}, "app": {"id": "/a"}}]}`
	const under = `[{"id": "d", "affectedApps": ["/a"], "waiting": {"/a": "0 of 1 instances healthy; a.1 waits for its health check for 3 s: no"}}]`
	for _, tt := range []struct {
		name               string
		apps, ds, queue    []string
		before             marathon.App
		code               int
		out, told, because string
	}{
		{name: "well", apps: []string{appText("1", "")}, out: "/a runs 1 of 1\n"},
		{
			name: "it ended at once", apps: []string{appText("0", failed)}, queue: []string{pause}, code: 1,
			because: "/a is not as wanted: 0 of 1 run\n  because  the next launch waits 4s more, for instances failed\n" + cause,
		},
		{
			name: "it ended a moment later", apps: []string{appText("1", ""), appText("1", ""), appText("1", failed)}, code: 1,
			because: "/a runs 1 of 1, but instances end as soon as they run\n" + cause,
		},
		{name: "it failed long before", apps: []string{appText("1", failed)}, out: "/a runs 1 of 1\n"},
		{
			name: "nothing to change, but an earlier change is not through", apps: []string{appText("1", `, "deployments": [{"id": "d"}]`), appText("1", `, "deployments": [{"id": "d"}]`), appText("1", "")},
			ds: []string{`[]`, under, strings.Replace(under, "3 s", "4 s", 1), `[]`}, before: marathon.App{Version: "2"},
			out: "/a runs 1 of 1\n", told: "/a: 0 of 1 instances healthy; a.1 waits for its health check for 3 s: no\n",
		},
		{
			name: "unhealthy", apps: []string{appText("1", `, "healthChecks": [{}], "tasksUnhealthy": 1, "tasks": [{"id": "a.1", "state": "TASK_RUNNING", "version": "2", "worker": "w1", "healthCheckResults": [{"alive": false, "lastFailureCause": "503"}]}]`)}, code: 1,
			because: "/a is not as wanted: 1 of 1 run\n  cause    a.1 on w1 is ill: 503\n  next     read what it wrote: howdah app logs /a\n",
		},
		{name: "cancelled", apps: []string{strings.Replace(appText("1", ""), `"TASK_RUNNING", "version": "2"`, `"TASK_RUNNING", "version": "1"`, 1)}, code: exitFailed, because: "the deployment d0 has ended and /a is not as it wanted: 0 of 1 instances run as it is now, beside 1 others. It was cancelled, or made way for another"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answers := map[string][]string{"/v2/apps/a": tt.apps, "/v2/deployments": tt.ds, "/v2/queue": tt.queue}
			if tt.ds == nil {
				answers["/v2/deployments"] = []string{`[]`}
			}
			if tt.queue == nil {
				answers["/v2/queue"] = []string{`{"queue": []}`}
			}
			var out, told bytes.Buffer
			a := &app{output: "table", out: &out, err: &told}
			before := tt.before
			before.Version = cmp.Or(before.Version, "1")
			err := a.followApp(t.Context(), script(t, answers), &before, "/a", marathon.Result{Version: "2", DeploymentID: "d0"})
			code, because := 0, ""
			if f, ok := errors.AsType[*followError](err); ok {
				var b strings.Builder
				printFindings(&b, f.findings)
				code, because = f.code, regexp.MustCompile(`\(since [^)]*\)`).ReplaceAllString(b.String(), "(since TIME)")
			} else if err != nil {
				code, because = exitFailed, err.Error()
			}
			if diff := gocmp.Diff([]any{tt.code, tt.out, tt.told, tt.because}, []any{code, out.String(), told.String(), because}); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestTeller: who waits reads why, once, and again when it has changed.
func TestTeller(t *testing.T) {
	const refused = `{"queue": [{"count": 1, "app": {"id": "/other"}, "reasons": ["no"]}, {"count": 1, "app": {"id": "/a"}, "reasons": ["w1: needs 100 cpus; 8 are free", "w2: rack IS r1: has r2"]}]}`
	const pause = `{"queue": [{"count": 1, "delay": {"timeLeftSeconds": 4}, "app": {"id": "/a"}}]}`
	const failed = `, "lastTaskFailure": {"host": "w1", "state": "TASK_FAILED", "message": "exit 3", "timestamp": "2026-01-02T03:04:05.000Z"}`
	var told bytes.Buffer
	a := &app{output: "table", err: &told}
	tell := a.teller(script(t, map[string][]string{"/v2/queue": {refused, pause}, "/v2/apps/a": {appText("0", ""), appText("0", failed)}}))
	for _, wait := range []string{"1 more waits for a worker", "1 more waits for a worker", "a.1 is starting for 3 s", "a.1 is starting for 1 min 4 s"} {
		tell.tell(t.Context(), map[string]string{"/a": wait})
	}
	tell.looked = tell.looked.Add(-queueGlance)
	tell.tell(t.Context(), map[string]string{"/a": "a.1 is starting for 2 min"})
	want := `/a: 1 more waits for a worker
/a:   w1: needs 100 cpus; 8 are free
/a:   w2: rack IS r1: has r2
/a: a.1 is starting for 3 s
/a: an instance failed: exit 3
/a: the next launch waits 4s, for instances failed
`
	if diff := gocmp.Diff(want, told.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestDescribePause: an app in back-off says for how long.
func TestDescribePause(t *testing.T) {
	var b strings.Builder
	q := marathon.Queued{Count: 1, Since: "now"}
	q.App.ID, q.Delay.Left = "/a", 7
	describeApp(&b, &marathon.App{ID: "/a", Instances: 1}, []marathon.Queued{q}, nil)
	if want := "/a  0 of 1 run, version \n  1 instance to launch since now\n    the next launch waits 7s more, for instances failed\n"; b.String() != want {
		t.Error(b.String())
	}
}

// TestLeaving: with ctrl-c a change goes on, and so may he who asked for it.
func TestLeaving(t *testing.T) {
	c := script(t, map[string][]string{"/v2/deployments": {`[{"id": "d0", "affectedApps": ["/a"]}]`}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	a := &app{output: "table", err: &out}
	f := &appFlags{cell: "east"}
	a.goesOn = f.onCell("howdah app describe /a")
	err := a.followApp(ctx, c, &marathon.App{}, "/a", marathon.Result{DeploymentID: "d0"})
	if code := a.fail(a.appCmd(), err); code != exitFailed || out.String() != "left; what was asked for goes on. Follow it with: howdah app describe /a --cell east\n" {
		t.Errorf("%d %s", code, &out)
	}
}
