package tenant_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/tenant"
)

// turner is the first argument of this test program as one that changes authorities
// until it is killed.
const turner = "turn-authorities"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == turner {
		turn(os.Args[2])
	}
	os.Exit(m.Run())
}

// turn rotates and retires for ever.
func turn(dir string) {
	a, err := tenant.OpenAuthority(dir)
	for err == nil {
		if _, err = a.Rotate(); errors.Is(err, tenant.ErrOverlap) {
			err = nil
		}
		if err == nil {
			_, err = a.Retire()
		}
		fmt.Println("turned")
	}
	fmt.Println(err)
	os.Exit(1)
}

// TestRotation: both authorities are trusted until the old one is retired; what
// tokens and secrets follow from stays the same all the time, and over restarts.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	a, err := tenant.OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	token, err := a.Sign(tenant.NodeToken("n1", "n1", tenant.Viewer))
	if err != nil {
		t.Fatal(err)
	}
	signing, secret, before := a.PEM(), a.Derive("cell", "a"), nodeCertificate(t, a, "n1")
	first := a.Issuers()[0].ID
	if _, err := a.Retire(); !errors.Is(err, tenant.ErrOverlap) || !strings.HasSuffix(err.Error(), first+" is the only one; make its successor first: howdah ca rotate") {
		t.Errorf("retiring the only authority: %v", err)
	}
	changed := a.Changed()
	second, err := a.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody is told of the rotation")
	}
	if _, err := a.Rotate(); !errors.Is(err, tenant.ErrOverlap) || !strings.Contains(err.Error(), second+" is still taking over from "+first+"; retire that one first: howdah ca retire") {
		t.Errorf("rotating again: %v", err)
	}
	for _, state := range []string{"overlap", "overlap after a restart", "retired", "retired after a restart"} {
		if strings.HasSuffix(state, "restart") {
			if a, err = tenant.OpenAuthority(dir); err != nil {
				t.Fatal(err)
			}
		}
		if state == "retired" {
			if id, err := a.Retire(); id != first || err != nil {
				t.Fatal(id, err)
			}
		}
		old := strings.HasPrefix(state, "overlap")
		if _, err := before.Verify(clientIn(a)); (err == nil) != old {
			t.Errorf("%s: a certificate of the old authority: %v", state, err)
		}
		after := nodeCertificate(t, a, "n1")
		if _, err := after.Verify(clientIn(a)); err != nil {
			t.Errorf("%s: a new certificate: %v", state, err)
		}
		onlyOld := x509.NewCertPool()
		onlyOld.AppendCertsFromPEM(signing)
		if _, err := after.Verify(x509.VerifyOptions{Roots: onlyOld, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
			t.Errorf("%s: the old authority still issues", state)
		}
		// Agents that know only the old one find the server until it is retired.
		if _, err := serverLeaf(t, a).Verify(x509.VerifyOptions{Roots: onlyOld, DNSName: agentapi.ServerName}); (err == nil) != old {
			t.Errorf("%s: the server to agents that were away: %v", state, err)
		}
		if _, err := serverLeaf(t, a).Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: agentapi.ServerName}); err != nil {
			t.Errorf("%s: the server to others: %v", state, err)
		}
		v, err := tenant.NewVerifier(a.PEM(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(token, time.Now()); err != nil || !bytes.Equal(a.PEM(), signing) || a.Derive("cell", "a") != secret {
			t.Errorf("%s: tokens or secrets changed: %v", state, err)
		}
		again, err := a.Sign(tenant.NodeToken("n1", "n1", tenant.Viewer))
		if err != nil || again != token {
			t.Errorf("%s: a node's token is another: %v", state, err)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "authorities.json")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the authorities' keys: %v %v", st.Mode(), err)
	}
}

func clientIn(a *tenant.Authority) x509.VerifyOptions {
	return x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}

