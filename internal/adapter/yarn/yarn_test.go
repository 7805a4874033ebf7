package yarn

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	appDone    = "application_1795342199305_0001"
	appKilled  = "application_1795342199305_0003"
	appRunning = "application_1795342199305_0007"
)

// serve answers with what the servers of Hadoop 3.5.0 said, by path.
func serve(t *testing.T, files map[string]string) *Client {
	mux := http.NewServeMux()
	for pattern, file := range files {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if file == "redirect" {
				http.Redirect(w, r, "http://localhost:1/", http.StatusFound)
				return
			}
			b, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Error(err)
			}
			// Nodes and logs name addresses; ours is the test server's.
			w.Write([]byte(strings.ReplaceAll(string(b), "127.9.30.21:8042", r.Host)))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(404)
		io.WriteString(w, `{"RemoteException":{"exception":"NotFoundException","message":"app with id: x not found"}}`)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return New(Config{Address: s.URL, History: s.URL + "/", User: "ann", HTTP: s.Client()})
}

func TestMetrics(t *testing.T) {
	got, err := serve(t, map[string]string{"/ws/v1/cluster/metrics": "metrics.json"}).Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := Metrics{
		Nodes:      NodeCounts{Active: 1},
		Apps:       AppCounts{Submitted: 3, Running: 1, Completed: 2},
		MemoryMB:   Resource{Total: 3072, Used: 2560, Free: 512},
		VCores:     Resource{Total: 9, Used: 9},
		Containers: 9,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestInfo(t *testing.T) {
	got, err := serve(t, map[string]string{"/ws/v1/cluster/info": "info.json"}).Info(t.Context())
	want := Info{"STARTED", "ACTIVE", time.UnixMilli(1795342199305), "3.5.0"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestNodes(t *testing.T) {
	got, err := serve(t, map[string]string{"/ws/v1/cluster/nodes": "nodes.json"}).Nodes(t.Context())
	if err != nil || len(got) != 1 {
		t.Fatalf("got %+v, %v", got, err)
	}
	n := got[0]
	if n.ID != "127.9.30.21:8041" || n.Host != "127.9.30.21" || n.State != "RUNNING" || n.MemoryMB.Total != 3072 || n.VCores.Total != 8 || n.Containers != 9 {
		t.Errorf("node = %+v", n)
	}
}

func TestJobs(t *testing.T) {
	got, err := serve(t, map[string]string{"/ws/v1/cluster/apps": "apps.json"}).Jobs(t.Context())
	if err != nil || len(got) != 1 {
		t.Fatalf("got %+v, %v", got, err)
	}
	j := got[0]
	if j.ID != appDone || j.Name != "word count" || j.State != StateFinished || j.Outcome != "SUCCEEDED" || !j.State.Final() || j.Finished.Before(j.Started) || j.MemoryMB != 0 {
		t.Errorf("job = %+v", j)
	}
}

func TestJob(t *testing.T) {
	c := serve(t, map[string]string{
		"/ws/v1/cluster/apps/" + appDone:                                "app-finished.json",
		"/ws/v1/history/mapreduce/jobs/job_1795342199305_0001":          "history-job.json",
		"/ws/v1/cluster/apps/" + appRunning:                             "app-running.json",
		"/proxy/application_1795342199305_0003/ws/v1/mapreduce/jobs":    "am-jobs.json",
		"/ws/v1/cluster/apps/" + appKilled:                              "app-killed.json",
		"/ws/v1/history/mapreduce/jobs/job_1795342199305_0009":          "history-job.json",
		"/ws/v1/history/mapreduce/jobs/job_1795342199305_0001/counters": "history-counters.json",
		"/proxy/" + appDone + "/ws/v1/mapreduce/jobs":                   "redirect",
	})
	for _, test := range []struct {
		id        string
		state     State
		mapReduce *MapReduce
		note      string
	}{
		{"job_1795342199305_0001", StateFinished, &MapReduce{Maps: Phase{2, 2, 100, 0}, Reduces: Phase{1, 1, 100, 0}}, ""},
		{appRunning, StateRunning, &MapReduce{Maps: Phase{8, 0, 0, 0}, Reduces: Phase{1, 0, 0, 0}}, ""},
		{appKilled, StateKilled, nil, "no map and reduce progress: app with id: x not found (NotFoundException)"},
		{"application_1795342199305_0009", StateFinished, &MapReduce{Maps: Phase{2, 2, 100, 0}, Reduces: Phase{1, 1, 100, 0}}, ""},
	} {
		got, err := c.Job(t.Context(), test.id)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(test.mapReduce, got.MapReduce); diff != "" || got.State != test.state || got.Note != test.note {
			t.Errorf("%s: %+v %s", test.id, got, diff)
		}
	}
	counters, err := c.Counters(t.Context(), appDone)
	if err != nil {
		t.Fatal(err)
	}
	want := Counter{Total: 14401625, Map: 14401625}
	if got := counters["org.apache.hadoop.mapreduce.FileSystemCounter"]["HDFS_BYTES_READ"]; got != want {
		t.Errorf("counter = %+v", got)
	}
	// A group of one counter comes without brackets.
	if got := counters["org.apache.hadoop.mapreduce.lib.input.FileInputFormatCounter"]; len(got) != 1 {
		t.Errorf("group of one = %+v", got)
	}
}

// The proxy of an ApplicationMaster that has gone redirects to a page.
func TestApplicationMasterGone(t *testing.T) {
	c := serve(t, map[string]string{
		"/ws/v1/cluster/apps/" + appRunning: "app-running.json",
		"/proxy/":                           "redirect",
	})
	got, err := c.Job(t.Context(), appRunning)
	if err != nil || got.MapReduce != nil || got.Note != "no map and reduce progress: the ApplicationMaster has gone" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNotFound(t *testing.T) {
	c := serve(t, nil)
	for id, text := range map[string]string{
		"application_1_1": "cannot read job application_1_1: app with id: x not found (NotFoundException)",
		"nonsense":        `cannot read job nonsense: no such application: "nonsense" is no application id`,
		"job_1_../../x":   `cannot read job job_1_../../x: no such application: "job_1_../../x" is no application id`,
	} {
		if _, err := c.Job(t.Context(), id); !errors.Is(err, ErrNotFound) || err.Error() != text {
			t.Errorf("got %v, want %s", err, text)
		}
	}
}

func TestKill(t *testing.T) {
	var got string
	status := http.StatusAccepted
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.RequestURI + " " + r.Header.Get("Content-Type") + " " + string(body)
		w.WriteHeader(status)
		io.WriteString(w, `{"state":"KILLING"}`)
	}))
	defer s.Close()
	c := New(Config{Address: s.URL, User: "ann b"})
	if err := c.Kill(t.Context(), "job_1_2"); err != nil {
		t.Error(err)
	}
	if want := `PUT /ws/v1/cluster/apps/application_1_2/state?user.name=ann+b application/json {"state":"KILLED"}`; got != want {
		t.Errorf("sent %s", got)
	}
	status = http.StatusForbidden
	if err := c.Kill(t.Context(), "application_1_2"); !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
}

func TestLogs(t *testing.T) {
	const container = "container_1795342199305_0003_01_000001"
	c := serve(t, map[string]string{
		"/ws/v1/cluster/apps/" + appDone:                     "app-finished.json",
		"/ws/v1/history/aggregatedlogs":                      "history-logs.json",
		"/ws/v1/cluster/apps/" + appRunning:                  "app-running.json",
		"/ws/v1/cluster/nodes":                               "nodes.json",
		"/ws/v1/node/apps/" + appRunning:                     "nm-app.json",
		"/ws/v1/node/containers/" + container + "/logs":      "nm-logs.json",
		"/ws/v1/node/containerlogs/" + container + "/syslog": "info.json",
	})
	done, err := c.LogsOf(t.Context(), appDone)
	if err != nil || len(done) != 29 {
		t.Fatalf("%d logs, %v", len(done), err)
	}
	if l := done[1]; l.File != "launch_container.sh" || l.Size != 22771 || l.Node != "127.9.30.21:8041" || l.Modified.Year() != 2026 {
		t.Errorf("log = %+v", l)
	}
	running, err := c.LogsOf(t.Context(), appRunning)
	if err != nil || len(running) != 7 {
		t.Fatalf("%d logs, %v", len(running), err)
	}
	for _, l := range running {
		if l.File != "syslog" {
			continue
		}
		r, err := c.OpenLog(t.Context(), l, 100)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if b, err := io.ReadAll(r); err != nil || len(b) == 0 || l.Container != container {
			t.Errorf("log %+v: %q, %v", l, b, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	if _, err := New(Config{Address: "http://127.9.31.9:1"}).Metrics(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}
