package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Group is one control group: a directory for each controller in version 1, one
// directory under the name "" in version 2.
type Group struct {
	Version int               `json:"version"`
	Dirs    map[string]string `json:"dirs"`
}

// Limits of a group; 0 means none.
type Limits struct {
	Memory    int64         // bytes, swap included
	CPUShares int64         // weight against others, 1024 for one processor
	CPUQuota  time.Duration // processor time in each Period
	Pids      int64
}

// Period is the time a quota of processor time is for.
const Period = 100 * time.Millisecond

// Create makes the group, or takes one that is there, and sets its limits.
func (g Group) Create(l Limits) error {
	for _, dir := range g.dirs() {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot make control group: %w", err)
		}
	}
	if g.Version == 2 {
		return g.limitV2(l)
	}
	return g.limitV1(l)
}

func (g Group) dirs() []string {
	return slices.Compact(slices.Sorted(maps.Values(g.Dirs)))
}

func (g Group) limitV1(l Limits) error {
	var errs []error
	set := func(controller, file string, value int64) {
		if value > 0 {
			errs = append(errs, write(filepath.Join(g.Dirs[controller], file), value))
		}
	}
	set(memory, "memory.limit_in_bytes", l.Memory)
	// Absent where swap is not accounted; then there is nothing to limit.
	if g.LimitsSwap() {
		set(memory, "memory.memsw.limit_in_bytes", l.Memory)
	}
	set(cpu, "cpu.shares", max(2, l.CPUShares)*min(1, l.CPUShares))
	if l.CPUQuota > 0 {
		set(cpu, "cpu.cfs_period_us", Period.Microseconds())
		set(cpu, "cpu.cfs_quota_us", max(1000, l.CPUQuota.Microseconds()))
	}
	set(pids, "pids.max", l.Pids)
	return errors.Join(errs...)
}

func (g Group) limitV2(l Limits) error {
	dir := g.Dirs[""]
	if err := delegate(filepath.Dir(dir)); err != nil {
		return err
	}
	var errs []error
	if l.Memory > 0 {
		errs = append(errs, write(filepath.Join(dir, "memory.max"), l.Memory))
		if g.LimitsSwap() {
			errs = append(errs, write(filepath.Join(dir, "memory.swap.max"), 0))
		}
	}
	if l.CPUShares > 0 {
		errs = append(errs, write(filepath.Join(dir, "cpu.weight"), Weight(l.CPUShares)))
	}
	if l.CPUQuota > 0 {
		text := fmt.Sprintf("%d %d", max(1000, l.CPUQuota.Microseconds()), Period.Microseconds())
		errs = append(errs, writeText(filepath.Join(dir, "cpu.max"), text))
	}
	if l.Pids > 0 {
		errs = append(errs, write(filepath.Join(dir, "pids.max"), l.Pids))
	}
	return errors.Join(errs...)
}

// Weight converts shares of version 1 (2 to 262144) to a weight of version 2 (1 to
// 10000), as OCI runtimes do.
func Weight(shares int64) int64 {
	shares = min(max(shares, 2), 262144)
	return 1 + (shares-2)*9999/262142
}

// delegate hands the controllers down to the groups below dir, from the mount on.
func delegate(dir string) error {
	if !exists(filepath.Join(dir, "cgroup.controllers")) {
		return nil // above the mount
	}
	if err := delegate(filepath.Dir(dir)); err != nil {
		return err
	}
	file := filepath.Join(dir, "cgroup.subtree_control")
	have, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("cannot read control group: %w", err)
	}
	var missing []string
	for _, c := range []string{cpu, memory, pids} {
		if !slices.Contains(strings.Fields(string(have)), c) {
			missing = append(missing, "+"+c)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return writeText(file, strings.Join(missing, " "))
}

// LimitsSwap tells whether the kernel can limit swap in the group, which exists.
func (g Group) LimitsSwap() bool {
	if g.Version == 2 {
		return exists(filepath.Join(g.Dirs[""], "memory.swap.max"))
	}
	return exists(filepath.Join(g.Dirs[memory], "memory.memsw.limit_in_bytes"))
}

// Enter puts the calling thread into the group, and what it executes or forks; the
// caller has locked it. In version 1 it goes alone: before it moves a process with all
// its threads, the kernel waits until nobody forks or ends, which takes it some 10 ms.
// In version 2 the process has one group.
func (g Group) Enter() error {
	file := "tasks"
	if g.Version == 2 {
		file = "cgroup.procs"
	}
	for _, dir := range g.dirs() {
		if err := write(filepath.Join(dir, file), 0); err != nil { // 0 is whoever writes it
			return err
		}
	}
	return nil
}

// Warm does the kernel's waiting before it moves a process, by moving the caller to
// where it is. For some 15 ms after it, others are moved at once. mount is
// /sys/fs/cgroup and self /proc/self/cgroup.
func Warm(mount, self string) error {
	g, err := Of(mount, self)
	if err != nil {
		return err
	}
	for _, dir := range g.dirs() {
		return write(filepath.Join(dir, "cgroup.procs"), 0) // one is enough: the lock is of all hierarchies
	}
	return nil
}

// Procs returns the processes in the group and the groups below it.
func (g Group) Procs() []int {
	var found []int
	for _, dir := range g.dirs() {
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil //nolint:nilerr // a group that vanished holds nothing
			}
			text, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for f := range strings.FieldsSeq(string(text)) {
				if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
					found = append(found, pid)
				}
			}
			return nil
		})
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Kill ends every process in the group and waits until none is left, at most for
// the time given. A group that does not exist is empty.
func (g Group) Kill(wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		procs := g.Procs()
		if len(procs) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cannot end control group: %d processes are left, such as pid %d", len(procs), procs[0])
		}
		g.killAll(procs)
		time.Sleep(pause)
	}
}

// killAll ends them at one moment where the kernel can, so that none forks
// meanwhile.
func (g Group) killAll(procs []int) {
	if g.Version == 2 && writeText(filepath.Join(g.Dirs[""], "cgroup.kill"), "1") == nil {
		return
	}
	state := filepath.Join(g.Dirs[freezer], "freezer.state")
	frozen := g.Dirs[freezer] != "" && writeText(state, "FROZEN") == nil
	if frozen {
		procs = g.Procs()
	}
	for _, pid := range procs {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if frozen {
		_ = writeText(state, "THAWED")
	}
}

// Remove removes the group and those below it. It must be empty; that a process
// which just ended still counts is waited for, at most a second.
func (g Group) Remove() error {
	var last error
	for range 100 {
		last = nil
		for _, dir := range g.dirs() {
			if err := removeTree(dir); err != nil {
				last = fmt.Errorf("cannot remove control group: %w", err)
			}
		}
		if !errors.Is(last, syscall.EBUSY) {
			return last
		}
		time.Sleep(10 * time.Millisecond)
	}
	return last
}

// removeTree removes directories only: the files of a group go with it.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return &os.PathError{Op: "remove", Path: dir, Err: err}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func write(file string, value int64) error { return writeText(file, strconv.FormatInt(value, 10)) }

func writeText(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		return fmt.Errorf("cannot set control group: %w", err)
	}
	return nil
}
