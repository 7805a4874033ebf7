package marathon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/scheduler"
	"howdah.dev/howdah/internal/tenant"
)

// list is the whole answer to a question for all apps, until something changes.
type list struct {
	revision uint64
	text     []byte
}

// filter is what a list of apps is narrowed by.
type filter struct {
	app.Filter
	who tenant.Token
}

// open tells whether everything passes.
func (f *filter) open() bool {
	return f.Cmd == "" && f.ID == "" && len(f.Labels) == 0 && f.who.Project == DefaultProject
}

func (f *filter) takes(spec *app.App) bool { return owns(f.who, spec.ID) && f.Match(spec) }

// listApps answers from texts that are kept per app: a poll costs what changed.
func (a *API) listApps(w http.ResponseWriter, c *call) (any, error) {
	q := c.URL.Query()
	e := readEmbeds(q["embed"], "apps.")
	e.counts, e.deployments = true, true
	labels, bad := app.ParseLabels(q.Get("label"))
	if bad != nil {
		return nil, bad
	}
	f := filter{app.Filter{ID: q.Get("id"), Cmd: q.Get("cmd"), Labels: labels}, c.who}
	var text []byte
	var revision uint64
	var err error
	a.engine.View(func(v scheduler.View) {
		revision = v.Revision()
		if tag := a.tag(revision, q.Encode()); c.Header.Get("If-None-Match") == tag {
			return
		}
		text, err = a.listText(v, &f, e)
	})
	if err != nil {
		return nil, err
	}
	w.Header().Set("ETag", a.tag(revision, q.Encode()))
	if text == nil {
		w.WriteHeader(http.StatusNotModified)
		return nil, nil
	}
	return raw(text), nil
}

// tag names one state of one list.
func (a *API) tag(revision uint64, query string) string {
	return fmt.Sprintf("\"%s-%d-%x\"", a.hub.epoch, revision, query)
}

// raw is an answer that is JSON already.
type raw []byte

func (a *API) listText(v scheduler.View, f *filter, e embeds) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := e.key()
	if have, ok := a.lists[key]; ok && f.open() && have.revision == v.Revision() {
		return have.text, nil
	}
	out := bytes.NewBufferString(`{"apps":[`)
	first := true
	for at := range v.Apps() {
		if !f.takes(at.Spec) {
			continue
		}
		text, err := a.cache.appJSON(v, at, e)
		if err != nil {
			return nil, err
		}
		if !first {
			out.WriteByte(',')
		}
		first = false
		out.Write(text)
	}
	out.WriteString("]}")
	if f.open() {
		if len(a.lists) >= maxCached {
			clear(a.lists)
		}
		a.lists[key] = list{v.Revision(), out.Bytes()}
	}
	return out.Bytes(), nil
}

// write writes an answer with status 200, or what the answer itself says.
func (a *API) write(w http.ResponseWriter, _ *http.Request, answer any) {
	switch body := answer.(type) {
	case created:
		writeJSON(w, http.StatusCreated, body.body)
	case noContent:
		w.WriteHeader(int(body))
	case raw:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // the client may have gone
	default:
		writeJSON(w, http.StatusOK, answer)
	}
}

// noContent is an answer without a body; its value is the status.
type noContent int

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	text, err := json.Marshal(body)
	if err != nil { // a value of ours that cannot be written is a fault of ours
		status, text = http.StatusInternalServerError, []byte(`{"message":"the answer cannot be written"}`)
	}
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client may have gone
}
