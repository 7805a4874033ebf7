package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"howdah.dev/howdah/internal/adapter/webhdfs"
	"howdah.dev/howdah/internal/pipeline"
	"howdah.dev/howdah/internal/pipeline/hdfsfiles"
	"howdah.dev/howdah/internal/warehouse/gateway"
	"howdah.dev/howdah/internal/warehouse/webhdfstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dataset = "/data/go-src"

// world is a warehouse with the gateway in front, and sources to carry into it.
type world struct {
	t       *testing.T
	store   *webhdfstest.Store
	gateway *httptest.Server
	token   string // name of the file
	sources string
}

// newWorld wraps the gateway's handler if wrap is not nil.
func newWorld(t *testing.T, sources string, wrap func(http.Handler) http.Handler) *world {
	w := &world{t: t, store: webhdfstest.New(t), sources: sources, token: filepath.Join(t.TempDir(), "token")}
	if err := os.WriteFile(w.token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	grant := gateway.Grant{Project: "p", User: "p", Datasets: []gateway.Dataset{{Name: "go-src", Path: dataset, Access: gateway.ReadWrite}}}
	g, err := gateway.New(gateway.Config{
		NameNodes: func() []string { return []string{w.store.Name.URL} },
		Authorize: func(_ context.Context, token string) (gateway.Grant, bool) { return grant, token == "secret" },
		Log:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.gateway = httptest.NewUnstartedServer(nil)
	w.gateway.Config = g.Server()
	if wrap != nil {
		w.gateway.Config.Handler = wrap(g)
	}
	w.gateway.Start()
	t.Cleanup(func() { w.gateway.CloseClientConnections(); w.gateway.Close(); g.Close() })
	w.store.Mkdir(dataset)
	return w
}

// environ is what a task gets.
func (w *world) environ(task string, more ...string) []string {
	return append([]string{
		"WEBHDFS_URL=" + w.gateway.URL, "HOWDAH_TOKEN_FILE=" + w.token, "HOWDAH_DATASET_GO_SRC=" + dataset, "MESOS_TASK_ID=" + task,
		"INGEST_SOURCE=" + w.sources, "INGEST_PART_MB=1", "INGEST_LEASE=400ms", "HOWDAH_PIPELINE=go-src", "HOWDAH_RUN=r1",
	}, more...)
}

// worker is a worker that has read the sources.
func (w *world) worker(task string) *worker {
	w.t.Helper()
	cfg, err := configure(w.environ(task))
	if err != nil {
		w.t.Fatal(err)
	}
	t, err := scan(w.t.Context(), cfg.source, cfg.match)
	if err != nil {
		w.t.Fatal(err)
	}
	h := &health{}
	wk := &worker{cfg: cfg, tree: t, log: slog.New(slog.DiscardHandler), health: h, store: newStore(cfg, h)}
	w.t.Cleanup(wk.store.http.CloseIdleConnections)
	return wk
}

// expect has Howdah's own ingest step carry the same sources elsewhere, and
// returns the dataset it makes.
func (w *world) expect() (pipeline.Manifest, map[string]string) {
	w.t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	const elsewhere = "/expected/go-src"
	files := hdfsfiles.New(webhdfs.New(webhdfs.Config{Addresses: []string{w.store.Name.URL}, User: "p", HTTP: client}))
	m := ownIngest(w.t, w.sources, files, elsewhere)
	parts := map[string]string{}
	for _, p := range m.Parts {
		parts[p.Name], _ = w.store.Get(path.Join(elsewhere, p.Name))
	}
	return m, parts
}

// wantExact compares the dataset with the expected one, byte for byte, once
// everything that served the writing is gone.
func (w *world) wantExact() {
	w.t.Helper()
	m, parts := w.expect()
	var names []string
	w.waitFor("the dataset holds its parts and _SUCCESS only", func() bool {
		names = w.store.Paths(dataset)
		return len(names) == len(parts)+1 && names[0] == successFile
	}, func() any { return names })
	for name, want := range parts {
		if got, _ := w.store.Get(path.Join(dataset, name)); got != want {
			w.t.Errorf("%s has %d bytes that are not those of %d", name, len(got), len(want))
		}
	}
	text, _ := w.store.Get(path.Join(dataset, successFile))
	var got pipeline.Manifest
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		w.t.Fatal(err)
	}
	got.Written, got.Run, got.Pipeline = m.Written, m.Run, m.Pipeline
	for i := range got.Parts { // who wrote a part is chance
		if got.Parts[i].Task == "" {
			w.t.Errorf("nobody wrote %s", got.Parts[i].Name)
		}
		got.Parts[i].Task = ""
	}
	gotText, _ := json.Marshal(got)
	wantText, _ := json.Marshal(m)
	if !bytes.Equal(gotText, wantText) {
		w.t.Errorf("_SUCCESS says %s\nwant %s", gotText, wantText)
	}
}

func (w *world) waitFor(what string, ok func() bool, show func() any) {
	w.t.Helper()
	for range 12_000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.t.Fatalf("waited in vain until %s: %v", what, show())
}

// start runs an instance inside the test until the test ends.
func (w *world) start(ctx context.Context, wait *sync.WaitGroup, task string, more ...string) {
	wait.Go(func() {
		if err := run(ctx, w.environ(task, more...), slog.New(slog.DiscardHandler)); err != nil {
			w.t.Errorf("%s: %v", task, err)
		}
	})
}

// sourceTree makes about n MiB of sources with every kind of ending.
func sourceTree(t *testing.T, n int) string {
	dir := t.TempDir()
	line := []byte("package words // the quick brown fox jumps over the lazy dog\n")
	for i := range 4 * n {
		text := bytes.Repeat(line, (256<<10)/len(line))
		switch i % 5 {
		case 0:
			text = append([]byte(byteOrderMark), text...)
		case 1:
			text = append(text, "no end of line"...)
		case 2:
			text = append(text, '\r')
		case 3:
			text = append(text, fmt.Sprint(i, "\n")...)
		case 4:
			text = nil
		}
		write(t, filepath.Join(dir, fmt.Sprintf("d%d", i%7), fmt.Sprintf("f%03d.go", i)), text)
	}
	write(t, filepath.Join(dir, "notes.txt"), []byte("not taken"))
	return dir
}

func write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// mustURL parses an address.
func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// ownIngest has Howdah's own ingest step make a dataset of the same sources.
func ownIngest(t *testing.T, sources string, files pipeline.FileSystem, dataset string) pipeline.Manifest {
	t.Helper()
	file := filepath.Join(t.TempDir(), "p.yaml")
	write(t, file, fmt.Appendf(nil, "name: ingest-test\nwarehouse: w\nsteps:\n  - {name: ingest, ingest: {from: %q, match: '*.go', partMB: 1, dataset: %s}}\n", sources, dataset))
	d, found := pipeline.Load(t.Context(), file)
	if d == nil {
		t.Fatal(found)
	}
	if _, err := pipeline.Run(t.Context(), pipeline.Config{Definition: d, Files: files}); err != nil {
		t.Fatal(err)
	}
	m, err := pipeline.ReadManifest(t.Context(), files, dataset)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
