package tenant_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/tenant"
)

// request is an agent's certificate request.
func request(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// nodeCertificate is what an authority issues for a node.
func nodeCertificate(t *testing.T, a *tenant.Authority, id string) *x509.Certificate {
	t.Helper()
	der, err := a.Node(id, request(t))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestAuthorityIsKept: it is made once; its key is its owner's alone.
func TestAuthorityIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	a, err := tenant.OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "ca.key"): 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %v", path, st.Mode().Perm(), err, want)
		}
	}
	b, err := tenant.OpenAuthority(dir)
	if err != nil || !bytes.Equal(a.PEM(), b.PEM()) {
		t.Fatalf("opened again it is another one: %v", err)
	}
	if _, err := nodeCertificate(t, b, "n1").Verify(x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("what it issues opened again: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := tenant.OpenAuthority(dir); err == nil || !strings.HasPrefix(err.Error(), "cannot read certificate authority: ") {
		t.Errorf("without its key: %v; a new one would lock all agents out", err)
	}
}

// TestNodeCertificate: it names the node, is good for a client of this
// authority only, and no longer than the authority.
func TestNodeCertificate(t *testing.T) {
	a := authority(t)
	cert := nodeCertificate(t, a, "n1")
	options := x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	chains, err := cert.Verify(options)
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := tenant.NodeOf(&tls.ConnectionState{VerifiedChains: chains}); id != "n1" || !ok {
		t.Errorf("it names %q %v", id, ok)
	}
	for name, change := range map[string]func(*x509.VerifyOptions){
		"another authority": func(o *x509.VerifyOptions) { o.Roots = authority(t).Pool() },
		"a server":          func(o *x509.VerifyOptions) { o.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"after its time":    func(o *x509.VerifyOptions) { o.CurrentTime = cert.NotAfter.Add(time.Second) },
		"before its time":   func(o *x509.VerifyOptions) { o.CurrentTime = cert.NotBefore.Add(-time.Second) },
	} {
		o := options
		change(&o)
		if _, err := cert.Verify(o); err == nil {
			t.Errorf("it is good for %s", name)
		}
	}
	root, err := x509.ParseCertificate(chains[0][len(chains[0])-1].Raw)
	if err != nil || cert.NotAfter.After(root.NotAfter) {
		t.Errorf("it outlives its authority: %v after %v, %v", cert.NotAfter, root.NotAfter, err)
	}
}

func TestNodeOfNobody(t *testing.T) {
	a := authority(t)
	server, err := a.Server(net.IPv4(127, 0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(server.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, state := range map[string]*tls.ConnectionState{
		"no TLS":                        nil,
		"no certificate":                {},
		"one that nobody verified":      {PeerCertificates: []*x509.Certificate{nodeCertificate(t, a, "n1")}},
		"a certificate that is no node": {VerifiedChains: [][]*x509.Certificate{{leaf}}},
	} {
		if id, ok := tenant.NodeOf(state); ok || id != "" {
			t.Errorf("%s: %q", name, id)
		}
	}
}

// TestRequests: only a request that is signed with the key it is about gets a
// certificate.
func TestRequests(t *testing.T) {
	a := authority(t)
	broken := request(t)
	broken[len(broken)-1] ^= 1
	for name, csr := range map[string][]byte{"nothing": nil, "no request": []byte("hello"), "a changed one": broken} {
		if _, err := a.Node("n1", csr); err == nil || !strings.Contains(err.Error(), "certificate request") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestServerCertificate: agents find the server by name and by address.
func TestServerCertificate(t *testing.T) {
	a := authority(t)
	pair, err := a.Server(net.IPv4(127, 5, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]bool{agentapi.ServerName: true, "127.5.0.1": true, "127.5.0.2": false, "localhost": false} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: name}); (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSecrets: no two are the same, and what is kept does not give them away.
func TestSecrets(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		token, hash := tenant.NewSecret()
		if len(token) != 64 || seen[token] || hash != tenant.Hash(token) || strings.Contains(hash, token) {
			t.Fatalf("token %q is kept as %q", token, hash)
		}
		seen[token] = true
	}
}

// TestDerive: the same labels make the same secret, of this authority only.
func TestDerive(t *testing.T) {
	a := authority(t)
	one := a.Derive("cell", "a")
	if len(one) != 64 || one != a.Derive("cell", "a") {
		t.Errorf("%q", one)
	}
	for name, other := range map[string]string{"other labels": a.Derive("cell", "b"), "labels cut elsewhere": a.Derive("cel", "la"), "another authority": authority(t).Derive("cell", "a")} {
		if other == one {
			t.Errorf("%s make the same secret", name)
		}
	}
}
