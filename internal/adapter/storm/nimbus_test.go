package storm

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// fakeNimbus answers each call with a frame recorded from a real nimbus 2.8.3
// (testdata/*.reply, made by TestRecord). It keeps the requests.
type fakeNimbus struct {
	t       *testing.T
	address string
	replies map[string]string // call → file

	mu       sync.Mutex
	requests map[string][]byte
}

func newFakeNimbus(t *testing.T, replies map[string]string) *fakeNimbus {
	l, err := net.Listen("tcp", "127.9.31.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeNimbus{t: t, address: l.Addr().String(), replies: replies, requests: map[string][]byte{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return f
}

// client returns a client of the fake whose every connection ends there,
// whatever address the recorded leader had.
func (f *fakeNimbus) client() *Client {
	return New(Config{
		Addresses: []string{f.address},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, f.address)
		},
	})
}

func (f *fakeNimbus) serve(conn net.Conn) {
	defer conn.Close()
	for {
		frame, err := readFrame(conn)
		if err != nil {
			return
		}
		name := callName(frame)
		f.mu.Lock()
		f.requests[name] = frame
		f.mu.Unlock()
		reply, err := os.ReadFile(filepath.Join("testdata", f.replies[name]))
		if err != nil {
			f.t.Errorf("no reply to %s: %v", name, err)
			return
		}
		conn.Write(addressed(reply, frame))
	}
}

func (f *fakeNimbus) request(call string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[call]
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, frame)
	return frame, err
}

// addressed gives a recorded answer the name and the number of the call.
func addressed(reply, call []byte) []byte {
	body := reply[4+12+len(callName(reply[4:])):]
	header := slices.Clone(call[:12+len(callName(call))])
	copy(header, reply[4:8]) // version, and whether it is an answer or an exception
	out := binary.BigEndian.AppendUint32(nil, uint32(len(header)+len(body)))
	return slices.Concat(out, header, body)
}

// callName reads the name out of a strict binary message: version and type,
// then the name's length and bytes.
func callName(frame []byte) string {
	n := binary.BigEndian.Uint32(frame[4:8])
	return string(frame[8 : 8+n])
}
