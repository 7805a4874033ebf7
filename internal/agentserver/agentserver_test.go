package agentserver_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/agentserver"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// TestIdentity: who does not prove to be a node is refused before anything is
// asked of the manager, and a node speaks for itself alone.
func TestIdentity(t *testing.T) {
	h := agentserver.New(agentserver.Config{
		Manager: managerOf(t, "a"),
		Identify: func(r *http.Request) (tenant.Peer, error) {
			if r.Header.Get("node") == "" {
				return tenant.Peer{}, tenant.ErrCertificate
			}
			return tenant.Peer{Node: r.Header.Get("node")}, nil
		},
		Blobs: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("blob " + r.PathValue("sum"))) }),
	})
	for _, tt := range []struct {
		name, method, path, node, want string
		status                         int
	}{
		{"no identity", http.MethodPost, agentapi.PathReport, "", "a node's certificate is needed", 401},
		{"no identity, permit", http.MethodPost, agentapi.PathPermit, "", "a node's certificate is needed", 401},
		{"no identity, blob", http.MethodGet, agentapi.PathBlob + "abc", "", "a node's certificate is needed", 401},
		{"blob", http.MethodGet, agentapi.PathBlob + "abc", "a", "blob abc", 200},
		{"a node that is gone", http.MethodGet, agentapi.PathBlob + "abc", "z", "the node is removed, and its certificate with it", 403},
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
	authority, err := tenant.OpenAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if peer, err := agentserver.ByCertificate(authority)(r); !errors.Is(err, tenant.ErrCertificate) || peer != (tenant.Peer{}) {
		t.Errorf("it is node %+v: %v", peer, err)
	}
}

// managerOf is a manager that knows one node.
func managerOf(t *testing.T, node string) *cluster.Manager {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	err = st.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.PutCluster(store.Cluster{ID: "c", Name: "c", Infrastructure: "local", Intent: agentapi.IntentRun, Created: tx.Now()}); err != nil {
			return err
		}
		return tx.PutNode(store.Node{ID: node, Cluster: "c", Name: node, Group: "g", Ordinal: 1, Intent: agentapi.IntentRun, Infrastructure: "local", Address: "127.0.0.1", Host: "h"})
	})
	if err != nil {
		t.Fatal(err)
	}
	return cluster.New(cluster.Config{Store: st})
}
