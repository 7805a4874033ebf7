package shim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/cell/cgroup"
)

// engineTask is a task that an engine runs for us.
type engineTask struct {
	api engineAPI
	id  string

	mu    sync.Mutex
	stats cgroup.Stats // as last seen: the group ends with the container
	oom   bool
	lost  error // why the end is not known
}

// sampleTime is how often the figures of a task are read.
const sampleTime = time.Second

// startEngine has the engine start the container, opens its ports and gateways, and
// lets the command begin. The files are closed when the container has ended.
func (s *shim) startEngine(files streams) (*child, error) {
	e := &engineTask{api: engineAPI{s.config.Engine.Socket}, id: s.config.Engine.ID}
	s.engine = e
	conn, r, err := e.attach("1")
	if err != nil {
		files.close()
		return nil, fmt.Errorf("cannot attach to the container: %w", err)
	}
	said := make(chan string, gateLines)
	c := &child{done: make(chan struct{})}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		defer files.close()
		e.copy(r, conn, &handshake{to: files.out, said: said, left: gateLines}, files, c)
	}()
	if err := e.api.call("POST", "/containers/"+e.id+"/start", nil, nil, startTime); err != nil {
		conn.Close()
		close(c.done)
		return nil, fmt.Errorf("cannot start the container: %w", err)
	}
	// The engine may answer before the container's process is there.
	if err = heard(said, copied); err == nil {
		err = s.openGate(c, conn)
	}
	if err == nil {
		err = heard(said, copied)
	}
	if err != nil {
		_ = e.api.remove(e.id)
		conn.Close()
		if c.pid == 0 {
			close(c.done)
		}
		return nil, err
	}
	return c, nil
}

// openGate finds the container's first process, makes its surroundings what they should
// be, and lets the command begin.
func (s *shim) openGate(c *child, conn net.Conn) error {
	state, err := s.engine.api.inspect(s.engine.id)
	if err != nil {
		return fmt.Errorf("cannot find the container's process: %w", err)
	}
	pid := state.State.Pid
	if pid <= 1 {
		return fmt.Errorf("cannot find the container's process: it ended with %d", state.State.ExitCode)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("cannot watch the container's process: %w", err)
	}
	if err := isOurs(pid); err != nil {
		unix.Close(fd)
		return err
	}
	c.pid, c.pidfd = pid, fd
	go s.engine.await(c)
	go s.engine.sample(c)
	if err := checkVolumes(pid, s.config.Engine.Volumes); err != nil {
		return err
	}
	if n := s.config.Network; n != nil {
		if s.netns, err = joinNetns(pid); err != nil {
			return err
		}
		if err := openForwards(n, s.netns); err != nil {
			return err
		}
	}
	if _, err := conn.Write([]byte{'\n'}); err != nil {
		return fmt.Errorf("cannot let the command begin: %w", err)
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the command may have ended, and the stream with it
	}
	return nil
}

// isOurs sees that the process is the container's: it has our labels. An engine of
// another machine would name a stranger.
func isOurs(pid int) error {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return fmt.Errorf("cannot find the container's process: %w", err)
	}
	have := bytes.Split(text, []byte{0})
	for _, e := range os.Environ() {
		if bytes.HasPrefix([]byte(e), []byte("HOWDAH_")) && !slices.ContainsFunc(have, func(h []byte) bool { return string(h) == e }) {
			return errors.New("cannot find the container's process: the Docker engine runs it on another machine")
		}
	}
	return nil
}

