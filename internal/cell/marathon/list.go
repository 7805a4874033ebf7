package marathon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"strings"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/scheduler"
	"howdah.dev/howdah/internal/tenant"
)

// filter is what a list of apps is narrowed by.
type filter struct {
	app.Filter
	who tenant.Token
}

// open tells whether everything passes.
func (f *filter) open() bool {
	return f.Cmd == "" && f.ID == "" && len(f.Labels) == 0 && f.who.Project == tenant.DefaultProject
}

func (f *filter) takes(spec *app.App) bool { return owns(f.who, spec.ID) && f.Match(spec) }

// listApps answers from texts that are kept per app.
func (a *API) listApps(w http.ResponseWriter, c *call) (any, error) {
	q := c.URL.Query()
	e := readEmbeds(q["embed"], "apps.")
	e.counts, e.deployments = true, true
	labels, bad := app.ParseLabels(q.Get("label"))
	if bad != nil {
		return nil, bad
	}
	f := filter{app.Filter{ID: q.Get("id"), Cmd: q.Get("cmd"), Labels: labels}, c.who}
	if !e.lasting() {
		list, err := a.lists.answer(a.engine, &f, e)
		return raw(list.json), err
	}
	of := c.who.Project + " " + q.Encode()
	var revision uint64
	a.engine.View(func(v scheduler.View) { revision = v.Revision() })
	if tag := a.tag(revision, of); strings.Contains(c.Header.Get("If-None-Match"), tag) {
		w.Header().Set("ETag", tag)
		return noContent(http.StatusNotModified), nil
	}
	list, err := a.lists.answer(a.engine, &f, e)
	if err != nil {
		return nil, err
	}
	w.Header().Set("ETag", a.tag(list.revision, of))
	return raw(list.json), nil
}

// tag names one state of one list.
func (a *API) tag(revision uint64, of string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(of))
	return fmt.Sprintf("\"%s-%d-%x\"", a.hub.epoch, revision, h.Sum64())
}

// raw is an answer that is JSON already.
type raw []byte

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

// encode writes JSON as Marathon does: < and & of commands stay what they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	text, err := encode(body)
	if err != nil { // a value of ours that cannot be written is a fault of ours
		status, text = http.StatusInternalServerError, []byte(`{"message":"the answer cannot be written"}`)
	}
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client may have gone
}
