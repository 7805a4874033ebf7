package storm

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

// With -update, what is in this file records what the other tests replay, from the
// nimbus in HOWDAH_TEST_NIMBUS (host:port). test/e2e/platform asks a real one.
var update = flag.Bool("update", false, "record testdata from the real nimbus")

func toRecord(t *testing.T) (nimbus string) {
	t.Helper()
	nimbus = os.Getenv("HOWDAH_TEST_NIMBUS")
	if !*update || nimbus == "" {
		t.Skip("-update or HOWDAH_TEST_NIMBUS is not set: nothing is recorded")
	}
	return nimbus
}

// TestRecord writes testdata. It needs a topology in HOWDAH_TEST_TOPOLOGY, and
// in HOWDAH_TEST_HIDE the folders nimbus is installed in, separated by colons,
// which are blotted out.
func TestRecord(t *testing.T) {
	address, name := toRecord(t), os.Getenv("HOWDAH_TEST_TOPOLOGY")
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
	address := toRecord(t)
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
