package lifecycle

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

// readerJar compiles the job of testdata against the libraries that the cluster
// itself runs on.
func readerJar(t *testing.T, h *harness.Home) string {
	t.Helper()
	libs, err := filepath.Glob(filepath.Join(h.Dir, "cache", "sets", "*", "lib", "hadoop-mapreduce-client-core-*.jar"))
	if err != nil || len(libs) == 0 {
		t.Fatalf("the cache holds no library of Hadoop: %v", err)
	}
	work := t.TempDir()
	jar := filepath.Join(work, "reader.jar")
	for _, argv := range [][]string{
		{"javac", "--release", "17", "-cp", filepath.Join(filepath.Dir(libs[0]), "*"), "-d", work, filepath.Join("testdata", "Reader.java")},
		{"jar", "--create", "--file", jar, "-C", work, "example"},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil { //nolint:gosec // the test's own command
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
	return jar
}

// ownJob submits a jar of the user's own, reads what its task prints, and kills it.
func ownJob(t *testing.T, h *harness.Home) {
	const line = "a line only this file has"
	h.Put("warehouse", "/single/line", line+"\n")
	w := harness.JSON[api.Workload](h, "job", "submit", "--jar", readerJar(t, h), "batch", "example.Reader", "/single/line")
	if !strings.HasPrefix(w.ID, "application_") || w.Name != "endless reader" || w.Final {
		t.Fatalf("the job is %+v", w)
	}
	logs := func() (bool, string) {
		r := h.Run("job", "logs", "batch", w.ID)
		return r.Code == 0 && strings.Contains(r.Stdout, "the mapper read: "+line+"\n"), r.Stdout + r.Stderr
	}
	harness.Within(t, time.Minute, "the log of the running job has the line that its mapper prints", logs)
	w = harness.JSON[api.Workload](h, "job", "get", "batch", w.ID)
	if w.State != "running" || w.Final || w.Figures["containers"] != 2 || w.Progress["map"] >= 100 {
		t.Errorf("the job that runs one mapper is %+v", w)
	}
	if out := h.OK("job", "kill", "batch", w.ID); out != "job "+w.ID+" is killed\n" {
		t.Errorf("job kill prints %q", out)
	}
	harness.Within(t, time.Minute, "the job has ended", func() (bool, string) {
		w = harness.JSON[api.Workload](h, "job", "get", "batch", w.ID)
		return w.Final, w.State
	})
	if w.State != "killed" || !w.Failed || w.Finished == nil {
		t.Errorf("the job that was killed is %+v", w)
	}
	harness.Contains(t, "job get", h.OK("job", "get", "batch"), w.ID, "endless reader", "killed")
	harness.Within(t, time.Minute, "the collected log has the line too", func() (bool, string) {
		done, text := logs()
		return done && !containers(h), text
	})
	r := h.Fails(3, "job", "get", "batch", "application_1_0001")
	harness.Contains(t, "the refusal", r.Stderr, "application_1_0001")
	r = h.Fails(3, "job", "kill", "batch", "application_1_0001")
	harness.Contains(t, "the refusal", r.Stderr, "application_1_0001")
}

// containers reports whether a task of a job runs anywhere in the home.
func containers(h *harness.Home) bool {
	for _, p := range h.Processes() {
		if strings.Contains(harness.CommandLine(p.PID), "org.apache.hadoop.mapred.YarnChild") {
			return true
		}
	}
	return false
}
