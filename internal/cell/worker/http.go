package worker

import (
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/worker/sandbox"
)

// route is one path of the worker's API.
type route struct {
	pattern string
	serve   func(http.ResponseWriter, *http.Request)
}

// Handler serves the worker's API: its state, the sandboxes of its tasks in the shape
// of Mesos's files API, their logs, and commands in them. Config.Authorize is asked
// about everything but /ping.
func (w *Worker) Handler() http.Handler {
	routes := []route{
		{"GET /ping", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("pong\n")) }},
		{"GET /state", w.general(w.serveState)},
		{"GET /monitor/statistics", w.general(w.serveStatistics)},
		{"GET /files/browse", w.ofSandbox(func(s served) { s.folder.ServeBrowse(s.w, s.rel) })},
		{"GET /files/read", w.ofSandbox(func(s served) { s.folder.ServeRead(s.w, s.r, s.rel) })},
		{"GET /files/download", w.ofSandbox(func(s served) { s.folder.ServeDownload(s.w, s.r, s.rel) })},
		{"GET /files/tail", w.ofSandbox(func(s served) { s.folder.ServeTail(s.w, s.r, s.rel, s.task.alive) })},
		{"GET /exec", w.serveExec},
	}
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.HandleFunc(r.pattern, r.serve)
		method, path, _ := strings.Cut(r.pattern, " ")
		for _, alias := range []string{path + ".json", "/slave(1)" + path, "/slave(1)" + path + ".json"} {
			mux.HandleFunc(method+" "+alias, r.serve)
		}
	}
	return mux
}

// general lets requests through that are about the worker as a whole.
func (w *Worker) general(serve func(http.ResponseWriter, *http.Request)) func(http.ResponseWriter, *http.Request) {
	return func(rw http.ResponseWriter, r *http.Request) {
		if err := w.cfg.Authorize(r, nil); err != nil {
			refuse(rw, err)
			return
		}
		serve(rw, r)
	}
}

// ErrForbidden is for Config.Authorize: the caller is known, and may not do this.
var ErrForbidden = errors.New("not allowed")

func refuse(rw http.ResponseWriter, err error) {
	if errors.Is(err, ErrForbidden) {
		http.Error(rw, err.Error(), http.StatusForbidden)
		return
	}
	rw.Header().Set("WWW-Authenticate", `Basic realm="howdah"`)
	http.Error(rw, err.Error(), http.StatusUnauthorized)
}

// starting answers while the worker has not taken up its tasks yet.
func starting(rw http.ResponseWriter) {
	rw.Header().Set("Retry-After", "1")
	http.Error(rw, "the worker is starting; ask again", http.StatusServiceUnavailable)
}

// served is a request about a part of a sandbox.
type served struct {
	w      http.ResponseWriter
	r      *http.Request
	task   *task
	folder sandbox.Folder
	rel    string
}

// ofSandbox finds the sandbox that a path is about. Only then is it known who may
// look; strangers learn nothing of what there is.
func (w *Worker) ofSandbox(serve func(served)) func(http.ResponseWriter, *http.Request) {
	return func(rw http.ResponseWriter, r *http.Request) {
		path := r.URL.Query().Get("path")
		t, name, rel := w.resolve(path)
		var info *mesos.TaskInfo
		if t != nil {
			info = &t.info
		}
		if err := w.cfg.Authorize(r, info); err != nil {
			refuse(rw, err)
			return
		}
		switch {
		case !w.ready():
			starting(rw)
		case path == "":
			http.Error(rw, "Expecting 'path=value' in query.", http.StatusBadRequest)
		case t == nil:
			http.Error(rw, sandbox.ErrNotFound.Error(), http.StatusNotFound)
		default:
			serve(served{w: rw, r: r, task: t, folder: sandbox.Folder{Dir: t.sandbox(), Name: name, Hidden: t.hidden()}, rel: rel})
		}
	}
}

// directory is the name of a task's sandbox in this API. Folders of the host are
// nobody's business.
func (t *task) directory() string {
	return "/slaves/" + t.info.AgentID.Value + "/frameworks/" + t.framework.Value +
		"/executors/" + t.info.TaskID.Value + "/runs/" + t.id
}

// hidden are the paths in the sandbox of what only the task itself may have: logins
// to registries, tokens, secrets of plain commands.
func (t *task) hidden() []string {
	out := append([]string{".docker", ".dockercfg"}, t.w.cfg.Private...)
	if t.info.Container == nil {
		return out
	}
	for _, v := range t.info.Container.Volumes {
		if v.Source != nil && v.Source.Secret != nil && filepath.IsLocal(v.ContainerPath) {
			out = append(out, filepath.Clean(v.ContainerPath))
		}
	}
	return out
}

// resolve takes a path apart: [/slaves/ID]/frameworks/ID/executors/TASK/runs/RUN/rest,
// where RUN is the container's id or "latest".
func (w *Worker) resolve(path string) (t *task, name, rel string) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) > 2 && parts[0] == "slaves" {
		parts = parts[2:]
	}
	if len(parts) < 6 || parts[0] != "frameworks" || parts[2] != "executors" || parts[4] != "runs" {
		return nil, "", ""
	}
	t = w.task(parts[1], parts[3])
	if t == nil || parts[5] != "latest" && parts[5] != t.id {
		return nil, "", ""
	}
	return t, t.directory(), strings.Join(parts[6:], "/")
}

func (t *task) alive() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rec.Phase != phaseEnded
}

func writeJSON(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(v)
}
