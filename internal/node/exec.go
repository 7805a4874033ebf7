package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/creack/pty"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/node/proc"
	"howdah.dev/howdah/internal/session"
)

const (
	execGrace = 2 * time.Second // between asking what a session started to end and killing it
	execDrain = time.Second     // for output that is still on its way when a command has ended
	endOfText = 4               // what a terminal takes for the end of input
)

// command is a command of a session while it runs.
type command struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	tty  *os.File        // of our side; nil without
	done <-chan struct{} // closed when all output has been sent; nil where Wait does that
}

// exec runs a command with the session as its terminal, or as its input and output,
// in the environment of the node's services, in the node's directory. When either
// side ends, whatever the command started ends with it.
func (a *Agent) exec(ctx context.Context, st *caller, id string, r agentapi.ExecRequest) error {
	service := serviceSessions + "/" + id
	c, err := a.startCommand(st.Stream, service, r)
	if err != nil {
		return err
	}
	st.receive(c.take)
	ended := make(chan struct{})
	a.wg.Go(func() {
		select {
		case <-ended:
		case <-ctx.Done():
			a.sweepSession(ctx, service, execGrace)
		}
	})
	err = c.wait()
	close(ended)
	a.sweepSession(ctx, service, 0) // what it left in the background
	code, known := exitCode(c.cmd, err)
	if !known {
		return fmt.Errorf("cannot run %s: %w", r.Argv[0], err)
	}
	return st.Send(api.FrameExit, []byte(strconv.Itoa(code)))
}

func (a *Agent) startCommand(st *session.Stream, service string, r agentapi.ExecRequest) (*command, error) {
	if len(r.Argv) == 0 || r.Argv[0] == "" {
		return nil, errors.New("cannot run a command: none is given")
	}
	own := map[string]string{}
	if r.TTY && r.Term != "" {
		own["TERM"] = r.Term
	}
	env := append(proc.Labels{Node: a.nodeID(), Service: service, Incarnation: 1}.Env(), a.env(own)...)
	path, err := proc.LookPath(r.Argv[0], env)
	if err != nil {
		return nil, fmt.Errorf("cannot run %s: %w", r.Argv[0], err)
	}
	c := &command{cmd: &exec.Cmd{Path: path, Args: r.Argv, Env: env, Dir: a.cfg.Dir, WaitDelay: execDrain}}
	if r.TTY {
		err = c.startTerminal(st, r)
	} else {
		c.cmd.Stdout, c.cmd.Stderr = st.Output(api.FrameStdout), st.Output(api.FrameStderr)
		c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if c.in, err = c.cmd.StdinPipe(); err == nil {
			err = c.cmd.Start()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot run %s: %w", r.Argv[0], err)
	}
	return c, nil
}

// startTerminal starts the command on a terminal of its own, in a session of its own.
func (c *command) startTerminal(st *session.Stream, r agentapi.ExecRequest) error {
	tty, err := pty.StartWithSize(c.cmd, &pty.Winsize{Rows: r.Rows, Cols: r.Cols})
	if err != nil {
		return err
	}
	done := make(chan struct{})
	c.tty, c.in, c.done = tty, tty, done
	go func() {
		defer close(done)
		_, _ = io.Copy(st.Output(api.FrameStdout), tty) // it ends by an error when the terminal's other side is closed
	}()
	return nil
}

// wait waits until the command has ended and its output has been sent.
func (c *command) wait() error {
	err := c.cmd.Wait()
	if c.tty == nil {
		return err
	}
	t := time.NewTimer(execDrain) // somebody in the background may keep the terminal open
	defer t.Stop()
	select {
	case <-c.done:
	case <-t.C:
	}
	_ = c.tty.Close()
	<-c.done
	return err
}

// take brings the command what the other end says.
func (c *command) take(kind byte, data []byte) {
	switch {
	case kind == api.FrameResize && c.tty != nil:
		var size api.TerminalSize
		if json.Unmarshal(data, &size) == nil {
			_ = pty.Setsize(c.tty, &pty.Winsize{Rows: size.Rows, Cols: size.Cols}) // it may be closed
		}
	case kind == api.FrameStdin && len(data) == 0 && c.tty == nil:
		_ = c.in.Close()
	case kind == api.FrameStdin && len(data) == 0:
		_, _ = c.in.Write([]byte{endOfText})
	case kind == api.FrameStdin:
		_, _ = c.in.Write(data) // a command need not read its input
	}
}

// exitCode is how a command ended, as a shell tells it; false when it is unknown.
func exitCode(cmd *exec.Cmd, err error) (code int, known bool) {
	if err != nil && !errors.As(err, new(*exec.ExitError)) && !errors.Is(err, exec.ErrWaitDelay) || cmd.ProcessState == nil {
		return 0, false
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), true
	}
	return cmd.ProcessState.ExitCode(), true
}
