package harness

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"howdah.dev/howdah/internal/infra/local/sockets"
	"howdah.dev/howdah/internal/node/proc"
)

// Process is a process of the home.
type Process struct {
	PID    int
	Labels proc.Labels
}

// String names the process by its labels.
func (p Process) String() string { return fmt.Sprintf("pid %d (%s)", p.PID, p.Labels) }

// keys are the labels the home's processes carry: its server's and its nodes'.
func (h *Home) keys() []string {
	keys := []string{"server:" + h.Dir}
	files, _ := filepath.Glob(filepath.Join(h.Dir, "nodes", "*", "*", "node.json"))
	for _, f := range files {
		var c struct{ Key string }
		if data, err := os.ReadFile(f); err == nil && json.Unmarshal(data, &c) == nil && c.Key != "" {
			keys = append(keys, c.Key)
		}
	}
	return keys
}

// processes lists what runs for the home: what carries one of its labels, what
// works below it, and what names it on its command line.
func (h *Home) processes() []Process {
	keys := h.keys()
	dirs, _ := os.ReadDir("/proc")
	var out []Process
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == os.Getpid() || !alive(pid) {
			continue
		}
		l, labelled := proc.LabelsOf(pid)
		cwd, _ := os.Readlink(filepath.Join("/proc", d.Name(), "cwd"))
		if labelled && slices.Contains(keys, l.Node) || strings.HasPrefix(cwd, h.Dir+"/") || strings.Contains(CommandLine(pid), h.Dir+"/") {
			out = append(out, Process{pid, l})
		}
	}
	return out
}

// Processes lists what runs for the home.
func (h *Home) Processes() []Process { return h.processes() }

// alive reports whether a process is there and is no zombie.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, ok := strings.Cut(string(data), ") ")
	return ok && !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// CommandLine is the whole command line of a process, class path and all.
func CommandLine(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.ReplaceAll(string(data), "\x00", " ")
}

// Alive reports whether a process is there.
func Alive(pid int) bool { return alive(pid) }

// Kill ends processes as a crash does, and returns when they are gone.
func (h *Home) Kill(pids ...int) {
	h.t.Helper()
	for _, pid := range pids {
		if pid <= 1 {
			h.t.Fatalf("asked to kill pid %d", pid)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			h.t.Fatalf("cannot kill pid %d: %v", pid, err)
		}
	}
	for _, pid := range pids {
		Within(h.t, 20*time.Second, fmt.Sprintf("killed pid %d is gone", pid), func() (bool, string) { return !alive(pid), "alive" })
	}
}

// KillIfAlive is Kill for a process that may have ended by itself.
func (h *Home) KillIfAlive(pid int) {
	h.t.Helper()
	if alive(pid) && syscall.Kill(pid, syscall.SIGKILL) == nil {
		Within(h.t, 20*time.Second, fmt.Sprintf("killed pid %d is gone", pid), func() (bool, string) { return !alive(pid), "alive" })
	}
}

// Agents are the agents of the home that run, in the order of their pids.
func (h *Home) Agents() []Process {
	out := slices.DeleteFunc(h.processes(), func(p Process) bool {
		return p.Labels.Service != "agent" || !strings.Contains(CommandLine(p.PID), " agent ")
	})
	slices.SortFunc(out, func(a, b Process) int { return a.PID - b.PID })
	return out
}

// KillServer kills the server.
func (h *Home) KillServer() {
	h.t.Helper()
	h.Kill(h.ServerPID())
}

// ServerPID is the server's process.
func (h *Home) ServerPID() int {
	h.t.Helper()
	for _, p := range h.processes() {
		if p.Labels.Node == "server:"+h.Dir && p.Labels.Service == "server" && strings.Contains(CommandLine(p.PID), " server ") {
			return p.PID
		}
	}
	h.t.Fatal("no server of the home runs")
	return 0
}

// KillAll ends everything of the home at once, as a loss of power does. What is
// started meanwhile is ended too.
func (h *Home) KillAll() {
	h.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		ps := h.processes()
		if len(ps) == 0 {
			return
		}
		// First stopped, so that nobody restarts another in between.
		for _, p := range ps {
			_ = syscall.Kill(p.PID, syscall.SIGSTOP)
		}
		for _, p := range ps {
			_ = syscall.Kill(p.PID, syscall.SIGKILL)
		}
		time.Sleep(20 * time.Millisecond)
	}
	h.t.Fatalf("still running after kill -9: %v", h.processes())
}

// Listeners lists the sockets the home's processes and their descendants listen
// on, from the kernel's tables. It may be called from any goroutine.
func (h *Home) Listeners() ([]sockets.Listener, error) {
	all, err := sockets.Listeners()
	if err != nil {
		return nil, err
	}
	pids := map[int]bool{}
	for _, p := range h.processes() {
		pids[p.PID] = true
	}
	descend(pids)
	keys := h.keys()
	return slices.DeleteFunc(all, func(l sockets.Listener) bool { return !pids[l.PID] && !slices.Contains(keys, l.Labels.Node) }), nil
}

// descend adds the children of processes, and theirs.
func descend(pids map[int]bool) {
	parent := map[int]int{}
	dirs, _ := os.ReadDir("/proc")
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		data, err := os.ReadFile(filepath.Join("/proc", d.Name(), "stat"))
		if err != nil {
			continue
		}
		if _, rest, ok := strings.Cut(string(data), ") "); ok {
			if f := strings.Fields(rest); len(f) > 1 {
				parent[pid], _ = strconv.Atoi(f[1])
			}
		}
	}
	for pid := range parent {
		for up := pid; up > 1; up = parent[up] {
			if pids[up] {
				pids[pid] = true
				break
			}
		}
	}
}
