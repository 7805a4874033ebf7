package cli

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/adapter/marathon"
	"howdah.dev/howdah/internal/image/filelock"
	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/registry"
	"howdah.dev/howdah/internal/pipeline"
	"howdah.dev/howdah/internal/server"
)

const twoSteps = `
name: two
warehouse: w
steps:
  - {name: in, ingest: {from: src, dataset: /data/in}}
  - {name: words, after: [in], job: {cluster: batch, main: wordcount, args: [/data/in, "${OUTPUT}"], output: /data/words}}
`

// pipelineDir is a directory with a pipeline and what it needs.
func pipelineDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"pipeline.yaml": twoSteps, "broken.yaml": "name: two\nwarehouse: w\nsteps: [{name: in}]\n", "src/a": "x"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPipelineApply(t *testing.T) {
	home := server.Home{Dir: t.TempDir()}
	dir := pipelineDir(t)
	for _, tt := range []struct {
		words string
		want  string // output, or the error
		code  int
	}{
		{"pipeline get", "no pipelines; keep one with: howdah pipeline apply FILE\n", 0},
		{"pipeline apply " + dir, "pipeline two is kept: 2 steps.  Run it with: howdah pipeline run two\n", 0},
		{"pipeline apply " + dir + "/pipeline.yaml", "pipeline two is unchanged\n", 0},
		{"pipeline apply two", "two is a pipeline that is kept already; give a file", 2},
		{"pipeline apply " + dir + "/broken.yaml", "steps[0]: the step does nothing", 2},
		{"pipeline apply " + dir + "/none.yaml", "there is no " + dir + "/none.yaml", 3},
		{"pipeline run other", "there is no pipeline other; howdah pipeline apply FILE stores one, howdah pipeline get lists all", 3},
		{"pipeline explain ../two", "there is no pipeline ../two", 3},
	} {
		out, err := howdah(t, home, "", strings.Fields(tt.words)...)
		if tt.code == 0 {
			if err != nil || out != tt.want {
				t.Errorf("%s: %v, printed\n%s", tt.words, err, out)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.words, err, tt.want)
		} else if code := (&app{out: io.Discard, err: io.Discard}).fail((&app{}).root(), err); code != tt.code {
			t.Errorf("%s: exit code %d, want %d", tt.words, code, tt.code)
		}
	}
	// What is kept is the text, not the file.
	if err := os.Remove(dir + "/pipeline.yaml"); err != nil {
		t.Fatal(err)
	}
	a := &app{home: home}
	if d, file, err := a.findPipeline(t.Context(), "two"); err != nil || file != "" || d.Steps[0].Ingest.From != dir+"/src" {
		t.Errorf("kept: %+v, %q, %v", d, file, err)
	}
	for _, words := range [][]string{{"pipeline", "run", "two"}, {"pipeline", "get", "two"}, {"pipeline", "explain", "two"}} {
		if _, err := howdah(t, home, "", words...); !errors.Is(err, client.ErrUnreachable) {
			t.Errorf("%v without a server: %v", words, err)
		}
	}
	if out, err := howdah(t, home, "", "pipeline", "get"); err != nil || !strings.Contains(out, "two       unknown: ") {
		t.Errorf("get without a server: %v\n%s", err, out)
	}
}

