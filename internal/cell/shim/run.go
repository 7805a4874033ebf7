package shim

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/cell/cgroup"
)

// Main is the program: "run DIR" is a shim; the rest it starts itself, or has an engine
// start.
func Main(args []string) int {
	switch {
	case len(args) > 1 && args[0] == gateVerb:
		return gate(args[1:])
	case len(args) == 2 && args[0] == "run":
		return run(args[1])
	case len(args) == 1 && args[0] == "trampoline":
		return trampoline()
	case len(args) == 1 && args[0] == "hold":
		for { // not select{}: the runtime would take that for a deadlock, and end
			_ = syscall.Pause()
		}
	}
	fmt.Fprintln(os.Stderr, "howdah-shim is started by a worker of a cell: howdah-shim run DIR")
	return 2
}

// notifyFD takes one byte once the task has started or will not.
const notifyFD = 3

// settle is how long the processes of an ended task may take to vanish.
const settle = 10 * time.Second

type shim struct {
	dir    string
	config Config
	family *family
	netns  *netns   // nil: the task shares the host's network
	users  *os.File // the container's user namespace, nil without one
	lock   *os.File // held while we live

	task    *child
	engine  *engineTask // nil unless an engine runs the task
	started Started
	exit    Exit
	logs    sync.WaitGroup
	asked   chan os.Signal
	alone   bool // told to end by others than the worker
}

func run(dir string) int {
	debug.SetGCPercent(50) // small rather than fast
	debug.SetMemoryLimit(16 << 20)
	unix.CloseOnExec(notifyFD)
	s := &shim{dir: dir, asked: make(chan os.Signal, 4)}
	signal.Notify(s.asked, syscall.SIGTERM, syscall.SIGINT)
	// Handled, to no effect, rather than ignored: a task would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1,
		syscall.SIGUSR2, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	if err := s.prepare(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	err := s.start()
	if err == nil {
		notify()
		s.wait()
		s.finish()
	} else {
		s.exit.Error = err.Error()
		s.clean()
	}
	s.exit.EndedAt = time.Now()
	if err := Write(".", ExitFile, s.exit, true); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	notify()
	return 0
}

func notify() {
	_, _ = syscall.Write(notifyFD, []byte{1})
	_ = syscall.Close(notifyFD)
}

func (s *shim) prepare() error {
	if err := os.Chdir(s.dir); err != nil {
		return fmt.Errorf("cannot enter the task's state: %w", err)
	}
	if err := s.claim(); err != nil {
		return err
	}
	if err := Read(".", ConfigFile, &s.config); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot reap the task's processes: %w", err)
	}
	s.family = newFamily()
	return nil
}

