package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/golden"
	"howdah.dev/howdah/internal/node"
	"howdah.dev/howdah/internal/node/proc"
	"howdah.dev/howdah/internal/server"
	"howdah.dev/howdah/internal/tenant"
)

// What this test program is besides: an agent of the local infrastructure, and the
// service it runs.
const (
	beAgent  = "be-agent"
	beListen = "be-listen"
)

// play runs what the arguments ask for instead of tests; false for tests.
func play(args []string) (code int, ok bool) {
	switch {
	case len(args) == 3 && args[0] == beAgent:
		err := node.Run(context.Background(), node.Config{
			Dir: args[2], Version: "test", Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
			Javas:  func(context.Context) []agentapi.Java { return nil },
			BootID: func() string { id, _ := proc.BootID(); return id },
		})
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	case len(args) == 2 && args[0] == beListen:
		l, err := net.Listen("tcp", args[1])
		if err != nil {
			fmt.Println(err)
			return 1, true
		}
		for {
			c, err := l.Accept()
			if err != nil {
				return 1, true
			}
			c.Close()
		}
	}
	return 0, false
}

const toys = `
-- toy/stack.yaml --
name: toy
summary: a program that listens
version: "1"
artifacts: {}
roles: {thing: {services: [thingd], memoryMB: 100}}
services:
  thingd:
    command: ["${program}", be-listen, "${self.ip}:7070"]
    secrets: {conf/restrictions.json: {kind: restrictions}}
    ready: {tcp: "${self.ip}:7070"}
default: {nodeGroups: [{name: thing, roles: [thing], instanceNum: 1}]}
`

const toyNode = "toy-thing-1"

// toyed is a server with a cluster of one node.
type toyed struct {
	*running
	t *testing.T
}

// toy runs a cluster whose certificates are good for so long.
func toy(t *testing.T, life time.Duration) *toyed {
	t.Helper()
	k := &toyed{serveAs(t, newHome(t), func(c *server.Config) {
		c.Stacks, c.CertificateLife, c.Agent = golden.Parse(toys).FS(), life, []string{os.Args[0], beAgent}
	}), t}
	got, err := k.c.Apply(t.Context(), api.File{Name: "toy.yaml", Content: "name: toy\nstack: toy\n"})
	if err != nil || len(got.Operations) != 1 {
		t.Fatal(got, err)
	}
	k.until("the cluster is ready", func() string {
		c := k.cluster()
		if c.State == "ready" {
			return ""
		}
		return c.State + ": " + c.Message
	})
	return k
}

func (k *toyed) cluster() api.ClusterStatus {
	k.t.Helper()
	c, err := k.c.Cluster(k.t.Context(), "toy")
	if err != nil {
		k.t.Fatal(err)
	}
	return c
}

// until waits until ok says "", and not what is missing.
func (k *toyed) until(what string, ok func() string) {
	k.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		missing := ok()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(k.file("agent", "agent.log"))
			k.t.Fatalf("it never was so that %s: %s\nagent:\n%s", what, missing, log)
		}
	}
}

func (k *toyed) file(elem ...string) string {
	return filepath.Join(append([]string{k.home.Nodes(), "toy", toyNode}, elem...)...)
}

// certificate is the one the node has now.
func (k *toyed) certificate() (tls.Certificate, string) {
	k.t.Helper()
	var id struct{ Certificate, Key, CA string }
	data, err := os.ReadFile(k.file("agent", "identity.json"))
	if err == nil {
		err = json.Unmarshal(data, &id)
	}
	if err != nil {
		k.t.Fatal(err)
	}
	cert, err := tls.X509KeyPair([]byte(id.Certificate), []byte(id.Key))
	if err != nil {
		k.t.Fatal(err)
	}
	return cert, id.CA
}

func (k *toyed) serial() string {
	cert, _ := k.certificate()
	return cert.Leaf.SerialNumber.String()
}

// state is what must not change: the agent's process, its life, the service's process.
func (k *toyed) state() string {
	n := k.cluster().Nodes[0]
	return fmt.Sprintf("agent %d incarnation %d service %d restarts %d", n.AgentPID, n.Incarnation, n.Services[0].PID, n.Services[0].Restarts)
}

