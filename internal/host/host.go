package host

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Config says where the world is. Its zero value is this machine.
type Config struct {
	// Root is the folder that stands for /; "" is / itself. Symbolic links
	// below another root must be relative.
	Root string
	// Getenv reads an environment variable; os.Getenv by default.
	Getenv func(string) string
	// Run runs a program; by default really.
	Run Runner
	// Statfs returns the bytes free for us and in total on the file system of a path.
	Statfs func(path string) (free, total int64, err error)
	// CPUs is the number of processors we may run on; runtime.NumCPU() by default.
	CPUs int
	// UID is the effective user id; nil is ours.
	UID *int
	// Sleep waits between attempts; by default really.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Command is a program to run.
type Command struct {
	Args  []string
	Env   []string          // added to ours
	Stdin string            // given to the program
	Line  func(line string) // called for each line of output as it comes, may be nil
}

// Runner runs a command and returns its standard output and error together.
type Runner func(ctx context.Context, c Command) (output string, err error)

// Host is a machine as seen by this process.
type Host struct {
	cfg Config
	uid int
}

// New returns the host described by a configuration.
func New(cfg Config) *Host {
	h := &Host{cfg: cfg, uid: os.Geteuid()}
	if cfg.UID != nil {
		h.uid = *cfg.UID
	}
	if h.cfg.Getenv == nil {
		h.cfg.Getenv = os.Getenv
	}
	if h.cfg.Run == nil {
		h.cfg.Run = run
	}
	if h.cfg.Statfs == nil {
		h.cfg.Statfs = statfs
	}
	if h.cfg.CPUs == 0 {
		h.cfg.CPUs = runtime.NumCPU()
	}
	if h.cfg.Sleep == nil {
		h.cfg.Sleep = sleep
	}
	return h
}

// real returns where a path of the machine is on disk.
func (h *Host) real(path string) string {
	if h.cfg.Root == "" {
		return path
	}
	return filepath.Join(h.cfg.Root, path)
}

// resolve follows symbolic links and returns a path of the machine again.
func (h *Host) resolve(path string) (string, error) {
	p, err := filepath.EvalSymlinks(h.real(path))
	if err != nil || h.cfg.Root == "" {
		return p, err
	}
	root, err := filepath.EvalSymlinks(h.cfg.Root)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(root, p)
	if err != nil || strings.HasPrefix(rel, "..") {
		return "", fmt.Errorf("cannot resolve %s: it leads out of %s", path, h.cfg.Root)
	}
	return filepath.Join("/", rel), nil
}

// maxFile bounds the small files read here.
const maxFile = 1 << 20

func (h *Host) read(path string) (string, error) {
	f, err := os.Open(h.real(path))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	return string(b), err
}

// executable reports whether a path is a program we may run.
func (h *Host) executable(path string) bool {
	fi, err := os.Stat(h.real(path))
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}

// lookPath finds a program on PATH.
func (h *Host) lookPath(name string) (string, bool) {
	for _, dir := range filepath.SplitList(h.cfg.Getenv("PATH")) {
		if p := filepath.Join(dir, name); filepath.IsAbs(p) && h.executable(p) {
			return p, true
		}
	}
	return "", false
}

// entries returns the paths of the entries of a folder, sorted by name.
func (h *Host) entries(dir string) []string {
	list, err := os.ReadDir(h.real(dir))
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range list {
		out = append(out, filepath.Join(dir, e.Name()))
	}
	return out
}

// maxOutput bounds what is kept of a program's output.
const maxOutput = 1 << 20

func run(ctx context.Context, c Command) (string, error) {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdin = strings.NewReader(c.Stdin)
	// Interrupted first, so that a package manager can leave things whole.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out := &lineWriter{line: c.Line}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	out.flush()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out.all.String(), err
}

// lineWriter keeps output and hands out its lines.
type lineWriter struct {
	all, rest bytes.Buffer
	line      func(string)
}

func (w *lineWriter) Write(p []byte) (int, error) {
	if room := maxOutput - w.all.Len(); room > 0 {
		w.all.Write(p[:min(room, len(p))])
	}
	if w.line == nil {
		return len(p), nil
	}
	w.rest.Write(p)
	for {
		i := bytes.IndexByte(w.rest.Bytes(), '\n')
		if i < 0 {
			if w.rest.Len() > maxOutput {
				w.rest.Reset()
			}
			return len(p), nil
		}
		w.line(strings.TrimRight(string(w.rest.Next(i+1)), "\r\n"))
	}
}

func (w *lineWriter) flush() {
	if w.line != nil && w.rest.Len() > 0 {
		w.line(w.rest.String())
	}
}

func statfs(path string) (free, total int64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// keyValues reads lines of KEY=value or KEY="value".
func keyValues(text string) map[string]string {
	out := map[string]string{}
	sc := bufio.NewScanner(strings.NewReader(text))
	sc.Buffer(nil, maxFile)
	for sc.Scan() {
		key, value, ok := strings.Cut(strings.TrimSpace(sc.Text()), "=")
		if ok && !strings.HasPrefix(key, "#") {
			out[key] = strings.Trim(value, `"'`)
		}
	}
	return out
}