// claim takes the lock of the state directory for as long as the shim lives. A
// worker that came back and found no shim has taken it and written an exit.
func (s *shim) claim() error {
	lock, err := os.OpenFile(LockFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		return fmt.Errorf("cannot claim the task: %w", err)
	}
	if _, err := os.Stat(ExitFile); err == nil {
		return errors.New("cannot claim the task: it has ended")
	}
	self, err := readStat(os.Getpid())
	if err != nil {
		return fmt.Errorf("cannot read our own state: %w", err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("cannot read the boot id: %w", err)
	}
	s.lock = lock
	return Write(".", SelfFile, Self{BootID: strings.TrimSpace(string(boot)), PID: os.Getpid(), StartTicks: self.startTicks}, false)
}

// start brings up what the task needs, then the task.
func (s *shim) start() error {
	s.exit.StartedAt = time.Now()
	if err := s.makeNamespaces(); err != nil {
		return err
	}
	// The network of an engine's container is there only once that has started.
	if n := s.config.Network; n != nil && s.config.Engine == nil {
		if err := openForwards(n, s.netns); err != nil {
			return err
		}
	}
	files, err := s.outputs()
	if err != nil {
		return err
	}
	switch {
	case s.config.Engine != nil:
		s.task, err = s.startEngine(files)
	case s.config.Container != nil:
		s.task, err = s.startContainer(files)
		files.close()
	default:
		if s.task, err = s.family.spawn(*s.config.Command, s.config.Cgroup, files, false); err == nil {
			s.family.forget()
		}
		files.close()
	}
	if err != nil {
		return err
	}
	s.started = Started{PID: s.task.pid, At: time.Now()}
	if st, err := readStat(s.task.pid); err == nil {
		s.started.StartTicks = st.startTicks
	}
	s.exit.StartedAt = s.started.At
	if err := s.serveControl(); err != nil {
		fmt.Fprintln(os.Stderr, err) // the task runs; only its checks will fail
	}
	return Write(".", StartedFile, s.started, false)
}

// outputs opens the log files and pipes that lead to them.
func (s *shim) outputs() (streams, error) {
	sandbox, err := os.OpenRoot(s.config.Sandbox)
	if err != nil {
		return streams{}, fmt.Errorf("cannot open the sandbox: %w", err)
	}
	in, err := os.Open(os.DevNull)
	if err != nil {
		return streams{}, err
	}
	pipes := make([]*os.File, 2)
	for i, name := range []string{"stdout", "stderr"} {
		log, err := openLog(sandbox, name, s.config.Logs)
		if err != nil {
			return streams{}, err
		}
		out, err := newOutput(log, &s.logs)
		if err != nil {
			return streams{}, err
		}
		pipes[i] = out.writer
	}
	return streams{in: in, out: pipes[0], err: pipes[1]}, nil
}

// wait waits for the end of the task, and ends it in order when asked to.
func (s *shim) wait() {
	var kill <-chan time.Time
	var deadline time.Time
	for {
		select {
		case <-s.task.done:
			return
		case <-kill:
			s.end()
			kill = time.After(time.Second) // again, should something have slipped through
		case <-s.asked:
			k := Kill{Grace: s.config.Grace}
			if Read(".", KillFile, &k) != nil {
				s.alone = true // no worker asks: there is none any more
			}
			by := time.Now().Add(k.Grace)
			// The first request stands; a later one may only shorten the time.
			if !s.exit.Killed {
				s.exit.Killed = true
				s.term()
			} else if by.After(deadline) {
				continue
			}
			deadline = by
			kill = time.After(max(0, k.Grace))
		}
	}
}

func (s *shim) term() {
	s.family.signal(s.task, syscall.SIGTERM)
	s.family.signal(s.task, syscall.SIGCONT)
	if !s.config.KillTree {
		return
	}
	root := os.Getpid()
	if s.config.Command == nil {
		root = s.task.pid
	}
	for _, pid := range descendants(root) {
		if pid != s.task.pid {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
}

// end kills the task: a container dies with its first process, of a command also
// the others are sought.
func (s *shim) end() {
	s.family.signal(s.task, syscall.SIGKILL)
	if s.config.Command != nil && s.config.Cgroup != nil {
		_ = s.config.Cgroup.Kill(settle)
	}
}

// finish says how the task ended, once nothing of it is left.
func (s *shim) finish() {
	status := s.task.status
	if status.Signaled() {
		s.exit.Signal = int(status.Signal())
	} else {
		s.exit.ExitCode = status.ExitStatus()
	}
	s.clean()
	drained := make(chan struct{})
	go func() {
		s.logs.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-time.After(settle):
	}
	usage := s.task.usage
	if s.exit.CPU == 0 {
		s.exit.CPU = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	if s.exit.MaxMemory == 0 {
		s.exit.MaxMemory = usage.Maxrss << 10
	}
}

// clean ends what is left of the task and removes its groups, after their figures
// were read.
func (s *shim) clean() {
	g := s.config.Cgroup
	if g != nil {
		if err := g.Kill(settle); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	endAll(settle)
	if g != nil {
		stats := g.Stats()
		s.exit.CPU, s.exit.MaxMemory, s.exit.Throttled = stats.CPU, stats.MaxMemory, stats.Throttled
		s.exit.OOMKilled, s.exit.Refused = stats.OOMKills > 0, stats.Refused > 0
	}
	if s.config.Container != nil {
		s.deleteContainer()
	}
	if s.config.Engine != nil {
		s.finishEngine()
	}
	if g != nil {
		if err := g.Remove(); err != nil && !errors.Is(err, os.ErrNotExist) {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	// runc made groups that we do not use; it removes them, unless it was ended too.
	cgroup.RemoveEmpty(within(s.config.Place, s.config.ID))
	if s.alone {
		cgroup.RemoveEmpty(s.config.Place)
	}
}

// within names a folder in each of some.
func within(folders []string, name string) []string {
	out := make([]string, 0, len(folders))
	for _, f := range folders {
		out = append(out, filepath.Join(f, name))
	}
	return out
}
