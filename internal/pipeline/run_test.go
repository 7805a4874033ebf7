package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"howdah.dev/howdah/internal/pipeline/count"
)

// cluster runs jobs and topologies on the files of a memory, at once.
type cluster struct {
	mu         sync.Mutex
	files      *memory
	job        JobStatus // how a job ends
	jobErr     error     // of every question
	mangle     func(counts map[string]int64)
	topology   TopologyState
	lose       string // package whose lines are lost
	jobs       []JobRequest
	topologies []TopologyRequest
	killed     []string
	stay       int // how many questions a killed topology is still listed for
}

func (c *cluster) SubmitJob(_ context.Context, r JobRequest) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs = append(c.jobs, r)
	counts := map[string]int64{}
	for _, name := range c.files.names(r.Args[0]) {
		if strings.HasPrefix(name, "part-") {
			hadoop(counts, []byte(c.files.get(path.Join(r.Args[0], name))))
		}
	}
	if c.mangle != nil {
		c.mangle(counts)
	}
	parts := [2]strings.Builder{}
	for i, w := range sortedKeys(counts) {
		fmt.Fprintf(&parts[i%2], "%s\t%d\n", w, counts[w])
	}
	for i := range parts {
		c.files.put(fmt.Sprintf("%s/part-r-%05d", r.Args[1], i), []byte(parts[i].String()))
	}
	c.files.put(r.Args[1]+"/_SUCCESS", nil)
	return fmt.Sprintf("job_%d", len(c.jobs)), nil
}

func (c *cluster) JobStatus(context.Context, string, string) (JobStatus, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.job, c.jobErr
}

func (c *cluster) kill(what string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killed = append(c.killed, what)
	return nil
}

func (c *cluster) KillJob(_ context.Context, _, id string) error { return c.kill(id) }

func (c *cluster) KillTopology(_ context.Context, _, name string, _ time.Duration) error {
	c.mu.Lock()
	c.topology = TopologyKilled
	c.mu.Unlock()
	return c.kill(name)
}

func (c *cluster) TopologyStatus(context.Context, string, string) (TopologyStatus, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.topology == TopologyKilled {
		if c.stay--; c.stay < 0 {
			c.topology = TopologyAbsent
		}
	}
	return TopologyStatus{State: c.topology, Error: "java.io.IOException: broken pipe\n\tat x"}, nil
}

// SubmitTopology counts distinct numbers by package, as the bolt does, and
// writes totals that grow.
func (c *cluster) SubmitTopology(_ context.Context, r TopologyRequest) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.topologies = append(c.topologies, r)
	c.topology = TopologyActive
	seen := map[string]map[string]bool{}
	var out strings.Builder
	for _, name := range c.files.names(r.Properties["feed.source"]) {
		for l := range strings.Lines(c.files.get(r.Properties["feed.source"] + "/" + name)) {
			f := strings.SplitN(l, "\t", 3)
			if seen[f[0]] == nil {
				seen[f[0]] = map[string]bool{}
			}
			if f[0] != c.lose {
				seen[f[0]][f[1]] = true
				fmt.Fprintf(&out, "%s\t%d\n", f[0], len(seen[f[0]]))
			}
		}
	}
	out.WriteString("net\t99999") // not yet written to its end
	c.files.put(r.Properties["totals.dir"]+"/totals-1", []byte(out.String()))
	return r.Name + "-1", nil
}

const whole = `
name: whole
warehouse: w
steps:
  - {name: ingest, ingest: {from: src, match: "*.go", dataset: /data/src}}
  - {name: words, after: [ingest], job: {cluster: batch, main: wordcount, args: [/data/src, "${OUTPUT}"], output: /data/words}}
  - {name: feed, feed: {from: src/net, match: "*.go", path: /feeds/net, files: 2}}
  - name: lines
    after: [feed]
    topology:
      {cluster: stream, name: net-lines, flux: flux.yaml, output: /data/lines,
       properties: {hdfs.uri: "${WAREHOUSE}", feed.source: "${FEED}/in", totals.dir: "${OUTPUT}"}}
  - name: verify
    after: [words, lines]
    verify: [{words: words, of: ingest}, {lines: lines, of: feed}]
`

