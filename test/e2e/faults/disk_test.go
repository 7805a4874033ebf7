package faults

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/adapter/webhdfs"
	"howdah.dev/howdah/test/e2e/harness"
)

// roomier is the warehouse with other memory for its DataNodes, which only a restart
// brings them. Its NameNode soon tries again to have a block copied.
func roomier(mb int) string {
	return fmt.Sprintf(`
name: warehouse
stack: hdfs
configuration:
  hadoop:
    hdfs-site.xml: {dfs.namenode.reconstruction.pending.timeout-sec: 5}
nodeGroups:
  - {name: master, roles: [hadoop_namenode], instanceNum: 1}
  - {name: worker, roles: [hadoop_datanode], instanceNum: 2, memCapacityMB: %d}
`, mb)
}

// disks is a warehouse whose DataNodes, and the agents beside them, have a disk of their
// own.
type disks struct {
	*harness.Home
	t     *testing.T
	hdfs  *webhdfs.Client
	rng   *rand.Rand
	first *harness.Disk
	other *harness.Disk
	sums  map[string][sha256.Size]byte // of files, as written
}

const full, spare = "warehouse-worker-1", "warehouse-worker-2"

// TestDisks fills the disk of an agent and its DataNode while a file is written: what is
// written goes elsewhere, new work is refused and what runs goes on; when no DataNode has
// room writing is refused; with room everything comes back by itself.
func TestDisks(t *testing.T) {
	if !harness.OwnMounts(t) {
		return
	}
	h := harness.New(t)
	h.Up()
	h.Apply("warehouse", roomier(512))
	h.OK("stop", "warehouse")
	d := &disks{Home: h, t: t, rng: rand.New(rand.NewPCG(1, 2)), sums: map[string][sha256.Size]byte{}} //nolint:gosec // the same bytes each time
	d.first, d.other = h.Disk("nodes/warehouse/"+full), h.Disk("nodes/warehouse/"+spare)
	h.OK("start", "warehouse")
	h.Ready(10*time.Second, "warehouse")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	d.hdfs = webhdfs.New(webhdfs.Config{Addresses: []string{h.Cluster("warehouse").Exports["web"]}, User: me.Username})
	before := services(h)
	d.write("/kept", nil)

	d.first.Leave(1 << 30)
	d.pressure(full, "LittleRoom", "1.0 GiB free of ")
	if c := h.Cluster("warehouse"); c.State != "ready" {
		t.Errorf("with little room the cluster is %s: %s", c.State, c.Message)
	}
	d.write("/while-it-fills", d.first.Fill)
	had, others := d.blocks(full), d.blocks(spare)
	d.write("/elsewhere", nil)
	if n, more := d.blocks(full), d.blocks(spare); n != had || more <= others {
		t.Errorf("the full disk has %d blocks, it had %d; the other has %d, it had %d", n, had, more, others)
	}
	d.pressure(full, "Full", "nothing can be started on it")
	d.other.Fill()
	d.nowhere()
	d.same()
	d.other.Free()
	id := d.refused(before)

	d.first.Free()
	o := h.Done(3*time.Minute, id)
	h.Ready(time.Minute, "warehouse")
	d.pressure(full, "Enough", "")
	for name, now := range services(h) {
		was, starts := before[name], int64(0)
		if strings.HasSuffix(name, "/datanode") {
			starts = 1
		}
		if now.Incarnation != was.Incarnation+starts || now.Restarts != was.Restarts {
			t.Errorf("%s is incarnation %d, it was %d; it ended %d times by itself, before %d", name, now.Incarnation, was.Incarnation, now.Restarts, was.Restarts)
		}
	}
	d.write("/after", nil)
	d.same()
	harness.Within(t, time.Minute, "what was written to one disk is on both", func() (bool, string) {
		a, b := d.blocks(full), d.blocks(spare)
		return a == b && a >= len(d.sums), fmt.Sprintf("%d and %d blocks", a, b)
	})

	h.OK("stop", "warehouse")
	d.first.Fill() // now that nothing is left that could make room
	h.OK("stop", "warehouse")
	d.first.Free()
	h.OK("start", "warehouse")
	d.same()
	t.Logf("%d files written, 1 of them while the disk filled; 1 write refused; 1 apply held up for %.0f s and done; stopped with a full disk and started with room; %d files read back as written; 0 services ended by themselves",
		len(d.sums), o.Finished.Sub(*o.Started).Seconds(), len(d.sums))
}

