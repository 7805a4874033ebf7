package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/cell/cgroup"
)

// order is what the trampoline gets on a pipe: a command and where to put it.
type order struct {
	Command Command       `json:"command"`
	Cgroup  *cgroup.Group `json:"cgroup,omitempty"`
	Parent  int           `json:"parent"` // the shim; with it the command ends
	Tty     bool          `json:"tty,omitempty"`
}

// Files of the trampoline, above stdin, stdout and stderr.
const (
	troubleFD = 3 // takes the reason why the command cannot be started
	orderFD   = 4
)

// trampoline is a process between fork and exec: it puts itself where the command
// belongs and becomes it. Nothing can run outside of the group, not for a moment.
func trampoline() int {
	runtime.LockOSThread()
	unix.CloseOnExec(troubleFD)
	trouble := os.NewFile(troubleFD, "trouble")
	fmt.Fprint(trouble, become())
	return 127
}

func become() error {
	var o order
	input := os.NewFile(orderFD, "order")
	text, err := io.ReadAll(input)
	input.Close()
	if err == nil {
		err = json.Unmarshal(text, &o)
	}
	if err != nil {
		return fmt.Errorf("cannot read what to start: %w", err)
	}
	if o.Cgroup != nil {
		if err := o.Cgroup.Enter(); err != nil {
			return err
		}
	}
	if err := setLimits(o.Command); err != nil {
		return err
	}
	// As ourselves: the folders above the sandbox may be closed to the task's user.
	if o.Command.Dir != "" {
		if err := os.Chdir(o.Command.Dir); err != nil {
			return fmt.Errorf("cannot enter the task's folder: %w", err)
		}
	}
	if err := setUser(o.Command.User); err != nil {
		return err
	}
	if o.Tty {
		if err := unix.IoctlSetInt(0, unix.TIOCSCTTY, 0); err != nil {
			return fmt.Errorf("cannot take the terminal: %w", err)
		}
	}
	// After the change of user, which resets it.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("cannot tie the task to its shim: %w", err)
	}
	if os.Getppid() != o.Parent {
		return errors.New("the shim has ended")
	}
	if o.Command.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("cannot forbid new privileges: %w", err)
		}
	}
	return execute(o.Command)
}

func setLimits(c Command) error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("cannot set the limit of core files: %w", err)
	}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		return fmt.Errorf("cannot read the limit of open files: %w", err)
	}
	if c.MaxFiles > 0 {
		now.Max = min(now.Max, c.MaxFiles)
		now.Cur = now.Max
	}
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: now.Cur, Max: now.Max}); err != nil {
		return fmt.Errorf("cannot set the limit of open files: %w", err)
	}
	return nil
}

func setUser(u *User) error {
	if u == nil {
		return nil
	}
	// Programs open /dev/stdout and /dev/stderr anew, as themselves.
	for fd := 1; fd <= 2; fd++ {
		_ = syscall.Fchown(fd, u.UID, u.GID)
	}
	if err := syscall.Setgroups(u.Groups); err != nil {
		return fmt.Errorf("cannot set the groups of user %d: %w", u.UID, err)
	}
	if err := syscall.Setresgid(u.GID, u.GID, u.GID); err != nil {
		return fmt.Errorf("cannot become group %d: %w", u.GID, err)
	}
	if err := syscall.Setresuid(u.UID, u.UID, u.UID); err != nil {
		return fmt.Errorf("cannot become user %d: %w", u.UID, err)
	}
	return nil
}

func execute(c Command) error {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return errors.New("cannot start the task: no command given")
	}
	program, err := lookPath(c.Argv[0], c.Env)
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", c.Argv[0], err)
	}
	if err := syscall.Exec(program, c.Argv, c.Env); err != nil {
		return fmt.Errorf("cannot start %s: %w", c.Argv[0], err)
	}
	return nil
}

// lookPath finds a program in the PATH of env rather than ours.
func lookPath(name string, env []string) (string, error) {
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
			if info, err := os.Stat(full); err == nil && info.Mode().IsRegular() && unix.Access(full, unix.X_OK) == nil {
				return full, nil
			}
		}
		return "", fmt.Errorf("no such program in PATH (%s)", path)
	}
	return "", errors.New("no such program: its environment has no PATH")
}
