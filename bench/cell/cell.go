package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"howdah.dev/howdah/bench/report"
	"howdah.dev/howdah/internal/tenant"
)

const (
	workerCount = 200
	taskStart   = 50 * time.Millisecond
	startLimit  = 30 * time.Second // of a process
	endLimit    = 10 * time.Second
	ticks       = 100 // of the kernel's clock in a second, on every Linux that Go runs on
)

// cell is a master, a scheduler and workers that run.
type cell struct {
	b      *bench
	dir    string
	secret string
	api    *api
	master string // URL
	procs  map[string]*proc

	workers string // role of the process that is the workers
	count   int    // of workers
	images  string // URL of the registry; "" for simulated workers
}

// proc is one process of a cell.
type proc struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{}
}

// newCell starts a cell of simulated workers with nothing in it.
func (b *bench) newCell(ctx context.Context) (*cell, error) {
	c, err := b.emptyCell()
	if err != nil {
		return nil, err
	}
	c.workers, c.count = roleWorkers, workerCount
	return c, c.open(ctx)
}

// emptyCell is a cell of which nothing runs, nor is anything left of the last one.
func (b *bench) emptyCell() (*cell, error) {
	dir, err := filepath.Abs(b.dir)
	if err != nil {
		return nil, err
	}
	c := &cell{b: b, dir: filepath.Join(dir, "cell"), secret: "a-secret-of-the-benchmark", procs: map[string]*proc{}}
	return c, c.remove()
}

// open starts the cell's processes.
func (c *cell) open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if err := c.configure(); err != nil {
		return err
	}
	for _, role := range []string{roleMaster, c.workers, roleScheduler} {
		if err := c.start(role); err != nil {
			return err
		}
	}
	if err := c.api.wait(ctx, startLimit, "the scheduler answers", c.api.alive); err != nil {
		return err
	}
	return c.api.wait(ctx, startLimit, "all workers are there", c.workersThere)
}

// remove ends what is left of the cell, also tasks of a real worker, and removes its files.
func (c *cell) remove() error {
	if err := endTasks(c.dir, ""); err != nil {
		return err
	}
	return os.RemoveAll(c.dir)
}

// configure writes the configuration files of a cell.
func (c *cell) configure() error {
	authority, err := tenant.OpenAuthority(filepath.Join(c.dir, "authority"))
	if err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	master, scheduler := "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1]
	c.master = "http://" + master
	c.api = newAPI("http://"+scheduler, c.secret)
	access := map[string]string{"secret": filepath.Join(c.dir, "secret"), "authority": filepath.Join(c.dir, "ca.pem")}
	docs := map[string]any{
		roleMaster: map[string]any{"dir": filepath.Join(c.dir, "m"), "address": master, "host": "localhost", "cluster": "bench", "access": access},
		roleScheduler: map[string]any{
			"dir": filepath.Join(c.dir, "s"), "address": scheduler, "host": "localhost", "master": c.master, "access": access,
			"policy": map[string]any{"hostNetwork": true, "rootForPlainCommands": true},
			// Each app has one; the range must hold 10,000 and more.
			"servicePorts": map[string]int{"first": 10000, "last": 40000},
			"registry":     map[string]string{"url": c.images},
		},
		roleWorkers: workersConfig{Master: c.master, Secret: c.secret, Count: c.count, Start: taskStart},
		roleWorker: map[string]any{
			"dir": filepath.Join(c.dir, workerDir), "address": "127.0.0.1:" + ports[2], "host": "localhost", "master": c.master, "access": access,
			"runtimes": "runc,plain", "resources": "cpus:64;mem:65536;disk:65536;ports:[31000-32000]",
			"registry": map[string]string{"url": c.images},
		},
	}
	err = errors.Join(
		os.WriteFile(access["secret"], []byte(c.secret), 0o600),
		os.WriteFile(access["authority"], authority.PEM(), 0o600),
	)
	for role, doc := range docs {
		text, e := json.Marshal(doc)
		err = errors.Join(err, e, os.WriteFile(c.config(role), text, 0o600))
	}
	return err
}

func (c *cell) config(role string) string { return filepath.Join(c.dir, role+".json") }

// freePorts finds ports that nobody listens on at this moment.
func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}

// start starts a process of the cell.
func (c *cell) start(role string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{"-as", role, "-config", c.config(role)}
	if c.b.profile != "" {
		c.b.started++
		args = append(args, "-profile", filepath.Join(c.b.profile, fmt.Sprintf("%s-%s-%d", c.b.part, role, c.b.started)))
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	// A session of its own: an interrupt of the terminal is for the parent.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append(os.Environ(), labels(c.dir, role).Env()...) // a real worker's tasks get them too
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", role, err)
	}
	p := &proc{cmd: cmd, stdin: stdin, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how a process ended that was killed is known
		close(p.ended)
	}()
	c.procs[role] = p
	return nil
}

// kill ends a process without a chance to tidy up; one that is profiled may write
// its profile.
func (c *cell) kill(role string) {
	p := c.procs[role]
	if c.b.profile != "" {
		_ = p.stdin.Close()
		select {
		case <-p.ended:
		case <-time.After(endLimit):
		}
	}
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// close ends all processes: the parent's end of their input is closed.
func (c *cell) close() {
	for _, role := range []string{roleScheduler, c.workers, roleMaster} {
		p := c.procs[role]
		if p == nil {
			continue
		}
		_ = p.stdin.Close()
		select {
		case <-p.ended:
		case <-time.After(endLimit):
			c.kill(role)
		}
	}
	if c.api != nil {
		c.api.close()
	}
	if err := c.remove(); err != nil {
		c.b.Note("the cell cannot be removed: %v", err)
	}
}

// workersThere tells whether the master knows all workers.
func (c *cell) workersThere(ctx context.Context) (bool, error) {
	var answer map[string]float64
	err := c.get(ctx, "/metrics/snapshot", &answer)
	return err == nil && answer["master/slaves_active"] == float64(c.count), nil
}

// get asks the master.
func (c *cell) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.master+path, nil)
	if err != nil {
		return err
	}
	_, err = c.api.do(req, into)
	return err
}

// resetPeaks has the peaks of memory counted anew.
func (c *cell) resetPeaks() {
	for _, role := range []string{roleMaster, roleScheduler} {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", c.procs[role].cmd.Process.Pid), []byte("5"), 0) // else it is the peak since the start
	}
}

// used is how many seconds of processor the process with a role has used.
func (c *cell) used(role string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.procs[role].cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest) // from the third on; user and system time are the 14th and 15th
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticks
}

// peak is the most memory a process had, in MB (RSS).
func (c *cell) peak(role string) (float64, error) {
	bytes, err := report.Peak(c.procs[role].cmd.Process.Pid)
	return bytes / 1e6, err
}

// usage is what each process of a cell has used of the processor, in seconds.
type usage map[string]float64

func (c *cell) usage() usage {
	u := usage{}
	for _, role := range []string{roleScheduler, roleMaster, c.workers} {
		u[role] = c.used(role)
	}
	return u
}

func (u usage) since(before usage) string {
	return fmt.Sprintf("scheduler %.1f s, master %.1f s, workers %.1f s", u[roleScheduler]-before[roleScheduler], u[roleMaster]-before[roleMaster],
		u[roleWorkers]-before[roleWorkers]+u[roleWorker]-before[roleWorker])
}
