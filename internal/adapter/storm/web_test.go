package storm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

// recordedWeb is the API over recorded answers of a nimbus 2.8.3 that runs the
// topology numbers: a shell spout, a bolt of two executors and four tasks, and
// three workers.
func recordedWeb(t *testing.T) (http.Handler, *fakeNimbus) {
	f := newFakeNimbus(t, map[string]string{
		"getLeader":                 "leader.reply",
		"getClusterInfo":            "web-cluster.reply",
		"getNimbusConf":             "web-conf.reply",
		"getTopologyHistory":        "web-history.reply",
		"getOwnerResourceSummaries": "web-owners.reply",
		"getSupervisorPageInfo":     "web-supervisor.reply",
		"getTopologyPageInfo":       "web-topology.reply",
		"getTopologyInfoWithOpts":   "web-executors.reply",
		"getTopology":               "web-spec.reply",
		"getComponentPageInfo":      "web-bolt.reply",
		"killTopologyWithOpts":      "activate.reply", // answers without a value are alike
		"activate":                  "activate.reply",
		"deactivate":                "activate.reply",
		"rebalance":                 "rebalance-invalid.reply",
	})
	return f.client().Web(), f
}

func get(h http.Handler, path string) (int, string) { return send(h, http.MethodGet, path, "") }

func send(h http.Handler, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

// recordedID is the id of the recorded topology.
func recordedID(t *testing.T, h http.Handler) string {
	t.Helper()
	_, body := get(h, "/topology/summary")
	var got struct{ Topologies []struct{ ID string } }
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Topologies) != 1 {
		t.Fatalf("topologies: %v in %s", err, body)
	}
	return got.Topologies[0].ID
}

// The fields and types of Storm's UI server, as recorded from a real one and as
// its documents list them. n is a number, s a text, b a boolean, o an object, ?
// what may be null; a list of objects is followed by theirs in brackets.
const (
	supervisorShape = `id:s host:s uptime:s uptimeSeconds:n slotsTotal:n slotsUsed:n slotsFree:n totalMem:n usedMem:n availMem:n totalCpu:n usedCpu:n availCpu:n
		totalGenericResources:s usedGenericResources:s availGenericResources:s version:s blacklisted:b logLink:s`
	workerShape = `supervisorId:s host:s port:n topologyId:s topologyName:s executorsTotal:n assignedMemOnHeap:n assignedMemOffHeap:n assignedCpu:n
		componentNumTasks:o uptime:s uptimeSeconds:n workerLogLink:s owner:s`
	topologyShape = `id:s encodedId:s name:s owner:s status:s uptime:s uptimeSeconds:n tasksTotal:n workersTotal:n executorsTotal:n replicationCount:n schedulerInfo:s?
		requestedMemOnHeap:n requestedMemOffHeap:n requestedTotalMem:n requestedCpu:n requestedGenericResources:s
		assignedMemOnHeap:n assignedMemOffHeap:n assignedTotalMem:n assignedCpu:n assignedGenericResources:s topologyVersion:s? stormVersion:s?`
	errorShape     = `lastError:s errorHost:s errorPort:n? errorTime:n? errorLapsedSecs:n? errorWorkerLogLink:s`
	componentShape = `executors:n tasks:n emitted:n transferred:n acked:n failed:n requestedMemOnHeap:n requestedMemOffHeap:n requestedCpu:n requestedGenericResourcesComp:s ` + errorShape
	ownerShape     = `owner:s totalTopologies:n totalExecutors:n totalWorkers:n totalTasks:n totalMemoryUsage:n totalCpuUsage:n memoryGuarantee:s cpuGuarantee:s isolatedNodes:n
		memoryGuaranteeRemaining:s cpuGuaranteeRemaining:s totalReqOnHeapMem:n totalReqOffHeapMem:n totalReqMem:n totalReqCpu:n totalAssignedOnHeapMem:n totalAssignedOffHeapMem:n`
	pageShape = topologyShape + ` user:s? window:s windowHint:s msgTimeout:n configuration:o debug:b samplingPct:n visualizationTable:[] schedulerDisplayResource:b
		bugtracker-url:s? central-log-url:s? requestedRegularOnHeapMem:n requestedSharedOnHeapMem:n requestedRegularOffHeapMem:n requestedSharedOffHeapMem:n
		assignedRegularOnHeapMem:n assignedSharedOnHeapMem:n assignedRegularOffHeapMem:n assignedSharedOffHeapMem:n
		topologyStats:[ windowPretty:s window:s emitted:n transferred:n completeLatency:s acked:n failed:n ]
		spouts:[ spoutId:s encodedSpoutId:s completeLatency:s ` + componentShape + ` ]
		bolts:[ boltId:s encodedBoltId:s capacity:s executeLatency:s processLatency:s executed:n ` + componentShape + ` ]
		workers:[ ` + workerShape + ` ]`
	componentPage = `user:s? id:s encodedId:s name:s executors:n tasks:n requestedMemOnHeap:n requestedMemOffHeap:n requestedCpu:n requestedGenericResources:s
		schedulerDisplayResource:b topologyId:s topologyStatus:s encodedTopologyId:s window:s windowHint:s componentType:s debug:b samplingPct:n
		profilingAndDebuggingCapable:b profileActionEnabled:b profilerActive:[] componentErrors:[] `
	boltShape = componentPage + `boltStats:[ window:s windowPretty:s emitted:n transferred:n acked:n failed:n executed:n executeLatency:s processLatency:s capacity:s ]
		inputStats:[ component:s encodedComponentId:s stream:s executeLatency:s processLatency:s executed:n acked:n failed:n ]
		outputStats:[ stream:s emitted:n transferred:n ]
		executorStats:[ id:s encodedId:s uptime:s uptimeSeconds:n host:s port:n emitted:n transferred:n capacity:s executeLatency:s executed:n processLatency:s acked:n failed:n workerLogLink:s ]`
	spoutShape = componentPage + `spoutSummary:[ window:s windowPretty:s emitted:n transferred:n completeLatency:s acked:n failed:n ]
		outputStats:[ stream:s emitted:n transferred:n completeLatency:s acked:n failed:n ]
		executorStats:[ id:s encodedId:s uptime:s uptimeSeconds:n host:s port:n emitted:n transferred:n completeLatency:s acked:n failed:n workerLogLink:s ]`
)

