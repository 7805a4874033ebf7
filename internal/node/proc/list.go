package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Info is what /proc tells of one labelled process.
type Info struct {
	Record
	PPID    int
	Session int
	State   string    // one letter as in ps: R, S, D, T
	RSS     int64     // bytes; counts shared pages in full
	Started time.Time // to a few hundredths of a second
	Command string    // arguments, at most 4 KiB
}

// List returns the living processes that carry the node's label, oldest first; all
// labelled ones when node is empty.
func List(node string) ([]Info, error) {
	boot, err := BootID()
	if err != nil {
		return nil, err
	}
	all, err := scan()
	if err != nil {
		return nil, err
	}
	ticks, err := nowTicks()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var infos []Info
	for _, e := range all {
		if !e.hasLabels || (node != "" && e.Node != node) {
			continue
		}
		age := time.Duration(int64(ticks)-int64(e.startTicks)) * (time.Second / ticksPerSecond)
		infos = append(infos, Info{
			Record:  Record{BootID: boot, PID: e.pid, StartTicks: e.startTicks, Labels: e.Labels},
			PPID:    e.ppid,
			Session: e.session,
			State:   string(e.state),
			RSS:     e.rssPages * int64(os.Getpagesize()),
			Started: now.Add(-age),
			Command: Command(e.pid),
		})
	}
	slices.SortStableFunc(infos, func(a, b Info) int { return int(int64(a.StartTicks) - int64(b.StartTicks)) })
	return infos, nil
}

// PSS returns the proportional memory of a process in bytes: shared pages divided
// by their users, so that sums are true. Costs milliseconds for a large process.
func PSS(pid int) (int64, error) {
	f, err := os.Open(procPath(pid, "smaps_rollup"))
	if err != nil {
		return 0, fmt.Errorf("cannot read the memory of pid %d: %w", pid, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return 0, fmt.Errorf("cannot read the memory of pid %d: %w", pid, err)
	}
	_, rest, found := strings.Cut(string(b), "\nPss:")
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, fmt.Errorf("cannot read the memory of pid %d: %w", pid, errors.New("no Pss line"))
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot read the memory of pid %d: %w", pid, err)
	}
	return kb << 10, nil
}
