package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/policy"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/cell/worker/fetch"
)

// Images makes images be there.
type Images interface {
	// Prepare returns the image. The lease keeps one that is unpacked until Release,
	// whatever happens to this process.
	Prepare(ctx context.Context, r ImageRequest) (*container.Image, error)
	// Release gives up a lease; one that is not there is no error.
	Release(lease string) error
	// Leases lists the leases there are.
	Leases() ([]string, error)
}

// ImageRequest asks for an image.
type ImageRequest struct {
	Name         string
	Force        bool   // ask the registry even if the image is here
	DockerConfig []byte // a docker config.json with logins; may be nil
	Packed       bool   // as an archive rather than unpacked: then there is no lease
	Lease        string
}

// Config of a worker. Dir, Info, IP, Master and Client are required.
type Config struct {
	Dir  string          // the worker's own; made if it is not there
	Info mesos.AgentInfo // what it offers; ID is the master's to give
	IP   string          // its own address: ports of tasks are opened here
	// Address is host:port of Handler, as others reach it.
	Address string

	Master func() string // base URL of the leading master; asked for each connection
	Client *http.Client  // reaches it; its transport adds the credentials

	// Runtimes are tried in this order. Those that cannot be used now start no tasks, but
	// still know theirs of an earlier life: give all that may have some.
	Runtimes []container.Runtime
	// RuntimesAttribute is the attribute that names those that can be used, with commas
	// between them; there is none if empty.
	RuntimesAttribute string
	Images            Images // nil: no images
	// Fetch bounds what tasks have fetched. Without Blocked, policy.BlockedIP counts.
	Fetch fetch.Config
	// Bridge is the network name that means a network of the task's own.
	Bridge string
	// Private are names in sandboxes that are not shown to who looks from outside.
	Private []string
	// Extras adds to what a task gets; nil adds nothing.
	Extras func(framework mesos.ID, info *mesos.TaskInfo) (Extras, error)
	// Gateways are opened on loopback in every network of a task's own.
	Gateways []shim.Gateway
	// Volumes are folders of the host; they and what is below may be mounted.
	Volumes []string

	// Drain is how long a task with ports that was ordered to end is left alone first,
	// so that whoever sends it requests learns of it; none if zero.
	Drain time.Duration

	KeepPerApp int   // sandboxes of ended tasks kept for an app; 5 if zero
	KeepBytes  int64 // and for the worker; 1 GiB if zero
	// Quota is how often the disk used by a task is looked at; 10 s if zero.
	Quota time.Duration
	// Resend is how long an acknowledgement is waited for at first; 10 s if zero.
	Resend time.Duration
	// Parallel is how many tasks are started at a time, and how many of a project have
	// things downloaded; twice the processors if zero.
	Parallel int

	// Authorize lets a request to Handler through. The task is the one whose sandbox
	// it is about, nil when it is about the worker. Nil refuses everything.
	Authorize func(r *http.Request, task *mesos.TaskInfo) error
	Log       *slog.Logger // slog.Default if nil
}

func (c *Config) complete() error {
	switch {
	case c.Dir == "":
		return errors.New("cannot make a worker: no directory given")
	case c.IP == "" || c.Info.Hostname == "":
		return errors.New("cannot make a worker: no address or host name given")
	case c.Master == nil || c.Client == nil:
		return errors.New("cannot make a worker: no way to its master given")
	}
	c.Bridge = cmp.Or(c.Bridge, "mesos-bridge")
	c.KeepPerApp = cmp.Or(c.KeepPerApp, 5)
	c.KeepBytes = cmp.Or(c.KeepBytes, 1<<30)
	c.Quota = cmp.Or(c.Quota, 10*time.Second)
	c.Resend = cmp.Or(c.Resend, 10*time.Second)
	c.Parallel = cmp.Or(c.Parallel, 2*runtime.NumCPU())
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Fetch.Blocked == nil {
		c.Fetch.Blocked = policy.BlockedIP
	}
	if c.Authorize == nil {
		c.Authorize = func(*http.Request, *mesos.TaskInfo) error { return errors.New("nobody may ask this worker") }
	}
	return nil
}

// Worker runs tasks.
type Worker struct {
	cfg      Config
	log      *slog.Logger
	runtimes []container.Runtime
	weaker   []string
	started  time.Time

	wrote     func(record)  // called after each try to write a record; nil but in tests
	loaded    chan struct{} // closed when the tasks of an earlier life are known
	launches  chan struct{} // a place for each task that is being started
	downloads *turns
	running   sync.WaitGroup
	shares    shares

	mu      sync.Mutex
	info    mesos.AgentInfo
	tasks   map[taskKey]*task
	link    *link         // nil while there is no master
	changed chan struct{} // closed when link changes
}

type taskKey struct{ framework, task string }

