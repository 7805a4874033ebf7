package worker

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/worker/container"
)

const (
	maxArgs    = 1024
	maxMessage = 1 << 20
)

// serveExec runs a command in a task over a web socket:
//
//	/exec?framework=ID&task=ID&arg=PROGRAM&arg=...&tty=true&rows=24&cols=80
//
// Each binary message is a frame of package shim: its kind in the first byte, then
// the data. The last one from us is FrameExit with the exit code. When the caller
// hangs up, the command is killed. One that cannot be started closes the socket, with
// the reason.
func (w *Worker) serveExec(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	t := w.task(q.Get("framework"), q.Get("task"))
	var info *mesos.TaskInfo
	if t != nil {
		info = &t.info
	}
	if err := w.cfg.Authorize(r, info); err != nil {
		refuse(rw, err)
		return
	}
	run := t.runningNow()
	switch {
	case !w.ready():
		starting(rw)
		return
	case t == nil:
		http.Error(rw, "there is no such task", http.StatusNotFound)
		return
	case run == nil:
		http.Error(rw, "the task does not run", http.StatusConflict)
		return
	case len(q["arg"]) == 0 || len(q["arg"]) > maxArgs || q["arg"][0] == "":
		http.Error(rw, "name the command: arg=PROGRAM&arg=...", http.StatusBadRequest)
		return
	}
	// First: of what is no web socket, or comes from another site's page, which is the
	// library's default to refuse, nothing may run.
	socket, err := websocket.Accept(rw, r, nil)
	if err != nil {
		return // answered already
	}
	defer func() { _ = socket.CloseNow() }()
	socket.SetReadLimit(maxMessage)
	session, err := run.Exec(r.Context(), shim.ExecRequest{
		Argv: q["arg"], Tty: q.Get("tty") == "true", Rows: size(q.Get("rows")), Cols: size(q.Get("cols")),
	})
	if err != nil {
		_ = socket.Close(websocket.StatusInternalError, reason(err))
		return
	}
	defer session.Close()
	carry(r.Context(), socket, session)
}

// reason is as much of an error as a closing frame holds.
func reason(err error) string {
	const most = 123 // bytes; RFC 6455, section 5.5
	text := err.Error()
	return strings.ToValidUTF8(text[:min(most, len(text))], "")
}

func (t *task) runningNow() container.Running {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.run
}

func size(text string) uint16 {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// Times of pings to the caller of a command.
const (
	pingEvery = 2 * time.Second
	pingTime  = time.Second
)

func carry(ctx context.Context, socket *websocket.Conn, session container.Session) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go hearken(ctx, socket, session)
	go func() {
		defer session.Close() // wakes the other direction up
		for {
			kind, data, err := socket.Read(ctx)
			if err != nil || kind != websocket.MessageBinary || len(data) == 0 {
				return
			}
			if data[0] != shim.FrameStdin && data[0] != shim.FrameResize || session.Send(data[0], data[1:]) != nil {
				return
			}
		}
	}()
	for {
		kind, data, err := session.Next()
		if err != nil {
			return
		}
		if socket.Write(ctx, websocket.MessageBinary, append([]byte{kind}, data...)) != nil {
			return
		}
		if kind == shim.FrameExit {
			_ = socket.Close(websocket.StatusNormalClosure, "")
			return
		}
	}
}

// hearken closes the session when the caller is gone. While a command does not read its
// input nobody reads what the caller says, so that only writing shows it; for the same
// reason an answer that stays away means nothing.
func hearken(ctx context.Context, socket *websocket.Conn, session container.Session) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pingEvery):
		}
		wait, cancel := context.WithTimeout(ctx, pingTime)
		err := socket.Ping(wait)
		late := wait.Err() != nil
		cancel()
		if err != nil && !late {
			session.Close()
			return
		}
	}
}