func load(t *testing.T) (*Definition, string) {
	t.Helper()
	dir := sources(t, map[string]string{
		"p.yaml": whole, "flux.yaml": "name: x",
		"src/a.go":          "\xef\xbb\xbfpackage a",
		"src/net/b.go":      "package b\r\n\tx\xff\xfe y\rz",
		"src/net/http/c.go": "package c\n\nbroken \xe2\x82 end\n",
		"src/net/http/d.go": "package c\n",
		"src/net/http/e.md": "not read",
	})
	d, found := Load(context.Background(), filepath.Join(dir, "p.yaml"))
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return d, dir
}

func TestRunWhole(t *testing.T) {
	ctx := context.Background()
	d, dir := load(t)
	files := newMemory()
	c := &cluster{files: files, job: JobStatus{State: JobSucceeded, Map: 100, Reduce: 100}, topology: TopologyActive, stay: 2}
	var events []Event
	cfg := Config{
		Definition: d, Files: files, Warehouse: "hdfs://w:8020", Jobs: c, Topologies: c, Poll: time.Millisecond,
		Events: func(e Event) { events = append(events, e) },
	}
	if _, err := LastRun(ctx, files, "whole"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a run is remembered: %v", err)
	}
	first, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := first.Step("verify").Message, "11 words and 2 packages equal an independent count"; got != want {
		t.Errorf("verify said %q, want %q", got, want)
	}
	if got, want := first.Step("lines").Figures, (Figures{Lines: 7, LinesTotal: 7, Packages: 2}); got != want {
		t.Errorf("figures are %+v, want %+v", got, want)
	}
	if diff := cmp.Diff([]string{"net-lines", "net-lines"}, c.killed); diff != "" {
		t.Errorf("an earlier topology and ours should be killed: %s", diff)
	}
	feed := "/feeds/net/" + first.Run
	if diff := cmp.Diff(map[string]string{"hdfs.uri": "hdfs://w:8020", "feed.source": feed + "/in", "totals.dir": "/data/lines/" + first.Run},
		c.topologies[0].Properties); diff != "" {
		t.Error(diff)
	}
	if got := files.get(feed + "/in/lines-" + first.Run + "-0000"); !strings.HasPrefix(got, "net\t1\tpackage b\nnet\t2\t\tx\ufffd\ufffd y\nnet\t3\tz\n") {
		t.Errorf("fed %q", got)
	}
	if diff := cmp.Diff([]Lineage{
		{From: []string{dir + "/src"}, Step: "ingest", Kind: KindIngest, To: "/data/src"},
		{From: []string{"/data/src"}, Step: "words", Kind: KindJob, Cluster: "batch", ID: "job_1", To: "/data/words"},
		{From: []string{dir + "/src/net"}, Step: "feed", Kind: KindFeed, To: "/feeds/net"},
		{From: []string{"/feeds/net"}, Step: "lines", Kind: KindTopology, Cluster: "stream", ID: "net-lines-1", To: "/data/lines"},
	}, first.Lineage); diff != "" {
		t.Error(diff)
	}
	if len(events) == 0 || events[len(events)-1].State != StateDone || events[len(events)-1].Step != "verify" {
		t.Errorf("the last event is not that verify is done: %+v", events)
	}

	record, err := LastRun(ctx, files, "whole")
	if err != nil || !record.Verified() || record.Result.Run != first.Run {
		t.Errorf("record is %+v, %v", record, err)
	}
	if changes, err := record.Changes(ctx, d); len(changes) != 0 || err != nil {
		t.Errorf("changes are %q, %v", changes, err)
	}

	time.Sleep(time.Millisecond)
	second, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files.names("/feeds/net"), files.names("/data/lines")...) {
		if !strings.HasPrefix(name, second.Run) {
			t.Errorf("%s is left of the first run", name)
		}
	}

	_ = os.WriteFile(filepath.Join(dir, "src/a.go"), []byte("package changed"), 0o644)
	_ = os.WriteFile(filepath.Join(dir, "flux.yaml"), []byte("name: changed"), 0o644)
	d.Steps[0].Ingest.PartMB = 1
	changes, err := record.Changes(ctx, d)
	if diff := cmp.Diff([]string{
		"the definition of whole changed", "the files below " + dir + "/src changed (step ingest)",
		dir + "/flux.yaml changed (step lines)",
	}, changes); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestRunFailures(t *testing.T) {
	tests := map[string]struct {
		cluster *cluster
		want    string
		states  string // of words, lines, verify
	}{
		"job fails": {
			&cluster{job: JobStatus{State: JobFailed, Diagnostics: "Task failed task_1\nJob failed"}},
			"step words: job job_1 failed: Task failed task_1\nJob failed", "failed done skipped",
		},
		"job killed": {
			&cluster{job: JobStatus{State: JobKilled}},
			"step words: job job_1 was killed: the cluster gives no reason", "failed done skipped",
		},
		"job hangs": {
			&cluster{job: JobStatus{State: JobWaiting, Diagnostics: "no memory left"}},
			"step words: job job_1 was not done in 30m0s: waiting, map 0 %, reduce 0 %: no memory left", "failed done skipped",
		},
		"server silent": {
			&cluster{jobErr: errors.New("connection refused")},
			"step words: cannot follow job job_1: no answer for 1m0s: connection refused", "failed done skipped",
		},
		"lines lost": {
			&cluster{job: JobStatus{State: JobSucceeded}, lose: "net/http"},
			"step lines: topology net-lines did not count every line in 3m0s: 3 of 7 lines, 1 of 2 packages complete; " +
				"net/http wanted 4, have 0; error: java.io.IOException: broken pipe", "done failed skipped",
		},
		"earlier topology stays": {
			&cluster{job: JobStatus{State: JobSucceeded}, topology: TopologyActive, stay: 1000},
			"step lines: topology net-lines of an earlier run is still killed after 1m30s", "done failed skipped",
		},
		"wrong words": {&cluster{job: JobStatus{State: JobSucceeded}, mangle: func(m map[string]int64) {
			m["package"]--
			delete(m, "y")
			m["new\x00"] = 1200
		}}, `step verify: the result of words is wrong: 11 words wanted, 11 got, 3 differ
  "new\x00" wanted 0, got 1,200
  "package" wanted 3, got 2
  "y" wanted 1, got 0`, "done done failed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d, _ := load(t)
			synctest.Test(t, func(t *testing.T) {
				c := test.cluster
				c.files = newMemory()
				if c.topology == "" {
					c.topology = TopologyAbsent
				}
				res, err := Run(context.Background(), Config{Definition: d, Files: c.files, Jobs: c, Topologies: c})
				if diff := cmp.Diff(test.want, fmt.Sprint(err)); diff != "" {
					t.Error(diff)
				}
				if got := fmt.Sprint(res.Step("words").State, " ", res.Step("lines").State, " ", res.Step("verify").State); got != test.states {
					t.Errorf("states are %s, want %s", got, test.states)
				}
				record, err := LastRun(context.Background(), c.files, "whole")
				if err != nil || record.Verified() || record.Result.State != StateFailed {
					t.Errorf("record is %+v, %v", record.Result, err)
				}
			})
		})
	}
}

