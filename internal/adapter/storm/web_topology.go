package storm

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

type webTopologySummary struct {
	ID                 string  `json:"id"`
	EncodedID          string  `json:"encodedId"`
	Name               string  `json:"name"`
	Owner              *string `json:"owner"`
	Status             string  `json:"status"`
	Uptime             string  `json:"uptime"`
	UptimeSeconds      int32   `json:"uptimeSeconds"`
	TasksTotal         int32   `json:"tasksTotal"`
	WorkersTotal       int32   `json:"workersTotal"`
	ExecutorsTotal     int32   `json:"executorsTotal"`
	ReplicationCount   int32   `json:"replicationCount"`
	SchedulerInfo      *string `json:"schedulerInfo"`
	RequestedMemOnHeap float64 `json:"requestedMemOnHeap"`
	RequestedMemOff    float64 `json:"requestedMemOffHeap"`
	RequestedTotalMem  float64 `json:"requestedTotalMem"`
	RequestedCPU       float64 `json:"requestedCpu"`
	RequestedGeneric   string  `json:"requestedGenericResources"`
	AssignedMemOnHeap  float64 `json:"assignedMemOnHeap"`
	AssignedMemOffHeap float64 `json:"assignedMemOffHeap"`
	AssignedTotalMem   float64 `json:"assignedTotalMem"`
	AssignedCPU        float64 `json:"assignedCpu"`
	AssignedGeneric    string  `json:"assignedGenericResources"`
	TopologyVersion    *string `json:"topologyVersion"`
	StormVersion       *string `json:"stormVersion"`
}

type webWorker struct {
	SupervisorID       string           `json:"supervisorId"`
	Host               string           `json:"host"`
	Port               int32            `json:"port"`
	TopologyID         string           `json:"topologyId"`
	TopologyName       string           `json:"topologyName"`
	ExecutorsTotal     int32            `json:"executorsTotal"`
	AssignedMemOnHeap  float64          `json:"assignedMemOnHeap"`
	AssignedMemOffHeap float64          `json:"assignedMemOffHeap"`
	AssignedCPU        float64          `json:"assignedCpu"`
	ComponentNumTasks  map[string]int64 `json:"componentNumTasks"`
	Uptime             string           `json:"uptime"`
	UptimeSeconds      int32            `json:"uptimeSeconds"`
	WorkerLogLink      string           `json:"workerLogLink"`
	Owner              *string          `json:"owner"`
}

// webTopologyPage is a topology in full. Its summary comes first.
type webTopologyPage struct {
	webTopologySummary
	RequestedRegularOnHeap  float64                    `json:"requestedRegularOnHeapMem"`
	RequestedSharedOnHeap   float64                    `json:"requestedSharedOnHeapMem"`
	RequestedRegularOffHeap float64                    `json:"requestedRegularOffHeapMem"`
	RequestedSharedOffHeap  float64                    `json:"requestedSharedOffHeapMem"`
	AssignedRegularOnHeap   float64                    `json:"assignedRegularOnHeapMem"`
	AssignedSharedOnHeap    float64                    `json:"assignedSharedOnHeapMem"`
	AssignedRegularOffHeap  float64                    `json:"assignedRegularOffHeapMem"`
	AssignedSharedOffHeap   float64                    `json:"assignedSharedOffHeapMem"`
	TopologyStats           []webTopologyStats         `json:"topologyStats"`
	Spouts                  []webSpout                 `json:"spouts"`
	Bolts                   []webBolt                  `json:"bolts"`
	Workers                 []webWorker                `json:"workers"`
	Configuration           map[string]json.RawMessage `json:"configuration"`
	MsgTimeout              json.RawMessage            `json:"msgTimeout"`
	Debug                   bool                       `json:"debug"`
	SamplingPct             float64                    `json:"samplingPct"`
	User                    *string                    `json:"user"`
	Window                  string                     `json:"window"`
	WindowHint              string                     `json:"windowHint"`
	VisualizationTable      []any                      `json:"visualizationTable"`
	DisplayResource         bool                       `json:"schedulerDisplayResource"`
	Bugtracker              *string                    `json:"bugtracker-url"`
	CentralLog              *string                    `json:"central-log-url"`
}

// webTuples counts tuples, of a topology, a component or an executor.
type webTuples struct {
	Emitted     int64 `json:"emitted"`
	Transferred int64 `json:"transferred"`
	Acked       int64 `json:"acked"`
	Failed      int64 `json:"failed"`
}

type webTopologyStats struct {
	webTuples
	WindowPretty    string `json:"windowPretty"`
	Window          string `json:"window"`
	CompleteLatency string `json:"completeLatency"`
}

