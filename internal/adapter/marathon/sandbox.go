package marathon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Worker is a worker of the cell.
type Worker struct {
	ID         string         `json:"id"`
	Host       string         `json:"hostname"`
	URL        string         `json:"url"` // of its own API
	Active     bool           `json:"active"`
	Attributes map[string]any `json:"attributes"`
	Resources  map[string]any `json:"resources"`
	Used       map[string]any `json:"used_resources"`
}

// Workers asks the cell's master, at its own address, for the workers.
func (c *Client) Workers(ctx context.Context, master string) ([]Worker, error) {
	var body struct{ Slaves []Worker }
	at := &Client{strings.TrimRight(master, "/"), c.token, c.http}
	err := at.Call(ctx, http.MethodGet, "/slaves", nil, nil, &body)
	return body.Slaves, err
}

// framework returns the scheduler's id at its master, which sandboxes are under.
func (c *Client) framework(ctx context.Context) (string, error) {
	var info struct {
		Framework string `json:"frameworkId"`
	}
	err := c.Call(ctx, http.MethodGet, "/v2/info", nil, nil, &info)
	if err == nil && info.Framework == "" {
		err = errors.New("the cell's scheduler has not found its master yet")
	}
	return info.Framework, err
}

// Place is where a task is, or was.
type Place struct {
	Framework, Task string
	Worker          string // URL
}

// Place finds the worker of a task.
func (c *Client) Place(ctx context.Context, master, agentID, task string) (Place, error) {
	framework, err := c.framework(ctx)
	if err != nil {
		return Place{}, err
	}
	workers, err := c.Workers(ctx, master)
	if err != nil {
		return Place{}, err
	}
	n := slices.IndexFunc(workers, func(w Worker) bool { return w.ID == agentID })
	if n < 0 {
		return Place{}, fmt.Errorf("the worker of task %s is not there any more", task)
	}
	return Place{framework, task, strings.TrimRight(workers[n].URL, "/")}, nil
}

// Log opens a file of a task's sandbox at its last lines; with follow it goes on
// until the task has ended.
func (c *Client) Log(ctx context.Context, p Place, file string, lines int, follow bool) (io.ReadCloser, error) {
	q := url.Values{"path": {"/frameworks/" + p.Framework + "/executors/" + p.Task + "/runs/latest/" + file}}
	q.Set("lines", strconv.Itoa(lines))
	q.Set("follow", strconv.FormatBool(follow))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Worker+"/files/tail?"+q.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := (&http.Client{Transport: c.http.Transport}).Do(req) // without a limit of time
	if err != nil {
		return nil, fmt.Errorf("cannot reach the worker: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, &Error{Status: resp.StatusCode, Message: fmt.Sprintf("task %s has no file %s (any more)", p.Task, file)}
	}
	return nil, &Error{Status: resp.StatusCode, Message: strings.TrimSpace(string(text))}
}

// Kinds of messages of a command in a task; they are those of the worker's API.
const (
	frameStdin  = 0
	frameStdout = 1
	frameStderr = 2
	frameExit   = 3
)

const (
	maxFrame  = 1 << 20
	inputSize = 16 << 10
	dialTime  = 30 * time.Second
)

// ExecIO is what a command in a task reads and writes.
type ExecIO struct {
	In       io.Reader
	Out, Err io.Writer
	TTY      bool
	Rows     int
	Cols     int
}

// Exec runs a command in a task and returns its exit code.
func (c *Client) Exec(ctx context.Context, p Place, argv []string, e ExecIO) (int, error) {
	q := url.Values{"framework": {p.Framework}, "task": {p.Task}, "arg": argv}
	if e.TTY {
		q.Set("tty", "true")
		q.Set("rows", strconv.Itoa(e.Rows))
		q.Set("cols", strconv.Itoa(e.Cols))
	}
	dial, cancel := context.WithTimeout(ctx, dialTime)
	opts := &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + c.token}}}
	socket, resp, err := websocket.Dial(dial, p.Worker+"/exec?"+q.Encode(), opts) //nolint:bodyclose // the library closes it
	cancel()
	if err != nil {
		if resp != nil && resp.Body != nil {
			text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
			return 0, &Error{Status: resp.StatusCode, Message: strings.TrimSpace(string(text))}
		}
		return 0, fmt.Errorf("cannot reach the worker: %w", err)
	}
	defer func() { _ = socket.CloseNow() }() // it may be closed already
	socket.SetReadLimit(maxFrame)
	ctx, cancel = context.WithCancel(ctx)
	defer cancel()
	go feed(ctx, socket, e.In)
	for {
		_, data, err := socket.Read(ctx)
		if closed, ok := errors.AsType[websocket.CloseError](err); ok && closed.Reason != "" {
			return 0, fmt.Errorf("cannot run the command: %s", closed.Reason)
		}
		if err != nil {
			return 0, fmt.Errorf("the command's connection ended: %w", err)
		}
		if len(data) == 0 {
			continue
		}
		switch data[0] {
		case frameStdout:
			_, err = e.Out.Write(data[1:])
		case frameStderr:
			_, err = e.Err.Write(data[1:])
		case frameExit:
			return strconv.Atoi(string(data[1:]))
		}
		if err != nil {
			return 0, err
		}
	}
}

// feed sends what is read to the command; an empty frame ends its input.
func feed(ctx context.Context, socket *websocket.Conn, in io.Reader) {
	if in == nil {
		in = strings.NewReader("")
	}
	buf := make([]byte, 1+inputSize)
	buf[0] = frameStdin
	for {
		n, err := in.Read(buf[1:])
		if n > 0 && socket.Write(ctx, websocket.MessageBinary, buf[:1+n]) != nil {
			return
		}
		if err != nil {
			_ = socket.Write(ctx, websocket.MessageBinary, []byte{frameStdin})
			return
		}
	}
}
