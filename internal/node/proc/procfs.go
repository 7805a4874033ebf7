package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	ticksPerSecond = 100        // USER_HZ: 100 on every architecture Go supports
	maxProc        = 8 << 20    // the kernel allows about 6 MiB of arguments and environment
	flagKThread    = 0x00200000 // PF_KTHREAD
)

// BootID returns the kernel's identity of this boot.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("cannot read the boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// stat is the part of /proc/PID/stat that we use.
type stat struct {
	pid, ppid, session int
	state              byte
	flags              uint64
	startTicks         uint64 // since boot
	rssPages           int64
	exitStatus         int // as wait4 gives it; only a zombie's means something
}

// dead: exited, though perhaps not yet collected by its parent.
func (s stat) dead() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

func readStat(pid int) (stat, error) {
	b, err := readProc(pid, "stat", 1<<10)
	if err != nil {
		return stat{}, err
	}
	return parseStat(pid, b)
}

// readProc reads a file of a process, with room for so many bytes at first. The whole of
// /proc is read again and again: os.ReadFile would ask twice as much of the kernel, which
// gives of such a file as much as there is and room for (fs/proc/base.c, fs/seq_file.c).
func readProc(pid int, file string, room int) ([]byte, error) {
	fd, err := uninterrupted(func() (int, error) { return unix.Open(procPath(pid, file), unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b := make([]byte, 0, room)
	for len(b) < maxProc {
		n, err := uninterrupted(func() (int, error) { return unix.Read(fd, b[len(b):cap(b)]) })
		if err != nil {
			return nil, err
		}
		b = b[:len(b)+n]
		if n == 0 || len(b) < cap(b) {
			return b, nil
		}
		b = slices.Grow(b, len(b))
	}
	return b, nil
}

// uninterrupted makes a call of the kernel again that a signal cut short.
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// parseStat takes the fields behind the command, which may itself hold spaces and
// parentheses (proc_pid_stat(5); field 3 is f[0]).
func parseStat(pid int, b []byte) (stat, error) {
	end := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[end+1:]))
	if end < 0 || len(f) < 22 {
		return stat{}, fmt.Errorf("cannot parse %s: %d fields", procPath(pid, "stat"), len(f))
	}
	s := stat{pid: pid, state: f[0][0]}
	s.ppid, _ = strconv.Atoi(f[1])
	s.session, _ = strconv.Atoi(f[3])
	s.flags, _ = strconv.ParseUint(f[6], 10, 64)
	s.startTicks, _ = strconv.ParseUint(f[19], 10, 64)
	s.rssPages, _ = strconv.ParseInt(f[21], 10, 64)
	if len(f) >= 50 {
		s.exitStatus, _ = strconv.Atoi(f[49])
	}
	return s, nil
}

func procPath(pid int, file string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + file
}

// readEnviron returns the environment a process was started with. It is empty
// while the process is in the middle of an exec.
func readEnviron(pid int) ([]byte, error) { return readProc(pid, "environ", 4<<10) }

// LabelsOf reads the labels of a process; false when it has none, is gone, or its
// environment is not ours to read.
func LabelsOf(pid int) (Labels, bool) {
	environ, err := readEnviron(pid)
	if err != nil {
		return Labels{}, false
	}
	l, ok := parseEnviron(environ)
	return l.Labels, ok
}

// Command returns the arguments of a process joined by spaces, at most 4 KiB;
// empty when it is gone.
func Command(pid int) string {
	f, err := os.Open(procPath(pid, "cmdline"))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(strings.TrimRight(string(b), "\x00"), "\x00", " ")
}

// entry is one process of a scan.
type entry struct {
	stat
	labelled
	hasLabels bool
	hidden    bool // environment not ours to read
	inExec    bool // environment empty: perhaps in the middle of an exec
}

// scan reads all living processes. Those that vanish meanwhile are left out.
func scan() ([]entry, error) {
	pids, err := allPIDs()
	if err != nil {
		return nil, err
	}
	found := make([]entry, 0, len(pids))
	for _, pid := range pids {
		st, err := readStat(pid)
		if err != nil || st.dead() || st.flags&flagKThread != 0 {
			continue
		}
		e := entry{stat: st}
		environ, err := readEnviron(pid)
		switch {
		case errors.Is(err, os.ErrPermission):
			e.hidden = true
		case err != nil:
			continue
		default:
			e.inExec = len(environ) == 0
			e.labelled, e.hasLabels = parseEnviron(environ)
		}
		found = append(found, e)
	}
	return found, nil
}

func allPIDs() ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// nowTicks is the present on the clock of stat.startTicks.
func nowTicks() (uint64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("cannot read the boot clock: %w", err)
	}
	return uint64(ts.Nano()) / (1e9 / ticksPerSecond), nil
}

// isGone reports whether err says that there is no such process (any more).
func isGone(err error) bool {
	return errors.Is(err, syscall.ESRCH) || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrProcessDone)
}
