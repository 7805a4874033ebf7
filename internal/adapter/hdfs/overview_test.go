package hdfs

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// serve answers with what a NameNode 3.5.0 said while one DataNode was being
// decommissioned and another was dead.
func serve(t *testing.T, files map[string]string) *Client {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, bean, _ := strings.Cut(r.URL.Query().Get("qry"), "service=NameNode,name=")
		file, ok := files[bean]
		if !ok {
			w.Write([]byte(`{"beans":[]}`))
			return
		}
		http.ServeFile(w, r, filepath.Join("testdata", file))
	}))
	t.Cleanup(s.Close)
	return New(Config{Address: s.URL, HTTP: s.Client()})
}

func TestOverview(t *testing.T) {
	c := serve(t, map[string]string{"NameNodeStatus": "status.json", "NameNodeInfo": "info.json", "FSNamesystemState": "state.json"})
	got, err := c.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.State != "active" || got.Version != "3.5.0" || got.SafeMode != "" || !strings.HasPrefix(got.ClusterID, "CID-") {
		t.Errorf("overview = %+v", got)
	}
	if got.Capacity.Total != 270553174016 || got.Blocks.Total == 0 || got.Files == 0 || got.Blocks.Missing != 0 || got.FailedDirs != nil {
		t.Errorf("counts = %+v %+v", got.Capacity, got.Blocks)
	}
	want := []Node{{
		Name: "127.9.30.11:9866", Address: "127.9.30.11:9866", HTTP: "127.9.30.11:9864", UUID: "c8f080f2-5e35-4a33-a3f7-a1a0395c1590",
		Rack: "/default-rack", Version: "3.5.0", Liveness: Live, Admin: Decommissioning,
		Capacity: 270553174016, Used: 27175563, Remaining: 80459845632, Blocks: 16,
		Leaving: &Leaving{Since: 13077 * time.Millisecond},
	}, {
		Name: "127.9.30.12:9866", Address: "127.9.30.12:9866", UUID: "eb4ca847-fbe9-4626-9103-e397afbd2204",
		Rack: "/default-rack", Liveness: Dead, Admin: InService, LastContact: 14 * time.Second,
	}}
	if diff := cmp.Diff(want, got.Nodes); diff != "" {
		t.Error(diff)
	}
	if got.Count(Live, "") != 1 || got.Count(Dead, "") != 1 || got.Count(Live, Decommissioning) != 1 || got.Count(Live, InService) != 0 {
		t.Error("counts are wrong")
	}
}

func TestSafeMode(t *testing.T) {
	c := serve(t, map[string]string{"NameNodeStatus": "status.json", "NameNodeInfo": "info-safemode.json", "FSNamesystemState": "state.json"})
	got, err := c.Overview(t.Context())
	if err != nil || !strings.HasPrefix(got.SafeMode, "Safe mode is ON. It was turned on manually.") {
		t.Errorf("safe mode = %q, %v", got.SafeMode, err)
	}
}

func TestNotUp(t *testing.T) {
	_, err := serve(t, nil).Overview(t.Context())
	if want := "cannot read state of HDFS: NameNode is unreachable: it has no NameNodeStatus yet"; err == nil || err.Error() != want || !errors.Is(err, ErrUnreachable) {
		t.Errorf("starting: %v", err)
	}
	if _, err := New(Config{Address: "http://127.9.31.9:1"}).Overview(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("dead: %v", err)
	}
}

// TestReal needs HOWDAH_TEST_WEBHDFS=http://host:9870.
func TestReal(t *testing.T) {
	address := os.Getenv("HOWDAH_TEST_WEBHDFS")
	if address == "" {
		t.Skip("HOWDAH_TEST_WEBHDFS is not set")
	}
	got, err := New(Config{Address: address}).Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.State == "" || got.Count(Live, "") == 0 || got.Capacity.Total == 0 {
		t.Errorf("overview = %+v", got)
	}
}
