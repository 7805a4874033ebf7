package marathon

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/scheduler"
)

const (
	// keptEvents is how many events a client may have missed and still get.
	keptEvents = 10_000
	// keptBytes is about how much these events may hold: some hold whole apps.
	keptBytes = 32 << 20
	// maxOutstanding is how many events may wait for a slow client before it is cut
	// off, as Marathon's event_stream_max_outstanding_messages.
	maxOutstanding = 1024
)

// Hub passes events on to those who listen, and keeps the newest for those who
// come back. Publishing never waits for anybody.
type Hub struct {
	epoch string // of this process: numbers begin anew with it

	mu        sync.Mutex
	ring      []*entry // by number; those before first are nil
	first     uint64   // number of the oldest that is kept
	last      uint64   // number of the newest
	bytes     int      // about what the kept ones hold
	listeners map[*listener]struct{}
	counts    map[string]int          // events by type
	states    map[mesos.TaskState]int // updates of tasks
}

// entry is one event; its text is made when the first listener wants it.
type entry struct {
	number uint64
	bytes  int // about
	event  scheduler.Event
	once   sync.Once
	text   []byte
	err    error
}

// listener is one client.
type listener struct {
	queue chan *entry     // closed when the client was too slow
	want  map[string]bool // types; none means all
	sees  func(scheduler.Event) bool
}

// NewHub returns a hub. epoch tells the numbers of this process from those of
// others.
func NewHub(epoch string) *Hub {
	return &Hub{epoch: epoch, first: 1, listeners: map[*listener]struct{}{}, counts: map[string]int{}, states: map[mesos.TaskState]int{}}
}

// Publish gives an event a number and passes it on.
func (h *Hub) Publish(ev scheduler.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	h.counts[ev.Type]++
	if state := ev.State(); state != "" {
		h.states[state]++
	}
	e := &entry{number: h.last, event: ev, bytes: weight(ev)}
	if len(h.ring) < keptEvents {
		h.ring = append(h.ring, nil)
	}
	h.bytes += e.bytes
	for h.last-h.first >= keptEvents || h.bytes > keptBytes && h.first < h.last {
		oldest := &h.ring[(h.first-1)%keptEvents]
		h.bytes -= (*oldest).bytes
		*oldest = nil
		h.first++
	}
	h.ring[(h.last-1)%keptEvents] = e
	for l := range h.listeners {
		l.offer(h, e)
	}
}

// weight is about how many bytes an event holds. Only those of calls hold an app;
// others name up to all of them.
func weight(ev scheduler.Event) int {
	size := 512
	if post, ok := ev.Body.(postEvent); ok {
		text, _ := json.Marshal(post.App) // what cannot be encoded is told to nobody
		return size + len(text)
	}
	for _, id := range ev.About() {
		size += 64 + len(id)
	}
	return size
}

// offer queues an event, or cuts the client off.
func (l *listener) offer(h *Hub, e *entry) {
	if !l.takes(e) {
		return
	}
	select {
	case l.queue <- e:
	default:
		delete(h.listeners, l)
		close(l.queue)
	}
}

// takes tells whether an event is for the client.
func (l *listener) takes(e *entry) bool {
	return (len(l.want) == 0 || l.want[e.event.Type]) && l.sees(e.event)
}

// join makes a listener of events of some types that its client may see. after is the id of the last event the client has; lost
// tells that some it has not are not kept any more.
func (h *Hub) join(after string, types []string, sees func(scheduler.Event) bool) (l *listener, missed []*entry, lost bool) {
	l = &listener{queue: make(chan *entry, maxOutstanding), want: map[string]bool{}, sees: sees}
	for _, t := range types {
		l.want[t] = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[l] = struct{}{}
	if after == "" {
		return l, nil, false
	}
	epoch, number, _ := strings.Cut(after, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || epoch != h.epoch || n > h.last || n+1 < h.first {
		return l, nil, true
	}
	for i := n + 1; i <= h.last; i++ {
		if e := h.ring[(i-1)%keptEvents]; l.takes(e) {
			missed = append(missed, e)
		}
	}
	return l, missed, false
}

func (h *Hub) leave(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, l)
}

// frame returns the event as SSE, with the line ends of Marathon's server.
func (e *entry) frame(epoch string) ([]byte, error) {
	e.once.Do(func() {
		body, err := encode(e.event)
		if err != nil {
			e.err = err
			return
		}
		e.text = fmt.Appendf(nil, "event: %s\r\ndata: %s\r\nid: %s-%d\r\n\r\n", e.event.Type, body, epoch, e.number)
	})
	return e.text, e.err
}