// TestWebShapes compares every answer with the fields and types above, both
// ways: nothing is missing and nothing is made up.
func TestWebShapes(t *testing.T) {
	h, f := recordedWeb(t)
	id := recordedID(t, h)
	for path, shape := range map[string]string{
		"/cluster/summary": `user:s? stormVersion:s stormVersionInfo:o supervisors:n topologies:n slotsTotal:n slotsUsed:n slotsFree:n executorsTotal:n tasksTotal:n
			schedulerDisplayResource:b totalMem:n totalCpu:n availMem:n availCpu:n fragmentedMem:n fragmentedCpu:n availGenerics:s totalGenerics:s
			memAssignedPercentUtil:s cpuAssignedPercentUtil:s bugtracker-url:s? central-log-url:s?`,
		"/nimbus/summary":             `nimbuses:[ host:s port:n status:s version:s nimbusUpTime:s nimbusUpTimeSeconds:n nimbusLogLink:s ]`,
		"/history/summary":            `topo-history:[]`,
		"/owner-resources":            `schedulerDisplayResource:b owners:[ ` + ownerShape + ` ]`,
		"/owner-resources/root":       `schedulerDisplayResource:b ` + ownerShape + ` topologies:[ ` + topologyShape + ` ]`,
		"/supervisor/summary":         `schedulerDisplayResource:b logviewerPort:n logviewerScheme:s supervisors:[ ` + supervisorShape + ` ]`,
		"/topology/summary":           `schedulerDisplayResource:b topologies:[ ` + topologyShape + ` ]`,
		"/topology/" + id:             pageShape,
		"/topology-workers/" + id:     `logviewerPort:n logviewerScheme:s hostPortList:[ host:s port:n ]`,
		"/supervisor?host=" + host(f): `schedulerDisplayResource:b logviewerPort:n logviewerScheme:s supervisors:[ ` + supervisorShape + ` ] workers:[ ` + workerShape + ` ]`,
		"/topology/" + id + "/metrics?window=600": `window:s windowHint:s window-hint:s
			spouts:[ id:s emitted:[] transferred:[] acked:[] failed:[] complete_ms_avg:[] ]
			bolts:[ id:s emitted:[] transferred:[] acked:[] failed:[] process_ms_avg:[] executed:[] executed_ms_avg:[] ]`,
		"/topology/" + id + "/component/log": boltShape,
	} {
		code, body := get(h, path)
		if code != http.StatusOK {
			t.Errorf("%s answers %d: %s", path, code, body)
			continue
		}
		for _, d := range differences(t, body, shape) {
			t.Errorf("%s: %s", path, d)
		}
	}
	f.replies["getComponentPageInfo"] = "web-spout.reply"
	_, body := get(h, "/topology/"+id+"/component/numbers")
	for _, d := range differences(t, body, spoutShape) {
		t.Errorf("a spout: %s", d)
	}
}

