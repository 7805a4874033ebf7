package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
)

// logFile is one output of the task. The task owns the directory and may put
// anything there, so a file is only ever made new, and what is in its place is put
// aside by its name.
type logFile struct {
	dir   *os.Root
	name  string
	limit Logs
	file  *os.File
	size  int64
}

func openLog(dir *os.Root, name string, limit Logs) (*logFile, error) {
	l := &logFile{dir: dir, name: name, limit: limit}
	if err := l.next(); err != nil {
		return nil, fmt.Errorf("cannot write %s of the task: %w", name, err)
	}
	return l, nil
}

// next puts the file aside and begins a new one.
func (l *logFile) next() error {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
	for n := l.limit.Keep; n > 0; n-- {
		from := l.name
		if n > 1 {
			from += "." + strconv.Itoa(n-1)
		}
		if err := l.dir.Rename(from, l.name+"."+strconv.Itoa(n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			_ = l.dir.RemoveAll(from) // the task made a folder of it
		}
	}
	if l.limit.Keep <= 0 {
		_ = l.dir.RemoveAll(l.name)
	}
	f, err := l.dir.OpenFile(l.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	l.file, l.size = f, 0
	return nil
}

// Write never fails: a task does not end because its disk is full. What cannot be
// written is lost.
func (l *logFile) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if l.size >= l.limit.MaxBytes && l.limit.MaxBytes > 0 || l.file == nil {
			if err := l.next(); err != nil {
				return total, nil
			}
		}
		part := p
		if room := l.limit.MaxBytes - l.size; l.limit.MaxBytes > 0 && int64(len(part)) > room {
			part = part[:room]
		}
		n, err := l.file.Write(part)
		if err != nil {
			return total, nil
		}
		l.size += int64(n)
		p = p[n:]
	}
	return total, nil
}

// output is a pipe from the task to a log file.
type output struct {
	writer *os.File // the task's end
	reader *os.File
}

func newOutput(log *logFile, done *sync.WaitGroup) (*output, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot make a pipe for the task: %w", err)
	}
	done.Go(func() {
		defer r.Close()
		copyLog(log, r)
	})
	return &output{writer: w, reader: r}, nil
}

// copyLog copies until the last process that writes has ended, no faster than the
// log's limit: a task that only writes must not take the disk from its neighbours.
func copyLog(log *logFile, r io.Reader) {
	buf := make([]byte, 64<<10)
	var budget int64
	last := time.Now()
	budget = log.limit.BytesPerSecond
	for {
		n, err := r.Read(buf)
		_, _ = log.Write(buf[:n])
		if err != nil {
			return
		}
		if log.limit.BytesPerSecond <= 0 {
			continue
		}
		budget -= int64(n)
		if budget > 0 {
			continue
		}
		now := time.Now()
		budget = min(budget+int64(now.Sub(last).Seconds()*float64(log.limit.BytesPerSecond)), log.limit.BytesPerSecond)
		last = now
		if budget < 0 {
			time.Sleep(time.Duration(float64(-budget) / float64(log.limit.BytesPerSecond) * float64(time.Second)))
		}
	}
}
