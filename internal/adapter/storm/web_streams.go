package storm

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

// stream is a stream a component sends, or one it receives, which has the
// component it comes from too.
type stream struct{ component, id string }

// mean is a mean over so many.
type mean struct {
	sum   float64
	count int64
}

func (m *mean) add(average float64, n int64) {
	m.sum += average * float64(n)
	m.count += n
}

func (m mean) value() float64 {
	if m.count == 0 {
		return 0
	}
	return m.sum / float64(m.count)
}

// streamCounts is what the executors of a component counted over a window, by
// stream: those sent in emitted and transferred, those received in the rest. A
// spout's acked, failed and complete latency are by the stream it sent.
type streamCounts struct {
	emitted, transferred     map[stream]int64
	acked, failed, executed  map[stream]int64
	complete, process, spent map[stream]*mean
}

func newStreamCounts() *streamCounts {
	return &streamCounts{
		emitted: map[stream]int64{}, transferred: map[stream]int64{}, acked: map[stream]int64{}, failed: map[stream]int64{},
		executed: map[stream]int64{}, complete: map[stream]*mean{}, process: map[stream]*mean{}, spent: map[stream]*mean{},
	}
}

// countStreams adds up executors. Without sys, Storm's own streams are left out
// of what is sent.
func countStreams(executors []*nimbusthrift.ExecutorSummary, window string, sys bool) *streamCounts {
	out := newStreamCounts()
	for _, e := range executors {
		if e.Stats == nil {
			continue
		}
		addSent(out.emitted, e.Stats.Emitted[window], sys)
		addSent(out.transferred, e.Stats.Transferred[window], sys)
		if s := e.Stats.Specific; s != nil && s.Spout != nil {
			out.addSpout(s.Spout, window)
		} else if s != nil && s.Bolt != nil {
			out.addBolt(s.Bolt, window)
		}
	}
	return out
}

func addSent(to map[stream]int64, counts map[string]int64, sys bool) {
	for id, n := range counts {
		if sys || !isSystem(id) {
			to[stream{id: id}] += n
		}
	}
}

func (c *streamCounts) addSpout(s *nimbusthrift.SpoutStats, window string) {
	addSent(c.acked, s.Acked[window], true)
	addSent(c.failed, s.Failed[window], true)
	for id, average := range s.CompleteMsAvg[window] {
		addMean(c.complete, stream{id: id}, average, s.Acked[window][id])
	}
}

func (c *streamCounts) addBolt(b *nimbusthrift.BoltStats, window string) {
	acked, executed := received(b.Acked[window]), received(b.Executed[window])
	for from, n := range acked {
		c.acked[from] += n
	}
	for from, n := range received(b.Failed[window]) {
		c.failed[from] += n
	}
	for from, n := range executed {
		c.executed[from] += n
	}
	for from, average := range received(b.ProcessMsAvg[window]) {
		addMean(c.process, from, average, acked[from])
	}
	for from, average := range received(b.ExecuteMsAvg[window]) {
		addMean(c.spent, from, average, executed[from])
	}
}

func addMean(to map[stream]*mean, s stream, average float64, n int64) {
	if to[s] == nil {
		to[s] = &mean{}
	}
	to[s].add(average, n)
}

// received makes keys of what Thrift gives as pointers.
func received[N any](counts map[*nimbusthrift.GlobalStreamId]N) map[stream]N {
	out := map[stream]N{}
	for from, n := range counts {
		out[stream{from.ComponentId, from.StreamId}] = n
	}
	return out
}

// total is the mean over all streams.
func total(means map[stream]*mean) float64 {
	var all mean
	for _, m := range means {
		all.sum += m.sum
		all.count += m.count
	}
	return all.value()
}

// isSystem tells whether a component or stream is Storm's own.
func isSystem(id string) bool { return strings.HasPrefix(id, "__") }

type webStreamCount struct {
	Component string `json:"component_id,omitempty"`
	Stream    string `json:"stream_id"`
	Value     any    `json:"value"`
}

type webSpoutMetrics struct {
	ID          string           `json:"id"`
	Emitted     []webStreamCount `json:"emitted"`
	Transferred []webStreamCount `json:"transferred"`
	Acked       []webStreamCount `json:"acked"`
	Failed      []webStreamCount `json:"failed"`
	Complete    []webStreamCount `json:"complete_ms_avg"`
}

