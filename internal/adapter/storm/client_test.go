package storm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func recorded(t *testing.T) *fakeNimbus {
	return newFakeNimbus(t, map[string]string{
		"getLeader":            "leader.reply",
		"getClusterInfo":       "cluster.reply",
		"getTopologyPageInfo":  "topology.reply",
		"killTopologyWithOpts": "kill-unknown.reply",
		"activate":             "activate.reply",
		"rebalance":            "rebalance-invalid.reply",
	})
}

func TestCluster(t *testing.T) {
	got, err := recorded(t).client().Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := Cluster{
		Nimbuses:    []Nimbus{{Host: "127.9.30.3", Port: 6627, Leads: true, Version: "2.8.3"}},
		Supervisors: []Supervisor{{Host: "127.9.30.4", Version: "2.8.3", Slots: 2, Used: 1, MemoryMB: 2048, CPU: 400}},
		Topologies:  []TopologySummary{{Name: "net-lines", Status: StatusActive, Owner: "root", Workers: 1, Executors: 4, Tasks: 4, MemoryMB: 128, CPU: 40}},
	}
	ignore := cmp.Options{
		cmpopts.IgnoreFields(Nimbus{}, "Uptime"),
		cmpopts.IgnoreFields(Supervisor{}, "Uptime", "ID"),
		cmpopts.IgnoreFields(TopologySummary{}, "Uptime", "ID"),
	}
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Error(diff)
	}
	if got.Supervisors[0].Uptime <= 0 || got.Topologies[0].ID == "" {
		t.Errorf("left out: %+v", got)
	}
}

func TestTopology(t *testing.T) {
	got, err := recorded(t).client().Topology(t.Context(), "net-lines", TenMinutes)
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != StatusActive || got.Executors != 4 || got.Tasks != 4 || got.Config[0] != '{' {
		t.Errorf("topology = %+v", got)
	}
	if len(got.Workers) != 1 || got.Workers[0].Port != 6700 || got.Workers[0].Executors != 4 {
		t.Errorf("workers = %+v", got.Workers)
	}
	if got.Counts.Acked != 150_000 || got.Counts.Failed != 0 || got.Latency < time.Millisecond {
		t.Errorf("counts = %+v, latency %v", got.Counts, got.Latency)
	}
	var ids []string
	for _, c := range got.Components {
		ids = append(ids, c.ID)
	}
	if diff := cmp.Diff([]string{"feed", "count", "totals"}, ids); diff != "" {
		t.Fatal(diff)
	}
	feed, count := got.Components[0], got.Components[1]
	if !feed.Spout || feed.Counts.Acked != 150_000 || feed.Counts.Executed != 0 {
		t.Errorf("feed = %+v", feed)
	}
	if count.Spout || count.Counts.Executed < 150_000 || count.Tasks != 1 || count.Latency <= 0 {
		t.Errorf("count = %+v", count)
	}
}

func TestErrors(t *testing.T) {
	c := recorded(t).client()
	_, unknown := c.Topology(t.Context(), "nobody", AllTime)
	for _, test := range []struct {
		err  error
		is   error
		text string
	}{
		{unknown, ErrNotFound, "cannot read topology nobody: no such topology"},
		{c.Kill(t.Context(), "nobody", 0), ErrNotFound, "cannot kill topology nobody: no such topology: nobody is not alive"},
		{c.Rebalance(t.Context(), "net-lines", Options{}), ErrInvalid, "cannot rebalance topology net-lines: refused: Invalid component nobody for topology net-lines, valid values are count,feed,totals"},
	} {
		if !errors.Is(test.err, test.is) || test.err.Error() != test.text {
			t.Errorf("got %v, want %q", test.err, test.text)
		}
	}
	if err := c.Activate(t.Context(), "net-lines"); err != nil {
		t.Error(err)
	}
}

// A nimbus without a leader sends an application exception of its own making.
func TestNotLeader(t *testing.T) {
	dir := t.TempDir()
	failed := "\x80\x01\x00\x03\x00\x00\x00\x09getLeader\x00\x00\x00\x01" + // exception, sequence 1
		"\x0b\x00\x01\x00\x00\x00\x08Internal" + "\x08\x00\x02\x00\x00\x00\x06" + "\x00"
	frame := append([]byte{0, 0, 0, byte(len(failed))}, failed...)
	if err := os.WriteFile(filepath.Join(dir, "failed.reply"), frame, 0o600); err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel("testdata", dir)
	if err != nil || filepath.IsAbs(rel) {
		wd, _ := os.Getwd()
		rel, _ = filepath.Rel(filepath.Join(wd, "testdata"), dir)
	}
	c := newFakeNimbus(t, map[string]string{"getLeader": filepath.Join(rel, "failed.reply")}).client()
	_, err = c.Leader(t.Context())
	if !errors.Is(err, ErrNotLeader) {
		t.Errorf("leader: %v", err)
	}
	if err := c.Activate(t.Context(), "x"); !errors.Is(err, ErrNotLeader) {
		t.Errorf("activate: %v", err)
	}
}

// A nimbus that accepts and says nothing must not hold the caller.
func TestHalfOpen(t *testing.T) {
	l, err := net.Listen("tcp", "127.9.31.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := New(Config{Addresses: []string{l.Addr().String()}, Timeout: 50 * time.Millisecond})
	_, err = c.Leader(t.Context())
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("time-out: %v", err)
	}
	c = New(Config{Addresses: []string{l.Addr().String()}})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := c.Cluster(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// The second address answers when the first is dead.
func TestSecondAddress(t *testing.T) {
	f := recorded(t)
	c := New(Config{Addresses: []string{"127.9.31.3:1", f.address}})
	if _, err := c.Cluster(t.Context()); err != nil {
		t.Error(err)
	}
	c = New(Config{Addresses: []string{"127.9.31.3:1"}})
	if _, err := c.Cluster(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	if _, err := New(Config{}).Cluster(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}

// A frame that claims to be huge is refused, not allocated.
func TestHugeFrame(t *testing.T) {
	l, err := net.Listen("tcp", "127.9.31.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.Write([]byte{0x7f, 0xff, 0xff, 0xff})
		io.Copy(io.Discard, conn)
	}()
	c := New(Config{Addresses: []string{l.Addr().String()}, Timeout: time.Minute})
	_, err = c.Cluster(t.Context())
	if !errors.Is(err, ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	<-done
}

// What is sent is what was asked: seconds are rounded up.
func TestKillSendsWait(t *testing.T) {
	f := recorded(t)
	f.client().Kill(t.Context(), "net-lines", 1500*time.Millisecond)
	// struct field 2 of the call: KillOptions{1: i32 wait_secs = 2}
	want := []byte{0x0c, 0, 2, 0x08, 0, 1, 0, 0, 0, 2}
	if got := f.request("killTopologyWithOpts"); !bytes.Contains(got, want) {
		t.Errorf("request %x lacks %x", got, want)
	}
}
