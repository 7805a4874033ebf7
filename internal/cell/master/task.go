package master

import (
	"encoding/json"
	"slices"
	"strings"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

// maxStatuses of one task are shown, the newest.
const maxStatuses = 8

type taskKey struct{ framework, task string }

// task is what the master knows of a task.
type task struct {
	framework string
	worker    string
	info      mesos.TaskInfo // without what only its worker needs
	role      string
	user      string          // "": the framework's
	use       mesos.Resources // in normal form, allocated to nobody

	status   mesos.TaskStatus   // the newest
	statuses []mesos.TaskStatus // never changed in place: reads hold it
	pending  *mesos.TaskStatus  // told to the framework and not acknowledged
	kill     *workerapi.Kill    // asked for; repeated when the worker comes back

	released bool // its resources are free again
	lost     bool // its framework was told that it is lost, and must not get it back
}

func newTask(framework, worker string, info mesos.TaskInfo) *task {
	use := mesos.Resources(info.Resources)
	t := &task{framework: framework, worker: worker, role: mesos.DefaultRole, use: use.Allocate("").Normal()}
	for _, r := range use {
		if role := r.AllocatedTo(); role != "" {
			t.role = role
			break
		}
	}
	if info.Command != nil {
		t.user = info.Command.User
	}
	t.info = shown(info)
	return t
}

func (t *task) key() taskKey { return taskKey{t.framework, t.info.TaskID.Value} }

// set makes s the newest status. One with the same state takes the place of the
// one before it.
func (t *task) set(s mesos.TaskStatus) {
	t.status = s
	kept := t.statuses
	if n := len(kept); n > 0 && kept[n-1].State == s.State {
		kept = kept[:n-1]
	}
	if n := len(kept) + 1 - maxStatuses; n > 0 {
		kept = kept[n:]
	}
	t.statuses = slices.Concat(kept, []mesos.TaskStatus{s})
}

// shown is a task as it may be shown to whoever reads the master's state: without
// its command, its environment, its data and all secrets.
func shown(info mesos.TaskInfo) mesos.TaskInfo {
	info.Command, info.Data, info.Executor, info.Check, info.Limits = nil, nil, nil, nil, nil
	if h := info.HealthCheck; h != nil && h.Command != nil {
		check, command := *h, *h.Command
		command.Environment = nil
		check.Command = &command
		info.HealthCheck = &check
	}
	if info.Container == nil {
		return info
	}
	container := *info.Container
	container.Volumes = slices.Clone(container.Volumes)
	for i := range container.Volumes {
		if source := container.Volumes[i].Source; source != nil {
			container.Volumes[i].Source = &mesos.VolumeSource{Type: source.Type}
		}
	}
	if d := container.Docker; d != nil {
		docker := *d
		docker.Parameters = slices.Clone(d.Parameters)
		for i, p := range docker.Parameters {
			if p.Key == "env" {
				docker.Parameters[i].Value, _, _ = strings.Cut(p.Value, "=")
			}
		}
		container.Docker = &docker
	}
	if m := container.Mesos; m != nil && m.Image != nil && m.Image.Docker != nil {
		image := *m.Image
		image.Docker = &mesos.DockerImage{Name: m.Image.Docker.Name}
		container.Mesos = &mesos.MesosInfo{Image: &image}
	}
	info.Container = &container
	return info
}

// given tells whether a raw field is there; an explicit null is not.
func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// tell makes a status of the master's own, which nobody has to acknowledge.
func (c *core) tell(f *framework, s mesos.TaskStatus) {
	s.Source, s.Timestamp = mesos.SourceMaster, seconds(c.now)
	c.counts.state(s)
	c.send(f, mesos.Event{Type: mesos.EventUpdate, Update: &mesos.Update{Status: s}})
}

// lostAs is how a framework is told that a task is not, and will not be, there.
func (f *framework) lostAs(state mesos.TaskState) mesos.TaskState {
	if f.info.Has(mesos.CapPartitionAware) {
		return state
	}
	return mesos.TaskLost
}

// release gives back what a task used.
func (c *core) release(t *task) {
	if t.released {
		return
	}
	t.released = true
	if w := c.workers[t.worker]; w != nil {
		w.used = w.used.Subtract(t.use)
		c.reopen(w)
	}
}

// finish forgets a task that has ended and needs no more of its worker.
func (c *core) finish(t *task) {
	c.release(t)
	if w := c.workers[t.worker]; w != nil && w.tasks[t.key()] == t {
		delete(w.tasks, t.key())
	}
	if f := c.frameworks[t.framework]; f != nil && f.tasks[t.info.TaskID.Value] == t {
		f.complete(t)
	}
	c.changed()
}

// update is a status from a worker.
func (c *core) update(w *worker, up *workerapi.Update) {
	c.counts.add("messages_status_update")
	s := up.Status
	s.AgentID = &mesos.ID{Value: w.id}
	if s.Source == "" {
		s.Source = mesos.SourceSlave
	}
	if s.Timestamp == 0 {
		s.Timestamp = seconds(c.now)
	}
	f := c.knownFramework(up.FrameworkID.Value)
	t := w.tasks[taskKey{up.FrameworkID.Value, s.TaskID.Value}]
	if f == nil {
		c.updateOrphan(w, t, up, s)
		return
	}
	if t != nil {
		c.counts.state(s)
		t.set(s)
		t.pending = nil
		if len(s.UUID) > 0 {
			t.pending = &s
		}
		switch ended := s.State.Terminal(); {
		case ended && t.pending == nil:
			c.finish(t)
		case ended || up.Latest.Terminal():
			c.release(t)
		}
		c.changed()
	}
	c.send(f, mesos.Event{Type: mesos.EventUpdate, Update: &mesos.Update{Status: s}})
}

// updateOrphan acknowledges what nobody else is there to acknowledge.
func (c *core) updateOrphan(w *worker, t *task, up *workerapi.Update, s mesos.TaskStatus) {
	if len(s.UUID) > 0 {
		c.order(w, workerapi.Order{Type: workerapi.OrderAcknowledge, Acknowledge: &workerapi.Acknowledge{
			FrameworkID: up.FrameworkID, TaskID: s.TaskID, UUID: s.UUID,
		}})
	}
	if t != nil && s.State.Terminal() {
		c.finish(t)
	}
}
