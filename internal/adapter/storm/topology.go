package storm

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

// Status is the state of a topology, in Storm's words.
type Status string

// The states a topology may be in.
const (
	StatusActive      Status = "ACTIVE"
	StatusInactive    Status = "INACTIVE"
	StatusRebalancing Status = "REBALANCING"
	StatusKilled      Status = "KILLED"
)

// Window is the time counts are taken over. Storm knows these four only.
type Window time.Duration

// The windows Storm keeps counts for.
const (
	AllTime    Window = 0
	TenMinutes Window = Window(10 * time.Minute)
	ThreeHours Window = Window(3 * time.Hour)
	OneDay     Window = Window(24 * time.Hour)
)

// String returns the window as Storm writes it: seconds, or ":all-time".
func (w Window) String() string {
	if w == AllTime {
		return ":all-time"
	}
	return strconv.Itoa(int(time.Duration(w) / time.Second))
}

// Counts are tuples over a window. Storm samples one in twenty by default and
// multiplies, so small numbers are rough.
type Counts struct {
	Emitted     int64
	Transferred int64 // emitted times the number of receivers
	Executed    int64 // bolts only
	Acked       int64
	Failed      int64
}

// Component is one spout or bolt, over all its tasks.
type Component struct {
	ID        string
	Spout     bool
	Executors int
	Tasks     int
	Counts    Counts
	// Latency is from emit to acknowledgement for a spout, the time in
	// execute for a bolt.
	Latency time.Duration
	// Capacity is the part of the last ten minutes a bolt was busy; near 1 it
	// is too slow for its input.
	Capacity  float64
	LastError *ComponentError
}

// ComponentError is the newest error of a component. Storm keeps it after the
// fault is gone: look at the time.
type ComponentError struct {
	Message string // a Java stack trace as a rule
	At      time.Time
	Host    string
	Port    int // of the worker
}

// Worker is one worker process of a topology.
type Worker struct {
	SupervisorID string
	Host         string
	Port         int
	Executors    int
	Uptime       time.Duration
	MemoryMB     float64 // assigned, heap and beside it
}

// Topology is one topology in full.
type Topology struct {
	ID            string
	Name          string
	Status        Status
	Owner         string
	SchedulerInfo string // why it is not fully placed, where that is so
	Uptime        time.Duration
	Executors     int
	Tasks         int
	Workers       []Worker
	Window        Window
	Counts        Counts        // without Executed, which only bolts have
	Latency       time.Duration // from a spout's emit to its acknowledgement
	Components    []Component   // spouts first, each by id; system ones left out
	Config        string        // JSON object
}

// Topology returns a topology by name or id with its counts over a window.
// The error may be ErrNotFound. Between submission and assignment a topology
// has no workers and no components with counts.
func (c *Client) Topology(ctx context.Context, nameOrID string, window Window) (Topology, error) {
	t, err := c.topology(ctx, nameOrID, window)
	if err != nil {
		return Topology{}, fmt.Errorf("cannot read topology %s: %w", nameOrID, err)
	}
	return t, nil
}

func (c *Client) topology(ctx context.Context, nameOrID string, window Window) (Topology, error) {
	sum, err := c.find(ctx, nameOrID)
	if err != nil {
		return Topology{}, err
	}
	var page *nimbusthrift.TopologyPageInfo
	err = c.query(ctx, func(ctx context.Context, n *nimbusthrift.NimbusClient) (err error) {
		page, err = n.GetTopologyPageInfo(ctx, sum.ID, window.String(), false)
		return err
	})
	if err != nil {
		return Topology{}, err
	}
	return topologyOf(page, window), nil
}

// find looks a topology up in the cluster's list, which does without the
// undeclared exceptions nimbus throws for an unknown one.
func (c *Client) find(ctx context.Context, nameOrID string) (TopologySummary, error) {
	cluster, err := c.cluster(ctx)
	if err != nil {
		return TopologySummary{}, err
	}
	for _, t := range cluster.Topologies {
		if t.Name == nameOrID || t.ID == nameOrID {
			return t, nil
		}
	}
	return TopologySummary{}, ErrNotFound
}

func topologyOf(p *nimbusthrift.TopologyPageInfo, window Window) Topology {
	t := Topology{
		ID:            p.ID,
		Name:          p.GetName(),
		Status:        Status(p.GetStatus()),
		Owner:         p.GetOwner(),
		SchedulerInfo: p.GetSchedStatus(),
		Uptime:        seconds(p.GetUptimeSecs()),
		Executors:     int(p.GetNumExecutors()),
		Tasks:         int(p.GetNumTasks()),
		Window:        window,
		Config:        p.GetTopologyConf(),
	}
	if s := p.TopologyStats; s != nil {
		key := window.String()
		t.Counts = Counts{
			Emitted:     s.WindowToEmitted[key],
			Transferred: s.WindowToTransferred[key],
			Acked:       s.WindowToAcked[key],
			Failed:      s.WindowToFailed[key],
		}
		t.Latency = milliseconds(s.WindowToCompleteLatenciesMs[key])
	}
	for _, w := range p.Workers {
		t.Workers = append(t.Workers, workerOf(w))
	}
	t.Components = append(componentsOf(p.IDToSpoutAggStats, true), componentsOf(p.IDToBoltAggStats, false)...)
	return t
}

func workerOf(w *nimbusthrift.WorkerSummary) Worker {
	return Worker{
		SupervisorID: w.GetSupervisorID(),
		Host:         w.GetHost(),
		Port:         int(w.GetPort()),
		Executors:    int(w.GetNumExecutors()),
		Uptime:       seconds(w.GetUptimeSecs()),
		MemoryMB:     w.GetAssignedMemonheap() + w.GetAssignedMemoffheap(),
	}
}

func componentsOf(stats map[string]*nimbusthrift.ComponentAggregateStats, spout bool) []Component {
	var list []Component
	for id, s := range stats {
		list = append(list, componentOf(id, s, spout))
	}
	slices.SortFunc(list, func(a, b Component) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func componentOf(id string, s *nimbusthrift.ComponentAggregateStats, spout bool) Component {
	c := Component{ID: id, Spout: spout}
	if n := s.CommonStats; n != nil {
		c.Executors, c.Tasks = int(n.GetNumExecutors()), int(n.GetNumTasks())
		c.Counts = Counts{
			Emitted:     n.GetEmitted(),
			Transferred: n.GetTransferred(),
			Acked:       n.GetAcked(),
			Failed:      n.GetFailed(),
		}
	}
	if n := s.SpecificStats; n != nil && n.Spout != nil {
		c.Latency = milliseconds(n.Spout.GetCompleteLatencyMs())
	}
	if n := s.SpecificStats; n != nil && n.Bolt != nil {
		c.Counts.Executed = n.Bolt.GetExecuted()
		c.Latency = milliseconds(n.Bolt.GetExecuteLatencyMs())
		c.Capacity = n.Bolt.GetCapacity()
	}
	if e := s.LastError; e != nil {
		c.LastError = &ComponentError{
			Message: e.Error,
			At:      time.Unix(int64(e.ErrorTimeSecs), 0),
			Host:    e.GetHost(),
			Port:    int(e.GetPort()),
		}
	}
	return c
}

func milliseconds(ms float64) time.Duration {
	return time.Duration(ms * float64(time.Millisecond))
}
