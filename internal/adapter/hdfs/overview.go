package hdfs

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Overview is the state of an HDFS as one NameNode sees it. A standby's counts
// lag behind.
type Overview struct {
	State     string // active, standby, or initializing
	Version   string
	ClusterID string
	Started   time.Time
	// SafeMode is the NameNode's explanation, empty when safe mode is off.
	SafeMode string
	Capacity Capacity
	Files    int64 // folders included
	Blocks   BlockCounts
	Nodes    []Node // by name
	// FailedDirs are folders of the NameNode itself that cannot be written.
	FailedDirs []string
}

// Capacity is in bytes, over the DataNodes in service: not those leaving.
type Capacity struct {
	Total     int64
	Used      int64 // by HDFS, replicas included
	Other     int64 // by others on the same disks
	Remaining int64
}

// BlockCounts says how blocks fare.
type BlockCounts struct {
	Total int64
	// Missing have no replica on any live DataNode: reading them fails.
	Missing int64
	// MissingSingle are those of Missing that were meant to have one replica.
	MissingSingle   int64
	UnderReplicated int64 // fewer replicas than wanted
	Replicating     int64 // copies under way
	CorruptFiles    int64
}

// Liveness says whether a DataNode's heartbeats arrive. A silent one counts as
// live for ten minutes and a half by default.
type Liveness string

// What a DataNode may be.
const (
	Live Liveness = "live"
	Dead Liveness = "dead"
)

// Admin is what an operator has decided about a DataNode, in Hadoop's words.
type Admin string

// The decisions there are.
const (
	InService           Admin = "In Service"
	Decommissioning     Admin = "Decommission In Progress"
	Decommissioned      Admin = "Decommissioned"
	EnteringMaintenance Admin = "Entering Maintenance"
	InMaintenance       Admin = "In Maintenance"
)

// Node is one DataNode.
type Node struct {
	Name          string // host:port, the host as it reports itself
	Address       string // ip:port it serves blocks on
	HTTP          string // host:port of its web page; empty if dead
	UUID          string
	Rack          string
	Version       string
	Liveness      Liveness
	Admin         Admin
	LastContact   time.Duration // since its last heartbeat
	Capacity      int64         // bytes
	Used          int64         // bytes
	Remaining     int64         // bytes
	Blocks        int64
	FailedVolumes int
	Leaving       *Leaving // while it is decommissioning
}

// Leaving is how far a decommission is.
type Leaving struct {
	UnderReplicated int64 // blocks of this node still short of replicas
	OnlyHere        int64 // blocks that live on no other node
	InOpenFiles     int64 // of UnderReplicated, those whose file is being written
	Since           time.Duration
}

// Count returns how many nodes are of a liveness and, unless it is empty, of
// an admin state.
func (o Overview) Count(l Liveness, a Admin) int {
	n := 0
	for _, node := range o.Nodes {
		if node.Liveness == l && (a == "" || node.Admin == a) {
			n++
		}
	}
	return n
}

// Overview reads everything at once, with three requests. The error may be
// ErrUnreachable.
func (c *Client) Overview(ctx context.Context) (Overview, error) {
	var (
		status struct{ State string }
		info   infoBean
		state  stateBean
	)
	for _, bean := range []struct {
		name string
		into any
	}{{"NameNodeStatus", &status}, {"NameNodeInfo", &info}, {"FSNamesystemState", &state}} {
		if err := c.bean(ctx, bean.name, bean.into); err != nil {
			return Overview{}, fmt.Errorf("cannot read state of HDFS: %w", err)
		}
	}
	nodes, err := info.nodes()
	if err != nil {
		return Overview{}, fmt.Errorf("cannot read state of HDFS: %w", err)
	}
	o := Overview{
		State:      status.State,
		Version:    info.SoftwareVersion,
		ClusterID:  info.ClusterID,
		Started:    time.UnixMilli(info.Started),
		SafeMode:   info.Safemode,
		Capacity:   Capacity{info.Total, info.Used, info.NonDfsUsedSpace, info.Free},
		Files:      state.FilesTotal,
		Nodes:      nodes,
		FailedDirs: info.failedDirs(),
	}
	o.Blocks = BlockCounts{
		Total:           state.BlocksTotal,
		Missing:         info.Missing,
		MissingSingle:   info.MissingSingle,
		UnderReplicated: state.UnderReplicatedBlocks,
		Replicating:     state.PendingReconstructionBlocks,
		CorruptFiles:    info.CorruptFilesCount,
	}
	return o, nil
}

