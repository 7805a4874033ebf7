package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestFrames: what is sent arrives whole, in order, in pieces that are small enough.
func TestFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var wire bytes.Buffer
		out := session.NewStream(strings.NewReader(""), &wire)
		var sent []byte
		for range rapid.IntRange(0, 5).Draw(t, "writes") {
			data := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.SampledFrom([]int{0, 1, api.MaxFrame, api.MaxFrame + 1, 3 * api.MaxFrame}).Draw(t, "size"))
			sent = append(sent, data...)
			if err := out.Send(api.FrameStdout, data); err != nil {
				t.Fatal(err)
			}
			if err := out.Send(session.FramePing, nil); err != nil {
				t.Fatal(err)
			}
		}
		in := session.NewStream(&wire, io.Discard)
		var got []byte
		for {
			kind, data, err := in.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || kind != api.FrameStdout || len(data) > api.MaxFrame {
				t.Fatal(kind, len(data), err)
			}
			got = append(got, data...)
		}
		if !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes arrived, %d were sent", len(got), len(sent))
		}
	})
	_, _, err := session.NewStream(strings.NewReader("\x01\xff\xff\xff\xff"), io.Discard).Recv()
	if err == nil || err.Error() != "cannot read a frame: it has 4294967295 bytes, 65536 are allowed" {
		t.Error(err)
	}
}

// agents is a server with a broker, and agents that dial it as theirs do: over one
// HTTP/2 connection.
type agents struct {
	t      *testing.T
	broker *session.Broker
	http   *httptest.Server
	wg     sync.WaitGroup
	echo   func(st *session.Stream) // what an agent does in a session
	dials  bool
}

func newAgents(t *testing.T, cfg session.Config, do func(*session.Stream)) *agents {
	a := &agents{t: t, broker: session.NewBroker(cfg), echo: do, dials: true}
	a.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.broker.Serve(w, r, r.Header.Get("Node"), path.Base(r.URL.Path))
	}))
	a.http.EnableHTTP2 = true
	a.http.StartTLS()
	t.Cleanup(func() {
		a.http.Client().CloseIdleConnections()
		a.http.Close()
		a.wg.Wait()
		if n := a.broker.Len(); n != 0 {
			t.Errorf("%d sessions are still counted", n)
		}
	})
	return a
}

// dial is the agent's side of a session; it returns the status of the answer.
func (a *agents) dial(ctx context.Context, node, id string) int {
	in, out := io.Pipe()
	defer out.Close()
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, a.http.URL+"/"+id, in)
	req.Header.Set("Node", node)
	resp, err := a.http.Client().Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		a.echo(session.NewStream(resp.Body, out))
		out.Close()
		_, _ = io.Copy(io.Discard, resp.Body) // until the server has heard it, too
	}
	return resp.StatusCode
}

func (a *agents) agent(ctx context.Context, node string) session.Agent {
	return session.Agent{Node: node, Name: node, Ask: func(r agentapi.SessionRequest) bool {
		if a.dials {
			a.wg.Go(func() { a.dial(ctx, node, r.ID) })
		}
		return true
	}}
}

// echo sends back what it gets until the other side ends.
func echo(st *session.Stream) {
	for {
		kind, data, err := st.Recv()
		if err != nil || st.Send(kind, data) != nil {
			return
		}
	}
}

var exec = agentapi.SessionRequest{Kind: agentapi.SessionExec}

