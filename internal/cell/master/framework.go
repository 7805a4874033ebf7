package master

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

const (
	maxRemoved   = 50   // frameworks that were removed and are still shown
	maxCompleted = 1000 // tasks of one framework that have ended and are still shown
	// unknownFailover is how long a framework is waited for of which only its tasks
	// are known.
	unknownFailover = 7 * 24 * time.Hour
	maxFailover     = 10 * 365 * 24 * time.Hour
)

// framework is a scheduler that runs tasks.
type framework struct {
	id         string
	info       mesos.FrameworkInfo
	roles      []string
	suppressed map[string]bool // roles it wants no offers for
	guessed    bool            // only its tasks are known

	out      *outbox // nil while it is not connected
	streamID string
	told     time.Time // when it was last told something
	deadline time.Time // when it is removed unless it comes back; zero while connected

	registered, reregistered, unregistered time.Time

	turn      uint64 // when it last got an offer, in core.turn's count
	offers    map[string]*offer
	tasks     map[string]*task
	completed []*task // oldest first
}

func newFramework(id string, info mesos.FrameworkInfo) *framework {
	f := &framework{id: id, offers: map[string]*offer{}, tasks: map[string]*task{}, suppressed: map[string]bool{}}
	f.setInfo(info)
	return f
}

func (f *framework) setInfo(info mesos.FrameworkInfo) {
	info.ID = &mesos.ID{Value: f.id}
	f.info = info
	if info.Has(mesos.CapMultiRole) {
		f.roles = slices.Clone(info.Roles)
		return
	}
	f.roles = []string{mesos.DefaultRole}
	if info.Role != "" {
		f.roles[0] = info.Role
	}
}

func (f *framework) failover() time.Duration {
	s := f.info.FailoverTimeout
	if !(s > 0) { // also what is not a number
		return 0
	}
	return time.Duration(min(s, maxFailover.Seconds()) * float64(time.Second))
}

// recoverFramework is a framework known from the file. It has at least the time
// its workers have to come back.
func (c *core) recoverFramework(id string, s savedFramework) *framework {
	f := newFramework(id, s.Info)
	f.registered, f.guessed = s.Registered, s.Guessed
	f.deadline = c.now.Add(max(f.failover(), c.cfg.Reregister))
	return f
}

// knownFramework returns the framework whose tasks a worker has; one that is not
// known is made up until it subscribes, for a master that lost its file must not
// end what runs. It returns nil for one that was removed.
func (c *core) knownFramework(id string) *framework {
	if f := c.frameworks[id]; f != nil || c.wasRemoved(id) {
		return f
	}
	f := newFramework(id, mesos.FrameworkInfo{Name: "unknown", Capabilities: []mesos.Capability{{Type: mesos.CapPartitionAware}}})
	f.guessed, f.registered, f.deadline = true, c.now, c.now.Add(unknownFailover)
	c.frameworks[id] = f
	c.keepFramework(f)
	return f
}

func (c *core) wasRemoved(id string) bool {
	return slices.ContainsFunc(c.removed, func(f *framework) bool { return f.id == id })
}

// subscribe opens a framework's stream. What is wrong with the framework itself
// is the stream's only event.
func (c *core) subscribe(sub *mesos.Subscribe) (*outbox, string) {
	c.counts.add("messages_register_framework")
	out, streamID := newOutbox(), uuid.NewString()
	c.touch(out)
	id := ""
	if sub.FrameworkInfo.ID != nil {
		id = sub.FrameworkInfo.ID.Value
	}
	f := c.frameworks[id]
	if text := c.refuseFramework(f, id, sub); text != "" {
		out.stage(record(mesos.Event{Type: mesos.EventError, Error: &mesos.Error{Message: text}}))
		out.last = true
		return out, streamID
	}
	if f == nil {
		f = c.addFramework(id, sub.FrameworkInfo)
	} else {
		c.failOver(f, sub.FrameworkInfo)
	}
	f.out, f.streamID, f.deadline = out, streamID, time.Time{}
	f.suppressed = map[string]bool{}
	for _, role := range sub.SuppressedRoles {
		f.suppressed[role] = true
	}
	c.welcome(f)
	return out, streamID
}

func (c *core) refuseFramework(f *framework, id string, sub *mesos.Subscribe) string {
	if c.wasRemoved(id) {
		return "Framework has been removed"
	}
	if err := validateFramework(sub); err != nil {
		return err.Error()
	}
	if f != nil && !f.guessed && f.info.Principal != sub.FrameworkInfo.Principal {
		return "Changing framework's principal is not allowed"
	}
	if f == nil && len(c.frameworks) >= maxFrameworks {
		return fmt.Sprintf("There are %d frameworks already; tear one down first", maxFrameworks)
	}
	return ""
}

