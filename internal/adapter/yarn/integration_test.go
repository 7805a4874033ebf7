package yarn

import (
	"io"
	"os"
	"testing"
)

// TestReal reads a real cluster that has run jobs, all of which succeeded:
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
	if err != nil || len(jobs) == 0 {
		t.Fatalf("jobs = %+v, %v", jobs, err)
	}
	for _, j := range jobs {
		realJob(t, c, j.ID)
	}
}

// realJob reads all there is of a job that has succeeded.
func realJob(t *testing.T, c *Client, id string) {
	t.Helper()
	j, err := c.Job(t.Context(), id)
	if err != nil || j.State != "FINISHED" || j.MapReduce == nil || j.MapReduce.Maps.Done == 0 || j.MapReduce.Maps.Done != j.MapReduce.Maps.Total {
		t.Errorf("job %s = %+v, %v", id, j, err)
	}
	logs, err := c.LogsOf(t.Context(), id)
	if err != nil || len(logs) == 0 {
		t.Fatalf("%d logs of %s, %v", len(logs), id, err)
	}
	r, err := c.OpenLog(t.Context(), logs[0], 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || len(b) == 0 {
		t.Errorf("%s of %s: %d bytes, %v", logs[0].File, id, len(b), err)
	}
	if counters, err := c.Counters(t.Context(), id); err != nil || len(counters) == 0 {
		t.Errorf("counters of %s: %d groups, %v", id, len(counters), err)
	}
}