// webComponentCounts is what spouts and bolts of a topology's page share.
type webComponentCounts struct {
	webTuples
	Executors       int32    `json:"executors"`
	Tasks           int32    `json:"tasks"`
	RequestedOnHeap *float64 `json:"requestedMemOnHeap,omitempty"`
	RequestedOff    *float64 `json:"requestedMemOffHeap,omitempty"`
	RequestedCPU    *float64 `json:"requestedCpu,omitempty"`
	Generic         *string  `json:"requestedGenericResourcesComp,omitempty"`
}

// webLastError is the newest error of a component; of none all but the texts
// are null.
type webLastError struct {
	LastError  string `json:"lastError"`
	Host       string `json:"errorHost"`
	Port       *int32 `json:"errorPort"`
	LogLink    string `json:"errorWorkerLogLink"`
	Time       *int32 `json:"errorTime"`
	LapsedSecs *int64 `json:"errorLapsedSecs"`
}

type webSpout struct {
	webComponentCounts
	webLastError
	ID              string `json:"spoutId"`
	EncodedID       string `json:"encodedSpoutId"`
	CompleteLatency string `json:"completeLatency"`
}

type webBolt struct {
	webComponentCounts
	webLastError
	ID             string `json:"boltId"`
	EncodedID      string `json:"encodedBoltId"`
	Capacity       string `json:"capacity"`
	ExecuteLatency string `json:"executeLatency"`
	ProcessLatency string `json:"processLatency"`
	Executed       int64  `json:"executed"`
}

func webTopologySummaryOf(t *nimbusthrift.TopologySummary) webTopologySummary {
	return webTopologySummary{
		ID: t.ID, EncodedID: encoded(t.ID), Name: t.Name, Owner: t.Owner, Status: t.Status,
		Uptime: prettyUptime(int(t.UptimeSecs)), UptimeSeconds: t.UptimeSecs,
		TasksTotal: t.NumTasks, WorkersTotal: t.NumWorkers, ExecutorsTotal: t.NumExecutors,
		ReplicationCount: t.GetReplicationCount(), SchedulerInfo: t.SchedStatus,
		RequestedMemOnHeap: t.GetRequestedMemonheap(), RequestedMemOff: t.GetRequestedMemoffheap(),
		RequestedTotalMem: t.GetRequestedMemonheap() + t.GetRequestedMemoffheap(), RequestedCPU: t.GetRequestedCPU(),
		AssignedMemOnHeap: t.GetAssignedMemonheap(), AssignedMemOffHeap: t.GetAssignedMemoffheap(),
		AssignedTotalMem: t.GetAssignedMemonheap() + t.GetAssignedMemoffheap(), AssignedCPU: t.GetAssignedCPU(),
		RequestedGeneric: generics(t.RequestedGenericResources), AssignedGeneric: generics(t.AssignedGenericResources),
		TopologyVersion: t.TopologyVersion, StormVersion: t.StormVersion,
	}
}

func webWorkerOf(w *nimbusthrift.WorkerSummary) webWorker {
	return webWorker{
		SupervisorID: w.GetSupervisorID(), Host: w.GetHost(), Port: w.GetPort(), TopologyID: w.GetTopologyID(), TopologyName: w.GetTopologyName(),
		ExecutorsTotal: w.GetNumExecutors(), AssignedMemOnHeap: w.GetAssignedMemonheap(), AssignedMemOffHeap: w.GetAssignedMemoffheap(),
		AssignedCPU: w.GetAssignedCPU(), ComponentNumTasks: w.ComponentToNumTasks,
		Uptime: prettyUptime(int(w.GetUptimeSecs())), UptimeSeconds: w.GetUptimeSecs(), Owner: w.Owner,
	}
}

func (c *Client) webTopologies(r *http.Request) (any, error) {
	sum, conf, err := c.clusterAndConf(r)
	if err != nil {
		return nil, err
	}
	out := []webTopologySummary{}
	for _, t := range sum.Topologies {
		out = append(out, webTopologySummaryOf(t))
	}
	return map[string]any{"topologies": out, "schedulerDisplayResource": conf.DisplayResource}, nil
}

