package sim

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// wire is one HTTP/2 connection that many agents share. It is spoken frame by
// frame here, because a client of net/http needs goroutines for each open
// stream: one goroutine reads for all agents of a connection, and an agent at
// rest costs a few hundred bytes.
type wire struct {
	conn net.Conn
	dead chan struct{} // closed when the connection has ended

	wmu    sync.Mutex // guards what is written, and the order of streams
	out    *bufio.Writer
	framer *http2.Framer
	pack   *hpack.Encoder
	packed bytes.Buffer
	next   uint32

	mu      sync.Mutex
	changed *sync.Cond // windows or streams
	window  int64      // what may be sent on the connection
	initial int64      // what may be sent on a new stream
	most    uint32     // streams at a time; 0 until the server has said
	streams map[uint32]*stream
	err     error // why it ended

	taken int // received since the window was renewed; the reader's own
}

// stream is one request under way.
type stream struct {
	id     uint32
	window int64
	status int
	taken  int
	buf    []byte
	// data is given all that has come and not been used, and returns what is left
	// of it; ended is called once. Both in the goroutine that reads.
	data  func(buf []byte) []byte
	ended func(status int, buf []byte, err error)
}

const (
	frameSize   = 16 << 10
	recvWindow  = 1 << 30
	renewWindow = 1 << 20
)

// newWire begins to speak on a connection; listen must be run.
func newWire(conn net.Conn) (*wire, error) {
	w := &wire{conn: conn, dead: make(chan struct{}), out: bufio.NewWriter(conn), next: 1, window: 65535, initial: 65535, streams: map[uint32]*stream{}}
	w.changed = sync.NewCond(&w.mu)
	w.framer = http2.NewFramer(w.out, bufio.NewReader(conn))
	w.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	w.pack = hpack.NewEncoder(&w.packed)
	_, err := io.WriteString(w.out, http2.ClientPreface)
	return w, errors.Join(err,
		w.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: recvWindow}),
		w.framer.WriteWindowUpdate(0, recvWindow), w.out.Flush())
}

// listen reads until the connection ends; then every stream has ended.
func (w *wire) listen() {
	err := w.read()
	w.conn.Close()
	w.mu.Lock()
	w.err = fmt.Errorf("the connection ended: %w", err)
	left := w.streams
	w.streams = map[uint32]*stream{}
	w.changed.Broadcast()
	w.mu.Unlock()
	close(w.dead)
	for _, s := range left {
		s.ended(0, nil, w.err)
	}
}

func (w *wire) read() error {
	for {
		f, err := w.framer.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if s := w.stream(f.StreamID); s != nil {
				if status := f.PseudoValue("status"); status != "" {
					s.status, _ = strconv.Atoi(status)
				}
				if f.StreamEnded() {
					w.finish(s, nil)
				}
			}
		case *http2.DataFrame:
			err = w.receive(f)
		case *http2.SettingsFrame:
			err = w.settings(f)
		case *http2.PingFrame:
			if !f.IsAck() {
				err = w.write(func() error { return w.framer.WritePing(true, f.Data) })
			}
		case *http2.WindowUpdateFrame:
			w.grow(f.StreamID, int64(f.Increment))
		case *http2.RSTStreamFrame:
			if s := w.stream(f.StreamID); s != nil {
				w.finish(s, fmt.Errorf("the stream was reset: %s", f.ErrCode))
			}
		case *http2.GoAwayFrame:
			return fmt.Errorf("the server goes away: %s", f.ErrCode)
		}
		if err != nil {
			return err
		}
	}
}

// write writes frames and sends them.
func (w *wire) write(frames func() error) error {
	w.wmu.Lock()
	defer w.wmu.Unlock()
	return errors.Join(frames(), w.out.Flush())
}

func (w *wire) stream(id uint32) *stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.streams[id]
}

// drop forgets a stream; false when it had ended already.
func (w *wire) drop(s *stream) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.streams[s.id] != s {
		return false
	}
	delete(w.streams, s.id)
	w.changed.Broadcast()
	return true
}

func (w *wire) finish(s *stream, err error) {
	if w.drop(s) {
		s.ended(s.status, s.buf, err)
	}
}

// receive takes data and renews the windows they use up.
func (w *wire) receive(f *http2.DataFrame) error {
	n := int(f.Length)
	w.taken += n
	s := w.stream(f.StreamID)
	var err error
	if s != nil {
		s.taken += n
		s.buf = append(s.buf, f.Data()...)
		if s.data != nil {
			if s.buf = s.data(s.buf); len(s.buf) == 0 {
				s.buf = nil
			}
		}
	}
	if w.taken >= renewWindow {
		err = w.write(func() error { return w.framer.WriteWindowUpdate(0, uint32(w.taken)) }) //nolint:gosec // a few MiB
		w.taken = 0
	}
	if s != nil && s.taken >= renewWindow {
		err = errors.Join(err, w.write(func() error { return w.framer.WriteWindowUpdate(s.id, uint32(s.taken)) })) //nolint:gosec // a few MiB
		s.taken = 0
	}
	if s != nil && f.StreamEnded() {
		w.finish(s, nil)
	}
	return err
}