func host(f *fakeNimbus) string {
	c, _ := f.client().Cluster(f.t.Context())
	return c.Supervisors[0].Host
}

// differences compares a JSON object with a shape.
func differences(t *testing.T, body, shape string) []string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	fields, rest := parseShape(strings.Fields(shape))
	if len(rest) > 0 {
		t.Fatalf("shape has %q too many", rest)
	}
	return compare(v, fields, "")
}

type shape struct {
	kind   string
	fields map[string]shape
}

func parseShape(words []string) (map[string]shape, []string) {
	out := map[string]shape{}
	for len(words) > 0 && words[0] != "]" {
		name, kind, _ := strings.Cut(words[0], ":")
		words = words[1:]
		one := shape{kind: kind}
		if kind == "[" {
			one.fields, words = parseShape(words)
			words = words[1:]
		}
		out[name] = one
	}
	return out, words
}

func compare(v any, fields map[string]shape, at string) (out []string) {
	object, ok := v.(map[string]any)
	if !ok {
		return []string{at + " is no object"}
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if _, ok := fields[name]; !ok {
			out = append(out, at+name+" is not in the original")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value, ok := object[name]
		if !ok {
			out = append(out, at+name+" is missing")
			continue
		}
		out = append(out, fields[name].compare(value, at+name)...)
	}
	return out
}

func (s shape) compare(value any, at string) (out []string) {
	kind := strings.TrimSuffix(s.kind, "?")
	if value == nil && kind != s.kind {
		return nil
	}
	ok := false
	switch kind {
	case "n":
		_, ok = value.(float64)
	case "s":
		_, ok = value.(string)
	case "b":
		_, ok = value.(bool)
	case "o":
		_, ok = value.(map[string]any)
	case "[]", "[":
		var list []any
		list, ok = value.([]any)
		if ok && kind == "[" && len(list) == 0 {
			return []string{at + " is empty, nothing was compared"}
		}
		for i, one := range list {
			if kind == "[" {
				out = append(out, compare(one, s.fields, fmt.Sprintf("%s[%d].", at, i))...)
			}
		}
	}
	if !ok {
		out = append(out, fmt.Sprintf("%s is %v, want %s", at, value, s.kind))
	}
	return out
}

// TestWebValues compares every recorded answer whole; -update writes them.
func TestWebValues(t *testing.T) {
	h, f := recordedWeb(t)
	id := recordedID(t, h)
	for _, test := range []struct{ file, path string }{
		{"cluster", "/cluster/summary"},
		{"nimbus", "/nimbus/summary"},
		{"history", "/history/summary"},
		{"owners", "/owner-resources"},
		{"supervisors", "/supervisor/summary"},
		{"supervisor", "/supervisor?host=" + host(f)},
		{"topologies", "/topology/summary"},
		{"topology", "/topology/" + id + "?window=600"},
		{"workers", "/topology-workers/" + id},
		{"metrics", "/topology/" + id + "/metrics?sys=1"},
		{"visualization", "/topology/" + id + "/visualization"},
		{"bolt", "/topology/" + id + "/component/log"},
		{"spout", "/topology/" + id + "/component/numbers"},
	} {
		if test.file == "spout" {
			f.replies["getComponentPageInfo"] = "web-spout.reply"
		}
		code, body := get(h, test.path)
		if code != http.StatusOK {
			t.Errorf("%s answers %d: %s", test.path, code, body)
			continue
		}
		var got bytes.Buffer
		if err := json.Indent(&got, []byte(body), "", " "); err != nil {
			t.Fatal(err)
		}
		got.WriteByte('\n')
		file := filepath.Join("testdata", "web", test.file+".json")
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, got.Bytes()) {
			t.Errorf("%s differs from %s:\n%s", test.path, file, got.String())
		}
	}
}

