package session

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"howdah.dev/howdah/api"
)

// Kinds of frames between server and agent, beside those of package api.
const (
	FrameLines byte = 6 // api.LogLine as JSON, one a line
	FrameReady byte = 7 // all that there was has been sent; what follows is new
	FramePing  byte = 8 // nothing; shows the one who sends whether the other is there
)

// header is a byte of kind and four of length.
const header = 5

// Stream is one end of a session. One goroutine may receive while others send.
type Stream struct {
	r *bufio.Reader

	mu sync.Mutex
	w  io.Writer
}

// NewStream makes a stream of two directions; each frame is one write to w.
func NewStream(r io.Reader, w io.Writer) *Stream {
	return &Stream{r: bufio.NewReaderSize(r, header+api.MaxFrame), w: w}
}

// Send sends a frame; data longer than api.MaxFrame goes in several of its kind.
func (s *Stream) Send(kind byte, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for first := true; first || len(data) > 0; first = false {
		n := min(len(data), api.MaxFrame)
		frame := make([]byte, header, header+n)
		frame[0] = kind
		binary.BigEndian.PutUint32(frame[1:], uint32(n)) //nolint:gosec // bounded above
		if _, err := s.w.Write(append(frame, data[:n]...)); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// Recv returns the next frame; io.EOF after the last. Pings are left out.
func (s *Stream) Recv() (kind byte, data []byte, err error) {
	for {
		var h [header]byte
		if _, err := io.ReadFull(s.r, h[:]); err != nil {
			return 0, nil, err
		}
		n := binary.BigEndian.Uint32(h[1:])
		if n > api.MaxFrame {
			return 0, nil, fmt.Errorf("cannot read a frame: it has %d bytes, %d are allowed", n, api.MaxFrame)
		}
		data = make([]byte, n)
		if _, err := io.ReadFull(s.r, data); err != nil {
			return 0, nil, err
		}
		if h[0] != FramePing {
			return h[0], data, nil
		}
	}
}

// Output returns a writer whose writes are frames of a kind.
func (s *Stream) Output(kind byte) io.Writer { return output{s, kind} }

type output struct {
	s    *Stream
	kind byte
}

func (o output) Write(p []byte) (int, error) {
	if len(p) == 0 { // no data would end an input
		return 0, nil
	}
	if err := o.s.Send(o.kind, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
