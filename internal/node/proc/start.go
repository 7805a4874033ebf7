package proc

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Spec says what to start.
type Spec struct {
	Argv   []string // Argv[0] without a slash is looked up in the PATH of Env
	Dir    string   // working directory; empty means ours
	Env    []string // the whole environment but for the labels, the last of a name counts; nil means ours
	Output string   // file that stdout and stderr are appended to; created 0640; never a pipe
	Labels Labels   // Node is required
	Nice   int      // added to our own niceness
}

// Start starts a process that outlives us: in a session of its own without a
// terminal, stdin from /dev/null, default signal handling, and no open file of ours
// but Output: all files of ours above stderr become close-on-exec, for good. When
// Start returns, the program has been executed.
func Start(spec Spec) (*Process, error) {
	p, err := start(spec)
	if err != nil {
		name := "process"
		if len(spec.Argv) > 0 {
			name = spec.Argv[0]
		}
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	return p, nil
}

func start(spec Spec) (*Process, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	env := spec.environ()
	program, err := LookPath(spec.Argv[0], env)
	if err != nil {
		return nil, err
	}
	boot, err := BootID()
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	out, err := os.OpenFile(spec.Output, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOCTTY, 0o640)
	if err != nil {
		return nil, err
	}
	defer out.Close()

	fd := -1
	attr := &syscall.ProcAttr{
		Dir:   spec.Dir,
		Env:   env,
		Files: []uintptr{null.Fd(), out.Fd(), out.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &fd},
	}
	pid, err := fork(program, spec.Argv, attr, spec.Nice)
	if err != nil {
		return nil, err
	}
	p, err := watchChild(pid, fd, boot, spec.Labels)
	if err != nil { // never leave a process that nobody knows of
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
	}
	return p, err
}

// watchChild relies on nobody else collecting our child: pid is its number until then.
func watchChild(pid, fd int, boot string, labels Labels) (*Process, error) {
	if fd < 0 {
		return nil, errors.New("the kernel has no pidfds (needs Linux 5.4)")
	}
	st, err := readStat(pid)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return watch(fd, Record{BootID: boot, PID: pid, StartTicks: st.startTicks, Labels: labels})
}

func (s Spec) check() error {
	switch {
	case len(s.Argv) == 0 || s.Argv[0] == "":
		return errors.New("no command given")
	case s.Labels.Node == "":
		return errors.New("the labels name no node")
	case s.Output == "":
		return errors.New("no output file given")
	}
	return nil
}

// environ puts the labels first, and drops those that came with Env. Of entries with
// one name the last counts, as in os/exec; a program's getenv would take the first.
func (s Spec) environ() []string {
	given := s.Env
	if given == nil {
		given = os.Environ()
	}
	env := s.Labels.Env()
	at := map[string]int{EnvNode: -1, EnvService: -1, EnvIncarnation: -1, envStarted: -1}
	for _, e := range given {
		name, _, _ := strings.Cut(e, "=")
		switch i, seen := at[name]; {
		case !seen:
			at[name] = len(env)
			env = append(env, e)
		case i >= 0:
			env[i] = e
		}
	}
	return env
}

// LookPath finds a program in the PATH of env rather than ours; a name with a slash
// is a path already.
func LookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, e := range env {
		path, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			full := filepath.Join(dir, name)
			if info, err := os.Stat(full); filepath.IsAbs(full) && err == nil && info.Mode().IsRegular() && unix.Access(full, unix.X_OK) == nil {
				return full, nil
			}
		}
		return "", fmt.Errorf("no such program in PATH (%s)", path)
	}
	return "", errors.New("no such program: its environment has no PATH")
}

// forking serialises what fork changes for the whole process.
var forking sync.Mutex

// fork runs on a thread of its own, which ends with it: so the signal mask and the
// niceness that the child inherits need no restoring (raising priority again would
// need a privilege).
func fork(program string, argv []string, attr *syscall.ProcAttr, nice int) (pid int, err error) {
	forking.Lock()
	defer forking.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		if err = unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil); err != nil {
			return
		}
		if err = renice(nice); err != nil {
			return
		}
		// Files without close-on-exec may have been inherited from whoever started us.
		// Kernels before 5.11 cannot; there such files are passed on.
		if err = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
			return
		}
		defer defaultSignals()()
		var now uint64
		if now, err = nowTicks(); err != nil {
			return
		}
		attr.Env = append(attr.Env, envStarted+"="+strconv.FormatUint(now, 10))
		pid, err = syscall.ForkExec(program, argv, attr)
	}()
	<-done
	return pid, err
}

func renice(by int) error {
	if by == 0 {
		return nil
	}
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // this thread's; the kernel returns 20 - nice
	if err == nil {
		err = unix.Setpriority(unix.PRIO_PROCESS, 0, 20-raw+by)
	}
	if err != nil {
		return fmt.Errorf("cannot change niceness by %d: %w", by, err)
	}
	return nil
}

// defaultSignals keeps the child from inheriting ignored signals, such as SIGHUP
// under nohup and SIGINT in a background job: the runtime resets in the child only
// what it handles, so it is made to handle them for the moment of the fork.
func defaultSignals() (restore func()) {
	ignored := ignoredSignals()
	if len(ignored) == 0 {
		return func() {}
	}
	unread := make(chan os.Signal, 1)
	signal.Notify(unread, ignored...)
	return func() { signal.Stop(unread) }
}

func ignoredSignals() []os.Signal {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(b), "SigIgn:")
	line, _, _ := strings.Cut(rest, "\n")
	mask, _ := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	var ignored []os.Signal
	for sig := syscall.Signal(1); sig < 32; sig++ {
		if mask&(1<<(sig-1)) != 0 {
			ignored = append(ignored, sig)
		}
	}
	return ignored
}
