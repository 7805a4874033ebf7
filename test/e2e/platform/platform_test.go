package platform

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/infra/local/sockets"
	"howdah.dev/howdah/test/e2e/harness"
)

var clusters = []string{"warehouse", "batch", "stream", "cell"}

func TestPlatform(t *testing.T) {
	h := harness.NewEmpty(t)
	watch := watchSockets(h)
	out := h.OK("up", "examples/platform", "--pipeline")
	exposed, saw, err := watch()
	t.Logf("the first up, from nothing:\n%s", out)
	if err != nil {
		t.Error(err)
	}
	harness.Contains(t, "the first up", out, "verified: ", "packages equal an independent count", "\nbatch ", "\nstream ", "\ncell ", "\nwarehouse ", "PAGES", "Try:")
	for _, l := range exposed {
		t.Errorf("a listener of ours is open beyond this host: %s", l)
	}
	for _, program := range []string{"NameNode", "ResourceManager", "MRAppMaster", "storm.daemon.nimbus", "storm.daemon.worker", " cell scheduler ", " cell worker ", " server --home "} {
		if !saw[program] {
			t.Errorf("no listener of %s was seen while the pipeline ran: its sockets were not looked at", program)
		}
	}
	for _, name := range clusters {
		if c := h.Cluster(name); c.State != "ready" {
			t.Errorf("cluster %s is %s: %s", name, c.State, c.Message)
		}
	}
	pages(t, h)
	words(t, h)
	containers(t, h)
	clients(t, h)
	if t.Failed() {
		t.FailNow()
	}

	before := observe(t, h)
	again(t, h)
	before.equals(t, "after a second up", observe(t, h))

	t.Run("down and up", func(t *testing.T) {
		h := h.For(t)
		out := h.OK("down")
		harness.Contains(t, "down", out, "suspended; data and wishes stay")
		if left := h.Processes(); len(left) > 0 {
			t.Errorf("down left running: %v", left)
		}
		out = h.OK("up")
		t.Logf("up after down:\n%s", out)
		h.Ready(10*time.Second, clusters...)
		before.equals(t, "after down and up", observe(t, h))
	})
	t.Run("loss of power", func(t *testing.T) {
		h := h.For(t)
		h.KillAll()
		out := h.OK("up")
		t.Logf("up after the loss of power:\n%s", out)
		h.Ready(10*time.Second, clusters...)
		before.equals(t, "after a loss of power", observe(t, h))
		again(t, h)
	})
	t.Run("datasets", func(t *testing.T) { datasets(t, h.For(t)) })
	t.Run("walls", func(t *testing.T) { walls(t, h.For(t)) })
	t.Run("instances, a shim, a worker and the pipeline killed while the cell ingests", func(t *testing.T) { killInstances(t, h.For(t)) })
	t.Run("stream 2 to 3 to 2 while a topology runs", func(t *testing.T) { resizeStream(t, h.For(t)) })
}

// again runs up once more: nothing is to be done, and the pipeline's result holds.
func again(t *testing.T, h *harness.Home) {
	t.Helper()
	ops, pids := len(h.Operations("")), h.PIDs("batch")
	harness.Contains(t, "a second up", h.OK("up", "examples/platform"), "it runs; nothing was to be done")
	out := h.OK("up", "examples/platform", "--pipeline")
	harness.Contains(t, "a second up with its pipeline", out, "pipeline go-src was verified ", "nothing changed since")
	if strings.Contains(out, "ingest") {
		t.Errorf("the pipeline ran again:\n%s", out)
	}
	if n := len(h.Operations("")); n != ops {
		t.Errorf("a second up started %d operations", n-ops)
	}
	if now := h.PIDs("batch"); fmt.Sprint(now) != fmt.Sprint(pids) {
		t.Errorf("a second up restarted services: before %v, now %v", pids, now)
	}
}