func TestRunCancelled(t *testing.T) {
	d, _ := load(t)
	files := newMemory()
	c := &cluster{files: files, job: JobStatus{State: JobRunning, Map: 40}, topology: TopologyAbsent, lose: "net"}
	ctx, cancel := context.WithCancelCause(context.Background())
	var once sync.Once
	res, err := Run(ctx, Config{Definition: d, Files: files, Jobs: c, Topologies: c, Poll: time.Millisecond, Events: func(Event) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.jobs) == 1 && len(c.topologies) == 1 {
			once.Do(func() { cancel(errors.New("ctrl-c")) })
		}
	}})
	if got, want := fmt.Sprint(err), "pipeline whole was stopped: ctrl-c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if res.State != StateCancelled || res.Step("verify").State != StateSkipped {
		t.Errorf("result is %+v", res)
	}
	if len(c.killed) != 2 {
		t.Errorf("killed %q, want the job and the topology", c.killed)
	}
	record, err := LastRun(context.Background(), files, "whole")
	if err != nil || record.Result.State != StateCancelled {
		t.Errorf("record is %+v, %v", record, err)
	}

	cancelled, stop := context.WithCancel(context.Background())
	stop()
	if _, err := Run(cancelled, Config{Definition: d, Files: files, Jobs: c, Topologies: c}); fmt.Sprint(err) != "pipeline whole was stopped: context canceled" {
		t.Errorf("got %v", err)
	}
}

