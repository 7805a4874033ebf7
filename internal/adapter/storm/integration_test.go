package storm

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

// The tests in this file run against a real nimbus:
//
//	HOWDAH_TEST_NIMBUS=host:port go test ./internal/adapter/storm
//
// and, where a topology may be changed, with HOWDAH_TEST_TOPOLOGY=name too.
// With -update they record what the other tests replay.
var update = flag.Bool("update", false, "record testdata from the real nimbus")

func realNimbus(t *testing.T) (address string) {
	address = os.Getenv("HOWDAH_TEST_NIMBUS")
	if address == "" {
		t.Skip("HOWDAH_TEST_NIMBUS is not set")
	}
	return address
}

func TestRealCluster(t *testing.T) {
	c := New(Config{Addresses: []string{realNimbus(t)}})
	leader, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !leader.Leads || leader.Port == 0 {
		t.Errorf("leader = %+v", leader)
	}
	cluster, err := c.Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if total, used := cluster.Slots(); total == 0 || used > total {
		t.Errorf("slots: %d of %d used", used, total)
	}
	for _, sum := range cluster.Topologies {
		topology, err := c.Topology(t.Context(), sum.ID, TenMinutes)
		if err != nil {
			t.Error(err)
		}
		t.Logf("%+v", topology)
	}
}

func TestRealNotFound(t *testing.T) {
	c := New(Config{Addresses: []string{realNimbus(t)}})
	for verb, err := range map[string]error{
		"kill":       c.Kill(t.Context(), "nobody", 0),
		"activate":   c.Activate(t.Context(), "nobody"),
		"deactivate": c.Deactivate(t.Context(), "nobody"),
		"rebalance":  c.Rebalance(t.Context(), "nobody", Options{Workers: 1}),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if _, err := c.Topology(t.Context(), "nobody", AllTime); !errors.Is(err, ErrNotFound) {
		t.Errorf("topology: %v", err)
	}
}

// TestRealActions turns a topology off and on, spreads it anew and waits until
// nimbus calls it active again.
func TestRealActions(t *testing.T) {
	name := os.Getenv("HOWDAH_TEST_TOPOLOGY")
	if name == "" {
		t.Skip("HOWDAH_TEST_TOPOLOGY is not set")
	}
	c := New(Config{Addresses: []string{realNimbus(t)}})
	if err := c.Deactivate(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, c, name, StatusInactive)
	if err := c.Activate(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, c, name, StatusActive)
	if err := c.Rebalance(t.Context(), name, Options{Wait: time.Second, Workers: 1}); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, c, name, StatusActive)
}

