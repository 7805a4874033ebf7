package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/node/proc"
)

// want is what a service should be.
type want struct {
	spec  *agentapi.Service
	sets  []agentapi.Set
	run   bool
	drain bool
	gone  bool // no longer in the assignment
	turn  int  // counts changes of the wish
}

// record is what must outlive the agent; written before a start and after.
type record struct {
	Incarnation int64        `json:"incarnation"`
	RestartKey  string       `json:"restartKey"`
	ReloadKey   string       `json:"reloadKey"`
	Process     *proc.Record `json:"process,omitempty"`
	Started     time.Time    `json:"started,omitzero"` // when this incarnation began; zero in records of earlier agents
	Output      int64        `json:"output,omitempty"` // bytes of output before this incarnation's
	Ready       bool         `json:"ready"`            // this incarnation has been ready
	Exits       []time.Time  `json:"exits,omitempty"`
	Settled     time.Time    `json:"settled,omitzero"` // ends before it count no more: a time of health followed them
	Pause       *pause       `json:"pause,omitempty"`  // before the next start
	LastExit    string       `json:"lastExit,omitempty"`
	Done        []string     `json:"done,omitempty"` // cluster-wide tasks whose evidence was seen
}

// service keeps one program as it is wanted. Its loop is the only writer of
// proc and rec.
type service struct {
	agent *Agent
	name  string
	proc  *proc.Process
	rec   record
	// failures in a row of what the loop tried, and since when the program has
	// been healthy without a break; the loop's own.
	failures int
	healthy  time.Time

	mu     sync.Mutex
	wanted want
	taken  int                // turn the program has been brought to
	kick   context.CancelFunc // ends the current round, because the wish changed
	status api.ServiceStatus
	said   []api.Condition // by the program itself
	probes map[string]*probing
}

func newService(a *Agent, name string) *service {
	return &service{agent: a, name: name, kick: func() {}, probes: map[string]*probing{}, status: api.ServiceStatus{Name: name, State: api.StateWaiting, Since: time.Now()}}
}

// want changes what the service should be.
func (s *service) want(w want) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.turn = s.wanted.turn
	if reflect.DeepEqual(w, s.wanted) {
		return
	}
	if !sameButSecrets(w, s.wanted) { // files that are written while it runs are no other wish
		w.turn++
	}
	s.wanted = w
	s.kick()
}

// sameButSecrets tells whether two wishes differ in nothing but what secret files
// hold.
func sameButSecrets(a, b want) bool {
	if a.spec == nil || b.spec == nil {
		return false
	}
	one, other := *a.spec, *b.spec
	one.Secrets, other.Secrets = nil, nil
	a.spec, b.spec = &one, &other
	return reflect.DeepEqual(a, b)
}

// reached notes that the program is as this wish has it. Until then a ready or
// stopped service is reported as waiting: nobody may take the old for the new.
func (s *service) reached(w want, state, message string) {
	s.mu.Lock()
	news := s.taken != w.turn
	s.taken = w.turn
	s.mu.Unlock()
	s.set(state, "%s", message)
	if news {
		s.agent.changed()
	}
}

func (s *service) last() *agentapi.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted.spec
}

// round returns the current wish and a context that ends when it changes.
func (s *service) round(ctx context.Context) (want, context.Context, context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	s.kick = cancel
	return s.wanted, ctx, cancel
}

// set changes what is observed.
func (s *service) set(state, format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	s.mu.Lock()
	changed := s.status.State != state || s.status.Message != msg
	if s.status.State != state {
		s.status.Since = time.Now()
	}
	s.status.State, s.status.Message = state, msg
	s.status.Incarnation, s.status.LastExit = s.rec.Incarnation, s.rec.LastExit
	s.status.Restarts = s.ends(time.Time{})
	s.status.PID = 0
	if s.proc != nil {
		s.status.PID = s.proc.Record().PID
	} else {
		s.said = nil
	}
	s.mu.Unlock()
	if changed {
		s.agent.changed()
	}
}

func (s *service) setDrained(on bool) {
	s.mu.Lock()
	changed := s.status.Drained != on
	s.status.Drained = on
	s.mu.Unlock()
	if changed {
		s.agent.changed()
	}
}

