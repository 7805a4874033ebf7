package host

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// memoryGroup is one level of the cgroup hierarchy with a memory limit.
type memoryGroup struct {
	limit int64 // bytes
	used  int64 // bytes that cannot be taken back
}

// groupDirs returns the folders of our cgroup for a controller, from our own up
// to the root: a limit may stand on any level. version 2 has one hierarchy for
// all controllers. Inside a container the path may be one of the machine
// outside; then only the root exists here.
func (h *Host) groupDirs(controller string) (dirs []string, version int) {
	text, err := h.read("/proc/self/cgroup")
	if err != nil {
		return nil, 0
	}
	const base = "/sys/fs/cgroup"
	_, noV2 := h.read(base + "/cgroup.controllers")
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		controllers := strings.Split(parts[1], ",")
		switch {
		case parts[0] == "0" && parts[1] == "" && noV2 == nil:
			return upwards(base, parts[2]), 2
		case slices.Contains(controllers, controller):
			dirs = append(upwards(base+"/"+controller, parts[2]), upwards(base+"/"+parts[1], parts[2])...)
			return dirs, 1
		}
	}
	return nil, 0
}

// upwards lists base/group and its parents down to base.
func upwards(base, group string) []string {
	var dirs []string
	for p := path.Clean("/" + group); ; p = path.Dir(p) {
		dirs = append(dirs, path.Join(base, p))
		if p == "/" {
			return dirs
		}
	}
}

func (h *Host) memoryGroups() []memoryGroup {
	dirs, version := h.groupDirs("memory")
	limit, used, stat := "memory.max", "memory.current", "inactive_file"
	if version == 1 {
		limit, used, stat = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
	}
	var out []memoryGroup
	for _, dir := range dirs {
		g := memoryGroup{limit: h.number(dir + "/" + limit)}
		if g.limit <= 0 {
			continue
		}
		stats, _ := h.read(dir + "/memory.stat")
		g.used = max(0, h.number(dir+"/"+used)-statLine(stats, stat))
		out = append(out, g)
	}
	return out
}

// cpuQuota returns the processors our cgroup grants, 0 without a limit.
func (h *Host) cpuQuota() float64 {
	dirs, version := h.groupDirs("cpu")
	var least float64
	for _, dir := range dirs {
		var quota, period int64
		if version == 2 {
			text, _ := h.read(dir + "/cpu.max")
			if f := strings.Fields(text); len(f) == 2 {
				quota, period = parseInt(f[0]), parseInt(f[1])
			}
		} else {
			quota, period = h.number(dir+"/cpu.cfs_quota_us"), h.number(dir+"/cpu.cfs_period_us")
		}
		if quota <= 0 || period <= 0 {
			continue
		}
		if q := float64(quota) / float64(period); least == 0 || q < least {
			least = q
		}
	}
	return least
}

// number reads a file with one number; "max", or no file, is 0.
func (h *Host) number(file string) int64 {
	text, _ := h.read(file)
	return parseInt(strings.TrimSpace(text))
}

func parseInt(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func statLine(text, key string) int64 {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == key {
			return parseInt(f[1])
		}
	}
	return 0
}
