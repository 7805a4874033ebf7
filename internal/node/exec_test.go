package node

import (
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/session"
)

// open asks the agent for a session.
func (h *hub) open(r agentapi.SessionRequest) *session.Session {
	h.t.Helper()
	a := session.Agent{Node: h.node, Name: "n1", Ask: func(r agentapi.SessionRequest) bool { h.asks <- r; return true }}
	s, err := h.broker.Open(h.t.Context(), a, r, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(s.Close)
	return s
}

func (h *hub) exec(r agentapi.ExecRequest) *session.Session {
	h.t.Helper()
	return h.open(agentapi.SessionRequest{Kind: agentapi.SessionExec, Exec: &r})
}

// ended reads a command's output to its end; exit is its code, or why it has none.
func ended(t *testing.T, s *session.Session) (out, errs, exit string) {
	t.Helper()
	for {
		kind, data, err := s.Recv()
		if err != nil {
			t.Fatalf("it broke off: %v after %q %q", err, out, errs)
		}
		switch kind {
		case api.FrameStdout:
			out += string(data)
		case api.FrameStderr:
			errs += string(data)
		case api.FrameExit, api.FrameError:
			return out, errs, string(data)
		}
	}
}

// gone waits until nothing of a session runs any more.
func (h *hub) gone() {
	h.t.Helper()
	h.until("nothing of a session runs", func() bool {
		for _, p := range h.processes() {
			if strings.HasPrefix(p.Service, "session/") {
				return false
			}
		}
		return true
	})
}

// TestExec: a command has the node's environment and directory, its input and output
// byte for byte, and its exit code comes back.
func TestExec(t *testing.T) {
	h := newHub(t)
	h.agent()
	h.until("the agent watches", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.watches > 0 })
	for _, tt := range []struct {
		name, script, in, out, errs, exit string
	}{
		{"environment", `echo "$FROM_DRIVER $HOWDAH_NODE"; pwd`, "", "yes " + h.node + "\n" + h.dir + "\n", "", "0"},
		{"exit code", "echo no >&2; exit 7", "", "", "no\n", "7"},
		{"a signal", "kill -9 $$", "", "", "", "137"},
		{"bytes", "cat", "a\x00b\r\n\xff", "a\x00b\r\n\xff", "", "0"},
		{"much", "wc -c", strings.Repeat("x", 3<<20), "3145728\n", "", "0"},
		{"no terminal", "test -t 0 || echo none", "", "none\n", "", "0"},
		{"left in the background", "sleep 1000 & echo started", "", "started\n", "", "0"},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			s := h.exec(agentapi.ExecRequest{Argv: []string{"sh", "-c", tt.script}})
			for _, data := range []string{tt.in, ""} {
				for rest := data; ; {
					n := min(len(rest), api.MaxFrame)
					if n == 0 && data != "" {
						break
					}
					if err := s.Send(api.FrameStdin, []byte(rest[:n])); err != nil {
						break // it does not read
					}
					if rest = rest[n:]; rest == "" {
						break
					}
				}
			}
			out, errs, exit := ended(t, s)
			if out != tt.out || errs != tt.errs || exit != tt.exit {
				t.Errorf("it wrote %q and %q and ended with %q\nwant %q, %q, %q", out, errs, exit, tt.out, tt.errs, tt.exit)
			}
			s.Close()
			h.gone()
		})
	}
	s := h.exec(agentapi.ExecRequest{Argv: []string{"no-such-program"}})
	if _, _, why := ended(t, s); !strings.HasPrefix(why, "cannot run no-such-program: no such program in PATH (") {
		t.Error(why)
	}
}

// TestTerminal: on a terminal keys are what a person presses, the size is told, and a
// change of it too.
func TestTerminal(t *testing.T) {
	h := newHub(t)
	h.agent()
	h.until("the agent watches", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.watches > 0 })
	s := h.exec(agentapi.ExecRequest{
		Argv: []string{"sh", "-c", `test -t 0 && test -t 1 && echo "$TERM"; trap 'stty size' WINCH; stty size; while :; do read line && echo "got $line" && break; done; read line || echo end; exec sleep 1000`},
		TTY:  true, Term: "dumb", Rows: 40, Cols: 100,
	})
	text := ""
	until := func(want string) {
		t.Helper()
		for !strings.Contains(text, want) {
			kind, data, err := s.Recv()
			if err != nil || kind != api.FrameStdout {
				t.Fatalf("frame %d %q %v after %q, want %q", kind, data, err, text, want)
			}
			text += string(data)
		}
	}
	send := func(kind byte, data string) {
		t.Helper()
		if err := s.Send(kind, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	until("dumb\r\n40 100\r\n")
	send(api.FrameResize, `{"rows":41,"cols":101}`)
	until("41 101")
	send(api.FrameStdin, "hello\r")
	until("got hello")
	send(api.FrameStdin, "") // no more input: Ctrl-D
	until("end\r\n")
	send(api.FrameStdin, "\x03") // Ctrl-C
	if _, _, exit := ended(t, s); exit != "130" {
		t.Errorf("it ended with %s after Ctrl-C", exit)
	}
	h.gone()
}

// TestExecCallerGone: whatever a command does, nothing of it is left when the one who
// asked for it goes, also not what ignores signals, fled its session, or reads nothing.
func TestExecCallerGone(t *testing.T) {
	for name, script := range map[string]string{
		"on a terminal": "trap '' HUP TERM; echo ready; while :; do sleep 0.1; done",
		"with pipes":    "trap '' TERM; setsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' & echo ready; while :; do sleep 0.1; done",
		"a deaf one":    "echo ready; exec sleep 1000",
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			h := newHub(t)
			h.agent()
			h.until("the agent watches", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.watches > 0 })
			s := h.exec(agentapi.ExecRequest{Argv: []string{"sh", "-c", script}, TTY: name == "on a terminal"})
			if _, data, err := s.Recv(); !strings.HasPrefix(string(data), "ready") || err != nil {
				t.Fatal(string(data), err)
			}
			stuck := make(chan struct{})
			go func() {
				defer close(stuck)
				for name == "a deaf one" && s.Send(api.FrameStdin, make([]byte, api.MaxFrame)) == nil {
				}
			}()
			time.AfterFunc(100*time.Millisecond, s.Close) // meanwhile the deaf one's input fills up
			<-s.Done()
			<-stuck
			h.gone()
		})
	}
}

// TestExecAgentGone: an agent that ends takes its sessions along; one that is killed
// leaves that to the next.
func TestExecAgentGone(t *testing.T) {
	h := newHub(t)
	stop := h.agent()
	h.until("the agent watches", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.watches > 0 })
	s := h.exec(agentapi.ExecRequest{Argv: []string{"sh", "-c", "echo ready; sleep 1000"}})
	if _, data, err := s.Recv(); string(data) != "ready\n" || err != nil {
		t.Fatal(string(data), err)
	}
	if err := stop(); err == nil {
		t.Error("the agent ended without a reason")
	}
	if _, _, err := s.Recv(); err == nil {
		t.Error("the session goes on without its agent")
	}
	h.gone()
}
