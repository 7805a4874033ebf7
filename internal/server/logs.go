package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/logline"
	"howdah.dev/howdah/internal/session"
	"howdah.dev/howdah/internal/store"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// LogsInput chooses lines of logs. It is exported because huma fills only exported fields.
type LogsInput struct {
	Named
	Node     []string  `query:"node,explode" doc:"Only of these nodes"`
	Service  []string  `query:"service,explode" doc:"Only of these services, and of what they ran once; agent for the nodes' agents; SERVICE/TASK for one such task"`
	Since    time.Time `query:"since" doc:"Lines written before are left out; a line without a time is as old as the one before it"`
	Tail     int       `query:"tail" default:"-1" minimum:"-1" maximum:"100000" doc:"At most so many of the last lines of each log; all where absent"`
	Follow   bool      `query:"follow" doc:"Go on with what comes, through rotation and restarts"`
	Previous bool      `query:"previous" doc:"Of the incarnation before the newest"`
	Accept   string    `header:"Accept" doc:"text/plain for lines as text with NODE/SERVICE in front; else application/x-ndjson"`
}

const (
	nodeQueue    = 64                     // lines of a node that are held for those of others
	nodePatience = 10 * time.Second       // for the next line of a node that has not said it is done
	together     = 250 * time.Millisecond // lines of several nodes that come within are put in order
	maxTogether  = 1000                   // lines
)

func (s *Server) logs(ctx context.Context, in *LogsInput) (func(*http.Request, http.ResponseWriter), error) {
	if in.Previous && in.Follow {
		return nil, fmt.Errorf("%w: an earlier incarnation has ended, nothing follows; leave away previous or follow", cluster.ErrInvalid)
	}
	targets, err := s.manager.Targets(ctx, in.Name, in.Node...)
	if err != nil {
		return nil, err
	}
	if err := knownServices(in, targets); err != nil {
		return nil, err
	}
	r := agentapi.SessionRequest{Kind: agentapi.SessionLogs, Logs: &agentapi.LogsRequest{
		Services: in.Service, Since: in.Since, Tail: in.Tail, Follow: in.Follow, Previous: in.Previous,
	}}
	return func(req *http.Request, w http.ResponseWriter) {
		ctx, cancel := context.WithCancel(req.Context())
		out := newLogWriter(w, strings.Contains(in.Accept, "text/plain"))
		var feeds sync.WaitGroup
		defer feeds.Wait()
		defer cancel()
		var nodes []*nodeLog
		for _, t := range targets {
			n := &nodeLog{target: t, lines: make(chan logItem, nodeQueue)}
			nodes = append(nodes, n)
			feeds.Go(func() {
				defer close(n.lines)
				n.read(ctx, s.manager, r)
			})
		}
		out.all(ctx, nodes)
	}, nil
}

// knownServices refuses a service that none of the nodes has.
func knownServices(in *LogsInput, targets []cluster.Target) error {
	have := []string{agentapi.LogAgent}
	for _, t := range targets {
		have = append(have, t.Services...)
	}
	slices.Sort(have)
	have = slices.Compact(have)
	for _, name := range in.Service {
		service, _, _ := strings.Cut(name, "/")
		if !slices.Contains(have, service) {
			return fmt.Errorf("service %s of cluster %s: %w; there is %s", name, in.Name, store.ErrNotFound, strings.Join(have, ", "))
		}
	}
	return nil
}

// logItem is a line of a node, or that what comes is new.
type logItem struct {
	line  api.LogLine
	ready bool
}

// nodeLog is the log of one node on its way.
type nodeLog struct {
	target cluster.Target
	lines  chan logItem // closed when no more comes
}

// read puts a node's lines into its channel, and why there are no more.
func (n *nodeLog) read(ctx context.Context, m *cluster.Manager, r agentapi.SessionRequest) {
	say := func(err error) {
		n.put(ctx, logItem{line: api.LogLine{Node: n.target.Name, Notice: true, Text: err.Error()}})
	}
	se, err := m.Open(ctx, n.target, r, 0)
	if err != nil {
		say(err)
		return
	}
	defer se.Close()
	defer context.AfterFunc(ctx, func() { se.End(context.Cause(ctx)) })()
	var rest []byte
	ready := false
	for {
		kind, data, err := se.Recv()
		switch {
		case err != nil && (!ready || r.Logs.Follow):
			say(fmt.Errorf("what it wrote from here on is not shown: %w", err))
			return
		case err != nil:
			return
		case kind == api.FrameError:
			say(fmt.Errorf("%s", data))
			return
		case kind == session.FrameReady:
			ready = true
			if !n.put(ctx, logItem{ready: true}) {
				return
			}
		case kind == session.FrameLines:
			if rest = n.putLines(ctx, append(rest, data...)); ctx.Err() != nil {
				return
			}
		}
	}
}

