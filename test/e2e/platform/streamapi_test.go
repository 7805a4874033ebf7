package platform

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/test/e2e/harness"
)

// stormAPI is Storm's REST API as Howdah serves it: through the server, and for
// reading at nimbus's own address.
type stormAPI struct {
	t                        *testing.T
	server, nimbus           string // base addresses
	viewer, operator, topoID string
}

// uiTopology is what is looked at of a topology's page.
type uiTopology struct {
	ID, Name, Status, Window, WindowHint     string
	TasksTotal, WorkersTotal, ExecutorsTotal int
	Workers                                  []struct{ Host, TopologyID string }
	TopologyStats                            []struct {
		Window, CompleteLatency string
		Acked                   int64
	}
	Spouts, Bolts []struct {
		SpoutID, BoltID, CompleteLatency, ExecuteLatency string
		Executors, Tasks                                 int
		Acked                                            int64
	}
}

func newStormAPI(t *testing.T, h *harness.Home) *stormAPI {
	t.Helper()
	a := &stormAPI{t: t, viewer: h.Token("default", "viewer"), operator: h.Token("default", "operator")}
	for _, n := range h.Cluster("stream").Nodes {
		if slices.Contains(n.Roles, "storm_nimbus") {
			four := netip.MustParseAddr(n.Address).As4()
			four[3] = 1
			a.server = fmt.Sprintf("http://%s:7070/clusters/stream/storm/api/v1", netip.AddrFrom4(four))
			a.nimbus = fmt.Sprintf("http://%s:8080/api/v1", n.Address)
		}
	}
	var list struct{ Topologies []uiTopology }
	a.get(a.nimbus+"/topology/summary", &list)
	if len(list.Topologies) != 1 || list.Topologies[0].Name != "numbers" {
		t.Fatalf("topologies at nimbus's address: %+v", list)
	}
	a.topoID = list.Topologies[0].ID
	return a
}

