package shim

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// request is the one line of JSON that opens a connection to a shim. It is answered
// by a line with an error, or an empty one; then the connection is the port's, or
// frames of the command.
type request struct {
	Dial *dialRequest `json:"dial,omitempty"`
	Exec *ExecRequest `json:"exec,omitempty"`
}

type dialRequest struct {
	Port  int      `json:"port"`
	Hosts []string `json:"hosts,omitempty"` // tried before loopback
}

// ExecRequest is a command to run inside the task.
type ExecRequest struct {
	Argv []string `json:"argv"`
	Env  []string `json:"env,omitempty"` // beside the task's own
	Tty  bool     `json:"tty,omitempty"`
	Rows uint16   `json:"rows,omitempty"`
	Cols uint16   `json:"cols,omitempty"`
}

type answer struct {
	Error string `json:"error,omitempty"`
}

// Kinds of frames of a command: a byte of kind, four of length, the data.
const (
	FrameStdin  = 0 // no data ends it
	FrameStdout = 1
	FrameStderr = 2
	FrameExit   = 3 // the exit code in decimal; the last frame
	FrameResize = 4 // Size as JSON
)

// Size of a terminal.
type Size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

const (
	maxLine  = 1 << 20
	maxFrame = 1 << 20
)

func writeLine(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// readLine reads no byte too many: what follows is not ours.
func readLine(r io.Reader, v any) error {
	var line []byte
	b := make([]byte, 1)
	for len(line) < maxLine {
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		if b[0] == '\n' {
			return json.Unmarshal(line, v)
		}
		line = append(line, b[0])
	}
	return errors.New("the line is too long")
}

// frames writes frames, one at a time.
type frames struct {
	mu sync.Mutex
	w  io.Writer
}

func (f *frames) send(kind byte, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	frame := make([]byte, 5, 5+len(data))
	frame[0] = kind
	binary.BigEndian.PutUint32(frame[1:], uint32(len(data))) //nolint:gosec // data is a buffer of ours
	_, err := f.w.Write(append(frame, data...))
	return err
}

func readFrame(r io.Reader) (kind byte, data []byte, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("cannot read frame: %d bytes are too many", n)
	}
	data = make([]byte, n)
	_, err = io.ReadFull(r, data)
	return head[0], data, err
}
