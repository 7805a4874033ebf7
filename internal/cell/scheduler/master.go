package scheduler

import (
	"context"
	"sync"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/mesos/v1client"
)

const (
	redialFirst = 100 * time.Millisecond
	redialMost  = 5 * time.Second
	senders     = 8 // calls under way at once
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
	}
}

// subscribed begins a new connection: what was offered before is void, and what
// happened meanwhile is asked for.
func (t *tx) subscribed(s *mesos.Subscribed) {
	id := s.FrameworkID.Value
	kind := "scheduler_reregistered_event"
	if t.base.framework != id {
		t.meta[metaFramework] = id
		kind = "scheduler_registered_event"
	}
	master := ""
	if s.MasterInfo != nil && s.MasterInfo.Address != nil {
		master = hostPort(s.MasterInfo.Address)
	}
	t.leader = &master
	t.emit(kind, registeredEvent{FrameworkID: id, Master: master})
	t.offers.reset()
	t.ask()
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

// ask asks for the state of every task.
func (t *tx) ask() {
	r := &mesos.Reconcile{}
	for _, i := range t.instances.all() {
		r.Tasks = append(r.Tasks, mesos.ReconcileTask{TaskID: mesos.ID{Value: i.TaskID()}, AgentID: &mesos.ID{Value: i.AgentID}})
	}
	if len(r.Tasks) > 0 {
		t.call(&mesos.Call{Type: mesos.CallReconcile, Reconcile: r})
	}
	t.call(&mesos.Call{Type: mesos.CallReconcile, Reconcile: &mesos.Reconcile{}}) // and those it knows and we do not
}

// reconcile asks for the state of every task from time to time.
func (e *Engine) reconcile(ctx context.Context) {
	tick := time.NewTicker(e.cfg.Reconcile)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			e.tell(ctx, func(t *tx) { t.ask() })
		}
	}
}

// outbox holds calls on their way to the master. It has no bound of its own:
// there is at most one launch, one kill and one acknowledgement per instance and
// status in it.
type outbox struct {
	mu     sync.Mutex
	stream *v1client.Stream // nil without a connection
	queue  []*mesos.Call
	more   chan struct{}
}

func newOutbox() *outbox { return &outbox{more: make(chan struct{}, senders)} }

// open sends through a new connection from now on. What was meant for an earlier
// one is dropped: reconciliation finds it again.
func (o *outbox) open(s *v1client.Stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stream, o.queue = s, nil
}

func (o *outbox) put(c *mesos.Call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stream == nil {
		return
	}
	o.queue = append(o.queue, c)
	select {
	case o.more <- struct{}{}:
	default: // every sender is awake
	}
}

func (o *outbox) take() (*v1client.Stream, *mesos.Call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return nil, nil
	}
	c := o.queue[0]
	o.queue = o.queue[1:]
	return o.stream, c
}

// send carries calls to the master, several at once: calls about different
// tasks and offers may overtake each other.
func (e *Engine) send(ctx context.Context) {
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-e.calls.more:
				}
				for stream, c := e.calls.take(); c != nil; stream, c = e.calls.take() {
					e.deliver(ctx, stream, c)
				}
			}
		})
	}
	wg.Wait()
}

func (e *Engine) deliver(ctx context.Context, stream *v1client.Stream, c *mesos.Call) {
	if err := stream.Call(ctx, *c); err != nil && ctx.Err() == nil {
		e.cfg.Log.Warn("the master did not take a call", "call", c.Type, "error", err)
	}
}