// TestOneRunAtATime: the lock is in the home, and goes with its holder.
func TestOneRunAtATime(t *testing.T) {
	home := server.Home{Dir: t.TempDir()}
	unlock, err := filelock.Try(filepath.Join(home.Pipelines(), "two.lock"), filelock.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	a := &app{home: home, out: io.Discard, err: io.Discard}
	if _, err := a.lockPipeline("two"); err == nil || err.Error() != "pipeline two is running already; see how it goes with: howdah pipeline explain two" {
		t.Errorf("got %v", err)
	}
	unlock()
	if unlock, err = a.lockPipeline("two"); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestExplainRun(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	running := pipeline.Record{Updated: at, Result: pipeline.Result{
		Pipeline: "p", Run: "r1", State: pipeline.StateRunning, Started: at.Add(-72 * time.Second),
		Steps: []pipeline.StepResult{
			{Name: "feed", Kind: pipeline.KindFeed, State: pipeline.StateDone},
			{Name: "in", Kind: pipeline.KindApp, State: pipeline.StateRunning, Message: "waiting: no worker has 96 MB", Conditions: []string{"plain commands"}, Figures: pipeline.Figures{Parts: 3, PartsTotal: 6, Instances: 2}},
			{Name: "check", Kind: pipeline.KindVerify, State: pipeline.StateWaiting, Message: "waits for in"},
		},
	}}
	failed := running
	failed.Result.State, failed.Result.Ended = pipeline.StateFailed, at
	failed.Result.Steps = []pipeline.StepResult{{Name: "in", Kind: pipeline.KindApp, State: pipeline.StateFailed, Message: "no instance runs"}}
	done := running
	done.Result.State, done.Result.Ended, done.Result.Steps, done.VerifiedAt = pipeline.StateDone, at, nil, at
	const steps = `  STEP   STATE    BECAUSE
  in     running  3 of 6 parts  2 instances running  waiting: no worker has 96 MB
  check  waiting  waits for in
  weaker   step in: plain commands
`
	for name, tt := range map[string]struct {
		rec  pipeline.Record
		at   time.Time
		want string
	}{
		"running": {running, at, "pipeline p is running since 1m12s\n" + steps + "  next     it goes on; look again with: howdah pipeline explain p\n"},
		"killed":  {running, at.Add(2 * time.Minute), "pipeline p was ended in the middle: its run r1 has told nothing for 2m00s\n" + steps + "  next     mend the cause and: howdah pipeline run p\n"},
		"failed":  {failed, at.Add(time.Minute), "pipeline p is failed since 1m00s\n  STEP  STATE   BECAUSE\n  in    failed  no instance runs\n  next     mend the cause and: howdah pipeline run p\n"},
		"done":    {done, at.Add(time.Hour), "pipeline p was verified 1h00m ago; it took 72.0s\n"},
	} {
		var b bytes.Buffer
		explainRun(&b, tt.rec, tt.at)
		if diff := cmp.Diff(tt.want, b.String()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestLineageTable(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	step := func(name string, kind pipeline.Kind, f pipeline.Figures) pipeline.StepResult {
		return pipeline.StepResult{Name: name, Kind: kind, State: pipeline.StateDone, Started: began, Ended: began.Add(1500 * time.Millisecond), Figures: f}
	}
	res := pipeline.Result{
		Steps: []pipeline.StepResult{
			step("in", pipeline.KindApp, pipeline.Figures{Files: 7711, Parts: 6, Instances: 3}), step("words", pipeline.KindJob, pipeline.Figures{}),
			{Name: "verify", Kind: pipeline.KindVerify, State: pipeline.StateDone, Message: "980,580 words equal an independent count"},
		},
		Lineage: []pipeline.Lineage{
			{Step: "in", From: []string{"/src"}, Image: "default/in@sha256:" + strings.Repeat("ab", 32), Cluster: "cell", To: "/data/src"},
			{Step: "words", From: []string{"/data/src"}, Cluster: "batch", To: "/data/words"},
		},
	}
	res.Steps[0].Conditions = []string{"as plain commands"}
	want := `
STEP   WHAT                                                ON     COUNTS                            TOOK
in     /src → default/in@sha256:abababababab → /data/src   cell   7,711 files, 3 instances, 6 parts  1.5s
words  /data/src → /data/words                             batch                                     1.5s

weaker: step in: as plain commands

verified: 980,580 words equal an independent count
`
	var b bytes.Buffer
	printLineage(&b, res)
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if diff := cmp.Diff(squeeze(want), squeeze(b.String())); diff != "" {
		t.Error(diff)
	}
}

// TestAppOf: the definition in Marathon's form, for containers and for commands.
func TestAppOf(t *testing.T) {
	r := pipeline.AppRequest{App: "/p/in", Image: "default/in@sha256:1", Instances: 3, CPUs: 0.5, MemMB: 96, Env: map[string]string{"A": "b"}, Dataset: "/data/go-src"}
	m := appOf(r)
	check := m["healthChecks"].([]any)[0].(map[string]any)
	if check["protocol"] != "MESOS_HTTP" || m["cmd"] != nil || m["networks"] == nil {
		t.Errorf("%v", m)
	}
	if diff := cmp.Diff(map[string]string{"HOWDAH_DATASET_GO_SRC": "/data/go-src"}, m["labels"]); diff != "" {
		t.Error(diff)
	}
	r.Image, r.Program = "", "/tmp/it's here/ingest"
	m = appOf(r)
	check = m["healthChecks"].([]any)[0].(map[string]any)
	if m["cmd"] != `exec '/tmp/it'\''s here/ingest'` || m["container"] != nil || check["protocol"] != "HTTP" || m["portDefinitions"] == nil {
		t.Errorf("%v", m)
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(m["cmd"].(string), "exec ", "printf %s ", 1)).Output(); err != nil || string(out) != r.Program {
		t.Errorf("a shell reads %q, %v", out, err)
	}
}

// TestAppStatus asks a Marathon that answers from a table.
func TestAppStatus(t *testing.T) {
	var scaled []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.Method + " " + r.URL.Path {
		case "GET /v2/apps/p/in":
			io.WriteString(w, `{"app": {"id": "/p/in", "instances": 3, "tasksRunning": 1, "tasks": [{"id": "a"}, {"id": "b"}],
				"lastTaskFailure": {"state": "TASK_FAILED", "host": "127.0.0.9", "message": "exit 1\n", "taskId": "c"}}}`)
		case "GET /v2/queue":
			io.WriteString(w, `{"queue": [{"count": 2, "app": {"id": "/p/in"}, "reasons": ["no room", "no port"]}, {"count": 9, "app": {"id": "/x"}, "reasons": ["x"]}]}`)
		case "PATCH /v2/apps/p/in":
			scaled = append(scaled, r.URL.RawQuery+" "+string(body))
			io.WriteString(w, `{}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"message": "not there"}`)
		}
	}))
	defer s.Close()
	c := &cells{at: map[string]*cell{"cell": {Client: marathon.New(marathon.Config{URL: s.URL})}}}
	ctx := t.Context()
	got, err := c.AppStatus(ctx, "cell", "/p/in")
	want := pipeline.AppStatus{
		Instances: 3, Running: 1, Tasks: 2, Waiting: "2 instances to place: no room; no port",
		Failure: "TASK_FAILED on 127.0.0.9 exit 1 ", FailedTask: "c",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if got, err := c.AppStatus(ctx, "cell", "/none"); err != nil || got != (pipeline.AppStatus{}) {
		t.Errorf("of no app: %+v, %v", got, err)
	}
	if err := errors.Join(c.ScaleApp(ctx, "cell", "/p/in", 0), c.ScaleApp(ctx, "cell", "/none", 0)); err != nil || !cmp.Equal(scaled, []string{`force=true {"instances":0}`}) {
		t.Errorf("scaled %q, %v", scaled, err)
	}
}

// TestPushImage: the second time nothing is sent; other sources are another image.
func TestPushImage(t *testing.T) {
	home := server.Home{Dir: t.TempDir()}
	store, err := imagestore.Open(imagestore.Config{Dir: home.Images()})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(home.Socket()), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", home.Socket())
	if err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	images := registry.New(registry.Config{Store: store, Authorize: func(*http.Request, string, string) error { return nil }})
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			sent.Add(1)
		}
		images.ServeHTTP(w, r)
	})}}
	s.Start()
	defer s.Close()

	dir := pipelineDir(t)
	binary := static(t, dir)
	a := &app{home: home, out: io.Discard, err: io.Discard}
	c := &cells{a: a, c: a.client()}
	push := func() string {
		name, err := c.PushImage(t.Context(), pipeline.ImageRequest{
			Name: "default/in", Build: pipeline.Build{Binary: binary, Layers: []pipeline.Layer{{From: dir + "/src", Match: "*", To: "/src"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	first := push()
	if !strings.HasPrefix(first, "default/in@sha256:") || sent.Load() == 0 {
		t.Errorf("%s, sent %d", first, sent.Load())
	}
	before := sent.Load()
	if again := push(); again != first || sent.Load() != before {
		t.Errorf("again: %s, sent %d more", again, sent.Load()-before)
	}
	if err := os.WriteFile(dir+"/src/b", []byte("y"), 0o600); err != nil {
		t.Fatal(err)
	}
	if other := push(); other == first || sent.Load() == before {
		t.Errorf("other sources: %s", other)
	}
}

// static builds a small static program.
func static(t *testing.T, dir string) string {
	t.Helper()
	out := filepath.Join(dir, "ingest")
	file := filepath.Join(dir, "main.go")
	if err := os.WriteFile(file, []byte("package main\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out, file)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}

var (
	_ pipeline.Apps   = (*cells)(nil)
	_ pipeline.Images = (*cells)(nil)
)
