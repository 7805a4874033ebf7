package master

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// maxQueued bounds what waits for one slow reader; more ends its stream.
const maxQueued = 16 << 20

// outbox is what a stream still has to carry. The engine stages records and
// commits them; the handler of the stream pumps them out.
type outbox struct {
	staged  []byte // these three are the engine's alone
	last    bool   // nothing comes after what is staged
	touched bool   // already in core.touched

	mu     sync.Mutex
	ready  []byte
	closed bool
	wake   chan struct{}
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

// stage adds a record. It tells whether there was room.
func (o *outbox) stage(record []byte) bool {
	o.mu.Lock()
	queued := len(o.ready)
	o.mu.Unlock()
	if o.last || queued+len(o.staged)+len(record) > maxQueued {
		return false
	}
	o.staged = append(o.staged, record...)
	return true
}

// commit hands what is staged to the pump.
func (o *outbox) commit() {
	o.touched = false
	o.mu.Lock()
	if len(o.ready) == 0 {
		o.ready, o.staged = o.staged, nil
	} else {
		o.ready = append(o.ready, o.staged...)
		o.staged = o.staged[:0]
	}
	o.closed = o.closed || o.last
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// discard ends the stream without what is still queued.
func (o *outbox) discard() {
	o.last, o.staged = true, nil
	o.mu.Lock()
	o.ready = nil
	o.mu.Unlock()
}

func (o *outbox) take() (records []byte, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	records, o.ready = o.ready, nil
	return records, o.closed
}

// pump writes until the engine ends the stream, the client goes, or it takes
// nothing for longer than patience.
func (o *outbox) pump(ctx context.Context, w http.ResponseWriter, patience time.Duration) error {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // a stream outlasts the server's time-outs
	for {
		records, closed := o.take()
		if len(records) > 0 {
			if err := control.SetWriteDeadline(time.Now().Add(patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
				return err
			}
			if _, err := w.Write(records); err != nil {
				return err
			}
			if err := control.Flush(); err != nil {
				return err
			}
		}
		if closed {
			return nil
		}
		if len(records) > 0 {
			continue
		}
		select {
		case <-o.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
