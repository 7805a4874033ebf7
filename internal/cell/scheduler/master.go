package scheduler

import (
	"context"
	"hash/fnv"
	"sync"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/mesos/v1client"
)

const (
	redialFirst = 100 * time.Millisecond
	redialMost  = 5 * time.Second
	senders     = 8           // calls under way at once
	onTheWay    = time.Minute // longer than a call takes, repeats included

	// frameworkRemoved is what masters say to a framework that was away for longer
	// than its failover time-out, or was torn down.
	frameworkRemoved = "Framework has been removed"
)

// connect keeps a subscription to the master.
func (e *Engine) connect(ctx context.Context) {
	pause := redialFirst
	for ctx.Err() == nil {
		begun := time.Now()
		err := e.subscription(ctx)
		if ctx.Err() != nil {
			return
		}
		e.cfg.Log.Warn("there is no connection to the master", "error", err)
		if time.Since(begun) > redialMost {
			pause = redialFirst
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, redialMost)
	}
}

// subscription is one connection, from its beginning to its end.
func (e *Engine) subscription(ctx context.Context) error {
	info := e.cfg.Framework
	e.View(func(v View) {
		if id, _ := v.Framework(); id != "" {
			info.ID = &mesos.ID{Value: id}
		}
	})
	stream, err := e.cfg.Master.Subscribe(ctx, mesos.Subscribe{FrameworkInfo: info})
	if err != nil {
		return err
	}
	defer stream.Close()
	e.calls.open(stream)
	defer e.calls.open(nil)
	defer e.tell(ctx, func(t *tx) { t.disconnected() })
	for {
		ev, err := stream.Next()
		if err != nil {
			return err
		}
		e.event(ctx, &ev)
	}
}

// event passes an event of the master to the writer.
func (e *Engine) event(ctx context.Context, ev *mesos.Event) {
	switch {
	case ev.Type == mesos.EventSubscribed && ev.Subscribed != nil:
		e.tell(ctx, func(t *tx) { t.subscribed(ev.Subscribed) })
	case ev.Type == mesos.EventOffers && ev.Offers != nil:
		e.tell(ctx, func(t *tx) { t.offers.add(ev.Offers.Offers) })
	case ev.Type == mesos.EventRescind && ev.Rescind != nil:
		e.tell(ctx, func(t *tx) { t.offers.remove(ev.Rescind.OfferID.Value) })
	case ev.Type == mesos.EventUpdate && ev.Update != nil:
		e.tell(ctx, func(t *tx) { t.status(&ev.Update.Status) })
	case ev.Type == mesos.EventError && ev.Error != nil:
		e.cfg.Log.Error("the master refuses this scheduler", "message", ev.Error.Message)
		if ev.Error.Message == frameworkRemoved {
			// What ran has been ended by the master. The next subscription is a new
			// framework's, and asks what became of it.
			_ = e.do(ctx, func(t *tx) error { t.meta[metaFramework] = ""; return nil }) // it ends: nobody needs it
		}
	}
}

// subscribed begins a new connection: what was offered before is void, and what
// happened meanwhile is asked for.
func (t *tx) subscribed(s *mesos.Subscribed) {
	id := s.FrameworkID.Value
	master := ""
	if s.MasterInfo != nil && s.MasterInfo.Address != nil {
		master = hostPort(s.MasterInfo.Address)
	}
	t.leader = &master
	if t.base.framework != id {
		t.meta[metaFramework] = id
		t.emit("scheduler_registered_event", registeredEvent{FrameworkID: id, Master: master})
	} else {
		t.emit("scheduler_reregistered_event", registeredEvent{Master: master})
	}
	t.offers.reset()
	t.ask(t.now)
	for _, i := range t.instances.all() {
		if i.KillAsked != nil {
			t.sendKill(i)
		}
	}
}

func (t *tx) disconnected() {
	t.offers.reset()
	t.emit("scheduler_disconnected_event", nil)
}

// outbox holds calls on their way to the master. It has no bound of its own:
// there is at most one launch, one kill and one acknowledgement per instance and
// status in it.
//
// Calls about one worker keep their order: a kill that overtakes the launch it is
// meant for would leave a task behind. So do those about all offers: a refusal
// that comes after the REVIVE would undo it.
type outbox struct {
	mu     sync.Mutex
	stream *v1client.Stream // nil without a connection
	lanes  [senders]lane
}

// lane is what one sender sends, in order.
type lane struct {
	queue []*mesos.Call
	more  chan struct{}
}

func newOutbox() *outbox {
	o := &outbox{}
	for n := range o.lanes {
		o.lanes[n].more = make(chan struct{}, 1)
	}
	return o
}

// laneOf returns the number of the lane of a call: the first one for those about
// no worker.
func laneOf(c *mesos.Call) int {
	var agent string
	switch {
	case c.Accept != nil && len(c.Accept.Operations) > 0 && len(c.Accept.Operations[0].Launch.TaskInfos) > 0:
		agent = c.Accept.Operations[0].Launch.TaskInfos[0].AgentID.Value
	case c.Kill != nil && c.Kill.AgentID != nil:
		agent = c.Kill.AgentID.Value
	case c.Acknowledge != nil:
		agent = c.Acknowledge.AgentID.Value
	default:
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(agent))
	return 1 + int(h.Sum32()%(senders-1))
}

// open sends through a new connection from now on. What was meant for an earlier
// one is dropped: reconciliation finds it again.
func (o *outbox) open(s *v1client.Stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stream = s
	for n := range o.lanes {
		o.lanes[n].queue = nil
	}
}

func (o *outbox) put(c *mesos.Call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stream == nil {
		return
	}
	l := &o.lanes[laneOf(c)]
	l.queue = append(l.queue, c)
	select {
	case l.more <- struct{}{}:
	default: // its sender is awake
	}
}

func (o *outbox) take(n int) (*v1client.Stream, *mesos.Call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := &o.lanes[n]
	if len(l.queue) == 0 {
		return nil, nil
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	return o.stream, c
}

// send carries calls to the master, those of different lanes at once.
func (e *Engine) send(ctx context.Context) {
	var wg sync.WaitGroup
	for n := range senders {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-e.calls.lanes[n].more:
				}
				for stream, c := e.calls.take(n); c != nil; stream, c = e.calls.take(n) {
					e.deliver(ctx, stream, c)
				}
			}
		})
	}
	wg.Wait()
}

// deliver makes one call. After one that failed nobody knows what the master makes
// of the offers and tasks it was about, or whether it sends offers at all: a new
// subscription has it take back all offers, and asks for all tasks. Workers repeat a
// status until it is acknowledged.
func (e *Engine) deliver(ctx context.Context, stream *v1client.Stream, c *mesos.Call) {
	if err := stream.Call(ctx, *c); err != nil && ctx.Err() == nil {
		e.cfg.Log.Warn("the master did not take a call", "call", c.Type, "error", err)
		if c.Type != mesos.CallAcknowledge {
			stream.Close()
		}
	}
}
