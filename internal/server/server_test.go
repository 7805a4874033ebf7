package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/server"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// answer is what came back for a request.
type answer struct {
	request, kind string
	status        int
	body          []byte
	header        http.Header
}

// overSocket makes a request as the owner's command line does.
func (r *running) overSocket(t *testing.T, method, path string, body io.Reader) answer {
	t.Helper()
	return send(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.home.Socket())
	}}}, method, "http://howdah"+path, body, nil)
}

func send(t *testing.T, c *http.Client, method, address string, body io.Reader, header http.Header) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k := range header {
		if k == "Host" {
			req.Host = header.Get(k)
		} else {
			req.Header.Set(k, header.Get(k))
		}
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{method + " " + address, resp.Header.Get("Content-Type"), resp.StatusCode, data, resp.Header}
}

// problem reads an answer as RFC 9457 has it.
func problem(t *testing.T, a answer) api.Problem {
	t.Helper()
	var p api.Problem
	if a.kind != "application/problem+json" {
		t.Errorf("%s: an error of type %q: %s", a.request, a.kind, a.body)
	}
	if err := json.Unmarshal(a.body, &p); err != nil || p.Status != a.status || p.Title != http.StatusText(a.status) {
		t.Errorf("%s answers %d with %s: %v", a.request, a.status, a.body, err)
	}
	return p
}

// TestFilesAreTheOwners: nobody else reaches the API, the token or the data.
func TestFilesAreTheOwners(t *testing.T) {
	r := serve(t, newHome(t))
	for path, want := range map[string]os.FileMode{
		r.home.Dir: 0o700, r.home.Socket(): 0o600, r.home.Token(): 0o600, r.home.Settings(): 0o600, filepath.Join(r.home.Authority(), "ca.key"): 0o600,
	} {
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, st.Mode().Perm(), err, want)
		}
	}
	for what, address := range map[string]string{"API": strings.TrimPrefix(r.info.Address, "http://")} {
		if a, err := netip.ParseAddrPort(address); err != nil || !a.Addr().IsLoopback() {
			t.Errorf("%s: %s %v", what, address, err)
		}
	}
}

// TestErrorsAreProblems: every error is one of RFC 9457, unknown addresses too.
func TestErrorsAreProblems(t *testing.T) {
	r := serve(t, newHome(t))
	big := `{"name":"a.yaml","content":"` + strings.Repeat("x", 1<<20) + `"}`
	for _, tt := range []struct {
		method, path, body string
		status             int
		kind, detail       string
		findings           []string
	}{
		{"GET", "/nowhere", "", 404, "", "there is nothing at this address; see /openapi.json", nil},
		{"GET", "/v1/nowhere", "", 404, "", "there is nothing at this address; see /openapi.json", nil},
		{"PUT", "/v1/clusters", "", 405, "", "PUT is not for this address; use GET or HEAD", nil},
		{"PUT", "/v1/clusters/c", "", 405, "", "PUT is not for this address; use GET or HEAD or DELETE", nil},
		{"GET", "/v1/clusters/zk", "", 404, "not-found", "cluster zk: not found", nil},
		{"GET", "/v1/operations/7", "", 404, "not-found", "operation 7: not found", nil},
		{"GET", "/v1/operations/x", "", 422, "invalid", "validation failed", []string{"path.id: invalid integer"}},
		{"GET", "/v1/operations?limit=0", "", 422, "invalid", "validation failed", []string{"query.limit: expected number >= 1"}},
		{"GET", "/v1/blobs/" + strings.Repeat("0", 64), "", 404, "", "there is no blob " + strings.Repeat("0", 64), nil},
		{"GET", "/v1/blobs/..%2f..%2fhowdah.db", "", 404, "", "there is no blob ../../howdah.db", nil},
		{"POST", "/v1/plan", "{", 400, "invalid", "validation failed", []string{"body: unexpected end of JSON input"}},
		{"POST", "/v1/plan", `{"name":"a.yaml"}`, 422, "invalid", "validation failed", []string{"body: expected required property content to be present"}},
		{"POST", "/v1/plan", `{"name":"a.yaml","content":"x","more":1}`, 422, "invalid", "validation failed", []string{"body.more: unexpected property"}},
		{"POST", "/v1/tokens", big, 413, "", "request body is too large limit=1048576 bytes", nil},
		{
			"POST", "/v1/plan", `{"name":"a.yaml","content":"name: zk\nstack: zookeeper\ncolour: blue\n"}`, 422, "invalid", "",
			[]string{"colour: unknown field"},
		},
		{"POST", "/v1/clusters/zk/start", "", 404, "not-found", "cluster zk: not found", nil},
		{"DELETE", "/v1/clusters/zk", "", 404, "not-found", "cluster zk: not found", nil},
	} {
		var body io.Reader
		if tt.body != "" {
			body = strings.NewReader(tt.body)
		}
		got := r.overSocket(t, tt.method, tt.path, body)
		if got.status != tt.status {
			t.Errorf("%s answers %d: %s", got.request, got.status, got.body)
			continue
		}
		p := problem(t, got)
		var findings []string
		for _, d := range p.Diagnostics {
			findings = append(findings, d.Address+": "+d.Summary)
		}
		if diff := cmp.Diff(tt.findings, findings); p.Type != tt.kind || p.Detail != tt.detail || diff != "" {
			t.Errorf("%s %s: type %q, detail %q, findings (-want +got):\n%s", tt.method, tt.path, p.Type, p.Detail, diff)
		}
	}
}

