package storm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

var errNoComponent = errors.New("no such component")

// webComponentPage is a spout or bolt in full; the lists of the other kind are
// left out.
type webComponentPage struct {
	User             *string              `json:"user"`
	ID               string               `json:"id"`
	EncodedID        string               `json:"encodedId"`
	Name             string               `json:"name"` // of the topology
	Executors        int32                `json:"executors"`
	Tasks            int32                `json:"tasks"`
	RequestedOnHeap  *float64             `json:"requestedMemOnHeap"`
	RequestedOffHeap *float64             `json:"requestedMemOffHeap"`
	RequestedCPU     *float64             `json:"requestedCpu"`
	RequestedGeneric string               `json:"requestedGenericResources"`
	DisplayResource  bool                 `json:"schedulerDisplayResource"`
	TopologyID       string               `json:"topologyId"`
	TopologyStatus   string               `json:"topologyStatus"`
	EncodedTopology  string               `json:"encodedTopologyId"`
	Window           string               `json:"window"`
	WindowHint       string               `json:"windowHint"`
	ComponentType    string               `json:"componentType"`
	Debug            bool                 `json:"debug"`
	SamplingPct      float64              `json:"samplingPct"`
	ProfilingCapable bool                 `json:"profilingAndDebuggingCapable"`
	ProfileEnabled   bool                 `json:"profileActionEnabled"`
	ProfilerActive   []any                `json:"profilerActive"`
	Errors           []webComponentError  `json:"componentErrors"`
	SpoutSummary     []webTopologyStats   `json:"spoutSummary,omitempty"`
	BoltStats        []webBoltWindow      `json:"boltStats,omitempty"`
	InputStats       []webBoltInput       `json:"inputStats,omitempty"`
	OutputStats      []webComponentOutput `json:"outputStats"`
	ExecutorStats    []webExecutor        `json:"executorStats"`
}

type webComponentError struct {
	Time       int32  `json:"errorTime"`
	Host       string `json:"errorHost"`
	Port       int32  `json:"errorPort"`
	LogLink    string `json:"errorWorkerLogLink"`
	LapsedSecs int64  `json:"errorLapsedSecs"`
	Error      string `json:"error"`
}

type webBoltWindow struct {
	webTuples
	WindowPretty   string `json:"windowPretty"`
	Window         string `json:"window"`
	Executed       int64  `json:"executed"`
	ExecuteLatency string `json:"executeLatency"`
	ProcessLatency string `json:"processLatency"`
	Capacity       string `json:"capacity"`
}

type webBoltInput struct {
	Component        string `json:"component"`
	EncodedComponent string `json:"encodedComponentId"`
	Stream           string `json:"stream"`
	ExecuteLatency   string `json:"executeLatency"`
	ProcessLatency   string `json:"processLatency"`
	Executed         int64  `json:"executed"`
	Acked            int64  `json:"acked"`
	Failed           int64  `json:"failed"`
}

// webComponentOutput is one stream; the last three are a spout's only.
type webComponentOutput struct {
	Stream          string  `json:"stream"`
	Emitted         int64   `json:"emitted"`
	Transferred     int64   `json:"transferred"`
	CompleteLatency *string `json:"completeLatency,omitempty"`
	Acked           *int64  `json:"acked,omitempty"`
	Failed          *int64  `json:"failed,omitempty"`
}

// webExecutor is one executor; latencies and capacity are those of its kind.
type webExecutor struct {
	webTuples
	ID              string  `json:"id"`
	EncodedID       string  `json:"encodedId"`
	Uptime          string  `json:"uptime"`
	UptimeSeconds   int32   `json:"uptimeSeconds"`
	Host            string  `json:"host"`
	Port            int32   `json:"port"`
	CompleteLatency *string `json:"completeLatency,omitempty"`
	Capacity        *string `json:"capacity,omitempty"`
	ExecuteLatency  *string `json:"executeLatency,omitempty"`
	ProcessLatency  *string `json:"processLatency,omitempty"`
	Executed        *int64  `json:"executed,omitempty"`
	WorkerLogLink   string  `json:"workerLogLink"`
	first           int32
}

func (c *Client) webComponent(r *http.Request) (any, error) {
	window, sys, err := windowAndSys(r)
	if err != nil {
		return nil, err
	}
	sum, err := c.requested(r)
	if err != nil {
		return nil, err
	}
	id := r.PathValue("component")
	var (
		page *nimbusthrift.ComponentPageInfo
		user *nimbusthrift.StormTopology
	)
	conf, err := c.ask(r.Context(), func(ctx context.Context, n *nimbusthrift.NimbusClient) (err error) {
		// Nimbus makes up an empty spout for a component that is not there.
		if user, err = n.GetTopology(ctx, sum.ID); err != nil {
			return err
		}
		if user.Spouts[id] == nil && user.Bolts[id] == nil {
			return nil
		}
		page, err = n.GetComponentPageInfo(ctx, sum.ID, id, window.String(), sys)
		return err
	})
	if err == nil && page == nil {
		err = fmt.Errorf("%w: topology %s has %s", errNoComponent, sum.ID, componentList(user))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read component %s: %w", id, err)
	}
	return webComponentOf(page, sum.ID, id, window, conf), nil
}

// componentList names a topology's own components.
func componentList(t *nimbusthrift.StormTopology) string {
	ids := slices.Concat(slices.Sorted(maps.Keys(t.Spouts)), slices.Sorted(maps.Keys(t.Bolts)))
	return listed(slices.DeleteFunc(ids, isSystem))
}