// TestManySessions: sessions side by side do not mix, and leave nothing behind.
func TestManySessions(t *testing.T) {
	a := newAgents(t, session.Config{All: 40, PerNode: 10, Dial: time.Minute}, echo)
	var clients sync.WaitGroup
	for i := range 40 {
		clients.Go(func() {
			s, err := a.broker.Open(t.Context(), a.agent(t.Context(), fmt.Sprint("n", i%4)), exec, time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for n := range 20 {
				want := strings.Repeat(fmt.Sprint(i, " ", n, " "), 50*n)
				if err := s.Send(api.FrameStdin, []byte(want)); err != nil {
					t.Error(err)
					return
				}
				if kind, data, err := s.Recv(); err != nil || kind != api.FrameStdin || string(data) != want {
					t.Errorf("session %d: %d bytes, want %d: %v", i, len(data), len(want), err)
					return
				}
			}
		})
	}
	clients.Wait()
}

// TestBounds: how many sessions there may be is said; one that ends makes room.
func TestBounds(t *testing.T) {
	a := newAgents(t, session.Config{All: 3, PerNode: 2, Dial: time.Minute}, echo)
	open := func(node string) (*session.Session, error) {
		return a.broker.Open(t.Context(), a.agent(t.Context(), node), exec, 0)
	}
	var have []*session.Session
	for _, node := range []string{"n1", "n1", "n2"} {
		s, err := open(node)
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, s)
	}
	if _, err := open("n1"); !errors.Is(err, session.ErrTooMany) || err.Error() != "too many sessions: n1 has 2 open, 2 are allowed; end one, or try again later" {
		t.Error(err)
	}
	if _, err := open("n3"); !errors.Is(err, session.ErrTooMany) || err.Error() != "too many sessions: the server has 3 open, 3 are allowed; choose fewer nodes, or try again later" {
		t.Error(err)
	}
	have[0].Close()
	have[0].Close() // counts once
	s, err := open("n3")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(have[1:], s) {
		s.Close()
	}
}

