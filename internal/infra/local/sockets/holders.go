package sockets

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"howdah.dev/howdah/internal/node/proc"
)

// name fills in the processes of listeners. Of several that share a socket it takes
// the one with the lowest number: mostly the parent.
func name(ls []Listener) error {
	wanted := make(map[uint64]bool, len(ls))
	for _, l := range ls {
		wanted[l.Inode] = true
	}
	holders, err := holders(wanted)
	if err != nil {
		return err
	}
	for i := range ls {
		if pid := holders[ls[i].Inode]; pid != 0 {
			ls[i].PID = pid
			ls[i].Labels, _ = proc.LabelsOf(pid)
			ls[i].Command = proc.Command(pid)
		}
	}
	return nil
}

// holders finds a process for each of the wanted sockets, by the links in
// /proc/PID/fd. Processes that vanish or are not ours to see are left out.
func holders(wanted map[uint64]bool) (map[uint64]int, error) {
	pids, err := numbers("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	found := make(map[uint64]int, len(wanted))
	for _, pid := range pids {
		dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
		fds, _ := numbers(dir)
		for _, fd := range fds {
			link, err := os.Readlink(filepath.Join(dir, strconv.Itoa(fd)))
			if err != nil {
				continue
			}
			text, _ := strings.CutSuffix(strings.TrimPrefix(link, "socket:["), "]")
			inode, err := strconv.ParseUint(text, 10, 64)
			if err == nil && wanted[inode] && found[inode] == 0 {
				found[inode] = pid
			}
		}
		if len(found) == len(wanted) {
			break
		}
	}
	return found, nil
}

// numbers lists the entries of a directory that are numbers, in ascending order.
func numbers(dir string) ([]int, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var ns []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			ns = append(ns, n)
		}
	}
	slices.Sort(ns)
	return ns, nil
}
