package shim

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stat is what /proc tells of a process that we use.
type stat struct {
	parent     int
	state      byte
	startTicks uint64
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	// The command stands in parentheses and may hold anything.
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 20 {
		return stat{}, fmt.Errorf("cannot read the state of pid %d", pid)
	}
	s := stat{state: f[0][0]}
	s.parent, _ = strconv.Atoi(f[1])
	s.startTicks, _ = strconv.ParseUint(f[19], 10, 64)
	return s, nil
}

// StartTicks returns when a process began, in the kernel's ticks since boot.
func StartTicks(pid int) (uint64, error) {
	s, err := readStat(pid)
	return s.startTicks, err
}

// descendants returns the living processes below a process, without itself.
func descendants(root int) []int {
	names, err := readNames("/proc")
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil && s.state != 'Z' && s.state != 'X' {
			children[s.parent] = append(children[s.parent], pid)
		}
	}
	queue := children[root]
	for i := 0; i < len(queue); i++ {
		queue = append(queue, children[queue[i]]...)
	}
	return queue
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// endAll kills every process below the shim until none is left, at most for the
// time given: those that fork faster than they are found are stopped first.
func endAll(wait time.Duration) {
	self := os.Getpid()
	deadline := time.Now().Add(wait)
	for pause := time.Millisecond; time.Now().Before(deadline); pause = min(2*pause, 50*time.Millisecond) {
		found := descendants(self)
		if len(found) == 0 {
			return
		}
		for _, pid := range found {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		}
		for _, pid := range found {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(pause)
	}
}