func webComponentOf(p *nimbusthrift.ComponentPageInfo, topology, id string, window Window, conf webConf) webComponentPage {
	out := webComponentPage{
		ID: id, EncodedID: encoded(id), Name: p.GetTopologyName(), Executors: p.GetNumExecutors(), Tasks: p.GetNumTasks(),
		RequestedOnHeap: amount(p.ResourcesMap, "onheap.memory.mb"), RequestedOffHeap: amount(p.ResourcesMap, "offheap.memory.mb"),
		RequestedCPU: amount(p.ResourcesMap, "cpu.pcore.percent"), RequestedGeneric: generics(p.ResourcesMap),
		DisplayResource: conf.DisplayResource, TopologyID: topology, EncodedTopology: encoded(topology), TopologyStatus: p.GetTopologyStatus(),
		Window: window.String(), WindowHint: windowHint(window.String()), ComponentType: "bolt",
		ProfilerActive: []any{}, Errors: []webComponentError{}, OutputStats: []webComponentOutput{}, ExecutorStats: []webExecutor{},
	}
	spout := p.ComponentType == nimbusthrift.ComponentType_SPOUT
	out.Debug, out.SamplingPct = debugging(p.DebugOptions)
	for _, e := range p.Errors {
		out.Errors = append(out.Errors, webComponentError{e.ErrorTimeSecs, e.GetHost(), e.GetPort(), "", lapsedSince(e), e.Error})
	}
	slices.SortStableFunc(out.Errors, func(a, b webComponentError) int { return cmp.Compare(a.Time, b.Time) })
	for _, stream := range slices.Sorted(maps.Keys(p.SidToOutputStats)) {
		out.OutputStats = append(out.OutputStats, outputOf(stream, p.SidToOutputStats[stream], spout))
	}
	for _, e := range p.ExecStats {
		if e.ExecSummary != nil && e.Stats != nil {
			out.ExecutorStats = append(out.ExecutorStats, executorOf(e, spout))
		}
	}
	slices.SortFunc(out.ExecutorStats, func(a, b webExecutor) int { return cmp.Compare(a.first, b.first) })
	if spout {
		out.ComponentType, out.SpoutSummary = "spout", spoutWindows(p.WindowToStats)
		return out
	}
	out.BoltStats, out.InputStats = boltWindows(p.WindowToStats), inputsOf(p.GsidToInputStats)
	return out
}

func spoutWindows(stats map[string]*nimbusthrift.ComponentAggregateStats) []webTopologyStats {
	var out []webTopologyStats
	for _, w := range windows {
		if s := stats[w.String()]; s != nil {
			out = append(out, webTopologyStats{countsOf(s).webTuples, windowHint(w.String()), w.String(), float3(spoutStats(s).GetCompleteLatencyMs())})
		}
	}
	return out
}

func boltWindows(stats map[string]*nimbusthrift.ComponentAggregateStats) []webBoltWindow {
	var out []webBoltWindow
	for _, w := range windows {
		if s := stats[w.String()]; s != nil {
			b := boltStats(s)
			out = append(out, webBoltWindow{
				countsOf(s).webTuples, windowHint(w.String()), w.String(), b.GetExecuted(),
				float3(b.GetExecuteLatencyMs()), float3(b.GetProcessLatencyMs()), float3(b.GetCapacity()),
			})
		}
	}
	return out
}

func inputsOf(stats map[*nimbusthrift.GlobalStreamId]*nimbusthrift.ComponentAggregateStats) []webBoltInput {
	var out []webBoltInput
	for from, s := range stats {
		n, b := countsOf(s), boltStats(s)
		out = append(out, webBoltInput{
			from.ComponentId, encoded(from.ComponentId), from.StreamId, float3(b.GetExecuteLatencyMs()), float3(b.GetProcessLatencyMs()),
			b.GetExecuted(), n.Acked, n.Failed,
		})
	}
	slices.SortFunc(out, func(a, b webBoltInput) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Stream, b.Stream))
	})
	return out
}

func outputOf(stream string, s *nimbusthrift.ComponentAggregateStats, spout bool) webComponentOutput {
	n := countsOf(s)
	out := webComponentOutput{Stream: stream, Emitted: n.Emitted, Transferred: n.Transferred}
	if spout {
		latency := float3(spoutStats(s).GetCompleteLatencyMs())
		out.CompleteLatency, out.Acked, out.Failed = &latency, &n.Acked, &n.Failed
	}
	return out
}

func executorOf(e *nimbusthrift.ExecutorAggregateStats, spout bool) webExecutor {
	s := e.ExecSummary
	id := fmt.Sprintf("[%d-%d]", s.ExecutorInfo.TaskStart, s.ExecutorInfo.TaskEnd)
	out := webExecutor{
		webTuples: countsOf(e.Stats).webTuples, ID: id, EncodedID: encoded(id),
		Uptime: prettyUptime(int(s.UptimeSecs)), UptimeSeconds: s.UptimeSecs, Host: s.Host, Port: s.Port, first: s.ExecutorInfo.TaskStart,
	}
	if spout {
		latency := float3(spoutStats(e.Stats).GetCompleteLatencyMs())
		out.CompleteLatency = &latency
		return out
	}
	b := boltStats(e.Stats)
	capacity, execute, process, executed := float3(b.GetCapacity()), float3(b.GetExecuteLatencyMs()), float3(b.GetProcessLatencyMs()), b.GetExecuted()
	out.Capacity, out.ExecuteLatency, out.ProcessLatency, out.Executed = &capacity, &execute, &process, &executed
	return out
}
