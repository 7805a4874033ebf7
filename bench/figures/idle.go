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
	"syscall"
	"time"

	"howdah.dev/howdah/bench/report"
)

// Idle cost is looked at for a while, after the platform has calmed down.
const (
	idleCalm   = time.Minute
	idleWindow = 30 * time.Second
	goalIdle   = 1.0 // % of a core
)

// What probes cost the programs they ask is the difference between windows with agents
// and windows in which they stand still, too short for the server to miss the answer to a
// ping and end their connections. It is small against what the programs do by themselves,
// so there are many by turns.
const (
	probeWindow = 8 * time.Second
	probeRounds = 10
)

// running is what runs, by process id.
type running struct {
	server int
	agents []int
	cell   []int // services that are Howdah's own program
	other  []int // all other services
}

// idle measures what Howdah's own processes, not the services, cost while
// nothing happens, and what the services have of being asked how they are.
func (b *bench) idle(ctx context.Context) error {
	if err := sleep(ctx, idleCalm); err != nil {
		return err
	}
	r, err := b.running(ctx)
	if err != nil {
		return err
	}
	before := report.Load()
	var all, server, agents, cell []float64
	for range b.rounds {
		begun, serverWas, agentsWas, cellWas := time.Now(), cpuSeconds(r.server), sum(r.agents, cpuSeconds), sum(r.cell, cpuSeconds)
		if err := sleep(ctx, idleWindow); err != nil {
			return err
		}
		part := 100 / time.Since(begun).Seconds()
		server = append(server, part*(cpuSeconds(r.server)-serverWas))
		agents = append(agents, part*(sum(r.agents, cpuSeconds)-agentsWas))
		cell = append(cell, part*(sum(r.cell, cpuSeconds)-cellWas))
		last := len(server) - 1
		all = append(all, server[last]+agents[last]+cell[last])
	}
	b.Note("idle, windows of %s; load before %s", idleWindow, before)
	b.percent("idle, all of Howdah, % of a core", all, against(report.Median(all), goalIdle))
	b.percent("  its server", server, "")
	b.percent(fmt.Sprintf("  its %d agents", len(r.agents)), agents, "")
	b.percent(fmt.Sprintf("  %d processes of its cell", len(r.cell)), cell, "")
	b.table = append(b.table,
		[]string{"PSS of the server, MiB", fmt.Sprintf("%.1f", pss(r.server)), "", ""},
		[]string{"PSS of the agents together, MiB", fmt.Sprintf("%.1f", sum(r.agents, pss)), "", fmt.Sprintf("%.1f each; %d services run", sum(r.agents, pss)/float64(max(1, len(r.agents))), len(r.cell)+len(r.other))},
	)
	return b.probes(ctx, r)
}

// percent adds a line of values of two decimals to the table.
func (b *bench) percent(figure string, values []float64, verdict string) {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = fmt.Sprintf("%.2f", v)
	}
	b.table = append(b.table, []string{figure, fmt.Sprintf("%.2f", report.Median(values)), strings.Join(all, " "), verdict})
}

// running finds the processes of the platform.
func (b *bench) running(ctx context.Context) (running, error) {
	var r running
	info, err := b.client.Info(ctx)
	if err != nil {
		return r, err
	}
	r.server = info.PID
	cs, err := b.client.Clusters(ctx)
	if err != nil {
		return r, err
	}
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", info.PID))
	if err != nil {
		return r, err
	}
	for _, c := range cs {
		for _, n := range c.Nodes {
			if !n.Connected || n.AgentPID == 0 {
				return r, fmt.Errorf("the agent of %s is not connected", n.Name)
			}
			r.agents = append(r.agents, n.AgentPID)
			for _, s := range n.Services {
				if s.PID == 0 {
					return r, fmt.Errorf("%s on %s does not run", s.Name, n.Name)
				}
				if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.PID)); err == nil && exe == own {
					r.cell = append(r.cell, s.PID)
				} else {
					r.other = append(r.other, s.PID)
				}
			}
		}
	}
	return r, nil
}

// probes measures what the services' own processes cost while they are asked how they
// are, and while they are not.
func (b *bench) probes(ctx context.Context, r running) error {
	defer signalAll(r.agents, syscall.SIGCONT)
	var asked, left, more []float64
	for range probeRounds {
		for _, stop := range []bool{false, true} {
			if stop {
				signalAll(r.agents, syscall.SIGSTOP)
			}
			begun, was := time.Now(), sum(r.other, cpuSeconds)
			if err := sleep(ctx, probeWindow); err != nil {
				return err
			}
			cost := 100 * (sum(r.other, cpuSeconds) - was) / time.Since(begun).Seconds()
			if !stop {
				asked = append(asked, cost)
				continue
			}
			signalAll(r.agents, syscall.SIGCONT)
			left = append(left, cost)
			more = append(more, asked[len(asked)-1]-cost)
		}
	}
	b.percent(fmt.Sprintf("%d services idle, probed, %% of a core", len(r.other)), asked, "")
	b.percent("  not probed", left, "")
	b.percent("  the difference: what probes cost them", more, "")
	return nil
}

// signalAll sends all of them one. One that has ended gets none.
func signalAll(pids []int, s syscall.Signal) {
	for _, p := range pids {
		_ = syscall.Kill(p, s)
	}
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