func serverLeaf(t *testing.T, a *tenant.Authority) *x509.Certificate {
	t.Helper()
	pair, err := a.Server(net.IPv4(127, 0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

// TestRotationIsKilled: whenever the program dies, the authorities are whole, and
// tokens and secrets are the same.
func TestRotationIsKilled(t *testing.T) {
	dir := t.TempDir()
	a, err := tenant.OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	secret, states := a.Derive("x"), map[int]int{}
	for round := range 30 {
		cmd := exec.Command(os.Args[0], turner, dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		word := make([]byte, 7)
		for range 1 + round%3 {
			if _, err := io.ReadFull(out, word); err != nil || string(word) != "turned\n" {
				t.Fatalf("%q %v", word, err)
			}
		}
		time.Sleep(time.Duration(round) * 37 * time.Microsecond) // anywhere in a change
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		if a, err = tenant.OpenAuthority(dir); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		states[len(a.Issuers())]++
		if _, err := nodeCertificate(t, a, "n").Verify(clientIn(a)); err != nil || a.Derive("x") != secret {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	t.Logf("killed with one authority %d times, with two %d times", states[1], states[2])
}

// TestDamagedAuthorities: what cannot be read is not made anew: that would lock all
// agents out.
func TestDamagedAuthorities(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "half": `[{"certificate": "`, "none": "[]", "no PEM": `[{"certificate":"x","key":"y"}]`} {
		dir := t.TempDir()
		if _, err := tenant.OpenAuthority(dir); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "authorities.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := tenant.OpenAuthority(dir); err == nil || !strings.Contains(err.Error(), "authorities.json") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// listening serves what Peer says of each request, as the server listens to agents.
func listening(t *testing.T, a *tenant.Authority) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := a.Peer(r.TLS, time.Now())
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "%s %s %v", p.Node, p.Authority, p.Renew)
	}))
	s.TLS = tenant.ServerTLS(a, net.IPv4(127, 0, 0, 1))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// agent is a client with a certificate of a node; nil for none.
func agent(t *testing.T, a *tenant.Authority, cert *tls.Certificate) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: agentTLS(a, cert), ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func agentTLS(a *tenant.Authority, cert *tls.Certificate) *tls.Config {
	cfg := &tls.Config{RootCAs: a.Pool(), ServerName: agentapi.ServerName, MinVersion: tls.VersionTLS13}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	return cfg
}

// refused returns why the server ends a new connection. Nothing is written over it: a
// request under way would take the reason's place.
func refused(t *testing.T, a *tenant.Authority, cert *tls.Certificate, s *httptest.Server) error {
	t.Helper()
	d := tls.Dialer{Config: agentTLS(a, cert)}
	conn, err := d.DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

func pair(t *testing.T, a *tenant.Authority, node string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.Node(node, csr)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// ask returns the answer, or the error of the connection.
func ask(t *testing.T, c *http.Client, s *httptest.Server) (string, *x509.Certificate, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(text)), resp.TLS.PeerCertificates[0], err
}

// TestPeer: what an open connection may do ends with its authority, and new ones of
// it are refused; others go on.
func TestPeer(t *testing.T) {
	a := authority(t)
	s := listening(t, a)
	first := a.Issuers()[0].ID
	old := agent(t, a, pair(t, a, "n1"))
	expect := func(c *http.Client, want string) {
		t.Helper()
		if got, _, err := ask(t, c, s); got != want || err != nil {
			t.Errorf("got %q %v, want %q", got, err, want)
		}
	}
	expect(old, "n1 "+first+" false")
	expect(agent(t, a, nil), "a node's certificate is needed")
	second, err := a.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	expect(old, "n1 "+first+" true")
	late := pair(t, a, "n1")
	moved := agent(t, a, late)
	expect(moved, "n1 "+second+" false")
	oldPair := old.Transport.(*http.Transport).TLSClientConfig.Certificates[0]
	if _, err := a.Retire(); err != nil {
		t.Fatal(err)
	}
	expect(old, "a node's certificate is needed: that of node n1 is of the authority "+first+", which was retired")
	expect(moved, "n1 "+second+" false")
	if err := refused(t, a, &oldPair, s); err == nil || !strings.Contains(err.Error(), "unknown certificate authority") {
		t.Errorf("a new connection with a certificate of a retired authority: %v", err)
	}
}

// TestLives: the server's certificate is renewed before it ends, and an agent's is
// refused after, also on an open connection.
func TestLives(t *testing.T) {
	const life = 3 * time.Second
	a, err := tenant.Open(tenant.Config{Dir: t.TempDir(), Life: life})
	if err != nil {
		t.Fatal(err)
	}
	s := listening(t, a)
	c := agent(t, a, pair(t, a, "n1"))
	begun, ended := time.Now(), false
	serials := map[string]bool{}
	for time.Since(begun) < time.Minute && (!ended || len(serials) < 3) {
		asked := time.Now() // what follows may take longer than a life
		got, _, err := ask(t, c, s)
		switch {
		case err != nil:
			t.Fatal(err)
		case strings.Contains(got, "that of node n1 ended "):
			ended = true
		case asked.Sub(begun) > life+time.Second:
			t.Fatalf("%s after it was made: %s", asked.Sub(begun), got)
		}
		visitor := agent(t, a, nil)
		visitor.Transport.(*http.Transport).TLSClientConfig.Time = func() time.Time { return asked }
		_, leaf, err := ask(t, visitor, s)
		if err != nil { // a client checks the server's time, too
			t.Fatal(err)
		}
		serials[leaf.SerialNumber.String()] = true
	}
	if !ended || len(serials) < 3 {
		t.Errorf("the agent's ended: %v; the server had %d certificates", ended, len(serials))
	}
	if err := refused(t, a, &c.Transport.(*http.Transport).TLSClientConfig.Certificates[0], s); err == nil || !strings.Contains(err.Error(), "expired certificate") {
		t.Errorf("a new connection with a certificate that has ended: %v", err)
	}
}

// TestLongCertificatesAreRenewed: those that an earlier version gave for ten years.
func TestLongCertificatesAreRenewed(t *testing.T) {
	dir := t.TempDir()
	long, err := tenant.Open(tenant.Config{Dir: dir, Life: 10 * 365 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	cert := pair(t, long, "n1")
	a, err := tenant.OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := listening(t, a)
	if got, _, err := ask(t, agent(t, a, cert), s); got != "n1 "+a.Issuers()[0].ID+" true" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}