type webBoltMetrics struct {
	ID          string           `json:"id"`
	Emitted     []webStreamCount `json:"emitted"`
	Transferred []webStreamCount `json:"transferred"`
	Acked       []webStreamCount `json:"acked"`
	Failed      []webStreamCount `json:"failed"`
	Process     []webStreamCount `json:"process_ms_avg"`
	Executed    []webStreamCount `json:"executed"`
	Spent       []webStreamCount `json:"executed_ms_avg"`
}

// byStream lists counts or means in the order of their names.
func byStream[N any](counts map[stream]N, value func(N) any) []webStreamCount {
	out := []webStreamCount{}
	for s, n := range counts {
		out = append(out, webStreamCount{s.component, s.id, value(n)})
	}
	slices.SortFunc(out, func(a, b webStreamCount) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Stream, b.Stream))
	})
	return out
}

func number(n int64) any    { return n }
func latencyOf(m *mean) any { return float3(m.value()) }

// flow is a topology's components and what their executors count.
type flow struct {
	topology      *nimbusthrift.StormTopology
	executors     map[string][]*nimbusthrift.ExecutorSummary // by component
	spouts, bolts []string
}

// flow reads a topology for what is shown by stream.
func (c *Client) flow(r *http.Request, sys bool) (flow, error) {
	var f flow
	sum, err := c.requested(r)
	if err != nil {
		return f, err
	}
	var info *nimbusthrift.TopologyInfo
	err = c.query(r.Context(), func(ctx context.Context, n *nimbusthrift.NimbusClient) (err error) {
		if f.topology, err = n.GetTopology(ctx, sum.ID); err != nil {
			return err
		}
		info, err = infoOf(ctx, n, sum.ID)
		return err
	})
	if err != nil {
		return f, fmt.Errorf("cannot read topology %s: %w", sum.ID, err)
	}
	f.executors = map[string][]*nimbusthrift.ExecutorSummary{}
	for _, e := range info.Executors {
		f.executors[e.ComponentID] = append(f.executors[e.ComponentID], e)
	}
	for _, list := range f.executors {
		slices.SortFunc(list, func(a, b *nimbusthrift.ExecutorSummary) int {
			return cmp.Compare(a.ExecutorInfo.TaskStart, b.ExecutorInfo.TaskStart)
		})
	}
	shown := func(id string) bool { return !sys && isSystem(id) || f.executors[id] == nil }
	f.spouts = slices.DeleteFunc(slices.Sorted(maps.Keys(f.topology.Spouts)), shown)
	f.bolts = slices.DeleteFunc(slices.Sorted(maps.Keys(f.topology.Bolts)), shown)
	return f, nil
}

func (c *Client) webMetrics(r *http.Request) (any, error) {
	window, sys, err := windowAndSys(r)
	if err != nil {
		return nil, err
	}
	f, err := c.flow(r, sys)
	if err != nil {
		return nil, err
	}
	spouts, bolts := []webSpoutMetrics{}, []webBoltMetrics{}
	for _, id := range f.spouts {
		n := countStreams(f.executors[id], window.String(), sys)
		spouts = append(spouts, webSpoutMetrics{
			id, byStream(n.emitted, number), byStream(n.transferred, number), byStream(n.acked, number), byStream(n.failed, number), byStream(n.complete, latencyOf),
		})
	}
	for _, id := range f.bolts {
		n := countStreams(f.executors[id], window.String(), sys)
		bolts = append(bolts, webBoltMetrics{
			id, byStream(n.emitted, number), byStream(n.transferred, number), byStream(n.acked, number), byStream(n.failed, number),
			byStream(n.process, latencyOf), byStream(n.executed, number), byStream(n.spent, latencyOf),
		})
	}
	hint := windowHint(window.String())
	// The documents' table has windowHint, their example window-hint.
	return map[string]any{"window": window.String(), "windowHint": hint, "window-hint": hint, "spouts": spouts, "bolts": bolts}, nil
}

type webVisual struct {
	Type        string              `json:":type"`
	Capacity    float64             `json:":capacity"`
	Latency     *float64            `json:":latency"`     // null before anything is counted
	Transferred *int64              `json:":transferred"` // likewise
	Stats       []webVisualExecutor `json:":stats"`
	Link        string              `json:":link"`
	Inputs      []webVisualInput    `json:":inputs"`
}

