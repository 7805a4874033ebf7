package yarn

import (
	"context"
	"fmt"
	"time"
)

// Metrics is the state of a YARN cluster in numbers.
type Metrics struct {
	Nodes      NodeCounts
	Apps       AppCounts
	MemoryMB   Resource
	VCores     Resource
	Containers int // running
}

// NodeCounts says how many NodeManagers are in which state. Active ones may be
// given work.
type NodeCounts struct {
	Active, Unhealthy, Lost, Decommissioning, Decommissioned, Shutdown, Rebooted int
}

// AppCounts says how many applications are, or since the ResourceManager's
// start have come to be, in which state.
type AppCounts struct {
	Submitted, Pending, Running, Completed, Failed, Killed int
}

// Resource is memory in MiB or virtual cores.
type Resource struct {
	Total, Used, Free, Reserved int64
}

// Metrics reads the cluster's numbers.
func (c *Client) Metrics(ctx context.Context) (Metrics, error) {
	var a struct {
		ClusterMetrics struct {
			ActiveNodes, UnhealthyNodes, LostNodes, DecommissioningNodes                   int
			DecommissionedNodes, ShutdownNodes, RebootedNodes                              int
			AppsSubmitted, AppsPending, AppsRunning, AppsCompleted, AppsFailed, AppsKilled int
			TotalMB, AllocatedMB, AvailableMB, ReservedMB                                  int64
			TotalVirtualCores, AllocatedVirtualCores, AvailableVirtualCores                int64
			ReservedVirtualCores                                                           int64
			ContainersAllocated                                                            int
		}
	}
	if err := c.get(ctx, c.rm("metrics"), &a); err != nil {
		return Metrics{}, fmt.Errorf("cannot read metrics of YARN: %w", err)
	}
	m := a.ClusterMetrics
	return Metrics{
		Nodes: NodeCounts{
			m.ActiveNodes, m.UnhealthyNodes, m.LostNodes, m.DecommissioningNodes,
			m.DecommissionedNodes, m.ShutdownNodes, m.RebootedNodes,
		},
		Apps:       AppCounts{m.AppsSubmitted, m.AppsPending, m.AppsRunning, m.AppsCompleted, m.AppsFailed, m.AppsKilled},
		MemoryMB:   Resource{m.TotalMB, m.AllocatedMB, m.AvailableMB, m.ReservedMB},
		VCores:     Resource{m.TotalVirtualCores, m.AllocatedVirtualCores, m.AvailableVirtualCores, m.ReservedVirtualCores},
		Containers: m.ContainersAllocated,
	}, nil
}

// Info says which ResourceManager this is.
type Info struct {
	State   string // STARTED when it serves
	HA      string // ACTIVE, STANDBY or INITIALIZING
	Started time.Time
	Version string
}

// Info reads what the ResourceManager says of itself; a standby answers too.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var a struct {
		ClusterInfo struct {
			State         string
			HAState       string `json:"haState"`
			StartedOn     int64
			HadoopVersion string
		}
	}
	if err := c.get(ctx, c.rm("info"), &a); err != nil {
		return Info{}, fmt.Errorf("cannot read state of YARN: %w", err)
	}
	i := a.ClusterInfo
	return Info{i.State, i.HAState, time.UnixMilli(i.StartedOn), i.HadoopVersion}, nil
}

// Node is one NodeManager.
type Node struct {
	ID         string // host:port, the port of its RPC service
	Host       string
	HTTP       string // host:port
	Rack       string
	State      string // RUNNING, UNHEALTHY, DECOMMISSIONING, DECOMMISSIONED, LOST, SHUTDOWN, ...
	Health     string // why it is unhealthy, if it is
	Version    string
	Containers int
	MemoryMB   Resource
	VCores     Resource
	LastHealth time.Time
}

// Nodes lists the NodeManagers the ResourceManager knows, in whatever state.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	var a struct {
		Nodes struct {
			Node oneOrMore[jsonNode]
		}
	}
	if err := c.get(ctx, c.rm("nodes"), &a); err != nil {
		return nil, fmt.Errorf("cannot list nodes of YARN: %w", err)
	}
	nodes := make([]Node, 0, len(a.Nodes.Node))
	for _, n := range a.Nodes.Node {
		nodes = append(nodes, n.node())
	}
	return nodes, nil
}

type jsonNode struct {
	ID, Rack, State, NodeHostName, NodeHTTPAddress, HealthReport, Version string
	NumContainers                                                         int
	LastHealthUpdate                                                      int64
	UsedMemoryMB, AvailMemoryMB, UsedVirtualCores, AvailableVirtualCores  int64
}

func (n jsonNode) node() Node {
	return Node{
		ID: n.ID, Host: n.NodeHostName, HTTP: n.NodeHTTPAddress, Rack: n.Rack,
		State: n.State, Health: n.HealthReport, Version: n.Version, Containers: n.NumContainers,
		MemoryMB:   Resource{Total: n.UsedMemoryMB + n.AvailMemoryMB, Used: n.UsedMemoryMB, Free: n.AvailMemoryMB},
		VCores:     Resource{Total: n.UsedVirtualCores + n.AvailableVirtualCores, Used: n.UsedVirtualCores, Free: n.AvailableVirtualCores},
		LastHealth: time.UnixMilli(n.LastHealthUpdate),
	}
}
