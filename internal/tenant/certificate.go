package tenant

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"howdah.dev/howdah/internal/agentapi"
)

// slack is how long before its making a certificate is good, against clocks that
// differ; at most a tenth of its life.
func slack(life time.Duration) time.Duration { return min(time.Hour, life/10) }

// RenewAt is when a certificate is to be renewed: after two thirds of its life.
func RenewAt(cert *x509.Certificate) time.Time {
	return cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) * 2 / 3)
}

// Server issues a certificate for the server at an address, of the oldest trusted
// authority: every agent knows that one.
func (a *Authority) Server(ip net.IP) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	a.mu.Lock()
	by := a.oldest()
	a.mu.Unlock()
	der, err := by.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: agentapi.ServerName}, DNSNames: []string{agentapi.ServerName}, IPAddresses: []net.IP{ip},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key.Public(), a.life)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
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
	a.mu.Lock()
	by := a.newest()
	a.mu.Unlock()
	return by.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: id}, URIs: []*url.URL{nodeURI(id)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, req.PublicKey, a.life)
}

// sign issues a certificate that does not outlive its authority.
func (i issuer) sign(tmpl *x509.Certificate, pub any, life time.Duration) ([]byte, error) {
	now := time.Now()
	tmpl.SerialNumber, tmpl.KeyUsage = serial(), x509.KeyUsageDigitalSignature
	tmpl.NotBefore, tmpl.NotAfter = now.Add(-slack(life)), now.Add(life)
	if tmpl.NotAfter.After(i.cert.NotAfter) {
		tmpl.NotAfter = i.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, i.cert, pub, i.key)
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

// ErrCertificate is returned for a connection whose certificate gives no access.
var ErrCertificate = errors.New("a node's certificate is needed")

// Peer is what a connection's certificate says of the agent that made it.
type Peer struct {
	Node      string
	Authority string // id of the one that signed it
	Serial    string
	Issued    time.Time
	Expires   time.Time
	// Renew says that the agent should get another now, of the authority that issues
	// now or of the life certificates have now.
	Renew bool
}

// Peer returns who made a connection. What was good when the connection was made may
// be good no longer: it has ended, or its authority was retired.
func (a *Authority) Peer(state *tls.ConnectionState, now time.Time) (Peer, error) {
	node, ok := NodeOf(state)
	if !ok {
		return Peer{}, ErrCertificate
	}
	chain := state.VerifiedChains[0]
	leaf, root := chain[0], idOf(chain[len(chain)-1])
	a.mu.Lock()
	defer a.mu.Unlock()
	trusted := false
	for _, i := range a.issuers {
		trusted = trusted || i.id == root
	}
	switch {
	case !trusted:
		return Peer{}, fmt.Errorf("%w: that of node %s is of the authority %s, which was retired", ErrCertificate, node, root)
	case now.After(leaf.NotAfter):
		return Peer{}, fmt.Errorf("%w: that of node %s ended %s", ErrCertificate, node, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return Peer{
		Node: node, Authority: root, Serial: leaf.SerialNumber.Text(16), Issued: leaf.NotBefore, Expires: leaf.NotAfter,
		Renew: root != a.newest().id || leaf.NotAfter.Sub(now) > a.life+slack(a.life),
	}, nil
}

// ServerCertificate keeps the server's certificate good.
type ServerCertificate struct {
	authority *Authority
	ip        net.IP

	mu      sync.Mutex
	cert    *tls.Certificate
	changed <-chan struct{} // of the authorities it was made with
}

// NewServerCertificate makes the certificate of the server at an address.
func NewServerCertificate(a *Authority, ip net.IP) *ServerCertificate {
	return &ServerCertificate{authority: a, ip: ip}
}

// Get returns the certificate for new connections. It is made anew after two thirds
// of its life, and when the authorities have changed.
func (s *ServerCertificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stale := s.cert == nil || !time.Now().Before(RenewAt(s.cert.Leaf))
	if !stale {
		select {
		case <-s.changed:
			stale = true
		default:
		}
	}
	if !stale {
		return s.cert, nil
	}
	changed := s.authority.Changed() // before: a change meanwhile is seen the next time
	cert, err := s.authority.Server(s.ip)
	if err != nil {
		return nil, err
	}
	s.cert, s.changed = &cert, changed
	return s.cert, nil
}

// ServerTLS is how the server listens to agents: those without a certificate may
// join, others show one of an authority that is trusted when they connect.
func ServerTLS(a *Authority, ip net.IP) *tls.Config {
	cert := NewServerCertificate(a, ip)
	base := &tls.Config{
		GetCertificate: cert.Get, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		// A resumed session would bring an earlier verification along.
		SessionTicketsDisabled: true,
	}
	out := base.Clone()
	out.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		cfg := base.Clone()
		cfg.ClientCAs = a.Pool()
		return cfg, nil
	}
	return out
}