// blocks counts the whole blocks of files on a DataNode's disk.
func (d *disks) blocks(node string) int {
	d.t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(d.Dir, "nodes", "warehouse", node, "datanode", "data"), func(path string, e fs.DirEntry, err error) error {
		if strings.Contains(path, "/finalized/") && strings.HasPrefix(e.Name(), "blk_") && !strings.HasSuffix(e.Name(), ".meta") {
			n++
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

// write writes 12 MiB; meanwhile is called after a third.
func (d *disks) write(name string, meanwhile func()) {
	d.t.Helper()
	data := make([]byte, 12<<20)
	for i := range data {
		data[i] = byte(d.rng.Uint32())
	}
	r, w := io.Pipe()
	third := len(data) / 3
	go func() {
		_, _ = w.Write(data[:third])
		if meanwhile != nil {
			meanwhile()
		}
		_, _ = w.Write(data[third:])
		w.Close()
	}()
	if err := d.hdfs.Create(d.t.Context(), name, r, webhdfs.CreateOptions{Overwrite: true}); err != nil {
		d.t.Fatalf("%s could not be written: %v", name, err)
	}
	d.sums[name] = sha256.Sum256(data)
}

// same reads everything back.
func (d *disks) same() {
	d.t.Helper()
	for name, sum := range d.sums {
		r, err := d.hdfs.Open(d.t.Context(), name, 0, -1)
		if err != nil {
			d.t.Errorf("%s cannot be read: %v", name, err)
			continue
		}
		hash := sha256.New()
		n, err := io.Copy(hash, r)
		r.Close()
		if err != nil || !bytes.Equal(hash.Sum(nil), sum[:]) {
			d.t.Errorf("%s holds %d other bytes than were written: %v", name, n, err)
		}
	}
}

func (d *disks) node(name string) api.NodeStatus {
	d.t.Helper()
	for _, n := range d.Cluster("warehouse").Nodes {
		if n.Name == name {
			return n
		}
	}
	d.t.Fatalf("there is no node %s", name)
	return api.NodeStatus{}
}

// pressure waits for what is said of a node's disk.
func (d *disks) pressure(node, reason, message string) {
	d.t.Helper()
	harness.Within(d.t, 30*time.Second, "the disk of "+node+" is "+reason, func() (bool, string) {
		n := d.node(node)
		for _, c := range n.Conditions {
			if c.Type == api.ConditionDiskPressure {
				return n.Connected && c.Reason == reason && strings.Contains(c.Message, message), fmt.Sprintf("%+v", c)
			}
		}
		return false, fmt.Sprintf("%+v", n)
	})
}

// refused asks an agent with a full disk for something new. It waits, and what runs goes
// on over the ends of agent and server.
func (d *disks) refused(before map[string]api.ServiceStatus) (operation int64) {
	d.t.Helper()
	agent := d.node(full).AgentPID
	d.Kill(agent)
	harness.Within(d.t, 30*time.Second, "a new agent runs "+full, func() (bool, string) {
		n := d.node(full)
		return n.Connected && n.AgentPID != agent && n.Services[0].State == "ready", fmt.Sprintf("%+v", n)
	})
	d.KillServer()
	d.Up()
	harness.Within(d.t, 30*time.Second, "its agent is connected to the new server", func() (bool, string) {
		n := d.node(full)
		return n.Connected, fmt.Sprintf("%+v", n)
	})
	operation = d.Begin("warehouse", roomier(576))
	d.pressure(full, "Full", "waits for room, what runs goes on as it is")
	n := d.node(full)
	if now, was := n.Services[0], before[full+"/datanode"]; now.PID != was.PID || now.Incarnation != was.Incarnation || !harness.Alive(now.PID) {
		d.t.Errorf("on a full disk the DataNode is %+v, it was %+v", now, was)
	}
	harness.Contains(d.t, "explain", d.OK("explain", "warehouse"), "the disk of host ", " is full: ", "make room on it")
	return operation
}

// nowhere writes where no DataNode has room.
func (d *disks) nowhere() {
	d.t.Helper()
	harness.Within(d.t, time.Minute, "writing is refused", func() (bool, string) {
		err := d.hdfs.Create(d.t.Context(), "/nowhere", strings.NewReader("a line without a place\n"), webhdfs.CreateOptions{Overwrite: true})
		return err != nil && strings.Contains(err.Error(), "could only be written to 0 of the 1 minReplication nodes") || err != nil && strings.Contains(err.Error(), "Failed to find datanode"), fmt.Sprint(err)
	})
}
