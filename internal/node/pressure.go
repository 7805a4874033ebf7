package node

import (
	"fmt"
	"time"

	"howdah.dev/howdah/api"
)

// When a condition of the node begins and when it ends. The two differ, so that
// what stands at the edge does not flicker. docs/reference/conditions.md lists
// them.
const (
	diskShare     = 0.05    // of the disk, or of its inodes, free
	diskShareEnds = 0.06    //
	diskBytes     = 2 << 30 // free
	diskBytesEnds = diskBytes / 10 * 11

	nodeMemory     = 0.90 // of what is set aside, used
	nodeMemoryEnds = 0.85
	hostMemoryLow  = 0.05 // of the host's, available
	hostMemoryEnds = 0.07

	maxSkew     = 2 * time.Second
	skewEnds    = 3 * time.Second / 2
	dateStep    = time.Second // of the time in an HTTP answer
	slowAnswer  = 2 * time.Second
	timesInARow = 2 // before a clock or a name counts as wrong
)

// Reasons of the node's conditions.
const (
	reasonEnough = "Enough"
	reasonRoom   = "LittleRoom"
	reasonInodes = "FewInodes"
	reasonNode   = "Node"
	reasonHost   = "Host"
)

// unknown is a condition that could not be found out; its status stays.
func (v *vitals) unknown(kind string, err error) api.Condition {
	return api.Condition{Type: kind, Status: v.was(kind).Status, Reason: api.ReasonUnknown, Message: err.Error()}
}

// orFine is what was found last, else that all is well.
func orFine(was api.Condition, kind string, status bool, reason string) api.Condition {
	if was.Type == "" {
		return api.Condition{Type: kind, Status: status, Reason: reason}
	}
	return was
}

// judgeDisks says whether a disk has little room, or so little that no service
// can start (api.ReasonFull).
func judgeDisks(was api.Condition, disks []disk) api.Condition {
	share, bytes := diskShare, uint64(diskBytes)
	if was.Status {
		share, bytes = diskShareEnds, diskBytesEnds
	}
	c := api.Condition{Type: api.ConditionDiskPressure, Reason: reasonEnough}
	for _, d := range disks {
		switch {
		case d.free < minFree:
			return api.Condition{Type: c.Type, Status: true, Reason: api.ReasonFull, Message: fmt.Sprintf("%s free of %s on the disk of %s; nothing can be started on it", gib(d.free), gib(d.total), d.path)}
		case c.Status:
		case float64(d.free) < share*float64(d.total) || d.free < bytes:
			c.Status, c.Reason, c.Message = true, reasonRoom, fmt.Sprintf("%s free of %s on the disk of %s", gib(d.free), gib(d.total), d.path)
		case d.inodes > 0 && float64(d.inodesFree) < share*float64(d.inodes):
			c.Status, c.Reason, c.Message = true, reasonInodes, fmt.Sprintf("%d %% of the inodes free on the disk of %s", 100*d.inodesFree/d.inodes, d.path)
		}
	}
	return c
}

// judgeMemory says whether the node's processes use nearly all that is set aside
// for them, or the host has little left. limit is 0 where nothing is set aside.
func judgeMemory(was api.Condition, used, limit int64, m memory) api.Condition {
	mostUsed, least := nodeMemory, hostMemoryLow
	if was.Status && was.Reason == reasonNode {
		mostUsed = nodeMemoryEnds
	}
	if was.Status && was.Reason == reasonHost {
		least = hostMemoryEnds
	}
	switch {
	case m.total > 0 && float64(m.available) < least*float64(m.total):
		return api.Condition{Type: api.ConditionMemoryPressure, Status: true, Reason: reasonHost, Message: fmt.Sprintf("the host has %d %% of its %s left", 100*m.available/m.total, gib(uint64(m.total)))}
	case limit > 0 && float64(used) > mostUsed*float64(limit):
		return api.Condition{Type: api.ConditionMemoryPressure, Status: true, Reason: reasonNode, Message: fmt.Sprintf("its processes use %d %% of the %d MiB set aside for them", 100*used/limit, limit>>20)}
	}
	return api.Condition{Type: api.ConditionMemoryPressure, Reason: reasonEnough}
}

func gib(n uint64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }
