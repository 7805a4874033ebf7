package storm

import (
	"context"
	"fmt"
	"time"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

// Nimbus is one nimbus process.
type Nimbus struct {
	Host    string
	Port    int // of its Thrift service
	Leads   bool
	Uptime  time.Duration
	Version string
}

// Supervisor is one machine that runs workers. A dead one stays listed until
// nimbus.supervisor.timeout.secs have passed.
type Supervisor struct {
	ID          string
	Host        string
	Version     string
	Slots       int // workers it may run
	Used        int // workers assigned to it
	Uptime      time.Duration
	MemoryMB    float64 // offered to workers
	UsedMemory  float64 // assigned, in MiB; 2.8.3 says 0, sum up its workers
	CPU         float64 // offered, 100 a core
	UsedCPU     float64
	Blacklisted bool
}

// TopologySummary is one topology as the cluster lists it.
type TopologySummary struct {
	ID        string
	Name      string
	Status    Status
	Owner     string
	Uptime    time.Duration
	Workers   int
	Executors int
	Tasks     int
	MemoryMB  float64 // assigned, heap and beside it
	CPU       float64 // assigned, 100 a core
}

// Cluster is the whole of a Storm cluster at one moment.
type Cluster struct {
	Nimbuses    []Nimbus
	Supervisors []Supervisor
	Topologies  []TopologySummary
}

// Slots returns how many workers the cluster may run and how many are assigned.
func (c Cluster) Slots() (total, used int) {
	for _, s := range c.Supervisors {
		total += s.Slots
		used += s.Used
	}
	return total, used
}

// Cluster returns nimbuses, supervisors and topologies.
func (c *Client) Cluster(ctx context.Context) (Cluster, error) {
	got, err := c.cluster(ctx)
	if err != nil {
		return Cluster{}, fmt.Errorf("cannot read Storm cluster: %w", err)
	}
	return got, nil
}

func (c *Client) cluster(ctx context.Context) (Cluster, error) {
	var sum *nimbusthrift.ClusterSummary
	err := c.query(ctx, func(ctx context.Context, n *nimbusthrift.NimbusClient) (err error) {
		sum, err = n.GetClusterInfo(ctx)
		return err
	})
	if err != nil {
		return Cluster{}, err
	}
	return clusterOf(sum), nil
}

func clusterOf(sum *nimbusthrift.ClusterSummary) Cluster {
	var c Cluster
	for _, n := range sum.Nimbuses {
		c.Nimbuses = append(c.Nimbuses, nimbusOf(n))
	}
	for _, s := range sum.Supervisors {
		c.Supervisors = append(c.Supervisors, supervisorOf(s))
	}
	for _, t := range sum.Topologies {
		c.Topologies = append(c.Topologies, summaryOf(t))
	}
	return c
}

func nimbusOf(n *nimbusthrift.NimbusSummary) Nimbus {
	return Nimbus{
		Host:    n.Host,
		Port:    int(n.Port),
		Leads:   n.IsLeader,
		Uptime:  seconds(n.UptimeSecs),
		Version: n.Version,
	}
}

func supervisorOf(s *nimbusthrift.SupervisorSummary) Supervisor {
	return Supervisor{
		ID:          s.SupervisorID,
		Host:        s.Host,
		Version:     s.GetVersion(),
		Slots:       int(s.NumWorkers),
		Used:        int(s.NumUsedWorkers),
		Uptime:      seconds(s.UptimeSecs),
		MemoryMB:    resource(s.TotalResources, "memory.mb", "supervisor.memory.capacity.mb"),
		UsedMemory:  s.GetUsedMem(),
		CPU:         resource(s.TotalResources, "cpu.pcore.percent", "supervisor.cpu.capacity"),
		UsedCPU:     s.GetUsedCPU(),
		Blacklisted: s.GetBlacklisted(),
	}
}

func summaryOf(t *nimbusthrift.TopologySummary) TopologySummary {
	return TopologySummary{
		ID:        t.ID,
		Name:      t.Name,
		Status:    Status(t.Status),
		Owner:     t.GetOwner(),
		Uptime:    seconds(t.UptimeSecs),
		Workers:   int(t.NumWorkers),
		Executors: int(t.NumExecutors),
		Tasks:     int(t.NumTasks),
		MemoryMB:  t.GetAssignedMemonheap() + t.GetAssignedMemoffheap(),
		CPU:       t.GetAssignedCPU(),
	}
}

// resource reads an amount that has had two names.
func resource(m map[string]float64, name, oldName string) float64 {
	if v, ok := m[name]; ok {
		return v
	}
	return m[oldName]
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }
