package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"howdah.dev/howdah/internal/agentapi"
)

// Config bounds what is open at a time.
type Config struct {
	All     int           // sessions
	PerNode int           // sessions of one node
	Dial    time.Duration // for an agent to dial back
}

// Defaults are the bounds of a server.
var Defaults = Config{All: 256, PerNode: 16, Dial: 10 * time.Second} //nolint:gochecknoglobals // a constant

var (
	// ErrTooMany is returned where another session would pass a bound.
	ErrTooMany = errors.New("too many sessions")
	// ErrNoAgent is returned where a node's agent is not connected, or goes before it dials.
	ErrNoAgent = errors.New("its agent is not connected to the server")
	// ErrNoAnswer is returned where an agent does not dial in time.
	ErrNoAnswer = errors.New("its agent does not answer")
	// ErrEnded is the end of a session by its agent, or by its connection.
	ErrEnded = errors.New("the agent's end of the session is gone")
	// ErrIdle is the end of a session in which nobody said anything.
	ErrIdle = errors.New("nothing was said")
)

// Broker joins those who wait for an agent with the agents that dial.
type Broker struct {
	cfg Config

	mu      sync.Mutex
	all     int
	nodes   map[string]int      // open or waiting, by node
	waiting map[string]*waiting // by session
}

// waiting is a session whose agent has not dialled.
type waiting struct {
	node string
	came chan *Session
	gone chan struct{} // closed when nobody waits any more
}

// NewBroker makes a broker.
func NewBroker(cfg Config) *Broker {
	return &Broker{cfg: cfg, nodes: map[string]int{}, waiting: map[string]*waiting{}}
}

// Agent is the way to a node's agent.
type Agent struct {
	Node string                             // id
	Name string                             // for people
	Ask  func(agentapi.SessionRequest) bool // puts a request into its watch stream; false when it has none
	Gone <-chan struct{}                    // closed when that stream ends
}

// Open asks an agent for a session and waits until it has dialled. The caller
// closes the session. idle ends it when no frame was seen for so long; 0 never.
func (b *Broker) Open(ctx context.Context, a Agent, r agentapi.SessionRequest, idle time.Duration) (*Session, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	r.ID = hex.EncodeToString(id[:])
	w := &waiting{node: a.Node, came: make(chan *Session), gone: make(chan struct{})}
	defer close(w.gone)
	if err := b.admit(r.ID, w, a.Name); err != nil {
		return nil, err
	}
	s, err := b.await(ctx, a, r, w)
	b.mu.Lock()
	delete(b.waiting, r.ID)
	b.mu.Unlock()
	if err != nil {
		b.leave(a.Node)
		return nil, fmt.Errorf("cannot open a session of %s with %s: %w", r.Kind, a.Name, err)
	}
	s.leave = sync.OnceFunc(func() { b.leave(a.Node) })
	s.start(idle)
	return s, nil
}

func (b *Broker) await(ctx context.Context, a Agent, r agentapi.SessionRequest, w *waiting) (*Session, error) {
	if !a.Ask(r) {
		return nil, ErrNoAgent
	}
	t := time.NewTimer(b.cfg.Dial)
	defer t.Stop()
	select {
	case s := <-w.came:
		return s, nil
	case <-a.Gone:
		return nil, ErrNoAgent
	case <-t.C:
		return nil, fmt.Errorf("%w: it was asked and did not dial back within %s", ErrNoAnswer, b.cfg.Dial)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// admit counts a session, unless there are too many.
func (b *Broker) admit(id string, w *waiting, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.nodes[w.node] >= b.cfg.PerNode:
		return fmt.Errorf("%w: %s has %d open, %d are allowed; end one, or try again later", ErrTooMany, name, b.nodes[w.node], b.cfg.PerNode)
	case b.all >= b.cfg.All:
		return fmt.Errorf("%w: the server has %d open, %d are allowed; choose fewer nodes, or try again later", ErrTooMany, b.all, b.cfg.All)
	}
	b.all++
	b.nodes[w.node]++
	b.waiting[id] = w
	return nil
}

func (b *Broker) leave(node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.nodes[node]--; b.nodes[node] == 0 {
		delete(b.nodes, node)
	}
}

// Len counts sessions that are open or waited for.
func (b *Broker) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all
}

