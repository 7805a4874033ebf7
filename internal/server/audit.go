package server

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/sys/unix"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// maxObject bounds the path in a row of the audit record, in bytes.
const maxObject = 256

// auditor keeps the audit record: a row for every change that is asked for through
// the API, whether or not it was allowed. The row is written when the result is known
// and before it is answered. Where it cannot be written, further changes are refused
// until one can.
type auditor struct {
	store *store.Store
	log   *slog.Logger
	mux   *http.ServeMux
	names map[string]string // operation by the pattern of its route

	mu      sync.Mutex
	broken  bool // the last row could not be written
	refused bound
}

// bound limits the rows that requests of nobody known make in a minute, so that they
// cannot push others' out.
type bound struct {
	from  time.Time
	n     int
	extra int // that were not recorded since
}

// mostRefused is how many rows of requests of nobody known a minute may have.
const mostRefused = 100

// take tells whether another row may be written, and how many were not before.
func (b *bound) take(now time.Time) (ok bool, before int) {
	if now.Sub(b.from) >= time.Minute || now.Before(b.from) {
		b.from, b.n = now, 0
	}
	if b.n++; b.n > mostRefused {
		b.extra++
		return false, 0
	}
	before, b.extra = b.extra, 0
	return true, before
}

// newAuditor makes an auditor of the operations of an API.
func newAuditor(st *store.Store, log *slog.Logger, mux *http.ServeMux, a huma.API) *auditor {
	names := map[string]string{"POST /v1/blobs": "upload-blob"}
	for path, item := range a.OpenAPI().Paths {
		for method, o := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodDelete: item.Delete, http.MethodPatch: item.Patch,
		} {
			if o != nil {
				names[method+" "+path] = o.OperationID
			}
		}
	}
	return &auditor{store: st, log: log, mux: mux, names: names}
}

// onlyRead lists operations that change nothing although they are posted.
var onlyRead = []string{"plan", "cluster-client"}

// alsoChanges lists operations that may change something although they are got.
var alsoChanges = []string{"exec-node"}

// change names the change a request asks for; "" for none.
func (a *auditor) change(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, "/v2/") { // what makes an image of its parts is what counts
		manifest := strings.Contains(r.URL.Path, "/manifests/")
		switch {
		case r.Method == http.MethodPut && manifest:
			return "push-image"
		case r.Method == http.MethodDelete:
			return "delete-image"
		}
		return ""
	}
	_, pattern := a.mux.Handler(r)
	name, known := a.names[pattern]
	switch {
	case slices.Contains(alsoChanges, name):
		return name
	case slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, r.Method):
		return ""
	case known && slices.Contains(onlyRead, name), pattern == "", pattern == "/":
		return ""
	case known:
		return name
	}
	_, path, _ := strings.Cut(pattern, " ")
	return r.Method + " " + path
}

// visit is what is learnt of a caller on the way.
type visit struct{ who tenant.Token }

// visitKey is where a request's context holds its visit.
type visitKey struct{}

// visited notes who makes a request.
func visited(ctx context.Context, who tenant.Token) {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		v.who = who
	}
}

// watch records changes that pass through h.
func (a *auditor) watch(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		what := a.change(r)
		if what == "" {
			h.ServeHTTP(w, r)
			return
		}
		if err := a.mend(r.Context()); err != nil {
			writeProblem(w, http.StatusServiceUnavailable, auditRefusal(err))
			return
		}
		v := &visit{}
		rec := &recorder{ResponseWriter: w, record: func(status int) error {
			return a.add(r.Context(), store.Audit{Origin: originOf(r), What: what, Object: cut((&url.URL{Path: r.URL.Path}).EscapedPath(), maxObject), Status: status}, v.who)
		}}
		defer func() {
			if p := recover(); p != nil {
				if !rec.done {
					_ = rec.record(http.StatusInternalServerError) // in the log where it fails
				}
				panic(p)
			}
			rec.begin(http.StatusOK)
		}()
		h.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
	})
}

func auditRefusal(err error) string {
	return "the audit record cannot be written, so nothing is changed: " + err.Error() + "; give the home's disk room, then try again"
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// add writes a row. Rows of nobody known are bounded.
func (a *auditor) add(ctx context.Context, row store.Audit, who tenant.Token) error {
	row.Who, row.Name, row.Project, row.Role = who.ID, who.Name, who.Project, string(who.Role)
	if who.Role == "" {
		a.mu.Lock()
		ok, before := a.refused.take(time.Now())
		a.mu.Unlock()
		if !ok {
			return nil
		}
		if before > 0 {
			row.Detail = fmt.Sprintf("%d more requests of nobody known were refused before and not recorded", before)
		}
	}
	// The client's going does not undo what was done.
	err := a.store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.PutAudit(row) })
	if err == nil {
		return nil
	}
	a.log.Error("cannot write the audit record", "who", row.Who, "origin", row.Origin, "what", row.What, "object", row.Object, "status", row.Status, "error", err)
	a.mu.Lock()
	a.broken = true
	a.mu.Unlock()
	return err
}

