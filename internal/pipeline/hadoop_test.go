package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// localFiles is a directory as a warehouse, for Hadoop's local job runner.
type localFiles struct{ root string }

func (l localFiles) at(name string) string { return filepath.Join(l.root, name) }

func (l localFiles) List(_ context.Context, name string) ([]Entry, error) {
	found, err := os.ReadDir(l.at(name))
	var out []Entry
	for _, e := range found {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(e.Name(), ".") { // checksums
			out = append(out, Entry{Name: e.Name(), Folder: e.IsDir(), Bytes: info.Size()})
		}
	}
	return out, err
}

func (l localFiles) Open(_ context.Context, name string) (io.ReadCloser, error) {
	return os.Open(l.at(name))
}

func (l localFiles) MakeFolder(_ context.Context, name string) error {
	return os.MkdirAll(l.at(name), 0o755)
}

func (l localFiles) Create(ctx context.Context, name string, r io.Reader) error {
	if err := l.MakeFolder(ctx, filepath.Dir(name)); err != nil {
		return err
	}
	f, err := os.Create(l.at(name))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

func (l localFiles) Rename(_ context.Context, from, to string) error {
	return os.Rename(l.at(from), l.at(to))
}

func (l localFiles) Remove(_ context.Context, name string) error { return os.RemoveAll(l.at(name)) }

// localJobs runs the examples jar in this machine, without a cluster.
type localJobs struct {
	set  string // folder with lib/*.jar and examples/*.jar
	root string
}

func (l localJobs) SubmitJob(ctx context.Context, r JobRequest) (string, error) {
	jar := filepath.Join(l.set, "examples", "hadoop-mapreduce-examples.jar")
	args := []string{"-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", filepath.Join(l.set, "lib", "*"), "org.apache.hadoop.util.RunJar", jar, r.Main, "-Dmapreduce.job.reduces=2"}
	for _, a := range r.Args {
		args = append(args, filepath.Join(l.root, a))
	}
	if out, err := exec.CommandContext(ctx, "java", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return "local", nil
}

func (localJobs) JobStatus(context.Context, string, string) (JobStatus, error) {
	return JobStatus{State: JobSucceeded}, nil
}

func (localJobs) KillJob(context.Context, string, string) error { return nil }

// TestReal: Hadoop's own word count, over awkward files, equals the independent
// count. HOWDAH_TEST_HADOOP is a laid out set of hdfs+yarn artifacts.
func TestReal(t *testing.T) {
	set := os.Getenv("HOWDAH_TEST_HADOOP")
	if set == "" {
		t.Skip("HOWDAH_TEST_HADOOP is not set")
	}
	d := &Definition{Name: "real", Warehouse: "w", Steps: []Step{
		{Name: "ingest", Ingest: &Ingest{From: sources(t, map[string]string{
			"a": "\xef\xbb\xbfalpha beta", "b": "\xef\xbb\xbfalpha\rbeta\r\n\xe2\x82 x\xed\xa0\x80y\xf0\x90", "c": "", "d": "\x80\x00nul a\x0bb a\u0085b a\u00a0b \ufeff",
			"e": "end\r", "f": "\n\xc0\x80 \xf5\x80 \xff",
		}), Dataset: "/data/in"}},
		{Name: "words", After: []string{"ingest"}, Job: &Job{Cluster: "c", Main: "wordcount", Args: []string{"/data/in", "${OUTPUT}"}, Output: "/data/out"}},
		{Name: "verify", After: []string{"words"}, Verify: []Check{{Words: "words", Of: "ingest"}}},
	}}
	d.fill()
	root := t.TempDir()
	res, err := Run(t.Context(), Config{Definition: d, Files: localFiles{root}, Jobs: localJobs{set, root}})
	if err != nil {
		t.Fatal(err)
	}
	if n := res.Step("verify").Figures.Words; n == 0 {
		t.Errorf("no words were compared: %+v", res)
	}
}
