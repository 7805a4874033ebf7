package master

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"howdah.dev/howdah/internal/cell/workerapi"
)

const (
	maxBody     = 4 << 20
	maxRegister = 64 << 20 // a worker with thousands of tasks
)

// refusal is an answer other than what was asked for.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return r.text }

func refuse(code int, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// table is the whole HTTP surface. Every path but that of workers is also there
// beneath /master, and every read also with the suffix .json.
func (m *Master) table() map[string]http.HandlerFunc {
	table := map[string]http.HandlerFunc{
		workerapi.PathSubscribe: m.post(m.workerSubscribe),
		workerapi.PathCall:      m.post(m.workerCall),
	}
	for path, handler := range map[string]http.HandlerFunc{
		"/api/v1/scheduler": m.post(m.scheduler),
		"/api/v1":           m.post(m.operator),
		"/redirect":         m.redirect,
	} {
		table[path], table["/master"+path] = handler, handler
	}
	for path, view := range m.reads() {
		for _, name := range []string{path, path + ".json", "/master" + path, "/master" + path + ".json"} {
			table[name] = view
		}
	}
	return table
}

// Handler serves the scheduler API, the operator API, reads, and workers.
func (m *Master) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimSuffix(r.URL.Path, "/")
		if path == "/health" || path == "/master/health" {
			w.WriteHeader(http.StatusOK) // says only that somebody listens
			return
		}
		principal, ok := m.authorized(w, r)
		if !ok {
			return
		}
		handler := m.routes[path]
		if handler == nil {
			http.Error(w, "There is nothing at this path", http.StatusNotFound)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		handler(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, principal)))
	})
}

// principalKey is where a request's context holds who makes it.
type principalKey struct{}

func principalOf(r *http.Request) string {
	principal, _ := r.Context().Value(principalKey{}).(string)
	return principal
}

// authorized answers those who may not ask.
func (m *Master) authorized(w http.ResponseWriter, r *http.Request) (principal string, ok bool) {
	principal, err := m.cfg.Authorize(r)
	switch {
	case err == nil:
		return principal, true
	case errors.Is(err, ErrForbidden):
		http.Error(w, err.Error(), http.StatusForbidden)
	default:
		w.Header().Set("WWW-Authenticate", `Basic realm="howdah"`)
		http.Error(w, "This path wants the credentials of the cell", http.StatusUnauthorized)
	}
	return "", false
}

// post wraps a handler of POST requests with a JSON body.
func (m *Master) post(handle func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := checkPost(r)
		if err == nil {
			err = handle(w, r)
		}
		fail(w, err)
	}
}

func checkPost(r *http.Request) error {
	if r.Method != http.MethodPost {
		return refuse(http.StatusMethodNotAllowed, "Expecting 'POST', received '%s'", r.Method)
	}
	given := r.Header.Get("Content-Type")
	if given == "" {
		return refuse(http.StatusBadRequest, "Expecting 'Content-Type' to be present")
	}
	kind, _, err := mime.ParseMediaType(given)
	switch {
	case kind == "application/x-protobuf":
		return refuse(http.StatusUnsupportedMediaType, "'Content-Type' application/x-protobuf is not supported; use application/json")
	case err != nil || kind != "application/json":
		return refuse(http.StatusUnsupportedMediaType, "Expecting 'Content-Type' of application/json")
	}
	return nil
}

func fail(w http.ResponseWriter, err error) {
	if err == nil {
		return
	}
	var r *refusal
	switch {
	case errors.As(err, &r):
		if r.code == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		http.Error(w, r.text, r.code)
	case errors.Is(err, errStopped):
		http.Error(w, "Master is stopping", http.StatusServiceUnavailable)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// decode reads a JSON body. what is the message's name in Mesos's errors.
func decode(w http.ResponseWriter, r *http.Request, limit int64, what string, into any) error {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return refuse(http.StatusRequestEntityTooLarge, "The body is longer than %d bytes", limit)
	case err != nil:
		return refuse(http.StatusBadRequest, "Failed to read the body: %v", err)
	}
	err = json.Unmarshal(text, into)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return refuse(http.StatusBadRequest, "Failed to parse body into JSON: %v", err)
	case err != nil:
		return refuse(http.StatusBadRequest, "Failed to convert JSON into %s protobuf: %v", what, err)
	}
	return nil
}

// stream answers with RecordIO until the outbox ends.
func (m *Master) stream(w http.ResponseWriter, r *http.Request, out *outbox) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if err := out.pump(r.Context(), w, m.cfg.Write); err != nil {
		m.cfg.Log.Debug("a stream ended", "err", err)
	}
}

func (m *Master) redirect(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Location", "//"+m.cfg.Address.String())
	w.WriteHeader(http.StatusTemporaryRedirect)
}