// TestLargeDefinition: a definition's size counts as it is in its file, not as
// JSON writes it.
func TestLargeDefinition(t *testing.T) {
	r := serve(t, newHome(t))
	for _, tt := range []struct {
		comment int
		status  int
	}{
		{1<<20 - 4096, http.StatusOK},
		{1 << 20, http.StatusUnprocessableEntity},
	} {
		f := api.File{Name: "zk.yaml", Content: "name: zk\nstack: zookeeper\n#" + strings.Repeat("<", tt.comment)}
		body, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		got := r.overSocket(t, http.MethodPost, "/v1/plan", bytes.NewReader(body))
		if got.status != tt.status {
			t.Errorf("a comment of %d bytes: %d %.300s", tt.comment, got.status, got.body)
		}
		if got.status != http.StatusOK && problem(t, got).Detail != "bad request: a definition may have at most 1 MiB" {
			t.Errorf("a comment of %d bytes: %s", tt.comment, got.body)
		}
	}
}

// TestToken: over TCP only the owner's token opens, and no page of another
// site can use a browser that has it.
func TestToken(t *testing.T) {
	r := serve(t, newHome(t))
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	bearer := "Bearer " + r.token(t)
	for _, tt := range []struct {
		name, method string
		header       http.Header
		status       int
	}{
		{"the owner", "GET", http.Header{"Authorization": {bearer}}, 200},
		{"nobody", "GET", nil, 401},
		{"another token", "GET", http.Header{"Authorization": {bearer + "0"}}, 401},
		{"an empty token", "GET", http.Header{"Authorization": {"Bearer "}}, 401},
		{"another name for the address", "GET", http.Header{"Authorization": {bearer}, "Host": {"evil.example"}}, 403},
		{"a page elsewhere", "POST", http.Header{"Authorization": {bearer}, "Sec-Fetch-Site": {"cross-site"}}, 403},
	} {
		path := "/v1/info"
		if tt.method == "POST" {
			path = "/v1/clusters/zk/stop"
		}
		got := send(t, c, tt.method, r.info.Address+path, nil, tt.header)
		if got.status != tt.status {
			t.Errorf("%s gets %d: %s", tt.name, got.status, got.body)
		}
		if got.status >= http.StatusBadRequest {
			problem(t, got)
		}
	}
	u, err := url.Parse(r.info.Address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("anybody", r.token(t)) // as a browser asks
	if got := send(t, c, http.MethodGet, u.String()+"/", nil, nil); got.status != 200 || !strings.Contains(string(got.body), "<html") {
		t.Errorf("the front page: %d", got.status)
	}
}

// TestTokensOfProjects: what a token opens follows from its project and role, and
// a node's token ends with its node.
func TestTokensOfProjects(t *testing.T) {
	r := serve(t, newHome(t))
	authority, err := tenant.OpenAuthority(r.home.Authority())
	if err != nil {
		t.Fatal(err)
	}
	gone, err := authority.Sign(tenant.NodeToken("n1", "c-worker-1", tenant.Viewer))
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{"node": gone}
	for _, role := range []string{"viewer", "operator", "admin"} {
		for _, project := range []string{"default", "shop"} {
			made, err := r.c.CreateToken(t.Context(), api.TokenRequest{Project: project, Role: role, Seconds: 60})
			if err != nil || made.Expires.IsZero() {
				t.Fatal(made.Expires, err)
			}
			tokens[project+" "+role] = made.Token
		}
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, tt := range []struct {
		method, path, body string
		want               map[string]int // 403 for those not named
	}{
		{"GET", "/v1/clusters", "", map[string]int{"default viewer": 200, "default operator": 200, "default admin": 200, "node": 401}},
		{"POST", "/v1/clusters/zk/stop", "", map[string]int{"default operator": 404, "default admin": 404, "node": 401}},
		{"DELETE", "/v1/clusters/zk", "", map[string]int{"default admin": 404, "node": 401}},
		{"POST", "/v1/tokens", `{"project":"default","role":"viewer"}`, map[string]int{"default admin": 200, "node": 401}},
		{"POST", "/v1/tokens", `{"project":"default","role":"viewer","seconds":36028797018963968}`, map[string]int{"default admin": 422, "node": 401}},
		{"GET", "/v1/clusters/zk/logs", "", map[string]int{"default viewer": 404, "default operator": 404, "default admin": 404, "node": 401}},
		{"GET", "/v1/clusters/zk/nodes/zk-a-1/exec?arg=sh", "", map[string]int{"default admin": 404, "node": 401}},
		{"GET", "/v1/clusters/zk/nodes/zk-a-1/exec", "", map[string]int{"default admin": 422, "node": 401}},
		{"GET", "/v2/", "", map[string]int{
			"default viewer": 200, "default operator": 200, "default admin": 200, "shop viewer": 200, "shop operator": 200, "shop admin": 200, "node": 401,
		}},
		{"GET", "/v2/shop/web/tags/list", "", map[string]int{
			"default viewer": 404, "default operator": 404, "default admin": 404, "shop viewer": 404, "shop operator": 404, "shop admin": 404, "node": 401,
		}},
		{"GET", "/v2/other/web/tags/list", "", map[string]int{"default viewer": 404, "default operator": 404, "default admin": 404, "node": 401}},
		{"POST", "/v2/shop/web/blobs/uploads/", "", map[string]int{"default operator": 202, "default admin": 202, "shop operator": 202, "shop admin": 202, "node": 401}},
		{"POST", "/v1/shutdown", "", map[string]int{"default admin": 0, "node": 401}}, // 0: not tried
	} {
		for name, token := range tokens {
			want, named := tt.want[name]
			if !named {
				want = http.StatusForbidden
			}
			if want == 0 {
				continue
			}
			var body io.Reader
			if tt.body != "" {
				body = strings.NewReader(tt.body)
			}
			got := send(t, c, tt.method, r.info.Address+tt.path, body, http.Header{"Authorization": {"Bearer " + token}})
			if got.status != want {
				t.Errorf("%s of %s gets %d, not %d: %s", tt.method+" "+tt.path, name, got.status, want, got.body)
			}
		}
	}
}

// TestImageTokens: a login becomes a token that is good for minutes, for what was
// asked and never longer than the login.
func TestImageTokens(t *testing.T) {
	r := serve(t, newHome(t))
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	login := func(seconds int64) string {
		made, err := r.c.CreateToken(t.Context(), api.TokenRequest{Project: "shop", Role: "operator", Seconds: seconds})
		if err != nil {
			t.Fatal(err)
		}
		return made.Token
	}
	got := send(t, c, http.MethodGet, r.info.Address+"/v2/", nil, nil)
	realm := r.info.Address + "/v2/token"
	if want := `Bearer realm="` + realm + `",service="howdah"`; got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") != want {
		t.Errorf("%d with %q, wanted %q", got.status, got.header.Get("WWW-Authenticate"), want)
	}
	if got := send(t, c, http.MethodGet, realm, nil, nil); got.status != http.StatusUnauthorized {
		t.Errorf("nobody gets %d %s", got.status, got.body)
	}
	for _, tt := range []struct {
		scope      string
		life       int64 // of the login, in seconds
		push, good int
	}{
		{"", 3600, http.StatusAccepted, 300},
		{"?scope=repository:shop/web:pull,push", 3600, http.StatusAccepted, 300},
		{"?scope=repository:shop/web:pull", 3600, http.StatusForbidden, 300},
		{"?scope=repository:shop/web:pull&scope=repository:shop/base:push", 3600, http.StatusAccepted, 300},
		{"?scope=repository:shop/web:pull", 60, http.StatusForbidden, 60},
	} {
		basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("anybody:"+login(tt.life)))
		answer := send(t, c, http.MethodGet, realm+tt.scope, nil, http.Header{"Authorization": {basic}})
		var body struct {
			Token   string `json:"token"`
			Expires int    `json:"expires_in"`
		}
		if err := json.Unmarshal(answer.body, &body); err != nil || answer.status != http.StatusOK {
			t.Fatalf("%q: %d %s", tt.scope, answer.status, answer.body)
		}
		if body.Expires > tt.good || body.Expires < tt.good-5 {
			t.Errorf("%q of a login of %d s: good for %d s", tt.scope, tt.life, body.Expires)
		}
		bearer := http.Header{"Authorization": {"Bearer " + body.Token}}
		if got := send(t, c, http.MethodPost, r.info.Address+"/v2/shop/web/blobs/uploads/", nil, bearer); got.status != tt.push {
			t.Errorf("%q: a push gets %d %s", tt.scope, got.status, got.body)
		}
		if got := send(t, c, http.MethodGet, r.info.Address+"/v2/shop/web/tags/list", nil, bearer); got.status != http.StatusNotFound {
			t.Errorf("%q: a pull gets %d %s", tt.scope, got.status, got.body)
		}
		if got := send(t, c, http.MethodGet, r.info.Address+"/v2/other/web/tags/list", nil, bearer); got.status != http.StatusForbidden {
			t.Errorf("%q: another project's images get %d %s", tt.scope, got.status, got.body)
		}
	}
}

