package yarn

import (
	"io"
	"os"
	"testing"
)

// TestReal reads a real cluster:
//
//	HOWDAH_TEST_YARN=http://host:8088 HOWDAH_TEST_HISTORY=http://host:19888 go test ./internal/adapter/yarn
func TestReal(t *testing.T) {
	address := os.Getenv("HOWDAH_TEST_YARN")
	if address == "" {
		t.Skip("HOWDAH_TEST_YARN is not set")
	}
	c := New(Config{Address: address, History: os.Getenv("HOWDAH_TEST_HISTORY"), User: os.Getenv("HOWDAH_TEST_HDFS_USER")})
	info, err := c.Info(t.Context())
	if err != nil || info.State != "STARTED" {
		t.Fatalf("info = %+v, %v", info, err)
	}
	metrics, err := c.Metrics(t.Context())
	if err != nil || metrics.Nodes.Active == 0 {
		t.Fatalf("metrics = %+v, %v", metrics, err)
	}
	if nodes, err := c.Nodes(t.Context()); err != nil || len(nodes) == 0 {
		t.Errorf("nodes = %+v, %v", nodes, err)
	}
	jobs, err := c.Jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		realJob(t, c, j.ID)
	}
}

func realJob(t *testing.T, c *Client, id string) {
	j, err := c.Job(t.Context(), id)
	if err != nil {
		t.Error(err)
		return
	}
	t.Logf("%s %s %s %+v %s", j.ID, j.Name, j.State, j.MapReduce, j.Note)
	logs, err := c.LogsOf(t.Context(), id)
	t.Logf("%d logs, %v", len(logs), err)
	for _, l := range logs[:min(1, len(logs))] {
		r, err := c.OpenLog(t.Context(), l, 1000)
		if err != nil {
			t.Error(err)
			continue
		}
		b, err := io.ReadAll(r)
		r.Close()
		t.Logf("%s: %d bytes, %v", l.File, len(b), err)
	}
	if counters, err := c.Counters(t.Context(), id); err != nil {
		t.Logf("counters: %v", err)
	} else {
		t.Logf("%d groups of counters", len(counters))
	}
}
