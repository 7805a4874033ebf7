package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"howdah.dev/howdah/internal/warehouse/webhdfstest"
)

// TestInstancesShareTheWork: several instances, one dataset.
func TestInstancesShareTheWork(t *testing.T) {
	w := newWorld(t, sourceTree(t, 8), nil)
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for i := range 3 {
		// No claim changes hands, so that the manifest knows who wrote what.
		w.start(ctx, &wait, fmt.Sprintf("ingest.%d", i), "INGEST_LEASE=30s")
	}
	w.wantExact()
	stop()
	wait.Wait()
	text, _ := w.store.Get(dataset + "/" + successFile)
	var m manifest
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	if m.Pipeline != "go-src" || m.Run != "r1" {
		t.Errorf("pipeline %q, run %q", m.Pipeline, m.Run)
	}
	for _, p := range m.Parts {
		if !strings.HasPrefix(p.Task, "ingest.") || len(p.Task) != len("ingest.0") {
			t.Errorf("%s was written by %q", p.Name, p.Task)
		}
	}
	// One that comes late finds everything done.
	late := w.worker("late")
	if err := late.work(t.Context()); err != nil {
		t.Error(err)
	}
	if late.names > 0 || late.health.report.Written > 0 || late.health.report.State != "complete" {
		t.Errorf("a complete dataset was written to: %+v", late.health.report)
	}
}

// TestLostAnswers: requests that were done and not answered, and requests that
// were not done.
func TestLostAnswers(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t, sourceTree(t, 4), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			dice := random.IntN(12)
			mu.Unlock()
			switch dice {
			case 0:
				panic(http.ErrAbortHandler)
			case 1:
				next.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			default:
				next.ServeHTTP(rw, r)
			}
		})
	})
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for i := range 3 {
		w.start(ctx, &wait, fmt.Sprintf("ingest.%d", i))
	}
	w.wantExact()
	stop()
	wait.Wait()
}

// TestForeignDatasets: an instance refuses what it cannot make exact, and
// changes nothing.
func TestForeignDatasets(t *testing.T) {
	sources := sourceTree(t, 1)
	digest := newWorld(t, sources, nil).worker("x").tree.digest
	tests := map[string]struct {
		files map[string]string
		want  string
	}{
		"another input":      {map[string]string{"_claims/input": `{"digest":"sha256:1","partMB":1}`}, "/data/go-src is being written from another input; empty it first"},
		"another part size":  {map[string]string{"_claims/input": `{"digest":"` + digest + `","partMB":2}`}, "/data/go-src is being written from another input; empty it first"},
		"parts of someone":   {map[string]string{"part-00000": "x"}, "/data/go-src holds what was not written from this input; empty it first"},
		"a file of someone":  {map[string]string{"notes": "x"}, "/data/go-src holds what was not written from this input; empty it first"},
		"complete otherwise": {map[string]string{"_SUCCESS": `{"digest":"sha256:1","partMB":1}`}, "/data/go-src holds another input, complete; empty it first"},
		"complete, no parts": {map[string]string{"_SUCCESS": `{"digest":"` + digest + `","partMB":1}`}, "/data/go-src says it is complete and lacks parts; empty it first"},
		"a part of another size": {
			map[string]string{"_claims/input": `{"digest":"` + digest + `","partMB":1}`, "part-00000": "x"},
			"/data/go-src/part-00000 has 1 bytes and not 1048491: it was not written from this input; empty /data/go-src first",
		},
	}
	for name, test := range tests {
		w := newWorld(t, sources, nil)
		for file, text := range test.files {
			w.store.Put(dataset+"/"+file, text)
		}
		if err := w.worker("x").work(t.Context()); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v", name, err)
		}
		for _, r := range w.store.Requests() {
			if op := r.Query.Get("op"); op == "CREATE" || op == "RENAME" || op == "DELETE" {
				t.Errorf("%s: %s %s", name, op, r.Path)
			}
		}
	}
}

// TestTwoSucceed: another completes the dataset and cleans up while we write
// _SUCCESS, or just before we move it into its place.
func TestTwoSucceed(t *testing.T) {
	for _, moment := range []string{"CREATE", "RENAME"} {
		w := newWorld(t, sourceTree(t, 2), nil)
		me, other := w.worker("me"), w.worker("other")
		done := false
		w.store.Intercept(func(rw http.ResponseWriter, r *http.Request, node string) bool {
			if done || !strings.Contains(r.URL.Path, "/_tmp/_SUCCESS.me") || r.URL.Query().Get("op") != moment || moment == "CREATE" && node != "data" {
				return false
			}
			done = true
			if err := other.work(t.Context()); err != nil {
				t.Error(err)
			}
			if moment == "CREATE" { // what HDFS says to a writer whose file is gone
				webhdfstest.Refuse(rw, 404, "FileNotFoundException", "File does not exist: _tmp")
			}
			return moment == "CREATE"
		})
		if err := me.work(t.Context()); err != nil || !done {
			t.Errorf("%s: %v", moment, err)
		}
		w.wantExact()
	}
}

