package platform

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"howdah.dev/howdah/internal/adapter/marathon"
	"howdah.dev/howdah/internal/pipeline"
	"howdah.dev/howdah/test/e2e/harness"
)

// killing is a pipeline whose ingest has more parts than the example's, so that
// there is time to kill what writes them.
const killing = `
name: killing
warehouse: warehouse
steps:
  - name: ingest
    app:
      cell: cell
      build: {binary: %q, layers: [{from: "${GOROOT}/src", match: "*.go", to: /src}]}
      instances: 3
      memMB: 96
      partMB: %d
      dataset: /data/killing
  - {name: words, after: [ingest], job: {cluster: batch, main: wordcount, args: [/data/killing, "${OUTPUT}"], output: /data/killing-words}}
  - {name: verify, after: [words], verify: [{words: words, of: ingest}]}
`

const killedApp = "/pipeline-killing/ingest"

// containers looks at what the example's pipeline left in the cell: the app, with
// nothing running, the image, and a dataset that instances wrote.
func containers(t *testing.T, h *harness.Home) {
	t.Helper()
	app := harness.JSON[marathon.App](h, "app", "describe", "/pipeline-go-src/ingest")
	if app.Instances != 0 || len(app.Tasks) != 0 || app.Container == nil || !strings.HasPrefix(app.Container.Docker.Image, "default/ingest@sha256:") {
		t.Errorf("the app of the ingest step is %+v", app)
	}
	harness.Contains(t, "the images", h.OK("image", "list"), "default/ingest:latest")
	runs := harness.JSON[[]pipeline.Record](h, "pipeline", "get", "go-src")
	if len(runs) != 1 || !runs[0].Verified() {
		t.Fatalf("pipeline get tells of %+v", runs)
	}
	s := runs[0].Result.Step("ingest")
	if s.Kind != pipeline.KindApp || s.Image != app.Container.Docker.Image || s.Figures.Instances < 1 || s.Figures.Parts != s.Figures.PartsTotal || len(s.Conditions) > 0 {
		t.Errorf("the ingest step was %+v", s)
	}
	harness.Contains(t, "the list of pipelines", h.OK("pipeline", "get"), "go-src", "verified")
	harness.Contains(t, "the runs", h.OK("pipeline", "get", "go-src"), " → default/ingest@sha256:", " → /data/go-src ", "/data/go-src → /data/go-src-words")
	if names := h.HDFS("warehouse", "-ls", "-C", "/data/go-src"); strings.Contains(names, "_claims") || strings.Contains(names, "_tmp") {
		t.Errorf("the dataset holds\n%s", names)
	}
}

// killInstances kills the pipeline, an instance, its worker, and another's shim
// while the cell ingests: the result is exact.
func killInstances(t *testing.T, h *harness.Home) {
	binary := filepath.Join(filepath.Dir(harness.Binary(t)), "ingest")
	file := h.Write("killing.yaml", fmt.Sprintf(killing, binary, 1))
	if out := h.OK("pipeline", "apply", file); !strings.Contains(out, "pipeline killing is kept: 3 steps") {
		t.Errorf("pipeline apply prints %q", out)
	}

	// The pipeline itself is killed. Its instances go on, until it runs again.
	out, done := start(t, h, "pipeline", "run", "killing")
	writing(t, h, 3)
	if r := h.Fails(4, "pipeline", "run", "killing"); !strings.Contains(r.Stderr, "is running already") {
		t.Errorf("a second run at the same time says %q", r.Stderr)
	}
	harness.Contains(t, "explain", h.OK("pipeline", "explain", "killing"), "pipeline killing is running since ")
	done(syscall.SIGKILL)
	t.Logf("the run that was killed:\n%s", out())

	// Parts of another size: nothing of the first run may stay.
	h.Write("killing.yaml", fmt.Sprintf(killing, binary, 3))
	h.OK("pipeline", "apply", file)
	out, done = start(t, h, "pipeline", "run", "killing")
	tasks := writing(t, h, 3)
	h.OK("app", "kill", tasks[0].ID)
	shims := shimsOf(h)
	if len(shims) < 2 {
		t.Fatalf("the shims %v run, want those of 2 tasks at least", shims)
	}
	h.Kill(shims[len(shims)-1])
	worker := h.PIDs("cell")["cell-worker-1/worker"]
	h.Kill(worker)
	if err := done(0); err != nil {
		t.Fatalf("the run fails: %v\n%s", err, out())
	}
	t.Logf("the run whose instances were killed:\n%s", out())
	harness.Contains(t, "the run", out(), "words equal an independent count")
	runs := harness.JSON[[]pipeline.Record](h, "pipeline", "get", "killing")
	if len(runs) != 2 || !runs[0].Verified() || runs[1].Result.State != pipeline.StateCancelled {
		t.Errorf("pipeline get tells of %+v", runs)
	}
	if got, want := runs[0].Result.Step("verify").Figures.Words, harness.JSON[[]pipeline.Record](h, "pipeline", "get", "go-src")[0].Result.Step("verify").Figures.Words; got != want {
		t.Errorf("%d words were verified, the example has %d", got, want)
	}
	harness.Within(t, time.Minute, "no instance runs and the worker is back", func() (bool, string) {
		app := harness.JSON[marathon.App](h, "app", "describe", killedApp)
		now := h.PIDs("cell")["cell-worker-1/worker"]
		return app.Instances == 0 && len(app.Tasks) == 0 && now > 0 && now != worker, fmt.Sprintf("%+v, worker %d", app, now)
	})
	if left := shimsOf(h); len(left) > 0 {
		t.Errorf("shims are left: %v", left)
	}
}

// start starts a command. done sends it a signal, if any, and waits for its end.
func start(t *testing.T, h *harness.Home, args ...string) (out func() string, done func(syscall.Signal) error) {
	t.Helper()
	var text output
	cmd := h.Command(args...)
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := sync.OnceValue(cmd.Wait)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = ended()
	})
	return text.String, func(s syscall.Signal) error {
		if s != 0 {
			_ = cmd.Process.Signal(s)
		}
		return ended()
	}
}

// output is what a command prints, read while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// writing waits until so many instances run and parts are being written, and
// returns the instances.
func writing(t *testing.T, h *harness.Home, n int) (tasks []marathon.Task) {
	t.Helper()
	harness.Within(t, 2*time.Minute, fmt.Sprintf("%d instances write", n), func() (bool, string) {
		r := h.Run("-o", "json", "app", "describe", killedApp)
		if r.Code != 0 {
			return false, r.Stderr
		}
		app := harness.JSON[marathon.App](h, "app", "describe", killedApp)
		tasks = app.Tasks
		return app.TasksRunning == n, fmt.Sprintf("%+v", app)
	})
	return tasks
}

// shimsOf are the shims of tasks.
func shimsOf(h *harness.Home) (pids []int) {
	for _, p := range h.Processes() {
		if strings.Contains(harness.CommandLine(p.PID), "howdah-shim") {
			pids = append(pids, p.PID)
		}
	}
	return pids
}
