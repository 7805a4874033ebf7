package server

import (
	"net/http"
	"strings"
	"time"

	"howdah.dev/howdah/internal/agentserver"
)

// agentHandler serves agents; a certificate is the one way to be a node.
func (s *Server) agentHandler() http.Handler {
	return agentserver.New(agentserver.Config{
		Manager: s.manager, Identify: agentserver.ByCertificate(s.authority), Audit: s.auditAgent,
		Blobs: http.HandlerFunc(s.serveBlob), Archives: http.HandlerFunc(s.takeArchive), Log: s.log,
	})
}

// serveBlob serves a blob by digest, ranges included.
func (s *Server) serveBlob(w http.ResponseWriter, r *http.Request) {
	sum := r.PathValue("sum")
	f, err := s.manager.Blob(strings.ToLower(sum))
	if err != nil {
		writeProblem(w, http.StatusNotFound, "there is no blob "+sum)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, f)
}