// TestEndedAtOnce: all instances are told to end when _SUCCESS is there.
func TestEndedAtOnce(t *testing.T) {
	w := newWorld(t, sourceTree(t, 2), nil)
	ctx, stop := context.WithCancel(t.Context())
	w.store.Intercept(func(_ http.ResponseWriter, r *http.Request, _ string) bool {
		if _, complete := w.store.Get(dataset + "/" + successFile); complete && r.URL.Query().Get("op") == "DELETE" {
			stop()
		}
		return false
	})
	var wait sync.WaitGroup
	w.start(ctx, &wait, "a")
	w.start(ctx, &wait, "b")
	wait.Wait()
	w.wantExact()
}

// TestSourcesThatChange: what was not scanned is not written.
func TestSourcesThatChange(t *testing.T) {
	w := newWorld(t, sourceTree(t, 1), nil)
	wk := w.worker("x")
	write(t, filepath.Join(w.sources, "d0", "f000.go"), []byte("another text"))
	err := wk.work(t.Context())
	if err == nil || err.Error() != "the sources cannot be read again: d0/f000.go changed" {
		t.Error(err)
	}
	if names := strings.Join(w.store.Paths(dataset), " "); strings.Contains(names, " part-") {
		t.Errorf("a part was written: %s", names)
	}
	if _, ok := w.store.Get(dataset + "/_claims/part-00000"); ok {
		t.Error("the claim was kept")
	}
}

func TestRefusedToken(t *testing.T) {
	w := newWorld(t, sourceTree(t, 1), nil)
	if err := os.WriteFile(w.token, []byte("guess"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "the warehouse refused: the token is not known, or is no longer valid"
	if err := w.worker("x").work(t.Context()); err == nil || err.Error() != want {
		t.Error(err)
	}
}

func TestConfigure(t *testing.T) {
	_, err := configure([]string{"HOWDAH_DATASET_A=/data/a", "HOWDAH_DATASET_B=/data/b", "INGEST_PART_MB=0", "INGEST_LEASE=soon", "INGEST_MATCH=["})
	want := `WEBHDFS_URL is ""; it must be the address of WebHDFS, such as http://127.0.0.1:9870
2 datasets are given by HOWDAH_DATASET_* variables; name one in INGEST_DATASET
INGEST_PART_MB is "0"; give a number of MiB from 1 to 4096
INGEST_LEASE is "soon"; give a time such as 15s
INGEST_MATCH is "[", which is no pattern; give one such as *.go`
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	_, err = configure([]string{"WEBHDFS_URL=http://h:1", "HOWDAH_DATASET_A=data"})
	if want := `HOWDAH_DATASET_A is "data"; it must be the path of a dataset, such as /data/go-src`; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	c, err := configure([]string{"WEBHDFS_URL=http://h:1/webhdfs/v1/", "HOWDAH_DATASET_A=/a/a", "HOWDAH_DATASET_B_C=/b/c", "INGEST_DATASET=b-c", "MESOS_TASK_ID=x/y z"})
	if err != nil || c.dataset != "/b/c" || c.webhdfs.String() != "http://h:1" || !strings.HasPrefix(c.task, "x-y-z.") ||
		c.source != "/src" || c.match != "*.go" || c.partMB != 16 || c.lease != 15*time.Second {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestHealth: what is served on PORT0, and what it says when the warehouse is away.
func TestHealth(t *testing.T) {
	port := strconv.Itoa(20_000 + os.Getpid()%10_000) // the kernel gives none of these to others
	h := &health{}
	stop, err := h.serve(t.Context(), "127.0.0.2", port, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ask := func(host string) string {
		resp, err := client.Get("http://" + net.JoinHostPort(host, port) + "/health")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.StatusCode, " ", string(text))
	}
	h.set("working", 1, 3)
	h.wrote()
	const working = `{"state":"working","parts":1,"of":3,"written":1`
	for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
		if got := ask(host); got != "200 "+working+"}\n" {
			t.Errorf("%s: %s", host, got)
		}
	}
	h.answered(fmt.Errorf("no route"))
	if got := ask("127.0.0.1"); got != "200 "+working+`,"error":"no route"}`+"\n" {
		t.Error(got)
	}
	h.lost = time.Now().Add(-lostAfter)
	if got := ask("127.0.0.1"); got != "503 "+working+`,"error":"no route"}`+"\n" {
		t.Error(got)
	}
	h.answered(nil)
	if got := ask("127.0.0.1"); got != "200 "+working+"}\n" {
		t.Error(got)
	}
	if _, err := (&health{}).serve(t.Context(), "", port, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a port that is taken is no error")
	}
}

// TestTokenStaysHome: the token goes to the gateway, not to where it redirects.
func TestTokenStaysHome(t *testing.T) {
	var header string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		header = r.Header.Get("Authorization")
		rw.WriteHeader(http.StatusCreated)
	}))
	defer elsewhere.Close()
	home := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Error("no token")
		}
		rw.Header().Set("Location", elsewhere.URL)
		rw.WriteHeader(http.StatusTemporaryRedirect)
	}))
	defer home.Close()
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, []byte("secret"))
	s := newStore(config{webhdfs: mustURL(t, home.URL), tokenFile: token}, &health{})
	defer s.http.CloseIdleConnections()
	if err := s.createText(t.Context(), "/x", false, []byte("y")); err != nil || header != "" {
		t.Errorf("%v, %q", err, header)
	}
}
