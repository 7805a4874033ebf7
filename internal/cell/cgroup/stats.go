package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Stats is what a group used so far. What the kernel does not tell is 0.
type Stats struct {
	CPU       time.Duration `json:"cpu"`
	Memory    int64         `json:"memory"`    // bytes now
	MaxMemory int64         `json:"maxMemory"` // bytes at most
	Throttled time.Duration `json:"throttled"` // held back by the quota
	OOMKills  int64         `json:"oomKills"`  // processes ended because of the memory limit
	Pids      int64         `json:"pids"`
	Refused   int64         `json:"refused"` // processes that were not made because of the limit on them
}

// Stats reads the figures of the group.
func (g Group) Stats() Stats {
	if g.Version == 2 {
		return g.statsV2()
	}
	mem := g.Dirs[memory]
	oom := fields(filepath.Join(mem, "memory.oom_control"))
	return Stats{
		CPU:       time.Duration(number(filepath.Join(g.Dirs[cpuacct], "cpuacct.usage"))),
		Memory:    number(filepath.Join(mem, "memory.usage_in_bytes")),
		MaxMemory: number(filepath.Join(mem, "memory.max_usage_in_bytes")),
		Throttled: time.Duration(fields(filepath.Join(g.Dirs[cpu], "cpu.stat"))["throttled_time"]),
		OOMKills:  oom["oom_kill"],
		Pids:      number(filepath.Join(g.Dirs[pids], "pids.current")),
		Refused:   fields(filepath.Join(g.Dirs[pids], "pids.events"))["max"],
	}
}

func (g Group) statsV2() Stats {
	dir := g.Dirs[""]
	cpuStat := fields(filepath.Join(dir, "cpu.stat"))
	return Stats{
		CPU:       time.Duration(cpuStat["usage_usec"]) * time.Microsecond,
		Memory:    number(filepath.Join(dir, "memory.current")),
		MaxMemory: number(filepath.Join(dir, "memory.peak")),
		Throttled: time.Duration(cpuStat["throttled_usec"]) * time.Microsecond,
		OOMKills:  fields(filepath.Join(dir, "memory.events"))["oom_kill"],
		Pids:      number(filepath.Join(dir, "pids.current")),
		Refused:   fields(filepath.Join(dir, "pids.events"))["max"],
	}
}

func number(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}

// fields reads lines of a name and a number.
func fields(file string) map[string]int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	found := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 {
			found[f[0]], _ = strconv.ParseInt(f[1], 10, 64)
		}
	}
	return found
}
