package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/pipeline"
	"howdah.dev/howdah/internal/server"
	"howdah.dev/howdah/internal/warehouse/webhdfstest"
)

const datasetFile = `warehouse: warehouse
datasets:
  - {name: clicks, path: /data/clicks, owner: ads, quotaMB: 1024, retentionDays: 30, access: [{project: bi}]}
  - {name: geo, path: /data/geo, owner: default, retentionDays: 7}
`

// warehouseAt serves the two answers by which the CLI finds a warehouse, and the
// warehouse.
func warehouseAt(t *testing.T, home server.Home, more ...api.ClusterStatus) *webhdfstest.Store {
	t.Helper()
	s := webhdfstest.New(t)
	clusters := append([]api.ClusterStatus{
		{Name: "batch", Exports: map[string]string{"web": "http://127.0.0.1:1"}},
		{Name: "warehouse", Exports: map[string]string{"web": s.Name.URL, "fs": "hdfs://nn:8020"}},
	}, more...)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/info", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(api.Info{User: "root"}) })
	mux.HandleFunc("GET /v1/clusters/warehouse", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(clusters[1]) })
	mux.HandleFunc("GET /v1/clusters", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(clusters) })
	if err := os.MkdirAll(filepath.Dir(home.Socket()), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", home.Socket())
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: mux}}
	srv.Start()
	t.Cleanup(srv.Close)
	return s
}

// said is what a command line prints, and its exit code.
func said(t *testing.T, home server.Home, in string, words ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	a := &app{home: home, out: &out, err: &out, in: strings.NewReader(in)}
	code := a.run(t.Context(), append([]string{"--home", home.Dir}, words...))
	return out.String(), code
}

// TestDatasets declares datasets, looks at them, lets files expire and forgets one.
func TestDatasets(t *testing.T) {
	home := server.Home{Dir: t.TempDir()}
	s := warehouseAt(t, home)
	s.Put("/data/geo/old", "old")
	file := filepath.Join(t.TempDir(), "datasets.yaml")
	if err := os.WriteFile(file, []byte(datasetFile), 0o600); err != nil {
		t.Fatal(err)
	}
	step := func(words, want string, code int) {
		t.Helper()
		out, got := said(t, home, "", strings.Fields(words)...)
		if diff := cmp.Diff(want, out); diff != "" || got != code {
			t.Errorf("howdah %s: code %d, want %d\n%s", words, got, code, diff)
		}
	}
	step("dataset list", "no datasets; declare one with: howdah dataset apply FILE\n", 0)
	step("dataset expire", "no dataset has a retention\n", 0)
	step("dataset apply "+file, `datasets of warehouse will change: 1 to make, 1 to declare, 0 to update

  +  clicks  /data/clicks  owner ads, quota 1,024 MiB, retention 30 days, access bi:ro
  +  geo     /data/geo     owner default, retention 7 days, it was there before: its owner root stays, and nothing in it expires

That is done.  See: howdah dataset list
`, 0)
	step("dataset apply "+file, "the datasets of warehouse are as declared; nothing to do\n", 0)
	for name, age := range map[string]int{"new": 29, "older": 31, "day/oldest": 100} {
		s.Put("/data/clicks/"+name, strings.Repeat("x", 3000))
		s.Age("/data/clicks/"+name, time.Duration(age)*24*time.Hour)
	}
	s.Age("/data/geo/old", 1000*time.Hour)
	step("dataset list", `DATASET  OWNER    PATH          USED                FILES  RETENTION  ACCESS
clicks   ads      /data/clicks  8.8 KiB of 1.0 GiB  3      30 days    bi:ro
geo      default  /data/geo     3 B                 1      7 days     none    was there before: nothing in it expires
`, 0)
	step("dataset get clicks", `dataset clicks of project ads
  path           /data/clicks
  used           8.8 KiB of 1.0 GiB
  files          3, 8.8 KiB without copies
  owner in HDFS  ads
  retention      30 days
  access         bi:ro
`, 0)
	before := s.Paths("/")
	step("dataset expire --dry-run", `DATASET  WOULD MOVE
clicks   2 files, 5.9 KiB
geo      was there before: nothing in it expires
/data/clicks/older
/data/clicks/day/oldest
`, 0)
	if diff := cmp.Diff(before, s.Paths("/")); diff != "" {
		t.Errorf("a dry run changed something: %s", diff)
	}
	step("dataset expire geo", "howdah: nothing in dataset geo expires: /data/geo was there before it was declared\n", exitGuard)
	step("dataset expire clicks", `DATASET  MOVED
clicks   2 files, 5.9 KiB

The files are below /user/root/.Trash/Current, under their paths, until HDFS empties its trash.
`, 0)
	step("dataset expire clicks", "DATASET  MOVED\nclicks   nothing\n", 0)
	if _, ok := s.Get("/user/root/.Trash/Current/data/clicks/day/oldest"); !ok {
		t.Errorf("the trash holds %v", s.Paths("/user/root"))
	}
	step("dataset get none", "howdah: there is no dataset none in warehouse; howdah dataset list shows all\n", exitNotFound)
	step("dataset delete clicks", "howdah: dataset clicks is not forgotten; confirm with --yes\n", exitGuard)
	step("dataset delete clicks --yes", "dataset clicks is forgotten; its files stay in /data/clicks\n", 0)
	if _, ok := s.Get("/data/clicks/new"); !ok {
		t.Error("files of a forgotten dataset are gone")
	}
	step("dataset get clicks", "howdah: there is no dataset clicks in warehouse; howdah dataset list shows all\n", exitNotFound)
	s.Remove("/data/geo")
	step("dataset list", `DATASET  OWNER    PATH       USED  FILES  RETENTION  ACCESS
geo      default  /data/geo  0 B   0      7 days     none    the folder is gone; apply its file again
`, 0)
}

