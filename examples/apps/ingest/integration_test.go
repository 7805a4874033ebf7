package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"howdah.dev/howdah/internal/adapter/webhdfs"
	"howdah.dev/howdah/internal/pipeline"
	"howdah.dev/howdah/internal/pipeline/hdfsfiles"
	"howdah.dev/howdah/internal/warehouse/gateway"
)

// TestReal kills instances that write into a real HDFS, through the gateway:
//
//	HOWDAH_TEST_WEBHDFS=http://host:9870 HOWDAH_TEST_HDFS_USER=superuser go test ./examples/apps/ingest
func TestReal(t *testing.T) {
	address, user := os.Getenv("HOWDAH_TEST_WEBHDFS"), os.Getenv("HOWDAH_TEST_HDFS_USER")
	if address == "" {
		t.Skip("HOWDAH_TEST_WEBHDFS is not set")
	}
	ctx, dir := t.Context(), t.TempDir()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	files := hdfsfiles.New(webhdfs.New(webhdfs.Config{Addresses: []string{address}, User: user, HTTP: client}))
	const root = "/tmp/howdah-ingest"
	defer func() {
		if err := files.Remove(context.WithoutCancel(ctx), root); err != nil {
			t.Error(err)
		}
	}()
	if err := files.MakeFolder(ctx, root+"/got"); err != nil {
		t.Fatal(err)
	}
	grant := gateway.Grant{Project: "p", User: user, Datasets: []gateway.Dataset{{Name: "got", Path: root + "/got", Access: gateway.ReadWrite}}}
	g, err := gateway.New(gateway.Config{
		NameNodes: func() []string { return []string{address} },
		Authorize: func(_ context.Context, token string) (gateway.Grant, bool) { return grant, token == "secret" },
		Log:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	server := httptest.NewServer(g)
	defer server.Close()
	w := &world{t: t, sources: sourceTree(t, 12), token: filepath.Join(dir, "token"), gateway: server}
	write(t, w.token, []byte("secret"))
	killReal(t, w, buildIngest(t), "HOWDAH_DATASET_GO_SRC="+root+"/got", func() bool {
		_, err := pipeline.ReadManifest(ctx, files, root+"/got")
		return err == nil
	})
	want := ownIngest(t, w.sources, files, root+"/want")
	w.waitFor("the dataset holds its parts and _SUCCESS only", func() bool {
		return slices.Equal(namesOf(t, files, root+"/got"), namesOf(t, files, root+"/want"))
	}, func() any { return namesOf(t, files, root+"/got") })
	for _, p := range want.Parts {
		if readReal(t, files, root+"/got/"+p.Name) != readReal(t, files, root+"/want/"+p.Name) {
			t.Errorf("%s differs", p.Name)
		}
	}
	if got, err := pipeline.ReadManifest(ctx, files, root+"/got"); err != nil || got.Digest != want.Digest || !slices.Equal(got.Parts, want.Parts) {
		t.Errorf("_SUCCESS: %+v, %v", got, err)
	}
}

// killReal ends instances at random until the dataset is complete.
func killReal(t *testing.T, w *world, program, variable string, complete func() bool) {
	next := 0
	start := func() *exec.Cmd {
		next++
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Env = append(w.environ(fmt.Sprintf("ingest.%d", next), "INGEST_LEASE=1s"), variable)
		cmd.Stderr = &lines{t: t, name: fmt.Sprint("ingest.", next)}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	running := []*exec.Cmd{start(), start(), start()}
	t.Cleanup(func() {
		for _, cmd := range running {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	for killed := 0; !complete() && killed < 100; killed++ {
		time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond)
		i := rand.IntN(len(running))
		kill(t, running[i])
		running[i] = start()
	}
	t.Logf("%d instances were started", next)
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

func namesOf(t *testing.T, files pipeline.Reader, dataset string) []string {
	t.Helper()
	entries, err := files.List(t.Context(), dataset)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	return names
}

func readReal(t *testing.T, files pipeline.Reader, name string) string {
	t.Helper()
	r, err := files.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
