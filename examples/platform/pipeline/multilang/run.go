package multilang

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// Setup is the handshake: what the worker tells a bolt before the first tuple.
type Setup struct {
	Conf    map[string]any `json:"conf"`   // the topology's configuration
	PIDDir  string         `json:"pidDir"` // where a file named after our process id must appear
	Context Context        `json:"context"`
}

// Context says where in the topology the bolt is.
type Context struct {
	TaskID    int    `json:"taskid"`
	Component string `json:"componentid"`
}

// Tuple is one message of the topology.
type Tuple struct {
	ID        string `json:"id"`
	Component string `json:"comp"`
	Stream    string `json:"stream"`
	Task      int    `json:"task"`
	Values    []any  `json:"tuple"` // as encoding/json decodes them
}

// IsTick reports whether the tuple is the clock of
// topology.tick.tuple.freq.secs rather than data.
func (t Tuple) IsTick() bool { return t.Component == "__system" && t.Stream == "__tick" }

func (t Tuple) isHeartbeat() bool { return t.Stream == "__heartbeat" && t.Task == -1 }

// Bolt is what a program supplies. Its methods are called one at a time. An
// error from either is shown as the component's last error and ends [Run]; the
// worker then dies and is restarted, and unacknowledged tuples are replayed.
type Bolt interface {
	// Prepare is called once, before the first tuple.
	Prepare(setup Setup, out *Output) error
	// Execute deals with one tuple and should Ack or Fail it, now or later.
	// Ticks are passed too; they should be acknowledged like any other.
	Execute(t Tuple, out *Output) error
}

// Run serves the worker on the other end of r and w until r closes, which is
// how a worker ends a bolt and no error.
func Run(b Bolt, r io.Reader, w io.Writer) error {
	in, out := newInput(r), newOutput(w)
	err := run(b, in, out)
	if err != nil {
		err = errors.Join(err, out.ReportError("%v", err))
	}
	return errors.Join(err, out.flush())
}

func run(b Bolt, in *input, out *Output) error {
	setup, err := handshake(in, out)
	if err != nil {
		return fmt.Errorf("cannot shake hands with the worker: %w", err)
	}
	if err := b.Prepare(setup, out); err != nil {
		return fmt.Errorf("cannot prepare bolt: %w", err)
	}
	for {
		message, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read from the worker: %w", err)
		}
		if err := dispatch(b, message, out); err != nil {
			return err
		}
	}
}

func handshake(in *input, out *Output) (Setup, error) {
	var s Setup
	message, err := in.next()
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(message, &s); err != nil {
		return s, err
	}
	// The worker finds leftovers of a dead predecessor by these files.
	pid := os.Getpid()
	if s.PIDDir != "" {
		f, err := os.Create(filepath.Join(s.PIDDir, strconv.Itoa(pid)))
		if err != nil {
			return s, err
		}
		f.Close()
	}
	if err := out.send(map[string]int{"pid": pid}); err != nil {
		return s, err
	}
	return s, out.flush()
}

func dispatch(b Bolt, message []byte, out *Output) error {
	if len(message) > 0 && message[0] == '[' {
		return nil // task ids, which we never ask for
	}
	var t Tuple
	if err := json.Unmarshal(message, &t); err != nil {
		return fmt.Errorf("cannot decode tuple: %w", err)
	}
	if t.isHeartbeat() {
		return out.sync()
	}
	return b.Execute(t, out)
}