// TestDatasetFindings: bad input changes nothing, and all of it is said at once.
func TestDatasetFindings(t *testing.T) {
	home := server.Home{Dir: t.TempDir()}
	s := warehouseAt(t, home, api.ClusterStatus{Name: "other", Exports: map[string]string{"web": "http://127.0.0.1:1", "fs": "hdfs://other:8020"}})
	s.Put("/data/file", "x")
	for _, tt := range []struct {
		words, in, want string
		code            int
	}{
		{"dataset apply -", "warehouse: warehouse\ndatasets:\n  - {name: A, path: /tmp/x, owner: p}\n  - {name: b, path: /data/b}\n", `stdin:3:12  error    datasets[0].name: "A" has not the form wanted here
                     It must match ^[a-z][a-z0-9-]*$.
stdin:3:21  error    datasets[0].path: /tmp/x is in or above /tmp, which is no place for datasets
                     Give another path, such as /data/clicks.
stdin:4:5   error    datasets[1].owner: is missing
                     Project that owns the dataset, and may read and write it
3 errors; nothing was changed
`, exitInput},
		{"dataset apply -", "warehouse: warehouse\ndatasets:\n  - {name: ok, path: /data/ok, owner: p, quotaMB: 200}\n  - {name: b, path: /data/file, owner: p}\n", `stdin:3:51  warning  datasets[0].quotaMB: a quota of 200 MiB is too small for files with 3 copies
                     HDFS sets aside 128 MiB for each copy of a file while it is written.
stdin:4:21  error    datasets[1].path: /data/file is a file
                     Move it away, or choose another path.
1 error, 1 warning; nothing was changed
`, exitInput},
		{"dataset apply -", strings.Replace(datasetFile, "warehouse: w", "warehouse: x", 1), "howdah: no cluster xarehouse keeps files; howdah get clusters lists what is there\n", exitNotFound},
		{"dataset apply -", "warehouse: batch\ndatasets: [{name: a, path: /data/a, owner: p}]", "howdah: no cluster batch keeps files; howdah get clusters lists what is there\n", exitNotFound},
		{"dataset apply none.yaml", "", "howdah: there is no file none.yaml\n", exitNotFound},
		{"dataset apply", "", "howdah: the file with the datasets is missing\nsee: howdah dataset apply --help\n", exitInput},
		{"dataset list", "", "howdah: say which warehouse: --warehouse warehouse or --warehouse other\nsee: howdah dataset list --help\n", exitInput},
		{"dataset list --warehouse warehouse", "", "no datasets; declare one with: howdah dataset apply FILE\n", 0},
	} {
		if out, code := said(t, home, tt.in, strings.Fields(tt.words)...); out != tt.want || code != tt.code {
			t.Errorf("howdah %s: code %d, want %d\n%s", tt.words, code, tt.code, cmp.Diff(tt.want, out))
		}
	}
	if left := s.Paths("/data"); !cmp.Equal(left, []string{"file"}) {
		t.Errorf("something was changed: %v", left)
	}
	s.Name.Close()
	out, code := said(t, home, "", "dataset", "list", "--warehouse", "warehouse")
	if code != exitFailed || !strings.HasPrefix(out, "howdah: cannot read the declared datasets: ") || !strings.HasSuffix(out, "\n  why: howdah explain warehouse\n") {
		t.Errorf("without a NameNode: code %d\n%s", code, out)
	}
}

