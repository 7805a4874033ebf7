package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"howdah.dev/howdah/bench/report"
)

// Idle cost is looked at for a while, after the platform has calmed down.
const (
	idleCalm   = 5 * time.Second
	idleWindow = 30 * time.Second
)

// idle measures what Howdah's own processes, not the services, cost while
// nothing happens.
func (b *bench) idle(ctx context.Context) error {
	if err := sleep(ctx, idleCalm); err != nil {
		return err
	}
	info, err := b.client.Info(ctx)
	if err != nil {
		return err
	}
	cs, err := b.client.Clusters(ctx)
	if err != nil {
		return err
	}
	var agents []int
	services := 0
	for _, c := range cs {
		for _, n := range c.Nodes {
			agents = append(agents, n.AgentPID)
			services += len(n.Services)
		}
	}
	before := report.Load()
	serverWas, agentsWas := cpuSeconds(info.PID), sum(agents, cpuSeconds)
	begun := time.Now()
	if err := sleep(ctx, idleWindow); err != nil {
		return err
	}
	window := time.Since(begun).Seconds()
	server := 100 * (cpuSeconds(info.PID) - serverWas) / window
	all := 100 * (sum(agents, cpuSeconds) - agentsWas) / window
	b.Note("idle for %.0f s: server %.2f %% of a core, %d agents %.2f %%  load before %s", window, server, len(agents), all, before)
	b.table = append(b.table,
		[]string{"idle, all of Howdah, % of a core", fmt.Sprintf("%.2f", server+all), "", fmt.Sprintf("server %.2f, %d agents %.2f", server, len(agents), all)},
		[]string{"PSS of the server, MiB", fmt.Sprintf("%.1f", pss(info.PID)), "", ""},
		[]string{"PSS of the agents together, MiB", fmt.Sprintf("%.1f", sum(agents, pss)), "", fmt.Sprintf("%.1f each; %d services run", sum(agents, pss)/float64(max(1, len(agents))), services)},
	)
	return nil
}

func sum(pids []int, of func(int) float64) float64 {
	total := 0.0
	for _, p := range pids {
		total += of(p)
	}
	return total
}

// ticksPerSecond is USER_HZ, the same on every Linux that Go runs on.
const ticksPerSecond = 100

// cpuSeconds is the processor time of a process so far; 0 where it is gone.
func cpuSeconds(pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / ticksPerSecond
}

// busySeconds is the time all cores have worked so far.
func busySeconds() float64 {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	total := 0.0
	for i, f := range strings.Fields(strings.SplitN(string(data), "\n", 2)[0]) {
		if slices.Contains([]int{1, 2, 3, 6, 7}, i) { // user, nice, system, interrupts
			v, _ := strconv.ParseFloat(f, 64)
			total += v
		}
	}
	return total / ticksPerSecond
}

// pss is the proportional set size of a process in MiB; 0 where it is gone.
func pss(pid int) float64 {
	kb, _ := strconv.ParseFloat(field(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:"), 64)
	return kb / 1024
}

// field is the first word after a name at the start of a line of a file.
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if rest, ok := strings.CutPrefix(sc.Text(), name); ok {
			rest = strings.TrimLeft(rest, " \t:")
			word, _, _ := strings.Cut(rest, " ")
			return word
		}
	}
	return ""
}

// machine says what the figures were taken on.
func (b *bench) machine() string {
	var model string
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		_, rest, _ := strings.Cut(string(data), "model name")
		line, _, _ := strings.Cut(rest, "\n")
		model = strings.TrimLeft(line, "\t :")
	}
	kb, _ := strconv.ParseFloat(field("/proc/meminfo", "MemTotal"), 64)
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	java := "unknown"
	if as, err := b.assignments(); err == nil && len(as) > 0 && len(as[0].Archives) > 0 {
		home := as[0].Archives[0].JavaHome
		if out, err := exec.Command(filepath.Join(home, "bin", "java"), "-version").CombinedOutput(); err == nil {
			java = strings.Join(strings.Split(strings.TrimSpace(string(out)), "\n")[:1], "")
		}
	}
	version := "unknown"
	if out, err := exec.Command(b.program, "version").Output(); err == nil {
		version, _, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	}
	return fmt.Sprintf("machine  %d cores, %s, %.1f GiB, Linux %s\njava     %s\nhowdah   %s, %s\n",
		runtime.NumCPU(), model, kb/(1<<20), strings.TrimSpace(string(kernel)), java, version, runtime.Version())
}