// mend tries to go on after a row could not be written.
func (a *auditor) mend(ctx context.Context) error {
	a.mu.Lock()
	broken := a.broken
	a.mu.Unlock()
	if !broken {
		return nil
	}
	err := a.store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		return tx.PutAudit(store.Audit{Who: "server", What: "resume-audit", Status: http.StatusOK, Detail: "rows could not be written before; the server's log has them"})
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.broken = false
	a.mu.Unlock()
	return nil
}

// recorder has a row written when the status is known.
type recorder struct {
	http.ResponseWriter
	record func(status int) error
	done   bool
	mute   bool // something else was answered
}

// begin has the row written, once, and tells whether the answer may go out.
func (w *recorder) begin(status int) bool {
	if w.done {
		return !w.mute
	}
	w.done = true
	if err := w.record(status); err != nil && status < http.StatusBadRequest {
		w.mute = true
		clear(w.Header())
		writeProblem(w.ResponseWriter, http.StatusServiceUnavailable,
			"the change was made, but its row in the audit record could not be written: "+err.Error()+"; no other change is taken before one can")
	}
	return !w.mute
}

// WriteHeader is http.ResponseWriter's.
func (w *recorder) WriteHeader(status int) {
	if status >= http.StatusOK && !w.begin(status) {
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write is http.ResponseWriter's.
func (w *recorder) Write(p []byte) (int, error) {
	if !w.begin(http.StatusOK) {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// Flush is http.Flusher's.
func (w *recorder) Flush() {
	if w.begin(http.StatusOK) {
		_ = http.NewResponseController(w.ResponseWriter).Flush() // as http.Flusher, which has no error
	}
}

// Hijack is http.Hijacker's.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.begin(http.StatusSwitchingProtocols) {
		return nil, nil, http.ErrHijacked
	}
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// originKey is where a connection's context holds the process at its other end.
type originKey struct{}

// withProcess notes which process made a connection to the unix socket.
func withProcess(ctx context.Context, c net.Conn) context.Context {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil || err != nil { //nolint:gosec // a descriptor fits an int
		return ctx
	}
	return context.WithValue(ctx, originKey{}, fmt.Sprintf("socket, uid %d, pid %d", cred.Uid, cred.Pid))
}

// originOf tells where a request comes from.
func originOf(r *http.Request) string {
	if o, ok := r.Context().Value(originKey{}).(string); ok {
		return o
	}
	return r.RemoteAddr
}

// auditAgent records a join or a renewal.
func (s *Server) auditAgent(ctx context.Context, what, node, origin string, err error) {
	row := store.Audit{Origin: origin, What: what, Object: cut(node, maxObject), Status: http.StatusOK}
	who := tenant.Token{ID: "node " + cut(node, maxObject), Role: tenant.Viewer}
	if err != nil {
		row.Status, who.Role = http.StatusForbidden, "" // nobody known: whoever reaches the port can try
	}
	if name := s.manager.NodeName(ctx, node); name != "" {
		row.Object = name
	}
	_ = s.audit.add(ctx, row, who) // in the log where it fails; the agent has what it asked for
}

// audits serves the audit record.
func (s *Server) audits(a huma.API) {
	type input struct {
		Since time.Time `query:"since" doc:"Only rows from then on"`
		Who   string    `query:"who" maxLength:"200" doc:"Only of this token's id or name, or 'owner'"`
		What  string    `query:"what" maxLength:"200" doc:"Only this operation"`
		Limit int       `query:"limit" default:"200" minimum:"1" maximum:"5000" doc:"At most so many, the newest"`
	}
	route(a, http.MethodGet, "/v1/audit", "list-audit", "Who changed what, oldest first", func(ctx context.Context, in *input) (*body[[]api.AuditEntry], error) {
		out := []api.AuditEntry{}
		err := s.store.View(ctx, func(tx *store.Tx) error {
			rows, err := tx.Audits(store.AuditFilter{Since: in.Since, Who: in.Who, What: in.What, Limit: in.Limit})
			for _, r := range rows {
				out = append(out, api.AuditEntry{
					ID: r.ID, Time: r.At, Who: r.Who, Name: r.Name, Project: r.Project, Role: r.Role,
					Origin: r.Origin, What: r.What, Object: r.Object, Status: r.Status, Detail: r.Detail,
				})
			}
			return err
		})
		return answer(out, err)
	})
}
