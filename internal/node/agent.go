// Package node is the agent: it makes one node run what its assignment says.
// It alone starts, stops and formats. It is level-triggered: given an
// assignment it converges; given silence it keeps what runs running. It knows
// no kind of service, and must not import the server, the store or the
// operation engine.
//
//	assignment ──► services ──► prepare ─► gates ─► one-time tasks ─► start ─► probe
//	                   └──────► report (whole, numbered) ──► server
package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/probe"
)

// ErrFenced ends an agent whose node a newer agent runs.
var ErrFenced = errors.New("a newer agent runs this node")

// ErrRunning ends an agent whose node an agent runs already.
var ErrRunning = errors.New("an agent runs this node already")

// Config is what an agent needs.
type Config struct {
	Dir      string // the node's directory
	Version  string // of howdah
	Build    string // of the program, as the server that started it calls it
	Adapters map[string]probe.Adapter
	Javas    func(ctx context.Context) []agentapi.Java // finds what is installed
	BootID   func() string
	Log      *slog.Logger

	senses senses // how the node's surroundings are looked at; really by default
}

// Agent runs one node.
type Agent struct {
	cfg    Config
	host   agentapi.HostFile
	cache  *artifact.Cache
	prober *probe.Prober
	link   *link
	vitals *vitals
	log    *slog.Logger

	mu         sync.Mutex
	assignment *agentapi.Assignment
	services   map[string]*service
	tasks      map[string]*task
	reports    chan struct{} // something observed changed
	wg         sync.WaitGroup
	archives   chan []agentapi.Archive
	rotations  rotations
	taking     sync.Mutex           // held while an assignment is taken
	refused    *agentapi.Assignment // waits for room on the disk; guarded by taking
	began      time.Time
	life       context.Context //nolint:containedctx // the agent's own lifetime: what one connection brought goes on when it ends
}

// beat is how long it is to the agent's next beat of a period; one that is near is left
// out, so it is between a quarter of the period and five quarters. What is done again and
// again is done at beats: it wakes the agent together, and to wake costs more than most
// of what it wakes for.
func (a *Agent) beat(period time.Duration) time.Duration {
	if period <= 0 {
		return 0
	}
	next := period - time.Since(a.began)%period
	if next < period/4 {
		next += period
	}
	return next
}

// paths of the agent's own files, below the node's directory.
const (
	fileHost       = "host.json"
	fileJoin       = "join.json"
	dirAgent       = "agent"
	fileLock       = "lock"
	fileLog        = "agent.log"
	fileAssignment = "assignment.json"
)

// Run runs the node in dir until ctx ends or the agent is fenced. The services
// go on after it.
func Run(ctx context.Context, cfg Config) error {
	a := &Agent{
		cfg: cfg, log: cfg.Log, services: map[string]*service{}, tasks: map[string]*task{},
		reports: make(chan struct{}, 1), archives: make(chan []agentapi.Archive, 1), prober: probe.New(cfg.Adapters),
		began: time.Now(),
	}
	defer a.prober.Close()
	if err := os.MkdirAll(a.path(dirAgent), 0o700); err != nil {
		return fmt.Errorf("cannot make agent directory: %w", err)
	}
	unlock, err := lock(ctx, a.path(dirAgent, fileLock))
	if err != nil {
		return err
	}
	defer unlock()
	if err := readJSON(a.path(fileHost), &a.host); err != nil {
		return fmt.Errorf("cannot read what the driver says of this node: %w", err)
	}
	a.cache = artifact.New(artifact.Config{Dir: a.host.Cache, Log: a.log})
	ctx, cancel := context.WithCancel(ctx)
	defer a.wg.Wait()
	defer cancel()
	a.life = ctx
	a.link, err = newLink(a)
	if err != nil {
		return err
	}
	a.vitals = newVitals(a)
	a.clearSessions(ctx)
	a.recover(ctx)
	a.wg.Go(func() { a.buildArchives(ctx) })
	a.wg.Go(func() { a.rotateLogs(ctx) })
	a.wg.Go(func() { a.vitals.run(ctx) })
	return a.link.run(ctx)
}

func (a *Agent) path(elem ...string) string {
	return filepath.Join(append([]string{a.cfg.Dir}, elem...)...)
}

// recover takes up the assignment kept from an earlier life, so that a host
// comes back without the server.
func (a *Agent) recover(ctx context.Context) {
	var kept agentapi.Assignment
	switch err := readJSON(a.path(dirAgent, fileAssignment), &kept); {
	case err == nil:
		a.apply(ctx, &kept)
	case !errors.Is(err, fs.ErrNotExist):
		a.log.Warn("cannot read kept assignment; waiting for the server's", "error", err)
	}
}

// take keeps a new assignment and applies it. One that a full disk does not hold is
// refused: what runs goes on as it is, and the assignment waits for room, see retake.
// An end needs no room and is not held up.
func (a *Agent) take(ctx context.Context, as *agentapi.Assignment) error {
	a.taking.Lock()
	defer a.taking.Unlock()
	return a.takeUp(ctx, as)
}