// TestWebErrors: what cannot be answered says so in JSON, without a stack trace.
func TestWebErrors(t *testing.T) {
	h, _ := recordedWeb(t)
	id := recordedID(t, h)
	away := New(Config{Addresses: []string{"127.9.31.3:1"}}).Web()
	for _, test := range []struct {
		h            http.Handler
		method, path string
		body         string
		code         int
		text         string
	}{
		{h, "GET", "/topology/nobody", "", 404, "cannot read topology nobody: no such topology"},
		{h, "GET", "/topology/nobody/metrics", "", 404, "cannot read topology nobody: no such topology"},
		{h, "GET", "/topology-workers/nobody", "", 404, "cannot read topology nobody: no such topology"},
		{h, "POST", "/topology/nobody/kill/0", "", 404, "cannot read topology nobody: no such topology"},
		{h, "GET", "/topology/" + id + "/component/nobody", "", 404, "cannot read component nobody: no such component: topology " + id + " has numbers, log"},
		{h, "GET", "/supervisor?id=nobody", "", 404, "cannot read supervisor nobody: no such supervisor"},
		{h, "GET", "/supervisor", "", 400, "say which supervisor: id= or host="},
		{h, "GET", "/topology/" + id + "?window=601", "", 400, `window "601" is unknown; it is one of 600, 10800, 86400 and :all-time`},
		{h, "GET", "/topology/" + id + "?sys=yes", "", 400, `sys is 1 or 0, not "yes"`},
		{h, "GET", "/cluster/summary?callback=f", "", 400, "answers are plain JSON; leave out callback"},
		{h, "POST", "/topology/" + id + "/kill/soon", "", 400, `the wait before it begins is a whole number of seconds, not "soon"`},
		{h, "POST", "/topology/" + id + "/kill/-1", "", 400, `the wait before it begins is a whole number of seconds, not "-1"`},
		{h, "POST", "/topology/" + id + "/rebalance/0", `{"rebalanceOptions": {"numWorkers": 0}}`, 400, "cannot read the body: a number of workers or executors is at least 1, not 0"},
		{h, "POST", "/topology/" + id + "/rebalance/0", `{"rebalanceOptions": {"executors": {"log": "many"}}}`, 400, `cannot read the body: a number of workers or executors is at least 1, not "many"`},
		{h, "POST", "/topology/" + id + "/rebalance/0", `{"numWorkers": 2}`, 400, `cannot read the body: json: unknown field "numWorkers"`},
		{h, "POST", "/topology/" + id + "/rebalance/0", `{} {}`, 400, "cannot read the body: there is more after its end"},
		{h, "POST", "/topology/" + id + "/rebalance/0", strings.Repeat(" ", maxWebBody+1), 400, "the body is larger than 64 KiB"},
		{h, "POST", "/topology/" + id + "/rebalance/0", "", 400, "cannot rebalance topology numbers: refused: Invalid component nobody for topology net-lines, valid values are count,feed,totals"},
		{h, "GET", "/topology/" + id + "/activate", "", 405, "/topology/" + id + "/activate is for POST only"},
		{h, "DELETE", "/cluster/summary", "", 405, "/cluster/summary is for GET only"},
		{h, "GET", "/topology/" + id + "/lag", "", 501, "GET /topology/" + id + "/lag is not served: it belongs to Storm's own UI server and log viewer"},
		{h, "POST", "/topology/" + id + "/logconfig", "{}", 501, "POST /topology/" + id + "/logconfig is not served: it belongs to Storm's own UI server and log viewer"},
		{h, "POST", "/topology/" + id + "/profiling/start/h:1/2", "", 501, "POST /topology/" + id + "/profiling/start/h:1/2 is not served: it belongs to Storm's own UI server and log viewer"},
		{h, "GET", "/weather", "", 404, "Storm's REST API has nothing at /weather"},
		{away, "GET", "/cluster/summary", "", 503, "cannot read Storm cluster: nimbus is unreachable: dial tcp 127.9.31.3:1: connect: connection refused"},
		{away, "POST", "/topology/x/kill/0", "", 503, "cannot read topology x: nimbus is unreachable: dial tcp 127.9.31.3:1: connect: connection refused"},
	} {
		code, body := send(test.h, test.method, test.path, test.body)
		var got map[string]string
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Errorf("%s %s: %v in %s", test.method, test.path, err, body)
			continue
		}
		if want := fmt.Sprintf("%d %s", test.code, http.StatusText(test.code)); code != test.code || got["error"] != want || got["errorMessage"] != test.text || len(got) != 2 {
			t.Errorf("%s %s answers %d %v, want %d %q", test.method, test.path, code, got, test.code, test.text)
		}
	}
}