// watchSockets looks at the kernel's tables until it is told to end; it returns
// what was open beyond this host, and whose listeners were seen.
func watchSockets(h *harness.Home) func() ([]sockets.Listener, map[string]bool, error) {
	programs := []string{"NameNode", "ResourceManager", "MRAppMaster", "storm.daemon.nimbus", "storm.daemon.worker", " cell scheduler ", " cell worker ", " server --home "}
	end := make(chan struct{})
	var wg sync.WaitGroup
	var exposed []sockets.Listener
	var failed error
	saw, known := map[string]bool{}, map[uint64]bool{}
	wg.Go(func() {
		for tick := time.NewTicker(time.Second); ; {
			ls, err := h.Listeners()
			if err != nil {
				failed = err
			}
			for _, l := range ls {
				for _, p := range programs {
					saw[p] = saw[p] || strings.Contains(harness.CommandLine(l.PID), p)
				}
			}
			for _, l := range sockets.Exposed(ls) {
				if !known[l.Inode] {
					known[l.Inode] = true
					exposed = append(exposed, l)
				}
			}
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	})
	return func() ([]sockets.Listener, map[string]bool, error) {
		close(end)
		wg.Wait()
		return exposed, saw, failed
	}
}

// pages asks every page that up names.
func pages(t *testing.T, h *harness.Home) {
	t.Helper()
	n := 0
	for _, p := range h.Cluster("cell").Web {
		if code, _ := harness.Ask(t, http.MethodGet, p.URL, "", ""); code != http.StatusUnauthorized {
			t.Errorf("%s of the cell (%s) answers %d without a token, want 401", p.Title, p.URL, code)
		}
	}
	for _, name := range []string{"warehouse", "batch", "stream"} {
		for _, p := range h.Cluster(name).Web {
			n++
			if code, body := harness.Ask(t, http.MethodGet, p.URL, "", ""); code != http.StatusOK || len(body) == 0 {
				t.Errorf("%s of %s (%s) answers %d with %d bytes", p.Title, name, p.URL, code, len(body))
			}
		}
	}
	if n < 9 {
		t.Errorf("%d pages are named; want those of 1 NameNode, 3 DataNodes, 1 ResourceManager, 2 NodeManagers, 1 job history, 1 ZooKeeper at least", n)
	}
	token, err := os.ReadFile(filepath.Join(h.Dir, "run", "token"))
	if err != nil {
		t.Fatal(err)
	}
	front := frontPage.FindString(h.OK("up"))
	if code, _ := harness.Ask(t, http.MethodGet, front, "", ""); code != http.StatusUnauthorized {
		t.Errorf("the front page answers %d without a token, want 401", code)
	}
	code, body := harness.Ask(t, http.MethodGet, front, string(token), "")
	if code != http.StatusOK {
		t.Errorf("the front page answers %d", code)
	}
	harness.Contains(t, "the front page", body, clusters...)
}

var frontPage = regexp.MustCompile(`http://127\.[0-9.]+:[0-9]+`)

// words compares the word count with one of its own, word for word, leaving out
// words that are no UTF-8: Java reads those in its own way.
func words(t *testing.T, h *harness.Home) {
	t.Helper()
	want := countWords(t)
	got := map[string]int{}
	for line := range strings.Lines(h.HDFS("warehouse", "-cat", "/data/go-src-words/part-*")) {
		word, n, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		count, err := strconv.Atoi(n)
		if !ok || err != nil {
			t.Fatalf("the result has the line %q", line)
		}
		if utf8.ValidString(word) && !strings.ContainsRune(word, utf8.RuneError) {
			got[word] = count
		}
	}
	if len(got) != len(want) || len(want) < 10000 {
		t.Errorf("the result has %d words, an independent count %d", len(got), len(want))
	}
	wrong := 0
	for w, n := range want {
		if got[w] != n {
			if wrong++; wrong < 10 {
				t.Errorf("the result counts %q %d times, an independent count %d", w, got[w], n)
			}
		}
	}
	t.Logf("%d words equal; %q is there %d times", len(want), "func", want["func"])
}

func countWords(t *testing.T) map[string]int {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	err = filepath.WalkDir(filepath.Join(strings.TrimSpace(string(root)), "src"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(path, ".go") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, w := range bytes.FieldsFunc(data, func(r rune) bool { return strings.ContainsRune(" \t\n\r\f", r) }) {
			if utf8.Valid(w) && !bytes.ContainsRune(w, utf8.RuneError) {
				count[string(w)]++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// state is what must not change.
type state struct {
	tree, content, version string
	permits                int
}

func observe(t *testing.T, h *harness.Home) state {
	t.Helper()
	var s state
	var tree []string
	for line := range strings.Lines(h.HDFS("warehouse", "-ls", "-R", "/data", "/feeds")) {
		if f := strings.Fields(line); len(f) == 8 { // mode, copies, owner, group, size, date, time, path
			tree = append(tree, f[4]+" "+f[7])
		}
	}
	s.tree = strings.Join(tree, "\n")
	s.content = fmt.Sprintf("%x", sha256.Sum256([]byte(h.HDFS("warehouse", "-cat", "/data/go-src-words/part-*")+h.HDFS("warehouse", "-cat", "/data/go-src/part-00000*"))))
	files, err := filepath.Glob(filepath.Join(h.Dir, "nodes/warehouse/warehouse-master-1/*/*/current/VERSION"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the NameNode has the version files %v, want one", files)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	s.version = string(data)
	for _, e := range harness.JSON[[]api.Event](h, "get", "events", "warehouse") {
		if e.Type == "once.permitted" {
			s.permits++
		}
	}
	return s
}

func (s state) equals(t *testing.T, when string, now state) {
	t.Helper()
	if now.tree != s.tree {
		t.Errorf("%s the warehouse holds\n%s\nit held\n%s", when, now.tree, s.tree)
	}
	if now.content != s.content {
		t.Errorf("%s files in the warehouse have other content", when)
	}
	if now.version != s.version || !strings.Contains(now.version, "clusterID=") {
		t.Errorf("%s the NameNode's VERSION is\n%s\nit was\n%s", when, now.version, s.version)
	}
	if now.permits > 1 {
		t.Errorf("%s formatting has been permitted %d times", when, now.permits)
	}
}
