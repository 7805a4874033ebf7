package artifact

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrArchiveBusy is BuildArchive's answer while this host builds an archive:
// one at a time, for it takes a whole core. Ask again later.
var ErrArchiveBusy = errors.New("another class-data archive is being built on this host")

// ArchiveFailedError is BuildArchive's answer once a build has failed. It is
// not tried again until the file Remembered is deleted.
type ArchiveFailedError struct {
	Reason     string // one line
	Log        string // path of the Java output
	Remembered string // path of the file that says so
}

func (e *ArchiveFailedError) Error() string {
	return fmt.Sprintf("the class-data archive cannot be built: %s; see %s; delete %s to try again", e.Reason, e.Log, e.Remembered)
}

// ArchiveRequest asks for a class-data archive: the classes of some jars as
// the JVM keeps them in memory, so that starting takes about half the
// processor time. It is only a speed-up: services start without it.
type ArchiveRequest struct {
	SetID     string   // Lock.ID of the set the jars belong to
	Name      string   // several archives a set: "daemon", "worker"
	JavaHome  string   // of the JDK that will use the archive
	JDKKey    string   // JDKKey(JavaHome)
	Classpath []string // the jars only, in the order services have them; services add folders after
	ClassList string   // file of class names, one a line, plain or gzipped
}

// ArchivePath is where BuildArchive puts the archive, known before it is there.
func ArchivePath(cacheDir, id, name, jdkKey string) string {
	return filepath.Join(cacheDir, "sets", id+".cds", name+"-"+jdkKey+".jsa")
}

