package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// carrier is a cell whose instances write one part at each question.
type carrier struct {
	*cluster
	mu       sync.Mutex
	files    *memory
	cell     Cell
	source   string // what the image holds
	status   AppStatus
	requests []AppRequest
	images   []ImageRequest
	scaled   []int
	busy     bool // at the first look an earlier run's instances run
	mute     bool // instances do nothing
	spoil    func(*Manifest)
	err      error
	pushErr  error
}

func (c *carrier) Cell(context.Context, string) (Cell, error) { return c.cell, nil }

func (c *carrier) PushImage(_ context.Context, r ImageRequest) (string, error) {
	c.images = append(c.images, r)
	return r.Name + "@sha256:1", c.pushErr
}

func (c *carrier) RunApp(_ context.Context, r AppRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, r)
	c.status.Instances = r.Instances
	return c.err
}

func (c *carrier) ScaleApp(_ context.Context, _, _ string, n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scaled = append(c.scaled, n)
	c.status.Instances, c.busy = n, false
	return nil
}

func (c *carrier) AppStatus(ctx context.Context, _, _ string) (AppStatus, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.status
	if c.busy {
		return AppStatus{Instances: 2, Running: 1, Tasks: 2}, nil
	}
	if st.Instances > 0 && !c.mute {
		st.Running, st.Tasks = st.Instances, st.Instances
		return st, c.work(ctx)
	}
	return st, nil
}

// work writes the next part, or the manifest.
func (c *carrier) work(ctx context.Context) error {
	r := c.requests[len(c.requests)-1]
	t, err := scan(ctx, c.source, r.Env["INGEST_MATCH"])
	if err != nil {
		return err
	}
	mb := 1
	_, _ = fmt.Sscan(r.Env["INGEST_PART_MB"], &mb)
	m := Manifest{Format: manifestName, Pipeline: r.Env["HOWDAH_PIPELINE"], Run: r.Env["HOWDAH_RUN"], Files: len(t.files), Bytes: t.bytes, Digest: t.digest, PartMB: mb}
	c.files.put(r.Dataset+"/_claims/input", nil)
	for i, p := range split(t.files, int64(mb)<<20) {
		var text bytes.Buffer
		if err := t.writePart(ctx, p, &text, func(int, int64) {}); err != nil {
			return err
		}
		name := r.Dataset + "/" + p.name
		if c.files.get(name) == "" {
			c.files.put(name, text.Bytes())
			return nil
		}
		m.Parts = append(m.Parts, ManifestPart{Name: p.name, Files: len(p.files), Bytes: int64(text.Len()), Task: fmt.Sprint("task-", i%2)})
	}
	if c.spoil != nil {
		c.spoil(&m)
	}
	data, err := json.Marshal(m)
	c.files.put(r.Dataset+"/_SUCCESS", data)
	return err
}

const contained = `
name: contained
warehouse: w
steps:
  - name: ingest
    app:
      {cell: cell, instances: 3, partMB: 1, dataset: /data/src, env: {A: 1},
       build: {binary: ingest, layers: [{from: src, match: "*.go", to: /in}]}}
  - {name: words, after: [ingest], job: {cluster: batch, main: wordcount, args: [/data/src, "${OUTPUT}"], output: /data/words}}
  - {name: verify, after: [words], verify: [{words: words, of: ingest}]}
`

func carried(t *testing.T) (Config, *carrier, string) {
	t.Helper()
	big := strings.Repeat("word ", 200_000)
	dir := sources(t, map[string]string{"p.yaml": contained, "ingest": "ELF", "src/a.go": big, "src/b/b.go": big, "src/b/c.md": "not read"})
	d, found := Load(context.Background(), filepath.Join(dir, "p.yaml"))
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	files := newMemory()
	c := &carrier{files: files, cell: Cell{Containers: true}, source: dir + "/src", cluster: &cluster{files: files, job: JobStatus{State: JobSucceeded}}}
	return Config{Definition: d, Files: files, Jobs: c, Apps: c, Images: c}, c, dir
}

