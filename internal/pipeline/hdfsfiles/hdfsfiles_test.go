package hdfsfiles

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/adapter/webhdfs"
	"howdah.dev/howdah/internal/pipeline"
)

const definition = `
name: hdfsfiles-test
warehouse: w
steps:
  - {name: ingest, ingest: {from: src, partMB: 1, dataset: /tmp/howdah-pipeline/in}}
  - {name: feed, feed: {from: src, path: /tmp/howdah-pipeline/feed}}
`

// TestReal carries files into a real HDFS, twice:
//
//	HOWDAH_TEST_WEBHDFS=http://host:9870 HOWDAH_TEST_HDFS_USER=superuser go test ./internal/pipeline/hdfsfiles
func TestReal(t *testing.T) {
	address := os.Getenv("HOWDAH_TEST_WEBHDFS")
	if address == "" {
		t.Skip("HOWDAH_TEST_WEBHDFS is not set")
	}
	ctx, dir := context.Background(), t.TempDir()
	for name, text := range map[string]string{"p.yaml": definition, "src/a": strings.Repeat("x y\n", 300_000), "src/b": strings.Repeat("z\r", 200_000)} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, found := pipeline.Load(ctx, filepath.Join(dir, "p.yaml"))
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	files := New(webhdfs.New(webhdfs.Config{Addresses: []string{address}, User: os.Getenv("HOWDAH_TEST_HDFS_USER")}))
	defer func() {
		for _, name := range []string{"/tmp/howdah-pipeline", pipeline.RecordPath(d.Name)} {
			if err := files.Remove(ctx, name); err != nil {
				t.Error(err)
			}
		}
	}()
	if _, err := pipeline.LastRun(ctx, files, d.Name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before the first run: %v", err)
	}
	for run := range 2 {
		res, err := pipeline.Run(ctx, pipeline.Config{Definition: d, Files: files})
		if err != nil {
			t.Fatal(err)
		}
		kept := strings.HasPrefix(res.Step("ingest").Message, "kept")
		if kept != (run == 1) || res.Step("feed").Figures.Lines != 500_000 {
			t.Errorf("run %d: %+v", run, res)
		}
		fed, err := files.List(ctx, "/tmp/howdah-pipeline/feed/"+res.Run+"/in")
		if err != nil || int64(len(fed)) != res.Step("feed").Figures.Parts {
			t.Errorf("fed %+v, %v", fed, err)
		}
		record, err := pipeline.LastRun(ctx, files, d.Name)
		if err != nil || record.Result.Run != res.Run || record.Verified() {
			t.Errorf("record %+v, %v", record, err)
		}
	}
}