func (c *Client) webTopology(r *http.Request) (any, error) {
	window, sys, err := windowAndSys(r)
	if err != nil {
		return nil, err
	}
	sum, err := c.requested(r)
	if err != nil {
		return nil, err
	}
	var page *nimbusthrift.TopologyPageInfo
	conf, err := c.ask(r.Context(), func(ctx context.Context, n *nimbusthrift.NimbusClient) (err error) {
		page, err = n.GetTopologyPageInfo(ctx, sum.ID, window.String(), sys)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read topology %s: %w", sum.ID, err)
	}
	return webTopologyOf(page, window, conf)
}

func webTopologyOf(p *nimbusthrift.TopologyPageInfo, window Window, conf webConf) (webTopologyPage, error) {
	own, err := configuration(p.GetTopologyConf())
	if err != nil {
		return webTopologyPage{}, err
	}
	out := webTopologyPage{
		webTopologySummary: webTopologySummaryOf(&nimbusthrift.TopologySummary{
			ID: p.ID, Name: p.GetName(), Owner: p.Owner, Status: p.GetStatus(), UptimeSecs: p.GetUptimeSecs(),
			NumTasks: p.GetNumTasks(), NumWorkers: p.GetNumWorkers(), NumExecutors: p.GetNumExecutors(),
			ReplicationCount: p.ReplicationCount, SchedStatus: p.SchedStatus, RequestedMemonheap: p.RequestedMemonheap,
			RequestedMemoffheap: p.RequestedMemoffheap, RequestedCPU: p.RequestedCPU, AssignedMemonheap: p.AssignedMemonheap,
			AssignedMemoffheap: p.AssignedMemoffheap, AssignedCPU: p.AssignedCPU, RequestedGenericResources: p.RequestedGenericResources,
			AssignedGenericResources: p.AssignedGenericResources, TopologyVersion: p.TopologyVersion, StormVersion: p.StormVersion,
		}),
		RequestedRegularOnHeap: p.GetRequestedRegularOnHeapMemory(), RequestedSharedOnHeap: p.GetRequestedSharedOnHeapMemory(),
		RequestedRegularOffHeap: p.GetRequestedRegularOffHeapMemory(), RequestedSharedOffHeap: p.GetRequestedSharedOffHeapMemory(),
		AssignedRegularOnHeap: p.GetAssignedRegularOnHeapMemory(), AssignedSharedOnHeap: p.GetAssignedSharedOnHeapMemory(),
		AssignedRegularOffHeap: p.GetAssignedRegularOffHeapMemory(), AssignedSharedOffHeap: p.GetAssignedSharedOffHeapMemory(),
		TopologyStats: topologyStatsOf(p.TopologyStats), Spouts: []webSpout{}, Bolts: []webBolt{}, Workers: []webWorker{},
		Configuration: own, MsgTimeout: own["topology.message.timeout.secs"],
		Window: window.String(), WindowHint: windowHint(window.String()), VisualizationTable: []any{},
		DisplayResource: conf.DisplayResource, Bugtracker: conf.Bugtracker, CentralLog: conf.CentralLog,
	}
	out.Debug, out.SamplingPct = debugging(p.DebugOptions)
	for _, w := range p.Workers {
		out.Workers = append(out.Workers, webWorkerOf(w))
	}
	for _, id := range slices.Sorted(maps.Keys(p.IDToSpoutAggStats)) {
		out.Spouts = append(out.Spouts, webSpoutOf(id, p.IDToSpoutAggStats[id]))
	}
	for _, id := range slices.Sorted(maps.Keys(p.IDToBoltAggStats)) {
		out.Bolts = append(out.Bolts, webBoltOf(id, p.IDToBoltAggStats[id]))
	}
	return out, nil
}

// debugging tells whether tuples are logged, and how many of a hundred. Storm's
// own default is ten.
func debugging(o *nimbusthrift.DebugOptions) (on bool, percent float64) {
	if o == nil || !o.GetEnable() {
		return false, 10
	}
	return true, o.GetSamplingpct()
}

func topologyStatsOf(s *nimbusthrift.TopologyStats) []webTopologyStats {
	out := []webTopologyStats{}
	if s == nil {
		return out
	}
	for _, w := range windows {
		key := w.String()
		if _, ok := s.WindowToEmitted[key]; !ok {
			continue
		}
		latency := "0"
		if ms, ok := s.WindowToCompleteLatenciesMs[key]; ok {
			latency = float3(ms)
		}
		n := webTuples{s.WindowToEmitted[key], s.WindowToTransferred[key], s.WindowToAcked[key], s.WindowToFailed[key]}
		out = append(out, webTopologyStats{n, windowHint(key), key, latency})
	}
	return out
}

func countsOf(s *nimbusthrift.ComponentAggregateStats) webComponentCounts {
	n := s.CommonStats
	if n == nil {
		return webComponentCounts{}
	}
	out := webComponentCounts{
		webTuples: webTuples{n.GetEmitted(), n.GetTransferred(), n.GetAcked(), n.GetFailed()},
		Executors: n.GetNumExecutors(), Tasks: n.GetNumTasks(),
	}
	if n.ResourcesMap != nil {
		out.RequestedOnHeap, out.RequestedOff, out.RequestedCPU = amount(n.ResourcesMap, "onheap.memory.mb"), amount(n.ResourcesMap, "offheap.memory.mb"), amount(n.ResourcesMap, "cpu.pcore.percent")
		more := generics(n.ResourcesMap)
		out.Generic = &more
	}
	return out
}

// amount is null where a resource is not given.
func amount(m map[string]float64, name string) *float64 {
	if n, ok := m[name]; ok {
		return &n
	}
	return nil
}

func webSpoutOf(id string, s *nimbusthrift.ComponentAggregateStats) webSpout {
	return webSpout{
		webComponentCounts: countsOf(s), webLastError: lastErrorOf(s.LastError), ID: id, EncodedID: encoded(id),
		CompleteLatency: float3(spoutStats(s).GetCompleteLatencyMs()),
	}
}

func webBoltOf(id string, s *nimbusthrift.ComponentAggregateStats) webBolt {
	n := boltStats(s)
	return webBolt{
		webComponentCounts: countsOf(s), webLastError: lastErrorOf(s.LastError), ID: id, EncodedID: encoded(id),
		Capacity: float3(n.GetCapacity()), ExecuteLatency: float3(n.GetExecuteLatencyMs()), ProcessLatency: float3(n.GetProcessLatencyMs()), Executed: n.GetExecuted(),
	}
}

func boltStats(s *nimbusthrift.ComponentAggregateStats) *nimbusthrift.BoltAggregateStats {
	if s.SpecificStats != nil && s.SpecificStats.Bolt != nil {
		return s.SpecificStats.Bolt
	}
	return nimbusthrift.NewBoltAggregateStats()
}

func spoutStats(s *nimbusthrift.ComponentAggregateStats) *nimbusthrift.SpoutAggregateStats {
	if s.SpecificStats != nil && s.SpecificStats.Spout != nil {
		return s.SpecificStats.Spout
	}
	return nimbusthrift.NewSpoutAggregateStats()
}

// maxLastError is how much of an error a topology's page holds, in characters.
const maxLastError = 200

func lastErrorOf(e *nimbusthrift.ErrorInfo) webLastError {
	if e == nil {
		return webLastError{}
	}
	text := []rune(e.Error)
	lapsed := lapsedSince(e)
	return webLastError{
		LastError: string(text[:min(len(text), maxLastError)]), Host: e.GetHost(), Port: e.Port, Time: &e.ErrorTimeSecs, LapsedSecs: &lapsed,
	}
}

func lapsedSince(e *nimbusthrift.ErrorInfo) int64 { return time.Now().Unix() - int64(e.ErrorTimeSecs) }

func (c *Client) webTopologyWorkers(r *http.Request) (any, error) {
	sum, err := c.requested(r)
	if err != nil {
		return nil, err
	}
	info, conf, err := c.executors(r.Context(), sum.ID)
	if err != nil {
		return nil, err
	}
	type hostPort struct {
		Host string `json:"host"`
		Port int32  `json:"port"`
	}
	var out struct {
		webLogviewer
		List []hostPort `json:"hostPortList"`
	}
	out.webLogviewer, out.List = conf.logviewer(), []hostPort{}
	for _, e := range info.Executors {
		if hp := (hostPort{e.Host, e.Port}); !slices.Contains(out.List, hp) {
			out.List = append(out.List, hp)
		}
	}
	slices.SortFunc(out.List, func(a, b hostPort) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
	})
	return out, nil
}

// executors reads every executor of a topology with its counts.
func (c *Client) executors(ctx context.Context, id string) (*nimbusthrift.TopologyInfo, webConf, error) {
	var info *nimbusthrift.TopologyInfo
	conf, err := c.ask(ctx, func(ctx context.Context, n *nimbusthrift.NimbusClient) (err error) {
		info, err = infoOf(ctx, n, id)
		return err
	})
	if err != nil {
		return nil, conf, fmt.Errorf("cannot read topology %s: %w", id, err)
	}
	return info, conf, nil
}

// infoOf reads a topology's executors without what went wrong in them.
func infoOf(ctx context.Context, n *nimbusthrift.NimbusClient, id string) (*nimbusthrift.TopologyInfo, error) {
	none := nimbusthrift.NumErrorsChoice_NONE
	return n.GetTopologyInfoWithOpts(ctx, id, &nimbusthrift.GetInfoOptions{NumErrChoice: &none})
}

var javaEncoding = strings.NewReplacer("%2A", "*", "~", "%7E")

// encoded writes a text for a path or query as Java's URLEncoder does.
func encoded(text string) string { return javaEncoding.Replace(url.QueryEscape(text)) }
