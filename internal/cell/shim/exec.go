package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// exec runs a command in the task and carries its input and output. When the worker
// hangs up, the command is killed.
func (s *shim) exec(c net.Conn, r ExecRequest) {
	if s.config.Engine != nil {
		s.execEngine(c, r)
		return
	}
	files, err := openExecFiles(r)
	if err == nil {
		defer files.close()
		var cmd *child
		if cmd, err = s.startExec(r, files.theirs); err == nil {
			files.theirs.close()
			if writeLine(c, answer{}) == nil {
				s.carry(c, cmd, files)
			}
			s.killExec(cmd)
			return
		}
		files.theirs.close()
	}
	_ = writeLine(c, answer{Error: err.Error()})
}

func (s *shim) startExec(r ExecRequest, files streams) (*child, error) {
	if s.config.Container == nil {
		cmd := *s.config.Command
		cmd.Argv = r.Argv
		cmd.Env = append(append([]string{}, r.Env...), cmd.Env...)
		return s.family.spawn(cmd, s.config.Cgroup, files, r.Tty)
	}
	args := []string{"exec"}
	if r.Tty {
		args = append(args, "--tty")
	}
	for _, e := range r.Env {
		args = append(args, "--env", e)
	}
	attr := runcAttr(files)
	if r.Tty {
		attr.Sys.Setctty = true
	}
	return s.family.start(s.runc(os.DevNull, append(append(args, s.config.ID), r.Argv...)...), attr)
}

// killExec ends a command that still runs, and what it started. The command is a
// child of runc, which could not pass a KILL on.
func (s *shim) killExec(cmd *child) {
	if cmd.ended() {
		return
	}
	for _, pid := range descendants(cmd.pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	s.family.signal(cmd, syscall.SIGKILL)
}

// carry copies until the command has ended or the worker hung up.
func (s *shim) carry(c net.Conn, cmd *child, files *execFiles) {
	out := &frames{w: c}
	var copied sync.WaitGroup
	for kind, f := range map[byte]*os.File{FrameStdout: files.stdout, FrameStderr: files.stderr} {
		if f != nil {
			copied.Go(func() { copyOut(out, kind, f) })
		}
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		copyIn(c, files)
	}()
	select {
	case <-cmd.done:
	case <-gone:
		return
	}
	all := make(chan struct{})
	go func() {
		copied.Wait()
		close(all)
	}()
	select { // what the command left running may hold its output open
	case <-all:
	case <-gone:
		return
	}
	_ = out.send(FrameExit, []byte(strconv.Itoa(cmd.code())))
}

func copyOut(out *frames, kind byte, f *os.File) {
	buf := make([]byte, 32<<10)
	for {
		n, err := f.Read(buf)
		if n > 0 && out.send(kind, buf[:n]) != nil {
			return
		}
		if err != nil { // of a terminal: EIO at its end
			return
		}
	}
}

// copyIn returns when the worker hangs up, whether or not the command reads.
func copyIn(c net.Conn, files *execFiles) {
	for {
		kind, data, err := readFrame(c)
		if err != nil {
			return
		}
		switch {
		case kind == FrameResize && files.tty:
			var size Size
			if json.Unmarshal(data, &size) == nil {
				_ = resize(files.stdin, size)
			}
		case kind == FrameStdin && len(data) == 0 && !files.tty:
			files.stdin.Close()
		case kind == FrameStdin && !feed(c, files.stdin, data):
			return
		}
	}
}

// unreadTime is how often it is seen whether the worker is there while a command does
// not read its input.
const unreadTime = time.Second

// input is a command's. A write may have to wait for the command.
type input interface {
	io.Writer
	SetWriteDeadline(t time.Time) error
}

// feed writes what the worker sent; false when the worker hung up meanwhile. What a
// command does not want any more is dropped.
func feed(c net.Conn, to input, data []byte) bool {
	for len(data) > 0 {
		_ = to.SetWriteDeadline(time.Now().Add(unreadTime))
		n, err := to.Write(data)
		data = data[n:]
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return true
		}
		if err != nil && hungUp(c) {
			return false
		}
	}
	return true
}

// hungUp tells whether the other side has closed a connection of which not all was
// read.
func hungUp(c net.Conn) bool {
	conn, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	var events int16
	_ = control(conn, func(fd int) error {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} //nolint:gosec // a descriptor is small
		_, err := unix.Poll(p, 0)
		events = p[0].Revents
		return err
	})
	return events&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

// control does something with a descriptor, and leaves it as it is: Fd of a file would
// make all reads and writes block.
func control(f syscall.Conn, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	err = raw.Control(func(fd uintptr) { done = do(int(fd)) })
	return errors.Join(err, done)
}

// execFiles are our ends of a command's files; of a terminal there is one.
type execFiles struct {
	stdin, stdout, stderr *os.File
	tty                   bool
	theirs                streams
}

func (e *execFiles) close() {
	for _, f := range []*os.File{e.stdin, e.stdout, e.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

func (s streams) close() {
	for _, f := range []*os.File{s.in, s.out, s.err} {
		if f != nil {
			f.Close()
		}
	}
}

func openExecFiles(r ExecRequest) (*execFiles, error) {
	if r.Tty {
		return openTerminal(Size{Rows: r.Rows, Cols: r.Cols})
	}
	var ends []*os.File
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			for _, f := range ends {
				f.Close()
			}
			return nil, fmt.Errorf("cannot make pipes for the command: %w", err)
		}
		ends = append(ends, r, w)
	}
	return &execFiles{
		stdin: ends[1], stdout: ends[2], stderr: ends[4],
		theirs: streams{in: ends[0], out: ends[3], err: ends[5]},
	}, nil
}

func openTerminal(size Size) (*execFiles, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open a terminal: %w", err)
	}
	var number int
	err = control(master, func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		return err
	})
	if err == nil && size.Rows > 0 {
		err = resize(master, size)
	}
	var slave *os.File
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, fmt.Errorf("cannot open a terminal: %w", err)
	}
	return &execFiles{stdin: master, stdout: master, tty: true, theirs: streams{in: slave, out: slave, err: slave}}, nil
}

func resize(terminal *os.File, size Size) error {
	return control(terminal, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
	})
}