// dataMissing says that what a one-time task made is not there; "" that it is.
func (s *service) dataMissing(message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Conditions = nil
	if message != "" {
		now := time.Now()
		s.status.Conditions = []api.Condition{{Type: api.ConditionDataMissing, Status: true, Reason: "EvidenceAbsent", Message: message, Since: &now}}
	}
}

func (s *service) observe() api.ServiceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	if spec := s.wanted.spec; spec != nil {
		st.Log = s.output(spec)
		st.Listens, st.Needs = relations(spec)
	}
	for _, kind := range []string{probeReady, probeHealth} {
		if p := s.probes[kind]; p != nil {
			st.Probes = append(st.Probes, p.observe())
		}
	}
	st.Conditions = slices.Concat(st.Conditions, s.said)
	if s.taken != s.wanted.turn && (st.State == api.StateReady || st.State == api.StateStopped) {
		st.State, st.Message, st.Drained = api.StateWaiting, "takes up its new assignment", false
	}
	return st
}

// finished lists cluster-wide tasks whose evidence is here.
func (s *service) finished() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rec.Done)
}

func (s *service) recordPath() string { return s.agent.path(dirAgent, "services", s.name+".json") }

func (s *service) save() error { return writeJSON(s.recordPath(), s.rec) }

func (s *service) output(spec *agentapi.Service) string {
	return filepath.Join(spec.Dir, dirLogs, s.name+extLog)
}

func (s *service) labels() proc.Labels {
	return proc.Labels{Node: s.agent.nodeID(), Service: s.name, Incarnation: s.rec.Incarnation}
}

func (a *Agent) nodeID() string { return a.link.node() }

// loop converges until ctx ends; the process goes on then.
func (s *service) loop(ctx context.Context) {
	s.adopt()
	s.resume(ctx)
	for ctx.Err() == nil {
		w, rctx, cancel := s.round(ctx)
		if w.gone && s.proc == nil {
			s.reached(w, api.StateStopped, "")
			<-rctx.Done()
			cancel()
			continue
		}
		err := s.converge(rctx, w)
		changed := rctx.Err() != nil
		cancel()
		if err == nil || ctx.Err() != nil || changed {
			s.failures = 0
			continue
		}
		s.failures++
		s.fail(ctx, err)
	}
	if s.proc != nil {
		s.proc.Release()
	}
}

// adopt takes up the process of an earlier agent, also one whose start was
// not recorded any more.
func (s *service) adopt() {
	var kept record
	err := readJSON(s.recordPath(), &kept)
	s.mu.Lock()
	s.rec = kept // what could be read of it; reports look at it meanwhile
	s.mu.Unlock()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.agent.log.Error("cannot read service record", "service", s.name, "error", err)
		}
		return
	}
	rec := s.rec.Process
	if rec == nil {
		found, ok := proc.Find(s.labels())
		if !ok {
			return
		}
		rec = &found
	}
	p, ok := proc.Adopt(*rec)
	if !ok {
		s.rec.LastExit, s.rec.Process = "unknown", nil
		return
	}
	s.proc, s.rec.Process = p, rec
	s.agent.log.Info("adopted", "service", s.name, "pid", rec.PID)
}

// converge does what is next for the service: it returns nil when the wish
// changed or something was achieved and the loop should look again.
func (s *service) converge(ctx context.Context, w want) error {
	switch {
	case !w.run:
		if err := s.stop(ctx, w.spec); err != nil {
			return err
		}
		s.setDrained(true)
		s.reached(w, api.StateStopped, "")
		<-ctx.Done()
		return nil
	case s.proc == nil && w.drain && s.rec.RestartKey == w.spec.RestartKey:
		// A service that ended by itself once it was drained (a decommissioned
		// NodeManager does) is not started again.
		if d := w.spec.Drained; d != nil && s.agent.prober.Ask(ctx, *d) != nil {
			return s.start(ctx, w) // it was killed while it still held something
		}
		s.reached(w, api.StateStopped, "ended while draining")
		return s.drain(ctx, w)
	case s.proc == nil:
		return s.start(ctx, w)
	case s.rec.RestartKey != w.spec.RestartKey:
		// Without room for the next start the program is worth more than its new
		// configuration.
		if err := s.room(w.spec); err != nil {
			s.set(api.StateWaiting, "cannot restart %s: %v; until then it runs as it is", s.name, err)
			_, err := s.pause(ctx, blockedPause)
			return err
		}
		return s.end(ctx, w.spec, !w.spec.Stop.KeepChildren)
	}
	if err := s.refresh(ctx, w.spec); err != nil {
		return err
	}
	return s.watch(ctx, w)
}

