package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/logline"
	"howdah.dev/howdah/internal/node/proc"
)

// rotations counts what rotation has moved out of each log since this agent began,
// so that a reader finds its place again: places in a log are counted over all that
// was ever written to it, and rotation changes no place.
type rotations struct {
	mu    sync.RWMutex // written while a log is rotated, read while one is read
	moved map[string]int64
}

func (r *rotations) rotate(path string, most int64, keep int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := proc.Rotate(path, most, keep)
	if r.moved == nil {
		r.moved = map[string]int64{}
	}
	r.moved[path] += n
	return err
}

// logFile is a log with what was rotated out of it.
type logFile struct {
	rotations *rotations
	dir       string // nothing outside is read, whatever links there are
	name      string // in dir
}

// open opens the log, for n > 0 its rotated part n. Only regular files are read.
func (f logFile) open(n int) (*os.File, int64, error) {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, 0, err
	}
	defer root.Close()
	name := f.name
	if n > 0 {
		name += "." + strconv.Itoa(n)
	}
	info, err := root.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is no regular file", name)
	}
	file, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	now, err := file.Stat()
	if err == nil && !os.SameFile(info, now) {
		err = fmt.Errorf("%s was replaced while it was opened", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, now.Size(), nil
}

// part is a file of a log and the places it holds.
type part struct {
	file     *os.File
	from, to int64
}

// parts opens the files of a log, oldest first, while it is not being rotated.
func (f logFile) parts() (ps []part, closeAll func(), err error) {
	closeAll = func() {
		for _, p := range ps {
			_ = p.file.Close()
		}
	}
	at := f.rotations.moved[filepath.Join(f.dir, f.name)]
	for n := range keepOutput + 1 {
		file, size, err := f.open(n)
		if errors.Is(err, fs.ErrNotExist) {
			if n == 0 {
				continue
			}
			break
		}
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		p := part{file, at - size, at}
		if n == 0 {
			p = part{file, at, at + size}
		} else {
			at -= size
		}
		ps = append([]part{p}, ps...)
	}
	return ps, closeAll, nil
}

// bounds returns the first place that is kept and the one after the last.
func (f logFile) bounds() (from, to int64, err error) {
	f.rotations.mu.RLock()
	defer f.rotations.mu.RUnlock()
	ps, closeAll, err := f.parts()
	if err != nil || len(ps) == 0 {
		return 0, 0, err
	}
	defer closeAll()
	return ps[0].from, ps[len(ps)-1].to, nil
}

// readAt reads from a place on, within one part. at is where the bytes are: later
// than pos when those there are gone, earlier when somebody else emptied the log. No
// bytes are its end.
func (f logFile) readAt(pos int64, buf []byte) (n int, at int64, err error) {
	f.rotations.mu.RLock()
	defer f.rotations.mu.RUnlock()
	ps, closeAll, err := f.parts()
	if err != nil || len(ps) == 0 {
		return 0, pos, err
	}
	defer closeAll()
	if last := ps[len(ps)-1]; pos > last.to {
		pos = last.from
	}
	pos = max(pos, ps[0].from)
	for _, p := range ps {
		if pos < p.to {
			n, err = p.file.ReadAt(buf[:min(int64(len(buf)), p.to-pos)], pos-p.from)
			if n > 0 {
				err = nil
			}
			return n, pos, err
		}
	}
	return 0, pos, nil
}

const (
	chunk       = 256 << 10 // bytes read at once
	maxLogLine  = 64 << 10  // longer lines come in pieces
	pollLog     = 200 * time.Millisecond
	lookForLogs = 2 * time.Second
)

// logReader reads the lines of a log from a place on.
type logReader struct {
	file  logFile
	clock logline.Clock
	pos   int64  // of what is read next
	rest  []byte // of a line that has not ended, before pos
	buf   []byte
}

// logLine is a line of a log, where it begins, and the clock before it.
type logLine struct {
	at    time.Time
	text  string
	place int64
	clock logline.Clock
}

// read gives the lines of the next piece before the place to; false at the end. lost
// is how many bytes are gone that should have come now, negative where somebody
// emptied the log.
func (r *logReader) read(to int64, line func(logLine) bool) (more bool, lost int64, err error) {
	if r.pos >= to {
		return false, 0, nil
	}
	if r.buf == nil {
		r.buf = make([]byte, chunk)
	}
	n, at, err := r.file.readAt(r.pos, r.buf[:min(chunk, to-r.pos)])
	if err != nil || n == 0 && at == r.pos {
		return false, 0, err
	}
	if lost = at - r.pos; lost != 0 {
		r.rest = nil
	}
	r.pos = at + int64(n)
	data := r.buf[:n]
	if len(r.rest) > 0 {
		data = append(r.rest, data...)
	}
	place := r.pos - int64(len(data))
	for {
		i := bytes.IndexByte(data, '\n')
		end := i + 1
		switch {
		case i < 0 && len(data) <= maxLogLine:
			r.rest = bytes.Clone(data)
			return true, lost, nil
		case i < 0 || i > maxLogLine:
			i, end = maxLogLine, maxLogLine
		}
		if !line(r.line(data[:i], place)) {
			r.pos, r.rest = place+int64(end), nil
			return false, lost, nil
		}
		place += int64(end)
		data = data[end:]
	}
}

// unfinished gives what follows the last line's end.
func (r *logReader) unfinished(line func(logLine) bool) {
	if len(r.rest) > 0 {
		line(r.line(r.rest, r.pos-int64(len(r.rest))))
	}
	r.rest = nil
}

func (r *logReader) line(text []byte, place int64) logLine {
	l := logLine{text: string(bytes.TrimSuffix(text, []byte("\r"))), place: place, clock: r.clock}
	l.at = r.clock.At(l.text)
	return l
}
