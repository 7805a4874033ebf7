package marathon

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/scheduler"
	"howdah.dev/howdah/internal/tenant"
)

const (
	keepAlive    = 10 * time.Second
	writeTimeout = 30 * time.Second // of one frame to a client that does not read
)

type attachedEvent struct {
	RemoteAddress string `json:"remoteAddress"`
}

// events streams what happens until the client goes, or reads too slowly.
func (a *API) events(w http.ResponseWriter, c *call) {
	r := c.Request
	if !accepts(r, "text/event-stream") {
		a.fail(w, r, &statusError{http.StatusMethodNotAllowed, "Ask with: Accept: text/event-stream"})
		return
	}
	out := http.NewResponseController(w)
	after := r.Header.Get("Last-Event-ID")
	l, missed, lost := a.hub.join(after, r.URL.Query()["event_type"], func(e scheduler.Event) bool { return sees(c.who, e) })
	defer a.hub.leave(l)
	a.hub.Publish(scheduler.Event{Type: "event_stream_attached", At: time.Now(), Body: attachedEvent{r.RemoteAddr}})
	defer a.hub.Publish(scheduler.Event{Type: "event_stream_detached", At: time.Now(), Body: attachedEvent{r.RemoteAddr}})

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	send := func(frame []byte) bool {
		_ = out.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, err := w.Write(frame)
		return err == nil
	}
	first := []byte("\r\n")
	if lost {
		first = fmt.Appendf(nil, "event: events_lost\r\ndata: {\"eventType\":\"events_lost\",\"after\":%q}\r\n\r\n", clean(after))
	}
	if !send(first) {
		return
	}
	for _, e := range missed {
		if frame, err := e.frame(a.hub.epoch); err == nil && !send(frame) {
			return
		}
	}
	_ = out.Flush()
	a.relay(r, l, send, out)
}

// sees tells whether a caller may know of an event: the default project of all,
// others of what is about their own apps.
func sees(who tenant.Token, e scheduler.Event) bool {
	about := e.About()
	return who.Project == tenant.DefaultProject || len(about) > 0 && !slices.ContainsFunc(about, func(id string) bool { return !owns(who, id) })
}

// relay sends what is queued, and an empty line when nothing is for a while.
func (a *API) relay(r *http.Request, l *listener, send func([]byte) bool, out *http.ResponseController) {
	tick := time.NewTicker(a.KeepAlive)
	defer tick.Stop()
	for {
		var frame []byte
		select {
		case <-r.Context().Done():
			return
		case <-a.closing:
			return
		case <-tick.C:
			frame = []byte("\r\n")
		case e, ok := <-l.queue:
			if !ok {
				a.log.Info("an event stream was cut: its client reads too slowly", "client", r.RemoteAddr)
				return
			}
			var err error
			if frame, err = e.frame(a.hub.epoch); err != nil {
				a.log.Error("cannot encode an event", "error", err)
				continue
			}
		}
		if !send(frame) {
			return
		}
		if len(l.queue) == 0 && out.Flush() != nil {
			return
		}
	}
}

// accepts tells whether the client asks for a type by name.
func accepts(r *http.Request, kind string) bool {
	for _, h := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(h, ",") {
			media, _, _ := strings.Cut(part, ";")
			if strings.TrimSpace(media) == kind {
				return true
			}
		}
	}
	return false
}

// clean keeps what a client sent from breaking a line.
func clean(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