func (c *core) addFramework(id string, info mesos.FrameworkInfo) *framework {
	for id == "" || c.frameworks[id] != nil {
		id = number(c.saved.ID+"-", c.saved.NextFrame, 4)
		c.saved.NextFrame++
	}
	f := newFramework(id, info)
	f.registered, f.reregistered = c.now, c.now
	c.frameworks[id] = f
	c.keepFramework(f)
	c.log.Info("a framework subscribed", "framework", id, "name", info.Name)
	return f
}

func (c *core) keepFramework(f *framework) {
	c.saved.Frameworks[f.id] = savedFramework{Info: f.info, Registered: f.registered, Guessed: f.guessed}
	c.save()
}

// failOver makes a new stream a known framework's one.
func (c *core) failOver(f *framework, info mesos.FrameworkInfo) {
	if f.out != nil {
		c.touch(f.out)
		f.out.stage(record(mesos.Event{Type: mesos.EventError, Error: &mesos.Error{Message: "Framework failed over"}}))
		f.out.last = true
		f.out = nil
	}
	c.recoverOffers(f)
	c.forgetFiltersOf(f.id, "")
	f.setInfo(info)
	f.reregistered, f.guessed = c.now, false
	c.keepFramework(f)
	c.log.Info("a framework subscribed again", "framework", f.id, "name", info.Name)
}

// welcome tells a framework that it is subscribed, and what it has not
// acknowledged.
func (c *core) welcome(f *framework) {
	info := masterInfo(c.cfg, c.saved.ID)
	c.send(f, mesos.Event{Type: mesos.EventSubscribed, Subscribed: &mesos.Subscribed{
		FrameworkID: mesos.ID{Value: f.id}, HeartbeatIntervalSeconds: c.cfg.Heartbeat.Seconds(), MasterInfo: &info,
	}})
	c.send(f, mesos.Event{Type: mesos.EventHeartbeat})
	for _, t := range sortedBy(f.tasks) {
		if t.pending != nil {
			c.send(f, mesos.Event{Type: mesos.EventUpdate, Update: &mesos.Update{Status: *t.pending}})
		}
	}
	c.openAll()
	c.changed()
}

// disconnect is a framework whose stream has ended.
func (c *core) disconnect(f *framework) {
	f.out, f.streamID, f.unregistered = nil, "", c.now
	f.deadline = c.now.Add(f.failover())
	c.recoverOffers(f)
	c.changed()
	c.log.Info("a framework disconnected", "framework", f.id, "failover", f.failover())
	if f.failover() == 0 {
		c.removeFramework(f, "Framework disconnected")
	}
}

// removeFramework ends a framework and all its tasks. What they use stays used
// until their workers have said that they ended.
func (c *core) removeFramework(f *framework, why string) {
	c.log.Info("a framework is removed", "framework", f.id, "because", why)
	c.recoverOffers(f)
	c.forgetFiltersOf(f.id, "")
	if f.out != nil {
		c.touch(f.out)
		f.out.last = true
		f.out = nil
	}
	hosts := map[string]*worker{}
	for _, t := range sortedBy(f.tasks) {
		if w := c.workers[t.worker]; w != nil {
			hosts[w.id] = w
		}
		t.set(mesos.TaskStatus{
			TaskID: t.info.TaskID, AgentID: &mesos.ID{Value: t.worker}, State: mesos.TaskKilled, Message: why,
			Source: mesos.SourceMaster, Reason: mesos.ReasonFrameworkRemoved, Timestamp: seconds(c.now),
		})
		f.complete(t)
	}
	for _, w := range sortedBy(hosts) {
		c.order(w, workerapi.Order{Type: workerapi.OrderShutdown, Shutdown: &workerapi.Shutdown{FrameworkID: mesos.ID{Value: f.id}}})
	}
	f.unregistered, f.streamID = c.now, ""
	delete(c.frameworks, f.id)
	delete(c.saved.Frameworks, f.id)
	c.removed = append(c.removed, f)
	c.saved.Removed = append(c.saved.Removed, f.id)
	if n := len(c.removed) - maxRemoved; n > 0 {
		c.removed = slices.Delete(c.removed, 0, n)
		c.saved.Removed = slices.Delete(c.saved.Removed, 0, max(0, len(c.saved.Removed)-maxRemoved))
	}
	c.save()
}

// complete moves a task to those that have ended.
func (f *framework) complete(t *task) {
	delete(f.tasks, t.info.TaskID.Value)
	if len(f.completed) >= maxCompleted {
		f.completed = slices.Delete(f.completed, 0, 1)
	}
	f.completed = append(f.completed, t)
}
