// Package master owns the embedded Mesos master of a cell: which frameworks and
// workers there are, what is offered to whom, and which task runs where. It keeps
// no task on disk: workers own the truth about their tasks and tell it when they
// register. It knows neither apps nor how a task is run.
//
// All state is in one core that one goroutine changes (engine.go). A request
// becomes a function in its inbox; a batch of them ends in one write of what must
// outlive the process, and only then do answers, events and orders go out.
package master

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

// mesosVersion is the version of Apache Mesos whose API this is; clients read it.
const mesosVersion = "1.11.0"

// ErrForbidden is for Config.Authorize: the caller is known, and may not do this.
var ErrForbidden = errors.New("not allowed")

// Config is what a master is made with.
type Config struct {
	// Dir holds the master's own small file. It belongs to this master alone.
	Dir string
	// Hostname and Address are where others reach the master.
	Hostname string
	Address  netip.AddrPort
	// Cluster is the cell's name as tools show it.
	Cluster string
	// Authorize says who makes a request. It is asked about every path but /health.
	// ErrForbidden is answered by 403, any other error by 401. The path tells what the
	// caller wants to be: those of workers begin with /worker/.
	Authorize func(*http.Request) (principal string, err error)
	// Policy refuses a task, whose framework then gets TASK_ERROR with the error's
	// text; nil allows all. It must be quick: everything waits for it.
	Policy func(mesos.FrameworkInfo, mesos.TaskInfo) error
	Log    *slog.Logger
	Timings
}

// Timings are the master's clocks. Zero means Mesos's own default.
type Timings struct {
	Cycle       time.Duration // between two looks at everything; 1 s
	Heartbeat   time.Duration // between two HEARTBEAT events; 15 s
	Ping        time.Duration // between two PINGs to a worker; 15 s
	Unreachable time.Duration // of silence of a worker; 75 s
	Reregister  time.Duration // for workers and frameworks after a start of the master; 10 min
	Write       time.Duration // for a client to take what was written to it; 30 s
}

func (t Timings) withDefaults() Timings {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&t.Cycle, time.Second)
	set(&t.Heartbeat, 15*time.Second)
	set(&t.Ping, 15*time.Second)
	set(&t.Unreachable, 75*time.Second)
	set(&t.Reregister, 10*time.Minute)
	set(&t.Write, 30*time.Second)
	return t
}

// Master is one embedded master.
type Master struct {
	cfg    Config
	core   *core // only Run's goroutine touches it
	inbox  chan command
	ended  chan struct{} // closed when Run has returned
	file   string
	views  views
	routes map[string]http.HandlerFunc
}

// New reads what an earlier master left in Config.Dir. Run does the work.
func New(cfg Config) (*Master, error) {
	switch {
	case cfg.Dir == "":
		return nil, errors.New("cannot make a master: Config.Dir is empty")
	case cfg.Authorize == nil:
		return nil, errors.New("cannot make a master: Config.Authorize is nil")
	case !cfg.Address.IsValid():
		return nil, errors.New("cannot make a master: Config.Address is empty")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Hostname == "" {
		cfg.Hostname = cfg.Address.Addr().String()
	}
	cfg.Timings = cfg.withDefaults()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the master's directory: %w", err)
	}
	m := &Master{cfg: cfg, inbox: make(chan command, inboxSize), ended: make(chan struct{}), file: stateFile(cfg.Dir)}
	saved, err := load(m.file)
	if err != nil {
		return nil, err
	}
	m.core = newCore(&m.cfg, saved, time.Now())
	m.routes = m.table()
	return m, nil
}

// ID returns the master's id; it stays the same over restarts.
func (m *Master) ID() string { return m.core.saved.ID }

// Info describes the master as ZooKeeper and SUBSCRIBED events hold it.
func (m *Master) Info() mesos.MasterInfo { return masterInfo(&m.cfg, m.ID()) }

// Run serves the inbox until ctx ends. It is called once.
func (m *Master) Run(ctx context.Context) error {
	defer close(m.ended)
	return m.serve(ctx)
}
