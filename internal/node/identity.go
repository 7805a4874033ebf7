package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/tenant"
)

// identity is who the node is to the server. All of it is in one file, so that a
// certificate and its key never disagree, wherever a renewal is cut short.
type identity struct {
	Node        string `json:"node"`
	Server      string `json:"server"`
	CA          string `json:"ca"`                    // PEM; all authorities that are trusted
	Certificate string `json:"certificate,omitempty"` // PEM
	Key         string `json:"key,omitempty"`         // PEM
}

const (
	fileIdentity = "identity.json"
	fileKey      = "key.pem"  // of earlier agents, beside the identity
	fileCert     = "cert.pem" // as above
)

// identityError is what only a person at the server can mend.
type identityError struct{ msg string }

func (e *identityError) Error() string { return e.msg }

// identity reads who the node is; fs.ErrNotExist before it has joined.
func (a *Agent) identity() (identity, error) {
	var id identity
	if err := readJSON(a.path(dirAgent, fileIdentity), &id); err != nil || id.Certificate != "" {
		return id, err
	}
	for name, into := range map[string]*string{fileCert: &id.Certificate, fileKey: &id.Key} {
		data, err := os.ReadFile(a.path(dirAgent, name))
		if err != nil {
			return id, fmt.Errorf("cannot use the node's certificate: %w", err)
		}
		*into = string(data)
	}
	return id, nil
}

// keep writes who the node is.
func (a *Agent) keep(id identity) error {
	if err := writeJSON(a.path(dirAgent, fileIdentity), id); err != nil {
		return fmt.Errorf("cannot keep identity: %w", err)
	}
	for _, name := range []string{fileCert, fileKey} { // it is in the other file now
		if err := os.Remove(a.path(dirAgent, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot keep identity: %w", err)
		}
	}
	return nil
}

// request makes a key and a request for its certificate.
func request() (keyPEM string, csr []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", nil, err
	}
	if csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key); err != nil {
		return "", nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", nil, err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), csr, nil
}

func certPEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// join gets an identity for a one-time token: the first one, or, where a join file
// lies there again, another in the place of one that is good no longer.
func (l *link) join(ctx context.Context) error {
	old, err := l.agent.identity()
	known := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var join agentapi.JoinFile
	switch err := readJSON(l.agent.path(fileJoin), &join); {
	case errors.Is(err, fs.ErrNotExist) && known:
		return nil
	case err != nil:
		return fmt.Errorf("cannot join: %w", err)
	case known && join.Node != old.Node:
		return fmt.Errorf("cannot join: %s is for the node %s, this is %s; remove it", l.agent.path(fileJoin), join.Node, old.Node)
	}
	err = l.joinBy(ctx, join)
	switch {
	case err == nil:
	case known && connect.CodeOf(err) == connect.CodePermissionDenied:
		// Used up: by the join that brought this identity, or too late.
		l.agent.log.Warn("the join file is good no longer; going on with the present certificate", "error", err)
	case known && ctx.Err() == nil:
		l.agent.log.Warn("cannot join again; going on with the present certificate", "error", err)
		return nil
	default:
		return err
	}
	return os.Remove(l.agent.path(fileJoin)) // the token is used up
}

// joinBy joins by a join file.
func (l *link) joinBy(ctx context.Context, join agentapi.JoinFile) error {
	key, csr, err := request()
	if err != nil {
		return err
	}
	pool, err := pool(join.CA)
	if err != nil {
		return err
	}
	hc := client(&tls.Config{RootCAs: pool, ServerName: agentapi.ServerName, MinVersion: tls.VersionTLS13})
	defer hc.CloseIdleConnections()
	c := connect.NewClient[agentapi.JoinRequest, agentapi.JoinResponse](hc, "https://"+join.Server+agentapi.PathJoin, connect.WithCodec(agentapi.Codec{}))
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	r, err := c.CallUnary(ctx, connect.NewRequest(&agentapi.JoinRequest{Node: join.Node, Token: join.Token, CSR: csr, Protocol: agentapi.Protocol}))
	if err != nil {
		return fmt.Errorf("cannot join: %w", err)
	}
	return l.agent.keep(identity{Node: join.Node, Server: join.Server, CA: string(r.Msg.CA), Certificate: certPEM(r.Msg.Certificate), Key: key})
}