// retake takes the assignment that waits for room, where one does.
func (a *Agent) retake(ctx context.Context) {
	a.taking.Lock()
	defer a.taking.Unlock()
	if a.refused == nil {
		return
	}
	if err := a.takeUp(ctx, a.refused); err != nil {
		a.log.Warn("cannot take an assignment that waited for room", "error", err)
	}
}

// takeUp does the work of take; taking is held.
func (a *Agent) takeUp(ctx context.Context, as *agentapi.Assignment) error {
	err := writeJSON(a.path(dirAgent, fileAssignment), as)
	if err != nil && !full(err) {
		return fmt.Errorf("cannot keep assignment: %w", err)
	}
	if err != nil && a.refused == nil {
		a.log.Warn("no room to keep a new assignment; it waits", "generation", as.Generation, "error", err)
	}
	a.refused = nil
	if err != nil {
		a.refused = as
	}
	if err == nil || as.Intent == agentapi.IntentStop || as.Intent == agentapi.IntentGone {
		a.apply(ctx, as)
	}
	a.vitals.hold(a.refused)
	return nil
}

// full tells whether an error is of a disk without room.
func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// apply gives every service and task its wanted state. It does not wait.
func (a *Agent) apply(ctx context.Context, as *agentapi.Assignment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.assignment = as
	wanted := map[string]bool{}
	for i := range as.Services {
		spec := &as.Services[i]
		wanted[spec.Name] = true
		s := a.services[spec.Name]
		if s == nil {
			s = newService(a, spec.Name)
			a.services[spec.Name] = s
			a.wg.Go(func() { s.loop(ctx) })
		}
		s.want(want{spec: spec, sets: as.Sets, run: as.Intent == agentapi.IntentRun || as.Intent == agentapi.IntentDrain, drain: as.Intent == agentapi.IntentDrain})
	}
	for name, s := range a.services {
		if !wanted[name] {
			s.want(want{spec: s.last(), gone: true})
		}
	}
	for i := range as.Tasks {
		a.task(ctx, as.Tasks[i], as)
	}
	a.forgetTasks(as.Tasks)
	select { // the newest list is the one that counts
	case <-a.archives:
	default:
	}
	a.archives <- as.Archives
	a.changed()
}

// changed asks for a report soon.
func (a *Agent) changed() {
	select {
	case a.reports <- struct{}{}:
	default:
	}
}

// report gathers what is observed.
func (a *Agent) report() agentapi.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	var r agentapi.Report
	if a.assignment == nil {
		return r
	}
	r.Node, r.Generation = a.assignment.Node.ID, a.assignment.Generation
	for i := range a.assignment.Services {
		s := a.services[a.assignment.Services[i].Name]
		r.Services = append(r.Services, s.observe())
		r.Done = append(r.Done, s.finished()...)
	}
	r.Conditions = a.vitals.conditions()
	for i := range a.assignment.Tasks {
		if t := a.tasks[a.assignment.Tasks[i].ID]; t != nil {
			r.Tasks = append(r.Tasks, t.observe())
		}
	}
	return r
}

// facts says what this node is.
func (a *Agent) facts(ctx context.Context) agentapi.Facts {
	f := agentapi.Facts{
		Dir: a.cfg.Dir, Cache: a.host.Cache, MemoryMB: a.host.MemoryMB, CPUs: a.host.CPUs, Version: a.cfg.Version, Build: a.cfg.Build, Protocol: agentapi.Protocol, PID: os.Getpid(),
		BootID: a.cfg.BootID(), Javas: a.cfg.Javas(ctx),
	}
	if f.CPUs == 0 {
		f.CPUs = runtime.NumCPU()
	}
	if u, err := user.Current(); err == nil {
		f.User = u.Username
	}
	if program, err := os.Executable(); err == nil {
		// One that was replaced while this agent runs is still at the same place.
		f.Program = strings.TrimSuffix(program, " (deleted)")
	}
	return f
}

// env is the environment of every process of the node: as little of ours as
// works, what the driver asks for, then the service's own.
func (a *Agent) env(own map[string]string) []string {
	var out []string
	for _, k := range []string{"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"} {
		if v, ok := os.LookupEnv(k); ok {
			out = append(out, k+"="+v)
		}
	}
	for _, m := range []map[string]string{a.host.Env, own} {
		for k, v := range m {
			out = append(out, k+"="+v)
		}
	}
	return out
}

// lock takes the node's lock; a predecessor gets a moment to leave.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock node: %w", err)
	}
	for range 30 {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) //nolint:gosec // a descriptor fits an int
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	_ = f.Close()
	return nil, fmt.Errorf("cannot lock %s: %w", path, ErrRunning)
}

// readJSON reads a document.
func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	return nil
}