// putLines takes whole lines and returns what is left. A line that cannot be read is
// left out.
func (n *nodeLog) putLines(ctx context.Context, data []byte) (rest []byte) {
	for {
		line, after, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			return data
		}
		data = after
		var l api.LogLine
		if json.Unmarshal(line, &l) != nil {
			continue
		}
		l.Node = n.target.Name // whatever the agent says
		if !n.put(ctx, logItem{line: l}) {
			return nil
		}
	}
}

func (n *nodeLog) put(ctx context.Context, i logItem) bool {
	select {
	case n.lines <- i:
		return true
	case <-ctx.Done():
		return false
	}
}

// backlog yields the lines there were when the node was asked. A node that says
// nothing for long no longer holds up the others.
func (n *nodeLog) backlog(ctx context.Context) iter.Seq[api.LogLine] {
	return func(yield func(api.LogLine) bool) {
		for {
			t := time.NewTimer(nodePatience + session.Defaults.Dial)
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case i, ok := <-n.lines:
				t.Stop()
				if !ok || i.ready || !yield(i.line) {
					return
				}
			case <-t.C:
				yield(api.LogLine{Node: n.target.Name, Notice: true, Text: fmt.Sprintf("its agent has sent nothing for %s; its lines come when they come", nodePatience+session.Defaults.Dial)})
				return
			}
		}
	}
}

// later yields what comes after the backlog.
func (n *nodeLog) later(ctx context.Context) iter.Seq[api.LogLine] {
	return func(yield func(api.LogLine) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case i, ok := <-n.lines:
				if !ok || !i.ready && !yield(i.line) {
					return
				}
			}
		}
	}
}

// logWriter writes lines to a client.
type logWriter struct {
	w     io.Writer
	rc    *http.ResponseController
	plain bool
	buf   bytes.Buffer
}

func newLogWriter(w http.ResponseWriter, plain bool) *logWriter {
	kind := "application/x-ndjson"
	if plain {
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	return &logWriter{w: w, rc: http.NewResponseController(w), plain: plain}
}

// all writes the nodes' lines merged by time, then what comes.
func (o *logWriter) all(ctx context.Context, nodes []*nodeLog) {
	_ = o.rc.Flush() // the client sees that it has been heard
	var backlogs []iter.Seq[api.LogLine]
	for _, n := range nodes {
		backlogs = append(backlogs, n.backlog(ctx))
	}
	for l := range logline.Merge(earlierLine, backlogs...) {
		if !o.add(l) {
			return
		}
	}
	if o.flush() {
		o.rest(ctx, nodes)
	}
}

// rest writes lines as they come, until all nodes have ended; those that come
// together are put in order.
func (o *logWriter) rest(ctx context.Context, nodes []*nodeLog) {
	lines := make(chan api.LogLine)
	var feeds sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer feeds.Wait()
	defer cancel()
	for _, n := range nodes {
		feeds.Go(func() {
			for l := range n.later(ctx) {
				select {
				case lines <- l:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { feeds.Wait(); close(ended) }()
	var batch []api.LogLine
	var due <-chan time.Time
	for {
		done := false
		select {
		case <-ctx.Done():
			return
		case l := <-lines:
			batch = append(batch, l)
			if due == nil {
				due = time.After(together)
			}
			if len(batch) < maxTogether {
				continue
			}
		case <-due:
		case <-ended:
			done = true
		}
		due = nil
		slices.SortStableFunc(batch, func(a, b api.LogLine) int { return lineTime(a).Compare(lineTime(b)) })
		for _, l := range batch {
			if !o.add(l) {
				return
			}
		}
		batch = batch[:0]
		if !o.flush() || done {
			return
		}
	}
}

func (o *logWriter) add(l api.LogLine) bool {
	switch {
	case !o.plain:
		if json.NewEncoder(&o.buf).Encode(l) != nil {
			return true
		}
	case l.Notice:
		fmt.Fprintf(&o.buf, "%s  -- %s\n", source(l), l.Text)
	default:
		fmt.Fprintf(&o.buf, "%s  %s\n", source(l), l.Text)
	}
	return o.buf.Len() < api.MaxFrame || o.flush()
}

// source names where a line is from.
func source(l api.LogLine) string { return strings.TrimSuffix(l.Node+"/"+l.Service, "/") }

// flush writes what is held; false when the client has gone, or is too slow.
func (o *logWriter) flush() bool {
	if o.buf.Len() == 0 {
		return true
	}
	defer o.buf.Reset()
	_ = o.rc.SetWriteDeadline(time.Now().Add(slow)) // every listener of ours has them
	if _, err := o.w.Write(o.buf.Bytes()); err != nil {
		return false
	}
	return o.rc.Flush() == nil
}

func earlierLine(a, b api.LogLine) bool { return lineTime(a).Before(lineTime(b)) }

func lineTime(l api.LogLine) time.Time {
	if l.Time == nil {
		return time.Time{}
	}
	return *l.Time
}