func awaitStatus(t *testing.T, c *Client, name string, want Status) {
	t.Helper()
	for range 100 {
		got, err := c.Topology(t.Context(), name, AllTime)
		if err != nil {
			t.Fatal(err)
		}
		if got.Status == want {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("topology %s did not become %s", name, want)
}

// TestRecord writes testdata. It needs a topology in HOWDAH_TEST_TOPOLOGY, and
// in HOWDAH_TEST_HIDE the folders nimbus is installed in, separated by colons,
// which are blotted out.
func TestRecord(t *testing.T) {
	if !*update {
		t.Skip("-update is not set")
	}
	address, name := realNimbus(t), os.Getenv("HOWDAH_TEST_TOPOLOGY")
	record := func(file string, f func(c *Client) error) {
		var last *bytes.Buffer
		c := New(Config{Addresses: []string{address}, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			last = new(bytes.Buffer)
			return teeConn{conn, last}, err
		}})
		t.Logf("%s: %v", file, f(c))
		if err := os.WriteFile(filepath.Join("testdata", file), hidden(last.Bytes()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	record("leader.reply", func(c *Client) error { _, err := c.Leader(ctx); return err })
	record("cluster.reply", func(c *Client) error { _, err := c.Cluster(ctx); return err })
	record("topology.reply", func(c *Client) error { _, err := c.Topology(ctx, name, TenMinutes); return err })
	record("kill-unknown.reply", func(c *Client) error { return c.Kill(ctx, "nobody", 0) })
	record("activate.reply", func(c *Client) error { return c.Activate(ctx, name) })
	record("rebalance-invalid.reply", func(c *Client) error {
		return c.Rebalance(ctx, name, Options{Executors: map[string]int{"nobody": 2}})
	})
}

// TestRecordWeb writes the answers the web API is tested with. It needs the
// topology numbers of test/e2e/platform, a minute old.
func TestRecordWeb(t *testing.T) {
	if !*update {
		t.Skip("-update is not set")
	}
	address := realNimbus(t)
	cluster, err := New(Config{Addresses: []string{address}}).Cluster(t.Context())
	if err != nil || len(cluster.Topologies) != 1 || len(cluster.Supervisors) == 0 {
		t.Fatalf("%v in %+v", err, cluster)
	}
	id := cluster.Topologies[0].ID
	none := nimbusthrift.NumErrorsChoice_NONE
	for file, f := range map[string]call{
		"web-cluster": func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
			_, err := n.GetClusterInfo(ctx)
			return err
		},
		"web-conf": func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
			_, err := n.GetNimbusConf(ctx)
			return err
		},
		"web-history": func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
			_, err := n.GetTopologyHistory(ctx)
			return err
		},
		"web-owners": func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
			_, err := n.GetOwnerResourceSummaries(ctx)
			return err
		},
		"web-supervisor": func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
			_, err := n.GetSupervisorPageInfo(ctx, cluster.Supervisors[0].ID, false)
			return err
		},
		"web-topology": func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
			_, err := n.GetTopologyPageInfo(ctx, id, "600", false)
			return err
		},
		"web-executors": func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
			_, err := n.GetTopologyInfoWithOpts(ctx, id, &nimbusthrift.GetInfoOptions{NumErrChoice: &none})
			return err
		},
		"web-spec": func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
			_, err := n.GetTopology(ctx, id)
			return err
		},
		"web-bolt": func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
			_, err := n.GetComponentPageInfo(ctx, id, "log", ":all-time", true)
			return err
		},
		"web-spout": func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
			_, err := n.GetComponentPageInfo(ctx, id, "numbers", ":all-time", false)
			return err
		},
	} {
		var last *bytes.Buffer
		c := New(Config{Addresses: []string{address}, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			last = new(bytes.Buffer)
			return teeConn{conn, last}, err
		}})
		if err := c.query(t.Context(), f); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if err := os.WriteFile(filepath.Join("testdata", file+".reply"), hidden(last.Bytes()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// hidden replaces a path, also as JSON writes it, by as many letters: lengths
// are part of the protocol.
func hidden(reply []byte) []byte {
	for _, secret := range filepath.SplitList(os.Getenv("HOWDAH_TEST_HIDE")) {
		for _, s := range []string{secret, strings.ReplaceAll(secret, "/", `\/`)} {
			if s != "" {
				reply = bytes.ReplaceAll(reply, []byte(s), bytes.Repeat([]byte("x"), len(s)))
			}
		}
	}
	return reply
}

type teeConn struct {
	net.Conn
	to *bytes.Buffer
}

func (c teeConn) Read(p []byte) (int, error) {
	return io.TeeReader(c.Conn, c.to).Read(p)
}

// TestRealFlux builds the pipeline example's jar from the real flux-core jar in
// HOWDAH_TEST_FLUX and the program in HOWDAH_TEST_NET_LINES, and leaves it in
// HOWDAH_TEST_JAR, from where it can be submitted.
func TestRealFlux(t *testing.T) {
	path := os.Getenv("HOWDAH_TEST_FLUX")
	if path == "" {
		t.Skip("HOWDAH_TEST_FLUX is not set")
	}
	flux, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer flux.Close()
	program, err := os.ReadFile(os.Getenv("HOWDAH_TEST_NET_LINES"))
	if err != nil {
		t.Fatal(err)
	}
	site, err := os.ReadFile("../../../examples/platform/pipeline/hdfs-site.xml")
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	err = BuildTopologyJar(&jar, Inputs{
		Flux:      &flux.Reader,
		Resources: map[string][]byte{"net-lines": program},
		Files:     map[string][]byte{"hdfs-site.xml": site},
	})
	if err != nil {
		t.Fatal(err)
	}
	entries := content(t, reader(t, jar.Bytes()))
	if entries["org/apache/storm/flux/Flux.class"] == "" || entries["resources/net-lines"] != string(program) {
		t.Error("entries are missing")
	}
	if err := os.WriteFile(os.Getenv("HOWDAH_TEST_JAR"), jar.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