// TestDatasetsForPrograms: what programs get holds the declaration and what is there.
func TestDatasetsForPrograms(t *testing.T) {
	home := server.Home{Dir: t.TempDir()}
	s := warehouseAt(t, home)
	run := func(in string, into any, words ...string) {
		t.Helper()
		var out bytes.Buffer
		a := &app{home: home, out: &out, err: io.Discard, in: strings.NewReader(in)}
		if code := a.run(t.Context(), append([]string{"--home", home.Dir, "-o", "json"}, words...)); code != 0 {
			t.Fatalf("%v: code %d", words, code)
		}
		dec := json.NewDecoder(&out)
		dec.DisallowUnknownFields()
		if err := dec.Decode(into); err != nil {
			t.Fatalf("%v: %v", words, err)
		}
	}
	var applied datasetsApplied
	run(datasetFile, &applied, "dataset", "apply", "-")
	if applied.Warehouse != "warehouse" || len(applied.Changes) != 2 || applied.Changes[0].Action != "make" {
		t.Errorf("apply: %+v", applied)
	}
	s.Put("/data/clicks/a", "12345")
	s.Age("/data/clicks/a", 31*24*time.Hour)
	var list []datasetLine
	run("", &list, "dataset", "list")
	var one datasetLine
	run("", &one, "dataset", "get", "clicks")
	if len(list) != 2 || !cmp.Equal(list[0], one) || one.Path != "/data/clicks" || one.Observed.Bytes != 5 || one.Observed.Quota != 1<<30 || !one.Observed.Made {
		t.Errorf("list: %+v\nget: %+v", list, one)
	}
	var expired []expiredLine
	run("", &expired, "dataset", "expire", "--dry-run")
	if len(expired) != 2 || !expired[0].DryRun || !cmp.Equal(expired[0].Files, []string{"/data/clicks/a"}) || expired[1].Files == nil || len(expired[1].Files) > 0 {
		t.Errorf("expire: %+v", expired)
	}
}

// TestPipelineHistory: every run that is remembered is shown, with what it made of
// what and the declared datasets that it is in.
func TestPipelineHistory(t *testing.T) {
	home := server.Home{Dir: t.TempDir()}
	s := warehouseAt(t, home)
	dir := pipelineDir(t)
	if err := os.WriteFile(filepath.Join(dir, "pipeline.yaml"), []byte(strings.Replace(twoSteps, "warehouse: w", "warehouse: warehouse", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for words, in := range map[string]string{"dataset apply -": datasetFile, "pipeline apply " + dir: ""} {
		if out, code := said(t, home, in, strings.Fields(words)...); code != 0 {
			t.Fatalf("howdah %s: %s", words, out)
		}
	}
	began := time.Now().Add(-time.Hour).UTC()
	for i, state := range []pipeline.State{pipeline.StateFailed, pipeline.StateDone} {
		rec := pipeline.Record{Format: "howdah.pipeline/1", Updated: began, Result: pipeline.Result{
			Pipeline: "two", Run: fmt.Sprintf("20260102-03040%d-0000aa", i), State: state, Started: began, Ended: began.Add(time.Duration(i+1) * time.Second),
			Steps: []pipeline.StepResult{{
				Name: "in", Kind: pipeline.KindIngest, State: pipeline.StateDone, Started: began, Ended: began.Add(time.Second),
				Figures: pipeline.Figures{Files: int64(7 + i)}, Inputs: []pipeline.Input{{Step: "in", Path: "/src", Digest: "d"}},
			}},
			Lineage: []pipeline.Lineage{{Step: "in", From: []string{"/src"}, Kind: pipeline.KindIngest, To: "/data/clicks/in"}},
		}}
		text, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		s.Put(pipeline.RecordPath("two"), string(text))
		s.Put(strings.TrimSuffix(pipeline.RecordPath("two"), ".json")+".runs/"+rec.Result.Run+".json", string(text))
	}
	out, code := said(t, home, "", "pipeline", "get", "two")
	for _, want := range []string{"20260102-030401-0000aa  done", "20260102-030400-0000aa  failed", "/src → /data/clicks/in (dataset clicks)", "8 files"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("pipeline get lacks %q: code %d\n%s", want, code, out)
		}
	}
	out, code = said(t, home, "", "-o", "json", "pipeline", "get", "two")
	var runs []pipeline.Record
	if err := json.Unmarshal([]byte(out), &runs); err != nil || code != 0 || len(runs) != 2 {
		t.Fatalf("%v, code %d\n%s", err, code, out)
	}
	for i, r := range runs {
		st := r.Result.Step("in")
		if l := r.Result.Lineage[0]; l.Dataset != "clicks" || l.From[0] != "/src" || st.Figures.Files != int64(8-i) || st.Took() != time.Second || len(st.Inputs) != 1 {
			t.Errorf("run %d: %+v", i, r)
		}
	}
}