func TestRunApp(t *testing.T) {
	cfg, c, dir := carried(t)
	c.status.Failure, c.status.FailedTask = "an old one", "task-9"
	cfg.Poll = time.Millisecond
	ctx := context.Background()
	first, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	wanted := AppRequest{
		Cell: "cell", App: "/pipeline-contained/ingest", Image: "default/ingest@sha256:1", Instances: 3, CPUs: 0.5, MemMB: 128, Dataset: "/data/src",
		Env: map[string]string{"A": "1", "INGEST_SOURCE": "/in", "INGEST_MATCH": "*.go", "INGEST_PART_MB": "1", "HOWDAH_PIPELINE": "contained", "HOWDAH_RUN": first.Run},
	}
	if diff := cmp.Diff([]AppRequest{wanted}, c.requests); diff != "" {
		t.Error(diff)
	}
	build := Build{Binary: dir + "/ingest", Layers: []Layer{{From: dir + "/src", Match: "*.go", To: "/in"}}}
	if diff := cmp.Diff([]ImageRequest{{Name: "default/ingest", Build: build}}, c.images); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{0}, c.scaled); diff != "" {
		t.Errorf("scaled: %s", diff)
	}
	s := first.Step("ingest")
	if want := (Figures{Files: 2, FilesTotal: 2, Bytes: 2_000_000, BytesTotal: 2_000_000, Parts: 2, PartsTotal: 2, Instances: 2}); s.Figures != want {
		t.Errorf("figures are %+v, want %+v", s.Figures, want)
	}
	if s.Message != "2 parts written by 2 instances" || s.ID != wanted.App || s.Image != wanted.Image || len(s.Conditions) != 0 || len(s.Inputs) != 2 {
		t.Errorf("the step is %+v", s)
	}
	if diff := cmp.Diff(Lineage{From: []string{dir + "/src"}, Step: "ingest", Kind: KindApp, Cluster: "cell", ID: wanted.App, Image: wanted.Image, To: "/data/src"}, first.Lineage[0]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"_SUCCESS", "part-00000", "part-00001"}, c.files.names("/data/src")); diff != "" {
		t.Error(diff)
	}
	if got := first.Step("verify").Message; got != "1 word equal an independent count" {
		t.Errorf("verify said %q", got)
	}

	// The same input again: nothing runs. Instances of a killed run are ended first.
	c.busy = true
	again, err := Run(ctx, cfg)
	if err != nil || len(c.requests) != 1 || len(c.scaled) != 2 || again.Step("ingest").Message != "kept: /data/src holds the same input" {
		t.Errorf("again: %v, %+v, scaled %v", err, again.Step("ingest"), c.scaled)
	}

	runs, err := Runs(ctx, c.files, "contained")
	if err != nil || len(runs) != 2 || runs[0].Result.Run != again.Run || runs[1].Result.Run != first.Run || !runs[1].Verified() {
		t.Errorf("runs are %+v, %v", runs, err)
	}

	// Other input: what is there is removed, but never what is not ours.
	_ = os.WriteFile(dir+"/src/a.go", []byte("other"), 0o644)
	if changes, err := runs[0].Changes(ctx, cfg.Definition); err != nil || !cmp.Equal(changes, []string{"the files below " + dir + "/src changed (step ingest)"}) {
		t.Errorf("changes are %q, %v", changes, err)
	}
	c.files.put("/data/src/_claims/part-00000", []byte("of a killed instance"))
	c.files.put("/data/src/mine", nil)
	if _, err = Run(ctx, cfg); fmt.Sprint(err) != "step ingest: /data/src holds what no ingest wrote: mine; move it away or choose another dataset" {
		t.Errorf("got %v", err)
	}
	_ = c.files.Remove(ctx, "/data/src/mine")
	if _, err = Run(ctx, cfg); err != nil || c.files.get("/data/src/part-00000")[:6] != "other\n" {
		t.Errorf("other input: %v", err)
	}
}

func TestRunAppWithoutContainers(t *testing.T) {
	cfg, c, dir := carried(t)
	c.cell = Cell{Why: "its workers have no runc", Local: true}
	cfg.Poll = time.Millisecond
	res, err := Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := "cell cell runs no containers (its workers have no runc): the same program runs as plain commands, without isolation, and reads " + dir + "/src itself"
	if diff := cmp.Diff([]string{want}, res.Step("ingest").Conditions); diff != "" {
		t.Error(diff)
	}
	if r := c.requests[0]; r.Program != dir+"/ingest" || r.Image != "" || r.Env["INGEST_SOURCE"] != dir+"/src" || len(c.images) != 0 {
		t.Errorf("asked for %+v", r)
	}
}

