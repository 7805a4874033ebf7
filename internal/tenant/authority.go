// Package tenant owns identities: the installation's certificate authority,
// the certificates of its server and agents, and access tokens. It must not
// know clusters.
package tenant

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"howdah.dev/howdah/internal/agentapi"
)

// Lifetimes of certificates. Agents' are not renewed in this version, so they
// live as long as the authority.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	serverLife    = 365 * 24 * time.Hour
)

// Authority signs the certificates of one installation.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// OpenAuthority reads the authority in dir, or makes it on first use. The key
// is readable by its owner only.
func OpenAuthority(dir string) (*Authority, error) {
	data, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		return makeAuthority(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read certificate authority: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, fmt.Errorf("cannot read certificate authority: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("cannot use certificate authority: its key is not an ECDSA key")
	}
	return &Authority{cert: pair.Leaf, key: key, pem: data}, nil
}

func makeAuthority(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make certificate authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "howdah authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("cannot make certificate authority: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	// The key first: a certificate without its key would not be noticed as missing.
	if err := renameio.WriteFile(filepath.Join(dir, "ca.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return nil, fmt.Errorf("cannot keep certificate authority: %w", err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := renameio.WriteFile(filepath.Join(dir, "ca.pem"), out, 0o644); err != nil {
		return nil, fmt.Errorf("cannot keep certificate authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key, pem: out}, nil
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil { // the system's randomness does not fail
		panic(err)
	}
	return n
}

// PEM returns the authority's certificate.
func (a *Authority) PEM() []byte { return a.pem }

// Pool returns a pool with just this authority.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Server issues a certificate for the server at an address. Each start of the
// server has a new one.
func (a *Authority) Server(ip net.IP) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: agentapi.ServerName}, DNSNames: []string{agentapi.ServerName}, IPAddresses: []net.IP{ip},
		NotAfter: time.Now().Add(serverLife), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key.Public())
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Node issues a certificate for a node's agent out of its request.
func (a *Authority) Node(id string, csr []byte) ([]byte, error) {
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("cannot read certificate request: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("cannot use certificate request: %w", err)
	}
	return a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: id}, URIs: []*url.URL{nodeURI(id)},
		NotAfter: a.cert.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, req.PublicKey)
}

func (a *Authority) sign(tmpl *x509.Certificate, pub any) ([]byte, error) {
	tmpl.SerialNumber, tmpl.NotBefore, tmpl.KeyUsage = serial(), time.Now().Add(-time.Hour), x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("cannot issue certificate: %w", err)
	}
	return der, nil
}

func nodeURI(id string) *url.URL { return &url.URL{Scheme: "howdah", Host: "node", Path: "/" + id} }

// NodeOf returns the node a verified client certificate names.
func NodeOf(state *tls.ConnectionState) (string, bool) {
	if state == nil || len(state.VerifiedChains) == 0 {
		return "", false
	}
	for _, u := range state.VerifiedChains[0][0].URIs {
		if u.Scheme == "howdah" && u.Host == "node" && len(u.Path) > 1 {
			return u.Path[1:], true
		}
	}
	return "", false
}

// NewSecret makes a random token and the digest of it that is kept.
func NewSecret() (token, hash string) {
	buf := make([]byte, 32)
	if _, err := rand.Read(buf); err != nil { // the system's randomness does not fail
		panic(err)
	}
	token = hex.EncodeToString(buf)
	return token, Hash(token)
}

// Hash is the digest under which a token is kept.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
