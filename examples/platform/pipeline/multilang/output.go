package multilang

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// bufferSize is how much may wait before it is written at once, in bytes.
const bufferSize = 64 << 10

// linger is how long a message may wait for company before it is written. One
// system call per acknowledgement would cost more than the counting itself.
const linger = time.Millisecond

const messageEnd = "\nend\n"

// Level is the severity of a log line, as Storm numbers it.
type Level int

// Storm's log levels.
const (
	LevelTrace Level = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
)

// Output sends commands to the worker. Messages are buffered and leave within
// about a millisecond. The methods may be called from any goroutine. The first
// failure to write is kept: every later call returns it.
type Output struct {
	w io.Writer

	mu      sync.Mutex
	before  func() error
	buf     []byte
	pending bool // a flush is scheduled
	err     error
}

func newOutput(w io.Writer) *Output {
	return &Output{w: w, buf: make([]byte, 0, bufferSize)}
}

// BeforeFlush has f called before queued messages leave, so that a bolt can
// store what it is about to acknowledge with one write for many tuples. f may
// run on any goroutine, one call at a time, and must not use the Output. Its
// failure keeps the messages back and is returned by every later call.
func (o *Output) BeforeFlush(f func() error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.before = f
}

// command is every message a bolt may send.
type command struct {
	Command     string   `json:"command"`
	ID          string   `json:"id,omitempty"`
	Anchors     []string `json:"anchors,omitempty"`
	Stream      string   `json:"stream,omitempty"`
	Tuple       []any    `json:"tuple,omitempty"`
	NeedTaskIDs *bool    `json:"need_task_ids,omitempty"`
	Message     string   `json:"msg,omitempty"`
	Level       *Level   `json:"level,omitempty"`
}

// Emit sends a tuple on the default stream. With anchors, the new tuple belongs
// to their trees: the spout sees them done only once the new one is done too.
func (o *Output) Emit(values []any, anchors ...Tuple) error {
	return o.EmitTo("", values, anchors...)
}

// EmitTo is Emit on a named stream.
func (o *Output) EmitTo(stream string, values []any, anchors ...Tuple) error {
	// Asking for the receivers' task ids would make the worker answer every
	// emit with a message of its own.
	no := false
	c := command{Command: "emit", Stream: stream, Tuple: values, NeedTaskIDs: &no}
	for _, a := range anchors {
		c.Anchors = append(c.Anchors, a.ID)
	}
	return o.send(c)
}

// Ack tells Storm that the tuple has been dealt with.
func (o *Output) Ack(t Tuple) error { return o.settle("ack", t.ID) }

// Fail asks for the tuple to be replayed.
func (o *Output) Fail(t Tuple) error { return o.settle("fail", t.ID) }

// Log writes a line into the worker's log.
func (o *Output) Log(level Level, format string, args ...any) error {
	return o.send(command{Command: "log", Message: fmt.Sprintf(format, args...), Level: &level})
}

// ReportError shows the message as the component's last error, which Storm
// keeps for whoever asks nimbus.
func (o *Output) ReportError(format string, args ...any) error {
	return o.send(command{Command: "error", Message: fmt.Sprintf(format, args...)})
}

// sync answers a heartbeat.
func (o *Output) sync() error {
	if err := o.send(command{Command: "sync"}); err != nil {
		return err
	}
	return o.flush()
}

// settle writes an ack or a fail. Tuple ids are decimal numbers, so they need
// no escaping and the general encoder can be spared on the hot path.
func (o *Output) settle(verb, id string) error {
	for i := range len(id) {
		if c := id[i]; c < ' ' || c == '"' || c == '\\' || c > '~' {
			return o.send(command{Command: verb, ID: id})
		}
	}
	var buf [96]byte
	b := append(buf[:0], `{"command":"`...)
	b = append(b, verb...)
	b = append(b, `","id":"`...)
	b = append(b, id...)
	b = append(b, `"}`...)
	return o.write(b)
}

func (o *Output) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode message: %w", err)
	}
	return o.write(b)
}

// write queues one message and sees to it that it leaves soon.
func (o *Output) write(message []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	if len(o.buf)+len(message)+len(messageEnd) > cap(o.buf) {
		if err := o.flushLocked(); err != nil {
			return err
		}
	}
	o.buf = append(append(o.buf, message...), messageEnd...)
	if !o.pending {
		o.pending = true
		time.AfterFunc(linger, func() { _ = o.flush() }) // the next write or the end says it again
	}
	return nil
}

// flush writes out what is queued.
func (o *Output) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pending = false
	return o.flushLocked()
}

func (o *Output) flushLocked() error {
	if o.err != nil || len(o.buf) == 0 {
		return o.err
	}
	if o.before != nil {
		if err := o.before(); err != nil {
			o.err = err
			return err
		}
	}
	if _, err := o.w.Write(o.buf); err != nil {
		o.err = fmt.Errorf("cannot write to the worker: %w", err)
		return o.err
	}
	o.buf = o.buf[:0]
	return nil
}
