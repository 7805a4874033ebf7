package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// fail answers with the error in one line, as Mesos does.
func fail(w http.ResponseWriter, err error) {
	code := http.StatusBadRequest
	if errors.Is(err, ErrNotFound) {
		code = http.StatusNotFound
	}
	http.Error(w, err.Error(), code)
}

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// ServeBrowse answers /files/browse.
func (f Folder) ServeBrowse(w http.ResponseWriter, rel string) {
	entries, err := f.Browse(rel)
	if err != nil {
		fail(w, err)
		return
	}
	write(w, entries)
}

// ServeRead answers /files/read: length bytes from offset on, or the size of the file
// when the offset is -1.
func (f Folder) ServeRead(w http.ResponseWriter, r *http.Request, rel string) {
	offset, err := number(r, "offset", -1)
	if err != nil {
		fail(w, err)
		return
	}
	length, err := number(r, "length", pageRead)
	if err != nil {
		fail(w, err)
		return
	}
	file, info, err := f.Open(rel)
	if err != nil {
		fail(w, err)
		return
	}
	defer file.Close()
	type answer struct {
		Data   string `json:"data"`
		Offset int64  `json:"offset"`
	}
	if offset < 0 {
		write(w, answer{Offset: info.Size()})
		return
	}
	if length < 0 {
		length = pageRead
	}
	data := make([]byte, min(length, maxRead, max(0, info.Size()-offset)))
	n, err := file.ReadAt(data, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		fail(w, fmt.Errorf("cannot read: %w", err))
		return
	}
	write(w, answer{Data: string(data[:n]), Offset: offset})
}

func number(r *http.Request, name string, def int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return def, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < -1 {
		return 0, fmt.Errorf("failed to parse %s: %q is no number", name, text)
	}
	return n, nil
}

// ServeDownload answers /files/download. What comes from a task is never shown by a
// browser as ours.
func (f Folder) ServeDownload(w http.ResponseWriter, r *http.Request, rel string) {
	file, info, err := f.Open(rel)
	if err != nil {
		fail(w, err)
		return
	}
	defer file.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(rel)}))
	http.ServeContent(w, r, "", info.ModTime(), file)
}

const (
	followPause = 100 * time.Millisecond
	defaultTail = 64 << 10
)

// ServeTail answers /files/tail: the last lines or bytes of a log, and with
// follow=true what comes after, over rotations, until alive says that no more will.
func (f Folder) ServeTail(w http.ResponseWriter, r *http.Request, rel string, alive func() bool) {
	lines, err := number(r, "lines", -1)
	if err != nil {
		fail(w, err)
		return
	}
	file, info, err := f.Open(rel)
	if err != nil {
		fail(w, err)
		return
	}
	defer func() { file.Close() }()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := seekTail(file, info.Size(), lines); err != nil {
		fail(w, err)
		return
	}
	t := tail{folder: f, rel: rel, w: w, alive: alive, flush: http.NewResponseController(w)}
	if r.URL.Query().Get("follow") != "true" {
		_, _ = io.Copy(w, io.LimitReader(file, maxTail))
		return
	}
	file = t.follow(r.Context(), file)
}

const maxTail = 64 << 20

// seekTail goes to where the last lines begin, or the last bytes when lines is -1.
func seekTail(file *os.File, size, lines int64) error {
	at := max(0, size-defaultTail)
	if lines >= 0 {
		at = max(0, size-maxRead)
	}
	text := make([]byte, size-at)
	n, err := file.ReadAt(text, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if lines >= 0 {
		at += int64(lastLines(string(text[:n]), lines))
	}
	_, err = file.Seek(at, io.SeekStart)
	return err
}

// lastLines is where the last n lines begin.
func lastLines(text string, n int64) int {
	at := len(text)
	if n == 0 {
		return at
	}
	at = len(strings.TrimSuffix(text, "\n"))
	for ; n > 0 && at >= 0; n-- {
		at = strings.LastIndexByte(text[:at], '\n')
	}
	return at + 1
}

// tail follows one log.
type tail struct {
	folder Folder
	rel    string
	w      io.Writer
	flush  *http.ResponseController
	alive  func() bool
}

// follow copies what is written to the log, and goes on with the next file when it
// is put aside. It returns the file that is open then.
func (t *tail) follow(ctx context.Context, file *os.File) *os.File {
	for last := false; ; {
		n, err := io.Copy(t.w, file)
		if err != nil || t.flush.Flush() != nil {
			return file
		}
		if next, ok := t.next(file); ok && n == 0 {
			file.Close()
			file = next
			continue
		} else if ok {
			next.Close() // first the rest of this one
		}
		if last && n == 0 {
			return file
		}
		last = !t.alive() // look once more: it may have written before it ended
		select {
		case <-ctx.Done():
			return file
		case <-time.After(followPause):
		}
	}
}

// next opens the file that has taken the place of this one.
func (t *tail) next(file *os.File) (*os.File, bool) {
	next, info, err := t.folder.Open(t.rel)
	if err != nil {
		return nil, false
	}
	have, err := file.Stat()
	if err != nil || os.SameFile(have, info) {
		next.Close()
		return nil, false
	}
	return next, true
}