func TestRunAppFailures(t *testing.T) {
	tests := map[string]struct {
		change func(*carrier)
		want   string
		scaled int
	}{
		"no containers anywhere": {
			func(c *carrier) { c.cell = Cell{Why: "no runc"} },
			"step ingest: cell cell runs no containers (no runc), and its workers do not share the files of this machine: have them run containers", 0,
		},
		"image": {func(c *carrier) { c.pushErr = errors.New("disk full") }, "step ingest: cannot make image default/ingest: disk full", 0},
		"refused": {
			func(c *carrier) { c.err = errors.New("mem is too small") },
			"step ingest: cannot run app /pipeline-contained/ingest on cell: mem is too small", 1,
		},
		"a failure of before": {
			func(c *carrier) { c.mute, c.status.Failure, c.status.FailedTask = true, "image is not there", "task-1" },
			"step ingest: app /pipeline-contained/ingest did not write /data/src in 15m0s: 0 of 2 parts, no instances running", 1,
		},
		"waits": {
			func(c *carrier) { c.mute, c.status.Waiting = true, "no worker has 96 MB\nmore" },
			"step ingest: app /pipeline-contained/ingest did not write /data/src in 15m0s: 0 of 2 parts, no instances running; waiting: no worker has 96 MB", 1,
		},
		"other files": {
			func(c *carrier) { c.spoil = func(m *Manifest) { m.Digest = "sha256:2" } },
			"step ingest: app /pipeline-contained/ingest wrote /data/src from other files than those below DIR/src; did they change while the pipeline ran?", 1,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg, c, dir := carried(t)
			synctest.Test(t, func(t *testing.T) {
				test.change(c)
				_, err := Run(context.Background(), cfg)
				if diff := cmp.Diff(strings.ReplaceAll(test.want, "DIR", dir), fmt.Sprint(err)); diff != "" {
					t.Error(diff)
				}
				if len(c.scaled) != test.scaled {
					t.Errorf("scaled %v, want %d times", c.scaled, test.scaled)
				}
			})
		})
	}
}

// failing is a cell whose instances fail from now on.
type failing struct{ *carrier }

func (f failing) AppStatus(ctx context.Context, cell, app string) (AppStatus, error) {
	st, err := f.carrier.AppStatus(ctx, cell, app)
	if st.Instances > 0 {
		st.FailedTask, st.Failure = "task-2", "TASK_FAILED on worker-1 image is not there"
	}
	return st, err
}

func TestRunAppThatFails(t *testing.T) {
	cfg, c, _ := carried(t)
	c.mute = true
	cfg.Apps = failing{c}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := Run(context.Background(), cfg)
		if got, want := fmt.Sprint(err), "step ingest: no instance of app /pipeline-contained/ingest runs: TASK_FAILED on worker-1 image is not there"; got != want {
			t.Errorf("got %s", got)
		}
		if took := time.Since(began); took < loneWait || took > loneWait+2*time.Second || len(c.scaled) != 1 {
			t.Errorf("it took %s, scaled %v", took, c.scaled)
		}
	})
}

// A run tells how it goes while it does, and one that is stopped ends its app.
func TestRunAppCancelled(t *testing.T) {
	cfg, c, _ := carried(t)
	c.mute = true
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(context.Background())
		ended := make(chan error)
		go func() {
			_, err := Run(ctx, cfg)
			ended <- err
		}()
		c.mu.Lock()
		c.status.Waiting = "no room"
		c.mu.Unlock()
		time.Sleep(3 * recordEvery)
		synctest.Wait()
		rec, err := LastRun(context.Background(), c.files, "contained")
		if s := rec.Result.Step("ingest"); err != nil || rec.Result.State != StateRunning || s.Message != "waiting: no room" || rec.Silent(time.Now()) != 0 || rec.Silent(time.Now().Add(time.Hour)) == 0 {
			t.Errorf("the record is %+v, %v", rec, err)
		}
		cancel(errors.New("ctrl-c"))
		if err := <-ended; fmt.Sprint(err) != "pipeline contained was stopped: ctrl-c" {
			t.Errorf("got %v", err)
		}
		if !cmp.Equal(c.scaled, []int{0}) {
			t.Errorf("scaled %v", c.scaled)
		}
	})
}

// A run that was killed is remembered as cancelled by the next one.
func TestKilledRunIsRemembered(t *testing.T) {
	cfg, c, _ := carried(t)
	cfg.Poll = time.Millisecond
	killed := &run{Config: cfg, id: "20260101-000000-000000"}
	if err := killed.saveRecord(context.Background(), Result{Run: killed.id, State: StateRunning}); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	runs, err := Runs(context.Background(), c.files, "contained")
	if err != nil || len(runs) != 2 || runs[1].Result.Run != killed.id || runs[1].Result.State != StateCancelled {
		t.Errorf("runs are %+v, %v", runs, err)
	}
}

func TestRunsAreForgotten(t *testing.T) {
	files := newMemory()
	r := &run{Config: Config{Definition: &Definition{Name: "p"}, Files: files}}
	for i := range maxRuns + 3 {
		r.id = fmt.Sprintf("20260101-0000%02d-000000", i)
		if err := r.saveRecord(context.Background(), Result{Run: r.id, State: StateDone}); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := Runs(context.Background(), files, "p")
	if err != nil || len(runs) != maxRuns || runs[0].Result.Run != r.id {
		t.Errorf("%d runs, %v", len(runs), err)
	}
}
