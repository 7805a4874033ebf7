package process

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
	"howdah.dev/howdah/internal/tenant"
)

// doors is the gate of a cell's programs, and tokens by project and role.
func doors(t *testing.T) (g *gate, token func(project string, role tenant.Role) string) {
	t.Helper()
	authority, err := tenant.OpenAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	a := Access{Secret: filepath.Join(dir, "secret"), Authority: filepath.Join(dir, "ca.pem")}
	for file, text := range map[string]string{a.Secret: "a secret of the cell", a.Authority: string(authority.PEM())} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if g, err = a.open(); err != nil {
		t.Fatal(err)
	}
	return g, func(project string, role tenant.Role) string {
		text, err := authority.Sign(tenant.Token{ID: "t", Project: project, Role: role, Issued: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

func asking(method, path, token string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// TestWorkerGate: a project's viewers see sandboxes of what is in its group; its
// operators run commands in what it made itself.
func TestWorkerGate(t *testing.T) {
	g, token := doors(t)
	task := func(id, project string) *mesos.TaskInfo {
		info := &mesos.TaskInfo{Name: "x.shop", Labels: &mesos.Labels{Labels: []mesos.Label{{Key: app.IDLabel, Value: id}}}}
		if project != "" {
			info.Labels.Labels = append(info.Labels.Labels, mesos.Label{Key: app.ProjectLabel, Value: project})
		}
		return info
	}
	for _, tt := range []struct {
		project    string
		role       tenant.Role
		task       *mesos.TaskInfo
		files, run bool
	}{
		{"shop", tenant.Viewer, task("/shop/web", "shop"), true, false},
		{"shop", tenant.Operator, task("/shop/web", "shop"), true, true},
		{"shop", tenant.Admin, task("/shop/web", ""), true, false},
		{"shop", tenant.Admin, task("/shop/web", "bank"), true, false},
		{"shop", tenant.Admin, task("/shop.bank", "bank"), false, false},
		{"shop", tenant.Admin, task("/bank/x.shop", ""), false, false},
		{"shop", tenant.Admin, &mesos.TaskInfo{Name: "x.shop"}, false, false},
		{"shop", tenant.Admin, nil, false, false},
		{"default", tenant.Viewer, task("/shop/web", "shop"), true, false},
		{"default", tenant.Operator, task("/shop/web", "shop"), true, true},
		{"default", tenant.Operator, nil, true, true},
	} {
		text := token(tt.project, tt.role)
		files, run := g.worker(asking(http.MethodGet, "/files/read", text), tt.task), g.worker(asking(http.MethodGet, "/exec", text), tt.task)
		if (files == nil) != tt.files || (run == nil) != tt.run {
			t.Errorf("%s %s of %+v: files %v, exec %v", tt.project, tt.role, tt.task, files, run)
		}
	}
	if err := g.worker(asking(http.MethodGet, "/files/read", "nothing"), task("/shop/web", "shop")); err == nil {
		t.Error("a word is a token")
	}
}

// TestMasterGate: frameworks, and what is seen of the whole cell, are the default
// project's; nobody but the cell's own programs is a worker.
func TestMasterGate(t *testing.T) {
	g, token := doors(t)
	const frameworks = "/api/v1/scheduler"
	for _, tt := range []struct {
		token, method, path string
		want                string // the principal; "" for none
	}{
		{token("default", tenant.Viewer), http.MethodGet, "/state", "default"},
		{token("shop", tenant.Admin), http.MethodGet, "/state", ""},
		{token("shop", tenant.Viewer), http.MethodGet, "/tasks.json", ""},
		{token("shop", tenant.Viewer), http.MethodGet, "/master/slaves", ""},
		{token("shop", tenant.Viewer), http.MethodHead, "/metrics/snapshot", ""},
		{"a secret of the cell", http.MethodPost, frameworks, principalCell},
		{"a secret of the cell", http.MethodPost, workerapi.PathSubscribe, principalCell},
		{token("default", tenant.Operator), http.MethodPost, frameworks, "default"},
		{token("default", tenant.Viewer), http.MethodPost, frameworks, ""},
		{token("shop", tenant.Admin), http.MethodPost, frameworks, ""},
		{token("default", tenant.Admin), http.MethodPost, workerapi.PathSubscribe, ""},
		{token("default", tenant.Admin), http.MethodPost, workerapi.PathCall, ""},
	} {
		if got, err := g.master(asking(tt.method, tt.path, tt.token)); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v; wanted %q", tt.path, got, err, tt.want)
		}
	}
}