// New makes a worker and finds out what its runtimes can do here.
func New(ctx context.Context, cfg Config) (*Worker, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	w := &Worker{
		cfg: cfg, log: cfg.Log, info: cfg.Info, started: time.Now(), tasks: map[taskKey]*task{}, shares: shares{bytes: map[*task]int64{}},
		loaded: make(chan struct{}), launches: make(chan struct{}, cfg.Parallel), downloads: newTurns(cfg.Parallel), changed: make(chan struct{}),
	}
	for _, r := range cfg.Runtimes {
		weaker, err := r.Probe(ctx)
		if errors.Is(err, container.ErrAbsent) {
			continue
		}
		if err != nil {
			w.weaker = append(w.weaker, fmt.Sprintf("%s: %v", r.Name(), err))
			continue
		}
		w.runtimes = append(w.runtimes, r)
		for _, sentence := range weaker {
			w.weaker = append(w.weaker, r.Name()+": "+sentence)
		}
	}
	if name := cfg.RuntimesAttribute; name != "" {
		usable := &mesos.TextValue{Value: strings.Join(w.Runtimes(), ",")}
		w.info.Attributes = append(slices.Clip(w.info.Attributes), mesos.Attribute{Name: name, Type: mesos.Text, Text: usable})
	}
	for _, dir := range []string{w.tasksDir(), w.sandboxesDir()} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, fmt.Errorf("cannot make the worker's folders: %w", err)
		}
	}
	return w, nil
}

func (w *Worker) tasksDir() string     { return filepath.Join(w.cfg.Dir, "tasks") }
func (w *Worker) sandboxesDir() string { return filepath.Join(w.cfg.Dir, "sandboxes") }

// Runtimes are the names of those that can be used here, best first.
func (w *Worker) Runtimes() []string {
	names := make([]string, 0, len(w.runtimes))
	for _, r := range w.runtimes {
		names = append(names, r.Name())
	}
	return names
}

// Weaker says what is weaker here than it could be, a sentence each, and which
// runtimes cannot be used.
func (w *Worker) Weaker() []string { return w.weaker }

// Run takes up the tasks there are and serves the master until ctx ends. Tasks go on
// then; the next Run finds them.
func (w *Worker) Run(ctx context.Context) error {
	lock, err := os.OpenFile(filepath.Join(w.cfg.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("cannot run the worker: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("cannot run the worker: another one uses %s", w.cfg.Dir)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer w.running.Wait()
	defer cancel()
	if err := w.load(ctx); err != nil {
		return err
	}
	close(w.loaded)
	w.serve(ctx)
	return nil
}

// load takes up the tasks of the worker's earlier life.
func (w *Worker) load(ctx context.Context) error {
	if err := w.loadID(); err != nil {
		return err
	}
	entries, err := os.ReadDir(w.tasksDir())
	if err != nil {
		return fmt.Errorf("cannot read the tasks: %w", err)
	}
	held := map[string]bool{}
	for _, e := range entries {
		t, err := w.loadTask(e.Name())
		if err != nil {
			w.log.Error("a task cannot be read and is left alone", "dir", e.Name(), "error", err)
			held[e.Name()] = true
			continue
		}
		if t == nil {
			continue
		}
		held[t.id] = t.rec.Phase != phaseEnded
		w.add(ctx, t)
	}
	w.releaseOthers(held)
	w.retain()
	return nil
}

// releaseOthers gives up leases of images that a crash made us forget.
func (w *Worker) releaseOthers(held map[string]bool) {
	if w.cfg.Images == nil {
		return
	}
	leases, err := w.cfg.Images.Leases()
	if err != nil {
		w.log.Warn("cannot look for forgotten images", "error", err)
	}
	for _, l := range leases {
		if !held[l] {
			if err := w.cfg.Images.Release(l); err != nil {
				w.log.Warn("cannot give up an image", "error", err)
			}
		}
	}
}

// add begins to look after a task.
func (w *Worker) add(ctx context.Context, t *task) {
	w.mu.Lock()
	w.tasks[t.key()] = t
	w.mu.Unlock()
	rec, tell := t.snapshot()
	if rec.Phase != phaseEnded {
		w.running.Go(func() { t.live(ctx) })
	}
	if tell {
		w.running.Go(func() { t.deliver(ctx) })
	}
}

// ready tells whether the tasks of an earlier life are known.
func (w *Worker) ready() bool {
	select {
	case <-w.loaded:
		return true
	default:
		return false
	}
}

// Holds tells whether a task is here and has not ended. It waits until the tasks of
// an earlier life are known; false when ctx ends first.
func (w *Worker) Holds(ctx context.Context, framework, id string) bool {
	select {
	case <-w.loaded:
	case <-ctx.Done():
		return false
	}
	t := w.task(framework, id)
	if t == nil {
		return false
	}
	rec, _ := t.snapshot()
	return rec.Phase != phaseEnded
}

func (w *Worker) task(framework, id string) *task {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tasks[taskKey{framework, id}]
}

func (w *Worker) all() []*task {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]*task, 0, len(w.tasks))
	for _, t := range w.tasks {
		list = append(list, t)
	}
	return list
}