// TestWebActions: what is posted reaches nimbus, and the answer is the original's.
func TestWebActions(t *testing.T) {
	h, f := recordedWeb(t)
	f.replies["rebalance"] = "activate.reply"
	id := recordedID(t, h)
	workers := []byte{0x08, 0, 2, 0, 0, 0, 2}                         // RebalanceOptions.num_workers = 2
	executors := append([]byte{0, 0, 0, 3}, "log\x00\x00\x00\x04"...) // one of num_executors
	spout := append([]byte{0, 0, 0, 7}, "numbers\x00\x00\x00\x05"...) // given as text
	wait := []byte{0x08, 0, 1, 0, 0, 0, 3}                            // wait_secs = 3, of both options
	name := append([]byte{0x0b, 0, 1, 0, 0, 0, 7}, "numbers"...)      // by name, whatever the path has
	full := `{"rebalanceOptions": {"numWorkers": 2, "executors": {"log": 4, "numbers": "5"}}, "callback": "foo"}`
	for _, test := range []struct {
		path, operation, call, body string
		sent                        [][]byte
	}{
		{"/activate", "activate", "activate", "", [][]byte{name}},
		{"/deactivate", "deactivate", "deactivate", "", [][]byte{name}},
		{"/kill/3", "kill", "killTopologyWithOpts", "", [][]byte{name, wait}},
		{"/rebalance/3", "rebalance", "rebalance", full, [][]byte{name, wait, workers, executors, spout}},
		{"/rebalance/3", "rebalance", "rebalance", "", [][]byte{name, wait}},
	} {
		code, body := send(h, http.MethodPost, "/topology/"+id+test.path, test.body)
		want := fmt.Sprintf(`{"status":"success","topologyId":%q,"topologyOperation":%q}`, id, test.operation)
		if code != http.StatusOK || body != want {
			t.Errorf("%s answers %d %s, want %s", test.path, code, body, want)
		}
		for _, piece := range test.sent {
			if got := f.request(test.call); !bytes.Contains(got, piece) {
				t.Errorf("%s sends %q, which lacks %q", test.path, got, piece)
			}
		}
		if test.body == "" && bytes.Contains(f.request("rebalance"), workers) {
			t.Errorf("%s without a body asks for workers", test.path)
		}
	}
}

// TestWebConfiguration: nimbus's own, but for what its keys call secrets.
func TestWebConfiguration(t *testing.T) {
	h, _ := recordedWeb(t)
	code, body := get(h, "/cluster/configuration")
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != http.StatusOK {
		t.Fatalf("%d, %v", code, err)
	}
	if got["nimbus.thrift.port"] != 6627.0 || got["storm.zookeeper.root"] != "/storm" || len(got) < 200 {
		t.Errorf("configuration of %d keys: %s", len(got), body)
	}
	hidden, err := configuration(`{"a.password": "p", "storm.zookeeper.auth.payload": "p", "nimbus.credential.renewers.freq.secs": 600, "b.password": null, "c": "d"}`)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(hidden)
	if string(text) != `{"a.password":"***","b.password":null,"c":"d","nimbus.credential.renewers.freq.secs":600,"storm.zookeeper.auth.payload":"***"}` {
		t.Errorf("hidden: %s", text)
	}
}

