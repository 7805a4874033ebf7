package agentserver_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/agentserver"
)

// TestIdentity: who does not prove to be a node is refused before anything is
// asked of the manager, and a node speaks for itself alone.
func TestIdentity(t *testing.T) {
	h := agentserver.New(agentserver.Config{
		Identify: func(r *http.Request) (string, bool) { n := r.Header.Get("node"); return n, n != "" },
		Blobs:    http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("blob " + r.PathValue("sum"))) }),
	})
	for _, tt := range []struct {
		name, method, path, node, want string
		status                         int
	}{
		{"no identity", http.MethodPost, agentapi.PathReport, "", "a node's certificate is needed", 401},
		{"no identity, permit", http.MethodPost, agentapi.PathPermit, "", "a node's certificate is needed", 401},
		{"no identity, blob", http.MethodGet, agentapi.PathBlob + "abc", "", "a node's certificate is needed", 401},
		{"blob", http.MethodGet, agentapi.PathBlob + "abc", "a", "blob abc", 200},
		{"another's report", http.MethodPost, agentapi.PathReport, "a", "the certificate is of node a, not b", 403},
		{"another's permit", http.MethodPost, agentapi.PathPermit, "a", "the certificate is of node a, not b", 403},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, strings.NewReader(`{"node":"b"}`))
			r.Header.Set("Content-Type", "application/json")
			if tt.node != "" {
				r.Header.Set("node", tt.node)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, tt.status, tt.want)
			}
		})
	}
}

// TestByCertificate: without a verified certificate nobody is a node, whatever
// a header says.
func TestByCertificate(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, agentapi.PathReport, nil)
	r.Header.Set("howdah-sim-node", "a")
	if node, ok := agentserver.ByCertificate(r); ok {
		t.Errorf("it is node %s", node)
	}
}
