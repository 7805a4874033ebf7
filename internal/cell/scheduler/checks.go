package scheduler

import (
	"context"
	"slices"
	"sync"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/health"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
)

// maxQuestions is how many checks ask at once, as Marathon's
// max_concurrent_marathon_health_checks.
const maxQuestions = 256

// watches keeps asking the running instances how they are. Only the writer calls
// it.
type watches struct {
	e      *Engine
	asker  *health.Asker
	of     map[string]context.CancelFunc // by instance
	wg     sync.WaitGroup
	cancel context.CancelFunc
	begin  func() (context.Context, context.CancelFunc)
}

func newWatches(e *Engine) *watches {
	all, cancel := context.WithCancel(context.Background())
	return &watches{
		e: e, asker: health.New(maxQuestions), of: map[string]context.CancelFunc{}, cancel: cancel,
		begin: func() (context.Context, context.CancelFunc) { return context.WithCancel(all) },
	}
}

// resume watches the instances that ran before this process began.
func (w *watches) resume(ctx context.Context) {
	for _, i := range w.e.state.instances {
		if a := w.e.state.apps[i.App]; a != nil {
			w.watch(ctx, a.Spec, i)
		}
	}
}

// watch asks an instance from when it runs until it is to end.
func (w *watches) watch(ctx context.Context, spec *app.App, i *instance.Instance) {
	if i.Condition != instance.Running || i.KillAsked != nil {
		w.forget(i.ID)
		return
	}
	if w.of[i.ID] != nil {
		return
	}
	if !i.Version.Equal(spec.ConfigVersion().Time) { // it is asked what its own version says
		own, err := w.e.Version(ctx, i.App, app.Timestamp{Time: i.Version}.String())
		if err != nil || own == nil {
			return
		}
		spec = own
	}
	ctx, cancel := w.begin()
	w.of[i.ID] = cancel
	total := len(spec.HealthChecks)
	for n, c := range spec.HealthChecks {
		if q, ok := question(i, c); ok {
			w.wg.Go(func() {
				w.asker.Run(ctx, q, func(a health.Answer) {
					w.e.tell(ctx, func(t *tx) { t.answered(i.ID, n, total, c, a) })
				})
			})
		}
	}
	if !i.Ready {
		for n, c := range spec.ReadinessChecks {
			w.wg.Go(func() { w.untilReady(ctx, spec, i, n, c) })
		}
	}
}

// untilReady asks until the instance is ready for the first time.
func (w *watches) untilReady(ctx context.Context, spec *app.App, i *instance.Instance, n int, c app.ReadinessCheck) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	port, ok := portNamed(spec, i, c.PortName)
	if !ok {
		return
	}
	q := health.Check{
		Protocol: c.Protocol, Host: i.Reach(), Port: port, Path: c.Path, Codes: c.HTTPStatusCodesForReady,
		Interval: seconds(c.IntervalSeconds), Timeout: seconds(c.TimeoutSeconds),
	}
	w.asker.Run(ctx, q, func(a health.Answer) {
		w.e.tell(ctx, func(t *tx) { t.readiness(i.ID, n, c, a) })
		if a.OK {
			cancel()
		}
	})
}

func (w *watches) forget(id string) {
	if cancel := w.of[id]; cancel != nil {
		cancel()
		delete(w.of, id)
	}
}