// TestWebFormats: texts as the UI writes them.
func TestWebFormats(t *testing.T) {
	for seconds, want := range map[int]string{
		0: "", 5: "5s", 60: "1m 0s", 358: "5m 58s", 3600: "1h 0m 0s", 86_400: "1d 0h 0m 0s", 200_000: "2d 7h 33m 20s",
	} {
		if got := prettyUptime(seconds); got != want {
			t.Errorf("%d seconds are %q, want %q", seconds, got, want)
		}
	}
	for window, want := range map[Window]string{AllTime: "All time", TenMinutes: "10m 0s", ThreeHours: "3h 0m 0s", OneDay: "1d 0h 0m 0s"} {
		if got := windowHint(window.String()); got != want {
			t.Errorf("window %s is %q, want %q", window, got, want)
		}
	}
	for text, want := range map[string]string{"a b": "a+b", "[1-1]": "%5B1-1%5D", "a*b~c": "a*b%7Ec", "ä": "%C3%A4"} {
		if got := encoded(text); got != want {
			t.Errorf("%q is encoded %q, want %q", text, got, want)
		}
	}
	for id, want := range map[string]string{"default": "default", "__system": "_s__system", "s1 a": "s__a", "": "_s"} {
		if got := saneStream(id); got != want {
			t.Errorf("stream %q is %q, want %q", id, got, want)
		}
	}
	if got := generics(map[string]float64{"gpu.count": 2, "cpu.pcore.percent": 10, "fpga": 0.5}); got != "fpga=0.5 gpu.count=2.0" {
		t.Errorf("generic resources %q", got)
	}
}

// TestWebLastError: of a component's newest error the first 200 characters, and
// what else is known of it.
func TestWebLastError(t *testing.T) {
	host, port := "127.9.30.4", int32(6700)
	e := &nimbusthrift.ErrorInfo{Error: strings.Repeat("ä", 300), ErrorTimeSecs: int32(time.Now().Unix()) - 65, Host: &host, Port: &port}
	got := lastErrorOf(e)
	if got.LastError != strings.Repeat("ä", 200) || got.Host != host || *got.Port != port || *got.Time != e.ErrorTimeSecs || *got.LapsedSecs < 65 || *got.LapsedSecs > 120 {
		t.Errorf("last error %+v", got)
	}
	none, _ := json.Marshal(lastErrorOf(nil))
	if string(none) != `{"lastError":"","errorHost":"","errorPort":null,"errorWorkerLogLink":"","errorTime":null,"errorLapsedSecs":null}` {
		t.Errorf("no error is %s", none)
	}
	page := webComponentOf(&nimbusthrift.ComponentPageInfo{ComponentType: nimbusthrift.ComponentType_SPOUT, Errors: []*nimbusthrift.ErrorInfo{e, {Error: "earlier", ErrorTimeSecs: 1}}}, "t", "c", AllTime, webConf{})
	if len(page.Errors) != 2 || page.Errors[0].Error != "earlier" || page.Errors[1].Error != e.Error || page.Errors[1].Port != port {
		t.Errorf("errors of a component: %+v", page.Errors)
	}
}

// TestWebOfflineNimbus: a nimbus that is configured and away is listed.
func TestWebOfflineNimbus(t *testing.T) {
	h, f := recordedWeb(t)
	f.replies["getNimbusConf"] = stringReply(t, "getNimbusConf", `{"nimbus.seeds": ["127.9.30.99"], "nimbus.thrift.port": 6627, "logviewer.port": 8000}`)
	code, body := get(h, "/nimbus/summary")
	want := `{"host":"127.9.30.99","port":"6627","status":"Offline","version":"Not applicable","nimbusUpTimeSeconds":"Not applicable","nimbusUpTime":"Not applicable","nimbusLogLink":""}`
	if code != http.StatusOK || !strings.Contains(body, want) {
		t.Errorf("%d %s lacks %s", code, body, want)
	}
}

// stringReply writes an answer that is a text and returns its file.
func stringReply(t *testing.T, call, text string) string {
	t.Helper()
	size := func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	message := slices.Concat([]byte{0x80, 1, 0, 2}, size(len(call)), []byte(call), size(1), []byte{0x0b, 0, 0}, size(len(text)), []byte(text), []byte{0})
	file := filepath.Join(t.TempDir(), "text.reply")
	if err := os.WriteFile(file, slices.Concat(size(len(message)), message), 0o600); err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(filepath.Join(wd, "testdata"), file)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}