type webVisualExecutor struct {
	Host        string                      `json:":host"`
	Port        int32                       `json:":port"`
	UptimeSecs  int32                       `json:":uptime_secs"`
	Transferred map[string]map[string]int64 `json:":transferred"` // by window and stream
}

type webVisualInput struct {
	Component string `json:":component"`
	Stream    string `json:":stream"`
	Sane      string `json:":sani-stream"`
	Grouping  string `json:":grouping"`
}

func (c *Client) webVisualization(r *http.Request) (any, error) {
	window, sys, err := windowAndSys(r)
	if err != nil {
		return nil, err
	}
	f, err := c.flow(r, sys)
	if err != nil {
		return nil, err
	}
	out := map[string]webVisual{}
	for _, id := range f.spouts {
		out[id] = visualOf("spout", f.topology.Spouts[id], f.executors[id], window, sys)
	}
	for _, id := range f.bolts {
		out[id] = visualOf("bolt", f.topology.Bolts[id], f.executors[id], window, sys)
	}
	return out, nil
}

func visualOf(kind string, spec *nimbusthrift.ComponentSpec, executors []*nimbusthrift.ExecutorSummary, window Window, sys bool) webVisual {
	out := webVisual{Type: kind, Stats: []webVisualExecutor{}, Inputs: inputsOfSpec(spec)}
	counted := false
	for _, e := range executors {
		one := webVisualExecutor{Host: e.Host, Port: e.Port, UptimeSecs: e.UptimeSecs}
		if e.Stats != nil {
			_, has := e.Stats.Transferred[window.String()]
			counted = counted || has
			one.Transferred = map[string]map[string]int64{}
			for w, streams := range e.Stats.Transferred {
				sane := map[string]int64{}
				for id, n := range streams {
					sane[saneStream(id)] += n
				}
				one.Transferred[w] = sane
			}
		}
		out.Stats = append(out.Stats, one)
		if kind == "bolt" {
			out.Capacity = max(out.Capacity, capacityOf(e))
		}
	}
	if counted {
		n := countStreams(executors, window.String(), sys)
		transferred, latency := int64(0), total(n.complete)
		for _, more := range n.transferred {
			transferred += more
		}
		if kind == "bolt" {
			latency = total(n.process)
		}
		out.Transferred, out.Latency = &transferred, &latency
	}
	return out
}

// capacityOf is the part of the last ten minutes an executor was busy.
func capacityOf(e *nimbusthrift.ExecutorSummary) float64 {
	seconds := min(int64(e.UptimeSecs), 600)
	if seconds <= 0 {
		return 0
	}
	n := countStreams([]*nimbusthrift.ExecutorSummary{e}, TenMinutes.String(), true)
	ms := 0.0
	for _, m := range n.spent {
		ms += m.sum
	}
	return ms / float64(1000*seconds)
}

func inputsOfSpec(spec *nimbusthrift.ComponentSpec) []webVisualInput {
	out := []webVisualInput{}
	if spec.Common == nil {
		return out
	}
	for from, g := range spec.Common.Inputs {
		out = append(out, webVisualInput{from.ComponentId, from.StreamId, saneStream(from.StreamId), groupingOf(g)})
	}
	slices.SortFunc(out, func(a, b webVisualInput) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Stream, b.Stream))
	})
	return out
}

func groupingOf(g *nimbusthrift.Grouping) string {
	for name, set := range map[string]bool{
		"fields": g.Fields != nil, "shuffle": g.Shuffle != nil, "all": g.All != nil, "none": g.None != nil, "direct": g.Direct != nil,
		"custom_object": g.CustomObject != nil, "custom_serialized": g.CustomSerialized != nil, "local_or_shuffle": g.LocalOrShuffle != nil,
	} {
		if set {
			return name
		}
	}
	return ""
}

var unsane = regexp.MustCompile(`[^A-Za-z_:.\-]`)

// saneStream makes a name pages can use as a class, as the UI does: other than a
// letter in front gets a prefix, and what is neither letter nor one of _:.- is
// replaced.
func saneStream(id string) string {
	if id == "" || id[0]|0x20 < 'a' || id[0]|0x20 > 'z' {
		id = "_s" + id
	}
	return unsane.ReplaceAllString(id, "_")
}

func listed(names []string) string { return strings.Join(names, ", ") }
