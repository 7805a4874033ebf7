package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"howdah.dev/howdah/internal/cell/cgroup"
)

const (
	maxRuncLog = 64 << 10
	startTime  = 2 * time.Minute
)

// startContainer has runc make the container and start its first process, which is
// left to us: we are the next reaper above it.
func (s *shim) startContainer(files streams) (*child, error) {
	c := s.config.Container
	if err := s.mountRoot(c); err != nil {
		return nil, err
	}
	if c.Try {
		return s.family.spawn(Command{Argv: []string{"/bin/true"}}, nil, files, false)
	}
	if s.config.Cgroup != nil {
		// runc moves the container's first process into its groups: the wait before that
		// goes on while runc begins. Where it cannot, runc waits itself.
		go func() { _ = cgroup.Warm("/sys/fs/cgroup", "/proc/self/cgroup") }()
	}
	run, err := s.family.start(s.runc(s.dir+"/"+runcLogFile, "run", "--detach", "--pid-file", pidFile, "--bundle", s.dir, s.config.ID), runcAttr(files))
	if err != nil {
		return nil, err
	}
	select {
	case <-run.done:
	case <-time.After(startTime):
		s.killExec(run)
		<-run.done
		return nil, fmt.Errorf("cannot start the container: runc did not do it in %s", startTime)
	}
	if run.code() != 0 {
		return nil, s.runcError(run.code())
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return nil, fmt.Errorf("cannot find the container's process: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return nil, fmt.Errorf("cannot find the container's process: runc says %q", text)
	}
	return s.family.adopt(pid), nil
}

// runc is a command line of runc. Only what happens once may leave a log: a check that
// fails does so each second, for as long as the task runs.
func (s *shim) runc(log string, args ...string) []string {
	c := s.config.Container
	argv := []string{c.Runc, "--root", c.Root, "--log", log, "--log-format", "json"}
	if c.Rootless {
		argv = append(argv, "--rootless=true")
	}
	return append(argv, args...)
}

func runcAttr(files streams) *syscall.ProcAttr {
	return &syscall.ProcAttr{
		Env:   os.Environ(), // with the labels by which what a killed shim left is found
		Files: []uintptr{files.in.Fd(), files.out.Fd(), files.err.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
}

// runcError takes the last message of runc's log.
func (s *shim) runcError(code int) error {
	text, _ := os.ReadFile(runcLogFile)
	if len(text) > maxRuncLog {
		text = text[len(text)-maxRuncLog:]
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, line := range slices.Backward(lines) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Level == "error" {
			return errors.New("cannot start the container: " + strings.TrimPrefix(entry.Msg, "runc run failed: "))
		}
	}
	return fmt.Errorf("cannot start the container: runc ended with %d", code)
}

// deleteContainer removes what runc keeps of the container, its groups included.
func (s *shim) deleteContainer() {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer null.Close()
	if del, err := s.family.start(s.runc(os.DevNull, "delete", "--force", s.config.ID), runcAttr(streams{null, null, null})); err == nil {
		<-del.done
	}
}