// JDKKey identifies a JDK as far as class-data archives care: another build,
// place or time stamp of it makes them invalid.
func JDKKey(javaHome string) (string, error) {
	home, err := filepath.EvalSymlinks(javaHome)
	if err != nil {
		return "", fmt.Errorf("cannot identify the JDK: %w", err)
	}
	h := sha256.New()
	for _, name := range []string{"lib/modules", "lib/server/libjvm.so"} {
		info, err := os.Stat(filepath.Join(home, name))
		if err != nil {
			return "", fmt.Errorf("cannot identify the JDK in %s: %w", javaHome, err)
		}
		fmt.Fprintln(h, home, name, info.Size(), info.ModTime().UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// BuildArchive builds the archive unless it is there. It runs at the lowest
// priority and never waits: while any archive of this host is being built it
// returns ErrArchiveBusy. A failure is remembered and answered with
// *ArchiveFailedError from then on; the end of the context is not a failure.
func (c *Cache) BuildArchive(ctx context.Context, req ArchiveRequest) error {
	if err := req.check(); err != nil {
		return fmt.Errorf("cannot build a class-data archive: %w", err)
	}
	target := ArchivePath(c.cfg.Dir, req.SetID, req.Name, req.JDKKey)
	if done, err := archiveState(target); done || err != nil {
		return err
	}
	unlock, err := c.tryLock("archive")
	if errors.Is(err, errLocked) {
		return ErrArchiveBusy
	}
	if err != nil {
		return err
	}
	defer unlock()
	if done, err := archiveState(target); done || err != nil {
		return err
	}
	return c.buildArchive(ctx, req, target)
}

func (req ArchiveRequest) check() error {
	switch {
	case !hexDigest.MatchString(req.SetID):
		return fmt.Errorf("%q is not the id of a set", req.SetID)
	case !coordinatePart.MatchString(req.Name) || !coordinatePart.MatchString(req.JDKKey):
		return fmt.Errorf("name %q or JDK key %q is not a plain word", req.Name, req.JDKKey)
	case len(req.Classpath) == 0:
		return errors.New("the classpath is empty")
	case !isDir(req.JavaHome):
		return fmt.Errorf("there is no JDK in %s", req.JavaHome)
	}
	for _, jar := range req.Classpath {
		if !strings.HasSuffix(jar, ".jar") {
			return fmt.Errorf("%s on the classpath is not a jar: folders belong after the jars, and not here", jar)
		}
	}
	return nil
}

func logPath(target string) string    { return strings.TrimSuffix(target, ".jsa") + ".log" }
func failedPath(target string) string { return strings.TrimSuffix(target, ".jsa") + ".failed" }

// archiveState tells whether the archive is there, or has failed before.
func archiveState(target string) (done bool, err error) {
	if _, err := os.Stat(target); err == nil {
		return true, nil
	}
	if reason, err := os.ReadFile(failedPath(target)); err == nil {
		return false, &ArchiveFailedError{strings.TrimSpace(string(reason)), logPath(target), failedPath(target)}
	}
	return false, nil
}

// buildArchive runs with the host's archive lock held.
func (c *Cache) buildArchive(ctx context.Context, req ArchiveRequest, target string) error {
	dir := filepath.Dir(target)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	work := target + ".tmp" // of whoever was killed, or ours: the lock's holder writes it
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	start := time.Now()
	reason := c.dump(ctx, req, work, logPath(target))
	if ctx.Err() != nil {
		return fmt.Errorf("cannot build class-data archive %s: %w", req.Name, context.Cause(ctx))
	}
	if reason == nil {
		reason = finishArchive(filepath.Join(work, "archive.jsa"), target)
	}
	if reason != nil {
		failed := &ArchiveFailedError{reason.Error(), logPath(target), failedPath(target)}
		if err := os.WriteFile(failed.Remembered, []byte(failed.Reason+"\n"), 0o644); err != nil {
			c.cfg.Log.Warn("cannot remember a failure", "path", failed.Remembered, "err", err)
		}
		c.cfg.Log.Warn("class-data archive failed; services start without it", "archive", req.Name, "err", reason, "log", failed.Log)
		return failed
	}
	c.cfg.Log.Info("class-data archive built", "archive", req.Name, "path", target, "duration", time.Since(start).Round(time.Millisecond))
	return nil
}

func finishArchive(file, target string) error {
	info, err := os.Stat(file)
	if err != nil || info.Size() == 0 {
		return errors.New("Java ended without error but wrote no archive")
	}
	if err := os.Chmod(file, 0o444); err != nil {
		return err
	}
	return os.Rename(file, target)
}

// dump runs the JVM that writes work/archive.jsa.
func (c *Cache) dump(ctx context.Context, req ArchiveRequest, work, logFile string) error {
	list := filepath.Join(work, "classes")
	if err := plainClassList(req.ClassList, list); err != nil {
		return err
	}
	out, err := os.Create(logFile)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, filepath.Join(req.JavaHome, "bin", "java"),
		"-Xshare:dump", "-XX:SharedClassListFile="+list,
		"-XX:SharedArchiveFile="+filepath.Join(work, "archive.jsa"),
		"-cp", strings.Join(req.Classpath, ":"))
	cmd.Dir = work
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	if err := startIdle(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("java -Xshare:dump: %w%s", err, lastLine(logFile))
	}
	return nil
}

// lastLine is the end of the log, where a JVM says why it gave up.
func lastLine(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if last := tidy(lines[len(lines)-1]); last != "" {
		return " (" + last + ")"
	}
	return ""
}

// startIdle starts the command with the lowest processor and disk priority.
// A child inherits both from the thread that forks it; the thread is given
// up afterwards, so nothing else of this process is slowed.
func startIdle(cmd *exec.Cmd) error {
	const (
		ioprioWhoProcess = 1
		ioprioClassIdle  = 3 << 13
	)
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19)
		_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, ioprioClassIdle)
		result <- cmd.Start()
	}()
	return <-result
}

// plainClassList writes the class list uncompressed, as the JVM wants it.
func plainClassList(file, to string) error {
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("cannot read the class list: %w", err)
	}
	defer in.Close()
	buffered := bufio.NewReader(in)
	var r io.Reader = buffered
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return fmt.Errorf("cannot read the class list: %w", err)
		}
		defer z.Close()
		r = z
	}
	const limit = 64 << 20
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil || len(data) > limit {
		return fmt.Errorf("cannot read the class list %s: %w", filepath.Base(file), errors.Join(err, sizeError(len(data) > limit)))
	}
	return os.WriteFile(to, data, 0o644)
}

func sizeError(too bool) error {
	if too {
		return errors.New("it is larger than 64 MiB")
	}
	return nil
}

// WildcardJars lists the jars of a folder in the order in which the JVM's
// launcher expands "folder/*": the folder's own, which differs from host to
// host. Where a program starts its children with such a classpath, an archive
// for them must be built, on that host, with this order.
func WildcardJars(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range names {
		if strings.HasSuffix(n, ".jar") || strings.HasSuffix(n, ".JAR") {
			out = append(out, filepath.Join(dir, n))
		}
	}
	return out, nil
}