// watchDrops looks all the time whether the agent is connected and its service ready.
func (k *toyed) watchDrops() (stop func() (looks, drops int64)) {
	ctx, cancel := context.WithCancel(k.t.Context())
	done := make(chan struct{})
	var looks, drops atomic.Int64
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			c, err := k.c.Cluster(ctx, "toy")
			if err != nil {
				continue
			}
			looks.Add(1)
			if n := c.Nodes[0]; !n.Connected || n.Services[0].State != api.StateReady {
				drops.Add(1)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	return func() (int64, int64) { cancel(); <-done; return looks.Load(), drops.Load() }
}

// audited counts rows of the audit record by operation and status.
func (k *toyed) audited() map[string]int {
	k.t.Helper()
	rows, err := k.c.Audit(k.t.Context(), client.AuditFilter{Limit: 1000})
	if err != nil {
		k.t.Fatal(err)
	}
	out := map[string]int{}
	for _, r := range rows {
		out[fmt.Sprintf("%s %d", r.What, r.Status)]++
	}
	return out
}

// TestCertificatesGoOn: an agent renews its certificate in time, and at once when the
// authority changes; its stream and its service never notice. Then the old authority
// is retired.
func TestCertificatesGoOn(t *testing.T) {
	k := toy(t, 12*time.Second)
	before, drops := k.state(), k.watchDrops()
	seen := map[string]bool{k.serial(): true}
	k.until("the certificate was renewed twice", func() string {
		seen[k.serial()] = true
		if len(seen) > 2 {
			return ""
		}
		return fmt.Sprintf("%d certificates", len(seen))
	})
	first, err := k.c.RotateAuthority(t.Context())
	if err != nil || len(first.Authorities) != 2 || first.Authorities[0].Issues || !first.Authorities[1].Issues {
		t.Fatal(first, err)
	}
	if _, err := k.c.RotateAuthority(t.Context()); !says(err, http.StatusConflict, "retire that one first: howdah ca retire") {
		t.Error(err)
	}
	k.until("the node has a certificate of the new authority", func() string {
		r, err := k.c.Authorities(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(r.Authorities[1].Nodes, []string{toyNode}) && len(r.Authorities[0].Nodes) == 0 {
			return ""
		}
		return fmt.Sprintf("%+v", r)
	})
	last, err := k.c.RetireAuthority(t.Context(), false)
	if err != nil || len(last.Authorities) != 1 || last.Authorities[0].ID != first.Authorities[1].ID || len(last.Lost) > 0 {
		t.Fatal(last, err)
	}
	k.until("the node trusts the new authority alone", func() string {
		if _, ca := k.certificate(); strings.Count(ca, "BEGIN CERTIFICATE") == 1 {
			return ""
		}
		return "it trusts both"
	})
	now := k.serial()
	k.until("the certificate was renewed once more", func() string {
		if k.serial() != now {
			return ""
		}
		return "the same"
	})
	looks, dropped := drops()
	if after := k.state(); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
	if dropped > 0 || looks < 100 {
		t.Errorf("of %d looks %d saw the agent away or its service not ready", looks, dropped)
	}
	got := k.audited()
	for what, least := range map[string]int{"join 200": 1, "renew 200": 4, "rotate-authority 200": 1, "rotate-authority 409": 1, "retire-authority 200": 1} {
		if got[what] < least {
			t.Errorf("the audit record has %s %d times, want %d: %v", what, got[what], least, got)
		}
	}
}

// says tells whether an error is a problem with a status that says so.
func says(err error, status int, text string) bool {
	p, ok := errors.AsType[*api.Problem](err)
	return ok && p.Status == status && strings.Contains(p.Detail, text)
}

// TestAwayWhileRotated: the authority a node depends on is not retired; where it is all
// the same, the node is told how to come back, and comes back with all it has.
func TestAwayWhileRotated(t *testing.T) {
	k := toy(t, time.Hour)
	before := k.cluster().Nodes[0]
	if err := syscall.Kill(before.AgentPID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := k.c.RotateAuthority(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := k.c.RetireAuthority(t.Context(), false); !says(err, http.StatusConflict, "have no certificate of") || !says(err, http.StatusConflict, ": "+toyNode+";") {
		t.Errorf("retiring what a node depends on: %v", err)
	}
	r, err := k.c.RetireAuthority(t.Context(), true)
	if err != nil || len(r.Lost) != 1 || r.Lost[0].Node != toyNode || r.Lost[0].Remedy != "howdah ca rejoin "+toyNode || !strings.Contains(r.Lost[0].Message, "which was retired") {
		t.Fatal(r, err)
	}
	if err := syscall.Kill(before.AgentPID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	k.until("the agent says what to do", func() string {
		log, err := os.ReadFile(k.file("agent", "agent.log"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(log), "on the server, run: howdah ca rejoin "+toyNode) {
			return ""
		}
		return string(log)
	})
	if _, err := k.c.RejoinNode(t.Context(), "nobody"); !says(err, http.StatusNotFound, "howdah get nodes lists those there are") {
		t.Error(err)
	}
	if _, err := k.c.RejoinNode(t.Context(), toyNode); err != nil {
		t.Fatal(err)
	}
	k.until("the node is back", func() string {
		r, err := k.c.Authorities(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := k.cluster().Nodes[0]; len(r.Lost) == 0 && n.Connected {
			return ""
		}
		return fmt.Sprintf("%+v", r)
	})
	if after := k.cluster().Nodes[0]; after.Services[0].PID != before.Services[0].PID || after.AgentPID != before.AgentPID {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if _, err := os.Stat(k.file("join.json")); err == nil {
		t.Error("the join file is still there")
	}
}

// TestRemovedNode: with its removal the open requests of a node end, and whoever holds
// its certificate is refused, over the connection that is open as well as over another.
func TestRemovedNode(t *testing.T) {
	k := toy(t, time.Hour)
	cert, ca := k.certificate()
	big, err := k.c.Upload(t.Context(), io.LimitReader(zeros{}, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	address := "https://" + strings.Replace(strings.TrimPrefix(k.info.Address, "http://"), ":7070", ":7443", 1)
	open, other := holder(t, cert, ca), holder(t, cert, ca)
	resp := fetch(t, open, address+agentapi.PathBlob+big.SHA256)
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := k.c.Delete(t.Context(), "toy", ""); err != nil {
		t.Fatal(err)
	}
	k.until("the node is gone", func() string {
		if _, err := k.c.Cluster(t.Context(), "toy"); says(err, http.StatusNotFound, "toy") {
			return ""
		}
		return "the cluster is there"
	})
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil || n > 60<<20 {
		t.Errorf("the open request went on: %d bytes more, %v", n, err)
	}
	resp.Body.Close()
	for name, c := range map[string]*http.Client{"the open connection": open, "another": other} {
		for _, path := range []string{agentapi.PathBlob + big.SHA256, agentapi.PathWatch, agentapi.PathReport, agentapi.PathRenew, agentapi.PathPermit} {
			resp := fetch(t, c, address+path)
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden || !strings.Contains(string(text), "the node is removed, and its certificate with it") {
				t.Errorf("%s over %s: %s %s", path, name, resp.Status, text)
			}
		}
	}
	if got := k.audited(); got["revoke-node 200"] != 1 || got["delete-cluster 200"] != 1 {
		t.Errorf("the audit record: %v", got)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// holder is somebody who has a node's certificate.
func holder(t *testing.T, cert tls.Certificate, ca string) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca))
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: agentapi.ServerName, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func fetch(t *testing.T, c *http.Client, address string) *http.Response {
	t.Helper()
	method, body := http.MethodGet, io.Reader(nil)
	if !strings.Contains(address, agentapi.PathBlob) {
		method, body = http.MethodPost, bytes.NewReader([]byte("{}"))
	}
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestRevokedTokens: at the server a token is refused at once, and with it what was
// bought with it; listeners on nodes hear of it, and nothing is restarted.
func TestRevokedTokens(t *testing.T) {
	k := toy(t, time.Hour)
	before := k.state()
	made, err := k.c.CreateToken(t.Context(), api.TokenRequest{Project: "default", Role: "operator", Name: "ci", Seconds: 3600})
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	status := func(token, path string) int {
		return send(t, c, http.MethodGet, k.info.Address+path, nil, http.Header{"Authorization": {"Bearer " + token}}).status
	}
	var bought struct{ Token string }
	answer := send(t, c, http.MethodGet, k.info.Address+"/v2/token", nil, http.Header{"Authorization": {"Bearer " + made.Token}})
	if err := json.Unmarshal(answer.body, &bought); err != nil || bought.Token == "" {
		t.Fatal(string(answer.body), err)
	}
	if status(made.Token, "/v1/clusters") != 200 || status(bought.Token, "/v2/") != 200 {
		t.Fatal("a good token is refused")
	}
	for _, bad := range []string{"nothing", made.ID + "0"} {
		if _, err := k.c.RevokeToken(t.Context(), bad); !says(err, http.StatusNotFound, "howdah token list shows those that can be taken back") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	got, err := k.c.RevokeToken(t.Context(), made.ID[:8])
	if err != nil || got.ID != made.ID || got.State != "revoked" || got.Revoked.IsZero() {
		t.Fatal(got, err)
	}
	if a, b := status(made.Token, "/v1/clusters"), status(bought.Token, "/v2/"); a != 401 || b != 401 {
		t.Errorf("revoked, it gets %d, and what it bought %d", a, b)
	}
	k.until("the node's listeners are told", func() string {
		data, err := os.ReadFile(k.file("thingd", "conf", "restrictions.json"))
		var r tenant.Restrictions
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(r.Revoked, []string{made.ID}) {
			return ""
		}
		return string(data)
	})
	if after := k.state(); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
	if got := k.audited(); got["create-token 200"] != 1 || got["revoke-token 404"] != 2 || got["revoke-token 200"] != 1 {
		t.Errorf("the audit record: %v", got)
	}
}
