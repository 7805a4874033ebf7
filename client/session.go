package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"howdah.dev/howdah/api"
)

// LogOptions choose lines of logs.
type LogOptions struct {
	Nodes    []string // all where empty
	Services []string // all where empty; agent for the nodes' agents
	Since    time.Time
	Tail     int // last lines of each log; negative for all
	Follow   bool
	Previous bool // of the incarnation before the newest
}

// maxLine bounds one line of an answer, in bytes: a line of a log as JSON.
const maxLine = 1 << 20

// ClusterLogs yields lines of a cluster's logs, merged by time; with Follow until ctx
// ends or the last node's agent has gone.
func (c *Client) ClusterLogs(ctx context.Context, cluster string, o LogOptions) iter.Seq2[api.LogLine, error] {
	q := url.Values{
		"node": o.Nodes, "service": o.Services, "tail": {strconv.Itoa(max(o.Tail, -1))},
		"follow": {strconv.FormatBool(o.Follow)}, "previous": {strconv.FormatBool(o.Previous)},
	}
	if !o.Since.IsZero() {
		q.Set("since", o.Since.UTC().Format(time.RFC3339Nano))
	}
	return func(yield func(api.LogLine, error) bool) {
		resp, err := c.send(ctx, http.MethodGet, clusterPath(cluster, "/logs?", q.Encode()), "", nil)
		if err != nil {
			yield(api.LogLine{}, err)
			return
		}
		defer resp.Body.Close()
		sc := bufio.NewScanner(resp.Body)
		sc.Buffer(nil, maxLine)
		for sc.Scan() {
			var l api.LogLine
			err := json.Unmarshal(sc.Bytes(), &l)
			if !yield(l, err) || err != nil {
				return
			}
		}
		if err := sc.Err(); err != nil && ctx.Err() == nil {
			yield(api.LogLine{}, fmt.Errorf("%w: the log broke off: %w", ErrUnreachable, err))
		}
	}
}

// Exec is a command to run on a node.
type Exec struct {
	Argv     []string
	In       io.Reader // nothing where nil
	Out, Err io.Writer
	TTY      bool
	Term     string // kind of terminal
	Size     api.TerminalSize
	Resize   <-chan api.TerminalSize // changes of the size; may be nil
}

const (
	dialTime  = 30 * time.Second
	inputSize = 16 << 10
)

// Exec runs a command on a node and returns its exit code. When ctx ends, so does the
// command.
func (c *Client) Exec(ctx context.Context, cluster, node string, e Exec) (int, error) {
	q := url.Values{"arg": e.Argv}
	if e.TTY {
		q.Set("tty", "true")
		q.Set("term", e.Term)
		q.Set("rows", strconv.Itoa(int(e.Size.Rows)))
		q.Set("cols", strconv.Itoa(int(e.Size.Cols)))
	}
	opts := &websocket.DialOptions{HTTPClient: c.http, HTTPHeader: http.Header{}}
	if c.token != "" {
		opts.HTTPHeader.Set("Authorization", "Bearer "+c.token)
	}
	dial, done := context.WithTimeout(ctx, dialTime)
	socket, resp, err := websocket.Dial(dial, c.base+clusterPath(cluster, "/nodes/", url.PathEscape(node), "/exec?", q.Encode()), opts) //nolint:bodyclose // the library closes it
	done()
	if err != nil {
		return 0, refusal(ctx, resp, err)
	}
	defer func() { _ = socket.CloseNow() }() // it may be closed already
	socket.SetReadLimit(1 + api.MaxFrame)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go feed(ctx, socket, e.In)
	go resize(ctx, socket, e.Resize)
	for {
		_, data, err := socket.Read(ctx)
		if err != nil && ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if err != nil {
			return 0, fmt.Errorf("the command's connection ended, and the command with it: %w", err)
		}
		if len(data) == 0 {
			continue
		}
		switch data[0] {
		case api.FrameStdout:
			_, err = e.Out.Write(data[1:])
		case api.FrameStderr:
			_, err = e.Err.Write(data[1:])
		case api.FrameExit:
			return strconv.Atoi(string(data[1:]))
		case api.FrameError:
			return 0, errors.New(string(data[1:]))
		}
		if err != nil {
			return 0, err
		}
	}
}

// refusal is why a socket was not opened.
func refusal(ctx context.Context, resp *http.Response, err error) error {
	if resp == nil || resp.Body == nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 8<<10))
	p := &api.Problem{Status: resp.StatusCode, Title: resp.Status}
	if json.Unmarshal(text, p) != nil {
		p.Detail = strings.TrimSpace(string(text))
	}
	return p
}

// feed sends what is read to the command; an empty frame ends its input.
func feed(ctx context.Context, socket *websocket.Conn, in io.Reader) {
	if in == nil {
		in = strings.NewReader("")
	}
	buf := make([]byte, 1+inputSize)
	buf[0] = api.FrameStdin
	for {
		n, err := in.Read(buf[1:])
		if n > 0 && socket.Write(ctx, websocket.MessageBinary, buf[:1+n]) != nil {
			return
		}
		if err != nil {
			_ = socket.Write(ctx, websocket.MessageBinary, buf[:1]) // it may have ended
			return
		}
	}
}

func resize(ctx context.Context, socket *websocket.Conn, sizes <-chan api.TerminalSize) {
	for {
		select {
		case <-ctx.Done():
			return
		case size, ok := <-sizes:
			if !ok {
				return
			}
			data, err := json.Marshal(size)
			if err != nil || socket.Write(ctx, websocket.MessageBinary, append([]byte{api.FrameResize}, data...)) != nil {
				return
			}
		}
	}
}
