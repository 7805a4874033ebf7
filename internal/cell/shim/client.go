package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Client is the worker's side of a shim's control socket.
type Client struct {
	Dir string // the task's state directory
}

// open connects and makes a request.
func (c Client) open(ctx context.Context, r request) (net.Conn, error) {
	dir, err := os.Open(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the task: %w", err)
	}
	defer dir.Close()
	// The path of a socket may have 107 bytes only; that of the directory is longer.
	path := filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), ControlFile)
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the task: its shim does not answer: %w", errors.Unwrap(err))
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	var a answer
	if err = writeLine(conn, r); err == nil {
		err = readLine(conn, &a)
	}
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, nil
}

// Dial connects to a TCP port of the task: on the hosts given, which matter for a
// task without a network of its own, then on loopback.
func (c Client) Dial(ctx context.Context, port int, hosts ...string) (net.Conn, error) {
	return c.open(ctx, request{Dial: &dialRequest{Port: port, Hosts: hosts}})
}

// Session is a command that runs in the task.
type Session struct {
	conn net.Conn
	out  frames
}

// Exec starts a command in the task. It ends when the session is closed.
func (c Client) Exec(ctx context.Context, r ExecRequest) (*Session, error) {
	conn, err := c.open(ctx, request{Exec: &r})
	if err != nil {
		return nil, err
	}
	return &Session{conn: conn, out: frames{w: conn}}, nil
}

// Next returns the next frame; io.EOF after the last, which is FrameExit.
func (s *Session) Next() (kind byte, data []byte, err error) { return readFrame(s.conn) }

// Send sends a frame: FrameStdin or FrameResize.
func (s *Session) Send(kind byte, data []byte) error { return s.out.send(kind, data) }

// Close kills the command if it runs.
func (s *Session) Close() error { return s.conn.Close() }

// Run runs a command without input and returns its exit code and the first bytes of
// its output, at most limit.
func (c Client) Run(ctx context.Context, r ExecRequest, limit int) (code int, output []byte, err error) {
	s, err := c.Exec(ctx, r)
	if err != nil {
		return 0, nil, err
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	_ = s.Send(FrameStdin, nil)
	for {
		kind, data, err := s.Next()
		switch {
		case ctx.Err() != nil:
			return 0, output, context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return 0, output, errors.New("the task ended")
		case err != nil:
			return 0, output, err
		}
		switch kind {
		case FrameExit:
			code, err := strconv.Atoi(string(data))
			return code, output, err
		case FrameStdout, FrameStderr:
			output = append(output, data[:min(len(data), limit-len(output))]...)
		}
	}
}