// renew gets another certificate over the present connection.
func (l *link) renew(ctx context.Context, by *conn) error {
	id, err := l.agent.identity()
	if err != nil {
		return err
	}
	key, csr, err := request()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	r, err := by.renew.CallUnary(ctx, connect.NewRequest(&agentapi.RenewRequest{Node: id.Node, CSR: csr}))
	if err != nil {
		return fmt.Errorf("cannot renew the node's certificate: %w", err)
	}
	id.CA, id.Certificate, id.Key = string(r.Msg.CA), certPEM(r.Msg.Certificate), key
	return l.agent.keep(id)
}

// trust keeps the authorities the server names, where they differ.
func (l *link) trust(t agentapi.Trust) error {
	id, err := l.agent.identity()
	if err != nil || id.CA == t.CA {
		return err
	}
	if _, err := pool(t.CA); err != nil {
		return err
	}
	id.CA = t.CA
	return l.agent.keep(id)
}

func pool(text string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		return nil, errors.New("cannot use the server's CA: it is no certificate")
	}
	return pool, nil
}

// conn is a connection to the server with one certificate of the node. It does not
// change: another certificate is another connection.
type conn struct {
	http   *http.Client
	base   string
	due    time.Time // when the certificate is to be renewed
	ends   time.Time
	watch  *connect.Client[agentapi.WatchRequest, agentapi.WatchEvent]
	report *connect.Client[agentapi.Report, agentapi.ReportResponse]
	ask    *connect.Client[agentapi.PermitRequest, agentapi.PermitResponse]
	renew  *connect.Client[agentapi.RenewRequest, agentapi.RenewResponse]
}

// connect prepares a connection with the node's certificate.
func (l *link) connect() (*conn, error) {
	id, err := l.agent.identity()
	if err != nil {
		return nil, err
	}
	pool, err := pool(id.CA)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair([]byte(id.Certificate), []byte(id.Key))
	if err != nil {
		return nil, fmt.Errorf("cannot use the node's certificate: %w", err)
	}
	if time.Now().After(cert.Leaf.NotAfter) {
		return nil, &identityError{fmt.Sprintf("the certificate of this node ended %s: it was away when it had to be renewed; on the server, run: howdah ca rejoin %s",
			cert.Leaf.NotAfter.UTC().Format(time.RFC3339), l.agent.nodeName())}
	}
	c := &conn{base: "https://" + id.Server, due: tenant.RenewAt(cert.Leaf), ends: cert.Leaf.NotAfter}
	c.http = client(&tls.Config{RootCAs: pool, ServerName: agentapi.ServerName, MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}})
	codec := connect.WithCodec(agentapi.Codec{})
	c.watch = connect.NewClient[agentapi.WatchRequest, agentapi.WatchEvent](c.http, c.base+agentapi.PathWatch, codec)
	c.report = connect.NewClient[agentapi.Report, agentapi.ReportResponse](c.http, c.base+agentapi.PathReport, codec)
	c.ask = connect.NewClient[agentapi.PermitRequest, agentapi.PermitResponse](c.http, c.base+agentapi.PathPermit, codec)
	c.renew = connect.NewClient[agentapi.RenewRequest, agentapi.RenewResponse](c.http, c.base+agentapi.PathRenew, codec)
	return c, nil
}

// refused says what an error of the connection means, where a person has to act.
func (l *link) refused(err error) error {
	name := l.agent.nodeName()
	switch {
	case err == nil:
		return nil
	case isUnknownAuthority(err):
		return &identityError{"the server has a certificate of an authority this node does not know: the authorities changed while the node was away; on the server, run: howdah ca rejoin " + name}
	case strings.Contains(err.Error(), "tls: unknown certificate authority"):
		return &identityError{"the server no longer trusts the authority of this node's certificate; on the server, run: howdah ca rejoin " + name}
	case strings.Contains(err.Error(), "tls: expired certificate"):
		return &identityError{"the server says that this node's certificate has ended; compare the clocks; then, on the server, run: howdah ca rejoin " + name}
	}
	return err
}

func isUnknownAuthority(err error) bool {
	_, ok := errors.AsType[x509.UnknownAuthorityError](err)
	return ok
}

// client makes an HTTP/2 client that notices a dead peer.
func client(cfg *tls.Config) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP2(true)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: cfg, Protocols: p, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 5 * time.Second, Proxy: nil,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}}
}
