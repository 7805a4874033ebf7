package proc

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Adopt takes charge again of a process that we started in an earlier life. False
// when it is gone: another boot, another process under its number, or a zombie.
func Adopt(rec Record) (*Process, bool) {
	boot, err := BootID()
	if err != nil || boot != rec.BootID {
		return nil, false
	}
	fd, err := openExact(rec.PID, rec.StartTicks)
	if err != nil {
		return nil, false
	}
	p, err := watch(fd, rec)
	return p, err == nil
}

// openExact opens a pidfd of the process with that number and start time. The check
// comes after the opening: if it holds then, the pidfd is of that process.
func openExact(pid int, startTicks uint64) (fd int, err error) {
	if pid <= 0 {
		return -1, os.ErrProcessDone
	}
	fd, err = unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open pid %d: %w", pid, err)
	}
	st, err := readStat(pid)
	if err == nil && (st.startTicks != startTicks || st.dead()) {
		err = os.ErrProcessDone
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot open pid %d: %w", pid, err)
	}
	return fd, nil
}

// mainSlack is the longest time between reading the clock and the fork (a loaded
// host), and so the age up to which a child could be taken for the main process.
const mainSlack = 2 * ticksPerSecond

// Find returns the main process of exactly that incarnation, for a starter that
// died before it could write the record. Children carry the same labels, so the
// main one is the oldest leader of a session that began when the labels say; it is
// not found when it has ended while children of it live on (see Sweep).
func Find(labels Labels) (Record, bool) {
	boot, err := BootID()
	if err != nil {
		return Record{}, false
	}
	all, err := scan()
	if err != nil {
		return Record{}, false
	}
	best := entry{}
	for _, e := range all {
		if e.hasLabels && e.Labels == labels && e.isMain() && (best.pid == 0 || e.older(best)) {
			best = e
		}
	}
	rec := Record{BootID: boot, PID: best.pid, StartTicks: best.startTicks, Labels: labels}
	return rec, best.pid != 0
}

func (e entry) isMain() bool {
	return e.session == e.pid && e.startTicks+1 >= e.started && e.startTicks <= e.started+mainSlack
}

// older orders by start; within one tick a parent is older than its child.
func (e entry) older(than entry) bool {
	if e.startTicks != than.startTicks {
		return e.startTicks < than.startTicks
	}
	return than.ppid == e.pid || (e.ppid != than.pid && e.pid < than.pid)
}