// refresh writes files that take effect without a restart and tells the
// program when it must read them again.
func (s *service) refresh(ctx context.Context, spec *agentapi.Service) error {
	if err := errors.Join(writeFiles(spec.Files), writeSecrets(spec.Secrets)); err != nil {
		return err
	}
	key := reloadKey(spec.Files)
	if key == s.rec.ReloadKey || len(spec.Reload) == 0 || !s.rec.Ready {
		return nil
	}
	if err := s.command(ctx, spec, "reload", spec.Reload, time.Minute); err != nil {
		return fmt.Errorf("cannot make %s read its files again: %w", s.name, err)
	}
	s.rec.ReloadKey = key
	return s.save()
}

// command runs a short command in the service's environment.
func (s *service) command(ctx context.Context, spec *agentapi.Service, name string, argv []string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out := filepath.Join(spec.Dir, "logs", name+".out")
	p, err := proc.Start(proc.Spec{
		Argv: argv, Dir: spec.Dir, Env: s.agent.env(spec.Env), Output: out,
		Labels: proc.Labels{Node: s.agent.nodeID(), Service: s.name + "-" + name, Incarnation: 1},
	})
	if err != nil {
		return err
	}
	exit, err := p.Wait(ctx)
	if err != nil {
		stopCtx, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer stop()
		_, _ = p.Stop(stopCtx, time.Second)
		return fmt.Errorf("%s took longer than %s: %w", name, timeout, err)
	}
	if !exit.Success() {
		return fmt.Errorf("%s: %s", exit, lastLine(tail(out, 2000)))
	}
	return nil
}

// stop ends the process and all it started.
func (s *service) stop(ctx context.Context, spec *agentapi.Service) error {
	if spec == nil {
		return nil
	}
	return s.end(ctx, spec, true)
}

// end ends the process; with children also all it started.
func (s *service) end(ctx context.Context, spec *agentapi.Service, children bool) error {
	// A stop once begun is finished, whatever the wish becomes meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spec.Stop.Grace+30*time.Second)
	defer cancel()
	if s.proc != nil {
		s.set(api.StateStopping, "asked to end, killed after %s", spec.Stop.Grace)
		sig := unix.SignalNum("SIG" + spec.Stop.Signal)
		if sig == 0 {
			sig = syscall.SIGTERM
		}
		exit, err := s.proc.StopBy(ctx, sig, spec.Stop.Grace)
		if err != nil {
			return fmt.Errorf("cannot stop %s: %w", s.name, err)
		}
		s.rec.LastExit = exit.String()
		s.proc = nil
		s.mark(spec, " was asked to end: "+exit.String())
	}
	if children {
		if _, err := proc.Sweep(ctx, proc.Labels{Node: s.agent.nodeID(), Service: s.name}, 5*time.Second); err != nil {
			return fmt.Errorf("cannot end what %s left running: %w", s.name, err)
		}
	}
	if s.rec.Process == nil {
		return nil
	}
	s.rec.Process, s.rec.Ready = nil, false
	return s.save()
}

// ended records an exit nobody asked for.
func (s *service) ended(exit proc.Exit) error {
	s.proc = nil
	if spec := s.last(); spec != nil {
		s.mark(spec, " ended: "+exit.String())
	}
	s.rec.LastExit, s.rec.Process, s.rec.Ready = exit.String(), nil, false
	s.noteEnd()
	return s.save()
}

// lastLine returns the line that says most of why a program ended: the last
// that names a cause, else the last that is no part of a stack trace.
func lastLine(text string) string {
	last, cause := "", ""
	for line := range lines(text) {
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "", isMark(line), strings.HasPrefix(trimmed, "at "), strings.HasPrefix(trimmed, "... "):
			continue
		case strings.HasPrefix(trimmed, "Caused by:"), strings.HasPrefix(trimmed, "Exception in thread"), strings.HasPrefix(trimmed, "Unknown program"),
			strings.Contains(line, " ERROR "), strings.Contains(line, " FATAL "):
			cause = trimmed
		default:
			last = trimmed
		}
	}
	if cause != "" {
		last = cause
	}
	if r := []rune(last); len(r) > 300 {
		last = string(r[:300])
	}
	return last
}