// TestStandardClient: go-containerregistry, as crane and others have it, finds the
// way from a login to images by itself.
func TestStandardClient(t *testing.T) {
	r := serve(t, newHome(t))
	made, err := r.c.CreateToken(t.Context(), api.TokenRequest{Project: "shop", Role: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(3000, 2)
	if err != nil {
		t.Fatal(err)
	}
	host, login := strings.TrimPrefix(r.info.Address, "http://"), crane.WithAuth(&authn.Basic{Username: "anybody", Password: made.Token})
	if err := crane.Push(img, host+"/shop/web:1", login, crane.Insecure); err != nil {
		t.Fatal(err)
	}
	got, err := crane.Pull(host+"/shop/web:1", login, crane.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}
	if err := crane.Push(img, host+"/other/web:1", login, crane.Insecure); err == nil || !strings.Contains(err.Error(), "403 Forbidden") {
		t.Errorf("a push into another project: %v", err)
	}
}

// TestAgentsPort: without a certificate of this home an agent can only join,
// and only with a token.
func TestAgentsPort(t *testing.T) {
	r := serve(t, newHome(t))
	authority, err := tenant.OpenAuthority(r.home.Authority())
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimSuffix(strings.TrimPrefix(r.info.Address, "http://"), ":7070")
	transport := &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: authority.Pool(), ServerName: agentapi.ServerName, MinVersion: tls.VersionTLS13}}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport}
	for path, want := range map[string]string{
		agentapi.PathReport: "a node's certificate is needed",
		agentapi.PathPermit: "a node's certificate is needed",
		agentapi.PathWatch:  "a node's certificate is needed",
		agentapi.PathJoin:   "permission_denied",
	} {
		got := send(t, c, http.MethodPost, "https://"+host+":7443"+path, strings.NewReader(`{"node":"n1","token":"t"}`), nil)
		if got.status == http.StatusOK || !strings.Contains(string(got.body), want) {
			t.Errorf("%s without a certificate: %d %s, want %s", path, got.status, got.body, want)
		}
	}
	if got := send(t, c, http.MethodGet, "https://"+host+":7443"+agentapi.PathBlob+strings.Repeat("0", 64), nil, nil); got.status != http.StatusUnauthorized {
		t.Errorf("a blob without a certificate: %d %s", got.status, got.body)
	}
}