func TestEventsAreKept(t *testing.T) {
	p := &progress{emit: func(StepResult) {}}
	p.input(Input{Step: "a"})
	s := p.snapshot()
	p.input(Input{Step: "b"})
	if len(s.Inputs) != 1 {
		t.Error("a snapshot changed")
	}
}

func TestTotals(t *testing.T) {
	have := map[string]int64{}
	if err := addTotals(have, []byte("net\t3\nnet/http\t10\nnet\t2\nnet\t4")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"net": 3, "net/http": 10}, have); diff != "" {
		t.Error(diff)
	}
	for in, want := range map[string]string{
		"net\t1\nnet 3\n": `a total makes no sense: line 2 is "net 3", want package, tab, number`,
		"net\t-1\n":       `a total makes no sense: line 1 is "net\t-1", want package, tab, number`,
		"\t1\n":           `a total makes no sense: line 1 is "\t1", want package, tab, number`,
	} {
		if got := fmt.Sprint(addTotals(have, []byte(in))); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	done, err := enough(map[string]int64{"net": 2}, map[string]int64{"net": 1200})
	if got, want := fmt.Sprint(done, err), "true a total makes no sense: 2 lines of net were fed, 1,200 counted"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	wanted := map[string]int64{}
	for i := range 15 {
		wanted[fmt.Sprintf("p%02d", i)] = 1000
	}
	want := "1,000 of 15,000 lines, 1 of 15 packages complete" + strings.Repeat("X", 10) + "; and 4 more"
	for i := 1; i <= 10; i++ {
		want = strings.Replace(want, "X", fmt.Sprintf("; p%02d wanted 1,000, have 0", i), 1)
	}
	if got := shortfall(wanted, map[string]int64{"p00": 1000}); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestCompareWords(t *testing.T) {
	ctx := context.Background()
	wanted, err := count.Words(ctx, count.Tree{Root: sources(t, map[string]string{"a": "a b b"})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"a\t1\nb\t2\n":       "<nil>",
		"a\t1\nb\t2\na\t1\n": `cannot read the result of w: /o/part-r-00000: line 3: word "a" is there twice`,
		"a\t1\nb\t2":         `cannot read the result of w: /o/part-r-00000: unexpected EOF`,
		"a 1\n":              `cannot read the result of w: /o/part-r-00000: line 1 is "a 1", want word, tab, number`,
		"":                   "the result of w is wrong: 2 words wanted, 0 got, 2 differ\n  \"a\" wanted 1, got 0\n  \"b\" wanted 2, got 0",
	} {
		files := newMemory()
		files.put("/o/part-r-00000", []byte(in))
		if err := compareWords(ctx, files, "w", "/o", wanted); fmt.Sprint(err) != want {
			t.Errorf("%q: got %v, want %s", in, err, want)
		}
	}
	files := newMemory()
	files.put("/o/_SUCCESS", nil)
	if err := compareWords(ctx, files, "w", "/o", wanted); fmt.Sprint(err) != "cannot read the result of w: /o holds no part-r-* file" {
		t.Errorf("got %v", err)
	}
}

// However differences come, the first ones by key are kept and all are counted.
func TestDifferences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfDistinct(rapid.StringN(0, 3, -1), rapid.ID[string]).Draw(t, "keys")
		var d differences
		for _, key := range keys {
			d.add(key, 1, 2)
		}
		slices.Sort(keys)
		var first []string
		for _, f := range d.first {
			first = append(first, f.Key)
		}
		if d.n != len(keys) || !slices.Equal(first, keys[:min(len(keys), maxDifferences)]) {
			t.Fatalf("%d, %q of %q", d.n, first, keys)
		}
	})
}
