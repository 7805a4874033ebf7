package proc

import (
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exit is how a process ended. When it is not Known (not our child, and the kernel
// does not tell), treat it as a failure.
type Exit struct {
	Known  bool           `json:"known"`
	Code   int            `json:"code"`             // 0 to 255, when no signal killed it
	Signal syscall.Signal `json:"signal,omitempty"` // what killed it, or 0
}

// Success reports whether the process is known to have exited with 0.
func (e Exit) Success() bool { return e.Known && e.Code == 0 && e.Signal == 0 }

// String reads like "exit 1", "killed by SIGKILL" or "unknown".
func (e Exit) String() string {
	switch {
	case !e.Known:
		return "unknown"
	case e.Signal == 0:
		return "exit " + strconv.Itoa(e.Code)
	}
	if name := unix.SignalName(e.Signal); name != "" {
		return "killed by " + name
	}
	return "killed by signal " + strconv.Itoa(int(e.Signal))
}

func exitFromStatus(status int) Exit {
	ws := syscall.WaitStatus(status)
	if ws.Signaled() {
		return Exit{Known: true, Signal: ws.Signal()}
	}
	return Exit{Known: true, Code: ws.ExitStatus()}
}

// exitPatience bounds how long we ask for the exit status of another's child.
// Its parent has to collect it before the kernel tells us.
const exitPatience = 500 * time.Millisecond

// collect learns how the process behind an exited pidfd ended: as its parent, or
// from the kernel's record of the exit, or from the zombie.
func collect(fd int, rec Record) Exit {
	for start := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		if e, ok := reap(fd, rec.PID); ok {
			return e
		}
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		if err := unix.IoctlPidfdInfo(fd, &info); err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			return exitFromStatus(int(info.Exit_code))
		}
		st, err := readStat(rec.PID)
		if err == nil && st.startTicks == rec.StartTicks && st.dead() && readableZombie(rec.PID) {
			return exitFromStatus(st.exitStatus)
		}
		if time.Since(start) > exitPatience {
			return Exit{}
		}
	}
}

// reap collects our own child. wait4 takes a number, so the pidfd first proves
// that the number is still that child's.
func reap(fd, pid int) (Exit, bool) {
	for {
		err := unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil { // ECHILD: not ours, or collected already
			return Exit{}, false
		}
		break
	}
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(pid, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || got != pid {
			return Exit{}, false
		}
		return exitFromStatus(int(ws)), true
	}
}

// readableZombie reports whether the exit status in /proc/PID/stat is the true one:
// the kernel shows 0 instead to those who may not trace the process.
func readableZombie(pid int) bool {
	var st unix.Stat_t
	if unix.Geteuid() == 0 {
		return true
	}
	return unix.Stat(procPath(pid, ""), &st) == nil && int(st.Uid) == unix.Geteuid()
}
