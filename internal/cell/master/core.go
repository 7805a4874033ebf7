package master

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

// core is everything the master knows. Only the engine's goroutine touches it; it
// does no input and no output, but for staging records for streams.
type core struct {
	cfg     *Config
	log     *slog.Logger
	now     time.Time // of the batch
	started time.Time

	saved   *saved
	dirty   bool      // saved is newer than the file
	touched []*outbox // with something staged
	version uint64    // counts changes that reads show

	frameworks map[string]*framework
	removed    []*framework // oldest first
	workers    map[string]*worker
	offers     map[string]*offer
	nextOffer  int
	filters    map[filterKey][]filter
	turn       uint64             // counts offers, for whose turn is next
	open       map[string]*worker // whose free resources may be worth an offer
	counts     counts
}

func newCore(cfg *Config, s *saved, now time.Time) *core {
	c := &core{
		cfg: cfg, log: cfg.Log, saved: s, now: now, started: now,
		frameworks: map[string]*framework{}, workers: map[string]*worker{}, offers: map[string]*offer{},
		filters: map[filterKey][]filter{}, open: map[string]*worker{}, counts: newCounts(),
	}
	for id, f := range s.Frameworks {
		c.frameworks[id] = c.recoverFramework(id, f)
	}
	for _, id := range s.Removed {
		c.removed = append(c.removed, &framework{id: id, tasks: map[string]*task{}})
	}
	for id, w := range s.Workers {
		c.workers[id] = c.recoverWorker(id, w)
	}
	return c
}

// changed says that reads show something else now.
func (c *core) changed() { c.version++ }

// save says that the file must be written before anything more is told.
func (c *core) save() { c.dirty = true; c.changed() }

func (c *core) touch(out *outbox) {
	if !out.touched {
		out.touched = true
		c.touched = append(c.touched, out)
	}
}

// record is one RecordIO record of v.
func record(v any) []byte {
	var b bytes.Buffer
	if err := mesos.WriteRecord(&b, v); err != nil {
		panic(fmt.Sprintf("cannot encode %T: %v", v, err)) // our own types, none of which can fail
	}
	return b.Bytes()
}

// send tells a framework something, if it is connected.
func (c *core) send(f *framework, event mesos.Event) {
	if f.out == nil {
		return
	}
	c.counts.add("messages_events")
	f.told = c.now
	c.touch(f.out)
	if !f.out.stage(record(event)) {
		c.log.Warn("a framework does not read its events", "framework", f.id)
		f.out.discard()
		c.disconnect(f)
	}
}

// order tells a worker something. It tells whether the worker is connected.
func (c *core) order(w *worker, order workerapi.Order) bool {
	if w.out == nil {
		return false
	}
	c.touch(w.out)
	if !w.out.stage(record(order)) {
		c.log.Warn("a worker does not read its orders", "worker", w.id)
		w.out.discard()
		c.loseStream(w)
		return false
	}
	return true
}

// tick looks at everything that time alone changes.
func (c *core) tick() {
	for _, f := range c.frameworks {
		switch {
		case f.out == nil && !f.deadline.IsZero() && !c.now.Before(f.deadline):
			c.removeFramework(f, "Framework failover timeout")
		case f.out != nil && c.now.Sub(f.told) >= c.cfg.Heartbeat:
			c.send(f, mesos.Event{Type: mesos.EventHeartbeat})
		}
	}
	for _, w := range c.workers {
		c.tickWorker(w)
	}
	c.forgetFilters()
	c.forgetWorkers()
}

func (c *core) tickWorker(w *worker) {
	switch {
	case w.state == recovering && c.now.Sub(c.started) >= c.cfg.Reregister,
		(w.state == connected || w.state == disconnected) && c.now.Sub(w.heard) >= c.cfg.Unreachable:
		c.unreachable(w)
	case w.state == connected && c.now.Sub(w.pinged) >= c.cfg.Ping:
		w.pinged = c.now
		c.order(w, workerapi.Order{Type: workerapi.OrderPing})
	}
}

// closeAll ends every stream, for the master stops.
func (c *core) closeAll() {
	for _, f := range c.frameworks {
		if f.out != nil {
			f.out.last = true
			f.out.commit()
		}
	}
	for _, w := range c.workers {
		if w.out != nil {
			w.out.last = true
			w.out.commit()
		}
	}
}

// sortedBy returns the values of a map in the order of their keys, so that what
// is done to many is done in the same order each time.
func sortedBy[V any](m map[string]V) []V {
	out := make([]V, 0, len(m))
	for _, k := range sortedKeys(m) {
		out = append(out, m[k])
	}
	return out
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}

func masterInfo(cfg *Config, id string) mesos.MasterInfo {
	ip, port := cfg.Address.Addr(), int(cfg.Address.Port())
	info := mesos.MasterInfo{
		ID: id, Port: port, Hostname: cfg.Hostname, Version: mesosVersion,
		PID:     "master@" + cfg.Address.String(),
		Address: &mesos.Address{Hostname: cfg.Hostname, IP: ip.String(), Port: port},
	}
	if ip.Is4() || ip.Is4In6() {
		four := ip.As4()
		info.IP = binary.LittleEndian.Uint32(four[:])
	}
	return info
}

func number(prefix string, n int, width int) string {
	text := strconv.Itoa(n)
	for len(text) < width {
		text = "0" + text
	}
	return prefix + text
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