func (w *watches) stop() {
	w.cancel()
	w.wg.Wait()
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// question turns a health check into what is asked; false for checks that the
// worker runs.
func question(i *instance.Instance, c app.HealthCheck) (health.Check, bool) {
	q := health.Check{
		Protocol: c.Protocol, Host: i.Reach(), Path: c.Path,
		Delay: seconds(c.DelaySeconds), Interval: seconds(c.IntervalSeconds), Timeout: seconds(c.TimeoutSeconds),
	}
	switch c.Protocol {
	case app.HealthHTTP, app.HealthHTTPS, app.HealthTCP:
	default:
		return q, false
	}
	switch {
	case c.Port != nil:
		q.Port = *c.Port
	case c.PortIndex != nil && *c.PortIndex < len(i.Ports):
		q.Port = i.Ports[*c.PortIndex]
	default:
		return q, false
	}
	return q, true
}

// portNamed finds the host's port that has a name in the app.
func portNamed(spec *app.App, i *instance.Instance, name string) (int, bool) {
	var names []string
	for _, p := range spec.PortDefinitions {
		names = append(names, p.Name)
	}
	if spec.Container != nil {
		for _, p := range spec.Container.PortMappings {
			names = append(names, p.Name)
		}
	}
	n := slices.Index(names, name)
	if n < 0 || n >= len(i.Ports) {
		return 0, false
	}
	return i.Ports[n], true
}

// answered takes in the answer to one question, the n-th of total.
func (t *tx) answered(id string, n, total int, c app.HealthCheck, a health.Answer) {
	i := t.instances.get(id)
	if i == nil || i.KillAsked != nil || a.Status > 0 && a.Status < 200 && c.IgnoreHTTP1xx != nil && *c.IgnoreHTTP1xx {
		return
	}
	t.amiss(i, n, a.Cause)
	result := t.result(i, n)
	now := app.At(t.now)
	if a.OK {
		result.Alive, result.ConsecutiveFailures, result.LastSuccess = true, 0, &now
		if result.FirstSuccess == nil {
			result.FirstSuccess = &now
		}
	} else {
		graced := result.FirstSuccess == nil && i.StartedAt != nil && t.now.Sub(*i.StartedAt) < seconds(c.GracePeriodSeconds)
		if graced {
			return
		}
		cause := a.Cause
		result.Alive, result.LastFailure, result.LastFailureCause = false, &now, &cause
		result.ConsecutiveFailures++
		t.emit("failed_health_check_event", failedCheckEvent{AppID: i.App, TaskID: i.TaskID(), HealthCheck: c})
	}
	t.keepResult(i, n, total, result)
	t.judge(i)
	if most := c.MaxConsecutiveFailures; !a.OK && most > 0 && result.ConsecutiveFailures >= most {
		t.emit("unhealthy_instance_kill_event", unhealthyKillEvent{
			AppID: i.App, TaskID: i.TaskID(), InstanceID: i.ID, Version: app.Timestamp{Time: i.Version}, Reason: a.Cause, Host: i.Reach(), SlaveID: i.AgentID,
		})
		t.unhealthy(t.instances.get(id), a.Cause)
	}
}

// unhealthy ends an instance that failed its check too often; that counts as a
// failure of the app.
func (t *tx) unhealthy(i *instance.Instance, cause string) {
	if a := t.apps.get(i.App); a != nil {
		next := clone(a)
		next.LastFailure = &Failure{
			AppID: i.App, Host: i.Reach(), Message: "health check failed: " + cause, State: string(mesos.TaskKilled), TaskID: i.TaskID(),
			Timestamp: app.At(t.now), Version: app.Timestamp{Time: i.Version}, AgentID: i.AgentID,
		}
		next.Backoff = t.delay(a, i)
		t.putApp(next)
	}
	t.kill(i, "its health check failed: "+cause)
}

// amiss notes what is wrong with an answer to one check, "" for nothing. Readiness
// checks have numbers below 0.
func (t *tx) amiss(i *instance.Instance, check int, cause string) {
	next := &Checks{}
	if c := t.checks.get(i.ID); c != nil {
		next = clone(c)
	}
	if cause == next.Amiss || cause == "" && next.by != check {
		return
	}
	next.Amiss, next.by = cause, check
	t.checks.put(i.ID, next)
	t.visible[i.App] = true
}

// result returns a copy of what is known of one check of an instance.
func (t *tx) result(i *instance.Instance, n int) Result {
	if c := t.checks.get(i.ID); c != nil && n < len(c.Results) {
		return c.Results[n]
	}
	return Result{InstanceID: i.ID}
}

func (t *tx) keepResult(i *instance.Instance, n, total int, r Result) {
	next := &Checks{}
	if c := t.checks.get(i.ID); c != nil {
		next = clone(c)
		next.Results = slices.Clone(c.Results)
	}
	for len(next.Results) < max(total, n+1) {
		next.Results = append(next.Results, Result{InstanceID: i.ID})
	}
	next.Results[n] = r
	t.checks.put(i.ID, next)
	t.visible[i.App] = true
}

// judge sets an instance's health from all its checks: well when each has been
// well and is.
func (t *tx) judge(i *instance.Instance) {
	c := t.checks.get(i.ID)
	if c == nil {
		return
	}
	well, all := true, true
	for _, r := range c.Results {
		all = all && (r.Alive || r.LastFailure != nil)
		well = well && (r.Alive || r.LastFailure == nil)
	}
	if well && !all || i.Healthy != nil && *i.Healthy == well {
		return
	}
	next := clone(i)
	next.Healthy = &well
	t.putInstance(next)
	version := app.Timestamp{Time: i.Version}
	t.emit("health_status_changed_event", healthEvent{AppID: i.App, InstanceID: i.ID, Version: version, Alive: well})
	t.emit("instance_health_changed_event", instanceHealthEvent{InstanceID: i.ID, RunSpecID: i.App, Healthy: well, RunSpecVersion: version})
}

// healthOfWorker takes in the result of the check that the worker runs.
func (t *tx) healthOfWorker(i *instance.Instance, s *mesos.TaskStatus) {
	spec := t.ownSpec(i)
	if spec == nil {
		return
	}
	n := slices.IndexFunc(spec.HealthChecks, func(c app.HealthCheck) bool { _, ours := question(i, c); return !ours })
	if n < 0 {
		return
	}
	r, now := t.result(i, n), app.At(t.now)
	if r.Alive = *s.Healthy; r.Alive {
		t.amiss(i, n, "")
		r.ConsecutiveFailures, r.LastSuccess = 0, &now
		if r.FirstSuccess == nil {
			r.FirstSuccess = &now
		}
	} else {
		cause := s.Message
		t.amiss(i, n, cause)
		r.LastFailure, r.LastFailureCause = &now, &cause
		r.ConsecutiveFailures++
	}
	t.instances.put(i.ID, i)
	t.keepResult(i, n, len(spec.HealthChecks), r)
	t.judge(i)
	if latest := t.instances.get(i.ID); latest != nil {
		*i = *latest
	}
}

// readiness takes in the answer to a readiness check.
func (t *tx) readiness(id string, n int, c app.ReadinessCheck, a health.Answer) {
	i := t.instances.get(id)
	if i == nil {
		return
	}
	r := ReadyResult{Name: c.Name, TaskID: i.TaskID(), Ready: a.OK}
	if c.PreserveLastResponse && a.Status > 0 {
		r.LastResponse = &LastResponse{a.Status, a.Type, a.Body}
	}
	next := &Checks{}
	t.amiss(i, -1-n, a.Cause)
	if have := t.checks.get(id); have != nil {
		next = clone(have)
		next.Ready = slices.Clone(have.Ready)
	}
	for len(next.Ready) <= n {
		next.Ready = append(next.Ready, ReadyResult{})
	}
	next.Ready[n] = r
	t.checks.put(id, next)
	t.visible[i.App] = true
	if a.OK && !i.Ready {
		ready := clone(i)
		ready.Ready = true
		t.putInstance(ready)
	}
}
