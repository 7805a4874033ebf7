package server

import (
	"context"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/image/registry"
	"howdah.dev/howdah/internal/tenant"
)

// maxUpload bounds one uploaded file, in bytes.
const maxUpload = 1 << 30

//go:embed front.html
var frontHTML string

var frontPage = template.Must(template.New("front").Parse(frontHTML))

// handler serves everything but agents. Who calls is in the request's context.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	s.audit = newAuditor(s.store, s.log, mux, API(mux, s))
	mux.HandleFunc("POST /v1/blobs", s.upload)
	mux.HandleFunc("GET /v1/blobs/{sum}", s.serveBlob)
	mux.Handle("/v2/", registry.New(registry.Config{Store: s.images, Authorize: authorizeImage, Realm: realm, Log: s.log}))
	mux.HandleFunc("GET "+imageTokenPath, s.imageToken)
	for _, method := range webMethods {
		mux.HandleFunc(method+" /clusters/{name}/{rest...}", s.clusterWeb)
	}
	mux.HandleFunc("GET /{$}", s.front)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if allowed := methods(mux, r); len(allowed) > 0 {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			writeProblem(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s is not for this address; use %s", r.Method, strings.Join(allowed, " or ")))
			return
		}
		writeProblem(w, http.StatusNotFound, "there is nothing at this address; see /openapi.json")
	})
	return mux
}

// methods lists those that an address has, which is none where only the pattern for
// everything fits.
func methods(mux *http.ServeMux, r *http.Request) []string {
	var out []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		asked := r.Clone(r.Context())
		asked.Method = m
		if _, pattern := mux.Handler(asked); pattern != "/" {
			out = append(out, m)
		}
	}
	return out
}

// callerKey is where a request's context holds who makes it.
type callerKey struct{}

// asOwner serves callers that can be nobody but the owner.
func asOwner(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visited(r.Context(), owner)
		h.ServeHTTP(w, r.WithContext(withCaller(r.Context(), owner)))
	})
}

// owner is who holds the home.
var owner = tenant.Token{ID: "owner", Name: "owner", Project: tenant.DefaultProject, Role: tenant.Admin}

func withCaller(ctx context.Context, who tenant.Token) context.Context {
	return context.WithValue(ctx, callerKey{}, who)
}

// callerOf returns who makes a request; the zero token for nobody.
func callerOf(ctx context.Context) tenant.Token {
	who, _ := ctx.Value(callerKey{}).(tenant.Token)
	return who
}

// authenticated asks for a token and refuses requests that a foreign page may
// have made a browser send. The registry asks for itself: its clients must be
// told how to log in.
func (s *Server) authenticated(h http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusForbidden, "another site's page asked for this")
	}))
	return guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			name = r.Host
		}
		if a, err := netip.ParseAddr(name); err != nil || !a.IsLoopback() {
			writeProblem(w, http.StatusForbidden, "names of hosts are not served; use the address itself, http://"+addressOf(r))
			return
		}
		who, err := s.caller(r)
		if refused, ok := errors.AsType[*tenant.RefusedError](err); ok {
			visited(r.Context(), tenant.Token{ID: refused.Token.ID, Name: refused.Token.Name, Project: refused.Token.Project})
		} else {
			visited(r.Context(), who)
		}
		images := r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/")
		switch {
		case images:
		case err != nil:
			w.Header().Set("WWW-Authenticate", `Basic realm="howdah: the password is a token"`)
			writeProblem(w, http.StatusUnauthorized, "a token is needed: "+s.whereTokens()+"; "+err.Error())
			return
		case !s.mayCall(who, r.Method):
			writeProblem(w, http.StatusForbidden, forbidden(who))
			return
		}
		h.ServeHTTP(w, r.WithContext(withCaller(r.Context(), who)))
	}))
}

// addressOf is where a request came in.
func addressOf(r *http.Request) string {
	a, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if a == nil {
		return ""
	}
	return a.String()
}

// whereTokens says where one comes from.
func (s *Server) whereTokens() string {
	if s.shared() {
		return "an admin makes one with howdah token create"
	}
	return "the owner's is in " + s.cfg.Home.Token()
}

func forbidden(who tenant.Token) string {
	return fmt.Sprintf("the token of project %s with role %s may not do this", who.Project, who.Role)
}

// caller tells whose token a request carries.
func (s *Server) caller(r *http.Request) (tenant.Token, error) {
	text := tenant.FromRequest(r)
	if s.token != "" && subtle.ConstantTimeCompare([]byte(text), []byte(s.token)) == 1 {
		return owner, nil
	}
	return s.verifier.Verify(text, time.Now())
}

// mayCall tells whether a token opens the API: viewers read, others change; what is
// left to admins, onlyAdmins says. In the posture single-user only tokens of the
// default project do; what those of other projects reach otherwise, scoped says.
func (s *Server) mayCall(who tenant.Token, method string) bool {
	need := tenant.Operator
	if method == http.MethodGet || method == http.MethodHead {
		need = tenant.Viewer
	}
	return (who.Project == tenant.DefaultProject || s.shared()) && who.Role.Covers(need)
}

// authorizeImage tells whether a caller may use a repository: a project's
// members those of their project, the default project's all.
func authorizeImage(r *http.Request, repo, action string) error {
	who := callerOf(r.Context())
	if _, node := tenant.NodeOfToken(who.ID); node && who.Expires.IsZero() {
		return fmt.Errorf("%w: a node's token only buys short-lived ones, at %s", registry.ErrUnauthenticated, imageTokenPath)
	}
	need := tenant.Operator
	if action == registry.ActionLogin || action == registry.ActionPull {
		need = tenant.Viewer
	}
	project, _, _ := strings.Cut(repo, "/")
	switch {
	case who.Role == "":
		return registry.ErrUnauthenticated
	case !who.Role.Covers(need):
		return fmt.Errorf("the role %s is needed, the token's is %s", need, who.Role)
	case action != registry.ActionLogin && who.Project != tenant.DefaultProject && who.Project != project:
		return fmt.Errorf("the token is one of project %s", who.Project)
	}
	return nil
}

// upload keeps a file under its digest.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	if err := s.noRoom(); err != nil {
		writeJSON(w, http.StatusInsufficientStorage, "application/problem+json", full(err))
		return
	}
	sum, n, err := s.cache.Put(r.Context(), http.MaxBytesReader(w, r.Body, maxUpload))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			writeProblem(w, http.StatusRequestEntityTooLarge, "the file is larger than 1 GiB")
			return
		}
		writeProblem(w, http.StatusInternalServerError, err.Error())
		return
	}
	writeJSON(w, http.StatusCreated, "application/json", api.Blob{SHA256: sum, Bytes: n})
}

func writeProblem(w http.ResponseWriter, status int, detail string) {
	writeJSON(w, status, "application/problem+json", api.Problem{Status: status, Title: http.StatusText(status), Detail: detail})
}

// writeError answers with the problem an error is.
func writeError(w http.ResponseWriter, err error) {
	p := &api.Problem{}
	errors.As(problem(err), &p)
	writeJSON(w, p.Status, "application/problem+json", p)
}

func writeJSON(w http.ResponseWriter, status int, kind string, v any) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// front lists the clusters and the pages of their programs.
func (s *Server) front(w http.ResponseWriter, r *http.Request) {
	cs, err := s.manager.List(r.Context())
	if err != nil {
		writeProblem(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = frontPage.Execute(w, map[string]any{"Info": s.info(), "Clusters": cs}) // the client may have gone
}
