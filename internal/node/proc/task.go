package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// TaskCommand is the argument on which a program has to call TaskMain with the
// arguments behind it, before it does anything else.
const TaskCommand = "internal-task"

// Task is a command that runs once, and whose exit has to be learnt even when we
// die meanwhile. A small process of our own program stands between: it starts the
// command, passes signals on, and records the exit.
type Task struct {
	Spec
	ExitFile string   // written by rename when the command has ended; its directory must exist
	Wrapper  []string // what leads to TaskMain; nil means our own executable with TaskCommand
}

// TaskPhase is where a task stands.
type TaskPhase string

// The phases of a task.
const (
	TaskRunning     TaskPhase = "running"
	TaskExited      TaskPhase = "exited"
	TaskInterrupted TaskPhase = "interrupted" // gone without an exit: killed, or the host went down
)

// TaskStatus is a phase, and the exit once it is TaskExited.
type TaskStatus struct {
	Phase TaskPhase
	Exit  Exit
}

// exitRecord is the content of an exit file.
type exitRecord struct {
	Process Record `json:"process"` // of the wrapper: tells this run from an earlier one
	Exit    Exit   `json:"exit"`
}

// StartTask starts a task. The process is the wrapper's: when it is killed the
// command goes with it, so that an interrupted task is not still at work. (What the
// command itself started may be: Sweep the labels before running it again.) The
// wrapper exits as the command did, a signal n as 128+n; TaskState tells exactly.
func StartTask(task Task) (*Process, error) {
	if len(task.Argv) == 0 {
		return nil, errors.New("cannot start task: no command given")
	}
	spec := task.Spec
	fail := func(err error) (*Process, error) {
		return nil, fmt.Errorf("cannot start task %s: %w", task.Argv[0], err)
	}
	program, err := LookPath(task.Argv[0], spec.environ())
	if err != nil {
		return fail(err)
	}
	exitFile, err := filepath.Abs(task.ExitFile)
	if err != nil {
		return fail(err)
	}
	wrapper := slices.Clone(task.Wrapper)
	if wrapper == nil {
		self, err := os.Executable()
		if err != nil {
			return fail(err)
		}
		wrapper = []string{self, TaskCommand}
	}
	if err := os.Remove(exitFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fail(err)
	}
	spec.Argv = append(append(wrapper, exitFile, program), task.Argv...)
	p, err := Start(spec)
	if err != nil {
		return fail(err)
	}
	return p, nil
}

// TaskState tells where a task stands. Without the record (we died before writing
// it down) give one with the labels only, when Find finds no process of theirs.
func TaskState(rec Record, exitFile string) (TaskStatus, error) {
	alive := rec.alive() // before the file: whoever is dead now has written it
	got, err := readExitFile(exitFile)
	switch {
	case err == nil && got.Process.Labels == rec.Labels && (rec.PID == 0 || got.Process == rec):
		return TaskStatus{Phase: TaskExited, Exit: got.Exit}, nil
	case alive:
		return TaskStatus{Phase: TaskRunning}, nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return TaskStatus{}, fmt.Errorf("cannot read exit of task %s: %w", rec.Labels, err)
	}
	return TaskStatus{Phase: TaskInterrupted}, nil
}

func (r Record) alive() bool {
	boot, err := BootID()
	if err != nil || boot != r.BootID || r.PID <= 0 {
		return false
	}
	st, err := readStat(r.PID)
	return err == nil && st.startTicks == r.StartTicks && !st.dead()
}

func readExitFile(path string) (exitRecord, error) {
	f, err := os.Open(path)
	if err != nil {
		return exitRecord{}, err
	}
	defer f.Close()
	var rec exitRecord
	if err := json.NewDecoder(io.LimitReader(f, 64<<10)).Decode(&rec); err != nil {
		return exitRecord{}, fmt.Errorf("%s: %w", path, err)
	}
	return rec, nil
}

// Codes of the wrapper for a command that did not run, as shells give them.
const (
	codeNoRecord  = 125 // the exit could not be recorded: the task counts as interrupted
	codeNoExecute = 126
	codeNoCommand = 127
)

// TaskMain is the wrapper that StartTask runs. Its arguments are the exit file, the
// program and the arguments of the program from the zeroth. It returns the code to
// exit with.
func TaskMain(args []string) int {
	if len(args) < 3 {
		fmt.Fprintln(os.Stderr, "howdah: cannot run task: usage: EXITFILE PROGRAM ARGV0 [ARG]...")
		return codeNoRecord
	}
	// Opened first: a command whose exit cannot be recorded must not run.
	tmp := args[0] + "." + strconv.Itoa(os.Getpid())
	file, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o640)
	if err == nil {
		defer os.Remove(tmp)
		defer file.Close()
		var rec Record
		if rec, err = ownRecord(); err == nil {
			exit := runCommand(args[1], args[2:])
			if err = commitExit(file, args[0], exitRecord{Process: rec, Exit: exit}); err == nil {
				return exit.shellCode()
			}
		}
	}
	fmt.Fprintf(os.Stderr, "howdah: cannot record exit of %s: %v\n", args[1], err)
	return codeNoRecord
}

func ownRecord() (Record, error) {
	boot, err := BootID()
	if err != nil {
		return Record{}, err
	}
	st, err := readStat(os.Getpid())
	if err != nil {
		return Record{}, err
	}
	labels, _ := LabelsOf(os.Getpid())
	return Record{BootID: boot, PID: st.pid, StartTicks: st.startTicks, Labels: labels}, nil
}

// runCommand stays on one thread: the command is killed when that thread ends.
func runCommand(program string, argv []string) Exit {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)

	cmd := exec.Cmd{
		Path: program, Args: argv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "howdah: cannot run %s: %v\n", program, err)
		if errors.Is(err, os.ErrNotExist) {
			return Exit{Known: true, Code: codeNoCommand}
		}
		return Exit{Known: true, Code: codeNoExecute}
	}
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case sig := <-signals:
				_ = cmd.Process.Signal(sig)
			case <-ended:
				return
			}
		}
	}()
	_ = cmd.Wait() // its error repeats the state
	close(ended)
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		return exitFromStatus(int(ws))
	}
	return Exit{}
}

// commitExit makes the record appear at once, and so that it outlives a power cut.
func commitExit(file *os.File, path string, rec exitRecord) error {
	if err := json.NewEncoder(file).Encode(rec); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func (e Exit) shellCode() int {
	switch {
	case !e.Known:
		return codeNoRecord
	case e.Signal != 0:
		return 128 + int(e.Signal)
	}
	return e.Code
}