// TestNoAgent: who is not there, goes, or does not answer is said at once, or in time.
func TestNoAgent(t *testing.T) {
	a := newAgents(t, session.Config{All: 3, PerNode: 2, Dial: 50 * time.Millisecond}, echo)
	a.dials = false
	deaf := a.agent(t.Context(), "n1")
	if _, err := a.broker.Open(t.Context(), deaf, exec, 0); !errors.Is(err, session.ErrNoAnswer) ||
		err.Error() != "cannot open a session of exec with n1: its agent does not answer: it was asked and did not dial back within 50ms" {
		t.Error(err)
	}
	gone := deaf
	gone.Ask = func(agentapi.SessionRequest) bool { return false }
	if _, err := a.broker.Open(t.Context(), gone, exec, 0); !errors.Is(err, session.ErrNoAgent) ||
		err.Error() != "cannot open a session of exec with n1: its agent is not connected to the server" {
		t.Error(err)
	}
	going := deaf
	ended := make(chan struct{})
	going.Gone = ended
	close(ended)
	if _, err := a.broker.Open(t.Context(), going, exec, 0); !errors.Is(err, session.ErrNoAgent) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.broker.Open(ctx, deaf, exec, 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// deaf is the answer to an agent that has gone.
type deaf struct{ http.ResponseWriter }

func (deaf) FlushError() error { return errors.New("the stream is closed") }

// TestGoneAtOnce: an agent that goes before its dial is answered has come; what it said
// is heard, and then that it has gone.
func TestGoneAtOnce(t *testing.T) {
	b := session.NewBroker(session.Config{All: 1, PerNode: 1, Dial: time.Minute})
	var said bytes.Buffer
	if err := session.NewStream(nil, &said).Send(api.FrameStdout, []byte("last words")); err != nil {
		t.Fatal(err)
	}
	ctx, cut := context.WithCancel(t.Context())
	cut()
	var served sync.WaitGroup
	s, err := b.Open(t.Context(), session.Agent{Node: "n1", Name: "n1", Ask: func(r agentapi.SessionRequest) bool {
		served.Go(func() {
			b.Serve(deaf{httptest.NewRecorder()}, httptest.NewRequestWithContext(ctx, http.MethodPost, "/", &said), "n1", r.ID)
		})
		return true
	}}, exec, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, data, err := s.Recv(); string(data) != "last words" || err != nil {
		t.Errorf("%q %v", data, err)
	}
	if _, _, err := s.Recv(); !errors.Is(err, session.ErrEnded) {
		t.Error(err)
	}
	s.Close()
	served.Wait()
}

// TestStrangers: a session is for the node it was asked of, and once.
func TestStrangers(t *testing.T) {
	a := newAgents(t, session.Config{All: 3, PerNode: 2, Dial: time.Minute}, echo)
	ids := make(chan string, 1)
	to := session.Agent{Node: "n1", Name: "n1", Ask: func(r agentapi.SessionRequest) bool { ids <- r.ID; return true }}
	opened := make(chan *session.Session)
	go func() {
		s, err := a.broker.Open(t.Context(), to, exec, 0)
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	id := <-ids
	if got := a.dial(t.Context(), "n2", id); got != http.StatusNotFound {
		t.Errorf("another node gets %d", got)
	}
	if got := a.dial(t.Context(), "n1", "0123"); got != http.StatusNotFound {
		t.Errorf("an unknown session gets %d", got)
	}
	a.wg.Go(func() { a.dial(t.Context(), "n1", id) })
	s := <-opened
	if got := a.dial(t.Context(), "n1", id); got != http.StatusNotFound {
		t.Errorf("a second dial gets %d", got)
	}
	s.Close()
}

// TestEnds: either side's end is the other's, and so is silence.
func TestEnds(t *testing.T) {
	t.Run("the agent's", func(t *testing.T) {
		a := newAgents(t, session.Config{All: 1, PerNode: 1, Dial: time.Minute}, func(st *session.Stream) { _ = st.Send(api.FrameStdout, []byte("last words")) })
		s, err := a.broker.Open(t.Context(), a.agent(t.Context(), "n1"), exec, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, data, err := s.Recv(); string(data) != "last words" || err != nil {
			t.Errorf("%q %v", data, err)
		}
		if _, _, err := s.Recv(); !errors.Is(err, session.ErrEnded) {
			t.Error(err)
		}
	})
	t.Run("the agent's connection", func(t *testing.T) {
		a := newAgents(t, session.Config{All: 1, PerNode: 1, Dial: time.Minute}, echo)
		s, err := a.broker.Open(t.Context(), a.agent(t.Context(), "n1"), exec, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		a.http.CloseClientConnections()
		if _, _, err := s.Recv(); !errors.Is(err, session.ErrEnded) {
			t.Error(err)
		}
	})
	t.Run("ours", func(t *testing.T) {
		saw := make(chan error, 1)
		a := newAgents(t, session.Config{All: 1, PerNode: 1, Dial: time.Minute}, func(st *session.Stream) { _, _, err := st.Recv(); saw <- err })
		s, err := a.broker.Open(t.Context(), a.agent(t.Context(), "n1"), exec, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if err := <-saw; err == nil {
			t.Error("the agent saw no end")
		}
		if err := s.Send(api.FrameStdin, nil); err == nil {
			t.Error("a closed session can be written to")
		}
	})
	t.Run("silence", func(t *testing.T) {
		a := newAgents(t, session.Config{All: 1, PerNode: 1, Dial: time.Minute}, echo)
		s, err := a.broker.Open(t.Context(), a.agent(t.Context(), "n1"), exec, 20*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, _, err := s.Recv(); !errors.Is(err, session.ErrIdle) || err.Error() != "nothing was said for 20ms" {
			t.Error(err)
		}
	})
}

// TestStuckAgent: an agent that reads nothing keeps nobody who closes the session.
func TestStuckAgent(t *testing.T) {
	free := make(chan struct{})
	a := newAgents(t, session.Config{All: 1, PerNode: 1, Dial: time.Minute}, func(*session.Stream) { <-free })
	s, err := a.broker.Open(t.Context(), a.agent(t.Context(), "n1"), exec, 0)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for s.Send(api.FrameStdin, make([]byte, api.MaxFrame)) == nil {
		}
	})
	time.Sleep(20 * time.Millisecond) // so that it is likely stuck; it must end either way
	s.Close()
	wg.Wait()
	close(free)
}