func (w *wire) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	w.mu.Lock()
	if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
		for _, s := range w.streams {
			s.window += int64(v) - w.initial
		}
		w.initial = int64(v)
	}
	w.most = 1 << 20
	if v, ok := f.Value(http2.SettingMaxConcurrentStreams); ok {
		w.most = v
	}
	w.changed.Broadcast()
	w.mu.Unlock()
	return w.write(w.framer.WriteSettingsAck)
}

func (w *wire) grow(id uint32, by int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id == 0 {
		w.window += by
	} else if s := w.streams[id]; s != nil {
		s.window += by
	}
	w.changed.Broadcast()
}

// request begins a request and sends its body. From then on s hears of it, and
// not at all when there is an error.
func (w *wire) request(s *stream, path, node, contentType string, body []byte) error {
	if err := w.begin(s, path, node, contentType); err != nil {
		return err
	}
	for len(body) > 0 {
		n := w.reserve(s, len(body))
		if n == 0 {
			return nil // it has ended, and s has heard of it
		}
		chunk := body[:n]
		body = body[n:]
		if err := w.write(func() error { return w.framer.WriteData(s.id, len(body) == 0, chunk) }); err != nil {
			w.conn.Close() // the reader tells everybody
			return nil
		}
	}
	return nil
}

// begin sends a request's headers, when the server takes one more.
func (w *wire) begin(s *stream, path, node, contentType string) error {
	w.mu.Lock()
	for w.err == nil && uint32(len(w.streams)) >= w.most { //nolint:gosec // few
		w.changed.Wait()
	}
	w.mu.Unlock()
	w.wmu.Lock()
	defer w.wmu.Unlock()
	w.mu.Lock()
	if w.err != nil {
		defer w.mu.Unlock()
		return w.err
	}
	s.id, s.window = w.next, w.initial
	w.next += 2
	w.streams[s.id] = s
	w.mu.Unlock()
	w.packed.Reset()
	for _, h := range [][2]string{
		{":method", http.MethodPost},
		{":scheme", "http"},
		{":authority", "server"},
		{":path", path},
		{"content-type", contentType},
		{"connect-protocol-version", "1"},
	} {
		_ = w.pack.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}) // a buffer takes all
	}
	if node != "" {
		_ = w.pack.WriteField(hpack.HeaderField{Name: header, Value: node, Sensitive: true}) // not worth a place in the table
	}
	if err := w.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: w.packed.Bytes(), EndHeaders: true}); err != nil {
		w.conn.Close()
	}
	return nil // the body follows at once and is sent with it
}

// reserve waits until something may be sent on a stream, and returns how much;
// 0 when the stream has ended.
func (w *wire) reserve(s *stream, want int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if w.streams[s.id] != s {
			return 0
		}
		if n := min(int64(want), frameSize, w.window, s.window); n > 0 {
			w.window -= n
			s.window -= n
			return int(n)
		}
		w.changed.Wait()
	}
}

// cancel ends a stream from this side; s hears of it.
func (w *wire) cancel(s *stream, why error) {
	if w.drop(s) {
		_ = w.write(func() error { return w.framer.WriteRSTStream(s.id, http2.ErrCodeCancel) }) // a dead connection needs none
		s.ended(0, nil, why)
	}
}

// post sends a request and waits for the whole answer.
func (w *wire) post(ctx context.Context, path, node, contentType string, body []byte) (int, []byte, error) {
	type answer struct {
		status int
		buf    []byte
		err    error
	}
	got := make(chan answer, 1)
	s := &stream{ended: func(status int, buf []byte, err error) { got <- answer{status, buf, err} }}
	if err := w.request(s, path, node, contentType, body); err != nil {
		return 0, nil, err
	}
	select {
	case a := <-got:
		return a.status, a.buf, a.err
	case <-ctx.Done():
		w.cancel(s, context.Cause(ctx))
		a := <-got
		return a.status, a.buf, a.err
	}
}

// stream sends a request whose answer comes in pieces until ctx ends.
func (w *wire) open(ctx context.Context, path, node, contentType string, body []byte, data func([]byte) []byte, ended func(int, []byte, error)) {
	s := &stream{data: data}
	s.ended = ended
	if err := w.request(s, path, node, contentType, body); err != nil {
		ended(0, nil, err)
		return
	}
	context.AfterFunc(ctx, func() { w.cancel(s, context.Cause(ctx)) })
}
