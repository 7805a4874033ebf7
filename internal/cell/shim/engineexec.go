package shim

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
)

// execState is what the engine tells of a command in a container.
type execState struct {
	Running  bool
	ExitCode int
	Pid      int
}

// execEngine has the engine run a command in the task and carries its input and
// output. When the worker hangs up, the command is killed.
func (s *shim) execEngine(c net.Conn, r ExecRequest) {
	id, conn, out, err := s.startExecEngine(r)
	if err != nil {
		_ = writeLine(c, answer{Error: err.Error()})
		return
	}
	defer conn.Close()
	if writeLine(c, answer{}) == nil && s.carryEngine(c, conn, out, id, r.Tty) {
		return
	}
	s.killExecEngine(id)
}

func (s *shim) startExecEngine(r ExecRequest) (string, net.Conn, io.Reader, error) {
	api := s.engine.api
	var made struct {
		ID string `json:"Id"`
	}
	err := api.call("POST", "/containers/"+s.engine.id+"/exec", map[string]any{
		"Cmd": r.Argv, "Env": r.Env, "Tty": r.Tty, "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
	}, &made, engineTime)
	if err != nil {
		return "", nil, nil, fmt.Errorf("cannot run the command: %w", err)
	}
	conn, out, err := api.open("/exec/"+made.ID+"/start", map[string]any{"Tty": r.Tty})
	if err != nil {
		return "", nil, nil, fmt.Errorf("cannot run the command: %w", err)
	}
	if r.Tty && r.Rows > 0 {
		s.resizeExec(made.ID, Size{Rows: r.Rows, Cols: r.Cols})
	}
	return made.ID, conn, out, nil
}

func (s *shim) resizeExec(id string, size Size) {
	_ = s.engine.api.call("POST", fmt.Sprintf("/exec/%s/resize?h=%d&w=%d", id, size.Rows, size.Cols), nil, nil, engineTime)
}

// carryEngine copies until the command has ended; false when the worker hung up first.
func (s *shim) carryEngine(c, conn net.Conn, r io.Reader, id string, tty bool) bool {
	out := &frames{w: c}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		s.copyInEngine(c, conn, id, tty)
	}()
	all := make(chan struct{})
	go func() {
		defer close(all)
		if tty {
			_, _ = io.Copy(frameWriter{out, FrameStdout}, r)
			return
		}
		_ = demux(r, frameWriter{out, FrameStdout}, frameWriter{out, FrameStderr})
	}()
	select {
	case <-all:
	case <-gone:
		return false
	}
	var state execState
	if s.engine.api.call("GET", "/exec/"+id+"/json", nil, &state, engineTime) != nil || state.Running {
		return false
	}
	_ = out.send(FrameExit, []byte(strconv.Itoa(state.ExitCode)))
	return true
}

// copyInEngine returns when the worker hangs up, whether or not the command reads.
func (s *shim) copyInEngine(c, conn net.Conn, id string, tty bool) {
	for {
		kind, data, err := readFrame(c)
		if err != nil {
			return
		}
		switch {
		case kind == FrameResize && tty:
			var size Size
			if json.Unmarshal(data, &size) == nil {
				s.resizeExec(id, size)
			}
		case kind == FrameStdin && len(data) == 0 && !tty:
			if half, ok := conn.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		case kind == FrameStdin && !feed(c, conn, data):
			return
		}
	}
}

// killExecEngine ends a command that still runs, and what it started. The engine has no
// call for that, but tells the process.
func (s *shim) killExecEngine(id string) {
	var state execState
	if s.engine.api.call("GET", "/exec/"+id+"/json", nil, &state, engineTime) != nil || !state.Running || state.Pid <= 1 || isOurs(state.Pid) != nil {
		return
	}
	for _, pid := range append(descendants(state.Pid), state.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// frameWriter writes frames of one kind.
type frameWriter struct {
	to   *frames
	kind byte
}

func (w frameWriter) Write(p []byte) (int, error) { return len(p), w.to.send(w.kind, p) }
