package server_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to break the database from outside

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/golden"
	"howdah.dev/howdah/internal/server"
)

// auditOf returns the rows a filter chooses.
func (r *running) auditOf(t *testing.T, f client.AuditFilter) []api.AuditEntry {
	t.Helper()
	rows, err := r.c.Audit(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestAudit: each change is recorded with who, from where, and the result; refused ones
// too; what only reads is not, and no body is.
func TestAudit(t *testing.T) {
	r := serve(t, newHome(t))
	made, err := r.c.CreateToken(t.Context(), api.TokenRequest{Project: "default", Role: "viewer", Name: "eve", Seconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	operator, err := r.c.CreateToken(t.Context(), api.TokenRequest{Project: "default", Role: "operator", Name: "op", Seconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	over := func(token, method, path, body string) {
		var in io.Reader
		if body != "" {
			in = strings.NewReader(body)
		}
		send(t, c, method, r.info.Address+path, in, http.Header{"Authorization": {"Bearer " + token}})
	}
	over(made.Token, "POST", "/v1/clusters/zk/stop", "")            // 403
	over(made.Token, "GET", "/v1/clusters", "")                     // reads
	over("", "DELETE", "/v1/clusters/zk", "")                       // 401
	over("nonsense", "POST", "/v1/apply", `{"name":"sesame.yaml"}`) // 401
	over(operator.Token, "DELETE", "/v1/clusters/zk%0A%1b[2J", "")  // 403: admins only
	over(operator.Token, "POST", "/v1/plan", `{"name":"a","content":"name: zk\nstack: zookeeper\n"}`)
	over(operator.Token, "POST", "/v1/clusters/zk/start", "") // 404
	over(operator.Token, "POST", "/v1/nowhere", "")           // nothing there
	if _, err := r.c.RevokeToken(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	over(made.Token, "POST", "/v1/clusters/zk/start", "") // 401, but known
	var got []string
	rows := r.auditOf(t, client.AuditFilter{})
	for _, e := range rows {
		who := strings.ReplaceAll(strings.ReplaceAll(e.Who, made.ID, "EVE"), operator.ID, "OP")
		from := "address"
		if e.Origin == fmt.Sprintf("socket, uid %d, pid %d", os.Getuid(), os.Getpid()) {
			from = "socket"
		} else if !strings.HasPrefix(e.Origin, "127.") {
			from = e.Origin
		}
		got = append(got, strings.Join([]string{who, e.Name, e.Project, e.Role, from, e.What, strings.ReplaceAll(e.Object, made.ID, "EVE"), fmt.Sprint(e.Status)}, " "))
	}
	want := []string{
		"owner owner default admin socket create-token /v1/tokens 200",
		"owner owner default admin socket create-token /v1/tokens 200",
		"EVE eve default viewer address stop-cluster /v1/clusters/zk/stop 403",
		"    address delete-cluster /v1/clusters/zk 401",
		"    address apply /v1/apply 401",
		"OP op default operator address delete-cluster /v1/clusters/zk%0A%1B%5B2J 403",
		"OP op default operator address start-cluster /v1/clusters/zk/start 404",
		"owner owner default admin socket revoke-token /v1/tokens/EVE 200",
		"EVE eve default  address start-cluster /v1/clusters/zk/start 401",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for name, f := range map[string]client.AuditFilter{"who": {Who: "eve"}, "what": {What: "stop-cluster"}, "limit": {Limit: 1}, "since": {Since: rows[len(rows)-1].Time}} {
		want := map[string]int{"who": 2, "what": 1, "limit": 1, "since": 1}[name]
		if rows := r.auditOf(t, f); len(rows) < want || name != "since" && len(rows) != want {
			t.Errorf("%s chooses %d rows, want %d", name, len(rows), want)
		}
	}
	if got := send(t, c, "GET", r.info.Address+"/v1/audit", nil, http.Header{"Authorization": {"Bearer " + operator.Token}}); got.status != http.StatusForbidden {
		t.Errorf("an operator reads the audit record: %d", got.status)
	}
}

// TestAuditIsBounded: who is nobody known cannot push others' rows out.
func TestAuditIsBounded(t *testing.T) {
	r := serve(t, newHome(t))
	c := &http.Client{}
	defer c.CloseIdleConnections()
	for range 300 {
		if got := send(t, c, "POST", r.info.Address+"/v1/apply", strings.NewReader("{}"), nil); got.status != http.StatusUnauthorized {
			t.Fatal(got.status)
		}
	}
	if rows := r.auditOf(t, client.AuditFilter{Limit: 1000}); len(rows) < 100 || len(rows) > 200 { // two minutes at most
		t.Errorf("%d rows of nobody known", len(rows))
	}
}

// TestAuditCannotBeWritten: reads go on; the change whose row is lost says so, and no
// other is taken until rows can be written again.
func TestAuditCannotBeWritten(t *testing.T) {
	r := serve(t, newHome(t))
	db, err := sql.Open("sqlite", "file:"+r.home.Database()+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	execute := func(query string) {
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	execute("CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END")
	create := func() error {
		_, err := r.c.CreateToken(t.Context(), api.TokenRequest{Project: "default", Role: "viewer", Seconds: 60})
		return err
	}
	if err := create(); !says(err, http.StatusServiceUnavailable, "the change was made, but its row in the audit record could not be written: ") || !says(err, http.StatusServiceUnavailable, "disk I/O error") {
		t.Error(err)
	}
	for range 2 {
		if err := create(); !says(err, http.StatusServiceUnavailable, "the audit record cannot be written, so nothing is changed: ") {
			t.Error(err)
		}
	}
	if ts, err := r.c.Tokens(t.Context()); err != nil || len(ts) != 1 {
		t.Errorf("%d tokens were made, want the first: %v", len(ts), err)
	}
	execute("DROP TRIGGER broken")
	if err := create(); err != nil {
		t.Error(err)
	}
	var got []string
	for _, e := range r.auditOf(t, client.AuditFilter{}) {
		got = append(got, fmt.Sprintf("%s %s %d", e.Who, e.What, e.Status))
	}
	if want := "server resume-audit 200, owner create-token 200"; strings.Join(got, ", ") != want {
		t.Errorf("the record holds %v, want %s", got, want)
	}
}

// TestTokensAreKept: what is kept of a token says everything but its text, and outlives
// the server; a token without a record is good until its end.
func TestTokensAreKept(t *testing.T) {
	h := newHome(t)
	var good, bad api.Token
	t.Run("one server", func(t *testing.T) {
		r := serve(t, h)
		for _, into := range []*api.Token{&good, &bad} {
			made, err := r.c.CreateToken(t.Context(), api.TokenRequest{Project: "shop", Role: "operator", Name: "ci", Seconds: 3600})
			if err != nil {
				t.Fatal(err)
			}
			*into = made
		}
		if _, err := r.c.RevokeToken(t.Context(), bad.ID); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("the next", func(t *testing.T) {
		r := serve(t, h)
		ts, err := r.c.Tokens(t.Context())
		if err != nil || len(ts) != 2 {
			t.Fatal(ts, err)
		}
		for _, k := range ts {
			state := "good"
			if k.ID == bad.ID {
				state = "revoked"
			}
			if k.State != state || k.Project != "shop" || k.Role != "operator" || k.Name != "ci" || k.CreatedBy != "owner" || k.Issued.IsZero() || k.Expires.Sub(k.Issued) != time.Hour {
				t.Errorf("%+v", k)
			}
		}
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for token, want := range map[string]int{good.Token: http.StatusOK, bad.Token: http.StatusUnauthorized} {
			if got := send(t, c, "GET", r.info.Address+"/v2/", nil, http.Header{"Authorization": {"Bearer " + token}}); got.status != want {
				t.Errorf("%d, want %d: %s", got.status, want, got.body)
			}
		}
		for _, file := range []string{"", "-wal"} {
			data, err := os.ReadFile(r.home.Database() + file)
			if err == nil && strings.Contains(string(data), strings.Split(good.Token, ".")[1]) {
				t.Error("the database holds a token's text")
			}
		}
	})
}

// TestSharedPosture: tokens have an end, the owner is who holds the socket, and what
// cannot be kept keeps the server from starting.
func TestSharedPosture(t *testing.T) {
	h := newHome(t)
	var endless api.Token
	var owners string
	t.Run("single-user", func(t *testing.T) {
		r := serve(t, h)
		owners = r.token(t)
		made, err := r.c.CreateToken(t.Context(), api.TokenRequest{Project: "default", Role: "admin", Name: "old"})
		if err != nil {
			t.Fatal(err)
		}
		endless = made
		got, err := r.c.Security(t.Context())
		if err != nil || got.Posture != "single-user" || !hasRisk(got, "token-without-end", "howdah token revoke "+made.ID) || !hasRisk(got, "open-ports", "howdah up --allow-open-ports=false") {
			t.Errorf("%+v %v", got, err)
		}
	})
	run := func(t *testing.T, o server.Options) error {
		t.Helper()
		o.MemoryMB = 1000
		return server.Run(t.Context(), server.Config{
			Home: h, Options: o, Stacks: golden.Parse(toys).FS(), Clients: func(string) cluster.Clients { return nil }, Agent: []string{"/bin/false"}, Log: slog.New(slog.DiscardHandler),
		})
	}
	if err := run(t, server.Options{Posture: "open"}); err == nil || err.Error() != `there is no posture "open"; use single-user or shared` {
		t.Error(err)
	}
	key := h.Authority() + "/ca.key"
	if err := errors.Join(os.Chmod(key, 0o644), os.Chmod(h.Authority(), 0o755)); err != nil {
		t.Fatal(err)
	}
	err := run(t, server.Options{Posture: "shared", OpenPorts: true})
	want := fmt.Sprintf("cannot start in the posture shared:\n  services may listen on every address of this host: start without them by --allow-open-ports=false\n"+
		"  %s is open to others (mode 0755): chmod go= %s\n  %s is open to others (mode 0644): chmod go= %s", h.Authority(), h.Authority(), key, key)
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if err := errors.Join(os.Chmod(key, 0o600), os.Chmod(h.Authority(), 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Run("shared", func(t *testing.T) {
		r := serveAs(t, h, func(c *server.Config) { c.Options = server.Options{MemoryMB: 1000, Posture: "shared"} })
		if r.info.Posture != "shared" {
			t.Error(r.info.Posture)
		}
		if _, err := os.Stat(h.Token()); err == nil {
			t.Error("the owner's token is still there")
		}
		for _, seconds := range []int64{0, 400 * 86400} {
			if _, err := r.c.CreateToken(t.Context(), api.TokenRequest{Project: "default", Role: "viewer", Seconds: seconds}); !says(err, http.StatusUnprocessableEntity, "a token must have an end, within a year") {
				t.Errorf("a token for %d s: %v", seconds, err)
			}
		}
		made, err := r.c.CreateToken(t.Context(), api.TokenRequest{Project: "default", Role: "viewer", Seconds: 365 * 86400})
		if err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for name, tt := range map[string]struct {
			token string
			want  int
		}{"nobody": {"", 401}, "the owner's token": {owners, 401}, "one without end": {endless.Token, 401}, "one with an end": {made.Token, 200}} {
			for _, path := range []string{"/", "/v1/info", "/v1/clusters", "/v1/stacks", "/v1/history", "/v1/events", "/v1/artifacts", "/openapi.json", "/v1/blobs/" + strings.Repeat("0", 64)} {
				want := tt.want
				if want == 200 && strings.HasPrefix(path, "/v1/blobs") {
					want = 404
				}
				if want == 200 && path == "/v1/events" { // a stream
					continue
				}
				if got := send(t, c, "GET", r.info.Address+path, nil, http.Header{"Authorization": {"Bearer " + tt.token}}); got.status != want {
					t.Errorf("%s gets %d of %s: %s", name, got.status, path, got.body)
				}
			}
		}
	})
}

func hasRisk(s api.Security, kind, remedy string) bool {
	for _, r := range s.Risks {
		if r.Kind == kind && r.Remedy == remedy {
			return true
		}
	}
	return false
}