// infoBean is NameNodeInfo. Its lists of nodes are JSON inside JSON.
type infoBean struct {
	SoftwareVersion   string
	ClusterID         string `json:"ClusterId"`
	Started           int64  `json:"NNStartedTimeInMillis"`
	Safemode          string
	Total             int64
	Used              int64
	Free              int64
	NonDfsUsedSpace   int64
	Missing           int64 `json:"NumberOfMissingBlocks"`
	MissingSingle     int64 `json:"NumberOfMissingBlocksWithReplicationFactorOne"`
	CorruptFilesCount int64
	LiveNodes         string
	DeadNodes         string
	DecomNodes        string
	NameDirStatuses   string
}

type stateBean struct {
	FilesTotal                  int64
	BlocksTotal                 int64
	UnderReplicatedBlocks       int64
	PendingReconstructionBlocks int64
}

// jsonNode holds the fields of all four lists.
type jsonNode struct {
	InfoAddr       string `json:"infoAddr"`
	XferAddr       string `json:"xferaddr"`
	UUID           string `json:"uuid"`
	Location       string `json:"location"`
	Version        string `json:"version"`
	AdminState     string `json:"adminState"`
	LastContact    int64  `json:"lastContact"` // seconds
	Capacity       int64  `json:"capacity"`
	Used           int64  `json:"used"`
	Remaining      int64  `json:"remaining"`
	NumBlocks      int64  `json:"numBlocks"`
	VolFails       int    `json:"volfails"`
	Decommissioned bool   `json:"decommissioned"`

	UnderReplicatedBlocks      int64 `json:"underReplicatedBlocks"`
	DecommissionOnlyReplicas   int64 `json:"decommissionOnlyReplicas"`
	UnderReplicateInOpenFiles  int64 `json:"underReplicateInOpenFiles"`
	DecommissionDurationMillis int64 `json:"decommissionDuration"`
}

func (b infoBean) nodes() ([]Node, error) {
	var lists [3]map[string]jsonNode
	for i, text := range []string{b.LiveNodes, b.DeadNodes, b.DecomNodes} {
		if text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(text), &lists[i]); err != nil {
			return nil, fmt.Errorf("cannot decode list of DataNodes: %w", err)
		}
	}
	live, dead, leaving := lists[0], lists[1], lists[2]
	var nodes []Node
	for name, n := range live {
		nodes = append(nodes, n.node(name, Live))
	}
	for name, n := range dead {
		nodes = append(nodes, n.node(name, Dead))
	}
	for i, n := range nodes {
		if l, ok := leaving[n.Name]; ok {
			nodes[i].Leaving = l.leaving()
		}
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes, nil
}

func (n jsonNode) node(name string, l Liveness) Node {
	node := Node{
		Name:          name,
		Address:       n.XferAddr,
		HTTP:          n.InfoAddr,
		UUID:          n.UUID,
		Rack:          n.Location,
		Version:       n.Version,
		Liveness:      l,
		Admin:         Admin(n.AdminState),
		LastContact:   time.Duration(n.LastContact) * time.Second,
		Capacity:      n.Capacity,
		Used:          n.Used,
		Remaining:     n.Remaining,
		Blocks:        n.NumBlocks,
		FailedVolumes: n.VolFails,
	}
	if node.Admin == "" && n.Decommissioned {
		node.Admin = Decommissioned
	}
	return node
}

func (n jsonNode) leaving() *Leaving {
	return &Leaving{
		UnderReplicated: n.UnderReplicatedBlocks,
		OnlyHere:        n.DecommissionOnlyReplicas,
		InOpenFiles:     n.UnderReplicateInOpenFiles,
		Since:           time.Duration(n.DecommissionDurationMillis) * time.Millisecond,
	}
}

func (b infoBean) failedDirs() []string {
	var dirs struct {
		Failed map[string]string `json:"failed"`
	}
	if json.Unmarshal([]byte(b.NameDirStatuses), &dirs) != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(dirs.Failed))
}
