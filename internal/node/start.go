package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/infra/local/sockets"
	"howdah.dev/howdah/internal/node/proc"
)

// minFree is the disk a service must find free before it starts.
const minFree = 256 << 20

// start brings a service from nothing to a running process.
func (s *service) start(ctx context.Context, w want) error {
	s.setDrained(false)
	if len(w.sets) > 0 {
		s.set(api.StateFetching, "artifacts")
		if err := s.agent.ensureSets(ctx, w.sets); err != nil {
			return err
		}
	}
	s.set(api.StatePreparing, "directories and files")
	if err := os.MkdirAll(w.spec.Dir, 0o755); err != nil {
		return fmt.Errorf("cannot make directory of %s: %w", s.name, err)
	}
	if err := s.room(w.spec); err != nil {
		return fmt.Errorf("cannot start %s: %w", s.name, err)
	}
	if err := makeDirs(w.spec); err != nil {
		return err
	}
	if err := errors.Join(writeFiles(w.spec.Files), writeSecrets(w.spec.Secrets)); err != nil {
		return err
	}
	for i := range w.spec.Gates {
		s.gate(ctx, &w.spec.Gates[i])
	}
	for i := range w.spec.Init {
		if err := s.once(ctx, w.spec, &w.spec.Init[i]); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := s.portsFree(w.spec); err != nil {
		return err
	}
	return s.launch(w.spec)
}

// room says what a disk lacks for a start.
func (s *service) room(spec *agentapi.Service) error {
	if d, err := s.agent.vitals.senses.disk(spec.Dir); err == nil && d.free < minFree {
		return fmt.Errorf("%d MiB free on the disk of %s, %d MiB needed", d.free>>20, spec.Dir, minFree>>20)
	}
	return nil
}

// gate holds a start back until a probe holds, or its time is over.
func (s *service) gate(ctx context.Context, g *agentapi.Probe) {
	ctx, cancel := context.WithTimeout(ctx, g.Max)
	defer cancel()
	for {
		err := s.agent.prober.Ask(ctx, *g)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.set(api.StateGated, "waits for %v", g.Unmet(err))
		if !sleep(ctx, pace(g.Every, readyEvery)) {
			return
		}
	}
}

// launch starts the process. The incarnation is written before, so that a
// process whose start was not recorded can be found by its labels.
func (s *service) launch(spec *agentapi.Service) error {
	if !spec.Stop.KeepChildren {
		if err := s.clear(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.rec.Incarnation++
	s.rec.RestartKey, s.rec.ReloadKey, s.rec.Process, s.rec.Ready = spec.RestartKey, reloadKey(spec.Files), nil, false
	s.rec.Started, s.rec.Pause, s.healthy = time.Now(), nil, time.Time{}
	s.rec.Output = sizeOf(s.output(spec))
	s.mu.Unlock()
	if err := s.save(); err != nil {
		return err
	}
	s.mark(spec, markBegan)
	p, err := proc.Start(proc.Spec{Argv: present(spec.Argv), Dir: spec.Dir, Env: s.agent.env(spec.Env), Output: s.output(spec), Labels: s.labels()})
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", s.name, err)
	}
	rec := p.Record()
	s.proc, s.rec.Process = p, &rec
	s.set(api.StateStarting, "%s", spec.Ready.Message)
	return s.save()
}

// archiveFlag names a class-data archive to the JVM.
const archiveFlag = "-XX:SharedArchiveFile="

// present leaves out an archive that is not there yet: naming a missing one
// would cost the JVM its own, too.
func present(argv []string) []string {
	return slices.DeleteFunc(slices.Clone(argv), func(a string) bool {
		path, named := strings.CutPrefix(a, archiveFlag)
		if !named {
			return false
		}
		there, err := exists(path)
		return err == nil && !there
	})
}

// clear ends what an earlier incarnation left running.
func (s *service) clear() error {
	left, err := proc.List(s.agent.nodeID())
	if err != nil {
		return fmt.Errorf("cannot list processes: %w", err)
	}
	if !slices.ContainsFunc(left, func(p proc.Info) bool { return p.Service == s.name }) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := proc.Sweep(ctx, proc.Labels{Node: s.agent.nodeID(), Service: s.name}, 0); err != nil {
		return fmt.Errorf("cannot end what an earlier %s left running: %w", s.name, err)
	}
	return nil
}

// portsFree says who holds a port the service is about to use.
func (s *service) portsFree(spec *agentapi.Service) error {
	for _, p := range spec.Ports {
		addr, err := netip.ParseAddrPort(p.Address)
		if err != nil {
			continue
		}
		if l, taken := sockets.Holder(addr); taken {
			return fmt.Errorf("cannot start %s: port %s (%s) is taken by %s", s.name, p.Address, p.Name, l.Owner())
		}
	}
	return nil
}

// once runs a one-time task unless its evidence is there.
//
// Cluster-wide tasks need a permit of the server. Done and the evidence absent
// means that data is missing: it is never made anew. A permit without evidence
// means that an earlier try was cut short: our own directory is emptied and
// the task runs again.
func (s *service) once(ctx context.Context, spec *agentapi.Service, t *agentapi.InitTask) error {
	key := s.name + "/" + t.Name
	there, err := exists(t.Evidence)
	if err != nil {
		return fmt.Errorf("cannot look for the evidence of %s: %w", key, err)
	}
	if there {
		return s.seen(t, key)
	}
	if t.Cluster {
		ok, err := s.permit(ctx, key, t)
		if !ok || err != nil {
			return err
		}
	}
	s.set(api.StatePreparing, "one-time task %s", t.Name)
	if err := s.runOnce(ctx, spec, t, key); err != nil || ctx.Err() != nil {
		return err
	}
	return s.seen(t, key)
}

// seen notes a cluster-wide task as done; the next report tells the server.
func (s *service) seen(t *agentapi.InitTask, key string) error {
	s.dataMissing("")
	if !t.Cluster {
		return nil
	}
	s.mu.Lock()
	known := slices.Contains(s.rec.Done, key)
	if !known {
		s.rec.Done = append(s.rec.Done, key)
	}
	s.mu.Unlock()
	if known {
		return nil
	}
	s.agent.changed()
	return s.save()
}

// permit waits until the server lets this node run a cluster-wide task.
func (s *service) permit(ctx context.Context, key string, t *agentapi.InitTask) (bool, error) {
	s.mu.Lock()
	saw := slices.Contains(s.rec.Done, key)
	s.mu.Unlock()
	for {
		r, err := s.agent.link.permit(ctx, key)
		switch {
		case saw, err == nil && r.Permit == agentapi.PermitDone:
			msg := fmt.Sprintf("%s has been done for this cluster, but %s is not there; restore the directory, or delete the cluster", t.Name, t.Evidence)
			s.dataMissing(msg)
			return false, &blockedError{msg: "DataMissing: " + msg}
		case err != nil:
			s.set(api.StateGated, "waits for the server's permit to run %s: %v", t.Name, err)
		case r.Permit == agentapi.PermitRun:
			return true, nil
		default:
			s.set(api.StateGated, "waits for %s to run %s", r.Holder, t.Name)
		}
		if !sleep(ctx, time.Second) {
			return false, nil
		}
	}
}

// runOnce runs the task's command to its end, taking up one that an earlier
// agent began.
func (s *service) runOnce(ctx context.Context, spec *agentapi.Service, t *agentapi.InitTask, key string) error {
	labels := proc.Labels{Node: s.agent.nodeID(), Service: s.name + "-" + t.Name, Incarnation: 1}
	exitFile := s.agent.path(dirAgent, "once", strings.ReplaceAll(key, "/", "-")+".exit")
	out := filepath.Join(spec.Dir, "logs", t.Name+".out")
	p, running := adoptTask(labels)
	if !running {
		// One begun by an earlier agent may have ended while the permit was waited for.
		if there, err := exists(t.Evidence); err != nil || there {
			return err
		}
		if err := os.Remove(exitFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot begin %s: %w", key, err)
		}
		sweepCtx, cancel := context.WithTimeout(ctx, 20*time.Second)
		_, err := proc.Sweep(sweepCtx, labels, 0)
		cancel()
		if err != nil {
			return fmt.Errorf("cannot end an interrupted %s: %w", key, err)
		}
		if err := empty(spec.Dir, t.Wipe); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(exitFile), 0o700); err != nil {
			return err
		}
		if p, err = proc.StartTask(proc.Task{ExitFile: exitFile, Spec: proc.Spec{
			Argv: t.Argv, Dir: spec.Dir, Env: s.agent.env(t.Env), Output: out, Labels: labels,
		}}); err != nil {
			return fmt.Errorf("cannot run %s: %w", key, err)
		}
	}
	rec := p.Record()
	waitCtx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	if _, err := p.Wait(waitCtx); err != nil {
		if ctx.Err() != nil {
			p.Release()
			return nil
		}
		_, _ = p.Stop(context.WithoutCancel(ctx), time.Second)
		return fmt.Errorf("%s took longer than %s", key, t.Timeout)
	}
	st, err := proc.TaskState(rec, exitFile)
	if err != nil {
		return fmt.Errorf("cannot learn how %s ended: %w", key, err)
	}
	if there, err := exists(t.Evidence); err != nil || !there || st.Phase != proc.TaskExited || !st.Exit.Success() {
		return fmt.Errorf("%s failed (%s): %s; see %s", key, st.Exit, lastLine(tail(out, 4000)), out)
	}
	return nil
}

// adoptTask finds a task an earlier agent began and that still runs.
func adoptTask(labels proc.Labels) (*proc.Process, bool) {
	rec, ok := proc.Find(labels)
	if !ok {
		return nil, false
	}
	return proc.Adopt(rec)
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// readyEvery is the pause between two tries of a gate and of a start that name none; health
// always names one.
const readyEvery = 200 * time.Millisecond

func pace(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}