// heard waits for a line of the gate.
func heard(said <-chan string, copied <-chan struct{}) error {
	var line string
	select {
	case line = <-said:
	case <-copied:
		select {
		case line = <-said:
		default:
		}
	case <-time.After(startTime):
	}
	var a answer
	if err := json.Unmarshal([]byte(line), &a); err != nil {
		return errors.New("cannot start the container: it ended before the command began")
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return nil
}

// handshake takes the first lines out of a stream: those of the gate.
type handshake struct {
	to   io.Writer
	said chan<- string // does not block
	left int
	text []byte
}

func (h *handshake) Write(p []byte) (int, error) {
	n := len(p)
	for h.left > 0 {
		before, after, found := bytes.Cut(p, []byte{'\n'})
		if h.text = append(h.text, before...); len(h.text) > maxLine {
			return 0, errors.New("the line is too long")
		}
		if !found {
			return n, nil
		}
		h.said <- string(h.text)
		h.left, h.text, p = h.left-1, nil, after
	}
	_, err := h.to.Write(p)
	return n, err
}

func (e *engineTask) attach(stdin string) (net.Conn, io.Reader, error) {
	return e.api.open("/containers/"+e.id+"/attach?stream=1&stdout=1&stderr=1&stdin="+stdin, nil)
}

// copy carries the container's output to its files, over an engine that goes away and
// comes back while its containers live on.
func (e *engineTask) copy(r io.Reader, conn net.Conn, out io.Writer, files streams, c *child) {
	for {
		_ = demux(r, out, files.err)
		conn.Close()
		for {
			select {
			case <-c.done:
				return
			case <-time.After(sampleTime):
			}
			var err error
			if conn, r, err = e.attach("0"); err == nil {
				go hangUp(conn, c) // the stream of a container that has ended does not end
				break
			}
		}
	}
}

// hangUp ends a stream a moment after its container.
func hangUp(conn net.Conn, c *child) {
	<-c.done
	time.Sleep(sampleTime)
	conn.Close()
}

// await asks the engine for the end of the task until it is known.
func (e *engineTask) await(c *child) {
	defer close(c.done)
	var since time.Time // the process has ended and the engine is silent
	for {
		var end struct{ StatusCode int }
		err := e.api.call("POST", "/containers/"+e.id+"/wait", nil, &end, 0)
		if err == nil {
			e.ended(c, end.StatusCode)
			return
		}
		alive := unix.PidfdSendSignal(c.pidfd, 0, nil, 0) == nil
		switch {
		case gone(err) && !alive:
			e.lost = errors.New("its container was removed from the Docker engine by others")
			return
		case alive:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > engineTime:
			e.lost = fmt.Errorf("its container has ended, and how is not known: %w", err)
			return
		}
		time.Sleep(sampleTime)
	}
}

// ended notes how the container ended. The engine tells a signal as 128 and its number.
func (e *engineTask) ended(c *child, code int) {
	c.status = syscall.WaitStatus(code << 8) //nolint:gosec // below 256
	if sig := code - 128; sig > 0 && sig < 32 {
		c.status = syscall.WaitStatus(sig) //nolint:gosec // below 32
	}
	if state, err := e.api.inspect(e.id); err == nil {
		e.oom = state.State.OOMKilled
	}
}

// sample reads the figures of the container's group while it is there.
func (e *engineTask) sample(c *child) {
	group, err := cgroup.Of("/sys/fs/cgroup", "/proc/"+strconv.Itoa(c.pid)+"/cgroup")
	if err != nil {
		return
	}
	for {
		stats := group.Stats()
		if stats.Pids > 0 || stats.CPU > 0 {
			e.mu.Lock()
			e.stats = stats
			e.mu.Unlock()
		}
		select {
		case <-c.done:
			return
		case <-time.After(sampleTime):
		}
	}
}

// finishEngine removes the container and notes what it used.
func (s *shim) finishEngine() {
	if err := s.config.Engine.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err) // the worker removes it when it can
	}
	e := s.engine
	if e == nil || s.task == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.exit.CPU, s.exit.MaxMemory, s.exit.Throttled = e.stats.CPU, e.stats.MaxMemory, e.stats.Throttled
	s.exit.OOMKilled, s.exit.Refused = e.oom || e.stats.OOMKills > 0, e.stats.Refused > 0
	if e.lost != nil {
		s.exit.Error = e.lost.Error()
	}
}

// checkVolumes sees that the engine mounted what was allowed: somebody may have put a
// symbolic link into a path since that was looked at.
func checkVolumes(pid int, volumes []EngineVolume) error {
	root, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot enter the container's files: %w", err)
	}
	defer unix.Close(root)
	for _, v := range volumes {
		wanted, err := identify(unix.AT_FDCWD, v.Path, unix.RESOLVE_NO_SYMLINKS)
		if err != nil {
			return fmt.Errorf("cannot mount the volume %s: %w", v.Path, err)
		}
		mounted, err := identify(root, v.Target, unix.RESOLVE_IN_ROOT)
		if err != nil {
			return fmt.Errorf("cannot mount the volume %s: %w", v.Path, err)
		}
		if mounted != wanted {
			return fmt.Errorf("cannot mount the volume %s: it was exchanged meanwhile", v.Path)
		}
	}
	return nil
}

type fileID struct{ device, inode uint64 }

func identify(dir int, path string, resolve uint64) (fileID, error) {
	fd, err := unix.Openat2(dir, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve})
	if err != nil {
		return fileID{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	return fileID{st.Dev, st.Ino}, err
}
