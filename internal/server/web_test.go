package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// toyStack offers a web API, and has a role whose service takes the port it is
// to be read at.
const toyStack = `
name: toy
summary: a toy
version: "1"
artifacts: {}
roles:
  head: {services: [headd], memoryMB: 100}
  busy: {services: [busyd], memoryMB: 100}
services:
  headd: {ports: {main: 70}, command: [headd], ready: {tcp: "${self.ip}:70"}}
  busyd: {ports: {admin: 8080}, command: [busyd], ready: {tcp: "${self.ip}:8080"}}
web:
  toy/v1: {adapter: echo, address: "${role.head[0].ip}:70", listen: {role: head, port: 8080, path: /api/v1}}
  toy/dead: {adapter: nobody, address: x}
default: {nodeGroups: [{name: head, roles: [head], instanceNum: 1}]}
`

// echo says what reached a protocol client.
type echo struct{ At, Method, Path, Query string }

// webServer is a server without its listeners, over a real store and manager.
func webServer(t *testing.T) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "howdah-s-") //nolint:usetesting // the path of a unix socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{stop: func() {}, log: slog.New(slog.DiscardHandler)}
	s.cfg = Config{
		Home: Home{Dir: dir}, Options: Options{MemoryMB: 1000, OpenPorts: true}, Log: s.log, Agent: []string{"/bin/false"},
		Stacks: fstest.MapFS{"toy/stack.yaml": {Data: []byte(toyStack)}}, Clients: func(string) cluster.Clients { return nil },
		Web: WebClients{"echo": func(at stack.Bound) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				writeJSON(w, http.StatusOK, "application/json", echo{at.Address, r.Method, r.URL.Path, r.URL.RawQuery})
			})
		}},
	}
	t.Cleanup(func() {
		if err := s.cfg.Home.Remove(context.Background()); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	if err := s.cfg.Home.Prepare(); err != nil {
		t.Fatal(err)
	}
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	return s
}

// node is an address of the server's subnet.
func (s *Server) node(n byte) netip.Addr {
	a := s.subnet.Addr().As4()
	a[3] = n
	return netip.AddrFrom4(a)
}

// putCluster makes a cluster of one running node, or changes what is wanted of it.
func putCluster(t *testing.T, s *Server, name, address string, intent agentapi.Intent, roles ...string) {
	t.Helper()
	toy, _ := s.stacks.Get("toy")
	err := s.store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Cluster(name)
		c := store.Cluster{ID: "id-" + name, Name: name, Infrastructure: "local", Intent: intent, Revision: 1, Created: tx.Now()}
		if known := err == nil; known {
			return tx.PutCluster(c)
		}
		if err := tx.PutCluster(c); err != nil {
			return err
		}
		m := stack.Member{ID: name + "-1", Name: name + "-head-1", Group: "head", Ordinal: 1, Roles: roles, Address: address, Host: "host", MemoryMB: 100, CPUs: 1}
		rev := stack.Revision{ClusterID: c.ID, Cluster: api.Cluster{Name: name}, StackDigest: toy.Digest, Members: []stack.Member{m}}
		if err := tx.PutRevision(c.ID, 1, rev); err != nil {
			return err
		}
		return tx.PutNode(store.Node{
			ID: m.ID, Cluster: c.ID, Name: m.Name, Group: m.Group, Ordinal: 1, Intent: agentapi.IntentRun, Revision: 1, Infrastructure: "local", Address: address, Host: "host",
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// call makes a request with a token, and headers as name, value.
func call(t *testing.T, method, url, token string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}).Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(body)
}

func (s *Server) tokenOf(t *testing.T, project string, role tenant.Role) string {
	t.Helper()
	made, err := s.makeToken(t.Context(), api.TokenRequest{Project: project, Role: string(role), Seconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	return made.Token
}

// TestClusterWebAuthorisation: who may do what with a cluster's web API.
func TestClusterWebAuthorisation(t *testing.T) {
	s := webServer(t)
	putCluster(t, s, "c", s.node(30).String(), agentapi.IntentRun, "head")
	h := httptest.NewServer(s.authenticated(s.handler()))
	defer h.Close()
	viewer, operator := s.tokenOf(t, tenant.DefaultProject, tenant.Viewer), s.tokenOf(t, tenant.DefaultProject, tenant.Operator)
	for _, test := range []struct {
		who, token, method string
		headers            []string
		want               int
	}{
		{"nobody", "", "GET", nil, 401},
		{"nobody", "", "POST", nil, 401},
		{"a liar", "x.y.z", "GET", nil, 401},
		{"a viewer", viewer, "GET", nil, 200},
		{"a viewer", viewer, "HEAD", nil, 200},
		{"a viewer", viewer, "POST", nil, 403},
		{"an operator", operator, "GET", nil, 200},
		{"an operator", operator, "POST", nil, 200},
		{"an admin", s.tokenOf(t, tenant.DefaultProject, tenant.Admin), "POST", nil, 200},
		{"the owner", s.token, "POST", nil, 200},
		{"an admin of another project", s.tokenOf(t, "shop", tenant.Admin), "GET", nil, 403},
		{"another site's page", operator, "POST", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a name that points here", operator, "GET", []string{"Host", "nimbus.example:7070"}, 403},
	} {
		if code, body := call(t, test.method, h.URL+"/clusters/c/toy/v1/things/1/kill", test.token, test.headers...); code != test.want {
			t.Errorf("%s: %s answers %d, want %d: %s", test.who, test.method, code, test.want, body)
		}
	}
}

// TestClusterWebOfStopped: a stopped cluster's web API says so, and how to go on, where
// its services would refuse the connection.
func TestClusterWebOfStopped(t *testing.T) {
	s := webServer(t)
	putCluster(t, s, "c", s.node(30).String(), agentapi.IntentRun, "head")
	h := httptest.NewServer(s.authenticated(s.handler()))
	defer h.Close()
	for _, test := range []struct {
		intent agentapi.Intent
		code   int
		says   string
	}{
		{agentapi.IntentStop, http.StatusConflict, `"detail":"not possible now: cluster c is stopped; start it: howdah start c"`},
		{agentapi.IntentGone, http.StatusConflict, `"detail":"not possible now: cluster c is being deleted"`},
		{agentapi.IntentRun, http.StatusOK, `"Path":"/things"`},
	} {
		putCluster(t, s, "c", "", test.intent)
		if code, body := call(t, http.MethodGet, h.URL+"/clusters/c/toy/v1/things", s.token); code != test.code || !strings.Contains(body, test.says) {
			t.Errorf("%s: %d %s, want %d %s", test.intent, code, body, test.code, test.says)
		}
	}
}

// TestClusterWebPaths: what a path reaches.
func TestClusterWebPaths(t *testing.T) {
	s := webServer(t)
	at := s.node(30).String() + ":70"
	putCluster(t, s, "c", s.node(30).String(), agentapi.IntentRun, "head")
	h := httptest.NewServer(asOwner(s.handler()))
	defer h.Close()
	for path, want := range map[string]any{
		"/clusters/c/toy/v1/a/b?w=1":   echo{at, "GET", "/a/b", "w=1"},
		"/clusters/c/toy/v1":           echo{at, "GET", "/", ""},
		"/clusters/c/toy/v1/":          echo{at, "GET", "/", ""},
		"/clusters/c/toy/v1/a%20b%2Fc": echo{at, "GET", "/a b/c", ""},
		"/clusters/c/toy/v10":          "not supported: cluster c offers web APIs at toy/dead, toy/v1 only",
		"/clusters/c/":                 "not supported: cluster c offers web APIs at toy/dead, toy/v1 only",
		"/clusters/c/toy/dead":         "not supported: this howdah has no protocol client nobody with a web API",
		"/clusters/nobody/toy/v1":      "cluster nobody: not found",
	} {
		code, body := call(t, http.MethodGet, h.URL+path, "")
		var got echo
		var p api.Problem
		if text, bad := want.(string); bad {
			if err := json.Unmarshal([]byte(body), &p); err != nil || code != http.StatusNotFound || p.Detail != text {
				t.Errorf("%s answers %d %s, want %q", path, code, body, text)
			}
		} else if err := json.Unmarshal([]byte(body), &got); err != nil || code != http.StatusOK || got != want {
			t.Errorf("%s answers %d %s, want %+v", path, code, body, want)
		}
	}
}

// eventually waits for something another goroutine does.
func eventually(t *testing.T, what string, done func() (bool, string)) {
	t.Helper()
	said := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		ok := false
		if ok, said = done(); ok {
			return
		}
	}
	t.Fatalf("%s: %s", what, said)
}

// TestWebListeners: a web API is there for reading, with a login, at the node's
// own address as long as its cluster runs.
func TestWebListeners(t *testing.T) {
	s := webServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.keepWebListeners(ctx, s.authenticated(s.handler())) }()
	defer func() { cancel(); <-ended }()
	address := netip.AddrPortFrom(s.node(30), 8080)
	url := "http://" + address.String()
	viewer := s.tokenOf(t, tenant.DefaultProject, tenant.Viewer)
	there := func() (bool, string) {
		code, body := call(t, http.MethodGet, url+"/api/v1/a", viewer)
		return code == http.StatusOK, fmt.Sprint(code, body)
	}
	gone := func() (bool, string) {
		code, body := call(t, http.MethodGet, url+"/api/v1/a", viewer)
		return strings.Contains(body, "connection refused"), fmt.Sprint(code, body)
	}
	putCluster(t, s, "c", s.node(30).String(), agentapi.IntentRun, "head")
	eventually(t, "it opens", there)
	operator := s.tokenOf(t, tenant.DefaultProject, tenant.Operator)
	for _, test := range []struct {
		method, path, token string
		code                int
		says                string
	}{
		{"GET", "/api/v1/a", "", 401, "a token is needed"},
		{"GET", "/api/v1/a", s.tokenOf(t, "shop", tenant.Admin), 403, "the token of project shop"},
		{"GET", "/api/v1/a?b=c", viewer, 200, fmt.Sprintf(`{"At":"%s:70","Method":"GET","Path":"/a","Query":"b=c"}`, s.node(30))},
		{"GET", "/api/v1", viewer, 200, `"Path":"/"`},
		{"POST", "/api/v1/a", operator, 405, "this address is for reading; changes go to " + s.info().Address + "/clusters/c/toy/v1"},
		{"GET", "/", viewer, 404, "the API begins at /api/v1"},
		{"GET", "/api/v10", viewer, 404, "the API begins at /api/v1"},
		{"GET", "/v1/clusters", s.token, 404, "the API begins at /api/v1"},
		{"GET", "/v2/", "", 404, "the API begins at /api/v1"},
		{"GET", "/api/v1/a%20b%2Fc", viewer, 200, `"Path":"/a b/c"`},
	} {
		if code, body := call(t, test.method, url+test.path, test.token); code != test.code || !strings.Contains(body, test.says) {
			t.Errorf("%s %s answers %d %s, want %d %s", test.method, test.path, code, body, test.code, test.says)
		}
	}
	if code, body := call(t, http.MethodGet, url+"/api/v1/a", viewer, "Host", "nimbus:8080"); code != http.StatusForbidden || !strings.Contains(body, "use the address itself, "+url) {
		t.Errorf("by a name: %d %s", code, body)
	}

	putCluster(t, s, "c", "", agentapi.IntentStop)
	eventually(t, "it closes with its cluster", gone)
	putCluster(t, s, "c", "", agentapi.IntentRun)
	eventually(t, "it opens with its cluster", there)
	if err := s.store.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteCluster("id-c") }); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is gone with its cluster", gone)

	putCluster(t, s, "d", s.node(30).String(), agentapi.IntentRun, "head")
	eventually(t, "it opens for another cluster", there)
	cancel()
	<-ended
	if ok, said := gone(); !ok {
		t.Errorf("it outlives the server: %s", said)
	}
}

// TestWebListenersRefused: one that cannot be opened says why, once, and opens
// when it can.
func TestWebListenersRefused(t *testing.T) {
	s := webServer(t)
	taken := netip.AddrPortFrom(s.node(40), 8080)
	l, err := net.Listen("tcp", taken.String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.keepWebListeners(ctx, s.authenticated(s.handler())) }()
	defer func() { cancel(); <-ended }()
	putCluster(t, s, "taken", taken.Addr().String(), agentapi.IntentRun, "head")
	putCluster(t, s, "busy", s.node(41).String(), agentapi.IntentRun, "busy", "head")
	putCluster(t, s, "far", "10.1.2.3", agentapi.IntentRun, "head")
	said := func() map[string][]string {
		out := map[string][]string{}
		err := s.store.View(t.Context(), func(tx *store.Tx) error {
			events, err := tx.Events(0, "", 0, 100)
			for _, e := range events {
				if e.Type == "web.refused" {
					out[e.Cluster] = append(out[e.Cluster], e.Message)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	eventually(t, "all three are refused", func() (bool, string) { got := said(); return len(got) == 3, fmt.Sprint(got) })
	want := map[string]string{
		"taken": fmt.Sprintf("cannot listen on %s: it is taken by ", taken),
		"busy":  "the node's own service busyd has port 8080",
		"far":   "10.1.2.3 is not an address of the server's host",
	}
	for name, text := range want {
		if got := said()[name]; len(got) != 1 || !strings.Contains(got[0], text) || !strings.HasSuffix(got[0], "; it is at "+s.info().Address+"/clusters/"+name+"/toy/v1") {
			t.Errorf("of %s it says %q, want %q once", name, got, text)
		}
	}
	if got := said()["taken"][0]; !strings.Contains(got, fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("who has the port is not said: %s", got)
	}
	l.Close()
	eventually(t, "it opens when the port is free", func() (bool, string) {
		code, body := call(t, http.MethodGet, "http://"+taken.String()+"/api/v1/a", s.token)
		return code == http.StatusOK, fmt.Sprint(code, body)
	})
	for name, got := range said() {
		if len(got) != 1 {
			t.Errorf("of %s it says %q again and again", name, got)
		}
	}
}
