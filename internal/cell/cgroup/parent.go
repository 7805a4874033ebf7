package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Controllers a group must have to hold a task's limits.
const (
	memory  = "memory"
	cpu     = "cpu"
	cpuacct = "cpuacct" // version 1 only: counts processor time
	pids    = "pids"
	freezer = "freezer" // version 1 only: stops a group while it is killed
)

// Parent is where groups of tasks are made.
type Parent struct {
	// Version is 1 or 2. A host with both (hybrid) counts as 1: the limits are there.
	Version int
	// Path is what an OCI runtime calls this place: relative to its own group
	// in version 1, absolute in version 2.
	Path string

	dirs map[string]string
	// traces are where an OCI runtime makes this place besides: in hierarchies whose
	// limits are not ours.
	traces []string
}

// Find returns the place below the caller's own group named by path, such as
// "howdah/worker-1". mount is /sys/fs/cgroup and self /proc/self/cgroup.
func Find(mount, self, path string) (Parent, error) {
	if !filepath.IsLocal(path) {
		return Parent{}, fmt.Errorf("cannot use %q as the name of a control group", path)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		return Parent{}, fmt.Errorf("cannot read our own control groups: %w", err)
	}
	if _, err := os.Stat(filepath.Join(mount, "cgroup.controllers")); err == nil {
		return findV2(mount, string(text), path), nil
	}
	return findV1(mount, string(text), path)
}

// findV2 prefers the root: a group that holds processes, as ours does, may not
// hand its controllers on to groups below it.
func findV2(mount, self, path string) Parent {
	dir, name := mount, "/"+path
	if os.Geteuid() != 0 {
		for line := range strings.Lines(self) {
			if own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"); ok && filepath.IsLocal(own) {
				dir, name = filepath.Join(mount, own), "/"+filepath.Join(own, path)
			}
		}
	}
	return Parent{Version: 2, Path: name, dirs: map[string]string{"": filepath.Join(dir, path)}}
}

func findV1(mount, self, path string) (Parent, error) {
	p := Parent{Version: 1, Path: path, dirs: map[string]string{}}
	for line := range strings.Lines(self) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for name := range strings.SplitSeq(parts[1], ",") {
			p.traces = append(p.traces, filepath.Join(mount, traceOf(name), parts[2], path))
			if !slices.Contains([]string{memory, cpu, cpuacct, pids, freezer}, name) {
				continue
			}
			for _, base := range []string{parts[1], name} {
				// Inside a container our path may be one that is seen outside only.
				for _, own := range []string{parts[2], "/"} {
					dir := filepath.Join(mount, base, own)
					if _, err := os.Stat(dir); err == nil && p.dirs[name] == "" {
						p.dirs[name] = filepath.Join(dir, path)
					}
				}
			}
		}
	}
	for _, name := range []string{memory, cpu, pids} {
		if p.dirs[name] == "" {
			return Parent{}, fmt.Errorf("the kernel offers no control groups for %s", name)
		}
	}
	return p, nil
}

// traceOf is the folder of a hierarchy: of a named one its name, of the one of
// version 2 on a host with both "unified".
func traceOf(name string) string {
	if name == "" {
		return "unified"
	}
	return strings.TrimPrefix(name, "name=")
}

// Of returns the group that a process is in, to look at. mount is /sys/fs/cgroup and
// file /proc/PID/cgroup.
func Of(mount, file string) (Group, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Group{}, fmt.Errorf("cannot read the control groups of a process: %w", err)
	}
	g := Group{Version: 1, Dirs: map[string]string{}}
	if exists(filepath.Join(mount, "cgroup.controllers")) {
		g.Version = 2
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if g.Version == 2 {
			if parts[1] == "" {
				g.Dirs[""] = filepath.Join(mount, parts[2])
			}
			continue
		}
		for name := range strings.SplitSeq(parts[1], ",") {
			for _, base := range []string{parts[1], name} {
				if dir := filepath.Join(mount, base, parts[2]); slices.Contains([]string{memory, cpu, cpuacct, pids}, name) && exists(dir) {
					g.Dirs[name] = dir
				}
			}
		}
	}
	return g, nil
}

// Check tells why groups with limits cannot be made here, by making one.
func (p Parent) Check() error {
	g := p.Group("probe")
	err := g.Create(Limits{Memory: 64 << 20, CPUShares: 128, Pids: 64})
	if removed := g.Remove(); err == nil {
		err = removed
	}
	if errors.Is(err, os.ErrPermission) && os.Geteuid() != 0 {
		return errors.New("control groups cannot be made: not root")
	}
	return err
}

// Group names a group in this place. It need not exist.
func (p Parent) Group(name string) Group {
	g := Group{Version: p.Version, Dirs: map[string]string{}}
	for controller, dir := range p.dirs {
		g.Dirs[controller] = filepath.Join(dir, name)
	}
	return g
}

// Remove removes the place itself where it is empty.
func (p Parent) Remove() { RemoveEmpty(p.Folders()) }

// Folders are all that the place consists of.
func (p Parent) Folders() []string {
	return append(slices.Sorted(maps.Values(p.dirs)), p.traces...)
}

// RemoveTraces removes what a runtime made for a group that it does not use.
func (p Parent) RemoveTraces(name string) {
	for _, dir := range p.Folders() {
		RemoveEmpty([]string{filepath.Join(dir, name)})
	}
}

// RemoveEmpty removes those of some folders that hold no group and no process.
func RemoveEmpty(folders []string) {
	for _, dir := range folders {
		_ = syscall.Rmdir(dir)
	}
}
