package cell

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/test/e2e/harness"
)

// linked is a cell that announces its master in a ZooKeeper.
const linked = `
clusters:
  - name: zk
    stack: zookeeper
    nodeGroups: [{name: server, roles: [zookeeper], instanceNum: 1}]
  - name: cell
    stack: mesos
    links: {zookeeper: zk}
    nodeGroups:
      - {name: master, roles: [mesos_master], instanceNum: 1}
      - {name: worker, roles: [mesos_worker], instanceNum: 1}
`

// announced reads the nodes of masters, lowest first, and what the first one says.
func announced(hosts string) (names []string, info mesos.MasterInfo, err error) {
	conn, err := harness.DialZooKeeper(hosts)
	if err != nil {
		return nil, info, err
	}
	stop := time.AfterFunc(5*time.Second, conn.Close) // what waits for a connection gives up
	defer func() {
		stop.Stop()
		conn.Close()
	}()
	names, _, err = conn.Children("/mesos/cell")
	if err != nil || len(names) == 0 {
		return nil, info, err
	}
	data, _, err := conn.Get("/mesos/cell/" + names[0])
	if err != nil {
		return nil, info, err
	}
	return names, info, json.Unmarshal(data, &info)
}

// TestAnnounced finds the master in ZooKeeper, again after its node was removed,
// after the master was killed, and after ZooKeeper was away for 30 s, in which
// nothing of the cell ends.
func TestAnnounced(t *testing.T) {
	h := harness.New(t)
	h.Up(h.Write("cell.yaml", linked))
	hosts := h.Cluster("zk").Exports["hosts"]
	address := strings.TrimPrefix(h.Cluster("cell").Exports["master"], "http://")
	one := func(what, not string) (name string) {
		t.Helper()
		harness.Within(t, time.Minute, what, func() (bool, string) {
			names, info, err := announced(hosts)
			if err != nil || len(names) != 1 || names[0] == not {
				return false, fmt.Sprint(names, err)
			}
			name = names[0]
			at := fmt.Sprintf("%s:%d", info.Address.IP, info.Address.Port)
			return at == address && info.PID == "master@"+address, fmt.Sprintf("%s says %+v", name, info)
		})
		return name
	}
	first := one("the master is announced", "")
	if !strings.HasPrefix(first, "json.info_") || len(first) != len("json.info_")+10 {
		t.Errorf("the node has the name %s", first)
	}

	conn, err := harness.DialZooKeeper(hosts)
	if err != nil {
		t.Fatal(err)
	}
	err = conn.Delete("/mesos/cell/"+first, -1)
	conn.Close()
	if err != nil {
		t.Fatal(err)
	}
	second := one("the master is announced again after its node was removed", first)

	h.Kill(h.PIDs("cell")["cell-master-1/master"])
	one("the master's next life is announced alone", second)
	h.Ready(30*time.Second, "cell")

	before := h.PIDs("cell")
	h.OK("stop", "zk")
	c := &cell{h, t, h.Cluster("cell").Exports["marathon"], token(h, "default", "admin"), ""}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		if code, body := c.call(http.MethodGet, "/v2/apps", ""); code != http.StatusOK {
			t.Fatalf("without ZooKeeper the scheduler answers %d %s", code, body)
		}
	}
	h.OK("start", "zk")
	one("the master is announced when ZooKeeper is back", "")
	if now := h.PIDs("cell"); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("something of the cell has ended: %v, it was %v", now, before)
	}
}
