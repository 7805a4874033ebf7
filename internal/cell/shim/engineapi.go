package shim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// engineAPI makes the few calls that a shim needs of a Docker engine. A library for
// HTTP would double the size of every shim. The calls name no version of the API:
// they are alike in all, and the engine may be upgraded while a task runs.
type engineAPI struct{ socket string }

const (
	engineTime = 30 * time.Second // for an answer
	maxAnswer  = 4 << 20
)

// engineError is what the engine answers other than success.
type engineError struct {
	status int
	text   string
}

func (e *engineError) Error() string { return e.text }

// gone tells whether the engine knows no such container.
func gone(err error) bool {
	var e *engineError
	return errors.As(err, &e) && e.status == 404
}

// call makes a request and reads the answer into v, which may be nil. limit bounds the
// wait; 0 is none.
func (a engineAPI) call(method, path string, body, v any, limit time.Duration) error {
	conn, err := a.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if limit > 0 {
		_ = conn.SetDeadline(time.Now().Add(limit))
	}
	// Version 1.0 has the answer end with the connection, in one piece.
	r, err := a.ask(conn, method+" "+path+" HTTP/1.0\r\nHost: docker\r\n", body)
	if err != nil || v == nil {
		return err
	}
	if err := json.NewDecoder(io.LimitReader(r, maxAnswer)).Decode(v); err != nil {
		return fmt.Errorf("cannot understand the Docker engine: %w", err)
	}
	return nil
}

// open makes a request that turns the connection into a stream. What was read of it
// already is in the reader.
func (a engineAPI) open(path string, body any) (net.Conn, *bufio.Reader, error) {
	conn, err := a.dial()
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(engineTime))
	r, err := a.ask(conn, "POST "+path+" HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n", body)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, r, nil
}

func (a engineAPI) dial() (net.Conn, error) {
	conn, err := net.DialTimeout("unix", a.socket, engineTime)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the Docker engine: %w", err)
	}
	return conn, nil
}

// ask sends a request and reads the head of the answer.
func (a engineAPI) ask(conn net.Conn, head string, body any) (*bufio.Reader, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
		head += "Content-Type: application/json\r\n"
	}
	request := append([]byte(head+"Content-Length: "+strconv.Itoa(len(text))+"\r\n\r\n"), text...)
	if _, err := conn.Write(request); err != nil {
		return nil, fmt.Errorf("cannot ask the Docker engine: %w", err)
	}
	r := bufio.NewReader(conn)
	status, err := readHead(r)
	if err != nil {
		return nil, fmt.Errorf("cannot understand the Docker engine: %w", err)
	}
	if status >= 300 {
		return nil, &engineError{status, engineMessage(r, status)}
	}
	return r, nil
}

// readHead reads the status and skips the headers.
func readHead(r *bufio.Reader) (status int, err error) {
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case first:
			f := strings.Fields(string(line))
			if len(f) < 2 || !strings.HasPrefix(f[0], "HTTP/1.") {
				return 0, fmt.Errorf("it answers %q", line)
			}
			if status, err = strconv.Atoi(f[1]); err != nil {
				return 0, err
			}
		case len(line) == 0:
			return status, nil
		}
	}
}

// engineMessage takes the sentence out of an answer, which may be in pieces.
func engineMessage(r io.Reader, status int) string {
	text, _ := io.ReadAll(io.LimitReader(r, 64<<10))
	var m struct{ Message string }
	if i := bytes.IndexByte(text, '{'); i >= 0 && json.NewDecoder(bytes.NewReader(text[i:])).Decode(&m) == nil && m.Message != "" {
		return m.Message
	}
	return "the Docker engine answers with status " + strconv.Itoa(status)
}

// containerState is what the engine tells of a container.
type containerState struct {
	State struct {
		Running   bool
		OOMKilled bool
		Pid       int
		ExitCode  int
	}
}

func (a engineAPI) inspect(id string) (containerState, error) {
	var c containerState
	err := a.call("GET", "/containers/"+id+"/json", nil, &c, engineTime)
	return c, err
}

// remove ends the container if it runs, and removes it with what it wrote.
func (a engineAPI) remove(id string) error {
	err := a.call("DELETE", "/containers/"+id+"?force=1&v=1", nil, nil, engineTime)
	if gone(err) {
		return nil
	}
	return err
}

// Remove ends and removes the container, for a shim that was killed. One that is not
// there is no error.
func (e Engine) Remove() error {
	if err := (engineAPI{e.Socket}).remove(e.ID); err != nil {
		return fmt.Errorf("cannot remove the container from the Docker engine: %w", err)
	}
	return nil
}

// demux splits the stream of a container without a terminal: a byte of kind, three of
// nothing, four of length, the data.
func demux(r io.Reader, out, errs io.Writer) error {
	head := make([]byte, 8)
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return err
		}
		n := int64(head[4])<<24 | int64(head[5])<<16 | int64(head[6])<<8 | int64(head[7])
		to := out
		if head[0] == 2 {
			to = errs
		}
		if _, err := io.CopyN(to, r, n); err != nil {
			return err
		}
	}
}