// Serve answers an agent that dials: it hands the request to who waits for it, and
// returns when the session has ended. node is whose certificate the agent has.
func (b *Broker) Serve(rw http.ResponseWriter, r *http.Request, node, id string) {
	b.mu.Lock()
	w := b.waiting[id]
	if w != nil && w.node == node {
		delete(b.waiting, id) // a second dial finds nothing
	}
	b.mu.Unlock()
	if w == nil || w.node != node {
		http.Error(rw, "nobody waits for this session any more", http.StatusNotFound)
		return
	}
	rc := http.NewResponseController(rw)
	rw.Header().Set("Content-Type", "application/octet-stream")
	rw.WriteHeader(http.StatusOK)
	// An agent that has gone meanwhile came all the same: who waits is to know.
	_ = rc.Flush()
	s := &Session{rc: rc, done: make(chan struct{})}
	s.stream = NewStream(r.Body, flushing{rw, rc, s})
	select {
	case w.came <- s:
	case <-w.gone:
		return
	}
	select {
	case <-s.done:
	case <-r.Context().Done():
		s.End(ErrEnded)
	}
	// Nobody may write to rw after this function.
	s.writing.Lock()
	defer s.writing.Unlock()
}

// Session is the server's end of an open session.
type Session struct {
	stream *Stream
	rc     *http.ResponseController
	idle   time.Duration
	leave  func()

	writing sync.Mutex // held while the response is written
	mu      sync.Mutex
	timer   *time.Timer
	cause   error
	done    chan struct{}
}

func (s *Session) start(idle time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = idle
	if idle > 0 && s.cause == nil {
		s.timer = time.AfterFunc(idle, func() { s.End(fmt.Errorf("%w for %s", ErrIdle, idle)) })
	}
}

// Send sends a frame to the agent.
func (s *Session) Send(kind byte, data []byte) error {
	s.touch()
	if err := s.stream.Send(kind, data); err != nil {
		return s.because(err)
	}
	return nil
}

// Recv returns the agent's next frame. The error says why there is none: ErrEnded,
// ErrIdle, or what Close was called for.
func (s *Session) Recv() (kind byte, data []byte, err error) {
	kind, data, err = s.stream.Recv()
	if err != nil {
		return 0, nil, s.because(err)
	}
	s.touch()
	return kind, data, nil
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// End ends both directions, and those who wait in them, with a reason. It does not
// replace Close.
func (s *Session) End(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return
	}
	s.cause = cause
	if s.timer != nil {
		s.timer.Stop()
	}
	_ = s.rc.SetReadDeadline(time.Now()) // HTTP/2 has both
	_ = s.rc.SetWriteDeadline(time.Now())
	close(s.done) // last: then the request may end, and take its deadlines along
}

// Close ends the session; the agent's end sees it.
func (s *Session) Close() {
	s.End(io.ErrClosedPipe)
	s.leave()
}

// because turns the error of a direction into the reason of the session's end.
func (s *Session) because(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.cause != nil:
		return s.cause
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrEnded
	}
	return fmt.Errorf("%w: %w", ErrEnded, err)
}

func (s *Session) touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil && s.cause == nil {
		s.timer.Reset(s.idle)
	}
}

// flushing writes frames to the response, while there is one.
type flushing struct {
	w  io.Writer
	rc *http.ResponseController
	s  *Session
}

func (f flushing) Write(p []byte) (int, error) {
	f.s.writing.Lock()
	defer f.s.writing.Unlock()
	select {
	case <-f.s.done:
		return 0, io.ErrClosedPipe
	default:
	}
	n, err := f.w.Write(p)
	if err == nil {
		err = f.rc.Flush()
	}
	return n, err
}
