package keeping

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"howdah.dev/howdah/test/e2e/harness"
)

const warehouse = `
name: warehouse
stack: hdfs
nodeGroups:
  - {name: master, roles: [hadoop_namenode], instanceNum: 1}
  - {name: worker, roles: [hadoop_datanode], instanceNum: 1}
`

// TestBackup takes a backup of a platform that goes on being used, loses the home,
// and makes another of it: first where that must fail, then with the blocks that
// had a disk of their own, then without them.
func TestBackup(t *testing.T) {
	h := harness.New(t)
	h.Up()
	h.Apply("warehouse", warehouse)
	h.Apply("zk", harness.OneZooKeeper)
	h.Put("warehouse", "/kept", "a line that must stay\n")
	h.Put("warehouse", "/kept2", "another") // of one block alone HDFS does not mind the loss
	h.HDFS("warehouse", "-mkdir", "-p", "/data/deep/down")
	write(t, h, "/kept", "a node that must stay")
	version := read(t, filepath.Join(h.Dir, "nodes/warehouse/warehouse-master-1/namenode/data/current/VERSION"))

	file := filepath.Join(h.Files(), "platform.howdah")
	out := h.OK("backup", file)
	harness.Contains(t, "the backup", out, "warehouse-master-1", "namespace as of the last transaction before ", "zk-server-1", "everything written before",
		"Not in it:", "warehouse: data of datanode on 1 nodes", "It holds the keys of this installation")
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the backup is %v, %v", st, err)
	}
	if left, _ := filepath.Glob(filepath.Join(h.Dir, "run", "sent", "*")); len(left) > 0 {
		t.Errorf("what agents sent is still there: %v", left)
	}
	h.Put("warehouse", "/later", "a line that comes too late\n")

	r := h.Fails(4, "restore", file)
	harness.Contains(t, "restoring over a home", r.Stderr, "the home is not empty")
	other := harness.New(t)
	r = other.Fails(1, "restore", file)
	harness.Contains(t, "restoring beside the home", r.Stderr, "the clusters' addresses are in 127.", h.Dir)
	pristine(t, other)

	h.OK("stop", "zk")
	r = h.Fails(4, "backup", file+"2")
	harness.Contains(t, "a backup of what is stopped", r.Stderr, "the data of zookeeper on zk-server-1 cannot be copied: zk does not run; start it: howdah start zk", "--without zk")
	harness.Contains(t, "a backup without it", h.OK("backup", "--without", "zk", file+"2"), "zk: data of zookeeper on 1 nodes")

	blocks := filepath.Join(h.Files(), "blocks")
	h.OK("down")
	if err := os.CopyFS(blocks, os.DirFS(filepath.Join(h.Dir, "nodes/warehouse/warehouse-worker-1/datanode/data"))); err != nil {
		t.Fatal(err)
	}
	h.OK("clean", "--yes")

	damaged := []byte(read(t, file))
	damaged[len(damaged)/2] ^= 1
	r = other.Fails(2, "restore", other.Write("damaged", string(damaged)))
	harness.Contains(t, "a damaged backup", r.Stderr, "the backup is damaged", "nothing was written")
	pristine(t, other)

	t.Run("with its blocks", func(t *testing.T) { withBlocks(t, other.For(t), file, blocks, version) })
	t.Run("without them", func(t *testing.T) { withoutBlocks(t, harness.New(t), file) })
}

// pristine says that nothing of a backup is in a home.
func pristine(t *testing.T, h *harness.Home) {
	t.Helper()
	for _, name := range []string{"howdah.db", "ca", "settings.json", "subnet", "run/restoring"} {
		if _, err := os.Lstat(filepath.Join(h.Dir, name)); err == nil {
			t.Errorf("the refused restore left %s", name)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(h.Dir, "nodes")); len(left) > 0 {
		t.Errorf("the refused restore left nodes: %v", left)
	}
}

// withBlocks brings everything back, and what came after the backup is not there.
func withBlocks(t *testing.T, h *harness.Home, file, blocks, version string) {
	harness.Contains(t, "the restore", restored(t, h, file), "restored into "+h.Dir, "howdah up", "namespace as of")
	if err := os.CopyFS(filepath.Join(h.Dir, "nodes/warehouse/warehouse-worker-1/datanode/data"), os.DirFS(blocks)); err != nil {
		t.Fatal(err)
	}
	h.Up()
	h.Ready(30*time.Second, "warehouse", "zk")
	if got := h.HDFS("warehouse", "-cat", "/kept"); got != "a line that must stay\n" {
		t.Errorf("the file holds %q", got)
	}
	names := h.HDFS("warehouse", "-ls", "-R", "/")
	harness.Contains(t, "the namespace", names, "/data/deep/down")
	if strings.Contains(names, "/later") {
		t.Errorf("what was written after the backup is there:\n%s", names)
	}
	if got := znode(t, h, "/kept"); got != "a node that must stay" {
		t.Errorf("the node holds %q", got)
	}
	if now := read(t, filepath.Join(h.Dir, "nodes/warehouse/warehouse-master-1/namenode/data/current/VERSION")); now != version {
		t.Errorf("the NameNode's VERSION is\n%s\nit was\n%s", now, version)
	}
	if n := h.Events("warehouse")["once.permitted"]; n != 1 {
		t.Errorf("formatting was permitted %d times", n)
	}
	h.Put("warehouse", "/new", "it takes files again\n")
	h.OK("clean", "--yes")
}

// restored restores as soon as nobody else has the subnet: other tests may take it
// when the home that had it is gone.
func restored(t *testing.T, h *harness.Home, file string) string {
	t.Helper()
	var r harness.Result
	harness.Within(t, 3*time.Minute, "the backup is restored", func() (bool, string) {
		r = h.Run("restore", file)
		if r.Code != 0 && !strings.Contains(r.Stderr, "the clusters' addresses are in 127.") {
			t.Fatalf("howdah restore: exit code %d\n%s", r.Code, r.Stderr)
		}
		return r.Code == 0, r.Stderr
	})
	return r.Stdout
}

// withoutBlocks: the names are there, and the platform says what is missing.
func withoutBlocks(t *testing.T, h *harness.Home, file string) {
	restored(t, h, file)
	up := h.Command("up")
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = up.Process.Kill(); _ = up.Wait() }()
	harness.Within(t, time.Minute, "the reason says which blocks are missing", func() (bool, string) {
		r := h.Run("explain", "warehouse")
		return strings.Contains(r.Stdout, "The reported blocks 0 needs additional 1 blocks to reach the threshold 0.9990 of total blocks 2"), r.Stdout + r.Stderr
	})
	if c := h.Cluster("warehouse"); c.State == "ready" {
		t.Error("a warehouse without its blocks is ready")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, h *harness.Home, path, text string) {
	t.Helper()
	c := h.ZooKeeper("zk")
	defer c.Close()
	if _, err := c.Create(path, []byte(text), 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
}

func znode(t *testing.T, h *harness.Home, path string) string {
	t.Helper()
	c := h.ZooKeeper("zk")
	defer c.Close()
	data, _, err := c.Get(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
