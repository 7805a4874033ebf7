package server

import (
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"errors"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"howdah.dev/howdah/api"
)

// maxUpload bounds one uploaded file, in bytes.
const maxUpload = 1 << 30

//go:embed front.html
var frontHTML string

var frontPage = template.Must(template.New("front").Parse(frontHTML))

// handler serves everything but agents, without asking who calls.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	API(mux, s)
	mux.HandleFunc("POST /v1/blobs", s.upload)
	mux.HandleFunc("GET /v1/blobs/{sum}", s.serveBlob)
	mux.HandleFunc("GET /{$}", s.front)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusNotFound, "there is nothing at this address; see /openapi.json")
	})
	return mux
}

// authenticated asks for the owner's token and refuses requests that a
// foreign page may have made a browser send.
func (s *Server) authenticated(h http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	return guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			name = r.Host
		}
		if a, err := netip.ParseAddr(name); err != nil || !a.IsLoopback() {
			writeProblem(w, http.StatusForbidden, "use the server's own address, "+s.info().Address)
			return
		}
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			_, token, _ = r.BasicAuth()
		}
		if subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="howdah: the password is the token in run/token of the home"`)
			writeProblem(w, http.StatusUnauthorized, "a token is needed: the owner's is in "+s.cfg.Home.Token())
			return
		}
		h.ServeHTTP(w, r)
	}))
}

// upload keeps a file under its digest.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
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