// get reads JSON as a viewer.
func (a *stormAPI) get(url string, into any) {
	a.t.Helper()
	code, body := harness.Ask(a.t, http.MethodGet, url, a.viewer, "")
	if code != http.StatusOK {
		a.t.Fatalf("%s answers %d: %s", url, code, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		a.t.Fatalf("%s: %v in %s", url, err, body)
	}
}

func (a *stormAPI) topology(query string) uiTopology {
	a.t.Helper()
	var got uiTopology
	a.get(a.server+"/topology/"+a.topoID+query, &got)
	return got
}

// post changes the topology as an operator.
func (a *stormAPI) post(operation, path, body string) {
	a.t.Helper()
	code, got := harness.Ask(a.t, http.MethodPost, a.server+"/topology/"+a.topoID+path, a.operator, body)
	want := fmt.Sprintf(`{"status":"success","topologyId":%q,"topologyOperation":%q}`, a.topoID, operation)
	if code != http.StatusOK || got != want {
		a.t.Errorf("%s answers %d %s, want %s", path, code, got, want)
	}
}

// askStorm reads what old tools read, and changes the topology's size. It has 2
// workers and 4 executors of the bolt; it is left with 1 and 2.
func askStorm(t *testing.T, h *harness.Home) {
	t.Helper()
	a := newStormAPI(t, h)
	a.read()
	a.refusals()

	a.post("deactivate", "/deactivate", "")
	a.status("INACTIVE")
	a.post("activate", "/activate", "")
	a.status("ACTIVE")
	a.post("rebalance", "/rebalance/1", `{"rebalanceOptions": {"numWorkers": 1, "executors": {"log": "2"}}}`)
	acks(t, h, 1, 6)
	spread(t, h, 1)
	harness.Within(t, time.Minute, "the API tells of one worker and two executors of the bolt", func() (bool, string) {
		got := a.topology("")
		ok := got.ExecutorsTotal == 6 && len(got.Workers) == 1 && len(got.Bolts) == 1 && got.Bolts[0].Executors == 2 && got.Bolts[0].Tasks == 4
		return ok, fmt.Sprintf("%+v", got)
	})
}

func (a *stormAPI) read() {
	a.t.Helper()
	harness.Within(a.t, time.Minute, "the API tells of the topology that acks", func() (bool, string) {
		got := a.topology("?window=600")
		ok := got.Status == "ACTIVE" && got.Window == "600" && got.WindowHint == "10m 0s" && got.TasksTotal == 8 && len(got.Workers) == 2 &&
			len(got.Spouts) == 1 && got.Spouts[0].SpoutID == "numbers" && got.Spouts[0].Acked > 0 && strings.Contains(got.Spouts[0].CompleteLatency, ".") &&
			len(got.Bolts) == 1 && got.Bolts[0].BoltID == "log" && got.Bolts[0].Executors == 4 && len(got.TopologyStats) == 4 && got.TopologyStats[0].Acked > 0
		return ok, fmt.Sprintf("%+v", got)
	})
	var bolt struct {
		ComponentType, TopologyID string
		Executors                 int
		InputStats                []struct{ Component, Stream string }
		ExecutorStats             []struct{ ID, Host string }
	}
	a.get(a.server+"/topology/"+a.topoID+"/component/log", &bolt)
	if bolt.ComponentType != "bolt" || bolt.Executors != 4 || len(bolt.ExecutorStats) != 4 || len(bolt.InputStats) != 1 || bolt.InputStats[0].Component != "numbers" {
		a.t.Errorf("the bolt: %+v", bolt)
	}
	var workers struct{ HostPortList []struct{ Host string } }
	a.get(a.nimbus+"/topology-workers/"+a.topoID, &workers)
	if len(workers.HostPortList) != 2 {
		a.t.Errorf("workers at nimbus's address: %+v", workers)
	}
	var cluster struct{ Supervisors, SlotsTotal, SlotsUsed, Topologies int }
	a.get(a.nimbus+"/cluster/summary", &cluster)
	if cluster.Supervisors < 2 || cluster.SlotsUsed != 2 || cluster.SlotsTotal < 4 || cluster.Topologies != 1 {
		a.t.Errorf("the cluster: %+v", cluster)
	}
	var visual map[string]map[string]any
	a.get(a.server+"/topology/"+a.topoID+"/visualization", &visual)
	if visual["numbers"][":type"] != "spout" || !strings.Contains(fmt.Sprint(visual["log"][":inputs"]), ":grouping:shuffle") {
		a.t.Errorf("visualization: %v", visual)
	}
}

// refusals are answers without a login, by the wrong role, and to what is not
// there or not possible.
func (a *stormAPI) refusals() {
	a.t.Helper()
	topology := a.server + "/topology/" + a.topoID
	for _, test := range []struct {
		method, url, token, body string
		code                     int
		says                     string
	}{
		{"GET", topology, "", "", 401, "a token is needed"},
		{"GET", a.nimbus + "/cluster/summary", "", "", 401, "a token is needed"},
		{"POST", topology + "/kill/0", a.viewer, "", 403, "role viewer may not do this"},
		{"POST", a.nimbus + "/topology/" + a.topoID + "/kill/0", a.operator, "", 405, "changes go to " + a.server},
		{"GET", a.server + "/topology/nobody", a.viewer, "", 404, `"error":"404 Not Found","errorMessage":"cannot read topology nobody: no such topology"`},
		{"POST", a.server + "/topology/nobody/activate", a.operator, "", 404, "no such topology"},
		{"POST", a.server + "/topology/nobody/deactivate", a.operator, "", 404, "no such topology"},
		{"GET", topology + "/component/nobody", a.viewer, "", 404, "has numbers, log"},
		{"POST", topology + "/rebalance/0", a.operator, `{"rebalanceOptions": {"executors": {"nobody": 2}}}`, 400, "Invalid component nobody"},
		{"GET", topology + "?window=1", a.viewer, "", 400, "one of 600, 10800, 86400 and :all-time"},
	} {
		if code, body := harness.Ask(a.t, test.method, test.url, test.token, test.body); code != test.code || !strings.Contains(body, test.says) {
			a.t.Errorf("%s %s answers %d %s, want %d with %s", test.method, test.url, code, body, test.code, test.says)
		}
	}
}

func (a *stormAPI) status(want string) {
	a.t.Helper()
	harness.Within(a.t, time.Minute, "the topology is "+want, func() (bool, string) {
		got := a.topology("").Status
		return got == want, got
	})
}