// TestBlobs: a file is kept under its digest and read from any place on.
func TestBlobs(t *testing.T) {
	r := serve(t, newHome(t))
	content := bytes.Repeat([]byte("0123456789"), 1000)
	b, err := r.c.Upload(t.Context(), bytes.NewReader(content))
	if err != nil || b.Bytes != 10000 {
		t.Fatal(b, err)
	}
	body, err := r.c.Blob(t.Context(), b.SHA256, 9995)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if rest, err := io.ReadAll(body); string(rest) != "56789" || err != nil {
		t.Errorf("%q %v", rest, err)
	}
}

// TestOneServer: a home has one server; the next one says so and changes nothing.
func TestOneServer(t *testing.T) {
	r := serve(t, newHome(t))
	err := server.Run(t.Context(), server.Config{Home: r.home})
	if !errors.Is(err, server.ErrRunning) {
		t.Errorf("a second server: %v", err)
	}
	if !r.home.Running() {
		t.Error("the first one does not run any more")
	}
	if _, err := r.c.Info(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAddressesOfOthers: a home whose nodes have addresses of another subnet than it was
// given is a copy: nothing of it starts, and the subnet is free again.
func TestAddressesOfOthers(t *testing.T) {
	h := newHome(t)
	if err := h.Prepare(); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{Path: h.Database()})
	if err != nil {
		t.Fatal(err)
	}
	err = st.Update(t.Context(), func(tx *store.Tx) error {
		return errors.Join(
			tx.PutCluster(store.Cluster{ID: "c1", Name: "zk", Infrastructure: "local", Intent: agentapi.IntentRun, Created: tx.Now()}),
			tx.PutNode(store.Node{ID: "n1", Cluster: "c1", Name: "zk-1", Intent: agentapi.IntentRun, Infrastructure: "local", Address: "127.253.9.10"}),
		)
	})
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	err = server.Run(t.Context(), server.Config{
		Home: h, Options: server.Options{MemoryMB: 1000, OpenPorts: true}, Stacks: os.DirFS("../../stacks"),
		Clients: func(string) cluster.Clients { return nil }, Agent: []string{"/bin/false"}, Log: slog.New(slog.DiscardHandler),
	})
	if err == nil || !strings.Contains(err.Error(), "the nodes of "+h.Dir+" have addresses of 127.253.9.0/24, and the home was given 127.") ||
		!strings.HasSuffix(err.Error(), "remove a copy with: howdah --home "+h.Dir+" clean; where it is the only one, write 127.253.9.0/24 into "+h.Dir+"/subnet") {
		t.Errorf("it starts: %v", err)
	}
	if _, err := os.Stat(filepath.Join(h.Dir, "subnet")); err == nil {
		t.Error("it keeps the subnet")
	}
}

// TestForeignHome: a directory with other files is no home.
func TestForeignHome(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := server.Home{Dir: dir}
	if err := h.Prepare(); err == nil || err.Error() != "cannot use "+dir+" as home: it holds thesis.txt, which is not Howdah's; choose an empty directory by HOWDAH_HOME" {
		t.Error(err)
	}
	if err := h.Remove(t.Context()); err == nil || err.Error() != "cannot remove "+dir+": it is not a home of Howdah" {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
	long := server.Home{Dir: filepath.Join(dir, strings.Repeat("x", 120))}
	if err := long.Prepare(); err == nil || !strings.Contains(err.Error(), "bytes too long for a socket; choose a shorter one by HOWDAH_HOME") {
		t.Error(err)
	}
}

// TestPortTaken says by whom.
func TestPortTaken(t *testing.T) {
	h := newHome(t)
	var address string
	t.Run("before", func(t *testing.T) {
		info, err := serve(t, h).c.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		address = strings.TrimPrefix(info.Address, "http://")
	})
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = server.Run(t.Context(), server.Config{
		Home: h, Options: server.Options{MemoryMB: 1000, OpenPorts: true}, Stacks: os.DirFS("../../stacks"),
		Clients: func(string) cluster.Clients { return nil }, Agent: []string{"/bin/false"}, Log: slog.New(slog.DiscardHandler),
	})
	if want := fmt.Sprintf("cannot listen on %s: it is taken by pid %d (", address, os.Getpid()); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
