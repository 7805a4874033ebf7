package master

import (
	"fmt"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

// launch is a task that a framework wants started. problem is what its decoding
// found wrong with it.
type launch struct {
	info    mesos.TaskInfo
	problem string
}

// accept is an ACCEPT call after its decoding.
type accept struct {
	offers   []mesos.ID
	launches []launch
	filters  *mesos.Filters
}

// accept starts tasks with what offers hold. The offers are used up whatever
// happens.
func (c *core) accept(f *framework, a *accept) {
	c.counts.add("messages_accept_offers")
	offers, reason, why := c.offersFor(f, a.offers)
	if why != "" {
		for _, o := range offers {
			c.withdraw(o)
		}
		for _, l := range a.launches {
			s := mesos.TaskStatus{TaskID: l.info.TaskID, State: f.lostAs(mesos.TaskDropped), Reason: reason, Message: why}
			if l.info.AgentID.Value != "" {
				s.AgentID = &mesos.ID{Value: l.info.AgentID.Value}
			}
			c.tell(f, s)
		}
		return
	}
	w, role := offers[0].worker, offers[0].role
	var have mesos.Resources
	for _, o := range offers {
		have = have.Add(o.use)
	}
	for _, l := range a.launches {
		if f.out == nil {
			return // it does not read what it is told, and was cut off; its offers are gone
		}
		if reason, why := c.refuseTask(f, w, role, have, l); why != "" {
			c.tell(f, mesos.TaskStatus{
				TaskID: l.info.TaskID, AgentID: &mesos.ID{Value: w.id}, State: mesos.TaskError, Reason: reason, Message: why,
			})
			continue
		}
		have = have.Subtract(mesos.Resources(l.info.Resources).Allocate(""))
		c.launch(f, w, role, l.info)
	}
	for _, o := range offers {
		c.withdraw(o)
	}
	c.refuse(offers[0], have, a.filters)
	c.changed()
}

// offersFor finds the offers of an ACCEPT. With a why, those that are returned are
// only to be withdrawn.
func (c *core) offersFor(f *framework, ids []mesos.ID) (offers []*offer, reason, why string) {
	seen := map[string]bool{}
	for _, id := range ids {
		o := f.offers[id.Value]
		switch {
		case o == nil:
			why = fmt.Sprintf("Task launched with invalid offers: Offer %s is no longer valid", id.Value)
			continue
		case seen[id.Value]:
			why = fmt.Sprintf("Task launched with invalid offers: Duplicate offer %s in offer list", id.Value)
			continue
		case len(offers) > 0 && o.worker != offers[0].worker:
			why = fmt.Sprintf("Task launched with invalid offers: Aggregated offers must belong to one single agent. Offer %s uses agent %s and agent %s",
				id.Value, o.worker.id, offers[0].worker.id)
		case len(offers) > 0 && o.role != offers[0].role:
			why = fmt.Sprintf("Task launched with invalid offers: Aggregated offers must be allocated to the same role. Offer %s uses role %s and role %s",
				id.Value, o.role, offers[0].role)
		}
		seen[id.Value] = true
		offers = append(offers, o)
	}
	if why != "" {
		return offers, mesos.ReasonInvalidOffers, why
	}
	if len(offers) == 0 {
		return nil, mesos.ReasonInvalidOffers, "Task launched with invalid offers: No offers specified"
	}
	return offers, "", ""
}

// refuseTask says why a task cannot be launched.
func (c *core) refuseTask(f *framework, w *worker, role string, have mesos.Resources, l launch) (reason, why string) {
	err := validateTask(l, w.id, role)
	switch id := l.info.TaskID.Value; {
	case err != nil:
		return mesos.ReasonTaskInvalid, err.Error()
	case f.tasks[id] != nil || w.tasks[taskKey{f.id, id}] != nil:
		return mesos.ReasonTaskInvalid, "Task has duplicate ID: " + id
	}
	if want := mesos.Resources(l.info.Resources).Allocate("").Normal(); !have.Contains(want) {
		return mesos.ReasonTaskInvalid, fmt.Sprintf("Task uses more resources %s than available %s", want, have)
	}
	if c.cfg.Policy != nil {
		if err := c.cfg.Policy(f.info, l.info); err != nil {
			return mesos.ReasonTaskUnauthorized, err.Error()
		}
	}
	return "", ""
}

// launch sends a task to its worker.
func (c *core) launch(f *framework, w *worker, role string, info mesos.TaskInfo) {
	info.Resources = mesos.Resources(info.Resources).Allocate(role)
	t := newTask(f.id, w.id, info)
	t.set(mesos.TaskStatus{
		TaskID: info.TaskID, AgentID: &mesos.ID{Value: w.id}, State: mesos.TaskStaging,
		Source: mesos.SourceMaster, Timestamp: seconds(c.now),
	})
	f.tasks[info.TaskID.Value] = t
	w.take(t)
	c.counts.add("tasks_launched")
	if c.order(w, workerapi.Order{Type: workerapi.OrderLaunch, Launch: &workerapi.Launch{FrameworkID: mesos.ID{Value: f.id}, Task: info}}) {
		return
	}
	s := mesos.TaskStatus{
		TaskID: info.TaskID, AgentID: &mesos.ID{Value: w.id}, State: f.lostAs(mesos.TaskDropped),
		Reason: mesos.ReasonSlaveDisconnected, Message: "Agent " + w.info.Hostname + " is disconnected",
	}
	t.set(s)
	c.tell(f, s)
	c.finish(t)
}
